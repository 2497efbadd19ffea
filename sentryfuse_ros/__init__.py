"""Sensor fusion that keeps publishing calibrated predictions when sensors drop out and the battery drains.

The core is plain Python, numpy and torch; only ``nodes/`` uses ROS 2.
"""

import os

__version__ = "0.1.0"  # setup.py reads this line; package.xml states the same version for colcon

# When Python is started in a clone, it imports this package from the source tree, but the generated messages are in the
# installed package of the same name. Extending the path makes both importable.
__path__ = __import__("pkgutil").extend_path(__path__, __name__)

# ONNX Runtime 1.32 for Linux reports its use to its makers unless this is set before it is imported: it keeps a thread, a data
# base in ~/.cache and a connection to the internet, on a robot too. Whoever sets the variable to 0 gets that.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
