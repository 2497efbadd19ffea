"""The IMU: rotation and specific force of the body, filtered by the mount, with the errors of a cheap sensor."""

from __future__ import annotations

import numpy as np

from .footing import WHEEL_RADIUS_M
from .nuisances import Nuisances
from .robot import ACCEL, GYRO, STEP_S, TORQUE, WHEEL_SPEED

STEPS_PER_SAMPLE = 4
RATE_HZ = 200
GYRO_NOISE, ACCEL_NOISE = 0.004, 0.05  # rms per sample [rad/s, m/s^2]
GYRO_BIAS, ACCEL_BIAS = 0.01, 0.10  # rms when switched on
BIAS_WALK = 1e-4  # change of the biases per sample, as a share of the values above
GEAR_RATIO = 22.0  # motor turns per wheel turn
_MOUNT_S = 0.3  # length of the mount's impulse response


class Imu:
    """Computes samples (n, 6), gyro xyz [rad/s] and specific force xyz [m/s^2], from rows of the physics."""

    def __init__(self, nuisances: Nuisances, rng: np.random.Generator):
        self._rng = rng
        self._bias = rng.standard_normal(6) * np.repeat([GYRO_BIAS, ACCEL_BIAS], 3)
        self._walk = BIAS_WALK * np.repeat([GYRO_BIAS, ACCEL_BIAS], 3)
        self._scale = 1 + 0.01 * rng.standard_normal(6)
        self._unbalance = 10 ** rng.uniform(-5.6, -5.2) + 2.0e-4 * nuisances.vibration**2  # motor eccentricity [m]
        self._phase = rng.uniform(0, 2 * np.pi, 4)
        self._direction = rng.uniform(-1, 1, (4, 3))
        # The mount is a mass on a spring. The looser it is, the lower are its resonance and its damping.
        looseness = nuisances.vibration
        frequency_hz = float(rng.uniform(150, 220) * (1 - looseness) + rng.uniform(22, 55) * looseness)
        damping = 0.7 - 0.62 * looseness
        time_s = np.arange(round(_MOUNT_S / STEP_S)) * STEP_S
        omega = 2 * np.pi * frequency_hz
        ringing = omega * np.sqrt(1 - damping**2)
        # Impulse response: the force k x + c v that the mount transmits, with x'' + 2 d w x' + w^2 x = base.
        response = np.exp(-damping * omega * time_s) * (
            2 * damping * omega * np.cos(ringing * time_s)
            + (omega**2 * (1 - 2 * damping**2)) / ringing * np.sin(ringing * time_s)
        )
        self._response = response / response.sum()  # a constant force passes unchanged
        self._past: np.ndarray | None = None

    def samples(self, rows: np.ndarray) -> np.ndarray:
        """One sample per STEPS_PER_SAMPLE rows, their mean, like the low-pass filter in the sensor."""
        force = rows[:, ACCEL] + self._motors(rows)
        if self._past is None:
            self._past = np.repeat(force[:1], len(self._response) - 1, axis=0)
        whole = np.concatenate([self._past, force])
        self._past = whole[len(force) :]
        felt = np.stack([np.convolve(whole[:, k], self._response, mode="valid") for k in range(3)], axis=1)
        clean = np.concatenate([rows[:, GYRO], felt], axis=1).reshape(-1, STEPS_PER_SAMPLE, 6).mean(axis=1)
        walk = np.cumsum(self._walk * self._rng.standard_normal(clean.shape), axis=0)
        noise = self._rng.standard_normal(clean.shape) * np.repeat([GYRO_NOISE, ACCEL_NOISE], 3)
        measured = clean * self._scale + self._bias + walk + noise
        self._bias = self._bias + walk[-1]
        return measured

    def _motors(self, rows: np.ndarray) -> np.ndarray:
        """Force of unbalanced motors (n, 3): eccentricity times squared speed, plus cogging that grows with the load."""
        speed = rows[:, WHEEL_SPEED] * GEAR_RATIO  # (n, 4) [rad/s]
        phase = self._phase + np.cumsum(speed, axis=0) * STEP_S
        self._phase = phase[-1] % (2 * np.pi)
        pull = 10 * self._unbalance * np.abs(rows[:, TORQUE]) / WHEEL_RADIUS_M
        return (self._unbalance * speed**2 * np.cos(phase) + pull * np.cos(2 * phase)) @ self._direction
