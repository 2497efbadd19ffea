"""ROS 2 nodes: they translate messages, clocks and parameters, and call the core."""
