"""fuse_node hears every publisher of its inputs, whatever QoS it offers, and says of which it does not or should not."""

import shutil
from pathlib import Path

import pytest
import yaml

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")

from lifecycle_msgs.msg import Transition
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_harness import BEST_EFFORT, QUICK, Probe
from sensor_msgs.msg import BatteryState, Imu
from std_msgs.msg import Float32, String

from sentryfuse_ros.access_policy import access_of
from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.msg import ModalityStatus as S
from sentryfuse_ros.nodes import power_inputs
from sentryfuse_ros.nodes.message_types import message_class
from sentryfuse_ros.paths import model_path
from sentryfuse_ros.settings import build_settings

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def said(probe, name):
    """Everything that diagnostics have said of a part so far, as (level, text)."""
    return [(s.level, s.message) for array in probe.diagnostics for s in array.status if s.name.endswith(name)]


def warned(probe, name, *words):
    return lambda: any(level != b"\0" and all(word in text for word in words) for level, text in said(probe, name))


def test_power_is_heard_from_best_effort_and_from_latched_publishers(probe, start):
    probe.feed("/battery_state", BatteryState, probe.battery(0.15), 5.0, BEST_EFFORT)
    latched = probe.node.create_publisher(Float32, "/power_budget", LATCHED)
    latched.publish(Float32(data=5.0))  # once, before the node is there
    node = start(*QUICK)
    probe.wait("the budget's ratio", lambda: probe.prunings and "power budget 5 W asks 0.90" in probe.prunings[-1].reason, node)
    latched.publish(Float32(data=15.0))
    probe.wait("the battery's ratio", lambda: "battery 15 % asks 0.80" in probe.prunings[-1].reason, node)
    probe.silence("/battery_state")
    packs = [("id0", 0.85), ("id1", 0.4)]

    def pack(stamp):
        packs.reverse()
        name, percentage = packs[0]
        return BatteryState(
            percentage=percentage, location=name, power_supply_status=BatteryState.POWER_SUPPLY_STATUS_DISCHARGING
        )

    probe.feed("/battery_state", BatteryState, pack, 10.0)
    probe.wait("the lower pack", lambda: "battery 15 % (lowest of 3 packs)" in probe.prunings[-1].reason, node)
    probe.node.destroy_publisher(latched)


def test_a_publisher_of_another_type_on_the_battery_topic_is_named(probe, start):
    probe.feed("/battery_state", String, lambda stamp: String(data="80 %"), 5.0)
    node = start(*QUICK)
    probe.wait(
        "a warning", warned(probe, ": power", "std_msgs/msg/String", "sensor_msgs/msg/BatteryState", "battery_topic"), node
    )
    probe.wait_log(node, "set battery_topic")


def test_a_second_publisher_beside_a_sensor_is_named(probe, start):
    node = start(*QUICK)
    probe.feed_camera()
    probe.feed_imu()
    probe.wait_new_prediction(lambda p: p.valid and all(p.mask), "a prediction from both", node)
    assert not warned(probe, ": sensor imu", "publishers")()
    other = Probe()
    try:
        other.feed_imu()
        words = "2 publishers on /imu/data", probe.node.get_name(), other.node.get_name()
        probe.wait("a warning with both names", warned(probe, ": sensor imu", *words), node)
    finally:
        other.close()


def test_the_page_on_security_lists_every_topic_of_the_node(probe, start):
    """What an access policy must allow, as the graph has it."""
    node = start("-p", "use_sim_time:=true", *QUICK)
    probe.wait("a model", lambda: probe.infos, node)
    page = (Path(__file__).parents[1] / "docs" / "SECURITY.md").read_text()

    def names():
        graph = probe.graph_of("fuse_node")
        return graph and graph["publish"] | graph["subscribe"]

    probe.wait("its topics in the graph", lambda: {"/fuse_node/prediction", "/clock"} <= (names() or set()), node)
    sensors = {"/battery_state": "battery_topic", "/power_budget": "power_budget_topic"}
    written = {sensors.get(name, name.replace("/fuse_node/", "~/")) for name in names()}
    assert not [name for name in written if f"`{name}`" not in page]


@pytest.mark.parametrize(
    "name", ["unittest/__main__/x", "os", "a/b", "sensor_msgs/srv/SetCameraInfo", "os/path/join", "x/msg/../y", ""]
)
def test_only_the_name_of_a_message_type_is_imported(name, monkeypatch):
    imported = []
    monkeypatch.setattr("importlib.import_module", lambda *args: imported.append(args))
    with pytest.raises(ParameterError, match="message type"):
        message_class(name)
    assert not imported


def test_an_installed_message_type_is_found():
    assert message_class("sensor_msgs/msg/Imu") is Imu


@pytest.mark.parametrize(
    "fields, filled",
    [
        ({}, False),
        ({"percentage": 0.4}, True),
        ({"voltage": 12.0}, True),
        ({"present": True}, True),
        ({"percentage": float("nan")}, True),
    ],
)
def test_a_battery_message_without_anything_is_not_filled_in(fields, filled):
    assert power_inputs.is_filled(BatteryState(**fields)) is filled


def test_packs_are_told_apart_by_location_and_serial_number():
    assert power_inputs.pack_name(BatteryState()) == ""
    assert power_inputs.pack_name(BatteryState(location="slot 1", serial_number=" 7 ")) == "slot 1 7"


def test_the_access_policy_is_what_the_node_does(probe, start, tmp_path):
    """Neither less, which would stop the node, nor more; only what optional packages add may be absent."""
    given = {"camera.may_switch_off": True, "camera.driver_node": "/camera_driver", "imu.topic": "wrist/imu"}
    parameters = {"model": "utd_mhad_depth_imu", "warm_up": False, "sensors": ["camera", "imu"], **given}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
    node = start("--params-file", str(tmp_path / "params.yaml"), "-p", "use_sim_time:=true")
    probe.wait("a model", lambda: probe.infos, node)
    described = {"/fuse_node/get_type_description", "/_fuse_node_receive/get_type_description"}  # from Jazzy on
    optional = {"/fuse_node/classification", "/bond"} | described
    for access in access_of(build_settings(parameters), sim_time=True):
        expected = {what: set(getattr(access, what)) for what in ("publish", "subscribe", "reply", "request")}

        def agrees(access=access, expected=expected):
            seen = probe.graph_of(access.node)
            if seen is None:
                return False
            return all(seen[what] <= expected[what] and expected[what] - seen[what] <= optional for what in expected)

        try:
            probe.wait("a graph like the policy", agrees, node)
        except AssertionError:
            assert probe.graph_of(access.node) == expected


def test_a_model_elsewhere_is_refused_after_the_start(probe, start, tmp_path):
    elsewhere = tmp_path / "elsewhere" / "model"
    shutil.copytree(model_path("utd_mhad_depth_imu"), elsewhere)
    node = start("-p", "autostart:=false", *QUICK)
    assert probe.set_parameter("model", str(elsewhere)).successful
    assert not probe.set_parameter("model_roots", "/").successful
    assert not probe.change_state(Transition.TRANSITION_CONFIGURE, node)
    assert "expected a shipped model, the one given at the start, or one below model_roots" in node.log()
    allowed = start("-p", "autostart:=false", *QUICK, "-p", f"model_roots:={tmp_path}", "-r", "__node:=roots")
    other = Probe(node_name="roots")
    try:
        assert other.set_parameter("model", str(elsewhere)).successful
        assert other.change_state(Transition.TRANSITION_CONFIGURE, allowed)
    finally:
        other.close()


def test_inputs_whose_names_are_exchanged_by_remapping_are_those_of_the_other(probe, start):
    """Each input follows the QoS of the topic that it listens to: a name is remapped once, however often it is looked up."""
    reliable = probe.node.create_publisher(Imu, "/wrist/imu", 10)  # nothing is sent on it
    probe.feed_imu("/imu/data", BEST_EFFORT)
    probe.feed("/pack", BatteryState, probe.battery(0.15), 5.0)
    swapped = ("-r", "/imu/data:=/wrist/imu", "-r", "/wrist/imu:=/imu/data", "-r", "battery_state:=/pack", "-r", "/pack:=/other")
    sensors = ("-p", "sensors:=[imu,wrist_imu]", "-p", "wrist_imu.topic:=/wrist/imu", "-p", "wrist_imu.model_input:=imu")
    node = start(*QUICK, *sensors, *swapped)
    probe.wait_log(node, "imu: QoS now reliable, as published")  # of /wrist/imu, to which it listens
    probe.wait("the battery", lambda: probe.prunings and "battery 15 % asks 0.80" in probe.prunings[-1].reason, node)
    status = probe.wait_state("wrist_imu", S.OK, node)
    assert status.topic == "/imu/data" and "wrist_imu: QoS now" not in node.log()
    probe.node.destroy_publisher(reliable)
