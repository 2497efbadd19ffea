"""Lifecycle cycles of a real node, the short form of benchmarks/up_and_down.py: nothing that a cycle made stays behind."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "up_and_down.py"
CYCLES, SETTLED = 14, 9  # memory is flat after some eight cycles; a model that stayed behind would be 13 MB a cycle


def test_cycles_and_a_soak_leave_threads_files_and_memory_as_they_were(tmp_path):
    pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
    command = [sys.executable, str(BENCHMARK), "--cycles", str(CYCLES), "--soak", "6", "--json", str(tmp_path / "out.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert (tmp_path / "out.json").exists(), done.stdout + done.stderr
    result = json.loads((tmp_path / "out.json").read_text())
    cycles, soak = result["cycles"], result["soak"]
    assert result["exit_status"] == 0 and cycles["count"] == CYCLES and soak["count"] >= 2
    for part in (cycles, soak):
        assert len(part["threads"]) == len(part["files"]) == 1, part
    resident_mb = [sample["resident_mb"] for sample in cycles["samples"]]
    assert resident_mb[-1] - resident_mb[SETTLED] < 10, resident_mb


def test_growth_and_new_threads_are_not_steady():
    pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
    from benchmarks.up_and_down import Sample, judge, steady

    flat = [Sample(i, 200.0, 16, 26) for i in range(100)]
    assert steady(judge(flat)) and steady({})
    assert not steady(judge([Sample(s.at, 200.0 + s.at, 16, 26) for s in flat]))
    assert not steady(judge([*flat[:50], *(Sample(s.at, 200.0, 17, 26) for s in flat[50:])]))
    assert not steady(judge([*flat[:50], *(Sample(s.at, 200.0, 16, 26 + s.at) for s in flat[50:])]))
