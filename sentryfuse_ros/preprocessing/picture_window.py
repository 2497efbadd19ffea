"""The window of a camera whose model keeps what it knows of earlier pictures (`streaming/`): only pictures that are new to it.

A window of `preprocessing.camera` copies and normalises all of its pictures, which takes longer than a stream needs to encode
what changed in the newest one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from ..nanoseconds import NS_PER_S
from .frame_slots import slot_rows
from .spec import ModalitySpec

APART_SHARE = 0.6  # of a slot: pictures closer than this to one that is taken are not worth encoding


class Source(NamedTuple):
    """Where pictures come from. A stream compares only pictures of the same source."""

    sensor: str
    size: tuple[int, int] | None = None  # rows and columns as they were sent
    returns: int = 0  # how often the sensor has become live


class Known(NamedTuple):
    """How far a stream has come."""

    newest_ns: int = -1  # stamp of the newest picture that it has taken
    era: int = 0  # goes up whenever the stream is reset


KnownPictures = Mapping[str, Callable[[Source], Known]]  # by model input that streams: how far it knows the pictures of a source


class PictureWindow(NamedTuple):
    """The pictures in a window, not normalised; those that the stream does not know yet with their pixels."""

    row_stamp_ns: np.ndarray  # int64 (k,): of all pictures in the window
    end_ns: int
    new_stamp_ns: np.ndarray  # int64 (n,): of those that the slots need and the stream does not know, ascending
    new: np.ndarray  # (n, C, H, W) float32, copied: metres with 0 where there is no return, or shares of full scale
    source: Source
    era: int
    turn_rad_s: float | None = None  # rate at which the camera turns, where it is measured
    speed_m_s: float | None = None  # at which it drives, where that is measured


def picture_window(
    row_stamp_ns: np.ndarray, rows: np.ndarray, end_ns: int, spec: ModalitySpec, known: Known, source: Source
) -> PictureWindow:
    """From frames (k, C, H, W) of `camera.camera_frame` at sorted stamps (k,) [ns] and what the stream knows already."""
    wanted = sorted({row for row in slot_rows(row_stamp_ns, end_ns, spec) if row >= 0 and row_stamp_ns[row] > known.newest_ns})
    # A picture between two slots may fall into one of them at one tick and into none at the next.
    apart_ns, last_ns, index = APART_SHARE * spec.window_s / spec.shape[0] * NS_PER_S, known.newest_ns, []
    newest_ns = int(row_stamp_ns[wanted[-1]]) if wanted else 0
    for i in wanted:
        stamp_ns = int(row_stamp_ns[i])
        if stamp_ns == newest_ns or (newest_ns - stamp_ns >= apart_ns and (last_ns < 0 or stamp_ns - last_ns >= apart_ns)):
            index.append(i)
            last_ns = stamp_ns
    return PictureWindow(row_stamp_ns.copy(), int(end_ns), row_stamp_ns[index], rows[index].astype(np.float32), source, known.era)
