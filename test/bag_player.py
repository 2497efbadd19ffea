"""What a replay would deliver of a bag, without ROS and without waiting."""

from sentryfuse_ros.bags.sensor_topics import match_sensors
from sentryfuse_ros.replay.faults import FaultScript
from sentryfuse_ros.replay.schedule import DeliveryLog, Schedule, deliveries
from sentryfuse_ros.settings import build_settings

SENSORS = build_settings({}).sensors
NO_FAULTS = FaultScript()


def play(bag, script=NO_FAULTS, repeat=1, to_s=float("inf")):
    """The deliveries, and the log of what each sensor sent."""
    log = DeliveryLog()
    schedule = Schedule(match_sensors(bag, SENSORS).topics, bag.start_ns, script=script, repeat=repeat, gap_s=1.0, to_s=to_s)
    return list(deliveries(bag, schedule, log)), log
