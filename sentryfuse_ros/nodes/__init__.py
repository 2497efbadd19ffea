"""ROS 2 nodes. They translate messages, clocks and parameters, and call the ROS-free core."""

import os

# Threads of BLAS and OpenMP beside torch's own would only compete for a robot's few cores. It is set here because the
# libraries read it when they are loaded, and the imports of the nodes load them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
