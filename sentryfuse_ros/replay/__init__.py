"""Play a recording with scripted faults and judge what the fuser did.

ROS-free; `nodes/replay_over_topics.py` puts it on topics.
"""
