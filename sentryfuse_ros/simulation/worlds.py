"""Worlds: fields of ground patches with obstacles, each generated from one number.

Training, validation and test worlds are disjoint: `world_number` maps the seeds of each split to a range of its own.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from ..errors import ParameterError
from . import textures
from .ground import CLASSES, Ground, draw_ground
from .relief import CELL_M, height_field

SPLITS = ("train", "val", "test")
SEEDS_PER_SPLIT = 1_000_000
COLUMNS, ROWS, PATCH_M = 4, 3, 5.0


@dataclass(frozen=True)
class Patch:
    """One square of ground with its centre at (x_m, y_m)."""

    name: str
    ground: Ground
    x_m: float
    y_m: float
    angle_rad: float  # direction of its slabs and texture
    height_m: np.ndarray  # (n, n), rows along y
    extent_m: float  # width of its albedo image


@dataclass(frozen=True)
class Obstacle:
    """A wall or post, which camera and LiDAR see and the route avoids."""

    kind: str  # MuJoCo geom type: box or cylinder
    size_m: tuple[float, ...]
    position_m: tuple[float, float, float]
    colour: tuple[float, float, float]  # linear albedo
    nir_reflectance: float


@dataclass(frozen=True)
class World:
    """A field of COLUMNS x ROWS patches, with obstacles."""

    number: int
    patches: tuple[Patch, ...]  # row by row
    obstacles: tuple[Obstacle, ...]
    atlas: tuple[np.ndarray, ...]  # albedo of all patches (patches, S, S, 3) float32, each level half as wide

    def patch_at(self, x_m: np.ndarray, y_m: np.ndarray) -> np.ndarray:
        """Index of the patch at each position; outside the field, of the nearest one."""
        column = np.minimum(np.maximum(np.floor(np.asarray(x_m) / PATCH_M).astype(int), 0), COLUMNS - 1)
        row = np.minimum(np.maximum(np.floor(np.asarray(y_m) / PATCH_M).astype(int), 0), ROWS - 1)
        return row * COLUMNS + column


def world_number(split: str, seed: int) -> int:
    """Number of the world of a seed: train from 0, val from 1 000 000, test from 2 000 000 on.

    Raises ParameterError for an unknown split or a seed outside [0, 999 999].
    """
    if split not in SPLITS:
        raise ParameterError("split", repr(split), "one of " + ", ".join(SPLITS))
    if not 0 <= seed < SEEDS_PER_SPLIT:
        raise ParameterError(
            "seed", seed, f"0 to {SEEDS_PER_SPLIT - 1}", "choose a seed in this range; every split has worlds of its own"
        )
    return SPLITS.index(split) * SEEDS_PER_SPLIT + int(seed)


def generator(number: int, purpose: str) -> np.random.Generator:
    """Generator of one world for one purpose; they are independent, so one sensor's draws never change another's."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([number, zlib.crc32(purpose.encode())])))


def build_world(number: int) -> World:
    """Generate a world. Every class has two patches, which are not neighbours if that can be avoided."""
    rng = generator(number, "world")
    patches, pictures = [], []
    for index, name in enumerate(_layout(rng)):
        ground = draw_ground(name, rng)
        angle = float(rng.uniform(0, np.pi))
        height = height_field(ground, PATCH_M, angle, rng)
        extent = textures.extent_m(ground)
        pictures.append(textures.pyramid(textures.albedo(name, ground, extent, rng)))
        patches.append(
            Patch(name, ground, (index % COLUMNS + 0.5) * PATCH_M, (index // COLUMNS + 0.5) * PATCH_M, angle, height, extent)
        )
    atlas = tuple(np.stack(level) for level in zip(*pictures))
    return World(number, tuple(patches), _obstacles(rng), atlas)


def _layout(rng: np.random.Generator) -> list[str]:
    """Class of each patch: the random layout, of eight, with the fewest equal neighbours."""

    def equal_neighbours(names: list[str]) -> int:
        grid = np.array(names).reshape(ROWS, COLUMNS)
        return int((grid[1:] == grid[:-1]).sum() + (grid[:, 1:] == grid[:, :-1]).sum())

    return min(([str(n) for n in rng.permutation(CLASSES * 2)] for _ in range(8)), key=equal_neighbours)


def _obstacles(rng: np.random.Generator) -> tuple[Obstacle, ...]:
    """Walls around the field, and posts at corners of patches, where no route leads."""
    width, depth = COLUMNS * PATCH_M, ROWS * PATCH_M

    def obstacle(kind: str, size_m: tuple[float, ...], position_m: tuple[float, float, float]) -> Obstacle:
        red, green, blue = np.clip(rng.uniform(0.05, 0.6) * (1 + rng.normal(0, 0.3, 3)), 0.02, 0.9).tolist()
        return Obstacle(kind, size_m, position_m, (red, green, blue), float(rng.uniform(0.1, 0.8)))

    found = []
    for x, y, half_x, half_y in (
        (width / 2, -1.0, width / 2 + 1, 0.1),
        (width / 2, depth + 1, width / 2 + 1, 0.1),
        (-1.0, depth / 2, 0.1, depth / 2 + 1),
        (width + 1, depth / 2, 0.1, depth / 2 + 1),
    ):
        height = float(rng.uniform(0.3, 1.5))
        found.append(obstacle("box", (half_x, half_y, height), (x, y, height - 0.1)))
    for column in range(COLUMNS + 1):
        for row in range(ROWS + 1):
            if rng.random() < 0.5:
                continue
            x, y = column * PATCH_M + float(rng.uniform(-0.2, 0.2)), row * PATCH_M + float(rng.uniform(-0.2, 0.2))
            height = float(rng.uniform(0.2, 1.2))
            if rng.random() < 0.5:
                found.append(obstacle("cylinder", (float(rng.uniform(0.04, 0.25)), height), (x, y, height - 0.1)))
            else:
                half = [float(s) for s in rng.uniform(0.08, 0.3, 2)]
                found.append(obstacle("box", (*half, height), (x, y, height - 0.1)))
    return tuple(found)


def patch_nodes() -> int:
    """Nodes along one side of the height field of a patch."""
    return round(PATCH_M / CELL_M) + 1
