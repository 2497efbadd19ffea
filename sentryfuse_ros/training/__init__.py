"""Trains a SentryFuse with its gate in the loop, and calibrates it."""
