"""The robot in MuJoCo: a skid-steered platform with four driven wheels."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from .footing import IMPEDANCE, WHEEL_RADIUS_M, Footing
from .worlds import PATCH_M, World, patch_nodes

STEP_S = 0.00125  # 800 Hz: four steps per IMU sample
TRACK_M, WHEELBASE_M = 0.44, 0.36
WHEEL_XY_M = np.array(
    [
        [WHEELBASE_M / 2, TRACK_M / 2],
        [WHEELBASE_M / 2, -TRACK_M / 2],
        [-WHEELBASE_M / 2, TRACK_M / 2],
        [-WHEELBASE_M / 2, -TRACK_M / 2],
    ]
)  # left, right, left, right
BODY_KG, WHEEL_KG = 15.0, 1.0
# Time in which friction stops a slip. If it were as short as that of the contact, sliding would lift the wheels.
GRIP_S = 0.03
TERRAIN_GROUP, ROBOT_GROUP = 0, 1
CAMERA_AT_M, LIDAR_AT_M, IMU_AT_M = (0.22, 0.0, 0.26), (0.0, 0.0, 0.42), (0.05, 0.02, 0.04)  # in the base frame

# Columns of a row of the physics: what `Robot.advance` returns for every step.
ACCEL, GYRO, VELOCITY = slice(0, 3), slice(3, 6), slice(6, 9)
WHEEL_SPEED, TORQUE, LOAD = slice(9, 13), slice(13, 17), slice(17, 21)
POSITION, ORIENTATION = slice(21, 24), slice(24, 28)
COLUMNS = 28


def build_model(world: World, payload_kg: float) -> mujoco.MjModel:
    """Compile world and robot for MuJoCo."""
    nodes, half = patch_nodes(), PATCH_M / 2
    seen = f'group="{TERRAIN_GROUP}" contype="0" conaffinity="0"'
    unseen = f'group="{ROBOT_GROUP}" contype="0" conaffinity="0"'
    fields, grounds = [], []
    for index, patch in enumerate(world.patches):
        # A field is only as deep as its relief, because a ray searches every cell between highest and lowest point.
        low, depth = _span(patch.height_m)
        fields.append(f'<hfield name="h{index}" nrow="{nodes}" ncol="{nodes}" size="{half} {half} {depth:.9g} 0.2"/>')
        grounds.append(f'<geom type="hfield" hfield="h{index}" pos="{patch.x_m} {patch.y_m} {low:.9g}" {seen}/>')
    things = [
        f'<geom type="{o.kind}" size="{" ".join(f"{s:.9g}" for s in o.size_m)}" {seen} '
        f'pos="{" ".join(f"{p:.9g}" for p in o.position_m)}"/>'
        for o in world.obstacles
    ]
    footings, contacts, wheels, motors, speeds, torques, loads = [], [], [], [], [], [], []
    for k, (x, y) in enumerate(WHEEL_XY_M):
        # Each wheel touches only its own plane.
        footings.append(
            f'<body name="footing{k}" mocap="true"><geom name="footing{k}" type="plane" size="1 1 0.1" {unseen}/></body>'
        )
        contacts.append(
            f'<pair geom1="footing{k}" geom2="tyre{k}" condim="4" solimp="{IMPEDANCE} {IMPEDANCE} 0.001" '
            f'solreffriction="{GRIP_S} 1"/>'
        )
        wheels.append(
            f'<body name="wheel{k}" pos="{x} {y} 0"><joint name="wheel{k}" type="hinge" axis="0 1 0" damping="0.03" '
            f'armature="0.01"/><geom name="tyre{k}" type="sphere" size="{WHEEL_RADIUS_M}" mass="{WHEEL_KG}" {unseen}/>'
            f'<site name="wheel{k}" type="sphere" size="{1.5 * WHEEL_RADIUS_M}"/></body>'
        )
        motors.append(f'<velocity name="wheel{k}" joint="wheel{k}" kv="6" forcerange="-18 18"/>')
        speeds.append(f'<jointvel joint="wheel{k}"/>')
        torques.append(f'<actuatorfrc actuator="wheel{k}"/>')
        loads.append(f'<touch site="wheel{k}"/>')
    model = mujoco.MjModel.from_xml_string(f"""<mujoco>
      <option timestep="{STEP_S}" integrator="implicitfast" cone="elliptic" solver="Newton" iterations="15"/>
      <size memory="30M"/><asset>{"".join(fields)}</asset>
      <worldbody>{"".join(grounds)}{"".join(things)}{"".join(footings)}
        <body name="base"><freejoint/>
          <geom type="box" size="0.27 0.16 0.06" pos="0 0 0.05" mass="{BODY_KG}" {unseen}/>
          <geom type="box" size="0.15 0.12 0.05" pos="-0.03 0 0.16" mass="{max(payload_kg, 1e-3):.9g}" {unseen}/>
          <site name="imu" pos="{IMU_AT_M[0]} {IMU_AT_M[1]} {IMU_AT_M[2]}"/>{"".join(wheels)}</body>
      </worldbody>
      <contact>{"".join(contacts)}</contact>
      <actuator>{"".join(motors)}</actuator>
      <sensor><accelerometer site="imu"/><gyro site="imu"/><velocimeter site="imu"/>{"".join(speeds)}{"".join(torques)}
        {"".join(loads)}<framepos objtype="xbody" objname="base"/><framequat objtype="xbody" objname="base"/></sensor>
    </mujoco>""")
    for index, patch in enumerate(world.patches):
        start = model.hfield_adr[index]
        low, depth = _span(patch.height_m)
        model.hfield_data[start : start + nodes * nodes] = ((patch.height_m - low) / depth).ravel()
    return model


def _span(height_m: np.ndarray) -> tuple[float, float]:
    """Lowest height and depth of a relief [m]."""
    return float(height_m.min()), max(float(height_m.max() - height_m.min()), 1e-4)


@dataclass(frozen=True)
class Pose:
    """Pose of the base in the world: position (3,) [m] and rotation (3, 3)."""

    position_m: np.ndarray
    rotation: np.ndarray

    def at(self, offset_m: tuple[float, float, float]) -> np.ndarray:
        """World position of a point of the base frame."""
        return self.position_m + self.rotation @ np.asarray(offset_m)


class Robot:
    """The simulated robot in its world; `advance` steps the physics under wheel speed commands."""

    def __init__(self, world: World, payload_kg: float, x_m: float, y_m: float, yaw_rad: float):
        self.model = build_model(world, payload_kg)
        self.data = mujoco.MjData(self.model)
        self._world, self._footing = world, Footing(world, BODY_KG + payload_kg + 4 * WHEEL_KG)
        self._dofs = [int(self.model.joint(f"wheel{k}").dofadr[0]) for k in range(4)]
        self._load = np.full(4, (BODY_KG + payload_kg + 4 * WHEEL_KG) * 9.81 / 4)
        self._wheels = [self.model.body(f"wheel{k}").id for k in range(4)]
        height = float(self._footing.under(np.array([x_m]), np.array([y_m]))[0][0])
        self.data.qpos[:7] = x_m, y_m, height + WHEEL_RADIUS_M + 0.01, np.cos(yaw_rad / 2), 0, 0, np.sin(yaw_rad / 2)
        mujoco.mj_forward(self.model, self.data)

    @property
    def pose(self) -> Pose:
        """Pose of the base now."""
        rotation = np.zeros(9)
        mujoco.mju_quat2Mat(rotation, self.data.qpos[3:7])
        return Pose(self.data.qpos[:3].copy(), rotation.reshape(3, 3))

    def advance(self, steps: int, speed_mps: float, turn_rad_s: float) -> np.ndarray:
        """Drive with the commanded forward speed and turn rate; returns one row per step (steps, COLUMNS)."""
        model, data = self.model, self.data
        left, right = speed_mps - turn_rad_s * TRACK_M / 2, speed_mps + turn_rad_s * TRACK_M / 2
        data.ctrl[:] = np.array([left, right, left, right]) / WHEEL_RADIUS_M
        rows = np.empty((steps, COLUMNS))
        for i in range(steps):
            wheels = data.xpos[self._wheels]
            if i % 4 == 0:  # every 5 ms, in which it moves less than a centimetre
                patch = self._world.patch_at(wheels[:, 0], wheels[:, 1])
                model.pair_solref[:] = self._footing.solref[patch]
                model.pair_friction[:, :2] = self._footing.friction[patch, None]
                model.pair_friction[:, 2] = 0.02 * self._footing.friction[patch]
                resistance = self._footing.rolling_resistance[patch] * WHEEL_RADIUS_M
            self._place(wheels)
            # The load is smoothed over about 10 ms, because the ground is pushed aside and does not spring back.
            self._load += 0.12 * (data.sensordata[LOAD] - self._load)
            data.qfrc_applied[self._dofs] = -resistance * self._load * np.tanh(data.sensordata[WHEEL_SPEED] / 0.5)
            mujoco.mj_step(model, data)
            rows[i] = data.sensordata
        return rows

    def _place(self, wheels: np.ndarray) -> None:
        """Move the plane of each wheel to where the wheel would touch the relief."""
        height, slope_x, slope_y = self._footing.under(wheels[:, 0], wheels[:, 1])
        normal = np.array([-slope_x, -slope_y, np.ones(4)]).T
        normal /= np.sqrt((normal * normal).sum(axis=1, keepdims=True))
        self.data.mocap_pos[:] = wheels - WHEEL_RADIUS_M * normal
        self.data.mocap_pos[:, 2] += height + WHEEL_RADIUS_M - wheels[:, 2]
        turn = self.data.mocap_quat  # from the vertical to the normal; MuJoCo normalises it
        turn[:, 0], turn[:, 1], turn[:, 2] = 1 + normal[:, 2], -normal[:, 1], normal[:, 0]


def wheel_motion(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """From rows (n, COLUMNS): position of each wheel in the world (n, 4, 2) [m], rolling speed and slip (n, 4) [m/s]."""
    velocity, gyro = rows[:, VELOCITY], rows[:, GYRO]
    arm = WHEEL_XY_M - np.asarray(IMU_AT_M[:2])
    forward = velocity[:, :1] - gyro[:, 2:3] * arm[:, 1]
    sideways = velocity[:, 1:2] + gyro[:, 2:3] * arm[:, 0]
    rolling = rows[:, WHEEL_SPEED] * WHEEL_RADIUS_M
    slip = np.hypot(forward - rolling, sideways)
    w, x, y, z = rows[:, ORIENTATION].T
    yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    cos, sin = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
    position = np.stack(
        [
            rows[:, POSITION][:, :1] + cos * WHEEL_XY_M[:, 0] - sin * WHEEL_XY_M[:, 1],
            rows[:, POSITION][:, 1:2] + sin * WHEEL_XY_M[:, 0] + cos * WHEEL_XY_M[:, 1],
        ],
        axis=-1,
    )
    return position, np.abs(rolling), slip
