"""Windows as weather, light, dust, wind or vibration might change them, made up for the fitting of a trust table.

A sensor in weather that training never saw does not lie, but a table that knows only the weather of its recordings would say so.
It is therefore also fitted on windows that were changed at random, far and in every direction in which weather goes: not to
look like any weather, but so that nothing of the kind is called a lie. All functions take windows without mean and std.
"""

from __future__ import annotations

import cv2
import numpy as np

from ..preprocessing import ModalitySpec

_STEPS = 255.0  # a picture has whole levels of brightness
_READ_NOISE = 1.5 / _STEPS


def camera_weather(spec: ModalitySpec, x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Darkness with its noise, glare, fog and dirt on the lens, alone or together; of depth, returns that are lost."""
    if spec.encoding == "depth_m":
        lost = random.random(x.shape[2:]) < random.uniform(0, 0.3)
        return np.where(lost | (x == 0), np.float32(0), x + random.normal(0, random.uniform(0, 0.02), x.shape)).astype(np.float32)
    out = x.astype(np.float32)
    filled = x.any(axis=(1, 2, 3))
    channels, height, width = x.shape[1:]
    chosen = random.random(4) < 0.45
    tint = np.exp(random.normal(0, 0.06, (channels, 1, 1))).astype(np.float32)
    if chosen[0]:  # less light, or more
        out *= np.float32(np.exp(random.uniform(np.log(0.02), np.log(1.25)))) * tint
    if chosen[1]:
        density = random.uniform(0.1, 0.9) * np.linspace(1, random.uniform(0, 0.9), height, dtype=np.float32)[:, None]
        out = out * (1 - density) + density * np.float32(random.uniform(0.1, 0.95)) * tint
    if chosen[2]:
        drops = (random.random((height, width)) < random.uniform(0.0005, 0.006)).astype(np.float32)
        blot = cv2.GaussianBlur(drops, (0, 0), random.uniform(1.5, 5))
        blot = np.clip(blot / max(float(blot.max()), 1e-6) * random.uniform(0.5, 1.5), 0, random.uniform(0.5, 1))
        colour = np.float32(random.uniform(0.02, 0.5)) * np.exp(random.normal(0, 0.2, (channels, 1, 1))).astype(np.float32)
        out = out * (1 - blot) + blot * colour * np.clip(out.mean() * 3, 0.05, 1)
    # Whoever exposes the dark as if it were bright gets its noise as well.
    photon, read = (random.uniform(0, 0.4), random.uniform(0, 0.2)) if chosen[3] else (0.0, 0.0)
    out += random.normal(0, 1, x.shape).astype(np.float32) * np.sqrt(photon**2 * np.maximum(out, 0) + max(read, _READ_NOISE) ** 2)
    out = np.rint(np.clip(out, 0, 1) * _STEPS) / np.float32(_STEPS)
    out[~filled] = 0
    return out.astype(np.float32)


def imu_weather(spec: ModalitySpec, x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Motors, a loose mount and rough ground: vibrations of any frequency and direction, and noise."""
    sizes = np.repeat(np.array([0.04, 1.0], np.float32), 3)  # angular velocities go with accelerations
    return _vibrating(x, sizes, 4.0, random)


def series_weather(spec: ModalitySpec, x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Vibrations and noise of up to the size of the channels' own changes."""
    return _vibrating(x, x.std(axis=0), 1.0, random)


def _vibrating(x: np.ndarray, sizes: np.ndarray, most: float, random: np.random.Generator) -> np.ndarray:
    steps, channels = x.shape
    out = x.astype(np.float32)
    for _ in range(int(random.integers(1, 5))):
        phase = 2 * np.pi * (random.uniform(0.01, 0.45) * np.arange(steps) + random.random())
        strength = np.exp(random.uniform(np.log(0.1), np.log(most))) * random.normal(0, 1, channels) * sizes
        out += (np.sin(phase)[:, None] * strength).astype(np.float32)
    out += (random.random() * 0.4 * sizes * random.normal(0, 1, x.shape)).astype(np.float32)
    return np.where(x.any(axis=1, keepdims=True), out, np.float32(0))


def audio_weather(spec: ModalitySpec, x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Wind and other machines: noise that falls with frequency, in gusts, and other distances."""
    frames, bands = x.shape
    filled = x.any(axis=1, keepdims=True)
    power = np.exp(x.astype(np.float64))
    fall = random.uniform(-14, 0) * np.arange(bands) / bands
    gusts = np.convolve(random.normal(0, 1, frames + 20), np.full(21, 1 / 4.6), "valid") * random.uniform(0.1, 1.2)
    level = float(np.quantile(x, 0.8)) + random.uniform(-5, 5)
    noise = np.exp(level + fall + gusts[:, None]) * random.gamma(2.0, 0.5, x.shape)
    gain = random.uniform(-2, 2) if random.random() < 0.5 else 0.0
    power = power * np.exp(gain) + (noise if random.random() < 0.8 else 0.0)
    return np.where(filled, np.log(power + spec.options.get("log_floor", 1e-8)), 0).astype(np.float32)


def lidar_weather(spec: ModalitySpec, x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Dust, rain and wet ground: lost returns, single or in clouds, false returns in the air, and other reflections."""
    out = x.astype(np.float32)
    _, channels, height, width = x.shape
    elevation = np.radians(
        np.linspace(spec.options.get("max_elevation_deg", 30.0), spec.options.get("min_elevation_deg", -30.0), 2 * height + 1)
    )[1::2, None]
    lost, false, reach = random.uniform(0, 1), random.uniform(0, 1), random.uniform(0.3, 1)
    gain = np.exp(random.uniform(np.log(0.4), np.log(1.6)))
    for frame in out:
        seen = frame[0] > 0
        if not seen.any():
            continue
        waves = np.convolve(np.tile(random.normal(0, 1, width), 3), np.ones(9) / 3, "same")[width : 2 * width]
        cloud = np.clip(0.6 + random.uniform(0, 1) * waves, 0, 1)
        # The longer the way through the air, the more is in it.
        usual = np.where(seen, frame[0], np.float32(np.median(frame[0][seen])))
        way = np.clip(usual / usual.max(), 0.05, 1) ** random.uniform(0, 1.5)
        frame[:, random.random((height, width)) < lost * cloud * way] = 0
        near = random.random((height, width)) < false * cloud * way
        at = (usual * random.uniform(0.05, reach, (height, width))).astype(np.float32)
        frame[0] = np.where(near, at, frame[0])
        if channels > 3:
            frame[3] *= np.float32(gain)
            frame[3] = np.where(near, np.float32(random.uniform(0, 0.5)) * random.random((height, width)), frame[3])
        if channels > 1:
            frame[1] = np.where(near, at * np.sin(elevation), frame[1])
        if channels > 2:
            frame[2] = np.where(near, np.float32(np.log(2)), frame[2])
        if channels > 4:
            limit = spec.options.get("relief_limit_m", 0.05)
            frame[4] = np.where(near, random.uniform(-limit, limit, (height, width)), frame[4])
            frame[4] += np.where(frame[0] > 0, random.normal(0, random.uniform(0, 0.02), (height, width)), 0).astype(np.float32)
    return out
