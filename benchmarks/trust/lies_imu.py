"""Lies of an IMU, made in sensor_msgs/Imu messages: units, mountings, ranges, filters, missing and dead parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .lie import Lie

_BODY_BYTES = 37 * 8  # the doubles that an Imu message ends in
_GYRO, _ACCEL = slice(13, 16), slice(25, 28)
_G = 9.80665


def on_values(change: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Callable:
    """A change of gyro [rad/s] and accel [m/s^2] (n, 6) as a change of n messages of equal length."""

    def messages(raw: Sequence[bytes], random: np.random.Generator) -> list[bytes]:
        size = len(raw[0])
        table = np.frombuffer(b"".join(raw), np.uint8).reshape(len(raw), size).copy()
        body = np.ascontiguousarray(table[:, size - _BODY_BYTES :]).view("<f8")
        values = change(np.concatenate((body[:, _GYRO], body[:, _ACCEL]), axis=1), random)
        body[:, _GYRO], body[:, _ACCEL] = values[:, :3], values[:, 3:]
        table[:, size - _BODY_BYTES :] = body.view(np.uint8)
        return [row.tobytes() for row in table]

    return messages


def _scaled(gyro: float, accel: float) -> Callable:
    return on_values(lambda v, _: v * np.repeat([gyro, accel], 3))


def _turned(rows: Sequence[Sequence[float]]) -> Callable:
    """The sensor is mounted another way: x, y and z of the robot as given by the rows."""
    matrix = np.asarray(rows, float).T
    return on_values(lambda v, _: np.concatenate((v[:, :3] @ matrix, v[:, 3:] @ matrix), axis=1))


def _plus(gyro: Sequence[float], accel: Sequence[float]) -> Callable:
    return on_values(lambda v, _: v + np.concatenate((gyro, accel)))


def _smoothed(v: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """A low-pass filter of 0.25 s."""
    out = v.copy()
    for i in range(1, len(v)):
        out[i] = out[i - 1] + 0.02 * (v[i] - out[i - 1])
    return out


def _held(v: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Every eighth sample, repeated, with the noise of the last bit."""
    return v[np.arange(len(v)) // 8 * 8] + random.normal(0, 1e-7, v.shape)


def _noisy(v: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return v + random.normal(0, 1, v.shape) * np.repeat([0.5, 5.0], 3)


def _without(channels: Sequence[int]) -> Callable:
    def change(v: np.ndarray, random: np.random.Generator) -> np.ndarray:
        out = v.copy()
        out[:, channels] = random.normal(0, 1e-6, (len(v), len(channels)))
        return out

    return on_values(change)


LIES = (
    Lie("imu", "accel_in_g", "accelerations in g", _scaled(1, 1 / _G)),
    Lie("imu", "gyro_in_deg_s", "angular velocities in deg/s", _scaled(180 / np.pi, 1)),
    Lie("imu", "g_and_deg_s", "accelerations in g, angular velocities in deg/s", _scaled(180 / np.pi, 1 / _G)),
    Lie("imu", "accel_in_mm_s2", "accelerations in mm/s^2", _scaled(1, 1000)),
    Lie("imu", "gyro_in_rpm", "angular velocities in revolutions per minute", _scaled(30 / np.pi, 1)),
    Lie("imu", "range_doubled", "accelerations and angular velocities of twice their size", _scaled(2, 2)),
    Lie("imu", "range_halved", "accelerations and angular velocities of half their size", _scaled(0.5, 0.5)),
    Lie("imu", "gravity_removed", "accelerations without gravity", _plus((0, 0, 0), (0, 0, -_G))),
    Lie("imu", "gravity_negative", "gravity of the wrong sign", _scaled(1, -1)),
    Lie("imu", "upside_down", "turned by 180 degrees about x", _turned(((1, 0, 0), (0, -1, 0), (0, 0, -1)))),
    Lie("imu", "on_its_side", "turned by 90 degrees about x", _turned(((1, 0, 0), (0, 0, -1), (0, 1, 0)))),
    Lie("imu", "on_its_nose", "turned by 90 degrees about y", _turned(((0, 0, 1), (0, 1, 0), (-1, 0, 0)))),
    Lie("imu", "axes_exchanged", "x, y, z sent as z, x, y", _turned(((0, 0, 1), (1, 0, 0), (0, 1, 0)))),
    Lie("imu", "yawed_90", "turned by 90 degrees about z", _turned(((0, -1, 0), (1, 0, 0), (0, 0, 1)))),
    Lie("imu", "yawed_180", "turned by 180 degrees about z", _turned(((-1, 0, 0), (0, -1, 0), (0, 0, 1)))),
    Lie("imu", "gyro_accel_exchanged", "gyro and accel exchanged", on_values(lambda v, _: v[:, [3, 4, 5, 0, 1, 2]])),
    Lie("imu", "dead_gyro", "a gyro that is nearly zero", _without((0, 1, 2))),
    Lie("imu", "dead_x", "an accelerometer whose x axis is nearly zero", _without((3,))),
    Lie("imu", "biased_gyro", "a gyro with a bias of 0.5 rad/s", _plus((0.5, 0.5, 0.5), (0, 0, 0))),
    Lie(
        "imu",
        "clipped",
        "accelerations clipped at 1 g",
        on_values(lambda v, _: np.clip(v, [-9e9] * 3 + [-_G] * 3, [9e9] * 3 + [_G] * 3)),
    ),
    Lie("imu", "smoothed", "a low-pass filter of 0.25 s", on_values(_smoothed)),
    Lie("imu", "held", "every eighth sample repeated", on_values(_held)),
    Lie("imu", "noise", "noise of 5 m/s^2 and 0.5 rad/s on top", on_values(_noisy)),
    Lie(
        "imu",
        "coarse",
        "steps of 1 m/s^2 and 0.1 rad/s",
        on_values(lambda v, r: np.round(v / [0.1, 0.1, 0.1, 1, 1, 1]) * [0.1, 0.1, 0.1, 1, 1, 1] + r.normal(0, 1e-7, v.shape)),
    ),
)
