"""A node of this package in a process of its own, on a ROS domain of its own, with its output in a log file."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ..child_process import bound
from ..errors import SentryFuseError
from ..paths import executable_path, share_path


def cpu_s(pid: int) -> float:
    """User and system time of a process so far [s]. Linux only."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def transport_environment(domain_id: int | None, large_messages: bool = True) -> dict[str, str]:
    """Environment of such a process: one domain, this machine only.

    ``large_messages``: it publishes images or clouds, and needs the shipped profile for them. fuse_node does not: it only
    receives them, and the profile would make 33 MB of it resident. A profile that the environment names stays in force.
    """
    env = dict(os.environ)
    if large_messages:
        profile = env.get("FASTRTPS_DEFAULT_PROFILES_FILE") or str(share_path("config", "fastdds_large_messages.xml"))
        env["FASTRTPS_DEFAULT_PROFILES_FILE"] = profile  # Humble and Jazzy
        env.setdefault("FASTDDS_DEFAULT_PROFILES_FILE", profile)  # Fast DDS 3, from Kilted on
    if domain_id is not None:
        env["ROS_DOMAIN_ID"] = str(domain_id)
    if env.get("ROS_DISTRO") == "humble":
        env.setdefault("ROS_LOCALHOST_ONLY", "1")
    elif env.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF") == "OFF":  # with which not even the processes of a run find each other
        env["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    env.setdefault("OMP_NUM_THREADS", "1")
    return env


class NodeProcess:
    """Starts the node at construction; call `stop` in the end."""

    def __init__(self, name: str, arguments: Sequence[str], env: dict[str, str], log_path: Path):
        self.name, self.log_path = name, log_path
        self._log = log_path.open("wb")
        self.process = subprocess.Popen(
            bound([sys.executable, str(executable_path(name)), *arguments]),
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def check(self) -> None:
        """Raises SentryFuseError with the end of the node's log if it is no longer running."""
        if self.process.poll() is not None:
            raise SentryFuseError(
                f"node {self.name}",
                f"exit status {self.process.returncode}: {self.last_words()}",
                "it to keep running",
                f"see {self.log_path}",
            )

    def check_transitions(self) -> None:
        """Raises SentryFuseError if a managed node has logged that it could not be configured or activated."""
        lines = self.log_path.read_text(errors="replace").split("\n")
        for i, line in enumerate(lines):
            for transition in ("configure failed: ", "activate failed: "):
                if transition in line:
                    more = itertools.takewhile(lambda text: text.startswith("  "), lines[i + 1 :])  # one line per mistake
                    raise SentryFuseError(f"node {self.name}: " + "\n".join([line.partition(transition)[2], *more]))

    def last_words(self, lines: int = 3) -> str:
        """The last lines of its log, in one line."""
        text = self.log_path.read_text(errors="replace").strip().split("\n")
        return " | ".join(line.strip() for line in text[-lines:])

    def stop(self, timeout_s: float = 30.0) -> int:
        """Interrupt it as a user would, kill it if it does not end in time; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
        status = self.process.wait()
        self._log.close()
        return status
