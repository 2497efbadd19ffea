"""What is true at a moment of a drive, worked out from the world and the physics."""

from __future__ import annotations

import numpy as np

from ..bags.drive_truth import LOOK_AHEAD_M, Moment
from .robot import GYRO, VELOCITY, Pose
from .worlds import World

LOOK_STEP_M = 0.05


def moment(world: World, stamp_ns: int, pose: Pose, rows: np.ndarray) -> Moment:
    """The truth after the physics ``rows`` (n, robot.COLUMNS) of a tick, which ended at ``pose``."""
    x_m, y_m = pose.position_m[:2].tolist()
    yaw_rad = float(np.arctan2(pose.rotation[1, 0], pose.rotation[0, 0]))
    ground = world.patches[int(world.patch_at(x_m, y_m))].name
    distance_m = np.arange(LOOK_STEP_M, LOOK_AHEAD_M + 1e-9, LOOK_STEP_M)
    patches = world.patch_at(x_m + distance_m * np.cos(yaw_rad), y_m + distance_m * np.sin(yaw_rad))
    other = next((i for i, patch in enumerate(patches) if world.patches[patch].name != ground), None)
    return Moment(
        stamp_ns,
        x_m,
        y_m,
        yaw_rad,
        float(rows[:, VELOCITY][:, 0].mean()),
        float(rows[:, GYRO][:, 2].mean()),
        ground,
        "" if other is None else world.patches[int(patches[other])].name,
        0.0 if other is None else float(distance_m[other]),
    )
