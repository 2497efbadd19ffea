"""`sentryfuse bench latency`: what a user measures on a robot."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_model import tiny_model

from sentryfuse_ros.cli import main
from sentryfuse_ros.evaluation.latency import measure_latency
from sentryfuse_ros.evaluation.rivals import OtherInstallation
from sentryfuse_ros.model.saved import save_checkpoint
from sentryfuse_ros.runtime.engine import Engine

LEVELS = (0.0, 0.3, 0.9)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_checkpoint(tiny_model(ratio_levels=LEVELS), tmp_path_factory.mktemp("tiny"))


def test_quick_measurement_prints_a_table_and_writes_json(folder, tmp_path, capsys):
    target = tmp_path / "new folder" / "latency.json"
    assert main(["bench", "latency", "--model", str(folder), "--quick", "--json", str(target)]) == 0
    out = capsys.readouterr().out
    for words in (
        "all sensors live",
        "camera missing",
        "imu missing",
        "wheel missing",
        "MFLOPs",
        "% of its time",
        "speed at r = 0.9, as a multiple of that of r = 0",
        "change of plan",
    ):
        assert words in out
    report = json.loads(target.read_text())
    assert report["rounds"] == 5 and report["inputs"] == "noise" and report["version"] and report["machine"]["processor"]
    plans = report["plans"]
    assert [(p["missing"], p["ratio"]) for p in plans] == [
        (missing, level) for missing in ("", "camera", "imu", "wheel") for level in LEVELS
    ]
    for p in plans:
        assert 0 < p["quartile1_ms"] <= p["median_ms"] <= p["quartile3_ms"]
        assert p["relative"] == 1 if p["ratio"] == 0 else p["relative"] > 0


def test_the_numbers_are_kept_where_the_console_takes_no_more(folder, tmp_path):
    target = tmp_path / "latency.json"
    command = [sys.executable, "-u", "-m", "sentryfuse_ros.cli", "bench", "latency", "--model", str(folder), "--quick"]
    with open("/dev/full", "wb") as full:
        ended = subprocess.run([*command, "--json", str(target)], stdout=full, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 2 and "No space left on device" in ended.stderr
    assert json.loads(target.read_text())["plans"]


def test_costs_are_the_engine_s(folder):
    engine = Engine.load(folder)
    report = measure_latency(engine, rounds=2, threads=1)
    dense, without_camera = report.plans[0], report.plans[3]
    inputs = {spec.name: np.zeros(spec.shape, np.float32) for spec in engine.specs}
    expected = engine.infer(inputs, np.array([True, True, True]), 0.0)
    assert (dense.flops, dense.params) == (expected.flops, expected.params)
    assert without_camera.flops < dense.flops and report.plans[2].flops < dense.flops


def test_a_plan_runs_once_to_warm_up_and_once_per_round(folder, monkeypatch):
    engine, run, ran = Engine.load(folder), Engine.run, []
    monkeypatch.setattr(Engine, "run", lambda self, choice, *given: ran.append(choice.part) or run(self, choice, *given))
    report = measure_latency(engine, rounds=3, threads=1)
    in_summary = [choice.part for choice in (engine.choice((True,) * 3, level) for level in (0.0, 0.9))]
    for part in set(ran):  # in the summary, each round has one run after a change of the plan and one more
        assert ran.count(part) == 1 + 3 + (1 + 2 * 3 if part in in_summary else 0)
    assert len(set(ran)) == len(report.plans)


def test_wrong_rounds_and_model_are_named(folder, capsys):
    assert main(["bench", "latency", "--model", str(folder), "--rounds", "0"]) == 2
    assert main(["bench", "latency", "--model", "no_such_model"]) == 2
    err = capsys.readouterr().err
    assert "--rounds: saw 0" in err and "no_such_model" in err


def test_another_installation_runs_its_own_package_and_not_that_of_the_working_directory(tmp_path, monkeypatch):
    """This installation stands in for the other one."""
    (tmp_path / "sentryfuse_ros").mkdir()
    (tmp_path / "sentryfuse_ros" / "__init__.py").write_text("raise SystemExit('a package of the working directory')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with OtherInstallation(Path(sys.prefix), "ground_robot", 1) as other:
        assert 0 < other.infer_s() < 10
