"""The start script of the `sentryfuse` command."""

import os
import runpy
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest


@pytest.fixture
def script():
    script = Path(sys.executable).parent / "sentryfuse"
    if not script.exists():
        pytest.skip("no start script beside this Python: run make setup")
    return script


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_standard_stream_may_be_closed(script, number):
    done = subprocess.run([script, "--help"], capture_output=True, text=True, preexec_fn=partial(os.close, number))
    assert done.returncode == 0 and done.stderr == ""
    assert ("replay" in done.stdout) is (number != 1)


def test_worker_processes_can_read_the_start_script(script, monkeypatch):
    """--jobs 2 starts fresh processes, each of which runs the script again by another name: it must not start a verb then."""
    monkeypatch.setattr("sys.argv", ["sentryfuse", "--help"])
    assert "main" in runpy.run_path(str(script), run_name="__mp_main__")
    with pytest.raises(SystemExit):
        runpy.run_path(str(script), run_name="__main__")
