"""Augmentation of model inputs: strengths, and what is done to windows that were cut beforehand.

Everything random comes from the generator passed in, so an epoch is repeatable from (seed, epoch, place). Empty cells
(exactly zero) stay empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..preprocessing import ModalitySpec
from ..preprocessing.normalise import present_cells


@dataclass(frozen=True)
class Augment:
    """Strengths of the augmentation; zero switches a part off."""

    # of recordings (one window of each is drawn while training)
    partial: float = 0.5  # share of windows that end before the recording does
    partial_from: float = 0.4  # earliest such end, as a share of the recording
    lag_s: float = 0.3  # a window may end up to this long after a sensor's last row
    speed: float = 0.2  # time runs 1 +- this fast, each sensor on its own
    camera_shift: float = 0.06  # share of the image
    camera_zoom: float = 0.1
    camera_depth_scale: float = 0.1  # thickness of the body in depth
    # of both
    imu_rotation_deg: float = 15.0  # standard deviation of the mounting error
    imu_scale: float = 0.1  # standard deviation, gyro and accel apart
    imu_jitter: float = 0.05  # standard deviation, in normalised units
    erase: float = 0.3  # chance that a stretch of a window is blanked out
    erase_share: float = 0.2  # longest such stretch
    # of windows cut before; standard deviations in normalised units unless said
    mirror: float = 0.5  # chance that left and right of a camera or LiDAR window change places
    turn: float = 0.0  # chance that a LiDAR window that looks all around is turned by any angle
    light: float = 0.4  # brightness of a camera window
    contrast: float = 0.25  # its contrast, relative
    colour: float = 0.1  # brightness of each colour apart
    camera_noise: float = 0.1
    loudness: float = 0.5  # of an audio window, in units of its bands' deviation
    bands_share: float = 0.2  # widest run of mel bands that is levelled out
    lidar_scale: float = 0.1  # intensity and relief, relative to their deviations
    lidar_noise: float = 0.05
    lidar_drop: float = 0.1  # largest share of cells that lose their return


def augment_windows(
    inputs: Mapping[str, np.ndarray], specs: Sequence[ModalitySpec], augment: Augment, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Normalised windows (n, *spec.shape) -> the same, each changed on its own."""
    change = {"camera": _camera, "imu": _imu, "audio": _audio, "lidar": _lidar, "series": _series}
    out = {}
    for spec in specs:
        x = inputs[spec.name]
        changed = change[spec.kind](x, spec, augment, rng)
        if not (spec.kind == "lidar" or spec.encoding == "depth_m"):  # these move cells and keep the empty ones themselves
            changed = np.where(present_cells(spec, x), changed, np.float32(0))
        out[spec.name] = _erase(changed.astype(np.float32, copy=False), augment, rng)
    return out


def _per_window(x: np.ndarray, rng: np.random.Generator, *sizes: int) -> np.ndarray:
    """Standard normal numbers (n, *sizes), as many axes as x, for a factor or an offset of each window."""
    return rng.standard_normal((len(x), *sizes)).astype(np.float32)


def _mirror(x: np.ndarray, augment: Augment, rng: np.random.Generator) -> np.ndarray:
    flip = rng.random(len(x)) < augment.mirror
    x = x.copy()
    x[flip] = x[flip][..., ::-1]
    return x


def _camera(x: np.ndarray, spec: ModalitySpec, augment: Augment, rng: np.random.Generator) -> np.ndarray:
    if spec.encoding == "depth_m":
        return _mirror(x, augment, rng) * (1 + augment.camera_depth_scale * _per_window(x, rng, 1, 1, 1, 1))
    x = _mirror(x, augment, rng)
    middle = x.mean(axis=(1, 2, 3, 4), keepdims=True)
    x = middle + (x - middle) * np.exp(augment.contrast * _per_window(x, rng, 1, 1, 1, 1))
    x = x + augment.light * _per_window(x, rng, 1, 1, 1, 1) + augment.colour * _per_window(x, rng, 1, x.shape[2], 1, 1)
    strength = augment.camera_noise * rng.random((len(x), 1, 1, 1, 1), np.float32)
    return x + strength * rng.standard_normal(x.shape, np.float32)


def _imu(x: np.ndarray, spec: ModalitySpec, augment: Augment, rng: np.random.Generator) -> np.ndarray:
    """Mounting error and scale act on physical units, so the mean is put back for a moment."""
    mean = np.asarray(spec.mean or [0.0] * 6, np.float32)
    std = np.asarray(spec.std or [1.0] * 6, np.float32)
    physical = x * std + mean
    turn = _rotations(np.deg2rad(augment.imu_rotation_deg) / 3**0.5 * _per_window(x, rng, 3))
    scale = 1 + augment.imu_scale * _per_window(x, rng, 2)
    for part in (0, 1):
        columns = slice(3 * part, 3 * part + 3)
        physical[..., columns] = physical[..., columns] @ (turn.transpose(0, 2, 1) * scale[:, part, None, None])
    return _series((physical - mean) / std, spec, augment, rng)


def _rotations(axis_angle: np.ndarray) -> np.ndarray:
    """Rotation vectors (n, 3) [rad] -> matrices (n, 3, 3), by Rodrigues' formula."""
    angle = np.linalg.norm(axis_angle, axis=1)[:, None, None]
    axis = axis_angle / np.maximum(angle[:, 0], 1e-9)
    cross = np.zeros((len(axis), 3, 3), np.float32)
    cross[:, [2, 0, 1], [1, 2, 0]] = axis
    cross[:, [1, 2, 0], [2, 0, 1]] = -axis
    return (np.eye(3, dtype=np.float32) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)).astype(np.float32)


def _series(x: np.ndarray, spec: ModalitySpec, augment: Augment, rng: np.random.Generator) -> np.ndarray:
    return x + augment.imu_jitter * rng.standard_normal(x.shape, np.float32)


def _audio(x: np.ndarray, spec: ModalitySpec, augment: Augment, rng: np.random.Generator) -> np.ndarray:
    """Loudness, and a run of bands at their mean (frequency masking; Park et al., SpecAugment, 2019)."""
    x = x + augment.loudness * _per_window(x, rng, 1, 1)
    bands = x.shape[2]
    width = rng.integers(0, int(augment.bands_share * bands) + 1, len(x))
    first = rng.integers(0, bands - width + 1)
    band = np.arange(bands)
    masked = (band >= first[:, None]) & (band < (first + width)[:, None])
    return np.where(masked[:, None], x.mean(axis=1, keepdims=True).mean(axis=2, keepdims=True), x)


def _lidar(x: np.ndarray, spec: ModalitySpec, augment: Augment, rng: np.random.Generator) -> np.ndarray:
    x = _mirror(x, augment, rng)
    if spec.options.get("azimuth_fov_deg", 360) == 360 and augment.turn:
        by = np.where(rng.random(len(x)) < augment.turn, rng.integers(0, x.shape[-1], len(x)), 0)
        column = (np.arange(x.shape[-1]) + by[:, None]) % x.shape[-1]
        x = np.take_along_axis(x, column[:, None, None, None], axis=-1)
    seen = x.any(axis=2, keepdims=True)
    if x.shape[2] > 3:
        x[:, :, 3:] *= 1 + augment.lidar_scale * _per_window(x, rng, 1, 1, 1, 1)
    x = x + augment.lidar_noise * rng.standard_normal(x.shape, np.float32)
    share = augment.lidar_drop * rng.random((len(x), 1, 1, 1, 1), np.float32)
    keep = rng.random(seen.shape, np.float32) >= share
    return np.where(seen & keep, x, np.float32(0))


def _erase(x: np.ndarray, augment: Augment, rng: np.random.Generator) -> np.ndarray:
    """Blank out a stretch of time (axis 1) of some windows."""
    hit = rng.random(len(x)) < augment.erase
    steps = x.shape[1]
    length = rng.integers(1, max(2, int(augment.erase_share * steps) + 1), len(x))
    first = rng.integers(0, steps - length + 1)
    step = np.arange(steps)
    gone = hit[:, None] & (step >= first[:, None]) & (step < (first + length)[:, None])
    # A window of one or two frames must not lose all it has.
    gone &= (gone.sum(1) < steps)[:, None]
    x[gone] = 0
    return x
