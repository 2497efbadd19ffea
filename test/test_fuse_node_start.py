"""fuse_node tests that need a process each: arguments at start, names, clocks, signals, and what the graph tells of QoS.

(The graph of a long-lived process may still list publishers of the test before.)
"""

import itertools
import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_harness import BEST_EFFORT, QUICK, Probe, environment
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, Imu

from sentryfuse_ros.nodes.messages import to_time
from sentryfuse_ros.paths import executable_path, model_path


def test_namespace_node_name_and_remapping(ros, start):
    node = start("-r", "__ns:=/bot", "-r", "__node:=fuser", "-r", "imu/data:=/wrist/imu", *QUICK)
    probe = Probe("/bot", "fuser")
    try:
        probe.feed_camera("/bot/camera/image_raw")
        probe.feed_imu("/wrist/imu")
        probe.wait_new_prediction(lambda p: list(p.mask) == [True, True], "both topics", node)
        probe.wait_status("imu", lambda status: status.topic == "/wrist/imu", "the IMU's topic", node)
    finally:
        probe.close()


def test_a_cache_that_cannot_be_written_is_named_with_what_it_costs(probe, start, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    node = start(*QUICK)
    probe.wait_log(node, "every start measures these times again", str(tmp_path / "file"), "XDG_CACHE_HOME", "active at")


REFUSING = """
import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter
from sentryfuse_ros.nodes.fuse_node import FuseNode

class Careful(FuseNode):
    def __init__(self):
        super().__init__()
        self.add_on_set_parameters_callback(self.refuse_much)

    def refuse_much(self, changes):
        much = any(change.name == "pruning_ratio_override" and change.value > 0.3 for change in changes)
        return SetParametersResult(successful=not much)

rclpy.init()
node = Careful()
node.set_parameters([Parameter("backend", value="onnxruntime"), Parameter("warm_up", value=False)])
node.trigger_configure()
for ratio in (0.5, 0.2, 0.4):
    result = node.set_parameters_atomically([Parameter("pruning_ratio_override", value=ratio)])
    print(ratio, result.successful, node._configured.pipeline._governor._override)
"""


def test_a_change_that_another_callback_refuses_is_not_applied(ros):
    """Humble has no callback for what was set; the node relies on being asked last."""
    said = subprocess.run([sys.executable, "-c", REFUSING], capture_output=True, text=True)
    assert said.stdout.splitlines() == ["0.5 False None", "0.2 True 0.2", "0.4 False 0.2"], said.stderr


def test_the_node_starts_without_a_console(probe):
    command = [sys.executable, str(executable_path("fuse_node")), "--ros-args", "-p", "autostart:=false"]
    process = subprocess.Popen(command, env=environment(), preexec_fn=partial(os.close, 2))
    try:
        assert probe.lifecycle_state() == "unconfigured"
    finally:
        process.terminate()
        assert process.wait(180) == 0


def test_arguments_that_ros_does_not_read_are_named(probe, start):
    node = start("-p", "autostart:=false", "--", "--params-file", "my robot.yaml")
    probe.wait_log(node, "ignored: --params-file 'my robot.yaml'; parameters and remappings come after --ros-args")


def test_a_second_node_of_the_same_name_is_noticed_until_it_ends(probe, start):
    first = start("-p", "autostart:=false")
    probe.wait("a node that is alone", lambda: probe.diagnosis("node")[0] == DiagnosticStatus.OK, first)
    second = start("-p", "autostart:=false", expect_end=True)
    _, text = probe.wait("a warning", lambda: _if(probe.diagnosis("node"), DiagnosticStatus.WARN), first)
    assert text.startswith("unconfigured: waiting to be configured; another node has the same name")
    assert second.stop() == 0
    probe.wait("a node that is alone again", lambda: probe.diagnosis("node")[0] == DiagnosticStatus.OK, first)


def _if(diagnosis, level):
    return diagnosis if diagnosis[0] == level else None


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


def test_simulated_clock_that_jumps_back(probe, start):
    node = start("-p", "use_sim_time:=true", *QUICK)
    publisher = probe.node.create_publisher(Clock, "/clock", 10)
    now = {"s": 1000.0}

    def tick(stamp):
        now["s"] += 0.01
        return Clock(clock=stamp_of(now["s"]))

    def stamp_of(seconds):
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
    probe.wait_log(node, "jumped back")
    del publisher


def test_the_clock_can_only_be_exchanged_while_the_node_is_not_active(probe, start):
    node = start("-p", "use_sim_time:=true", *QUICK)
    ticks = itertools.count(1000 * 100)
    probe.feed("/clock", Clock, lambda _: Clock(clock=to_time(next(ticks) * 10_000_000)), 100.0)
    probe.wait_new_prediction(lambda p: 1000 <= p.tick.sec < 10_000, "predictions in simulated time", node)
    refused = probe.set_parameter("use_sim_time", False)
    assert not refused.successful and "deactivate the node" in refused.reason
    assert probe.set_parameter("use_sim_time", True).successful, "no change"
    probe.bring_to("inactive", node)
    assert probe.set_parameter("use_sim_time", False).successful
    probe.bring_to("active", node)
    probe.wait_new_prediction(lambda p: p.tick.sec > 10_000, "predictions on the clock of the system", node)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_while_it_still_loads(probe, start, number, tmp_path, monkeypatch):
    # With an empty cache it goes on for seconds, in which even a busy machine lets this test send its signal: the backends are
    # measured, and then the plans.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    node = start("-p", "model:=ground_robot", "-p", "warm_up:=true", expect_end=True)
    maps = Path(f"/proc/{node.process.pid}/maps")
    # The library that runs the model is being loaded: the node is in the middle of its configuration.
    libraries = "libtorch", "onnxruntime_pybind"
    probe.wait("a library", lambda: any(library in maps.read_text() for library in libraries), node)
    assert node.stop(number) == 0, node.log()
    assert "Traceback" not in node.log()
    assert "active at" not in node.log() and "configure broken off by SIG" in node.log()


def test_signal_while_a_lifecycle_manager_configures(probe, start):
    node = start("-p", "autostart:=false", *QUICK, expect_end=True)
    assert probe.lifecycle_state(node) == "unconfigured"
    client = probe.node.create_client(ChangeState, probe.base + "/change_state")
    probe.wait("the service", client.service_is_ready, node)
    request = ChangeState.Request()
    request.transition.id = Transition.TRANSITION_CONFIGURE
    client.call_async(request)
    maps = Path(f"/proc/{node.process.pid}/maps")
    probe.wait("the model is being loaded", lambda: "onnxruntime_pybind" in maps.read_text(), node)
    assert node.stop() == 0, node.log()
    assert "Traceback" not in node.log()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_the_node_cleanly(without_nohup, probe, start, number):
    node = start(*QUICK, expect_end=True)
    probe.feed_imu()
    probe.wait_new_prediction(lambda p: p.valid, "a prediction", node)
    assert node.stop(number) == 0
    assert "Traceback" not in node.log() and "rror" not in node.log(), node.log()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_further_signals_do_not_change_how_it_ends(probe, start, number):
    node = start(*QUICK, expect_end=True)
    probe.feed_imu()
    probe.wait_new_prediction(lambda p: p.valid, "a prediction", node)

    def ended():
        node.process.send_signal(number)  # again and again, also while the interpreter ends
        return not node.alive()

    probe.wait("its end", ended)
    assert node.stop() == 0, node.log()
    assert "Traceback" not in node.log()


def test_under_nohup_a_closed_terminal_does_not_end_the_node(probe, start):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        node = start(*QUICK)
    finally:
        signal.signal(signal.SIGHUP, before or signal.SIG_DFL)
    probe.feed_imu()
    probe.wait_new_prediction(lambda p: p.valid, "a prediction", node)
    node.process.send_signal(signal.SIGHUP)
    probe.wait_new_prediction(lambda p: p.valid, "a prediction after the signal", node)


def test_bad_parameter_fails_configure_and_can_be_corrected(probe, start):
    node = start("-p", "fuse_rate_hz:=5000.0", "-p", "fuse_rat:=3", *QUICK)
    probe.wait("the refusal", lambda: "configure failed" in node.log(), node)
    assert "fuse_rate_hz: saw 5000.0, expected a value from 0.2 to 100" in node.log()
    assert "fuse_rat is not known and ignored; did you mean fuse_rate_hz" in node.log()
    assert probe.lifecycle_state(node) == "unconfigured"
    assert probe.set_parameter("fuse_rate_hz", 20.0).successful
    assert probe.change_state(Transition.TRANSITION_CONFIGURE, node), node.log()


def test_all_mistakes_of_a_file_are_reported_at_once(probe, start, tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "/**: {ros__parameters: {fuse_rate_hz: 5000.0, model: no_such_model, dwell_s: soon, battery_topic: /imu/data, "
        "power_budget_min_w: 20.0, sensors: [camera, imu, lidar], camera: {topic: 'a//b', type: unittest/__main__/x}, "
        "imu: {topic: /imu/data, frozen_samples: 1}, lidar: {limits: {min_pts: 3}}}}"
    )
    node = start("--params-file", str(tmp_path / "mine.yaml"))
    probe.wait("the refusal", lambda: "configure failed" in node.log(), node)
    mistakes = [line.strip() for line in node.log().splitlines() if line.startswith("  ")]
    assert sorted(mistake.partition(": saw ")[0] for mistake in mistakes) == [
        "parameter camera.topic",
        "parameter camera.type",
        "parameter dwell_s",
        "parameter fuse_rate_hz",
        "parameter imu.topic",
        "parameter model",
        "power_budget_max_w",
        "sensor imu: frozen_samples",
        "sensor lidar: lidar limit 'min_pts'",
    ]
    assert "configure failed: 9 mistakes:" in node.log()
    assert "/imu/data, on which battery_topic expects sensor_msgs/msg/BatteryState" in node.log()
    assert "expected one of sensor_msgs/msg/Image" in node.log()  # and the module unittest.__main__ is not loaded


def test_a_start_that_fails_is_tried_again_until_it_succeeds(probe, start, tmp_path):
    node = start("-p", f"model:={tmp_path / 'drive' / 'mine'}", "-p", "autostart_retry_s:=0.2", "-p", "warm_up:=false")
    probe.wait("the refusal", lambda: "tries again in 0.2 s" in node.log(), node)
    probe.wait("the reason", lambda: "configure failed" in probe.diagnosis("node")[1], node)
    assert probe.lifecycle_state(node) == "unconfigured"
    shutil.copytree(model_path("utd_mhad_depth_imu"), tmp_path / "half copied" / "mine")
    (tmp_path / "half copied").rename(tmp_path / "drive")  # at once: half a model would be another reason
    probe.feed_imu()
    assert probe.wait_new_prediction(lambda p: p.valid, "a prediction", node)
    assert node.log().count("configure failed") == 1  # and not a line five times a second


def test_a_file_for_another_node_is_warned_of(probe, start, tmp_path):
    (tmp_path / "mine.yaml").write_text("other_node: {ros__parameters: {fuse_rate_hz: 5.0}}")
    node = start("--params-file", str(tmp_path / "mine.yaml"), "-p", "autostart:=false")
    probe.wait("the warning", lambda: "saw /other_node, expected /fuse_node or /**" in node.log(), node)


def test_of_a_recording_that_is_played_without_its_clock_the_remedy_is_use_sim_time(probe, start):
    node = start(*QUICK)
    probe.feed("/imu/data", Imu, lambda stamp: probe.imu(Time(sec=stamp.sec - 86_400)), 50.0)
    probe.wait_log(node, "imu: LATE", "or use_sim_time: true if a recording is played (ros2 bag play --clock)")


@pytest.mark.parametrize(
    ("text", "seen", "remedy"),
    [
        ("/**:\n\tros__parameters:\n", "bad.yaml: saw ", "in line 2"),
        ("sensors: [imu]\nfuse_rate_hz: 5.0\n", "bad.yaml: saw sensors without ros__parameters", "begin with '/**:'"),
        ("fuse_node:\n  ros_parameters:\n    dwell_s: 5.0\n", "saw fuse_node without ros__parameters", "begin with '/**:'"),
        (
            "/**:\n  ros__parameters:\n    battery_curve_percent: [10, 20.0]\n",
            "bad.yaml: parameter battery_curve_percent: saw [10, 20.0]",
            "write 10.0 for 10",
        ),
        ("/**:\n  ros__parameters:\n    imu: {topic: }\n", "parameter imu.topic: saw no value", "leave the line out"),
        ("/**:\n  ros__parameters:\n    sensors: [imu, 2]\n", "parameter sensors: saw ['imu', 2]", "quotes around each text"),
    ],
)
def test_malformed_parameter_file_ends_the_node_with_one_line(start, tmp_path, text, seen, remedy):
    (tmp_path / "bad.yaml").write_text(text)
    node = start("--params-file", str(tmp_path / "bad.yaml"), expect_end=True)
    assert node.process.wait(180) == 2
    assert "cannot start: parameter file" in node.log() and seen in node.log() and remedy in node.log()
    assert "Traceback" not in node.log()


def test_sensors_that_serve_no_input_of_the_model_are_named(probe, start):
    node = start("-p", "sensors:=[imu,rear]", "-p", "rear.topic:=rear/image_raw", *QUICK)
    probe.wait_log(node, "watched but not fused", "of that name: rear; the parameter model_input", "one of camera, imu")


def test_whole_number_for_a_decimal_parameter_is_fine(probe, start):
    node = start("-p", "fuse_rate_hz:=5", *QUICK)
    probe.feed_imu()
    assert probe.wait_new_prediction(lambda p: p.valid, "a prediction", node)


def test_without_autostart_the_node_waits(probe, start):
    node = start("-p", "autostart:=false", *QUICK)
    assert probe.lifecycle_state(node) == "unconfigured"
    assert probe.change_state(Transition.TRANSITION_CONFIGURE, node)
    assert probe.lifecycle_state(node) == "inactive"


def test_best_effort_camera_and_late_reliable_imu(probe, start):
    node = start(*QUICK)
    probe.feed_camera(qos=BEST_EFFORT)
    probe.wait_new_prediction(lambda p: p.valid and list(p.mask) == [True, False], "the best-effort camera", node)
    probe.feed_imu(qos=QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE))
    probe.wait_new_prediction(lambda p: list(p.mask) == [True, True], "the IMU", node)
    probe.wait("QoS follows the publisher", lambda: "imu: QoS now reliable" in node.log(), node)
    assert "camera: QoS now" not in node.log()
    probe.wait_new_prediction(lambda p: list(p.mask) == [True, True], "both after the change", node)


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
    probe.wait_log(node, "set camera.type or camera.topic", "set imu.reliability to auto")
