"""Height fields, over which the wheels roll and which the rays hit."""

from __future__ import annotations

import numpy as np

from .ground import Ground

CELL_M = 0.025
TAPER_M = 0.12  # patches fall to height 0 at their borders, so that there is no step between them


def height_field(ground: Ground, size_m: float, joint_angle_rad: float, rng: np.random.Generator) -> np.ndarray:
    """Heights (n, n) [m] around 0 of a square patch, rows along y, one node every CELL_M."""
    n = round(size_m / CELL_M) + 1
    # Waves of about a metre have the same length in all classes; only their height depends on the class.
    height = ground.undulation_mm * smooth_noise(n, 0.45 / CELL_M, rng)
    height += ground.roughness_mm * smooth_noise(n, ground.roughness_length_m / CELL_M / 2, rng)
    axis = np.arange(n) * CELL_M
    x, y = np.meshgrid(axis, axis)
    ripple_m, direction, phase = rng.uniform(0.15, 0.3), rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
    # Ripples meander: straight ones would excite every wheel at one frequency.
    wander = 1.5 * smooth_noise(n, 0.6 / CELL_M, rng)
    height += ground.ripple_mm * np.sin(2 * np.pi / ripple_m * (x * np.cos(direction) + y * np.sin(direction)) + phase + wander)
    if ground.joint_pitch_m > 0:
        height += _slabs(ground, x, y, joint_angle_rad, rng)
    edge = np.minimum.reduce([x, y, axis[-1] - x, axis[-1] - y])
    return height * 1e-3 * np.clip(edge / TAPER_M, 0, 1)


def joint_coordinates(ground: Ground, x: np.ndarray, y: np.ndarray, angle_rad: float) -> tuple[np.ndarray, np.ndarray]:
    """Position across and along the slabs or planks, in their widths and lengths; joints lie at whole numbers."""
    across = (x * np.cos(angle_rad) + y * np.sin(angle_rad)) / ground.joint_pitch_m
    along = (y * np.cos(angle_rad) - x * np.sin(angle_rad)) / slab_length_m(ground)
    return across, along


def slab_length_m(ground: Ground) -> float:
    """Length of a slab or plank [m]. Planks rest on several supports; slabs are square."""
    return ground.joint_pitch_m if ground.panel_span_m < 0.33 else 4 * ground.panel_span_m


def _slabs(ground: Ground, x: np.ndarray, y: np.ndarray, angle_rad: float, rng: np.random.Generator) -> np.ndarray:
    """Heights [mm] of slabs that lie slightly too high or low, and of the joints between them."""
    across, along = joint_coordinates(ground, x, y, angle_rad)
    column = np.floor(across).astype(int)
    # Neighbouring rows of planks are laid with an offset.
    along = along + (column % 2) * 0.5 * (ground.panel_span_m >= 0.33)
    row = np.floor(along).astype(int)
    column, row = column - column.min(), row - row.min()
    lift = ground.lippage_mm * rng.standard_normal((column.max() + 1, row.max() + 1))
    height = lift[column, row]
    gap_m = np.minimum(_distance_to_whole(across) * ground.joint_pitch_m, _distance_to_whole(along) * slab_length_m(ground))
    return height - ground.joint_depth_mm * (gap_m < CELL_M / 2)


def _distance_to_whole(position: np.ndarray) -> np.ndarray:
    return np.abs(position - np.round(position))


def smooth_noise(n: int, length: float, rng: np.random.Generator) -> np.ndarray:
    """Periodic noise (n, n) with rms 1 and a Gaussian spectrum of correlation length ``length`` [cells]."""
    frequency = np.fft.fftfreq(n)[:, None] ** 2 + np.fft.rfftfreq(n)[None, :] ** 2
    spectrum = np.fft.rfft2(rng.standard_normal((n, n))) * np.exp(-((np.pi * length) ** 2) * frequency)
    spectrum[0, 0] = 0
    noise = np.fft.irfft2(spectrum, s=(n, n))
    return noise / max(noise.std(), 1e-12)
