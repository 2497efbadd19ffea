"""The network: tokenisers, SentryAttend, SentryGate, a backbone, and `SentryFuse` that joins them."""
