"""Augmentation of model inputs: how strong it is, and what it does to windows that were extracted beforehand.

All randomness comes from the generator that is passed in, so an epoch can be repeated from (seed, epoch, rank). Cells
without data are exactly zero and stay so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..preprocessing import ModalitySpec
from ..preprocessing.normalise import valid_cells
from ..sensor_kinds import sensor_kind
from ..validation import NotNegative, Share, ShareBelowOne, check


@dataclass(frozen=True)
class Augment:
    """Strengths of the augmentation; zero switches a part off."""

    # For whole recordings, of which one window each is drawn while training.
    partial: Share = 0.5  # probability that a window ends before the recording does
    partial_from: Share = 0.4  # earliest such end, as a share of the recording
    lag_s: NotNegative = 0.3  # a window may end up to this long after a sensor's last row [s]
    speed: ShareBelowOne = 0.2  # time is stretched by up to this share, for each sensor separately
    camera_shift: NotNegative = 0.06  # largest shift, as a share of the image's side
    camera_zoom: ShareBelowOne = 0.1  # largest relative zoom
    camera_depth_scale: NotNegative = 0.1  # relative scale of the depth values: a thicker or thinner body
    # For recordings and for windows.
    imu_rotation_deg: NotNegative = 15.0  # standard deviation of the mounting error [deg]
    imu_scale: NotNegative = 0.1  # standard deviation of the scale factor, drawn for gyroscope and accelerometer separately
    imu_jitter: NotNegative = 0.05  # standard deviation of the added noise, in normalised units
    erase: Share = 0.3  # probability that a stretch of a window is blanked out
    erase_share: Share = 0.2  # longest such stretch, as a share of the window
    # For windows extracted beforehand; standard deviations in normalised units where nothing else is said.
    # Left and right of the whole robot are swapped with this probability. The numbers of a sensor say which of its channels,
    # counted from 1, then takes the place of each; a minus changes its sign. Sensors that are not named stay as they are.
    swap_sides: Share = 0.0
    swapped_channels: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    mirror: Share = 0.5  # probability that left and right of a camera or LiDAR window are swapped
    turn: Share = 0.0  # probability that a LiDAR window of 360 degrees is rotated by a random angle
    light: NotNegative = 0.4  # brightness of a camera window
    contrast: NotNegative = 0.25  # relative contrast of a camera window
    colour: NotNegative = 0.1  # brightness of each colour channel separately
    camera_noise: NotNegative = 0.1  # largest standard deviation of the noise added to pixels
    loudness: NotNegative = 0.5  # offset of all bands of an audio window
    bands_share: Share = 0.2  # widest run of mel bands that is replaced by its mean, as a share of the bands
    lidar_scale: NotNegative = 0.1  # relative scale of the intensity and relief channels
    lidar_noise: NotNegative = 0.05  # noise added to the cells
    lidar_drop: Share = 0.1  # largest share of cells that lose their return
    # Of windows of a series: one number for all of these sensors, or one for each by name (those that are not named have 0). A
    # model that must not know how fast this driver drove, or which offset this amplifier had, learns it from these.
    series_scale: NotNegative | Mapping[str, NotNegative] = 0.0  # standard deviation of the logarithm of a factor on the values
    series_shift: NotNegative | Mapping[str, NotNegative] = 0.0  # standard deviation of an offset of each channel

    def __post_init__(self) -> None:
        check(self, "training recipe augment", "correct the training YAML")


def augment_windows(
    inputs: Mapping[str, np.ndarray], specs: Sequence[ModalitySpec], augment: Augment, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Normalised windows (n, *spec.shape) -> the same windows, each changed at random in the way of its sensor kind."""
    out = {}
    swapped = rng.random(len(next(iter(inputs.values())))) < augment.swap_sides if augment.swap_sides else None
    for spec in specs:
        x = inputs[spec.name]
        if swapped is not None and spec.name in augment.swapped_channels:
            x = _swap_sides(x, spec, augment.swapped_channels[spec.name], swapped)
        changed = sensor_kind(spec.kind).augment(x, spec, augment, rng)
        out[spec.name] = _erase(changed.astype(np.float32, copy=False), augment, rng)
    return out


def _swap_sides(x: np.ndarray, spec: ModalitySpec, channels: Sequence[int], swapped: np.ndarray) -> np.ndarray:
    """Windows (n, T, C) of which those ``swapped`` (n,) have their channels rearranged, in physical units."""
    mean, std = spec.channel_mean, spec.channel_std
    taken = np.abs(channels) - 1
    other = ((x[swapped] * std + mean)[..., taken] * np.sign(channels).astype(np.float32) - mean) / std
    out = x.copy()
    out[swapped] = keep_empty(spec, x[swapped], other)
    return out


def keep_empty(spec: ModalitySpec, x: np.ndarray, changed: np.ndarray) -> np.ndarray:
    """``changed`` with zeros wherever the windows ``x`` (n, *spec.shape) hold no data."""
    return np.where(valid_cells(spec, x), changed, np.float32(0))


def _per_window(x: np.ndarray, rng: np.random.Generator, *sizes: int) -> np.ndarray:
    """Standard normal numbers (n, *sizes), shaped to broadcast with x: a factor or an offset for each window."""
    return rng.standard_normal((len(x), *sizes)).astype(np.float32)


def _mirror(x: np.ndarray, augment: Augment, rng: np.random.Generator) -> np.ndarray:
    flip = rng.random(len(x)) < augment.mirror
    x = x.copy()
    x[flip] = x[flip][..., ::-1]
    return x


def augment_camera(x: np.ndarray, spec: ModalitySpec, augment: Augment, rng: np.random.Generator) -> np.ndarray:
    """Mirroring, and for colour and grey contrast, brightness, colour cast and noise; for depth the scale of the values."""
    if spec.encoding == "depth_m":  # mirroring moves the empty pixels along, and a factor leaves them zero
        return _mirror(x, augment, rng) * (1 + augment.camera_depth_scale * _per_window(x, rng, 1, 1, 1, 1))
    given = x
    x = _mirror(x, augment, rng)
    middle = x.mean(axis=(1, 2, 3, 4), keepdims=True)
    x = middle + (x - middle) * np.exp(augment.contrast * _per_window(x, rng, 1, 1, 1, 1))
    x = x + augment.light * _per_window(x, rng, 1, 1, 1, 1) + augment.colour * _per_window(x, rng, 1, x.shape[2], 1, 1)
    strength = augment.camera_noise * rng.random((len(x), 1, 1, 1, 1), np.float32)
    return keep_empty(spec, given, x + strength * rng.standard_normal(x.shape, np.float32))


def augment_imu(x: np.ndarray, spec: ModalitySpec, augment: Augment, rng: np.random.Generator) -> np.ndarray:
    """Mounting error and scale, which act on physical units, and noise on the normalised values."""
    mean, std = spec.channel_mean, spec.channel_std
    physical = x * std + mean
    turn = _rotations(np.deg2rad(augment.imu_rotation_deg) / 3**0.5 * _per_window(x, rng, 3))
    scale = 1 + augment.imu_scale * _per_window(x, rng, 2)
    for part in (0, 1):
        columns = slice(3 * part, 3 * part + 3)
        physical[..., columns] = physical[..., columns] @ (turn.transpose(0, 2, 1) * scale[:, part, None, None])
    return keep_empty(spec, x, _jitter((physical - mean) / std, augment, rng))


def _rotations(axis_angle: np.ndarray) -> np.ndarray:
    """Rotation vectors (n, 3) [rad] -> matrices (n, 3, 3), by Rodrigues' formula."""
    angle = np.linalg.norm(axis_angle, axis=1)[:, None, None]
    axis = axis_angle / np.maximum(angle[:, 0], 1e-9)
    cross = np.zeros((len(axis), 3, 3), np.float32)
    cross[:, [2, 0, 1], [1, 2, 0]] = axis
    cross[:, [1, 2, 0], [2, 0, 1]] = -axis
    return (np.eye(3, dtype=np.float32) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)).astype(np.float32)


def augment_series(x: np.ndarray, spec: ModalitySpec, augment: Augment, rng: np.random.Generator) -> np.ndarray:
    """A factor on the physical values, an offset of each channel, and noise on the normalised values."""
    changed = x
    if scale := _of_sensor(augment.series_scale, spec.name):
        mean, std = spec.channel_mean, spec.channel_std
        changed = ((changed * std + mean) * np.exp(scale * _per_window(x, rng, 1, 1)) - mean) / std
    if shift := _of_sensor(augment.series_shift, spec.name):
        changed = changed + shift * _per_window(x, rng, 1, x.shape[2])
    return keep_empty(spec, x, _jitter(changed, augment, rng))


def _of_sensor(strength: float | Mapping[str, float], name: str) -> float:
    return strength.get(name, 0.0) if isinstance(strength, Mapping) else strength


def _jitter(x: np.ndarray, augment: Augment, rng: np.random.Generator) -> np.ndarray:
    return x + augment.imu_jitter * rng.standard_normal(x.shape, np.float32)


def augment_audio(x: np.ndarray, spec: ModalitySpec, augment: Augment, rng: np.random.Generator) -> np.ndarray:
    """Loudness, and frequency masking: a run of bands at its mean (Park et al., SpecAugment, 2019)."""
    given = x
    x = x + augment.loudness * _per_window(x, rng, 1, 1)
    bands = x.shape[2]
    width = rng.integers(0, int(augment.bands_share * bands) + 1, len(x))
    first = rng.integers(0, bands - width + 1)
    band = np.arange(bands)
    masked = (band >= first[:, None]) & (band < (first + width)[:, None])
    levelled = np.where(masked[:, None], x.mean(axis=1, keepdims=True).mean(axis=2, keepdims=True), x)
    return keep_empty(spec, given, levelled)


def augment_lidar(x: np.ndarray, spec: ModalitySpec, augment: Augment, rng: np.random.Generator) -> np.ndarray:
    """Mirroring, rotation about the vertical, scale of intensity and relief, noise, and lost returns."""
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
    erased = hit[:, None] & (step >= first[:, None]) & (step < (first + length)[:, None])
    # A window of one or two frames must not lose all of them.
    erased &= (erased.sum(1) < steps)[:, None]
    x[erased] = 0
    return x
