"""The programs in examples/ and the Python example of the README run and show what they promise."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytest.importorskip("mujoco", reason="the recording is simulated")


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    from sentryfuse_ros.simulation.run import simulate

    folder = tmp_path_factory.mktemp("examples") / "drive"
    simulate(seed=3, duration_s=7.0, out=folder, split="test")
    return folder


def output_of(*command):
    ended = subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_classify_window(recording):
    lines = output_of("examples/classify_window.py", recording).splitlines()
    assert len(lines) == 3 and all(line.startswith("gravel") for line in lines)
    assert "ratio 0.0" in lines[0] and "camera 0.00" in lines[1] and "ratio 0.9" in lines[2]


def test_fuse_recording(recording):
    shown = output_of("examples/fuse_recording.py", recording)
    masks = re.findall(r"mask ([01]+)", shown)
    assert masks[1] == "1111" and "0111" in masks and masks[-1] == "0110"
    assert "camera STALE imu OK" in shown


def test_the_python_example_of_the_readme():
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert "%" in output_of("-c", code)
