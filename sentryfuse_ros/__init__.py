"""Sensor fusion that keeps its word while sensors drop out and the battery drains.

The core (everything but ``nodes/``) is plain Python, numpy and torch; only ``nodes/`` knows ROS 2.
"""

__version__ = "0.1.0"
