"""Small pictures from a recording's camera."""

import struct

import cv2
import numpy as np
import pytest
from bag_maker import write_bag
from cdr_messages import compressed, raw
from rosbags.highlevel import AnyReader

from sentryfuse_ros.bags.bag import Bag
from sentryfuse_ros.replay.frames import frames_at, frames_of_run, small_picture


def test_frames_are_the_newest_before_each_time(simulated):
    with AnyReader([simulated]) as reader:
        chosen = [c for c in reader.connections if c.topic == "/camera/image_raw"]
        recorded = [(t, reader.deserialize(raw, c.msgtype)) for c, t, raw in reader.messages(chosen)]
    with Bag(simulated) as bag:
        topic = bag.topics["/camera/image_raw"]
        frames = frames_at(bag, topic, [0.0, 1.05, 1.06, 2.5, 3.5, 99.0], bag.start_ns)
        again = frames_of_run(bag, topic, [1.05, 11.05], 10.0, bag.start_ns)
        single = frames_of_run(bag, topic, [1.05], 0.0, bag.start_ns)  # as of one message, which is played without a gap
        times = [(t - bag.start_ns) * 1e-9 for t, _ in recorded]
    # Before the first frame and long after the last there is none to show.
    assert [f.at_s for f in frames] == [1.05, 1.06, 2.5, 3.5]
    assert [f.recorded_s for f in frames] == pytest.approx([max(t for t in times if t <= f.at_s) for f in frames])
    message = recorded[times.index(min(times, key=lambda t: abs(t - frames[2].recorded_s)))][1]
    pixels = message.data.reshape(message.height, message.width, 3) / 255
    assert np.allclose(frames[2].pixels, pixels, atol=1e-6)
    assert [f.at_s for f in again] == [1.05, 11.05] and np.array_equal(again[0].pixels, again[1].pixels)
    assert [f.at_s for f in single] == [1.05]


def test_a_black_picture_is_shown_and_a_broken_one_is_not(simulated):
    with Bag(simulated) as bag:
        message = next(message for _, _, message in bag.messages(["/camera/image_raw"]))
    kind, pixels = "sensor_msgs/msg/Image", 3 * 54 * 72
    assert small_picture(kind, message).max() > 0.1
    assert small_picture(kind, message[:-pixels] + bytes(pixels)).max() == 0.0
    assert small_picture(kind, message[:200]) is None and small_picture(kind, b"") is None


def test_depth_is_shown_in_grey(tmp_path):
    with Bag(write_bag(tmp_path / "bag", 1.0)) as bag:
        (frame,) = frames_at(bag, bag.topics["/cam/depth"], [0.5], bag.start_ns)
    assert frame.pixels.shape == (54, 72, 3) and np.ptp(frame.pixels) > 0.5
    assert np.array_equal(frame.pixels[..., 0], frame.pixels[..., 2])


@pytest.mark.parametrize("coding", ["16UC1; compressedDepth png", "16UC1; png compressed "])
def test_compressed_depth_is_shown_in_grey(coding):
    depth = np.tile(np.linspace(1000, 5000, 72).astype(np.uint16), (54, 1))
    head = struct.pack("<iff", 0, 0.0, 0.0) if "Depth" in coding else b""
    message = raw(compressed(head + cv2.imencode(".png", depth)[1].tobytes(), coding))
    picture = small_picture("sensor_msgs/msg/CompressedImage", message)
    assert picture.shape == (54, 72, 3) and (np.diff(picture[0, :, 0]) >= 0).all() and np.ptp(picture) > 0.5
    assert small_picture("sensor_msgs/msg/CompressedImage", message[:40]) is None
