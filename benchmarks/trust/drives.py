"""What becomes of a lying sensor in the course of whole drives: its windows as the node judges them, with the node's memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sentryfuse_ros.nanoseconds import NS_PER_S
from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.sensing.trust_table import TrustTable
from sentryfuse_ros.sensing.trust_watch import TrustWatch
from sentryfuse_ros.settings import build_settings

from .collect import CLEAN, TOPICS, Windows, measured
from .lie import Lie
from .lying_windows import lying_windows, read_messages

JUDGED_S = 0.2  # between two moments at which the node may judge
BEFORE_S = 1.6  # the first window of a data set ends 2 s after its drive began; the first judgement needs some data


def distrusted(
    spec: ModalitySpec,
    table: TrustTable,
    values: np.ndarray,
    drives: np.ndarray,
    end_ns: np.ndarray,
    seen: np.ndarray,
    bad_windows: int,
    good_windows: int,
) -> np.ndarray:
    """Whether the sensor is not believed at each of n moments, in order of time within each of the ``drives`` (n,).

    values (n, q): its quantities there, NaN where nothing can be judged. ``seen`` (n,): decoder or liveness refuse it anyway.
    """
    found = np.zeros(len(end_ns), bool)
    for drive in dict.fromkeys(drives.tolist()):
        watch = TrustWatch(spec, table, True, bad_windows, good_windows)
        for i in np.flatnonzero(drives == drive):
            now_ns = int(end_ns[i])
            if not seen[i] and watch.due(now_ns):
                usable = values.shape[1] and not np.isnan(values[i]).all()
                watch.follow(now_ns, table.judge(dict(zip(table.names, values[i].tolist()))) if usable else None)
            found[i] = watch.distrusted or seen[i]
    return found


def masked_in_drives(
    windows: Windows, worlds: Path, told: Mapping[int, Lie | None], spec: ModalitySpec, table: TrustTable
) -> dict[str, np.ndarray]:
    """For each lie of a sensor, by its place among the lies of the sensor: whether the sensor is masked (n,) at the end of each
    window, if it lies from the beginning of the drive on. None is a sensor that tells the truth, under the name `CLEAN`."""
    raw_spec = replace(spec, mean=(), std=())
    settings = next(s for s in build_settings({}).sensors if s.name == spec.name)
    drives = np.array(windows.drives)
    names = {place: CLEAN if lie is None else lie.name for place, lie in told.items()}
    found = {name: np.zeros(len(drives), bool) for name in names.values()}
    for drive in dict.fromkeys(windows.drives):
        own = np.flatnonzero(drives == drive)
        sent, ends = read_messages(worlds / drive, TOPICS[spec.name]), windows.end_ns[own]
        moments = _moments(ends)
        for place, lie in told.items():
            lying = lying_windows(sent, lie, place, settings, raw_spec, moments.tolist())
            values = measured(spec, lying.inputs)
            one = np.zeros(len(moments), int)
            masked = distrusted(spec, table, values, one, moments, lying.seen, settings.invalid_samples, settings.good_samples)
            found[names[place]][own] = masked[np.searchsorted(moments, ends)]
    return found


def _moments(end_ns: Sequence[int] | np.ndarray) -> np.ndarray:
    """Every `JUDGED_S` from soon after the beginning of a drive to its last window, and the ends of its windows [ns]."""
    first, last = int(end_ns[0]), int(end_ns[-1])
    grid = np.arange(first - round(BEFORE_S * NS_PER_S), last + 1, round(JUDGED_S * NS_PER_S))
    return np.unique(np.concatenate((grid, np.asarray(end_ns, np.int64))))
