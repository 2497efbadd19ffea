"""Train a SentryFuse with its gate in the loop, calibrate it, and measure it."""
