"""The study with the budget over the whole network: sensors, stem channels, layers, heads and FFN channels."""
