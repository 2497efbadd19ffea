"""Which heads and channels stay under a compute budget, and the weights that are left."""
