"""Sensor fusion that keeps publishing calibrated predictions when sensors drop out and the battery drains.

The core is plain Python, numpy and torch; only ``nodes/`` uses ROS 2.
"""

__version__ = "0.1.0"  # setup.py reads this line; package.xml states the same version for colcon

# When Python is started in a clone, it imports this package from the source tree, but the generated messages are in the
# installed package of the same name. Extending the path makes both importable.
__path__ = __import__("pkgutil").extend_path(__path__, __name__)
