"""`sentryfuse bench node | memory | receive`: real nodes under the real load, as short as it goes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import sentryfuse_ros
from sentryfuse_ros.cli import main
from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.evaluation.node_cost import (
    LOOP_PARTS,
    LoopCost,
    MemoryReport,
    NodeReport,
    NodeRun,
    NodeSide,
    ReceiveReport,
    ReceiveRun,
)
from sentryfuse_ros.evaluation.other_installation import environment_of_other
from sentryfuse_ros.evaluation.other_loop import measure_other_loop
from sentryfuse_ros.evaluation.plan_memory import plan_memory
from sentryfuse_ros.evaluation.reference_load import sensor_parameters, streams_for
from sentryfuse_ros.machine import machine
from sentryfuse_ros.paths import executable_path, model_path, share_path
from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.reporting.node_tables import memory_table, node_table
from sentryfuse_ros.runtime.backend_times import kept_times
from sentryfuse_ros.runtime.backends import candidates
from sentryfuse_ros.runtime.engine import Engine
from sentryfuse_ros.runtime.plan_costs import plan_costs
from sentryfuse_ros.settings import build_settings

SHORT = ("--quick", "--seconds", "1", "--model", "utd_mhad_depth_imu")


@pytest.mark.parametrize(
    ("bench", "keys"),
    [
        ("node", {"cpu_r90_vs_r0", "feed_ms", "tick_ms", "judge_ms"}),
        ("memory", {"saving_r50", "saving_with_model_r50", "node_rss_mb", "first_prediction_s", "first_prediction_s_max"}),
        ("receive", {"cpu_ratio", "lost", "overhead_ms_p99"}),
    ],
)
def test_a_quick_run_prints_a_table_and_writes_its_summary(bench, keys, tmp_path):
    pytest.importorskip("rclpy", reason="no ROS 2 in this environment: source it, or run make setup")
    target = tmp_path / f"{bench}.json"
    command = [sys.executable, "-m", "sentryfuse_ros.cli", "bench", bench, *SHORT, "--json", str(target)]
    done = subprocess.run(command, text=True, capture_output=True, cwd=tmp_path, timeout=900)  # it initialises ROS itself
    assert done.returncode == 0, done.stderr
    out = done.stdout
    report = json.loads(target.read_text())
    assert set(report["summary"]) == keys
    for key in keys:
        assert f"{key}: " in out
    assert report["model"] == "utd_mhad_depth_imu" and report["machine"]["processor"] and report["version"]
    assert report["load"] == "camera: camera, 640x480 pixels, 30 Hz; imu: imu, one sample, 400 Hz"
    if bench == "receive":
        for (run,) in report["sides"].values():
            assert run["received"] > 0 and run["cpu_percent"] > 0
            assert min(run["received_hz"].values()) > 0 and set(run["received_hz"]) == {"camera", "imu"}
    else:
        runs = report["node_runs"] if bench == "memory" else [run for side in report["sides"] for run in side["runs"]]
        for run in runs:
            assert run["cpu_percent"] > 0 and 20 < run["private_mb"] < run["resident_mb"] < 2000
            assert 0 < run["overhead_ms_p50"] <= run["overhead_ms_p99"]
    if bench == "node":
        assert [loop["ratio"] for loop in report["loops"]] == [0.0, 0.9]
        assert all(0 < loop[part] < 1000 for loop in report["loops"] for part in LOOP_PARTS)


def node_run(cpu, first=0.5):
    return NodeRun(cpu, 150.0 + cpu, 100.0, first, 1.0, 2.0)


def memory_report(plan_mb, streams=False):
    runs = (node_run(1.0, 0.5), node_run(2.0, 2.5))
    return MemoryReport("m", "1", machine(1), "", runs, (4.0, 4.0), plan_mb, streams)


def test_the_table_of_memory_tells_model_and_plans_apart():
    table = memory_table(memory_report({"0": (8.0,), "0.5": (5.0,)}, streams=True))
    assert "the model, loaded         4.0 (4.0 to 4.0) MB in use\nits plan of r = 0         8.0 MB in use\n" in table
    assert "saving_r50: 0.375\nsaving_with_model_r50: 0.25\n" in table and "without its stream" in table
    assert "stream" not in memory_table(memory_report({"0": (8.0,), "0.5": (5.0,)}))


def test_memory_that_an_inference_has_freed_is_not_in_use():
    found = [plan_memory("utd_mhad_stream_large", 0.5) for _ in range(2)]
    assert min(min(found)) > 0
    for one, other in zip(*found):
        assert abs(one - other) < 0.1 * one  # of about 15 MB; what the C library keeps besides may be as much again, or twice


def test_summaries_are_medians_of_their_sides():
    sides = (
        NodeSide("r = 0", 0.0, False, tuple(map(node_run, (8.0, 10.0, 30.0)))),
        NodeSide("r = 0.9", 0.9, False, tuple(map(node_run, (1.0, 4.0, 5.0)))),
        NodeSide("before, r = 0", 0.0, True, tuple(map(node_run, (16.0, 20.0, 21.0)))),
    )
    report = NodeReport("m", "1", {}, "", 1.0, sides)
    assert report.summary == {"cpu_r90_vs_r0": 0.4, "cpu_r0_vs_before": 0.5}
    assert NodeReport("m", "1", {}, "", 1.0, sides[:2]).summary == {"cpu_r90_vs_r0": 0.4}
    whole = (LoopCost(0.0, 1.0, 3.0, 0.3), LoopCost(0.0, 1.5, 4.0, 0.2), LoopCost(0.0, 9.0, 3.5, 0.8))
    report = NodeReport("m", "1", {}, "", 1.0, sides[:1], (LoopCost(0.9, 0.1, 0.2, 0.1), *whole))
    assert report.summary == {"feed_ms": 1.5, "tick_ms": 3.5, "judge_ms": 0.3}
    memory = memory_report({"0": (10.0, 20.0), "0.5": (9.0, 9.0)})
    assert memory.summary == {
        "saving_r50": 0.4,
        "saving_with_model_r50": 0.316,
        "node_rss_mb": 151.5,
        "first_prediction_s": 1.5,
        "first_prediction_s_max": 2.5,
    }

    def received(cpu, lost):
        return ReceiveRun(cpu, {}, lost, 100)

    received_sides = {
        "ordinary": (received(10.0, 5), received(20.0, 5)),
        "watched": (received(1.0, 0), received(1.0, 0)),
        "decoded": (received(3.0, 1), received(8.0, 2)),
    }
    receive = ReceiveReport("m", "1", {}, "", 1.0, received_sides, (3.0, 4.0))
    assert receive.summary == {"cpu_ratio": 0.35, "lost": 3.0, "overhead_ms_p99": 3.5}


def test_every_input_that_a_robot_can_receive_gets_a_stream_and_a_sensor():
    specs = (
        ModalitySpec("front", "camera", 1.0, (2, 1, 12, 16), "depth_m"),
        ModalitySpec("wheel", "series", 1.0, (20, 3)),
        ModalitySpec("imu", "imu", 1.0, (40, 6)),
    )
    streams = streams_for(specs)
    assert [(s.name, s.kind, s.encoding, s.topic) for s in streams] == [
        ("front", "camera", "depth_m", "/bench/front"),
        ("imu", "imu", "", "/bench/imu"),
    ]
    sensors = build_settings(sensor_parameters(streams)).sensors
    assert [(s.name, s.kind, s.topic, s.model_input) for s in sensors] == [
        ("front", "camera", "/bench/front", "front"),
        ("imu", "imu", "/bench/imu", "imu"),
    ]


def test_wrong_arguments_are_named(capsys):
    assert main(["bench", "node", "--rounds", "0"]) == 2
    assert main(["bench", "memory", "--seconds", "-1"]) == 2
    assert main(["bench", "node", "--seconds", "0"]) == 2
    assert main(["bench", "node", "--ratios", "0", "1.5"]) == 2
    assert main(["bench", "receive", "--model", "no_such_model"]) == 2
    err = capsys.readouterr().err
    assert "--rounds: saw 0" in err and "--seconds: saw -1" in err and "--seconds: saw 0" in err and "no_such_model" in err
    assert "--ratios: saw 1.5, expected 0 to 0.9" in err


def test_no_start_is_timed_with_what_only_the_first_one_measures(tmp_path, monkeypatch):
    pytest.importorskip("rclpy", reason="no ROS 2 in this environment: source it, or run make setup")
    from sentryfuse_ros.nodes.bench_node import keep_times

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    keep_times("utd_mhad_depth_imu")
    engine = Engine.load(model_path("utd_mhad_depth_imu"))
    able = candidates(engine.checkpoint)
    assert len(able) < 2 or kept_times(str(engine.info["sha256"]), able, "cpu", 1)
    assert plan_costs(engine, 1)[1]


def test_another_installation_finds_its_own_package_and_the_same_ros(tmp_path):
    here, ros = Path(sentryfuse_ros.__file__).parents[1], tmp_path / "ros"
    ros.mkdir()
    both = {"PYTHONPATH": os.pathsep.join([str(here), str(ros)]), "PATH": "/bin"}
    assert environment_of_other(both) == {"PYTHONPATH": str(ros), "PATH": "/bin"}
    assert environment_of_other({"PYTHONPATH": str(here), "PATH": "/bin"}) == {"PATH": "/bin"}
    assert environment_of_other({"PATH": "/bin"}) == {"PATH": "/bin"}


def test_a_prefix_without_another_installation_is_named_before_anything_starts(tmp_path, capsys):
    pytest.importorskip("rclpy", reason="no ROS 2 in this environment: source it, or run make setup")
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").symlink_to(sys.executable)
    for name, expected in (("colcon", "a virtual environment"), ("venv", r"one that holds .* \(lib/sentryfuse_ros/fuse_node\)")):
        assert main(["bench", "node", "--quick", "--before", str(tmp_path / name)]) == 2
        said = capsys.readouterr().err
        assert re.search(f"--before: saw {tmp_path / name}, expected {expected}", said) and "round" not in said
        camera = streams_for((ModalitySpec("camera", "camera", 1.0, (2, 1, 12, 16), "depth_m"),))
    with pytest.raises(ParameterError, match="--before: saw .*colcon, expected a virtual environment"):
        measure_other_loop(tmp_path / "colcon", "ground_robot", camera, {"camera": [b""]}, 0.0, 1, 1)


def test_a_node_is_measured_where_only_pythonpath_leads_to_the_package(tmp_path):
    """As in a colcon workspace: its prefix has no interpreter, and that of the system finds neither package nor ROS by itself."""
    pytest.importorskip("rclpy", reason="no ROS 2 in this environment: source it, or run make setup")
    here, packages = Path(sentryfuse_ros.__file__).parent, tmp_path / "lib" / "python3" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "sentryfuse_ros").symlink_to(here)
    (tmp_path / "share").symlink_to(share_path("package.xml").parents[1])
    (tmp_path / "lib" / "sentryfuse_ros").symlink_to(executable_path("fuse_node").parent)
    program = tmp_path / "measure.py"
    program.write_text(
        "from sentryfuse_ros.evaluation.node_cost import BenchTask\n"
        "from sentryfuse_ros.nodes.bench_node import measure_nodes\n"
        "report = measure_nodes(BenchTask('utd_mhad_depth_imu', 1, 0.5), (0.0,), None, print)\n"
        "print(report.sides[0].runs[0].first_prediction_s)\n"
    )
    places = [str(packages), *(path for path in sys.path if path and Path(path).is_dir())]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    interpreter = str(Path(sys.base_prefix, "bin", "python3"))
    done = subprocess.run([interpreter, str(program)], env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) > 0


def test_the_load_without_middleware_makes_all_sensors_live():
    pytest.importorskip("rclpy", reason="no ROS 2 in this environment: source it, or run make setup")
    from sentryfuse_ros.nodes.bench_loop import LoopLoad

    engine = Engine.load(model_path("utd_mhad_depth_imu"))
    load = LoopLoad(engine, streams_for(engine.specs))
    for _ in range(20):
        came = load.advance()
        load.feed(came)
        tick = load.tick()
    assert tick.mask.all() and {name: len(messages) for name, (messages, _) in came.items()} == {"camera": 3, "imu": 40}


def test_the_loop_of_another_installation_is_timed_on_the_same_load():
    pytest.importorskip("rclpy", reason="no ROS 2 in this environment: source it, or run make setup")
    from sentryfuse_ros.nodes.bench_loop import serialised_payloads

    camera = ModalitySpec("camera", "camera", 1.0, (2, 1, 12, 16), "depth_m")
    streams = streams_for((camera, ModalitySpec("imu", "imu", 1.0, (40, 6))))
    payloads = serialised_payloads(streams)
    loop = measure_other_loop(Path(sys.prefix), "utd_mhad_depth_imu", streams, payloads, 0.0, 3, 20)
    assert loop.before and loop.ratio == 0 and 0 < loop.tick_ms < 1000 and 0 < loop.feed_ms < 1000
    with pytest.raises(ParameterError, match="a loop that ended with.*no_such_model"):
        measure_other_loop(Path(sys.prefix), "no_such_model", streams, payloads, 0.0, 3, 20)


def test_loops_of_two_installations_are_compared_at_ratio_0():
    loops = (LoopCost(0.0, 1.0, 3.0, 0.3), LoopCost(0.0, 4.0, 6.0, 0.0, before=True), LoopCost(0.9, 9.0, 9.0, 0.0, before=True))
    report = NodeReport("m", "1", machine(1), "", 1.0, (NodeSide("r = 0", 0.0, False, (node_run(8.0),)),), loops)
    assert report.summary == {
        "feed_ms": 1.0,
        "tick_ms": 3.0,
        "judge_ms": 0.3,
        "feed_r0_vs_before": 0.25,
        "tick_r0_vs_before": 0.5,
    }
    rows = [line.split() for line in node_table(report).splitlines() if line.startswith(("r =", "before"))]
    assert rows[-3:] == [
        ["r", "=", "0", "1.00", "3.00", "0.30"],
        ["before,", "r", "=", "0", "4.00", "6.00", "-"],
        ["before,", "r", "=", "0.9", "9.00", "9.00", "-"],
    ]
