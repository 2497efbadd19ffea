"""The program in examples/limit_speed.py over real DDS."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")

from ros_harness import environment
from std_msgs.msg import Float32

from sentryfuse_ros.msg import FusedPrediction

ROOT = Path(__file__).parents[1]
PREDICTION = "/fuse_node/prediction"


@pytest.fixture
def limits(probe):
    """The limits that the program publishes."""
    program = subprocess.Popen([sys.executable, ROOT / "examples" / "limit_speed.py"], env=environment())
    yield probe.listen(Float32, "/speed_limit")
    program.terminate()
    assert program.wait(60) == 0


def settles(probe, limits, wanted_m_s):
    """Wait until six limits in a row, from now on, are the wanted one: more than the predictions that must agree."""
    start = len(limits)

    def settled():
        newest = limits[start:][-6:]
        return len(newest) == 6 and all(limit.data == pytest.approx(wanted_m_s) for limit in newest)

    probe.wait(f"limits of {wanted_m_s} m/s", settled)


def predicted(**values):
    return lambda stamp: FusedPrediction(**{"valid": True, "class_name": "asphalt", "confidence": 0.9, **values})


def test_it_follows_sure_predictions_and_is_careful_without_them(probe, limits):
    for values, limit_m_s in (({}, 1.5), ({"confidence": 0.6}, 0.4), ({"class_name": "sand"}, 0.6), ({"valid": False}, 0.4)):
        probe.feed(PREDICTION, FusedPrediction, predicted(**values), 10.0)
        settles(probe, limits, limit_m_s)
        probe.silence(PREDICTION)
    probe.feed(PREDICTION, FusedPrediction, predicted(), 10.0)
    settles(probe, limits, 1.5)
    probe.silence(PREDICTION)
    settles(probe, limits, 0.4)
