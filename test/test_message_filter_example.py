"""The program in examples/message_filter.py runs, and docs/MESSAGE_FILTERS.md shows what it prints."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_a_dead_sensor_does_not_stop_the_sets():
    ended = subprocess.run(
        [sys.executable, "examples/message_filter.py"], cwd=ROOT, capture_output=True, text=True, timeout=900, check=False
    )
    assert ended.returncode == 0, ended.stderr
    *sets, summary = ended.stdout.splitlines()
    assert sets[4] == "image 400 ms | imu 403 ms | cloud 408 ms"
    assert sets[5] == "image 500 ms | imu 503 ms | silent"
    assert len(sets) == 15 and summary == "0 messages found no partner"
    shown = (ROOT / "docs" / "MESSAGE_FILTERS.md").read_text(encoding="utf-8")
    assert "\n".join(sets[4:6]) in shown
