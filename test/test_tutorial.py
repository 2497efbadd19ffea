"""docs/TUTORIAL.md: every command of the page is run, in its order, on made-up drives and with one epoch."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sentryfuse_ros.bags.bag import Bag
from sentryfuse_ros.bags.label_sources import read_intervals
from sentryfuse_ros.cli import main
from sentryfuse_ros.datasets import borealtc
from sentryfuse_ros.datasets.extract import WindowSettings, extract_windows
from sentryfuse_ros.nanoseconds import NS_PER_S
from sentryfuse_ros.paths import data_root
from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.settings import build_settings, read_yaml

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "TUTORIAL.md").read_text(encoding="utf-8")
SENTRYFUSE = Path(sys.prefix) / "bin" / "sentryfuse"
RUN_S = 7.0
SHORT = {
    "train": ["--set", "epochs=1"],
    "replay": ["--to", "6", "--headless"],
    "evaluate": ["--latency-runs", "1"],
    "trust": ["--groups", "fold0", "fold1"],  # one fold of such short drives has too few windows
}


def commands():
    """The commands of the page: the indented blocks, with lines that end in a backslash joined to the next."""
    blocks = re.findall(r"(?:^    .*\n)+", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL), re.MULTILINE)
    return [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]


RUNS = data_root() / "data" / "borealtc" / "runs.npz"


@pytest.mark.skipif(not RUNS.exists(), reason="no data: set SENTRYFUSE_DATA")
def test_a_bag_gives_the_windows_that_the_study_of_pruning_trains_on(tmp_path):
    """From the table of a real run, which benchmarks/pruning reads, through CSV, bag, messages and decoders, nothing is lost."""
    run, window = "snow_08", {"kind": "series", "window_s": 5.0}
    (tmp_path / "csv" / "SNOW").mkdir(parents=True)
    with np.load(RUNS) as file:
        imu, pro = (file[f"{run.upper()}__{part}"].astype(np.float64) for part in ("imu", "pro"))
    for part, header, table in (("imu", "time,wx,wy,wz,ax,ay,az", imu), ("pro", "time,velL,velR,curL,curR", pro)):
        table[:, 0] = table[:, 0].round(4)  # as in the original; float32 moved rows from step to step
        np.savetxt(tmp_path / "csv" / "SNOW" / f"{part}_08.csv", table, "%.9g", ",", header=header, comments="")
    script = ROOT / "examples" / "husky" / "csv_to_bags.py"
    subprocess.run([sys.executable, script, tmp_path / "csv", tmp_path / "bags", "--runs", run], check=True, capture_output=True)
    specs = [ModalitySpec("imu", "imu", 5.0, (500, 6))]
    study = [*specs, *(ModalitySpec(name, shape=(32, 2), **window) for name in ("wheel_velocity", "motor_current"))]
    robot = (*specs, *(ModalitySpec(name, shape=(32, 2), **window) for name in ("wheels", "motors")))
    sensors = build_settings(read_yaml(ROOT / "config" / "fuse_husky.yaml")).sensors
    with Bag(tmp_path / "bags" / run) as bag:
        labels = read_intervals(tmp_path / "bags" / run / "intervals.csv")
        found = extract_windows(bag, labels, WindowSettings(robot, sensors, 0.5))
        end_s = np.round((found.end_ns - bag.start_ns) / NS_PER_S, 3)
    known = borealtc.load(study, ["2/a", "2/b"])
    own = np.flatnonzero(known.recording == known.recordings.index(run.upper()))[:-1]  # the bag ends with the shorter table
    at = np.searchsorted(end_s, known.end_s[own])
    assert len(own) == 17 and found.live.all() and np.array_equal(end_s[at], known.end_s[own])
    for one, other in zip(robot, study):
        np.testing.assert_allclose(found.inputs[one.name][at], known.rows(other.name, own), atol=2e-6)


def write_runs(folder):
    """The CSV files of BorealTC in its layout: on each ground the robot shakes at another frequency."""
    grounds = ("ASPHALT", "FLOORING", "ICE", "SANDY_LOAM", "SNOW")
    rng = np.random.default_rng(0)
    for run in (line.split(",")[0] for line in (ROOT / "examples" / "husky" / "folds.csv").read_text().splitlines()[1:]):
        ground, _, number = run.upper().rpartition("_")
        (folder / ground).mkdir(parents=True, exist_ok=True)
        for part, header, rate_hz, columns in (
            ("imu", "time,wx,wy,wz,ax,ay,az", 100.0, 6),
            ("pro", "time,curL,curR,velL,velR", 6.5, 4),
        ):
            time_s = np.arange(int(RUN_S * rate_hz) + 1) / rate_hz
            shake = np.sin(2 * np.pi * (2 + 5 * grounds.index(ground)) * time_s)[:, None]
            values = 0.3 + 0.1 * (shake + rng.standard_normal((len(time_s), columns)))
            np.savetxt(
                folder / ground / f"{part}_{number}.csv",
                np.column_stack([time_s, values]),
                "%.6g",
                ",",
                header=header,
                comments="",
            )


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A folder like the root of the clone, with the made-up drives where the page puts the real ones."""
    for name in ("config", "examples", "models"):
        (tmp_path / name).symlink_to(ROOT / name)
    write_runs(tmp_path / "runs" / "husky" / "BorealTC" / "data" / "borealtc")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


def test_every_command_of_the_page(clone, start, probe):
    done = []
    for command in commands():
        words = shlex.split(command.replace("$PWD", os.getcwd()))
        if words[0] in (".", "git"):
            assert words in (
                [".", ".venv/bin/activate"],
                ["git", "clone", "https://github.com/norlab-ulaval/BorealTC", "runs/husky/BorealTC"],
            )
        elif words[0] == "python":
            ended = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True, timeout=900)
            assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"
        elif words[0] == "sentryfuse":
            more = SHORT.get(words[1], []) if "--example" not in words else []
            if words[1] == "replay":  # in a process of its own, because it has a ROS domain of its own
                ended = subprocess.run([SENTRYFUSE, *words[1:], *more], capture_output=True, text=True, timeout=900)
                assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"
            else:
                assert main([*words[1:], *more]) == 0, command
        else:
            assert words[:4] == ["ros2", "launch", "sentryfuse_ros", "fuse.launch.py"], command
            launched(dict(word.split(":=", 1) for word in words[4:]), start, probe)
        done.append(words[0] if words[0] != "sentryfuse" else words[1])
    assert (clone / "runs" / "husky" / "model" / "model.trust.json").exists()
    assert {"git", "python", "dataset", "train", "trust", "evaluate", "replay", "ros2"} <= set(done)
    runs = clone / "runs" / "husky"
    assert len(list((runs / "bags").iterdir())) == 68
    about = json.loads((runs / "windows" / "dataset.json").read_text())
    assert about["windows"] > 250 and {bag["origin"] for bag in about["bags"]} == {"fold0", "fold1", "fold2"}
    info = json.loads((runs / "model" / "model.json").read_text())
    assert info["data"]["calibrated_on"] == ["fold0", "fold1"] and info["data"]["train_groups"] == ["fold0", "fold1"]
    assert set(info["metrics"]["cross_validation_accuracy"]) == set(info["temperatures"]) and len(info["temperatures"]) == 7
    assert "husky" in (runs / "run.html").read_text() and (runs / "evaluation.html").stat().st_size > 50_000


def launched(arguments, start, probe):
    """What the launch file starts, with its parameters. test_launch.py tests `ros2 launch` itself, where it is installed."""
    assert set(arguments) == {"params_file", "model"} and Path(arguments["model"]).is_dir()
    probe.infos.clear()  # that of the replay's node
    node = start("--params-file", arguments["params_file"], "-p", f"model:={arguments['model']}", "-p", "warm_up:=false")
    info = probe.wait("the model's description", lambda: probe.infos and probe.infos[-1], node)
    assert list(info.modalities) == ["imu", "wheels", "motors"]


def test_the_shipped_recording_is_made_by_the_command_on_the_page(tmp_path):
    """The same layout and labels; its numbers are real."""
    write_runs(tmp_path / "csv")
    (command,) = (c for c in commands() if "--join" in c)
    words = shlex.split(command)
    made = tmp_path / "recording"
    call = [sys.executable, str(ROOT / words[1]), str(tmp_path / "csv"), str(made), *words[4:]]
    call[call.index("--seconds") + 1] = "1.5"
    subprocess.run(call, check=True, capture_output=True, timeout=900)
    shipped = ROOT / "models" / "husky_terrain" / "recording"
    labels = [[line.split(",")[2] for line in (bag / "intervals.csv").read_text().splitlines()] for bag in (made, shipped)]
    assert labels[0] == labels[1] == ["label", "flooring", "asphalt", "snow", "ice", "sandy_loam"]
    assert sum(path.stat().st_size for path in shipped.iterdir()) < 2_000_000
    shutil.rmtree(made)
