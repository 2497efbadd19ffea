"""What the recorded messages of a sensor would make of it without faults."""

import numpy as np
import pytest
from bag_maker import T0
from cdr_messages import STORE, image, raw
from rosbags.rosbag2 import Writer

from sentryfuse_ros.bags.bag import Bag
from sentryfuse_ros.bags.sensor_topics import match_sensors
from sentryfuse_ros.nanoseconds import NS_PER_S as NS
from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.replay.recorded_state import recorded_state
from sentryfuse_ros.replay.schedule import Schedule
from sentryfuse_ros.settings import build_settings


def test_black_pictures_keep_a_camera_from_being_ok(tmp_path):
    random = np.random.default_rng(0)
    with Writer(tmp_path / "bag", version=9) as writer:
        camera = writer.add_connection("/camera/image_raw", "sensor_msgs/msg/Image", typestore=STORE)
        for i in range(60):  # 10 Hz; black from 2 to 4 s and again at the end
            black = 2.0 <= i / 10 < 4.0 or i >= 55
            pixels = np.zeros((12, 16, 3), np.uint8) if black else random.integers(40, 200, (12, 16, 3)).astype(np.uint8)
            stamp_ns = T0 + i * NS // 10
            writer.write(camera, stamp_ns, raw(image(pixels, "rgb8", stamp_ns=stamp_ns)))
    settings = build_settings({"sensors": ["camera"]}).sensors
    with Bag(tmp_path / "bag") as bag:
        topics = match_sensors(bag, settings).topics
        schedule = Schedule(topics, bag.start_ns, repeat=2, settings={s.name: s for s in settings})
        recorded = recorded_state(bag, schedule, (ModalitySpec("camera", "camera", 1.0, (4, 3, 12, 16), "rgb"),))
        assert recorded("camera", 0.5) == (0.7, "")
        assert recorded("camera", 2.5) == (4.2, "")
        again = schedule.period_s(bag)
        assert recorded("camera", again + 0.5)[0] == pytest.approx(again + 0.7)
        assert recorded("camera", 5.5)[0] == pytest.approx(again + 0.2), "good pictures come with the next pass"
        assert recorded("camera", 6.5)[0] == pytest.approx(again + 0.2), "as after a fault that ends between two passes"
        never, why = recorded("camera", again + 5.5)
        assert never is None and "BLACK" in why
