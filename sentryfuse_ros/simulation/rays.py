"""Rays from a sensor on the robot to the world, by MuJoCo."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from .robot import TERRAIN_GROUP
from .worlds import PATCH_M, World

_SEEN = np.zeros(6, np.uint8)
_SEEN[TERRAIN_GROUP] = 1  # terrain only: the robot does not see itself


@dataclass(frozen=True)
class Hits:
    """What n rays hit. ``geom`` is the index of a ground patch, or from the number of patches on of an obstacle, or -1."""

    distance_m: np.ndarray  # (n,), the reach of the sensor where nothing was hit
    geom: np.ndarray  # (n,)
    normal: np.ndarray  # (n, 3)
    point_m: np.ndarray  # (n, 3)
    cosine: np.ndarray  # (n,), of the angle between ray and normal


def cast(model: mujoco.MjModel, data: mujoco.MjData, origin_m: np.ndarray, direction: np.ndarray, reach_m: float) -> Hits:
    """Cast unit rays ``direction`` (n, 3) from one point."""
    count = len(direction)
    geom, distance, flat_normal = np.empty(count, np.int32), np.empty(count), np.empty(3 * count)
    mujoco.mj_multiRay(
        model,
        data,
        origin_m,
        np.ascontiguousarray(direction).ravel(),
        _SEEN,
        True,
        -1,
        geom,
        distance,
        flat_normal,
        count,
        reach_m,
    )
    missed = geom < 0
    distance[missed] = reach_m
    normal = flat_normal.reshape(count, 3)
    cosine = np.where(missed, 1.0, np.abs(np.einsum("ij,ij->i", normal, direction)))
    return Hits(distance, geom, normal, origin_m + distance[:, None] * direction, cosine)


class Look:
    """Looks up the albedo of what rays hit."""

    def __init__(self, world: World):
        self._patches = len(world.patches)
        self._origin = np.array([[p.x_m - PATCH_M / 2, p.y_m - PATCH_M / 2] for p in world.patches])
        turn = np.array([[np.cos(p.angle_rad), np.sin(p.angle_rad)] for p in world.patches])
        extent = np.array([p.extent_m for p in world.patches])
        self._turn, self._texel_m = turn / extent[:, None], extent / world.atlas[0].shape[1]
        self._sizes = np.array([level.shape[1] for level in world.atlas])
        self._starts = np.concatenate(([0], np.cumsum([self._patches * s * s for s in self._sizes])[:-1]))
        self._texels = np.concatenate([level.reshape(-1, 3) for level in world.atlas])
        self._obstacles = np.array([o.colour for o in world.obstacles], np.float32).reshape(-1, 3)

    def albedo(self, hits: Hits, pixel_rad: float, sky: tuple[float, float, float]) -> np.ndarray:
        """(n, 3) linear albedo at the resolution of a pixel's footprint; ``sky`` where a ray hits nothing."""
        out = np.empty((len(hits.geom), 3), np.float32)
        out[:] = sky
        ground = (hits.geom >= 0) & (hits.geom < self._patches)
        patch = hits.geom[ground]
        # The footprint is longer than wide. The geometric mean of the two blurs less than its length would.
        footprint = hits.distance_m[ground] * pixel_rad / np.sqrt(np.maximum(hits.cosine[ground], 0.05))
        level = np.clip(np.log2(np.maximum(footprint / self._texel_m[patch], 1.0)).round().astype(int), 0, len(self._sizes) - 1)
        local = hits.point_m[ground, :2] - self._origin[patch]
        across = local[:, 0] * self._turn[patch, 0] + local[:, 1] * self._turn[patch, 1]
        along = local[:, 1] * self._turn[patch, 0] - local[:, 0] * self._turn[patch, 1]
        size = self._sizes[level]
        column, row = ((across % 1.0) * size).astype(int), ((along % 1.0) * size).astype(int)
        texel = self._starts[level] + (patch * size + np.minimum(row, size - 1)) * size + np.minimum(column, size - 1)
        out[ground] = self._texels[texel]
        thing = hits.geom >= self._patches
        out[thing] = self._obstacles[hits.geom[thing] - self._patches]
        return out
