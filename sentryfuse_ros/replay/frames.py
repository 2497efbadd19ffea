"""Small pictures from the camera topic of a recording, which show what was in front of the robot at chosen times."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..bags.bag import Bag, Topic
from ..decoders import make_decoder
from ..decoders.cdr import CdrReader
from ..errors import DecodeError
from ..preprocessing import ModalitySpec
from ..sensor_kinds import sensor_kind

HEIGHT = 54  # rows of a small picture; the report shows it with fewer
USUAL_SHAPE = (3, 4)  # height to width, for messages that do not tell
MAX_AGE_S = 1.0  # an older frame is not shown: the camera itself was silent
DEPTH = ("16UC1", "32FC1")
DEPTH_RANGE = (2, 98)  # percentiles of the returns that are drawn nearly black and white
ACCEPT_DARK = {"black_share": 2.0, "saturated_share": 2.0}  # a black picture is shown here, although the fuser would refuse it


@dataclass(frozen=True)
class Frame:
    """The newest picture at a time: pixels (H, W, 3) float32 in 0..1. Both times are seconds since the recording began."""

    at_s: float
    recorded_s: float
    pixels: np.ndarray


def frames_at(bag: Bag, topic: Topic, times_s: Sequence[float], start_ns: int) -> list[Frame]:
    """The newest frame at each of the ascending times, which count from start_ns; left out if it is old or cannot be read."""
    wanted = list(times_s)
    chosen: list[tuple[float, float, bytes]] = []
    newest: tuple[float, bytes] | None = None
    for _, time_ns, raw in bag.messages([topic.name]):
        recorded_s = (time_ns - start_ns) * 1e-9
        due = bisect_left(wanted, recorded_s)
        chosen += [(t, *newest) for t in wanted[:due] if newest]
        del wanted[:due]
        newest = (recorded_s, raw)
        if not wanted:
            break
    chosen += [(t, *newest) for t in wanted if newest]
    fresh = [entry for entry in chosen if entry[0] - entry[1] <= MAX_AGE_S]
    return [
        Frame(t, recorded_s, pixels) for t, recorded_s, raw in fresh if (pixels := small_picture(topic.msg_type, raw)) is not None
    ]


def frames_of_run(bag: Bag, topic: Topic, times_s: Sequence[float], period_s: float, start_ns: int) -> list[Frame]:
    """`frames_at` for a recording that was played repeatedly, one pass beginning every ``period_s``."""
    out = []
    passes = int(max(times_s, default=-1.0) // period_s) + 1 if period_s > 0 else 1
    for n in range(passes):
        begin_s = n * period_s
        own = [t - begin_s for t in times_s if begin_s <= t < begin_s + period_s or period_s <= 0]
        out += [Frame(f.at_s + begin_s, f.recorded_s + begin_s, f.pixels) for f in frames_at(bag, topic, own, start_ns)]
    return out


def shows_pictures(msg_type: str) -> bool:
    """Whether messages of this type can be drawn by `small_picture`."""
    return msg_type in sensor_kind("camera").decoders


def small_picture(msg_type: str, raw: bytes) -> np.ndarray | None:
    """An Image or CompressedImage as (H, W, 3) float32 in 0..1, or None if it cannot be read. Near depth is dark, far light."""
    (height, width), encoding = _layout(msg_type, raw)
    size = (HEIGHT, max(1, round(HEIGHT * width / height)))
    depth = encoding in DEPTH
    spec = ModalitySpec("picture", "camera", 1.0, (1, 1 if depth else 3, *size), "depth_m" if depth else "rgb")
    rows = make_decoder("camera", msg_type, spec, ACCEPT_DARK).decode([raw]).rows
    if not len(rows):
        return None
    picture = np.asarray(rows[0], np.float32).transpose(1, 2, 0)
    if depth:
        returns = picture[picture > 0]
        low, high = np.percentile(returns, DEPTH_RANGE) if returns.size else (0.0, 1.0)
        picture = np.where(picture > 0, 0.15 + 0.85 * (picture - low) / max(high - low, 1e-6), 0.0).repeat(3, axis=2)
    return np.clip(picture, 0.0, 1.0)


def _layout(msg_type: str, raw: bytes) -> tuple[tuple[int, int], str]:
    """(height, width) and encoding of an Image; a CompressedImage gets the usual shape, its own is known only after unpacking."""
    try:
        reader = CdrReader(raw, msg_type)
        reader.header()
        if msg_type != "sensor_msgs/msg/Image":
            from ..decoders.compressed_image import original_encoding  # OpenCV, which reports without pictures do not need

            return USUAL_SHAPE, original_encoding(reader.string())
        height, width, encoding = reader.uint32(), reader.uint32(), reader.string()
    except DecodeError:
        return USUAL_SHAPE, ""
    return (height, width) if 0 < height < 8 * width < 64 * height else USUAL_SHAPE, encoding
