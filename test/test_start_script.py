"""The start script of the `sentryfuse` command."""

import runpy
import sys
from pathlib import Path

import pytest


def test_worker_processes_can_read_the_start_script(monkeypatch):
    """--jobs 2 starts fresh processes, each of which runs the script again by another name: it must not start a verb then."""
    script = Path(sys.executable).parent / "sentryfuse"
    if not script.exists():
        pytest.skip("no start script beside this Python: run make setup")
    monkeypatch.setattr("sys.argv", ["sentryfuse", "--help"])
    assert "main" in runpy.run_path(str(script), run_name="__mp_main__")
    with pytest.raises(SystemExit):
        runpy.run_path(str(script), run_name="__main__")
