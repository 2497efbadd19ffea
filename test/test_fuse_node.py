"""fuse_node over real DDS, in a process of its own: what a robotics team would do to it, one thing per test.

The tests share one process and configure it anew; test_fuse_node_start.py has those that need a process each.
"""

import importlib.util
import itertools
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")

from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from rclpy.parameter import parameter_value_to_python
from ros_harness import QUICK, NodeUnderTest
from sensor_msgs.msg import BatteryState, Image, Imu
from std_msgs.msg import Float32, Header
from visualization_msgs.msg import MarkerArray

from sentryfuse_ros.msg import ModalityStatus as S
from sentryfuse_ros.nanoseconds import stamp_to_ns
from sentryfuse_ros.nodes.views import text_lifetime
from sentryfuse_ros.srv import SetSensor


@pytest.fixture(scope="module")
def process(ros, tmp_path_factory):
    """A process that many tests share: loading it takes longer than most of them."""
    roots = ("-p", f"model_roots:={tmp_path_factory.getbasetemp()}")
    shared = NodeUnderTest(tmp_path_factory.mktemp("shared"), "fuse_node", "-p", "autostart:=false", *roots, *QUICK)
    yield shared
    assert shared.alive(), f"the node ended by itself:\n{shared.log()}"
    assert shared.stop() == 0, shared.log()


@pytest.fixture
def unconfigured(probe, process):
    """The shared process with nothing left of the test before: unconfigured, with its parameters as at start."""
    before = {}
    process.begin_log()

    def set_parameters(**changes):
        for name, value in changes.items():
            before.setdefault(name, parameter_value_to_python(probe.get_parameter(name)))
            assert probe.set_parameter(name, value).successful
        return process

    yield set_parameters
    probe.bring_to("unconfigured", process)
    for name, value in before.items():
        assert probe.set_parameter(name, value).successful


@pytest.fixture
def node(probe, unconfigured):
    """The shared process, configured anew and active."""
    shared = unconfigured(pruning_ratio_override=-1.0)
    probe.bring_to("active", shared)
    return shared


@pytest.fixture
def fed(probe, node):
    """An active node with camera and IMU running, and both live."""
    feed_both(probe, node)
    return node


def feed_both(probe, node):
    probe.feed_camera()
    probe.feed_imu()
    probe.wait_new_prediction(lambda p: p.valid and list(p.mask) == [True, True], "a prediction from both sensors", node)
    probe.wait_all_topics(node)


def test_prediction_mask_and_model_are_published(probe, fed):
    p = probe.wait_new_prediction(lambda p: p.valid, "a valid prediction", fed)
    assert list(p.modalities) == ["camera", "imu"] and list(p.sensors) == ["camera", "imu"]
    assert len(p.probabilities) == 27 and abs(sum(p.probabilities) - 1) < 1e-4
    assert p.confidence == pytest.approx(max(p.probabilities)) and p.class_name == probe.infos[-1].classes[p.class_id]
    assert sum(p.attention_share) == pytest.approx(1, abs=1e-4) and p.inference_ms > 0
    assert p.header.frame_id == "base_link" and 0 <= p.latency_ms < 5000
    mask = probe.masks[-1]
    assert [s.name for s in mask.sensors] == ["camera", "imu", "audio", "lidar"]
    assert mask.sensors[2].state == S.NEVER_SEEN and mask.sensors[0].topic == "/camera/image_raw"


def test_camera_unplugged_and_back(probe, fed):
    probe.silence("/camera/image_raw")
    status = probe.wait_state("camera", S.STALE, fed)
    assert "no message for" in status.reason and status.alarm
    p = probe.wait_new_prediction(lambda p: p.valid and list(p.mask) == [False, True], "a prediction from the IMU alone", fed)
    assert p.attention_share[0] == 0 and list(p.sensors) == ["", "imu"]
    probe.feed_camera()
    probe.wait_new_prediction(lambda p: p.valid and list(p.mask) == [True, True], "the camera's return", fed)


def test_without_any_sensor_the_node_says_so_and_keeps_publishing(probe, fed):
    probe.silence("/camera/image_raw")
    probe.silence("/imu/data")
    p = probe.wait_new_prediction(lambda p: not p.valid, "a prediction that says there is none", fed)
    assert "no live sensor" in p.reason
    assert not len(p.probabilities) and p.class_name == "" and p.confidence == 0 and not any(p.mask)
    gone = "camera STALE", "imu STALE"
    probe.wait_new_prediction(lambda p: all(words in p.reason for words in gone), "a prediction that names both", fed)
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
    assert "same payload" in probe.wait_state("camera", S.FROZEN, fed).reason


def test_malformed_messages_are_counted_and_nothing_dies(probe, fed):
    probe.silence("/imu/data")
    sizes = itertools.cycle((3, 4, 20, 100, 323))

    def broken(stamp):
        size = next(sizes)
        return b"\x00\x01\x00\x00"[:size] + b"\xff" * (size - 4)

    probe.feed("/imu/data", Imu, broken, 50.0)
    probe.wait_status("imu", lambda status: status.invalid >= 20, "twenty invalid", fed)
    assert "MALFORMED" in probe.wait_state("imu", S.INVALID, fed).reason
    probe.wait_new_prediction(lambda p: p.valid and list(p.mask) == [True, False], "predictions go on", fed)


def test_nan_imu_is_invalid(probe, fed):
    probe.silence("/imu/data")

    def broken(stamp):
        message = probe.imu(stamp)
        message.linear_acceleration.x = float("nan")
        return message

    probe.feed("/imu/data", Imu, broken, 50.0)
    assert "nan" in probe.wait_state("imu", S.INVALID, fed).reason.lower()


def test_battery_sets_the_ratio_and_nan_does_not_break_it(probe, fed):
    probe.feed("/battery_state", BatteryState, probe.battery(0.15), 5.0)
    probe.wait_new_prediction(lambda p: p.pruning_ratio >= 0.7, "a high ratio at 15 %", fed)
    state = probe.wait("its state", lambda: next((q for q in probe.prunings if q.ratio >= 0.7), None), fed)
    assert "battery 15 %" in state.reason
    assert 0 < state.flops < state.flops_dense and 0 < state.parameters < state.parameters_dense
    probe.silence("/battery_state")
    probe.feed("/battery_state", BatteryState, probe.battery(float("nan")), 5.0)
    said = probe.wait("NaN is said", lambda: next((q for q in probe.prunings if "NaN" in q.reason), None), fed)
    assert said.ratio >= 0.7


def test_power_budget_sets_the_ratio(probe, fed):
    probe.feed("/power_budget", Float32, lambda stamp: Float32(data=5.0), 5.0)
    assert probe.wait_new_prediction(lambda p: p.pruning_ratio == pytest.approx(0.9), "the highest ratio at least power", fed)


def test_a_budget_is_held_by_what_the_battery_measures(probe, unconfigured):
    node = unconfigured(power_measurement="battery", dwell_s=0.2)
    probe.bring_to("active", node)
    probe.feed_imu()

    def battery(stamp):
        """A robot that draws 8 W unless it prunes by half or more."""
        ratio = probe.prunings[-1].ratio if probe.prunings else 0.0
        return BatteryState(percentage=0.9, voltage=16.0, current=-0.5 if ratio < 0.5 else -0.3, header=Header(stamp=stamp))

    probe.feed("/battery_state", BatteryState, battery, 20.0)
    probe.feed("/power_budget", Float32, lambda stamp: Float32(data=6.0), 5.0)

    def met(state):
        return 4.7 < state.power_w < 4.9 and state.ratio >= 0.5 and "W of a budget of 6 W asks" in state.reason

    probe.wait("the budget is met", lambda: any(map(met, probe.prunings)), node)


def test_a_power_sensor_that_is_not_there_fails_configure(probe, unconfigured):
    node = unconfigured(power_measurement="hwmon", power_rail="VDD_NONE")
    assert not probe.change_state(Transition.TRANSITION_CONFIGURE, node)
    probe.wait("the refusal", lambda: "configure failed: parameter power_rail: saw 'VDD_NONE'" in node.log(), node)


def test_override_can_be_set_and_taken_back_while_running(probe, fed):
    assert probe.set_parameter("pruning_ratio_override", 0.5).successful
    probe.wait_new_prediction(lambda p: p.pruning_ratio == pytest.approx(0.5), "the override", fed)
    assert probe.set_parameter("pruning_ratio_override", -1.0).successful
    probe.wait_new_prediction(lambda p: p.pruning_ratio == 0, "the dense model again", fed)
    refused = probe.set_parameter("pruning_ratio_override", 2.0)
    assert not refused.successful and "pruning_ratio_override" in refused.reason and "0.9" in refused.reason
    refused = probe.set_parameter("fuse_rate_hz", 20.0)
    assert not refused.successful and "configure" in refused.reason


def test_a_sensor_that_a_high_ratio_leaves_out_sleeps_and_wakes_when_the_other_dies(probe, unconfigured):
    # The camera is to count as live all the time, even if a busy machine does not let this process publish for a while.
    node = unconfigured(**{"pruning_ratio_override": -1.0, "camera.timeout_s": 5.0})
    probe.bring_to("active", node)
    feed_both(probe, node)
    probe.wait_new_prediction(lambda p: p.valid and list(p.used) == [True, True], "a prediction of the whole model", node)
    assert probe.set_parameter("pruning_ratio_override", 0.9).successful
    pruned = probe.wait_new_prediction(
        lambda p: p.valid and list(p.mask) == [True, True] and list(p.used) == [False, True], "a prediction from the IMU", node
    )
    assert list(pruned.sensors) == ["camera", "imu"] and pruned.attention_share[0] == 0
    state = probe.wait("its cost", lambda: next((q for q in probe.prunings if q.ratio > 0.8), None), node)
    assert 0 < state.plan_ms < 0.7 * state.plan_ms_dense and 0.5 < state.plan_accuracy < 1
    probe.wait_status("camera", lambda status: status.asleep and status.state == S.OK, "the camera sleeps", node)
    assert not probe.status_of("imu").asleep
    probe.silence("/imu/data")
    count = len(probe.predictions)
    probe.wait_new_prediction(lambda p: p.valid and list(p.used) == [True, False], "a prediction from the camera", node)
    assert all(p.valid for p in probe.predictions[count:])
    probe.wait("the camera is awake", lambda: not probe.status_of("camera").asleep, node)


@pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="onnxruntime is not installed")
def test_a_node_on_onnx_runtime_never_loads_torch(probe, fed):
    probe.wait_new_prediction(lambda p: p.valid, "a prediction", fed)
    libraries = Path(f"/proc/{fed.process.pid}/maps").read_text()
    assert "onnxruntime" in libraries and "libtorch" not in libraries


def test_invalid_transition_is_refused_and_survived(probe, fed):
    assert probe.change_state(Transition.TRANSITION_CONFIGURE, fed) is False  # active cannot be configured
    probe.wait_new_prediction(lambda p: p.valid, "predictions after the refused request", fed)
    assert "transition configure refused: the node is active, where deactivate or shutdown is possible" in fed.log()


def test_deactivate_silences_and_activate_resumes(probe, fed):
    assert probe.change_state(Transition.TRANSITION_DEACTIVATE, fed)
    silent = probe.node.get_clock().now().nanoseconds
    assert probe.lifecycle_state(fed) == "inactive"
    assert probe.change_state(Transition.TRANSITION_CLEANUP, fed) and probe.lifecycle_state(fed) == "unconfigured"
    assert probe.change_state(Transition.TRANSITION_CONFIGURE, fed)
    again = probe.node.get_clock().now().nanoseconds
    assert probe.change_state(Transition.TRANSITION_ACTIVATE, fed)
    probe.wait_new_prediction(
        lambda p: p.valid and stamp_to_ns(p.tick.sec, p.tick.nanosec) > again, "predictions after coming back", fed
    )
    assert not [p for p in probe.predictions if silent < stamp_to_ns(p.tick.sec, p.tick.nanosec) < again]


def test_diagnostics_name_every_part(probe, fed):
    probe.wait("the loop's diagnosis", lambda: probe.diagnosis("loop")[1], fed)
    array = probe.diagnostics[-1]
    names = {status.name for status in array.status}
    assert names == {
        f"fuse_node: {part}"
        for part in ("node", "sensor camera", "sensor imu", "sensor audio", "sensor lidar", "model", "power", "loop")
    }
    loop = next(s for s in array.status if s.name.endswith("loop"))
    assert {v.key: v.value for v in loop.values}["failed"] == "0"


def test_diagnostics_speak_in_every_lifecycle_state(probe, unconfigured):
    node = unconfigured(fuse_rate_hz=10.0)

    def wait_for(level, text):
        def said():  # a node of a test before may still be listed for a while
            found = probe.diagnosis("node")
            return found[0] == level and text in found[1]

        probe.wait(f"'{text}' with level {level!r} in diagnostics", said, node)

    wait_for(DiagnosticStatus.OK, "unconfigured: waiting to be configured")
    assert probe.set_parameter("model", "no_such_model").successful
    assert not probe.change_state(Transition.TRANSITION_CONFIGURE, node)
    wait_for(DiagnosticStatus.ERROR, "unconfigured: configure failed: ")
    assert "no_such_model" in probe.diagnosis("node")[1]
    assert probe.set_parameter("model", "utd_mhad_depth_imu").successful
    assert probe.change_state(Transition.TRANSITION_CONFIGURE, node)
    wait_for(DiagnosticStatus.OK, "inactive: waiting to be activated")
    assert probe.change_state(Transition.TRANSITION_ACTIVATE, node)
    wait_for(DiagnosticStatus.OK, "active")
    probe.wait("the loop's status", lambda: probe.diagnosis("loop")[1] == "running", node)


def test_sensors_that_never_come_are_diagnosed_when_grace_is_over(probe, process, unconfigured):
    node = unconfigured(sensors=["imu", "audio", "lidar"])
    node = unconfigured(**{"audio.grace_s": 0.1, "lidar.grace_s": 0.1, "lidar.required": True})
    probe.bring_to("active", node)
    probe.feed_imu()
    wait = {"audio": DiagnosticStatus.WARN, "lidar": DiagnosticStatus.ERROR}
    probe.wait("their levels", lambda: {name: probe.diagnosis(f"sensor {name}")[0] for name in wait} == wait, node)
    # Its text and not its level: Fast DDS may still list publishers of earlier tests, and their number is warned of.
    probe.wait("the live one's", lambda: probe.diagnosis("sensor imu")[1].startswith("OK"), node)
    probe.wait_log(node, "audio: NEVER_SEEN", "lidar: NEVER_SEEN")
    assert "[WARN]" in next(line for line in node.log().splitlines() if "lidar: NEVER_SEEN" in line)
    assert node.log().count("audio: NEVER_SEEN") == 1


def test_a_sensor_is_disabled_and_enabled_while_running(probe, fed):
    assert probe.set_sensor("camera", SetSensor.Request.DISABLE, "lens is dirty", fed).success
    status = probe.wait_state("camera", S.DISABLED, fed)
    assert status.reason == "by request: lens is dirty" and not status.alarm
    probe.wait_new_prediction(lambda p: p.valid and list(p.mask) == [False, True], "a prediction without it", fed)
    probe.wait("nobody subscribes to it", lambda: probe.node.count_subscribers("/camera/image_raw") == 0, fed)
    probe.wait("its diagnosis", lambda: probe.diagnosis("sensor camera")[1].startswith("DISABLED"), fed)
    assert probe.diagnosis("sensor camera")[0] == DiagnosticStatus.OK
    assert probe.set_sensor("camera", SetSensor.Request.ENABLE, under_test=fed).success
    probe.wait_new_prediction(lambda p: p.valid and list(p.mask) == [True, True], "its return", fed)


def test_a_lost_sensor_is_acknowledged_as_gone(probe, fed):
    refused = probe.set_sensor("camera", SetSensor.Request.ACKNOWLEDGE, under_test=fed)
    assert not refused.success and "sensor camera: saw OK, expected a sensor that is lost" in refused.message
    probe.silence("/camera/image_raw")
    probe.wait("its alarm", lambda: probe.status_of("camera").alarm, fed)
    assert probe.set_sensor("camera", SetSensor.Request.ACKNOWLEDGE, "unplugged", fed).success
    status = probe.wait_status("camera", lambda status: not status.alarm, "no alarm", fed)
    assert status.state == S.STALE and status.reason.endswith("; known: unplugged")
    probe.feed_camera()
    probe.wait_state("camera", S.OK, fed)
    probe.silence("/camera/image_raw")
    probe.wait("the next alarm", lambda: probe.status_of("camera").alarm, fed)


def test_views_are_published_while_someone_looks(probe, fed):
    images, markers = probe.listen(Image, "/fuse_node/image"), probe.listen(MarkerArray, "/fuse_node/markers")
    probe.wait("a picture with the depth image", lambda: [m for m in images if np.frombuffer(m.data, np.uint8).std() > 5], fed)
    assert images[-1].encoding == "bgr8" and len(images[-1].data) == images[-1].step * images[-1].height
    marker = probe.wait("a text", lambda: next((m.markers[0] for m in markers if "camera OK" in m.markers[0].text), None), fed)
    assert marker.header.frame_id == "base_link" and "pruning ratio 0.00" in marker.text
    assert marker.text.split()[0] in probe.infos[-1].classes


@pytest.mark.parametrize(("rate_hz", "lifetime_s"), [(10.0, 1.0), (2.0, 1.0), (0.8, 2.5), (0.2, 10.0)])
def test_a_text_stays_until_the_next_one_comes(rate_hz, lifetime_s):
    lifetime = text_lifetime(rate_hz)
    assert stamp_to_ns(lifetime.sec, lifetime.nanosec) == lifetime_s * 1e9


def test_the_picture_of_a_dead_camera_is_not_shown_as_that_of_now(probe, fed):
    images = probe.listen(Image, "/fuse_node/image")

    def coloured():
        """Share of the newest picture that has a colour, without the bands at its edges."""
        if not images:
            return 0.0
        shown = np.frombuffer(images[-1].data, np.uint8).reshape(images[-1].height, images[-1].width, 3)[60:-80]
        return float((np.ptp(shown.astype(int), axis=2) > 60).mean())

    probe.wait("the colours of depth", lambda: coloured() > 0.1, fed)
    probe.silence("/camera/image_raw")
    probe.wait("a grey picture with a coloured text", lambda: 0 < coloured() < 0.08, fed)
    assert probe.status_of("camera").state == S.STALE
    probe.feed_camera()
    probe.wait("the colours again", lambda: coloured() > 0.1, fed)


def test_classification_is_published_where_vision_msgs_is_installed(probe, fed):
    vision_msgs = pytest.importorskip("vision_msgs.msg", reason="vision_msgs comes with a ROS 2 installation, it is not on PyPI")
    heard = probe.listen(vision_msgs.Classification, "/fuse_node/classification")
    probe.wait("a classification", lambda: heard and heard[-1].results, fed)
    results = heard[-1].results
    assert [r.class_id for r in results] == list(probe.infos[-1].classes) and sum(r.score for r in results) == pytest.approx(1)


def test_set_sensor_names_the_sensors_that_there_are(probe, fed):
    answer = probe.set_sensor("radar", SetSensor.Request.DISABLE, under_test=fed)
    assert not answer.success and "'radar', expected one of camera, imu, audio, lidar" in answer.message


def test_ordinary_callbacks_if_configured(probe, unconfigured):
    node = unconfigured(receive="callback")
    probe.bring_to("active", node)
    probe.feed_camera()
    probe.feed_imu()
    probe.wait_new_prediction(lambda p: list(p.mask) == [True, True], "both sensors by callback", node)
    probe.wait_log(node, "receive callback")


@pytest.mark.parametrize("name", ["camera.topic", "battery_topic"])
def test_impossible_topic_name_fails_configure(probe, unconfigured, name):
    node = unconfigured(**{name: "front camera"})
    assert not probe.change_state(Transition.TRANSITION_CONFIGURE, node)
    assert probe.wait("the refusal", lambda: f"configure failed: parameter {name}: saw 'front camera'" in node.log(), node)


def test_a_driver_with_an_impossible_name_fails_configure_and_leaves_nothing_behind(probe, unconfigured):
    node = unconfigured(**{"lidar.may_switch_off": True, "lidar.driver_node": "lidar driver"})
    assert not probe.change_state(Transition.TRANSITION_CONFIGURE, node)
    probe.wait_log(node, "configure failed: parameter lidar.driver_node: saw 'lidar driver', expected the name of a node")
    probe.wait("no publisher", lambda: probe.node.count_publishers("/fuse_node/prediction") == 0, node)


def test_a_sensor_that_is_named_before_configure_gets_its_parameters(probe, unconfigured):
    refused = probe.set_parameter("sensors", ["imu", "imu"])
    assert not refused.successful and "parameter sensors" in refused.reason and "each name once" in refused.reason
    node = unconfigured(sensors=["camera", "second_imu"])
    node = unconfigured(**{"second_imu.topic": "imu/data", "second_imu.model_input": "imu"})
    probe.bring_to("active", node)
    probe.feed_camera()
    probe.feed_imu()
    serving = ["camera", "second_imu"]
    probe.wait_new_prediction(lambda p: p.valid and list(p.sensors) == serving, "a prediction from both sensors", node)


def test_what_is_read_at_the_start_only_is_not_accepted_later(probe, process):
    for name, value in (("autostart", True), ("autostart_retry_s", 1.0), ("model_roots", "/")):
        refused = probe.set_parameter(name, value)
        assert not refused.successful and refused.reason == f"parameter {name} can only be given when the node starts"


def test_corrupt_model_fails_configure_and_another_works(probe, unconfigured, tmp_path):
    (tmp_path / "model.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"no tensors here")
    node = unconfigured(model=str(tmp_path))
    assert not probe.change_state(Transition.TRANSITION_CONFIGURE, node)
    probe.wait("the refusal", lambda: "configure failed" in node.log(), node)
    assert "model.json" in node.log() and probe.lifecycle_state(node) == "unconfigured"
    assert probe.set_parameter("model", "utd_mhad_depth_imu").successful
    assert probe.change_state(Transition.TRANSITION_CONFIGURE, node) and probe.change_state(Transition.TRANSITION_ACTIVATE, node)
    probe.feed_imu()
    probe.wait_new_prediction(lambda p: p.valid, "a prediction with the good model", node)
