"""The camera: rays, albedo and light first, then the effects of lens and sensor."""

from __future__ import annotations

import cv2
import mujoco
import numpy as np

from .nuisances import Nuisances
from .rays import Look, cast
from .robot import CAMERA_AT_M, Pose
from .shadows import Shadows
from .worlds import World

WIDTH, HEIGHT = 72, 54
FIELD_OF_VIEW_RAD = np.deg2rad(75)  # horizontally
PITCH_RAD = np.deg2rad(52)  # downwards: the image shows the ground up to a metre ahead
REACH_M = 25.0
FULL_WELL = 4000.0  # electrons at white
READ_NOISE = 8.0  # electrons
MAX_GAIN = 24.0
AIRLIGHT = 0.5  # brightness of thick fog; white ground in the open is 1
EXPOSURE_TARGET = 0.20  # mean of the linear image


class Camera:
    """Renders frames (HEIGHT, WIDTH, 3) uint8 sRGB."""

    def __init__(self, world: World, look: Look, nuisances: Nuisances, rng: np.random.Generator):
        self._look, self._nuisances, self._rng = look, nuisances, rng
        focal = WIDTH / 2 / np.tan(FIELD_OF_VIEW_RAD / 2)
        self._pixel_rad = 1 / focal
        left_axis = (WIDTH / 2 - 0.5 - np.arange(WIDTH)) / focal
        up_axis = (HEIGHT / 2 - 0.5 - np.arange(HEIGHT)) / focal
        left, up = np.meshgrid(left_axis, up_axis)
        rays = np.stack([np.ones_like(left), left, up], -1).reshape(-1, 3)
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        cos, sin = np.cos(PITCH_RAD), np.sin(PITCH_RAD)
        self._rays = rays @ np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]]).T  # in the base frame
        elevation, azimuth = rng.uniform(np.deg2rad(20), np.deg2rad(75)), rng.uniform(0, 2 * np.pi)
        self._sun = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
        self._direct = float(rng.uniform(0.0, 0.75))  # share of direct sunlight; the rest comes evenly from the sky
        warmth = rng.uniform(-0.08, 0.22)  # tint of the light that white balance leaves
        self._colour = np.array([1 + warmth, 1.0, 1 - warmth], np.float32)
        self._light = 10 ** (-1.8 * nuisances.darkness)
        self._exposure = EXPOSURE_TARGET * float(rng.uniform(0.75, 1.3))
        self._extinction = 1.4 * nuisances.fog**1.5  # [1/m]
        # The highlight has a fixed width; gloss is its strength.
        self._gloss = np.array([p.ground.gloss for p in world.patches] + [0.05] * len(world.obstacles), np.float32)
        self._mud_cover, self._mud_colour = self._draw_mud(nuisances.mud)
        self._shadows = Shadows(nuisances.shadows, rng) if nuisances.shadows else None

    def _draw_mud(self, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Cover (HEIGHT, WIDTH, 1) and colour of splashes on the lens, which are out of focus there."""
        splash = np.zeros((HEIGHT, WIDTH), np.float32)
        for _ in range(int(round(26 * level))):
            centre = (int(self._rng.integers(WIDTH)), int(self._rng.integers(HEIGHT)))
            cv2.circle(splash, centre, int(self._rng.integers(3, 13)), float(self._rng.uniform(0.75, 1.0)), -1)
        cover = cv2.GaussianBlur(splash, (0, 0), 1.6).astype(np.float32)
        return cover[..., None], (np.array([0.10, 0.075, 0.05], np.float32) * np.float32(self._rng.uniform(0.7, 1.6)))

    def frame(self, model: mujoco.MjModel, data: mujoco.MjData, pose: Pose) -> np.ndarray:
        """The image (HEIGHT, WIDTH, 3) uint8 at the pose of the robot."""
        origin, rays = pose.at(CAMERA_AT_M), self._rays @ pose.rotation.T
        hits = cast(model, data, origin, rays, REACH_M)
        albedo = self._look.albedo(hits, self._pixel_rad, (0.8, 0.85, 0.9))
        facing = np.clip(hits.normal @ self._sun, 0, None)
        half = self._sun - rays
        half /= np.linalg.norm(half, axis=1, keepdims=True)
        highlight = np.clip(np.einsum("ij,ij->i", hits.normal, half), 0, 1) ** 30
        sky = hits.geom < 0
        shade = np.where(sky, 1.0, (1 - self._direct) * (0.5 + 0.5 * hits.normal[:, 2]) + 1.6 * self._direct * facing)
        if self._shadows is not None:
            shade = shade * np.where(sky, 1.0, self._shadows.light((hits.point_m - pose.position_m) @ pose.rotation, data.time))
        gloss = np.where(sky, 0.0, self._gloss[hits.geom])
        radiance = albedo * (shade[:, None] * self._colour) + (gloss * self._direct * highlight * 2)[:, None]
        clear = np.exp(-self._extinction * hits.distance_m)[:, None]
        radiance = radiance * clear + AIRLIGHT * (1 - clear)
        picture = radiance.reshape(HEIGHT, WIDTH, 3).astype(np.float32)
        if self._nuisances.fog > 0.2:  # droplets on the lens
            picture = cv2.GaussianBlur(picture, (0, 0), 1.5 * self._nuisances.fog)
        picture = picture * (1 - self._mud_cover) + self._mud_colour * self._mud_cover
        return self._develop(picture * np.float32(self._light))

    def _develop(self, picture: np.ndarray) -> np.ndarray:
        """Apply automatic exposure up to MAX_GAIN, photon and read noise, and the sRGB curve."""
        gain = min(self._exposure / max(float(picture.mean()), 1e-6), MAX_GAIN)
        variance = picture * np.float32(gain * gain / FULL_WELL) + np.float32((gain * READ_NOISE / FULL_WELL) ** 2)
        picture = picture * np.float32(gain) + np.sqrt(variance) * self._rng.standard_normal(picture.shape, np.float32)
        picture = np.clip(picture, 0, 1)
        encoded = np.where(picture <= 0.0031308, 12.92 * picture, 1.055 * np.maximum(picture, 1e-9) ** (1 / 2.4) - 0.055)
        return (encoded * 255 + 0.5).astype(np.uint8)
