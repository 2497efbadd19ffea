"""The LiDAR: rings of rays, reflection by material, vegetation that the beam enters, dust in the air."""

from __future__ import annotations

import mujoco
import numpy as np

from .nuisances import Nuisances
from .rays import Hits, Look, cast
from .robot import LIDAR_AT_M, Pose
from .worlds import World

RINGS, AZIMUTHS = 16, 160
ELEVATION_RAD = np.deg2rad(np.linspace(-44, 4, RINGS))  # the lowest ring just clears the robot's body
REACH_M, NEAREST_M = 20.0, 0.25
RANGE_NOISE_M = 0.008
BEAM_RAD = 0.004  # divergence
INTENSITY_SCALE = 255.0  # intensity of a perfect diffuse reflector that faces the sensor
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


class Lidar:
    """Computes clouds (n, 4) float32: x, y, z [m] in the frame of the LiDAR, intensity 0..255. A scan takes no time."""

    def __init__(self, world: World, look: Look, nuisances: Nuisances, rng: np.random.Generator):
        self._look, self._rng, self._patches = look, rng, len(world.patches)
        elevation, azimuth = np.meshgrid(ELEVATION_RAD, np.arange(AZIMUTHS) * 2 * np.pi / AZIMUTHS, indexing="ij")
        self._rays = np.stack(
            [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)], -1
        ).reshape(-1, 3)
        self._reflectance = np.array(
            [p.ground.nir_reflectance for p in world.patches] + [o.nir_reflectance for o in world.obstacles]
        )
        self._gloss = np.array([p.ground.gloss for p in world.patches] + [0.0] * len(world.obstacles))
        self._blade_m = np.array([p.ground.blade_m for p in world.patches] + [0.0] * len(world.obstacles))
        self._mean_luma = np.array([float((level @ _LUMA).mean()) for level in world.atlas[-1]] + [1.0] * len(world.obstacles))
        self._gain = float(rng.uniform(0.85, 1.15))  # spread of calibration, ageing and dirt on the window
        self._dust_per_m = 1.1 * nuisances.dust**1.5  # extinction of the beam

    def cloud(self, model: mujoco.MjModel, data: mujoco.MjData, pose: Pose) -> np.ndarray:
        """The cloud at the pose of the robot; beams without a return are left out."""
        hits = cast(model, data, pose.at(LIDAR_AT_M), self._rays @ pose.rotation.T, REACH_M)
        count = len(hits.geom)
        uniform, range_noise = self._rng.random((3, count)), self._rng.standard_normal(count)
        distance = self._penetrate(hits, uniform[0])
        intensity = self._reflect(hits) * np.exp(-2 * self._dust_per_m * distance)
        intensity[hits.geom < 0] = 0
        # The longer the beam, the more probable it is that dust reflects it before the ground does.
        dust = -np.log(np.maximum(uniform[1], 1e-12)) / max(0.35 * self._dust_per_m, 1e-6)
        in_dust = (dust < distance) & (self._dust_per_m > 0)
        distance = np.where(in_dust, dust, distance)
        intensity = np.where(in_dust, 0.06 + 0.2 * uniform[2], intensity)
        intensity *= 1 + 0.05 * self._rng.standard_normal(count)  # speckle
        # The returned light falls with the square of the distance; below the floor of the detector it is lost.
        seen = (distance > NEAREST_M) & (intensity / np.maximum(distance, 1) ** 2 > 4e-4) & (distance < REACH_M)
        distance = (distance + RANGE_NOISE_M * range_noise)[seen]
        points = np.empty((len(distance), 4), np.float32)
        points[:, :3] = self._rays[seen] * distance[:, None]
        points[:, 3] = np.clip(intensity[seen] * self._gain, 0, 1) * INTENSITY_SCALE
        return points

    def _penetrate(self, hits: Hits, uniform: np.ndarray) -> np.ndarray:
        """Distance (n,). In vegetation, the beam ends somewhere between the tips of the blades and the soil."""
        blade = np.where(hits.geom >= 0, self._blade_m[hits.geom], 0.0)
        path = blade / np.maximum(hits.cosine, 0.15)  # through the blades down to the soil
        depth = np.minimum(-np.log(np.maximum(uniform, 1e-12)) * 0.5 * blade, path)
        return np.maximum(hits.distance_m - path + depth, 0.0)

    def _reflect(self, hits: Hits) -> np.ndarray:
        """Reflected share (n,) by Lambert's law, textured like the albedo; polished ground reflects more of it away."""
        thing = np.maximum(hits.geom, 0)
        luma = self._look.albedo(hits, BEAM_RAD, (0, 0, 0)) @ _LUMA
        relative = np.where(thing < self._patches, np.sqrt(luma / self._mean_luma[thing]), 1.0)
        return self._reflectance[thing] * relative * hits.cosine ** (1 + 2 * self._gloss[thing])
