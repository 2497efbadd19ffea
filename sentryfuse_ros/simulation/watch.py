"""A standing robot whose depth camera watches a room through which somebody passes, twice; recorded as a rosbag2 folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..bags.run_description import RunDescription, write_run_description
from ..errors import ParameterError
from .depth_noise import measured
from .new_recording import new_recording
from .recorder import Recorder
from .walker import STRIDE_M, Posture, capsules, depth_of

START_NS = 1_700_000_000 * 10**9
RATE_HZ = 10.0
SIZE = (112, 112)  # rows and columns of the camera's picture
FOCAL_PER_HEIGHT = 0.95  # focal length of a wide depth camera, as a share of the height of its picture
GROUND_M = 0.8  # how far the ground is below the camera
LATENCY_NS = 12_000_000  # from exposure to the arrival of the message
IMU_RATE_HZ, GYRO_NOISE_RAD_S, ACCEL_NOISE_M_S2 = 100.0, 0.004, 0.02  # of an IMU on the robot, which stands
IMU_LATENCY_NS = 400_000
WALK_M_S = 0.85
FAR_LEFT_M, MIDDLE_M, FAR_RIGHT_M, PERSON_Z_M = -2.0, 0.0, 2.0, 2.8
TURN_S, STAND_S, WAVE_S = 0.5, 2.0, 2.4
VISITS_S = (6.0, 31.0)  # when somebody comes in
DURATION_S = 54.0
NOBODY, WALKS, STANDS, WAVES = "nobody", "walks by", "stands", "waves"
TEXT = (
    "A simulated robot stands in a room and looks at it with a depth camera. Twice somebody walks in, stops, waves and walks out."
)
# Walls and furniture: left, top, near, right, bottom, far [m].
BOXES = (
    (-4.0, -2.5, 3.9, 4.0, 0.8, 4.0),  # wall behind
    (1.9, -2.5, 0.5, 2.0, 0.8, 4.0),  # wall to the right
    (-1.9, -1.1, 3.4, -1.1, 0.8, 3.9),  # cupboard
    (0.7, 0.0, 3.4, 1.6, 0.8, 3.9),  # chest of drawers
    (1.0, -0.4, 3.5, 1.3, 0.0, 3.8),  # something on it
    (-1.4, 0.35, 2.0, -1.05, 0.8, 2.3),  # stool
)


@dataclass(frozen=True)
class Moment:
    """What is in the room: a person, or nobody, and what a spectator would call it."""

    label: str
    posture: Posture | None = None


def moment(t_s: float) -> Moment:
    """The scene at a time: somebody walks in, stops, stands, waves, stands and walks out, at each of VISITS_S."""
    since = next((t_s - start for start in reversed(VISITS_S) if t_s >= start), -1.0)
    way_in, way_out = (MIDDLE_M - FAR_LEFT_M) / WALK_M_S, (FAR_RIGHT_M - MIDDLE_M) / WALK_M_S
    ends = np.cumsum([way_in, TURN_S, STAND_S, WAVE_S, STAND_S, TURN_S, way_out])
    if since < 0 or since >= ends[-1]:
        return Moment(NOBODY)
    k = int(np.searchsorted(ends, since, side="right"))
    into = since - (ends[k - 1] if k else 0.0)
    side = np.pi / 2
    if k in (0, 6):
        x = (FAR_LEFT_M if k == 0 else MIDDLE_M) + WALK_M_S * into
        return Moment(WALKS, Posture(x, PERSON_Z_M, side, x / STRIDE_M, 1.0))
    if k in (1, 5):
        share = into / TURN_S if k == 5 else 1 - into / TURN_S
        return Moment(STANDS, Posture(MIDDLE_M, PERSON_Z_M, side * share))
    if k == 3:
        up = float(np.clip(into / 0.5, 0, 1) * np.clip((WAVE_S - into) / 0.5, 0, 1))
        return Moment(WAVES, Posture(MIDDLE_M, PERSON_Z_M, arm_up=up, wave_rad=0.7 * np.sin(2 * np.pi * 1.3 * into) - 0.25))
    return Moment(STANDS, Posture(MIDDLE_M, PERSON_Z_M))


def rays() -> np.ndarray:
    """Directions of the pixels (rows, columns, 3), with z = 1."""
    rows, columns = SIZE
    focal = FOCAL_PER_HEIGHT * rows
    right, down = (np.arange(columns) + 0.5 - columns / 2) / focal, (np.arange(rows) + 0.5 - rows / 2) / focal
    return np.stack([*np.meshgrid(right, down), np.ones(SIZE)], axis=-1)


def room_depth(directions: np.ndarray) -> np.ndarray:
    """Depths of the empty room along rays (..., 3) with z = 1 [m]."""
    down = directions[..., 1]
    depth = np.where(down > 0, GROUND_M / np.maximum(down, 1e-6), np.inf)
    slope = np.where(np.abs(directions) < 1e-9, 1e-9, directions)
    for box in np.array(BOXES).reshape(-1, 2, 3):
        enter, leave = (np.sort(box[:, None, None, :] / slope, axis=0)[k] for k in (0, 1))
        near, far = enter.max(-1), leave.min(-1)
        depth = np.where((near < far) & (near > 0), np.minimum(depth, near), depth)
    return depth


def pictures(duration_s: float, seed: int = 0) -> Iterator[tuple[float, Moment, np.ndarray]]:
    """Time [s], what is in the room, and the camera's picture (H, W) uint16 [mm]."""
    rng, directions = np.random.default_rng(seed), rays()
    empty = room_depth(directions)
    for count in range(round(duration_s * RATE_HZ)):
        now = moment(count / RATE_HZ)
        depth = empty
        if now.posture is not None:
            depth = np.minimum(empty, depth_of(capsules(now.posture, GROUND_M), directions))
        yield count / RATE_HZ, now, np.round(measured(depth, rng) * 1e3).astype(np.uint16)


def standing_imu(count: int, rng: np.random.Generator) -> np.ndarray:
    """Samples (count, 6) of the IMU of a robot that stands: gyro [rad/s] and specific force [m/s^2], z up."""
    samples = rng.normal(0, [GYRO_NOISE_RAD_S] * 3 + [ACCEL_NOISE_M_S2] * 3, (count, 6))
    samples[:, 5] += 9.81
    return samples


def simulate_watch(duration_s: float, out: Path, seed: int = 0, progress: Callable[[float], None] | None = None) -> None:
    """Record the scene as a rosbag2 folder ``out`` with intervals.csv and run.json; an interrupted one leaves nothing behind.

    ``progress`` is called with the simulated seconds done. Raises ParameterError on a bad duration, BagError if ``out`` exists.
    """
    if not 1 <= duration_s <= 3600:
        raise ParameterError("duration", duration_s, "1 to 3600 seconds")
    random = np.random.default_rng([seed, 1])
    with new_recording(out) as folder:
        with Recorder(folder) as recorder:
            for t_s, now, picture in pictures(duration_s, seed):
                stamp_ns = START_NS + round(t_s * 1e9)
                recorder.flush(stamp_ns)
                recorder.begin_interval(stamp_ns, now.label)
                recorder.depth_image(stamp_ns, stamp_ns + LATENCY_NS, picture)
                for k, sample in enumerate(standing_imu(round(IMU_RATE_HZ / RATE_HZ), random)):
                    imu_ns = stamp_ns + round(k * 1e9 / IMU_RATE_HZ)
                    recorder.imu(imu_ns, imu_ns + IMU_LATENCY_NS, sample)
                if progress:
                    progress(t_s)
            recorder.close_intervals(START_NS + round(duration_s * 1e9))
        write_run_description(folder, RunDescription(seed=seed, duration_s=duration_s, text=TEXT))
