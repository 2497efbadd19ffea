"""The fuser without ROS: engine, pipeline, power governor."""
