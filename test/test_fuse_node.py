"""fuse_node over real DDS, in a process of its own: what a robotics team would do to it, one thing a test."""

import itertools
import signal
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")

from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_harness import BEST_EFFORT, Probe
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import BatteryState, Image, Imu
from std_msgs.msg import Float32

from sentryfuse_ros.msg import ModalityStatus as S

ACTIONS = ("-p", "model:=utd_mhad_depth_imu")  # depth camera and IMU: few topics to feed
QUICK = ("-p", "warm_up:=false", *ACTIONS)


@pytest.fixture
def fed(probe, start):
    """A node with camera and IMU running, and both live."""
    node = start(*QUICK)
    probe.feed_camera()
    probe.feed_imu()
    probe.wait_new_prediction(lambda p: p.valid and list(p.mask) == [True, True], "a prediction from both sensors", node)
    return node


def test_prediction_mask_and_model_are_published(probe, fed):
    p = probe.wait_new_prediction(lambda p: p.valid, "a valid prediction", fed)
    assert list(p.modalities) == ["camera", "imu"] and list(p.sensors) == ["camera", "imu"]
    assert len(p.probabilities) == 27 and abs(sum(p.probabilities) - 1) < 1e-4
    assert p.confidence == pytest.approx(max(p.probabilities)) and p.class_name == probe.infos[-1].classes[p.class_id]
    assert sum(p.attention_share) == pytest.approx(1, abs=1e-4) and p.inference_ms > 0
    assert p.header.frame_id == "base_link" and 0 <= p.latency_ms < 5000
    mask = probe.masks[-1]
    assert [s.name for s in mask.sensors] == ["camera", "imu", "audio", "lidar"]
    assert probe.state_of("audio") == S.NEVER_SEEN
    assert probe.status_of("camera").topic == "/camera/image_raw"


def test_camera_unplugged_and_back(probe, fed):
    probe.silence("/camera/image_raw")
    probe.wait_state("camera", S.STALE, fed)
    p = probe.wait_new_prediction(lambda p: p.valid and list(p.mask) == [False, True], "a prediction from the IMU alone", fed)
    assert p.attention_share[0] == 0 and list(p.sensors) == ["", "imu"]
    assert "no message for" in probe.status_of("camera").reason and probe.status_of("camera").alarm
    probe.feed_camera()
    probe.wait_new_prediction(lambda p: p.valid and list(p.mask) == [True, True], "the camera's return", fed)


def test_without_any_sensor_it_says_so_and_keeps_publishing(probe, fed):
    probe.silence("/camera/image_raw")
    probe.silence("/imu/data")
    p = probe.wait_new_prediction(lambda p: not p.valid, "a prediction that says there is none", fed)
    assert "no live sensor" in p.reason and "camera STALE" in p.reason
    assert not len(p.probabilities) and p.class_name == "" and p.confidence == 0 and not any(p.mask)
    count = len(probe.predictions)
    probe.wait("ten more", lambda: len(probe.predictions) >= count + 10, fed)
    assert not any(p.valid for p in probe.predictions[count:])


def test_frozen_camera_is_seen(probe, fed):
    probe.silence("/camera/image_raw")
    image = probe.depth_image(probe.node.get_clock().now().to_msg())

    def same(stamp):
        image.header.stamp = stamp
        return image

    probe.feed("/camera/image_raw", Image, same, 30.0)
    probe.wait_state("camera", S.FROZEN, fed)
    assert "same payload" in probe.status_of("camera").reason


def test_malformed_messages_are_counted_and_nothing_dies(probe, fed):
    probe.silence("/imu/data")
    sizes = itertools.cycle((3, 4, 20, 100, 323))

    def broken(stamp):
        size = next(sizes)
        return b"\x00\x01\x00\x00"[:size] + b"\xff" * (size - 4)

    probe.feed("/imu/data", Imu, broken, 50.0)
    probe.wait("twenty invalid", lambda: probe.status_of("imu").invalid >= 20, fed)
    assert probe.status_of("imu").state == S.INVALID and "MALFORMED" in probe.status_of("imu").reason
    probe.wait_new_prediction(lambda p: p.valid and list(p.mask) == [True, False], "predictions go on", fed)


def test_nan_imu_is_invalid(probe, fed):
    probe.silence("/imu/data")

    def broken(stamp):
        message = probe.imu(stamp)
        message.linear_acceleration.x = float("nan")
        return message

    probe.feed("/imu/data", Imu, broken, 50.0)
    probe.wait_state("imu", S.INVALID, fed)
    assert "nan" in probe.status_of("imu").reason.lower()


def test_battery_sets_the_ratio_and_nan_does_not_break_it(probe, fed):
    probe.feed("/battery_state", BatteryState, probe.battery(0.15), 5.0)
    probe.wait_new_prediction(lambda p: p.pruning_ratio >= 0.7, "a high ratio at 15 %", fed)
    state = probe.wait("its state", lambda: next((q for q in probe.prunings if q.ratio >= 0.7), None), fed)
    assert "battery 15 %" in state.reason
    assert 0 < state.flops < state.flops_dense and 0 < state.parameters < state.parameters_dense
    probe.silence("/battery_state")
    probe.feed("/battery_state", BatteryState, probe.battery(float("nan")), 5.0)
    probe.wait("NaN is said", lambda: "NaN" in probe.prunings[-1].reason, fed)
    assert probe.prunings[-1].ratio >= 0.7


def test_power_budget_sets_the_ratio(probe, fed):
    probe.feed("/power_budget", Float32, lambda stamp: Float32(data=5.0), 5.0)
    assert probe.wait_new_prediction(lambda p: p.pruning_ratio == pytest.approx(0.9), "the highest ratio at least power", fed)


def test_override_can_be_set_and_taken_back_while_running(probe, fed):
    assert probe.set_parameter("pruning_ratio_override", 0.5).successful
    probe.wait_new_prediction(lambda p: p.pruning_ratio == pytest.approx(0.5), "the override", fed)
    assert probe.set_parameter("pruning_ratio_override", -1.0).successful
    probe.wait_new_prediction(lambda p: p.pruning_ratio == 0, "the dense model again", fed)
    refused = probe.set_parameter("pruning_ratio_override", 2.0)
    assert not refused.successful and "pruning_ratio_override" in refused.reason and "0.9" in refused.reason
    refused = probe.set_parameter("fuse_rate_hz", 20.0)
    assert not refused.successful and "configure" in refused.reason


def test_invalid_transition_is_refused_and_survived(probe, fed):
    assert probe.change_state(Transition.TRANSITION_CONFIGURE, fed) is False  # active cannot be configured
    probe.wait_new_prediction(lambda p: p.valid, "predictions after the refused request", fed)
    log = fed.log()  # by our guard, or by an rclpy that answers itself (Kilted)
    assert "refused in state active" in log or "Unable to start transition" in log


def test_deactivate_silences_and_activate_resumes(probe, fed):
    assert probe.change_state(Transition.TRANSITION_DEACTIVATE, fed)
    assert probe.lifecycle_state(fed) == "inactive"
    count = len(probe.predictions)
    assert probe.change_state(Transition.TRANSITION_CLEANUP, fed) and probe.lifecycle_state(fed) == "unconfigured"
    assert len(probe.predictions) <= count + 1
    assert probe.change_state(Transition.TRANSITION_CONFIGURE, fed) and probe.change_state(Transition.TRANSITION_ACTIVATE, fed)
    probe.wait_new_prediction(lambda p: p.valid, "predictions after coming back", fed)


def test_diagnostics_name_every_part(probe, fed):
    array = probe.wait("diagnostics", lambda: probe.diagnostics[-1] if probe.diagnostics else None, fed)
    names = {status.name for status in array.status}
    assert names == {
        f"fuse_node: {part}" for part in ("sensor camera", "sensor imu", "sensor audio", "sensor lidar", "model", "power", "loop")
    }
    loop = next(s for s in array.status if s.name.endswith("loop"))
    assert {v.key: v.value for v in loop.values}["failed"] == "0"


def test_best_effort_camera_and_late_reliable_imu(probe, start):
    node = start(*QUICK)
    probe.feed_camera(qos=BEST_EFFORT)
    probe.wait_new_prediction(lambda p: p.valid and list(p.mask) == [True, False], "the best-effort camera", node)
    probe.feed_imu(qos=QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE))
    probe.wait_new_prediction(lambda p: list(p.mask) == [True, True], "the IMU", node)
    probe.wait("QoS follows the publisher", lambda: "imu: QoS now reliable" in node.log(), node)
    assert "camera: QoS now" not in node.log()
    probe.wait_new_prediction(lambda p: list(p.mask) == [True, True], "both after the change", node)


def test_namespace_node_name_and_remapping(ros, start):
    node = start("-r", "__ns:=/bot", "-r", "__node:=fuser", "-r", "imu/data:=/wrist/imu", *QUICK)
    probe = Probe("/bot", "fuser")
    try:
        probe.feed_camera("/bot/camera/image_raw")
        probe.feed_imu("/wrist/imu")
        probe.wait_new_prediction(lambda p: list(p.mask) == [True, True], "both topics", node)
        assert probe.status_of("imu").topic == "/wrist/imu"
    finally:
        probe.close()


def test_second_camera_takes_over(probe, start):
    node = start(
        "-p",
        "sensors:=[front_camera, rear_camera, imu]",
        "-p",
        "front_camera.model_input:=camera",
        "-p",
        "rear_camera.model_input:=camera",
        "-p",
        "imu.topic:=/imu/data",
        *QUICK,
    )
    probe.feed_camera("/front_camera")
    probe.feed_camera("/rear_camera")
    probe.feed_imu()
    probe.wait_new_prediction(lambda p: list(p.sensors) == ["front_camera", "imu"], "the front camera", node)
    probe.silence("/front_camera")
    assert probe.wait_new_prediction(lambda p: list(p.sensors) == ["rear_camera", "imu"] and p.valid, "the rear camera", node)


def test_ordinary_callbacks_where_asked(probe, start):
    node = start("-p", "receive:=callback", *QUICK)
    probe.feed_camera()
    probe.feed_imu()
    probe.wait_new_prediction(lambda p: list(p.mask) == [True, True], "both sensors by callback", node)
    assert "receive callback" in node.log()


def test_simulated_clock_that_jumps_back(probe, start):
    node = start("-p", "use_sim_time:=true", *QUICK)
    publisher = probe.node.create_publisher(Clock, "/clock", 10)
    now = {"s": 1000.0}

    def tick(stamp):
        now["s"] += 0.01
        return Clock(clock=stamp_of(now["s"]))

    def stamp_of(seconds):
        from sentryfuse_ros.nodes.messages import to_time

        return to_time(int(seconds * 1e9))

    probe.feed("/clock", Clock, tick, 100.0)
    probe.feed("/imu/data", Imu, lambda _: probe.imu(stamp_of(now["s"])), 50.0)
    probe.feed("/camera/image_raw", Image, lambda _: probe.depth_image(stamp_of(now["s"])), 30.0)
    probe.wait_new_prediction(
        lambda p: list(p.mask) == [True, True] and p.tick.sec >= 1000, "predictions in simulated time", node
    )
    now["s"] = 500.0  # a bag that loops
    probe.wait_new_prediction(
        lambda p: list(p.mask) == [True, True] and p.valid and p.tick.sec < 900, "predictions after the jump", node
    )
    assert "jumped back" in node.log()
    del publisher


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_while_it_still_loads(start, number):
    node = start(*QUICK, expect_end=True)
    maps = Path(f"/proc/{node.process.pid}/maps")
    while "libtorch" not in maps.read_text():  # torch is being imported: nothing of ours runs yet
        assert node.alive(), node.log()
    assert node.stop(number) == 0, node.log()
    assert "Traceback" not in node.log()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_it_cleanly(probe, start, number):
    node = start(*QUICK, expect_end=True)
    probe.feed_imu()
    probe.wait_new_prediction(lambda p: p.valid, "a prediction", node)
    assert node.stop(number) == 0
    assert "Traceback" not in node.log() and "rror" not in node.log(), node.log()


def test_bad_parameter_fails_configure_and_can_be_mended(probe, start):
    node = start("-p", "fuse_rate_hz:=5000.0", "-p", "fuse_rat:=3", *QUICK)
    probe.wait("the refusal", lambda: "configure failed" in node.log(), node)
    assert "fuse_rate_hz: saw 5000.0, expected a value from 0.2 to 100" in node.log()
    assert "fuse_rat is not known and ignored; did you mean fuse_rate_hz" in node.log()
    assert probe.lifecycle_state(node) == "unconfigured"
    assert probe.set_parameter("fuse_rate_hz", 20.0).successful
    assert probe.change_state(Transition.TRANSITION_CONFIGURE, node), node.log()


def test_publisher_of_another_type_is_named(probe, start):
    node = start("-p", "camera.type:=sensor_msgs/msg/CompressedImage", "-p", "imu.reliability:=reliable", *QUICK)
    probe.feed_camera()
    probe.feed_imu(qos=BEST_EFFORT)

    def told():
        statuses = {s.name.split()[-1]: s for s in probe.diagnostics[-1].status} if probe.diagnostics else {}
        camera, imu = statuses.get("camera"), statuses.get("imu")
        return (
            camera
            and "publishes sensor_msgs/msg/Image" in camera.message
            and camera.level == DiagnosticStatus.WARN
            and "publishes best effort" in imu.message
        )

    probe.wait("diagnostics that name both", told, node)
    assert "set camera.type or camera.topic" in node.log() and "set imu.reliability to auto" in node.log()


@pytest.mark.parametrize("name", ["camera.topic", "battery_topic"])
def test_topic_that_cannot_be_fails_configure(probe, start, name):
    node = start("-p", f"{name}:='front camera'", *QUICK)
    assert probe.wait("the refusal", lambda: f"configure failed: parameter {name}: saw 'front camera'" in node.log(), node)


def test_parameter_file_that_is_none_ends_it_in_one_line(start, tmp_path):
    (tmp_path / "bad.yaml").write_text("/**:\n\tros__parameters:\n")
    node = start("--params-file", str(tmp_path / "bad.yaml"), expect_end=True)
    assert node.process.wait(60) == 2
    assert "cannot start" in node.log() and "bad.yaml" in node.log() and "Traceback" not in node.log()


def test_whole_number_for_a_decimal_parameter_is_fine(probe, start):
    node = start("-p", "fuse_rate_hz:=5", *QUICK)
    probe.feed_imu()
    assert probe.wait_new_prediction(lambda p: p.valid, "a prediction", node)


def test_corrupt_model_fails_configure_and_another_works(probe, start, tmp_path):
    (tmp_path / "model.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"no tensors here")
    node = start(*QUICK, "-p", f"model:={tmp_path}")
    probe.wait("the refusal", lambda: "configure failed" in node.log(), node)
    assert "model.json" in node.log() and probe.lifecycle_state(node) == "unconfigured"
    assert probe.set_parameter("model", "utd_mhad_depth_imu").successful
    assert probe.change_state(Transition.TRANSITION_CONFIGURE, node) and probe.change_state(Transition.TRANSITION_ACTIVATE, node)
    probe.feed_imu()
    probe.wait_new_prediction(lambda p: p.valid, "a prediction with the good model", node)


def test_without_autostart_it_waits(probe, start):
    node = start("-p", "autostart:=false", *QUICK)
    assert probe.lifecycle_state(node) == "unconfigured"
    assert probe.change_state(Transition.TRANSITION_CONFIGURE, node)
    assert probe.lifecycle_state(node) == "inactive"
