"""The ROS domain of a replay or benchmark: the one that the user wants, otherwise one that no other of them here has."""

from __future__ import annotations

import fcntl
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..errors import ParameterError

SAFE_DOMAINS = range(102)  # ports of higher domains are in use by Linux
OWN_DOMAINS = SAFE_DOMAINS[1:]  # 0 is where a robot is, unless somebody chose otherwise
MAX_DOMAIN = 232  # of DDS


@dataclass
class RosDomain:
    """A domain that this process has claimed until `release`. ``source``: the option or variable that named it, or ""."""

    id: int
    source: str
    _lock: IO[str] | None = None

    def release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def claim_domain(wanted: int | None = None) -> RosDomain:
    """The domain ``wanted``, otherwise that of ROS_DOMAIN_ID, otherwise a free one.

    Raises ParameterError for a domain that does not exist, and for one on which another replay runs: each would hear the other.
    """
    if wanted is not None and wanted not in SAFE_DOMAINS:
        raise ParameterError("--domain-id", wanted, "0 to 101 (the ports of higher domains are in use by Linux)")
    variable, source = os.environ.get("ROS_DOMAIN_ID", ""), "--domain-id"
    if wanted is None and variable:
        wanted, source = domain_of(variable), "ROS_DOMAIN_ID"
    if wanted is None:
        return free_domain()
    lock = _lock(wanted)
    if lock is None:
        raise ParameterError(
            source, wanted, "a ROS domain on which no other replay runs", "wait for its end, or give another --domain-id"
        )
    return RosDomain(wanted, source, lock)


def domain_of(variable: str) -> int:
    """The domain that ROS_DOMAIN_ID names. Raises ParameterError for one that does not exist."""
    if not variable.isdecimal() or int(variable) > MAX_DOMAIN:
        raise ParameterError("ROS_DOMAIN_ID", repr(variable), f"0 to {MAX_DOMAIN}", "correct or unset it")
    return int(variable)


def free_domain() -> RosDomain:
    """A domain that no other process has claimed. Raises ParameterError if there is none."""
    for attempt in range(len(OWN_DOMAINS)):
        domain = OWN_DOMAINS[(os.getpid() + attempt) % len(OWN_DOMAINS)]
        lock = _lock(domain)
        if lock is not None:
            return RosDomain(domain, "", lock)
    raise ParameterError("replay", "a replay on every ROS domain from 1 to 101", "a free one", "give --domain-id")


def _lock(domain: int) -> IO[str] | None:
    """The lock of a domain on this machine, which ends with the process; None if another process has it."""
    path = Path(tempfile.gettempdir()) / f"sentryfuse_replay_domain_{domain}.lock"
    if not path.exists():
        path.touch()
        path.chmod(0o644)  # whatever the umask: others must be able to ask for it
    try:
        lock = path.open()  # for reading, because it may be another user's
    except PermissionError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return None
    return lock
