"""The stream of deliveries: repetitions, faults and the end."""

import pytest
from bag_maker import T0, write_bag
from bag_player import play

from sentryfuse_ros.bags.bag import Bag
from sentryfuse_ros.bags.header_stamps import stamp_of
from sentryfuse_ros.replay.faults import FaultScript, InjectedFault


@pytest.fixture(scope="module")
def bag_path(tmp_path_factory):
    return write_bag(tmp_path_factory.mktemp("bags") / "run")


def test_repeat_moves_time_and_stamps_on(bag_path):
    with Bag(bag_path) as bag:
        out, log = play(bag, repeat=2)
        assert len(out) == 2 * 210 and all(abs(stamp_of(d.raw) - T0 - d.t_s * 1e9) < 2000 for d in out)
        assert len(log.sound_s["camera"]) == 120 and out[-1].t_s > 6.9


def test_faults_affect_only_their_sensor_and_the_log_tells_sound_messages(bag_path):
    with Bag(bag_path) as bag:
        out, log = play(bag, FaultScript((InjectedFault("camera", "off", 1.0, 2.0),)))
        times = [d.t_s for d in out if d.topic == "/cam/depth"]
        assert len(times) == 40 and not any(1.0 <= t < 2.0 for t in times)
        assert len([d for d in out if d.topic == "/imu/raw"]) == 150
        assert len(log.sound_s["camera"]) == 40 and len(log.all_s["imu"]) == 150


def test_freeze_outlasts_the_end_of_the_recording(bag_path):
    with Bag(bag_path) as bag:
        out, log = play(bag, FaultScript((InjectedFault("camera", "freeze", 2.0, 4.0),)))
        assert [d for d in out if d.topic == "/cam/depth"][-1].t_s > 3.9
        assert max(log.sound_s["camera"]) < 2.0


def test_stop_after(bag_path):
    with Bag(bag_path) as bag:
        assert 0.9 < play(bag, to_s=1.0)[0][-1].t_s <= 1.0
