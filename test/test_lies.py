"""The lie of a fault script: the messages stay readable, and say something else."""

import random

import numpy as np
import pytest
from cdr_messages import audio, cloud, image, imu, raw

from sentryfuse_ros.decoders import make_decoder
from sentryfuse_ros.decoders.cdr import CdrReader
from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.replay.lies import FEET, STANDARD_GRAVITY, told

XYZI = np.dtype([("x", "<f4"), ("y", "<f4"), ("pad", "<f4"), ("z", "<f4")])


def lie(msg_type, message):
    return told(msg_type, raw(message), random.Random(0))


def test_an_imu_tells_accelerations_in_g():
    message = imu(gyro=(0.1, 0.2, 0.3), accel=(1.0, 2.0, STANDARD_GRAVITY))
    batch = make_decoder("imu", "sensor_msgs/msg/Imu").decode([lie("sensor_msgs/msg/Imu", message)])
    expected = [0.1, 0.2, 0.3, 1 / STANDARD_GRAVITY, 2 / STANDARD_GRAVITY, 1.0]
    np.testing.assert_allclose(batch.rows[0], expected, rtol=1e-6)
    assert (
        not batch.fault[0] and batch.stamp_ns[0] == make_decoder("imu", "sensor_msgs/msg/Imu").decode([raw(message)]).stamp_ns[0]
    )


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8"])
def test_a_camera_exchanges_red_and_blue(encoding):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    spec = ModalitySpec("camera", "camera", 1.0, (1, 3, 6, 8), "rgb")

    def frame(message):
        return make_decoder("camera", "sensor_msgs/msg/Image", spec).decode([message]).rows[0]

    message = image(pixels, encoding, pad=5)
    np.testing.assert_array_equal(frame(lie("sensor_msgs/msg/Image", message)), frame(raw(message))[::-1])


def test_a_lidar_tells_distances_in_feet():
    values = {k: np.random.default_rng(i).normal(0, 3, 50).astype(np.float32) for i, k in enumerate("xyz")}
    message = cloud(XYZI, {**values, "pad": np.zeros(50, np.float32)})
    before, after = raw(message), lie("sensor_msgs/msg/PointCloud2", message)
    sensor = make_decoder("lidar", "sensor_msgs/msg/PointCloud2")
    was, now = (sensor.read_raw(CdrReader(m, "PointCloud2")).columns(1) for m in (before, after))
    np.testing.assert_allclose(now, was * np.float32(FEET), rtol=1e-6)
    assert len(before) == len(after)


def test_a_microphone_tells_random_bytes():
    message = audio(np.arange(320, dtype=np.int16))
    after = lie("sentryfuse_ros/msg/AudioChunk", message)
    spec = ModalitySpec("audio", "audio", 0.5, (20, 16))
    batch = make_decoder("audio", "sentryfuse_ros/msg/AudioChunk", spec).decode([after])
    assert not batch.fault[0] and len(after) == len(raw(message)) and np.std(batch.rows) > 0.4


@pytest.mark.parametrize("msg_type", ["std_msgs/msg/Float32", "sensor_msgs/msg/Imu"])
def test_what_cannot_lie_stays_as_it_is(msg_type):
    message = b"\x00\x01\x00\x00no message"
    assert told(msg_type, message, random.Random(0)) == message
