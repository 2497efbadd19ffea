"""A Dask cluster of two workers, processes of their own, for the tests of what runs on one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

DEADLINE_S = 180


@contextmanager
def dask_cluster(folder: Path, imports: Sequence[Path], *worker_options: str) -> Iterator[str]:
    """HOST:PORT of the scheduler. Its processes run in ``folder`` and find modules in ``imports``."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, imports)), "OMP_NUM_THREADS": "1"}
    started: list[subprocess.Popen[bytes]] = []

    def start(program: str, *arguments: str) -> Path:
        log = folder / f"{len(started)}.log"
        with log.open("wb") as out:
            command = [sys.executable, "-m", f"distributed.cli.{program}", *arguments, "--no-dashboard"]
            started.append(subprocess.Popen(command, cwd=folder, env=env, stdout=out, stderr=subprocess.STDOUT))
        return log

    def wait(log: Path, pattern: str) -> re.Match[str]:
        end = time.monotonic() + DEADLINE_S
        while not (found := re.search(pattern, log.read_text(errors="replace"))):
            assert time.monotonic() < end and started[-1].poll() is None, log.read_text(errors="replace")
            time.sleep(0.05)
        return found

    try:
        address = wait(start("dask_scheduler", "--host", "127.0.0.1", "--port", "0"), r"tcp://([\d.]+:\d+)")[1]
        for _ in range(2):  # each with a nanny, which starts a worker again that died
            wait(start("dask_worker", address, "--nthreads", "1", "--memory-limit", "0", *worker_options), r"Registered to")
        yield address
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait(DEADLINE_S)
