"""Play a recording with scripted faults and judge what the fuser did. ROS-free; `nodes/play.py` puts it on topics."""
