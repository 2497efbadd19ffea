"""How the ground looks: one albedo image per patch, with smaller copies for what is far away."""

from __future__ import annotations

import cv2
import numpy as np

from .ground import Ground
from .relief import joint_coordinates, slab_length_m, smooth_noise

PIXELS = 512
LEVELS = 8  # images per patch, each half the size of the one before


def albedo(name: str, ground: Ground, extent_m: float, rng: np.random.Generator) -> np.ndarray:
    """Linear albedo (PIXELS, PIXELS, 3) of a piece of ground of class ``name``, ``extent_m`` wide."""
    draw = {"asphalt": _asphalt, "gravel": _gravel, "grass": _grass, "sand": _sand, "tiles": _slabs, "wood": _slabs}[name]
    picture = draw(name, ground, extent_m, rng)
    stains = 1 + rng.uniform(0.03, 0.16) * smooth_noise(PIXELS, rng.uniform(20, 70), rng)[..., None]
    return np.clip(picture * stains, 0.01, 0.95).astype(np.float32)


def extent_m(ground: Ground) -> float:
    """Width of the image [m]: a whole number of slabs, so that it repeats without a seam along its axes."""
    if ground.joint_pitch_m <= 0:
        return 2.6
    return ground.joint_pitch_m * max(1, round(2.6 / ground.joint_pitch_m))


def pyramid(picture: np.ndarray) -> list[np.ndarray]:
    """The image and its halvings, LEVELS in all."""
    levels = [picture]
    for _ in range(LEVELS - 1):
        size = levels[-1].shape[0] // 2
        levels.append(cv2.resize(levels[-1], (size, size), interpolation=cv2.INTER_AREA))
    return levels


def _tint(value: float, warmth: float) -> np.ndarray:
    """A grey of this albedo, made slightly warmer or colder (3,)."""
    return value * np.array([1 + warmth, 1.0, 1 - warmth])


def _asphalt(name: str, ground: Ground, extent: float, rng: np.random.Generator) -> np.ndarray:
    pixel_mm = extent / PIXELS * 1e3
    base = _tint(rng.uniform(0.07, 0.30), rng.uniform(-0.05, 0.12))
    aggregate = smooth_noise(PIXELS, max(0.5, ground.texture_wavelength_mm / pixel_mm / 2), rng)
    picture = base * (1 + rng.uniform(0.06, 0.32) * aggregate[..., None])
    if rng.random() < 0.5:  # cracks, where a slowly varying noise changes its sign
        crack = np.abs(smooth_noise(PIXELS, rng.uniform(14, 40), rng)) < rng.uniform(0.008, 0.03)
        picture[crack] *= 0.35
    return picture


def _gravel(name: str, ground: Ground, extent: float, rng: np.random.Generator) -> np.ndarray:
    pixel_mm = extent / PIXELS * 1e3
    spacing = max(2.2, ground.grain_mm * 1.3 / pixel_mm)
    count = int((PIXELS / spacing) ** 2)
    seeds = np.full((PIXELS, PIXELS), 255, np.uint8)
    at = rng.integers(0, PIXELS, (count, 2))
    seeds[at[:, 0], at[:, 1]] = 0
    distance, label = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    base = _tint(rng.uniform(0.12, 0.45), rng.uniform(-0.05, 0.22))
    stones = base * np.exp(rng.normal(0, rng.uniform(0.15, 0.40), (label.max() + 1, 1)))
    stones = stones * (1 + rng.normal(0, 0.05, (label.max() + 1, 3)))
    shade = 1.12 - 0.55 * np.clip(distance / spacing, 0, 1) ** 2
    picture = stones[label] * shade[..., None]
    bed = smooth_noise(PIXELS, 16, rng) > 2.2 * ground.grain_cover  # where few stones lie, the bed is visible
    fine = 1 + 0.15 * smooth_noise(PIXELS, 0.8, rng)
    picture[bed] = (0.85 * base * fine[..., None])[bed]
    return picture


def _grass(name: str, ground: Ground, extent: float, rng: np.random.Generator) -> np.ndarray:
    dryness = rng.uniform(0, 1) ** 0.8
    green, straw = np.array([0.09, 0.19, 0.05]), np.array([0.34, 0.29, 0.16])
    soil = np.array([0.16, 0.12, 0.08]) * rng.uniform(0.7, 1.5)
    mix = np.clip(dryness + 0.22 * smooth_noise(PIXELS, 24, rng) + 0.15 * smooth_noise(PIXELS, 1.5, rng), 0, 1)[..., None]
    picture = (green * (1 - mix) + straw * mix) * rng.uniform(0.7, 1.25)
    blades = smooth_noise(PIXELS, 0.8, rng)
    picture = picture * np.exp(rng.uniform(0.2, 0.4) * blades)[..., None]
    bare = smooth_noise(PIXELS, rng.uniform(6, 14), rng) > rng.uniform(0.9, 2.2)
    picture[bare] = (soil * (1 + 0.15 * smooth_noise(PIXELS, 1, rng)[..., None]))[bare]
    return picture


def _sand(name: str, ground: Ground, extent: float, rng: np.random.Generator) -> np.ndarray:
    wet = rng.uniform(0.42, 1.0)
    base = np.array([0.52, 0.43, 0.30]) * wet * rng.uniform(0.8, 1.2) * (1 + rng.normal(0, 0.04, 3))
    fine = rng.uniform(0.03, 0.12) * smooth_noise(PIXELS, 0.6, rng) + rng.uniform(0.02, 0.12) * smooth_noise(PIXELS, 8, rng)
    return base * (1 + fine[..., None])


def _slabs(name: str, ground: Ground, extent: float, rng: np.random.Generator) -> np.ndarray:
    """Tiles and planks: each has its own shade, with dark joints and marbling or grain."""
    axis = np.arange(PIXELS) * (extent / PIXELS)
    x, y = np.meshgrid(axis, axis)
    across, along = joint_coordinates(ground, x, y, 0.0)  # the image is aligned with its slabs; the patch turns it
    column = np.floor(across + 1e-6).astype(int)
    if name == "wood":
        along = along + (column % 2) * 0.5
        base = rng.uniform(0, 1) * np.array([0.36, 0.22, 0.12]) + rng.uniform(0.1, 0.7) * np.array([0.27, 0.25, 0.22])
        # Grain: noise stretched along the plank.
        noise = cv2.resize(smooth_noise(PIXELS, 1.0, rng)[: PIXELS // 16], (PIXELS, PIXELS)).T
        inner, spread = rng.uniform(0.06, 0.25) * noise / noise.std(), rng.uniform(0.04, 0.20)
    else:
        palette = np.array([[0.5, 0.5, 0.5], [0.5, 0.42, 0.32], [0.38, 0.19, 0.12], [0.2, 0.2, 0.21], [0.68, 0.66, 0.62]])
        base = palette[rng.integers(len(palette))] * rng.uniform(0.65, 1.15)
        inner, spread = rng.uniform(0.01, 0.14) * smooth_noise(PIXELS, rng.uniform(0.7, 6), rng), rng.uniform(0.01, 0.12)
    row = np.floor(along + 1e-6).astype(int)
    shade = np.exp(spread * rng.standard_normal((column.max() + 1, row.max() + 1)))[column, row]
    joint_m = rng.uniform(0.003, 0.012)
    gap_m = np.minimum(
        np.abs(across - np.round(across)) * ground.joint_pitch_m, np.abs(along - np.round(along)) * slab_length_m(ground)
    )
    picture = base * ((1 + inner) * shade)[..., None]
    # A joint is narrower than a pixel or two, so it covers only a share of each.
    cover = np.clip((joint_m / 2 - gap_m) / (extent / PIXELS) + 0.5, 0, 1)[..., None]
    filler = np.full(3, rng.uniform(0.05, 0.25) if name == "wood" else rng.uniform(0.08, 0.5))
    return picture * (1 - cover) + filler * cover
