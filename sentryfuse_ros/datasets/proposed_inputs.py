"""Model inputs that fit the sensors of a recording: kind, shape and options, each with the reason for its choice."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import ceil
from pathlib import Path
from typing import TypeVar, cast

import numpy as np

from ..bags.bag import Bag, Topic
from ..bags.message_types import definition_of, deserialiser
from ..bags.sensor_topics import match_sensors
from ..bags.topic_facts import topic_facts
from ..decoders import make_decoder
from ..decoders.cdr import CdrReader
from ..decoders.compressed_image import original_encoding
from ..decoders.field_path import select
from ..decoders.picture import read_picture
from ..decoders.point_cloud import LidarDecoder, PointRecord
from ..errors import BagError, DecodeError
from ..preprocessing import ModalitySpec
from ..preprocessing.frame_slots import DEFAULT_MAX_REPEAT_S
from ..preprocessing.series import DEFAULT_MAX_GAP_S
from ..settings import SensorSettings

WINDOW_S = 2.0  # long enough to know most things by, short enough to follow a change
LONGEST_WINDOW_S = 10.0
LEAST_STEPS = 10  # of a series
FASTEST_HZ = 200.0  # vibration up to 100 Hz, which is about what the mount of an IMU passes on
ROUND_STEPS = 20  # longer series have a multiple of so many steps, so that they divide into tokens
PICTURE_ROWS, PICTURE_COLUMN_STEP = 54, 8  # as in the shipped recipe; smaller pictures keep their size
DEPTH_ENCODINGS = ("16UC1", "32FC1")
MONO_ENCODINGS = ("mono8", "8UC1", "mono16")
AUDIO_SHAPE_PER_2_S = (80, 40)  # a row every 25 ms, 40 mel bands
LIDAR_COLUMNS, LIDAR_ROWS, LIDAR_CHANNELS = 160, 16, 4
FRAMES = 2  # the newest one, and one that is half a window older
LOOKED_AT = 20  # messages of a topic, until one is of use
BRIDGED_PERIODS = 3.5  # of a sensor, between two messages: up to three may be lost


Found = TypeVar("Found")


@dataclass(frozen=True)
class ProposedInput:
    """A model input, and in words why it is so."""

    spec: ModalitySpec
    reason: str


def inputs_of_recording(
    path: Path,
    sensors: Sequence[SensorSettings],
    chosen: Mapping[str, str],
    named: Collection[str],
    say: Callable[[str], None] = lambda text: None,
) -> list[ProposedInput]:
    """One input for every sensor that has a topic in the recording; ``chosen`` and ``named`` as in `match_sensors`.

    Several sensors that serve one model input get one. ``say`` hears of every sensor without a topic, and of topics that were
    taken by their type. Raises BagError if no sensor has a topic.
    """
    with Bag(path) as bag:
        found = match_sensors(bag, sensors, chosen, named)
        found.check_any(bag)
        for name, why in found.absent.items():
            say(f"{name} is not in the recipe, because the recording {bag.name} has no topic for it: {why}")
        for remark in found.remarks:
            say(remark)
        rates_hz = {name: topic_facts(bag, topic).rate_hz for name, topic in found.topics.items()}
        by_name = {sensor.name: sensor for sensor in sensors}
        length_s = window_s([rates_hz[name] for name in found.topics if by_name[name].kind in ("imu", "series")])
        inputs: dict[str, ProposedInput] = {}
        for name, topic in found.topics.items():
            sensor = by_name[name]
            proposed = _PROPOSERS[sensor.kind](bag, sensor, topic, rates_hz[name], length_s)
            known = inputs.setdefault(sensor.model_input, proposed)
            if sensor.part and known is not proposed:
                inputs[sensor.model_input] = _joined(known, proposed)
    return list(inputs.values())


def _joined(one: ProposedInput, other: ProposedInput) -> ProposedInput:
    """The input of which two are parts: the channels of both, on the grid of the slower one."""
    steps, channels = min(one.spec.shape[0], other.spec.shape[0]), one.spec.shape[1] + other.spec.shape[1]
    options = max(one.spec.options, other.spec.options, key=lambda own: own.get("max_gap_s", 0.0))
    return ProposedInput(replace(one.spec, shape=(steps, channels), options=options), f"{one.reason}; {other.reason}")


def window_s(rates_hz: Sequence[float]) -> float:
    """`WINDOW_S`, or longer if a slow series would otherwise have fewer than `LEAST_STEPS`; in half seconds."""
    slowest = min((rate for rate in rates_hz if rate > 0), default=FASTEST_HZ)
    return min(max(WINDOW_S, ceil(2 * LEAST_STEPS / slowest) / 2), LONGEST_WINDOW_S)


def steps_of(rate_hz: float, length_s: float) -> int:
    """How many steps a series of a rate has: no more than messages come, and a number that divides into tokens."""
    steps = int(min(rate_hz or LEAST_STEPS, FASTEST_HZ) * length_s * (1 + 1e-6))
    if steps >= 2 * ROUND_STEPS:
        return steps // ROUND_STEPS * ROUND_STEPS
    return max(2, steps // 2 * 2)


def _series(bag: Bag, sensor: SensorSettings, topic: Topic, rate_hz: float, length_s: float) -> ProposedInput:
    if sensor.kind == "imu":
        channels, what = 6, "gyro xyz [rad/s], accel xyz [m/s^2]"
    else:
        selected = select(sensor.fields, definition_of(bag, topic.name))
        channels, what = sum(part.width for part in selected), ", ".join(sensor.fields)
    steps = steps_of(rate_hz, length_s)
    return ProposedInput(
        ModalitySpec(sensor.model_input, sensor.kind, length_s, (steps, channels), options=_bridge(rate_hz)),
        f"{topic.name} sends {rate_hz:.4g} Hz, so {steps} steps of {1000 * length_s / steps:.4g} ms; {what}",
    )


def _camera(bag: Bag, sensor: SensorSettings, topic: Topic, rate_hz: float, length_s: float) -> ProposedInput:
    raw, picture = _first(bag, topic, "picture", lambda raw: read_picture(topic.msg_type, raw, sensor.limits))
    message = deserialiser(bag, topic.name)(raw)
    encoding = str(getattr(message, "encoding", "")) or original_encoding(str(getattr(message, "format", "")))
    name, channels = "rgb", 3
    if encoding in DEPTH_ENCODINGS:
        name, channels = "depth_m", 1
    elif encoding in MONO_ENCODINGS:
        name, channels = "mono", 1
    height, width = picture.shape[:2]
    rows = min(PICTURE_ROWS, height)
    columns = min(max(PICTURE_COLUMN_STEP, round(rows * width / height / PICTURE_COLUMN_STEP) * PICTURE_COLUMN_STEP), width)
    return ProposedInput(
        ModalitySpec(sensor.model_input, "camera", length_s, (FRAMES, channels, rows, columns), name, options=_repeat(rate_hz)),
        f"{topic.name} sends {width} x {height} pictures at {rate_hz:.3g} Hz; {FRAMES} of them"
        + (f", shrunk to {columns} x {rows}" if (columns, rows) != (width, height) else ""),
    )


def _audio(bag: Bag, sensor: SensorSettings, topic: Topic, rate_hz: float, length_s: float) -> ProposedInput:
    rows = round(AUDIO_SHAPE_PER_2_S[0] * length_s / 2)
    return ProposedInput(
        ModalitySpec(
            sensor.model_input,
            "audio",
            length_s,
            (rows, AUDIO_SHAPE_PER_2_S[1]),
            options={"sample_rate_hz": 16000, "n_fft": 640},
        ),
        f"{topic.name}: a row of {AUDIO_SHAPE_PER_2_S[1]} mel bands every 25 ms, from sound at 16 kHz",
    )


def _lidar(bag: Bag, sensor: SensorSettings, topic: Topic, rate_hz: float, length_s: float) -> ProposedInput:
    decoder = cast("LidarDecoder[PointRecord]", make_decoder("lidar", topic.msg_type))

    def points(raw: bytes) -> tuple[np.ndarray, np.ndarray] | None:
        """Distance and height of the points beside the sensor; None if there are none."""
        columns = decoder.read_raw(CdrReader(raw, topic.msg_type)).columns(1)
        x, y, z = (axis[np.isfinite(columns).all(axis=0)].astype(np.float64) for axis in columns[:3])
        seen = np.hypot(x, y) > 0.1
        return (np.hypot(x, y)[seen], z[seen]) if seen.any() else None

    _, (reach, height) = _first(bag, topic, "points", points)
    elevation_deg = np.degrees(np.arctan2(height, reach))
    low, high = np.floor(elevation_deg.min()), np.ceil(elevation_deg.max())
    if high - low < 2:  # a scan in one plane
        low, high = low - 1, high + 1
    rows = 1 if topic.msg_type.endswith("LaserScan") else LIDAR_ROWS
    farthest_m = float(ceil(np.percentile(reach, 95)))
    options = {"min_elevation_deg": float(low), "max_elevation_deg": float(high), "max_range_m": farthest_m, **_repeat(rate_hz)}
    return ProposedInput(
        ModalitySpec(sensor.model_input, "lidar", length_s, (FRAMES, LIDAR_CHANNELS, rows, LIDAR_COLUMNS), options=options),
        f"{topic.name} sees from {low:g} to {high:g} degrees, and 95 % of its points within {farthest_m:g} m: range images of "
        "range, height, points and intensity",
    )


def _repeat(rate_hz: float) -> dict[str, float]:
    """A frame may stand in for up to three that are missing, and never for less than the default."""
    if rate_hz <= 0:
        return {}
    return {"max_repeat_s": round(max(DEFAULT_MAX_REPEAT_S, BRIDGED_PERIODS / rate_hz), 2), **_bridge(rate_hz)}


def _bridge(rate_hz: float) -> dict[str, float]:
    """The silence between the messages of a slow sensor splits no window, and neither do two lost messages."""
    if rate_hz <= 0 or (BRIDGED_PERIODS - 0.5) / rate_hz <= DEFAULT_MAX_GAP_S:
        return {}
    return {"max_gap_s": round(BRIDGED_PERIODS / rate_hz, 2)}


def _first(bag: Bag, topic: Topic, expected: str, read: Callable[[bytes], Found | None]) -> tuple[bytes, Found]:
    """The first message of a topic of which ``read`` makes something, and what it makes.

    Many drivers begin with an empty message or a damaged one. Raises BagError if none of the first ones is of use.
    """
    wrong = ""
    for _, _, raw in islice(bag.messages([topic.name]), LOOKED_AT):
        try:
            if (found := read(raw)) is not None:
                return raw, found
        except DecodeError as error:
            wrong = f" ({error})"
    raise BagError(
        f"topic {topic.name}",
        f"no {expected} in any of its first {LOOKED_AT} messages{wrong}",
        expected,
        "leave the sensor out of the parameters",
    )


_PROPOSERS = {"imu": _series, "series": _series, "camera": _camera, "audio": _audio, "lidar": _lidar}
