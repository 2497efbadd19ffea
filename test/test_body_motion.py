"""How fast a camera's body moves, by a sensor whose stamps may be wrong."""

import numpy as np
import pytest
from cdr_messages import imu, raw

from sentryfuse_ros.nanoseconds import NS_PER_S as NS
from sentryfuse_ros.sensing.body_motion import MOST_KEPT, BodyMotion
from sentryfuse_ros.sensing.sensor import Sensor
from sentryfuse_ros.settings import build_settings

T0 = 1_700_000_000 * NS
RATE_HZ = 100


@pytest.fixture
def gyro():
    """An IMU that a camera's stream asks, and a function that feeds it a message with a stamp, some time after T0."""
    sensor = Sensor(build_settings({"sensors": ["imu"]}).sensors[0], [], None)
    sensor.motion = BodyMotion(*sensor.kind.motion_columns(()))

    def feed(now_ns, stamp_ns, turn_rad_s=0.3):
        message = raw(imu((0.0, 0.0, turn_rad_s), stamp_ns=stamp_ns))
        sensor.feed([message], np.array([now_ns]), now_ns, now_ns)

    return sensor.motion, feed


@pytest.mark.parametrize("wrong_ns", [T0 + 3600 * NS, 0])
def test_a_sample_with_an_impossible_stamp_is_not_kept(gyro, wrong_ns):
    motion, feed = gyro
    for i in range(50):
        now_ns = T0 + i * NS // RATE_HZ
        feed(now_ns, wrong_ns if i == 10 else now_ns, 9.0 if i == 10 else 0.3)
    assert motion.turn_rad_s(now_ns) == pytest.approx(0.3) and motion.turn_rad_s(wrong_ns) is None


def test_stamps_that_stand_still_do_not_fill_the_memory():
    motion = BodyMotion([0, 1, 2])
    for i in range(3 * MOST_KEPT // RATE_HZ):
        motion.note(np.full(RATE_HZ, T0), np.full((RATE_HZ, 6), i, np.float32))
    assert len(motion._stamp_ns) == len(motion._rows) == MOST_KEPT
    assert motion._rows[-1, 0] == i  # the newest are kept
