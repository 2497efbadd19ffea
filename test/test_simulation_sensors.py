"""The sensor models follow the physics: change one cause, see its effect; change a name, see none."""

import dataclasses

import numpy as np
import pytest

from sentryfuse_ros.simulation.audio import RATE_HZ, Microphone
from sentryfuse_ros.simulation.battery import IDLE_W, Battery
from sentryfuse_ros.simulation.camera import Camera
from sentryfuse_ros.simulation.imu import Imu
from sentryfuse_ros.simulation.lidar import Lidar
from sentryfuse_ros.simulation.nuisances import Nuisances
from sentryfuse_ros.simulation.rays import Look
from sentryfuse_ros.simulation.robot import LIDAR_AT_M, LOAD, VELOCITY, Robot
from sentryfuse_ros.simulation.worlds import build_world

CALM = dict(
    undulation_mm=0.0,
    roughness_mm=0.0,
    ripple_mm=0.0,
    joint_pitch_m=0.0,
    blade_m=0.0,
    friction=0.8,
    gloss=0.0,
    rolling_resistance=0.015,
    stiffness_kn_m=1000.0,
    grain_cover=0.0,
)
START = (2.0, 6.0, 0.0)  # in the middle row, with 12 m to go along x


@pytest.fixture(scope="module")
def world():
    return build_world(11)


def everywhere(world, relief=None, **changes):
    """The world with one ground on all patches, flat unless ``relief`` (rms [m]) is given."""
    ground = dataclasses.replace(world.patches[0].ground, **{**CALM, **changes})
    nodes = world.patches[0].height_m.shape
    height = np.zeros(nodes) if relief is None else relief * np.random.default_rng(0).standard_normal(nodes)
    patches = tuple(dataclasses.replace(p, ground=ground, height_m=height) for p in world.patches)
    return dataclasses.replace(world, patches=patches)


def drive(world, speed_mps=0.8, seconds=2.0, payload_kg=3.0, turn_rad_s=0.0):
    """Sensor rows of a straight drive, after a second to get going; and the drive."""
    robot = Robot(world, payload_kg, *START)
    robot.advance(800, speed_mps, turn_rad_s)
    return robot.advance(int(seconds * 800), speed_mps, turn_rad_s), robot


def sound(world, rows, **nuisances):
    """Samples -1..1 of all rows."""
    microphone = Microphone(world, Nuisances(**nuisances), np.random.default_rng(0))
    return np.concatenate([microphone.samples(rows[i : i + 160]) for i in range(0, len(rows) - 159, 160)]) / 32768


def scan(world, robot, seed=0, **nuisances):
    """A cloud from where the robot is."""
    lidar = Lidar(world, Look(world), Nuisances(**nuisances), np.random.default_rng(seed))
    return lidar.cloud(robot.model, robot.data, robot.pose)


def picture(world, robot, seed=0, **nuisances):
    camera = Camera(world, Look(world), Nuisances(**nuisances), np.random.default_rng(seed))
    return camera.frame(robot.model, robot.data, robot.pose)


def band(signal, low_hz, high_hz):
    power = np.abs(np.fft.rfft(signal)) ** 2
    frequency = np.fft.rfftfreq(len(signal), 1 / RATE_HZ)
    return power[(frequency >= low_hz) & (frequency < high_hz)].sum()


def test_a_robot_at_rest_feels_gravity_and_nothing_else(world):
    rows, _ = drive(everywhere(world), speed_mps=0.0, seconds=2.0)
    samples = Imu(Nuisances(), np.random.default_rng(0)).samples(rows)
    assert samples.shape == (400, 6)
    assert samples[:, 5].mean() == pytest.approx(9.81, abs=0.5) and np.abs(samples[:, 3:5].mean(axis=0)).max() < 0.5
    assert np.abs(samples[:, :3]).max() < 0.1
    assert rows[:, LOAD].sum(axis=1).mean() == pytest.approx((15 + 3 + 4) * 9.81, rel=0.02)


def test_gyro_turns_with_the_robot(world):
    rows, _ = drive(everywhere(world), speed_mps=0.3, seconds=1.0, turn_rad_s=0.5)
    turn = Imu(Nuisances(), np.random.default_rng(0)).samples(rows)[:, 2].mean()
    assert 0.1 < turn < 0.55  # a skid-steered robot turns less than its wheels say


def test_rough_ground_shakes_and_a_payload_damps(world):
    shake = {}
    for name, relief, payload in (("smooth", 0.0003, 0), ("rough", 0.003, 0), ("rough, loaded", 0.003, 18)):
        rows, _ = drive(everywhere(world, relief), payload_kg=payload)
        shake[name] = Imu(Nuisances(), np.random.default_rng(0)).samples(rows)[:, 5].std()
    assert shake["rough"] > 2 * shake["smooth"] and shake["rough, loaded"] < 0.9 * shake["rough"]


def test_a_loose_mount_rings(world):
    rows, _ = drive(everywhere(world, 0.001))
    firm, loose = (Imu(Nuisances(vibration=v), np.random.default_rng(0)).samples(rows) for v in (0.0, 1.0))
    assert loose[:, 5].std() > 1.5 * firm[:, 5].std()
    assert loose[:, 5].mean() == pytest.approx(firm[:, 5].mean(), abs=0.1)


def test_rolling_resistance_costs_battery_and_speed(world):
    power = {}
    for resistance in (0.01, 0.2):
        rows, _ = drive(everywhere(world, rolling_resistance=resistance))
        battery = Battery(20.0, 0.8)
        battery.draw(rows, len(rows) / 800)
        power[resistance] = battery.power_w
        assert battery.fraction == pytest.approx(0.8 - battery.power_w * 2 / 3600 / 20)
        assert rows[:, VELOCITY][:, 0].mean() == pytest.approx(0.8, abs=0.1)
    assert power[0.2] > power[0.01] + 15 > IDLE_W + 15


def test_loose_stones_rattle_high_and_faster_means_louder(world):
    bare, stony = everywhere(world), everywhere(world, grain_mm=10.0, grain_cover=0.6)
    rows, _ = drive(bare)
    assert band(sound(stony, rows), 2000, 8000) > 10 * band(sound(bare, rows), 2000, 8000)
    slow, fast = (sound(stony, drive(stony, speed_mps=v)[0]) for v in (0.4, 1.2))
    assert fast.std() > 1.5 * slow.std()


def test_a_free_panel_rings_at_its_bending_mode(world):
    """pi h / (2 sqrt 12 L^2) sqrt(E / rho) of 28 mm of 10 GPa and 550 kg/m^3 over half a metre is 217 Hz."""
    panel = dict(
        panel_thickness_mm=28.0,
        panel_span_m=0.5,
        panel_modulus_gpa=10.0,
        panel_density=550.0,
        panel_loss=0.03,
        texture_mm=0.4,
        texture_wavelength_mm=4.0,
    )
    bedded, free = (everywhere(world, 0.0003, **panel, panel_free=f) for f in (0.0, 1.0))
    rows, _ = drive(bedded)
    quiet, loud = sound(bedded, rows), sound(free, rows)
    assert band(loud, 195, 240) > 10 * band(quiet, 195, 240)
    assert band(loud, 3000, 8000) < 2 * band(quiet, 3000, 8000)


def test_a_parked_robot_is_quiet_and_wind_is_not(world):
    flat = everywhere(world)
    parked, rolling = (sound(flat, drive(flat, speed_mps=v)[0])[3200:] for v in (0.0, 0.8))
    assert parked.std() < 0.5 * rolling.std()
    windy = sound(flat, drive(flat, speed_mps=0.0)[0], wind=1.0)
    assert windy.std() > 10 * parked.std() and band(windy, 20, 500) > 5 * band(windy, 500, 8000)


def test_sound_has_no_seam_between_blocks(world):
    """A jump between blocks would be a click five times a second."""
    flat = everywhere(world)
    steps = np.abs(np.diff(sound(flat, drive(flat)[0])))
    seams = steps[3199::3200]
    assert len(seams) > 5 and seams.max() <= np.percentile(steps, 99.9)


def test_the_cloud_lies_on_the_ground(world):
    flat = everywhere(world)
    _, robot = drive(flat, speed_mps=0.0, seconds=0.1)
    cloud = scan(flat, robot)
    assert cloud.dtype == np.float32 and cloud.shape[1] == 4 and len(cloud) > 1500
    near = cloud[np.hypot(cloud[:, 0], cloud[:, 1]) < 1.5]
    assert np.median(near[:, 2]) == pytest.approx(-(LIDAR_AT_M[2] + 0.11), abs=0.01)
    assert 0 < cloud[:, 3].min() and cloud[:, 3].max() <= 255


def test_the_robot_does_not_see_itself(world):
    flat = everywhere(world)
    _, robot = drive(flat, speed_mps=0.0, seconds=0.1)
    cloud = scan(flat, robot)
    assert np.linalg.norm(cloud[:, :3], axis=1).min() > 0.45


def test_reflectance_blades_and_dust_show_in_the_cloud(world):
    def cloud(dust=0.0, **ground):
        flat = everywhere(world, **ground)
        _, robot = drive(flat, speed_mps=0.0, seconds=0.1)
        points = scan(flat, robot, dust=dust)
        return points, points[np.hypot(points[:, 0], points[:, 1]) < 1.5]

    dark, bright = (cloud(nir_reflectance=r)[1][:, 3].mean() for r in (0.1, 0.5))
    assert bright == pytest.approx(5 * dark, rel=0.15)
    bare, grown = (cloud(blade_m=b)[1][:, 2] for b in (0.0, 0.06))
    assert grown.std() > 2 * bare.std() and grown.mean() > bare.mean()
    clear, dusty = cloud()[0], cloud(dust=1.0)[0]
    above = [(np.linalg.norm(c[:, :3], axis=1) < 0.4).sum() for c in (clear, dusty)]
    assert above[0] == 0 < above[1]


@pytest.mark.parametrize("nuisance, effect", [("darkness", "dim"), ("fog", "flat"), ("mud", "covered")])
def test_nuisances_degrade_the_image(world, nuisance, effect):
    _, robot = drive(world, speed_mps=0.0, seconds=0.1)

    def frame(**nuisances):
        found = picture(world, robot, 2, **nuisances)
        assert found.shape == (54, 72, 3) and found.dtype == np.uint8
        return found.astype(float)

    clear, spoilt = frame(), frame(**{nuisance: 1.0})
    if effect == "dim":
        assert spoilt.mean() < 0.6 * clear.mean()
    elif effect == "flat":
        detail = [np.abs(np.diff(p[30:].mean(axis=2), axis=1)).mean() for p in (clear, spoilt)]
        assert detail[1] < 0.7 * detail[0]
    else:
        level = clear.mean() / spoilt.mean()  # exposure follows the picture
        assert (np.abs(spoilt * level - clear).mean(axis=2) > 12).mean() > 0.25


def test_no_sensor_reads_a_label(world):
    """Worlds that differ only in what the ground is called give the same readings."""
    renamed = dataclasses.replace(world, patches=tuple(dataclasses.replace(p, name="unknown") for p in world.patches))
    readings = []
    for named in (world, renamed):
        rows, robot = drive(named, seconds=0.4)
        readings.append(
            (
                rows,
                Imu(Nuisances(), np.random.default_rng(0)).samples(rows),
                sound(named, rows),
                picture(named, robot),
                scan(named, robot),
            )
        )
    assert all((a == b).all() for a, b in zip(*readings))
