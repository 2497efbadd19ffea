"""The player that publishes a recording keeps the recording's time even where a busy machine does not let it run."""

import threading

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")

from bag_maker import write_bag

from sentryfuse_ros.bags.bag import Bag
from sentryfuse_ros.nodes.player import LONGEST_STEP_S, Player
from sentryfuse_ros.replay.schedule import DeliveryLog, Schedule, deliveries


@pytest.mark.parametrize("speed", [1.0, 2.0])
def test_time_does_not_leap_past_messages_when_the_player_is_held_up(probe, tmp_path, speed):
    reached_s, held_up = [], []

    def hold_up_once(t_s):
        if t_s > 0.5 and not held_up:
            held_up.append(t_s)
            threading.Event().wait(1.0)

    with Bag(write_bag(tmp_path / "bag", seconds=2.0)) as bag:
        sensors = {"camera": bag.topics["/cam/depth"], "imu": bag.topics["/imu/raw"]}
        schedule, log = Schedule(sensors, bag.start_ns), DeliveryLog()
        player = Player(
            probe.node, sensors, (), schedule.script, bag.start_ns, published=lambda *_: reached_s.append(player.now_s)
        )
        end_s = player.play(deliveries(bag, schedule, log), speed, hold_up_once)
    period_s = 0.02  # between two messages of the IMU
    assert held_up and 0.9 < player.held_up_s and 2.0 < end_s < 2.5 and len(reached_s) == sum(map(len, log.all_s.values()))
    assert np.diff(reached_s).max() <= LONGEST_STEP_S * speed + period_s
