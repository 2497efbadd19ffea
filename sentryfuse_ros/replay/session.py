"""One replay from its task to its result. In between, `nodes.door.replay_over_topics` plays the recording into a fuse_node."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..bags.bag import Bag, Topic, find_battery, match_sensors
from ..bags.label_sources import find_intervals, read_labels
from ..bags.labels import Labels
from ..bags.run_description import read_run_description
from ..errors import DataError, ParameterError, SentryFuseError
from ..nanoseconds import NS_PER_S
from ..paths import model_path, share_path
from ..sensing.rates import automatic_timeout_s
from ..settings import Settings, build_settings, read_yaml
from .faults import FaultScript, read_script
from .frames import frames_of_run, shows_pictures
from .judge import Limits, RunResult, SensorLimits, summarise
from .run_record import ModelFacts, PowerRow, PredictionRow, RunRecord, StatusRow
from .schedule import Delivery, DeliveryLog, Schedule
from .scores import labels_of_run, score_run

BATTERY_TOPIC = "/battery_state"  # what the player publishes a scripted battery on
UNKNOWN_PERIOD_S = 0.1  # assumed of a sensor that delivered fewer than two sound messages


@dataclass(frozen=True)
class ReplayTask:
    """What to replay, and how; see `sentryfuse replay --help` for the meaning of each value.

    topics: sensor -> topic of the bag that serves it. labels: a topic or an intervals file; None: intervals.csv beside the bag.
    """

    bag: Path
    faults: Path | None = None
    params_file: Path | None = None
    model: str | None = None
    topics: Mapping[str, str] = field(default_factory=dict)
    to_s: float | None = None
    repeat: int = 1
    gap_s: float = 1.0
    speed: float = 1.0
    labels: str | None = None
    domain_id: int | None = None


@dataclass(frozen=True)
class PreparedReplay:
    """A task whose bag, parameters, faults and labels have been read and checked. ``battery``: the topic that is played."""

    task: ReplayTask
    bag: Bag
    settings: Settings
    params_file: Path
    model: str | None
    schedule: Schedule
    battery: Topic | None
    labels: Labels | None
    domain_id: int


@dataclass(frozen=True)
class TopicReplay:
    """What is played, and the fuse_node that hears it."""

    sensors: Mapping[str, Topic]  # by the sensor's name
    extra: Sequence[Topic]  # topics that are played as recorded, e.g. the battery
    stream: Iterator[Delivery]  # every message with its time, faults applied
    script: FaultScript  # its battery curve is published, unless it is empty
    start_ns: int  # recording time at t = 0
    speed: float  # 1 is real time
    node_arguments: Sequence[str]  # command line of fuse_node
    domain_id: int  # ROS domain of this run
    log_path: Path  # where fuse_node's output goes


@dataclass(frozen=True)
class PlayedRun:
    """What fuse_node published while a recording was played; times in seconds since the recording began."""

    predictions: Sequence[PredictionRow]
    statuses: Sequence[StatusRow]
    power: Sequence[PowerRow]
    model: ModelFacts
    end_s: float  # seconds of the recording that were played
    exit_status: int  # of fuse_node
    last_words: str  # end of its log


def prepare(task: ReplayTask) -> PreparedReplay:
    """Read and check everything that a task names. Raises SentryFuseError."""
    if task.repeat < 1 or not 0.05 <= task.speed <= 20 or task.gap_s < 0 or (task.to_s is not None and task.to_s <= 0):
        raise ParameterError(
            "replay",
            f"repeat {task.repeat}, speed {task.speed}, gap {task.gap_s}, to {task.to_s}",
            "repeat >= 1, speed 0.05 to 20, gap >= 0, to > 0",
        )
    if task.domain_id is not None and not 0 <= task.domain_id <= 101:
        raise ParameterError("--domain-id", task.domain_id, "0 to 101 (the ports of higher domains are in use by Linux)")
    model = str(model_path(task.model).absolute()) if task.model else None
    bag = Bag(task.bag)
    params_file = task.params_file or share_path("config", "fuse.yaml")
    settings = build_settings(read_yaml(params_file))
    script = read_script(task.faults) if task.faults else FaultScript()
    matched = match_sensors(bag, settings.sensors, task.topics)
    if not matched:
        raise SentryFuseError(
            f"bag {task.bag}",
            "topics " + ", ".join(f"{t.name} ({t.msg_type})" for t in bag.topics.values()),
            "at least one camera, imu, audio or lidar topic",
        )
    names = {s.name for s in settings.sensors}
    for fault in script.faults:
        if fault.sensor not in names:
            raise ParameterError(f"fault file {task.faults} sensor", repr(fault.sensor), "one of " + ", ".join(sorted(names)))
    if task.to_s is not None:
        script = replace(script, faults=tuple(f for f in script.faults if f.from_s < task.to_s))
    battery = None if script.battery else find_battery(bag)
    schedule = Schedule(
        matched,
        (battery.name,) if battery else (),
        script,
        task.repeat,
        task.gap_s,
        float("inf") if task.to_s is None else task.to_s,
    )
    labels = read_truth(bag, task.labels)
    if labels is not None:
        labels = labels.repeated(task.repeat, round(schedule.period_s(bag) * NS_PER_S))
    # By default a domain of its own, so that the messages do not reach a robot nearby.
    domain_id = task.domain_id if task.domain_id is not None else 1 + os.getpid() % 100
    return PreparedReplay(task, bag, settings, params_file.absolute(), model, schedule, battery, labels, domain_id)


def read_truth(bag: Bag, source: str | None) -> Labels | None:
    """The labels of a bag from the start of its recording on, from a topic or an intervals file.

    Without a source, from intervals.csv beside the bag; None if there is none. Raises DataError or BagError.
    """
    if source is None:
        beside = find_intervals(bag.path)
        if beside is None:
            return None
        source = str(beside.absolute())
    return labels_of_run(read_labels(bag, source), source, bag.start_ns, bag.duration_s)


def node_arguments(prepared: PreparedReplay) -> list[str]:
    """The command line of fuse_node for a replay."""
    arguments = ["--ros-args", "--params-file", str(prepared.params_file), "-p", "use_sim_time:=true", "-p", "autostart:=true"]
    if prepared.model:
        arguments += ["-p", f"model:={prepared.model}"]
    for name, topic in prepared.schedule.sensors.items():
        arguments += ["-p", f"{name}.topic:={topic.name}", "-p", f"{name}.type:={topic.msg_type}"]
    return arguments + ["-p", f"battery_topic:={prepared.battery.name if prepared.battery else BATTERY_TOPIC}"]


def judge(prepared: PreparedReplay, played: PlayedRun, delivered: DeliveryLog) -> RunResult:
    """Hold what fuse_node published against its promises and against the labels."""
    task, schedule = prepared.task, prepared.schedule
    limits = limits_of(prepared.settings, delivered)
    summary = summarise(played.predictions, played.statuses, schedule.script.faults, delivered, limits, played.end_s)
    if played.exit_status != 0:
        broken = f"fuse_node ended with {played.exit_status}: {played.last_words}"
        summary = replace(summary, promises_broken=(*summary.promises_broken, broken))
    recorded_s = task.repeat * schedule.period_s(prepared.bag) - task.gap_s
    record = record_of(prepared, played, min(played.end_s, schedule.to_s, recorded_s))
    sensors = {name: topic.name for name, topic in schedule.sensors.items()}
    return RunResult(record, summary, score_run(record), str(task.bag), sensors, played.exit_status)


def limits_of(settings: Settings, delivered: DeliveryLog) -> Limits:
    """The promises in numbers for a configuration; the period of a sensor is measured if none is configured."""
    sensors = {}
    for s in settings.sensors:
        rate_hz = s.expected_rate_hz
        period_s = 1.0 / rate_hz if rate_hz else median_period_s(delivered.sound_s.get(s.name, []))
        sensors[s.name] = SensorLimits(
            s.timeout_s or automatic_timeout_s(period_s),
            s.good_samples,
            s.frozen_samples,
            s.invalid_samples,
            period_s,
            s.max_latency_s,
        )
    return Limits(1.0 / settings["fuse_rate_hz"], sensors)


def median_period_s(times_s: Sequence[float]) -> float:
    """The median time between two messages [s]."""
    steps = sorted(b - a for a, b in zip(times_s, times_s[1:]))
    return steps[len(steps) // 2] if steps else UNKNOWN_PERIOD_S


def record_of(prepared: PreparedReplay, played: PlayedRun, end_s: float) -> RunRecord:
    """What fuse_node published before the end of the recording; that all sensors fall silent afterwards is not part of it."""
    try:
        description = read_run_description(prepared.bag.path)
    except DataError:  # the file belongs to something else
        description = None
    environment = (
        f"ROS 2 {os.environ.get('ROS_DISTRO', '')}, Python {platform.python_version()}, {platform.machine()}, "
        f"{os.cpu_count()} CPUs"
    )
    return RunRecord(
        prepared.bag.path.name,
        [p for p in played.predictions if p.t_s <= end_s],
        [s for s in played.statuses if s.t_s <= end_s],
        prepared.schedule.script,
        end_s,
        [p for p in played.power if p.t_s <= end_s],
        prepared.labels,
        played.model,
        description=description,
        environment=environment,
    )


def with_frames(result: RunResult, prepared: PreparedReplay, times_s: Sequence[float]) -> RunResult:
    """The result with the pictures that the bag's first camera had recorded at some times."""
    camera = next((name for name, topic in prepared.schedule.sensors.items() if shows_pictures(topic.msg_type)), None)
    if camera is None:
        return result
    with Bag(prepared.task.bag) as bag:
        topic, period_s = prepared.schedule.sensors[camera], prepared.schedule.period_s(bag)
        frames = frames_of_run(bag, topic, times_s, period_s)
    return replace(result, record=replace(result.record, frames=frames, camera=camera))
