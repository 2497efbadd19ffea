"""Run-time pruning against the usual criteria and against what could explain the gain away."""
