"""What a depth camera measures of true depths: noise that grows with the square of the distance, steps, and holes at edges.

Khoshelham and Elberink, "Accuracy and Resolution of Kinect Depth Data for Indoor Mapping Applications", Sensors 2012, 12(2).
`training/depth_room.py` does the same in torch for many clips at once.
"""

from __future__ import annotations

import numpy as np

NOISE_PER_M = 1.425e-3  # standard deviation of a depth, divided by the square of the depth [1/m]
HOLE_CHANCE, EDGE_HOLE_CHANCE = 0.003, 0.35  # chance that a pixel has no return: anywhere, and at an edge
EDGE_M = 0.1  # a step of depth between neighbours in a row that counts as an edge [m]
EDGE_DOWN_M = 0.3  # the same in a column, where the ground recedes


def measured(depth_m: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """True depths (H, W) as the camera sees them, 0 where there is no return."""
    edge = np.zeros(depth_m.shape, bool)
    for axis, step_m in enumerate((EDGE_DOWN_M, EDGE_M)):
        jump = np.abs(np.diff(depth_m, axis=axis)) > step_m
        edge |= np.insert(jump, 0, False, axis) | np.insert(jump, jump.shape[axis], False, axis)
    step = 2 * NOISE_PER_M * depth_m**2
    noisy = np.round(depth_m / step + 0.5 * rng.standard_normal(depth_m.shape)) * step
    chance = rng.random(depth_m.shape)
    return np.where((chance < HOLE_CHANCE) | (edge & (chance < EDGE_HOLE_CHANCE)), 0.0, noisy)
