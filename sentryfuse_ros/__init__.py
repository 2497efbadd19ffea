"""Sensor fusion that keeps its word while sensors drop out and the battery drains.

The core (everything but ``nodes/``) is plain Python, numpy and torch; only ``nodes/`` knows ROS 2.
"""

__version__ = "0.1.0"

# Imported from a source tree (a Python started in the clone), the built messages are in the installed package of the
# same name: look there too.
__path__ = __import__("pkgutil").extend_path(__path__, __name__)
