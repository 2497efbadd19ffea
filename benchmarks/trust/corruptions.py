"""Corruptions of three severities, told in messages like lies: what weather, age and a bad mount do to a sensor.

The kinds are those of benchmarks such as MultiCorrupt (Beemelmanns et al. 2024), as far as they fit the simulated robot; the
changes are this project's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from .lie import Lie
from .lies_audio import on_samples
from .lies_camera import on_pixels
from .lies_imu import on_values
from .lies_lidar import about_y, elevation_of, intensity, on_points, only, ranges


def _pixels(change: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Any:
    return on_pixels(lambda p, r: np.clip(np.rint(change(p.astype(np.float32), r)), 0, 255).astype(np.uint8))


def _dark(share: float) -> Any:
    def change(p: np.ndarray, random: np.random.Generator) -> np.ndarray:
        light = p * share
        return light + random.normal(0, 1, p.shape) * np.sqrt(light * 0.5 + 2)

    return _pixels(change)


def _fog(share: float) -> Any:
    return _pixels(lambda p, _: p * (1 - share) + 200 * share)


def _occluded(share: float) -> Any:
    def change(p: np.ndarray, random: np.random.Generator) -> np.ndarray:
        out = p.copy()
        out[:, : round(p.shape[1] * share)] = 12 + random.normal(0, 2, out[:, : round(p.shape[1] * share)].shape)
        return out

    return _pixels(change)


def _imu_noise(size: float) -> Any:
    return on_values(lambda v, r: v + r.normal(0, size, v.shape) * np.repeat([0.1, 1.0], 3))


def _imu_bias(size: float) -> Any:
    return on_values(lambda v, _: v + np.repeat([0.3 * size, size], 3))


def _imu_vibration(size: float) -> Any:
    def change(v: np.ndarray, _: np.random.Generator) -> np.ndarray:
        wave = np.sin(2 * np.pi * 37 / 200 * np.arange(len(v)))[:, None]
        return v + wave * size * np.array([0.03, 0.03, 0.03, 0.5, 0.5, 1.0])

    return on_values(change)


def _imu_clipped(most: float) -> Any:
    return on_values(lambda v, _: np.concatenate((v[:, :3], np.clip(v[:, 3:], -most, most)), axis=1))


def _sound_noise(decibel: float) -> Any:
    """White noise so many decibels below the sound."""
    return on_samples(lambda s, r: s + r.normal(0, s.std() * 10 ** (-decibel / 20), s.shape).astype(np.float32))


def _sound_gain(decibel: float) -> Any:
    return on_samples(lambda s, _: s * np.float32(10 ** (decibel / 20)))


def _rumble(level: float) -> Any:
    def change(s: np.ndarray, random: np.random.Generator) -> np.ndarray:
        slow = np.convolve(random.normal(0, 1, len(s) + 159), np.ones(160) / 160**0.5, "valid")
        return s + np.float32(level) * slow.astype(np.float32)

    return on_samples(change)


def _sound_gaps(share: float) -> Any:
    def change(s: np.ndarray, random: np.random.Generator) -> np.ndarray:
        gone = np.repeat(random.random(len(s) // 320 + 1) < share, 320)[: len(s)]
        return np.where(gone, random.normal(0, 3e-5, s.shape), s).astype(np.float32)

    return on_samples(change)


def _false_points(share: float) -> Any:
    def change(p: np.ndarray, random: np.random.Generator) -> np.ndarray:
        near = random.random(len(p)) < share
        return np.concatenate((p[:, :3] * np.where(near, random.uniform(0.2, 0.9, len(p)), 1)[:, None], p[:, 3:]), axis=1)

    return on_points(change)


def _rings_lost(kept_of_four: int) -> Any:
    def keep(p: np.ndarray, _: np.random.Generator) -> np.ndarray:
        elevation = elevation_of(p)
        ring = np.rint((elevation - elevation.min()) / max(float(np.ptp(elevation)), 1e-6) * 15)
        return ring % 4 < kept_of_four

    return only(keep)


_KINDS: Sequence[tuple[str, str, Callable[[Any], Any], tuple[Any, Any, Any]]] = (
    ("camera", "darkness", _dark, (0.33, 0.16, 0.08)),
    ("camera", "brightness", lambda f: _pixels(lambda p, _: p * f), (1.4, 1.8, 2.5)),
    ("camera", "fog", _fog, (0.3, 0.5, 0.7)),
    ("camera", "blur", lambda s: on_pixels(lambda p, _: cv2.GaussianBlur(p, (0, 0), s)), (0.7, 1.5, 3.0)),
    ("camera", "noise", lambda s: _pixels(lambda p, r: p + r.normal(0, s, p.shape)), (8, 20, 40)),
    ("camera", "occlusion", _occluded, (0.1, 0.25, 0.5)),
    ("imu", "noise", _imu_noise, (0.3, 1.0, 3.0)),
    ("imu", "bias", _imu_bias, (0.1, 0.3, 0.8)),
    ("imu", "vibration", _imu_vibration, (0.5, 2.0, 5.0)),
    ("imu", "small range", _imu_clipped, (20, 13, 10)),
    ("audio", "noise", _sound_noise, (20, 10, 0)),
    ("audio", "quiet", _sound_gain, (-6, -15, -30)),
    ("audio", "overdriven", _sound_gain, (6, 12, 20)),
    ("audio", "rumble", _rumble, (0.01, 0.05, 0.2)),
    ("audio", "gaps", _sound_gaps, (0.1, 0.3, 0.6)),
    ("lidar", "points lost", lambda s: only(lambda p, r: r.random(len(p)) > s), (0.2, 0.5, 0.8)),
    ("lidar", "range noise", lambda s: ranges(lambda d, r: d + r.normal(0, s, d.shape)), (0.01, 0.03, 0.1)),
    ("lidar", "rings lost", _rings_lost, (3, 2, 1)),
    ("lidar", "tilted mount", about_y, (1, 3, 8)),
    ("lidar", "false points", _false_points, (0.05, 0.15, 0.4)),
    ("lidar", "weak reflections", lambda f: intensity(lambda i, _: i * f), (0.7, 0.4, 0.15)),
)
SEVERITIES = (1, 2, 3)
CORRUPTIONS = tuple(
    Lie(sensor, f"{name}/{severity}", name, make(strength))
    for sensor, name, make, strengths in _KINDS
    for severity, strength in zip(SEVERITIES, strengths, strict=True)
)
