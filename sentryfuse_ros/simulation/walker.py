"""A person as a few capsules, as a depth camera sees one that walks, stands or waves.

The camera looks horizontally along +z; x is to the right and y down, in metres, as in REP 103's optical frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

HEIGHT_M = 1.72
STRIDE_M = 1.3  # of two steps
# Lengths and radii as shares of the height (Drillis and Contini, "Body Segment Parameters", 1966, for the lengths).
HIP, KNEE, ANKLE, SHOULDER, HEAD = 0.53, 0.285, 0.04, 0.82, 0.93  # heights above the ground
HIP_OUT, SHOULDER_OUT = 0.055, 0.12  # from the middle of the body
UPPER_ARM, FOREARM = 0.17, 0.2  # the hand is part of the forearm
FOOT = 0.1
RADII = {"thigh": 0.048, "shin": 0.034, "foot": 0.026, "trunk": 0.085, "arm": 0.028, "forearm": 0.024, "head": 0.062}


@dataclass(frozen=True)
class Posture:
    """Where a person is, and in what posture."""

    x_m: float
    z_m: float
    heading_rad: float = 0.0  # 0 faces the camera, pi / 2 its right
    stride: float = 0.0  # phase of the gait, in strides
    pace: float = 0.0  # 0 stands, 1 walks
    arm_up: float = 0.0  # 0 lets the left arm hang, 1 holds the hand up
    wave_rad: float = 0.0  # of the raised forearm, outward


def capsules(posture: Posture, ground_m: float) -> np.ndarray:
    """(n, 7): two ends and the radius of each, in the camera's frame. ``ground_m``: how far the ground is below the camera."""
    h, phase = HEIGHT_M, 2 * np.pi * posture.stride
    parts: list[tuple[Any, Any, str]] = [
        ((0, HIP, 0), (0, SHOULDER - 0.02, 0), "trunk"),
        ((0, HEAD - 0.02, 0), (0, HEAD + 0.01, 0), "head"),
    ]
    bob = 0.012 * posture.pace * np.cos(2 * phase)
    for side, swing in ((-1, np.sin(phase)), (1, -np.sin(phase))):
        hip = np.array((side * HIP_OUT, HIP, 0))
        lift = max(0.0, side * -np.cos(phase)) * posture.pace  # this leg is in the air
        thigh = 0.42 * swing * posture.pace + 0.25 * lift
        knee = hip + (HIP - KNEE) * np.array((0, -np.cos(thigh), np.sin(thigh)))
        shin = thigh - 0.9 * lift - 0.06
        ankle = knee + (KNEE - ANKLE) * np.array((0, -np.cos(shin), np.sin(shin)))
        parts += [(hip, knee, "thigh"), (knee, ankle, "shin"), (ankle, ankle + (0, -0.01, FOOT), "foot")]
        shoulder = np.array((side * SHOULDER_OUT, SHOULDER, 0))
        up = posture.arm_up if side < 0 else 0.0
        fore = -0.4 * swing * posture.pace
        out = up * 1.9
        arm = np.array((side * np.sin(out), -np.cos(out) * np.cos(fore), np.sin(fore)))
        elbow = shoulder + UPPER_ARM * arm
        bend = fore + 0.25
        hanging = np.array((0, -np.cos(bend), np.sin(bend)))
        raised = np.array((side * np.sin(posture.wave_rad), np.cos(posture.wave_rad), 0.15))
        direction = (1 - up) * hanging + up * raised
        hand = elbow + FOREARM * direction / np.linalg.norm(direction)
        parts += [(shoulder, elbow, "arm"), (elbow, hand, "forearm")]
    ends = np.array([(a, b) for a, b, _ in parts], float) * h  # right of the body, up, ahead
    turn = posture.heading_rad
    ahead = np.array((np.sin(turn), -np.cos(turn)))  # of the body, in x and z of the camera
    right = np.array((-np.cos(turn), -np.sin(turn)))
    out_m = np.empty((len(parts), 7))
    for k in (0, 1):
        across, up_m, forward = ends[:, k].T
        out_m[:, 3 * k] = posture.x_m + across * right[0] + forward * ahead[0]
        out_m[:, 3 * k + 1] = ground_m - (up_m + bob * h)
        out_m[:, 3 * k + 2] = posture.z_m + across * right[1] + forward * ahead[1]
    out_m[:, 6] = [RADII[name] * h for _, _, name in parts]
    return out_m


def depth_of(parts: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """How far along z the rays (..., 3) with z = 1 first meet one of the capsules (n, 7) [m]; infinity where they miss all.

    Ray against capsule after Quilez, "Capsule - intersection" (iquilezles.org/articles/intersectors).
    """
    shape, d = rays.shape[:-1], rays.reshape(-1, 3)
    nearest = np.full(len(d), np.inf)
    for ax, ay, az, bx, by, bz, radius in parts:
        a, b = np.array((ax, ay, az)), np.array((bx, by, bz))
        # Only rays near the shadow of the capsule are looked at.
        low, high = np.minimum(a, b) - radius, np.maximum(a, b) + radius
        if low[2] <= 0.1:
            continue
        corners = np.array([(x / z, y / z) for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
        near = ((d[:, :2] >= corners.min(0)) & (d[:, :2] <= corners.max(0))).all(1)
        if near.any():
            nearest[near] = np.minimum(nearest[near], _one_depth(d[near], a, b, radius))
    return nearest.reshape(shape)


def _one_depth(d: np.ndarray, a: np.ndarray, b: np.ndarray, radius: float) -> np.ndarray:
    axis, back = b - a, -a
    length2, along, off = axis @ axis, d @ axis, back @ axis
    d2, d_back = (d * d).sum(1), d @ back
    best = np.full(len(d), np.inf)
    qa = length2 * d2 - along**2
    qb = length2 * d_back - off * along
    qc = length2 * (back @ back) - off**2 - radius**2 * length2
    root = qb**2 - qa * qc
    hit = (root >= 0) & (qa > 1e-12)
    t = (-qb - np.sqrt(np.where(hit, root, 0))) / np.where(hit, qa, 1)
    place = off + t * along
    inside = hit & (place > 0) & (place < length2) & (t > 0)
    best[inside] = t[inside]
    for centre in (a, b):
        towards = d @ centre
        root = towards**2 - d2 * (centre @ centre - radius**2)
        t = (towards - np.sqrt(np.maximum(root, 0))) / d2
        ball = (root >= 0) & (t > 0)
        best[ball] = np.minimum(best[ball], t[ball])
    return best
