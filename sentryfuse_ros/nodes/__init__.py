"""ROS 2 nodes: they translate messages, clocks and parameters, and call the core."""

import os

# Threads of BLAS and OpenMP beside torch's own would only fight over a robot's few cores. Here, because the libraries
# read it when they are loaded, which the imports of the nodes do.
os.environ.setdefault("OMP_NUM_THREADS", "1")
