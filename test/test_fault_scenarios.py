"""The scenarios of `sentryfuse bench faults` around a real node over DDS, shortened: clocks, restarts, masks, load, fuzzing."""

import pytest
from recording_over_dds import fault_rows

OVER_DDS = """
import json, sys
from pathlib import Path
from sentryfuse_ros.bags.bag import Bag
from sentryfuse_ros.bags.sensor_topics import match_sensors
from sentryfuse_ros.nodes import door, fault_rows, fault_scenarios as scenarios
from sentryfuse_ros.nodes.fault_rig import rig
from sentryfuse_ros.nodes.hostile_scenarios import fuzz
from sentryfuse_ros.replay.fault_matrix import Stage, to_dict
from sentryfuse_ros.settings import build_settings

folder, domain = Path(sys.argv[1]), int(sys.argv[2])
fault_rows.WATCH_S = 1.0
fault_rows.BACK_S = fault_rows.NOTICED_S = fault_rows.SAID_S = 120.0  # this machine may be busy; an event is waited for no longer
with Bag(folder / "run") as bag:
    topics = match_sensors(bag, build_settings({"sensors": ["camera", "imu"]}).sensors).topics
    samples = {name: [] for name in topics}
    names = {topic.name: name for name, topic in topics.items()}
    for topic, time_ns, raw in bag.messages(list(names)):
        if time_ns < bag.start_ns + 10**9:
            samples[names[topic]].append(bytes(raw))

def stage(name, *more):
    arguments = ["--ros-args", "-p", "warm_up:=false", "-p", "model:=utd_mhad_depth_imu", "-p", "diagnostics_rate_hz:=4.0", *more]
    for sensor, topic in topics.items():
        arguments += ["-p", f"{sensor}.topic:={topic.name}", "-p", f"{sensor}.type:={topic.msg_type}"]
    arguments += ["-p", "sensors:=[camera,imu]"]
    return Stage(arguments, domain, folder / f"{name}.log")

def say(text):
    print(text, file=sys.stderr)

rows = door.clock_scenarios(stage("clock", "-p", "use_sim_time:=true"), topics, samples, 0.1, say)
with rig(stage("live"), topics, samples, False, 0.1) as made:
    made.all_live()
    for name, options in scenarios._restarts(samples["camera"][0]).items():
        if name in ("a third of the rate", "best effort", "another frame_id"):
            rows.append(scenarios._restart(made, "camera", name, **options))
    rows += [scenarios._mask(made, live, ["camera", "imu"]) for live in (("imu",), (), ("camera", "imu"))]
    rows.append(scenarios._starved(made, "starved CPU"))
    rows.append(scenarios._slow_consumer(made, "slow consumer"))
    rows.append(fuzz(made, samples, 200))
print(json.dumps([to_dict(row) for row in rows]))
"""


def test_clocks_restarts_masks_load_and_fuzzing_over_dds(tmp_path):
    rows = fault_rows(tmp_path, OVER_DDS)
    assert len(rows) == 15
    assert "no /clock" in rows["/clock", "absent"]["said"] and "jumped back" in rows["/clock", "looped"]["said"]
    assert rows["mask", "none"]["said"].startswith("no live sensor")
    # The pauses between predictions depend on what else this machine does; everything else must be as promised.
    troubles = [part for row in rows.values() for part in row["trouble"].split("; ") if part and "a pause of" not in part]
    assert not troubles


def test_a_scenario_whose_promise_is_broken_fails():
    pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
    from sentryfuse_ros.nodes.fault_rows import fault_row, pause_troubles

    assert (
        pause_troubles(1.4) == []
        and pause_troubles(2.1) == ["a pause of 2.1 periods between predictions"]
        and pause_troubles(None) == ["no predictions"]
    )
    assert fault_row("load", "starved", []).passed and not fault_row("load", "starved", pause_troubles(2.1)).passed
