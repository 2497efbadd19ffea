"""The fuser without ROS: engine, pipeline, and the power governor that sets the pruning ratio."""
