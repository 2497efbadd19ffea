"""One sensor without ROS: is it to be believed, its last seconds, and the snapshot of several."""
