"""Recordings -> model inputs: the moment at which a window ends, its augmentation, and means and deviations over all rows.

Everything random is drawn from the generator passed in, so an epoch is repeatable from (seed, epoch, place).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from ..datasets.recording import Recording, Stream
from ..nanoseconds import NS_PER_S
from ..preprocessing import ModalitySpec, model_input
from .augment import Augment


def whole_window(recording: Recording, specs: Sequence[ModalitySpec]) -> dict[str, np.ndarray]:
    """The window by which a recording is evaluated: each sensor's window ends at that sensor's own last row."""
    return {s.name: _extract(recording.streams[s.name], s, int(recording.streams[s.name].stamp_ns[-1])) for s in specs}


def window_at(recording: Recording, specs: Sequence[ModalitySpec], end_ns: int) -> dict[str, np.ndarray]:
    """What the robot has at ``end_ns``, where the windows of all sensors end."""
    return {s.name: _extract(recording.streams[s.name], s, end_ns) for s in specs}


def _extract(stream: Stream, spec: ModalitySpec, end_ns: int) -> np.ndarray:
    return model_input(spec, stream.stamp_ns, stream.rows, end_ns)


def random_window(
    recording: Recording, specs: Sequence[ModalitySpec], augment: Augment, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """One augmented window. Either every sensor is seen whole, or all windows end at one moment on the way, as on the robot."""
    partial = rng.random() < augment.partial
    common_share = rng.uniform(augment.partial_from, 1.0)
    shortest_ns = min(int(s.stamp_ns[-1]) for s in recording.streams.values())
    # As with a single live sensor, whose recording may be longer than the shortest one.
    on_its_own = rng.random() < 0.5
    inputs = {}
    for spec in specs:
        stream = recording.streams[spec.name]
        last_ns = int(stream.stamp_ns[-1])
        end_ns = round(common_share * (last_ns if on_its_own else shortest_ns)) if partial else last_ns
        end_ns += round(rng.uniform(0, augment.lag_s) * NS_PER_S)
        factor = 1.0 / rng.uniform(1 - augment.speed, 1 + augment.speed)
        stamps = np.round(stream.stamp_ns * factor).astype(np.int64)
        rows = stream.rows
        if spec.kind == "imu":
            rows = _turn_and_scale(rows, augment, rng)
        x = model_input(spec, stamps, rows, round(end_ns * factor))
        if spec.kind == "camera":
            x = _move(x, augment, rng)
        else:
            x = x + np.where(x != 0, augment.imu_jitter * rng.standard_normal(x.shape, np.float32), 0)
        inputs[spec.name] = _erase(x, augment, rng).astype(np.float32, copy=False)
    return inputs


def _turn_and_scale(rows: np.ndarray, augment: Augment, rng: np.random.Generator) -> np.ndarray:
    rotation, _ = cv2.Rodrigues(np.deg2rad(augment.imu_rotation_deg) / 3**0.5 * rng.standard_normal(3))
    scale = 1 + augment.imu_scale * rng.standard_normal(2)
    out = np.empty_like(rows)
    out[:, :3] = rows[:, :3] @ (rotation.T * scale[0]).astype(np.float32)
    out[:, 3:6] = rows[:, 3:6] @ (rotation.T * scale[1]).astype(np.float32)
    return out


def _move(frames: np.ndarray, augment: Augment, rng: np.random.Generator) -> np.ndarray:
    """Shift and zoom all frames (K, C, H, W) by the same amount, and scale their values."""
    _, _, height, width = frames.shape
    zoom = 1 + rng.uniform(-augment.camera_zoom, augment.camera_zoom)
    dx, dy = rng.uniform(-augment.camera_shift, augment.camera_shift, 2) * (width, height)
    # By the nearest cell, since interpolation would invent depths between a body and nothing. Rows and columns are independent.
    (row, row_in), (column, column_in) = (_sources(size, zoom, by) for size, by in ((height, dy), (width, dx)))
    out = frames[:, :, row[:, None], column] * (row_in[:, None] & column_in)
    return out * np.float32(1 + rng.uniform(-augment.camera_depth_scale, augment.camera_depth_scale))


def _sources(size: int, zoom: float, by: float) -> tuple[np.ndarray, np.ndarray]:
    """For a line of cells zoomed about its middle and shifted: the source of each cell (size,), and whether it has one."""
    source = np.rint((np.arange(size) - (1 - zoom) * size / 2 - by) / zoom).astype(np.int64)
    return source.clip(0, size - 1), (source >= 0) & (source < size)


def _erase(x: np.ndarray, augment: Augment, rng: np.random.Generator) -> np.ndarray:
    if rng.random() < augment.erase:
        length = int(rng.integers(1, max(2, int(augment.erase_share * len(x)) + 1)))
        start = int(rng.integers(0, len(x) - length + 1))
        if length == len(x):  # nothing would be left of a window of one frame
            return x
        x = x.copy()
        x[start : start + length] = 0
    return x


def stack(windows: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Join windows into one array per modality, batch first."""
    return {name: np.stack([w[name] for w in windows]) for name in windows[0]}


def measure_recordings(specs: Sequence[ModalitySpec], recordings: Sequence[Recording]) -> tuple[ModalitySpec, ...]:
    """The specs, with mean and std over all rows of the recordings where a spec has none; of depth, over its returns only."""
    out = []
    for spec in specs:
        if spec.mean and spec.std:
            out.append(spec)
            continue
        streams = [r.streams[spec.name] for r in recordings]
        if spec.kind == "camera" and spec.encoding == "depth_m":
            relative = bool(spec.options.get("relative_depth"))
            returns = [s.rows[s.rows > 0][::7] for s in streams]  # every 7th return is plenty
            values = np.concatenate([v - np.median(v) if relative else v for v in returns])[:, None]
            mean = np.zeros(1) if relative else values.mean(0)
        else:
            rows = [np.moveaxis(s.rows, 1, -1).reshape(-1, spec.channels) for s in streams]
            values = np.concatenate(rows).astype(np.float64)
            mean = values.mean(0)
        std = np.maximum(values.std(0), 1e-6)
        out.append(replace(spec, mean=tuple(round(float(m), 6) for m in mean), std=tuple(round(float(s), 6) for s in std)))
    return tuple(out)
