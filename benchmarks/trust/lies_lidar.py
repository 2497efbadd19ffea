"""Lies of a LiDAR, made in sensor_msgs/PointCloud2 messages of x, y, z and intensity as float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sentryfuse_ros.decoders.cdr import CdrReader

from .lie import Lie


def on_points(change: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Callable:
    """A change of the points x, y, z [m] and intensity (n, 4) of each cloud, which keeps their number."""

    def messages(raw: Sequence[bytes], random: np.random.Generator) -> list[bytes]:
        return [_changed(message, change, random) for message in raw]

    return messages


def _changed(raw: bytes, change: Callable, random: np.random.Generator) -> bytes:
    reader = CdrReader(raw, "PointCloud2")
    reader.header()
    reader.uint32(), reader.uint32()
    for _ in range(reader.uint32()):
        reader.string(), reader.uint32(), reader.uint8(), reader.uint32()
    reader.uint8(), reader.uint32(), reader.uint32()
    data = reader.array(np.uint8)
    points = np.array(data.view("<f4").reshape(-1, 4))
    out = np.asarray(change(points, random), "<f4").tobytes()
    return raw[: reader.offset - len(data)] + out + raw[reader.offset :]


def _scaled(factor: float) -> Callable:
    return on_points(lambda p, _: p * np.array([factor, factor, factor, 1]))


def _turned(rows: Sequence[Sequence[float]]) -> Callable:
    matrix = np.asarray(rows, float).T
    return on_points(lambda p, _: np.concatenate((p[:, :3] @ matrix, p[:, 3:]), axis=1))


def about_y(degrees: float) -> Callable:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return _turned(((c, 0, s), (0, 1, 0), (-s, 0, c)))


def _about_x(degrees: float) -> Callable:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return _turned(((1, 0, 0), (0, c, -s), (0, s, c)))


def ranges(change: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Callable:
    """A change of the distances (n,) along the beams."""

    def points(p: np.ndarray, random: np.random.Generator) -> np.ndarray:
        distance = np.linalg.norm(p[:, :3], axis=1)
        factor = change(distance, random) / np.maximum(distance, 1e-6)
        return np.concatenate((p[:, :3] * factor[:, None], p[:, 3:]), axis=1)

    return on_points(points)


def intensity(change: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Callable:
    return on_points(lambda p, r: np.concatenate((p[:, :3], change(p[:, 3:], r)), axis=1))


def only(keep: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Callable:
    """The other points are reported without return."""
    return on_points(lambda p, r: np.where(keep(p, r)[:, None], p, np.float32(np.nan)))


def elevation_of(p: np.ndarray) -> np.ndarray:
    return np.arctan2(p[:, 2], np.hypot(p[:, 0], p[:, 1]))


def _rings_reversed(p: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """Distances of the lowest ring given to the highest, and so on: the elevations are mirrored."""
    distance, azimuth, elevation = np.linalg.norm(p[:, :3], axis=1), np.arctan2(p[:, 1], p[:, 0]), elevation_of(p)
    level = elevation.max() + elevation.min() - elevation
    xyz = np.stack((np.cos(level) * np.cos(azimuth), np.cos(level) * np.sin(azimuth), np.sin(level)), axis=1)
    return np.concatenate((xyz * distance[:, None], p[:, 3:]), axis=1)


def every_fourth_ring(p: np.ndarray, _: np.random.Generator) -> np.ndarray:
    elevation = elevation_of(p)
    ring = np.rint((elevation - elevation.min()) / max(float(np.ptp(elevation)), 1e-6) * 15)
    return ring % 4 == 0


def _box(p: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Points at random in a box of 10 m."""
    return np.concatenate((random.uniform((-5, -5, -1.5), (5, 5, 1.5), (len(p), 3)), p[:, 3:]), axis=1)


LIES = (
    Lie("lidar", "millimetres", "coordinates in millimetres", _scaled(1000)),
    Lie("lidar", "centimetres", "coordinates in centimetres", _scaled(100)),
    Lie("lidar", "kilometres", "all points within millimetres of the origin", _scaled(0.001)),
    Lie("lidar", "feet", "coordinates in feet", _scaled(3.2808)),
    Lie("lidar", "half", "coordinates of half their size", _scaled(0.5)),
    Lie("lidar", "upside_down", "turned by 180 degrees about x", _turned(((1, 0, 0), (0, -1, 0), (0, 0, -1)))),
    Lie("lidar", "mirrored", "left and right exchanged", _turned(((1, 0, 0), (0, -1, 0), (0, 0, 1)))),
    Lie("lidar", "yawed_90", "turned by 90 degrees about z", _turned(((0, -1, 0), (1, 0, 0), (0, 0, 1)))),
    Lie("lidar", "yawed_180", "turned by 180 degrees about z", _turned(((-1, 0, 0), (0, -1, 0), (0, 0, 1)))),
    Lie("lidar", "axes_exchanged", "x, y, z sent as z, x, y", _turned(((0, 0, 1), (1, 0, 0), (0, 1, 0)))),
    Lie("lidar", "axes_optical", "axes of a camera, in a frame of another name", _turned(((0, -1, 0), (0, 0, -1), (1, 0, 0)))),
    Lie("lidar", "pitched_20", "turned by 20 degrees about y", about_y(20)),
    Lie("lidar", "rolled_20", "turned by 20 degrees about x", _about_x(20)),
    Lie("lidar", "raised", "coordinates of a frame that is 0.5 m lower", on_points(lambda p, _: p + np.array([0, 0, 0.5, 0]))),
    Lie("lidar", "rings_reversed", "rings in the wrong order", on_points(_rings_reversed)),
    Lie("lidar", "range_offset", "distances 0.5 m too long", ranges(lambda d, _: d + 0.5)),
    Lie("lidar", "range_noise", "distances with noise of 0.2 m", ranges(lambda d, r: d + r.normal(0, 0.2, d.shape))),
    Lie("lidar", "range_constant", "one distance for all beams", ranges(lambda d, r: 2.0 + r.normal(0, 0.005, d.shape))),
    Lie(
        "lidar",
        "range_steps",
        "distances in steps of 0.25 m",
        ranges(lambda d, r: np.round(d * 4) / 4 + r.normal(0, 1e-4, d.shape)),
    ),
    Lie("lidar", "no_intensity", "no intensities", intensity(lambda i, _: 0 * i)),
    Lie("lidar", "intensity_16_bit", "intensities of 16 bits", intensity(lambda i, _: 256 * i)),
    Lie("lidar", "intensity_of_1", "intensities from 0 to 1", intensity(lambda i, _: i / 255)),
    Lie("lidar", "intensity_random", "random intensities", intensity(lambda i, r: r.uniform(0, 255, i.shape))),
    Lie("lidar", "front_missing", "the front half has no return", only(lambda p, _: p[:, 0] < 0)),
    Lie("lidar", "few_points", "nine of ten points have no return", only(lambda p, r: r.random(len(p)) < 0.1)),
    Lie("lidar", "rings_missing", "three of four rings have no return", only(every_fourth_ring)),
    Lie("lidar", "random_points", "points at random", on_points(_box)),
)
