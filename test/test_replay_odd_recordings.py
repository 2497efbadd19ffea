"""`sentryfuse replay` of recordings that are not as they should be, over real DDS: played as far as possible, and said."""

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")

from bag_maker import T0
from cdr_messages import STORE, imu, raw
from replay_command import replay
from rosbags.rosbag2 import StoragePlugin, Writer

from sentryfuse_ros.bags.bag import Bag
from sentryfuse_ros.bags.message_types import deserialiser
from sentryfuse_ros.nanoseconds import NS_PER_S as NS

AUDIO_TYPE = "audio_common_msgs/msg/AudioData"
PARAMETERS = "/**:\n  ros__parameters:\n    sensors: [imu]\n    imu: {kind: imu, trust: warn, topic: /imu/data}\n"


def imu_messages(writer, times_s, stamp_offset_s=0.0, stamps=True):
    motion = writer.add_connection("/imu/data", "sensor_msgs/msg/Imu", typestore=STORE)
    for i, t_s in enumerate(times_s):
        t = T0 + round(t_s * NS)
        stamp_ns = t + round(stamp_offset_s * NS) if stamps else 0
        writer.write(motion, t, raw(imu((0.1 * (i % 7), 0.2, 1e-3 * (i % 97)), (0, 0.01 * (i % 5), 9.8), stamp_ns=stamp_ns)))


def test_early_topic_silence_cut_and_missing_type_in_one_recording(tmp_path):
    """An unplayed topic at time zero, a silence of 1000 s, a type that is not installed, and a file that breaks off."""
    steps = [0.01 * i for i in range(250)]
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        text = writer.add_connection("/tf_static", "std_msgs/msg/String", typestore=STORE)
        writer.write(text, 1, bytes(STORE.serialize_cdr(STORE.types["std_msgs/msg/String"]("x"), "std_msgs/msg/String")))
        sound = writer.add_connection("/audio", AUDIO_TYPE, typestore=STORE)
        message = STORE.types[AUDIO_TYPE](np.zeros(640, np.uint8))
        writer.write(sound, T0, bytes(STORE.serialize_cdr(message, AUDIO_TYPE)))
        imu_messages(writer, [*steps, *(1000.0 + t for t in [*steps, 2.5, 2.51])])
    (file,) = (tmp_path / "bag").glob("*.mcap")
    data = file.read_bytes()
    file.write_bytes(data[: data.rindex(b"\x0f\x04")])  # up to the end of the data: as a recorder leaves it that is killed
    (tmp_path / "bag" / "metadata.yaml").unlink()
    # The motion is made up, so the model's table would call it implausible.
    (tmp_path / "p.yaml").write_text("/**:\n  ros__parameters:\n    imu: {trust: 'off'}\n")
    summary, out, _ = replay(tmp_path, tmp_path / "bag", "--params-file", tmp_path / "p.yaml")
    assert "breaks off" in summary["damage"] and "used in part" in out
    assert "begins with the first message that is played, 1600000000.0 s after" in out
    assert f"/audio is not played, because {AUDIO_TYPE} is not installed" in out
    ((from_s, to_s),) = summary["holes_s"]
    assert 2.4 < from_s < 60 and 990 < to_s < 1000 and "skipped the silence of the recording" in out
    assert summary["sensors"] == {"imu": "/imu/data"} and summary["delivered"]["imu"] == 502
    assert 40 < summary["valid_predictions"] <= summary["predictions"] < 150
    assert summary["max_gap_s"] < 30.0, "the silence was not waited for"


def test_refused_stamps_are_explained_and_no_valid_prediction_is_a_broken_promise(tmp_path):
    (tmp_path / "p.yaml").write_text(PARAMETERS)
    (tmp_path / "f.yaml").write_text("faults:\n  - {sensor: imu, kind: 'off', from: 0.5, to: 0.8}\n")
    with Writer(tmp_path / "bag", version=9) as writer:
        imu_messages(writer, [0.01 * i for i in range(200)], stamps=False)
    summary, out, _ = replay(
        tmp_path, tmp_path / "bag", "--params-file", tmp_path / "p.yaml", "--faults", tmp_path / "f.yaml", "--strict", status=1
    )
    assert "warning: imu: its driver does not stamp (all stamps are zero)" in out and "set imu.trust_stamps: false" in out
    broken, *pauses = summary["promises_broken"]
    assert all("gap" in pause or "overhead" in pause for pause in pauses)  # these depend on what else this machine does
    assert broken.startswith("no valid prediction: imu INVALID (stamp is zero") and "imu.trust_stamps: false" in broken
    assert summary["faults"][0]["kept"] and summary["valid_predictions"] == 0
    (tmp_path / "p.yaml").write_text(PARAMETERS.replace("/imu/data}", "/imu/data, trust_stamps: false}"))
    result = tmp_path / "run.mcap"
    summary, out, _ = replay(tmp_path, tmp_path / "bag", "--params-file", tmp_path / "p.yaml", "--mcap", result, "--mcap-inputs")
    assert summary["valid_predictions"] > 10 and "does not stamp" not in out
    with Bag(result) as written:
        counts = {topic.name: topic.count for topic in written.topics.values()}
        read = deserialiser(written, "/fuse_node/prediction")
        predictions = [read(message) for _, _, message in written.messages(["/fuse_node/prediction"])]
    # A busy machine may displace a snapshot, whose mask has been published, before its inference.
    assert counts["/imu/data"] == 200 and counts["/fuse_node/mask"] >= counts["/fuse_node/prediction"] == summary["predictions"]
    assert sum(prediction.valid for prediction in predictions) == summary["valid_predictions"]
    assert counts["/fuse_node/pruning"] and counts["/fuse_node/model_info"] and counts["/diagnostics"]


def test_another_publisher_on_the_domain_is_noticed(tmp_path):
    """On a domain that no other test or replay uses: what other tests left behind would be strangers too."""
    rclpy = pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
    from conftest import claim_domain
    from rclpy.context import Context
    from sensor_msgs.msg import Imu

    with Writer(tmp_path / "bag", version=9) as writer:
        imu_messages(writer, [0.01 * i for i in range(200)])
    domain, give_back = claim_domain()
    context = Context()
    rclpy.init(context=context, domain_id=domain)
    robot = rclpy.create_node("driver", context=context)
    robot.create_publisher(Imu, "/imu/data", 10)
    try:
        _, out, _ = replay(tmp_path, tmp_path / "bag", status=2, environment={"ROS_DOMAIN_ID": str(domain)})
    finally:
        robot.destroy_node()
        rclpy.shutdown(context=context)
        give_back()
    assert "2 publishers of /imu/data: " in out and "--domain-id" in out and "Traceback" not in out
