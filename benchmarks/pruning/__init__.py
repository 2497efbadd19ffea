"""The study of run-time pruning against the usual criteria, and against what could explain its gain away."""
