"""`sentryfuse replay` as a user calls it: the installed command in a process of its own, on a ROS domain that it chooses."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

SENTRYFUSE = Path(sys.prefix) / "bin" / "sentryfuse"


class Replayed(NamedTuple):
    """What a replay left behind: its summary, None where it wrote none; what it printed; and the log of its fuse_node."""

    summary: dict | None
    said: str
    log: str


def replay(folder, *arguments, status=0, environment=None):
    """Replay a recording into ``folder``/out. Fails unless the command ends with ``status``."""
    out = folder / "out"
    done = subprocess.run(
        [SENTRYFUSE, "replay", *map(str, arguments), "--out", out, "--headless"],
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "ROS_DOMAIN_ID"} | (environment or {}),
        timeout=900,
    )
    said, log, summary = done.stdout + done.stderr, out / "fuse_node.log", out / "summary.json"
    logged = log.read_text() if log.exists() else ""
    assert done.returncode == status, said + logged
    return Replayed(json.loads(summary.read_text()) if summary.exists() else None, said, logged)
