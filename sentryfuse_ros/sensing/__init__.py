"""From the messages of sensors to what the model sees, without ROS: liveness, rates, window buffers and snapshots."""
