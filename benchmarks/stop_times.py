"""How long fuse_node takes to end after SIGINT or SIGTERM, in every phase from its start on.

    .venv/bin/with-ros .venv/bin/python benchmarks/stop_times.py [--backend torch] [--json benchmarks/results/stop_times.json]

The node is signalled at ever later moments. What it has logged until then tells the phase: starting, configuring, active.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from sentryfuse_ros.files import write_atomically
from sentryfuse_ros.machine import machine
from sentryfuse_ros.nodes.node_process import transport_environment
from sentryfuse_ros.paths import executable_path

MOMENTS_S = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0)
SIGNALS = (signal.SIGINT, signal.SIGTERM)
LIMIT_S = 30.0


class Stop(NamedTuple):
    """One node that was signalled ``after_s`` after its start and took ``took_s`` to end."""

    signal: str
    after_s: float
    phase: str
    took_s: float
    exit_status: int


def stop(number: signal.Signals, after_s: float, backend: str, log: Path) -> Stop:
    """Start a node, signal it, and wait for its end."""
    command = [sys.executable, str(executable_path("fuse_node")), "--ros-args", "-p", f"backend:={backend}"]
    environment = os.environ | transport_environment(1 + os.getpid() % 100)
    with log.open("wb") as output:
        node = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            time.sleep(after_s)
            node.send_signal(number)
            begin = time.monotonic()
            status = node.wait(LIMIT_S)
            took_s = time.monotonic() - begin
        finally:
            node.kill()
    text = log.read_text(errors="replace")
    phase = "active" if "active at" in text else "configuring" if "broken off" in text else "starting"
    return Stop(number.name, after_s, phase, round(took_s, 3), status)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="onnxruntime", choices=("onnxruntime", "torch"))
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = [stop(number, at_s, args.backend, Path(folder) / "log") for number in SIGNALS for at_s in MOMENTS_S]
    for run in runs:
        print(*run)
    longest_s = {phase: max(run.took_s for run in runs if run.phase == phase) for phase in sorted({run.phase for run in runs})}
    print(longest_s)
    result = {"machine": machine(1), "backend": args.backend, "longest_s": longest_s, "runs": [run._asdict() for run in runs]}
    if args.json:
        write_atomically(args.json, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
