"""One simulated run, from a seed to a bag."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..bags.drive_truth import TRUTH_FILE, Moment, write_truth
from ..bags.find import bag_folder
from ..bags.label_sources import INTERVALS_FILE, read_intervals
from ..bags.run_description import RunDescription, read_run_description, write_run_description
from ..errors import BagError, ParameterError
from . import audio, imu
from .battery import Battery
from .camera import Camera
from .imu import Imu
from .lidar import Lidar
from .new_recording import new_recording
from .nuisances import Nuisances, choose_nuisances
from .odometry import WheelOdometry
from .rays import Look
from .recorder import Recorder
from .robot import STEP_S, Pose, Robot
from .route import Route
from .truth import moment
from .worlds import World, build_world, generator, world_number

START_NS = 1_700_000_000 * 10**9  # stamp at which every run begins; any fixed time would do
TICK_STEPS = 16  # physics steps per tick: commands and odometry run at 50 Hz
CAMERA_TICKS = LIDAR_TICKS = TRUTH_TICKS = 5  # 10 Hz
BATTERY_TICKS, AUDIO_TICKS = 50, 10
CHUNK_SAMPLES = 320  # 20 ms
SETTLE_S = 0.8  # the robot drops onto the ground and starts driving before the recording begins
MAX_DURATION_S = 3600.0
STEP_NS = round(STEP_S * 1e9)
TICK_NS = TICK_STEPS * STEP_NS
# From a measurement to the arrival of its message [ns]: exposure, read-out, the packets of a scan.
LATENCY_NS = {"camera": 18_000_000, "imu": 400_000, "audio": 2_000_000, "lidar": 9_000_000}


@dataclass
class Tick:
    """What the sensors measured in 20 ms. What is None was not due; `audio` comes every 0.2 s."""

    stamp_ns: int
    pose: Pose
    label: str
    imu: np.ndarray  # (4, 6)
    camera: np.ndarray | None
    lidar: np.ndarray | None
    audio: np.ndarray | None  # 0.2 s of samples, which begin audio.LEAD_SAMPLES before the last 0.2 s
    battery: Battery
    odometry: WheelOdometry
    truth: Moment | None  # ten times a second


def charge_at_start(number: int, chosen: float | None) -> float:
    """The charge of the battery at the start of a drive, 0 to 1: the chosen one, or that of the world of this number."""
    return float(generator(number, "battery").uniform(0.5, 1.0)) if chosen is None else chosen


class Drive:
    """How a robot moves through a world, without its sensors."""

    def __init__(self, split: str, seed: int, nuisances: Sequence[str] = ()):
        number = world_number(split, seed)
        self.nuisances: Nuisances = choose_nuisances(nuisances, generator(number, "nuisances"))
        self.world: World = build_world(number)
        self.route = Route(self.world, self.nuisances.speed_mps, generator(number, "route"))
        start_x_m, start_y_m = self.route.start.tolist()
        self.robot = Robot(self.world, self.nuisances.payload_kg, start_x_m, start_y_m, self.route.start_yaw_rad)

    def steps(self, duration_s: float) -> Iterator[tuple[int, np.ndarray]]:
        """The drive in steps of 20 ms: a number, from 1 on after the robot has settled, and rows (TICK_STEPS, robot.COLUMNS)."""
        for count in range(1 - round(SETTLE_S / STEP_S / TICK_STEPS), round(duration_s / STEP_S / TICK_STEPS) + 1):
            stands = self.nuisances.stands(count * TICK_NS * 1e-9)
            yield count, self.robot.advance(TICK_STEPS, *((0.0, 0.0) if stands else self.route.command(self.robot.pose)))

    def truth(self, duration_s: float) -> Iterator[Moment]:
        """What is true during the drive, ten times a second; the sensors are not computed, so this takes half the time."""
        for count, rows in self.steps(duration_s):
            if count > 0 and count % TRUTH_TICKS == 0:
                yield moment(self.world, START_NS + count * TICK_NS, self.robot.pose, rows)


class Run(Drive):
    """One drive of a robot in a world, under nuisances; iterate over `ticks`."""

    def __init__(
        self, split: str, seed: int, nuisances: Sequence[str] = (), battery_wh: float = 20.0, battery_start: float | None = None
    ):
        super().__init__(split, seed, nuisances)
        number, look = self.world.number, Look(self.world)
        self.camera = Camera(self.world, look, self.nuisances, generator(number, "camera"))
        self.lidar = Lidar(self.world, look, self.nuisances, generator(number, "lidar"))
        self.imu = Imu(self.nuisances, generator(number, "imu"))
        self.microphone = audio.Microphone(self.world, self.nuisances, generator(number, "audio"))
        self.battery, self.odometry = Battery(battery_wh, charge_at_start(number, battery_start)), WheelOdometry()

    def ticks(self, duration_s: float) -> Iterator[Tick]:
        """The drive in steps of 20 ms. A longer drive begins with exactly the same ticks."""
        block = []
        for count, rows in self.steps(duration_s):
            samples = self.imu.samples(rows)
            if count < 1:
                continue
            block.append(rows)
            self.battery.draw(rows, TICK_STEPS * STEP_S)
            self.odometry.update(rows)
            pose, sound = self.robot.pose, None
            if count % AUDIO_TICKS == 0:
                sound = self.microphone.samples(np.concatenate(block))
                block = []
            patch = int(self.world.patch_at(*pose.position_m[:2]))
            yield Tick(
                START_NS + count * TICK_NS,
                pose,
                self.world.patches[patch].name,
                samples,
                self.camera.frame(self.robot.model, self.robot.data, pose) if count % CAMERA_TICKS == 0 else None,
                self.lidar.cloud(self.robot.model, self.robot.data, pose) if count % LIDAR_TICKS == 3 else None,
                sound,
                self.battery,
                self.odometry,
                moment(self.world, START_NS + count * TICK_NS, pose, rows) if count % TRUTH_TICKS == 0 else None,
            )


def simulate(
    seed: int,
    duration_s: float,
    out: str | Path,
    split: str = "train",
    nuisances: Sequence[str] = (),
    battery_wh: float = 20.0,
    battery_start: float | None = None,
    progress: Callable[[float], None] | None = None,
) -> RunDescription:
    """Record one run as a rosbag2 folder ``out`` with intervals.csv, truth.csv and run.json; returns the description in run.json.

    ``progress`` is called with the simulated seconds done. Raises ParameterError on a bad value and BagError if ``out``
    already exists. A run that is interrupted leaves nothing behind.
    """
    out = Path(out)
    if not 1 <= duration_s <= MAX_DURATION_S:
        raise ParameterError("duration", duration_s, f"1 to {MAX_DURATION_S:g} seconds")
    if not 0.01 <= battery_wh <= 10000:
        raise ParameterError("battery capacity", battery_wh, "0.01 to 10000 Wh")
    if battery_start is not None and not 0 <= battery_start <= 1:
        raise ParameterError("battery at the start", battery_start, "a fraction, 0 to 1")
    run = Run(split, seed, nuisances, battery_wh, battery_start)
    charge = run.battery.fraction
    with new_recording(out) as folder:
        moments = []
        with Recorder(folder) as recorder:
            for done, tick in enumerate(run.ticks(duration_s), 1):
                record(recorder, tick, done)
                if tick.truth is not None:
                    moments.append(tick.truth)
                if progress and done % AUDIO_TICKS == 0:
                    progress(done * TICK_NS * 1e-9)
        recorder.close_intervals(tick.stamp_ns)
        write_truth(folder, moments)
        description = RunDescription(
            split=split,
            seed=seed,
            world=run.world.number,
            duration_s=duration_s,
            nuisances=run.nuisances.as_dict(),
            disturbed=run.nuisances.disturbed(),
            patches=[{"class": p.name, "x_m": p.x_m, "y_m": p.y_m, **asdict(p.ground)} for p in run.world.patches],
            battery_wh=battery_wh,
            battery_start=charge,
        )
        write_run_description(folder, description)
    return description


def add_truth(bag: str | Path) -> bool:
    """Write truth.csv beside a simulated bag that lacks it, by driving once more; returns whether it was written.

    Raises BagError where the bag was not simulated, or drives otherwise by now.
    """
    folder = bag_folder(Path(bag))
    description = read_run_description(folder)
    if description is None or not description.is_simulated() or description.seed is None or description.duration_s is None:
        raise BagError(f"recording {folder}", "no simulated drive", "a run.json that `sentryfuse simulate` wrote")
    if (folder / TRUTH_FILE).exists():
        return False
    levels = [f"{name}={level!r}" for name, level in description.nuisances.items()]
    moments = list(Drive(description.split, description.seed, levels).truth(description.duration_s))
    labels = read_intervals(folder / INTERVALS_FILE)
    wrong = [
        m for m in moments if labels.at(m.stamp_ns - 1) != m.ground != labels.at(m.stamp_ns)
    ]  # the last interval ends with it
    if wrong:
        raise BagError(
            f"recording {folder}",
            f"another ground than in {INTERVALS_FILE} at {len(wrong)} of {len(moments)} moments",
            "the same drive",
            "simulate it again: MuJoCo or the simulation has changed since it was recorded",
        )
    write_truth(folder, moments)
    return True


def record(recorder: Recorder, tick: Tick, count: int) -> None:
    """Write the messages of one tick."""
    now = tick.stamp_ns
    if count == 1:
        recorder.begin_interval(START_NS, tick.label)
    recorder.begin_interval(now, tick.label)
    for i, sample in enumerate(tick.imu):
        # A sample is the mean over its physics steps, stamped at their end.
        stamp = now - (len(tick.imu) - 1 - i) * imu.STEPS_PER_SAMPLE * STEP_NS
        recorder.imu(stamp, stamp + LATENCY_NS["imu"], sample)
    if tick.camera is not None:
        recorder.image(now, now + LATENCY_NS["camera"], tick.camera)
    if tick.lidar is not None:
        recorder.cloud(now, now + LATENCY_NS["lidar"], tick.lidar)
    recorder.odometry(now, tick.odometry)
    if count % TRUTH_TICKS == 0:
        recorder.truth(now, tick.label)
    if count % BATTERY_TICKS == 1:
        recorder.battery(now, tick.battery)
    if tick.audio is not None:
        chunk_ns = CHUNK_SAMPLES * 10**9 // audio.RATE_HZ
        first = now - AUDIO_TICKS * TICK_NS - audio.LEAD_SAMPLES * 10**9 // audio.RATE_HZ
        for i in range(len(tick.audio) // CHUNK_SAMPLES):
            stamp = first + i * chunk_ns
            if stamp >= START_NS:  # before the start, the filters have not settled
                recorder.audio(
                    stamp,
                    stamp + chunk_ns + LATENCY_NS["audio"],
                    audio.RATE_HZ,
                    tick.audio[i * CHUNK_SAMPLES : (i + 1) * CHUNK_SAMPLES],
                )
        recorder.flush(first + (len(tick.audio) // CHUNK_SAMPLES) * chunk_ns)
