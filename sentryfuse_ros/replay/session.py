"""One replay from its task to its result. In between, `nodes.door.replay_over_topics` plays the recording into a fuse_node."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..bags.bag import Bag, Topic
from ..bags.labels import Labels
from ..bags.run_description import read_run_description
from ..bags.sensor_topics import SensorTopics
from ..bags.topic_facts import TopicFacts
from ..errors import DataError
from ..machine import ros_distribution
from ..preprocessing import ModalitySpec
from ..sensing.rates import automatic_timeout_s
from ..sensor_kinds import sensor_kind
from ..settings import Settings, text_argument
from .faults import FaultScript
from .frames import frames_of_run, shows_pictures
from .judge import Limits, SensorLimits
from .recorded_state import recorded_state
from .result_bag import ResultBag
from .run_record import CaptionRow, ModelFacts, PowerRow, PredictionRow, RunRecord, StatusRow, StreamRow
from .run_summary import RunResult, summarise
from .schedule import Delivery, DeliveryLog, Schedule
from .scores import score_run
from .stream_scores import score_stream

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
    """A task whose bag, parameters, faults and labels have been read and checked.

    parameters: as they were read, by flat names. specs: the inputs of the model. found: the topic of each sensor. facts: sensor
    -> what its topic tells. battery: the topic that is played. warnings: what will keep a sensor from being used, or is not as
    the parameters say.
    """

    task: ReplayTask
    bag: Bag
    settings: Settings
    parameters: Mapping[str, Any]
    model: str | None
    specs: tuple[ModalitySpec, ...]
    found: SensorTopics
    facts: Mapping[str, TopicFacts]
    schedule: Schedule
    battery: Topic | None
    labels: Labels | None
    warnings: tuple[str, ...] = ()


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
    result: ResultBag | None = None  # where what is published is written to, and the inputs that it wants


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
    captions: Sequence[CaptionRow] = ()
    streams: Sequence[StreamRow] = ()
    holes: Sequence[tuple[float, float]] = ()  # silences of the recording that were skipped, from and to [s]
    end_wall_s: float | None = None  # when the playback ended, on the clock of `PredictionRow.wall_s`


def node_arguments(prepared: PreparedReplay, params_file: Path) -> list[str]:
    """The command line of fuse_node for a replay. ``params_file`` has the parameters of ``prepared``, for every node."""
    arguments = ["--ros-args", "--params-file", str(params_file.absolute()), "-p", "use_sim_time:=true", "-p", "autostart:=true"]
    if prepared.model:
        arguments += ["-p", text_argument("model", prepared.model)]
    for name, topic in prepared.schedule.sensors.items():
        arguments += ["-p", f"{name}.topic:={topic.name}", "-p", f"{name}.type:={topic.msg_type}"]
    sensors = {sensor.name: sensor_kind(sensor.kind) for sensor in prepared.settings.sensors}
    for name, kind in list(sensors.items()):
        if name in prepared.found.topics and name not in prepared.schedule.sensors:  # its type is not installed
            if kind.default_msg_type:
                arguments += ["-p", f"{name}.type:={kind.default_msg_type}"]
            else:
                del sensors[name]
    if len(sensors) < len(prepared.settings.sensors):
        arguments += ["-p", f"sensors:=[{', '.join(sensors)}]"]
    return arguments + ["-p", f"battery_topic:={prepared.battery.name if prepared.battery else BATTERY_TOPIC}"]


def judge(prepared: PreparedReplay, played: PlayedRun, delivered: DeliveryLog) -> RunResult:
    """Hold what fuse_node published against its promises and against the labels."""
    task, schedule = prepared.task, prepared.schedule
    limits = replace(limits_of(prepared.settings, delivered), speed=task.speed)
    recorded = recorded_state(prepared.bag, schedule, prepared.specs)
    summary = summarise(
        played.predictions,
        played.statuses,
        schedule.script.faults,
        delivered,
        limits,
        played.end_s,
        recorded,
        played.end_wall_s,
    )
    if played.exit_status != 0:
        broken = f"fuse_node ended with {played.exit_status}: {played.last_words}"
        summary = replace(summary, promises_broken=(*summary.promises_broken, broken))
    recorded_s = task.repeat * schedule.period_s(prepared.bag) - task.gap_s
    record = record_of(prepared, played, min(played.end_s, schedule.to_s, recorded_s))
    sensors = {name: topic.name for name, topic in schedule.sensors.items()}
    return RunResult(
        record,
        summary,
        score_run(record),
        str(task.bag),
        score_stream(record),
        sensors,
        played.exit_status,
        played.holes,
        prepared.bag.damage,
        task.speed,
    )


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
    environment = f"ROS 2 {ros_distribution()}, Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} CPUs"
    return RunRecord(
        prepared.bag.name,
        [p for p in played.predictions if p.t_s <= end_s],
        [s for s in played.statuses if s.t_s <= end_s],
        prepared.schedule.script,
        end_s,
        [p for p in played.power if p.t_s <= end_s],
        prepared.labels,
        played.model,
        description=description,
        environment=environment,
        captions=[c for c in played.captions if c.t_s <= end_s],
        streams=[s for s in played.streams if s.t_s <= end_s],
    )


def with_frames(result: RunResult, prepared: PreparedReplay, times_s: Sequence[float]) -> RunResult:
    """The result with the pictures that the bag's first camera had recorded at some times."""
    camera = next((name for name, topic in prepared.schedule.sensors.items() if shows_pictures(topic.msg_type)), None)
    if camera is None:
        return result
    with Bag(prepared.task.bag) as bag:
        topic, period_s = prepared.schedule.sensors[camera], prepared.schedule.period_s(bag)
        frames = frames_of_run(bag, topic, times_s, period_s, prepared.schedule.start_ns)
    return replace(result, record=replace(result.record, frames=frames, camera=camera))
