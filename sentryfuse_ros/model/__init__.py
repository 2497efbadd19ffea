"""The network: tokenisers, SentryAttend, SentryGate, the backbones, and `SentryFuse`, which joins them."""
