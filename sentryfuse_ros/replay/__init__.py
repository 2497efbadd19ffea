"""Play a recording with scripted faults and judge what the fuser did. ROS-free; `nodes.play` puts the messages on topics."""
