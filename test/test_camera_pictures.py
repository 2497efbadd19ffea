"""Pictures of recordings that are kept for another call: each recording has its own."""

import os
import shutil

import numpy as np
from bag_maker import T0
from cdr_messages import STORE, image, raw
from rosbags.rosbag2 import StoragePlugin, Writer

from sentryfuse_ros.datasets.camera_pictures import camera_pictures
from sentryfuse_ros.nanoseconds import NS_PER_S as NS
from sentryfuse_ros.preprocessing import ModalitySpec

SPEC = ModalitySpec("camera", "camera", 1.0, (1, 3, 8, 12), "rgb")


def write_drive(path, level):
    """Ten pictures of one brightness each."""
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topic = writer.add_connection("/camera", "sensor_msgs/msg/Image", typestore=STORE)
        for i in range(10):
            stamp_ns = T0 + i * NS // 10
            writer.write(topic, stamp_ns, raw(image(np.full((16, 24, 3), level + i, np.uint8), "rgb8", stamp_ns=stamp_ns)))
    return path


def levels(path, keep):
    return camera_pictures(path, SPEC, keep).pixels.mean(axis=(1, 2, 3)).tolist()


def test_recordings_of_one_name_have_their_own_pictures(tmp_path):
    """As those of two series that were simulated with the same seeds."""
    one, other = (write_drive(tmp_path / series / "val_000007", level) for series, level in (("drives", 40), ("stops", 90)))
    for _ in range(2):
        assert levels(one, tmp_path / "kept") == list(range(40, 50))
        assert levels(other, tmp_path / "kept") == list(range(90, 100))
    assert len(list((tmp_path / "kept").iterdir())) == 2


def test_a_recording_that_was_made_again_has_its_new_pictures(tmp_path):
    drive = write_drive(tmp_path / "val_000007", 40)
    assert levels(drive, tmp_path / "kept")[0] == 40
    shutil.rmtree(drive)
    write_drive(drive, 90)
    for file in drive.iterdir():
        os.utime(file, ns=(T0, T0))  # another time than before, on any disk
    assert levels(drive, tmp_path / "kept")[0] == 90
