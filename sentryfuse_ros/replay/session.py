"""One replay from its task to its result. In between, `nodes.door.replay_over_topics` plays the recording into a fuse_node."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..bags.bag import Bag, Topic
from ..bags.label_sources import find_intervals, read_labels
from ..bags.labels import Labels
from ..bags.run_description import read_run_description
from ..bags.sensor_topics import SensorTopics, find_battery, match_sensors
from ..bags.topic_facts import TopicFacts, stamp_warning, topic_facts
from ..errors import BagError, DataError, ParameterError
from ..model.checkpoint import read_checkpoint
from ..nanoseconds import NS_PER_S
from ..paths import model_path, share_path
from ..preprocessing import ModalitySpec
from ..sensing.rates import automatic_timeout_s
from ..sensor_kinds import sensor_kind
from ..settings import Settings, build_settings, named_topics, read_yaml, unknown_names
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
    """A task whose bag, parameters, faults and labels have been read and checked.

    specs: the inputs of the model. found: the topic of each sensor. facts: sensor -> what its topic tells. battery: the topic
    that is played. warnings: what will keep a sensor from being used, or is not as the parameters say.
    """

    task: ReplayTask
    bag: Bag
    settings: Settings
    params_file: Path
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
    holes: Sequence[tuple[float, float]] = ()  # silences of the recording that were skipped, from and to [s]


def prepare(task: ReplayTask) -> PreparedReplay:
    """Read and check everything that a task names. Raises SentryFuseError."""
    if task.repeat < 1 or not 0.05 <= task.speed <= 20 or task.gap_s < 0 or (task.to_s is not None and task.to_s <= 0):
        raise ParameterError(
            "replay",
            f"repeat {task.repeat}, speed {task.speed}, gap {task.gap_s}, to {task.to_s}",
            "repeat >= 1, speed 0.05 to 20, gap >= 0, to > 0",
        )
    model = str(model_path(task.model).absolute()) if task.model else None
    bag = Bag(task.bag)
    params_file = task.params_file or share_path("config", "fuse.yaml")
    flat = read_yaml(params_file)
    settings = build_settings(flat)
    specs = tuple(read_checkpoint(model or model_path(settings["model"])).config.modalities)
    script = read_script(task.faults) if task.faults else FaultScript()
    # The shipped parameter file names topics too, but only a file of the user's own says what this robot's topics are.
    named = named_topics(flat) if task.params_file else frozenset()
    found = match_sensors(bag, settings.sensors, task.topics, named)
    if not found.topics:
        raise BagError(
            f"bag {task.bag}",
            "topics " + ", ".join(f"{t.name} ({t.msg_type}, {t.count} messages)" for t in bag.topics.values()),
            "a topic for one of the sensors",
            "; ".join(f"{name}: {why}" for name, why in found.absent.items()),
        )
    names = {s.name for s in settings.sensors}
    for fault in script.faults:
        if fault.sensor not in names:
            raise ParameterError(f"fault file {task.faults} sensor", repr(fault.sensor), "one of " + ", ".join(sorted(names)))
    if task.to_s is not None:
        script = replace(script, faults=tuple(f for f in script.faults if f.from_s < task.to_s))
    battery = None if script.battery else find_battery(bag, settings["battery_topic"], "battery" in named)
    played = [topic.name for topic in found.topics.values()] + ([battery.name] if battery else [])
    schedule = Schedule(
        found.topics,
        next((time_ns for _, time_ns, _ in bag.messages(played)), bag.start_ns),
        (battery.name,) if battery else (),
        script,
        task.repeat,
        task.gap_s,
        float("inf") if task.to_s is None else task.to_s,
        {s.name: s for s in settings.sensors},
    )
    labels = read_truth(bag, task.labels, schedule.start_ns)
    if labels is not None:
        labels = labels.repeated(task.repeat, round(schedule.period_s(bag) * NS_PER_S))
    facts = {name: topic_facts(bag, topic) for name, topic in found.topics.items()}
    warnings = [
        *unknown_names(flat, names),
        *found.remarks,
        *(warning for s in settings.sensors if s.name in facts and (warning := stamp_warning(facts[s.name], s))),
        *input_warnings(specs, settings, found, facts, schedule.duration_s(bag)),
    ]
    return PreparedReplay(
        task,
        bag,
        settings,
        params_file.absolute(),
        model,
        specs,
        found,
        facts,
        schedule,
        battery,
        labels,
        tuple(warnings),
    )


def without_types(prepared: PreparedReplay, absent: Collection[str]) -> PreparedReplay:
    """The replay without the topics whose message types are not installed. Raises BagError if none is left."""
    schedule = prepared.schedule
    left = {name: topic for name, topic in schedule.sensors.items() if topic.msg_type not in absent}
    if len(left) == len(schedule.sensors):
        return prepared
    lost = [
        f"{name}: {topic.name} is not played, because {topic.msg_type} is not installed"
        for name, topic in schedule.sensors.items()
        if name not in left
    ]
    if not left:
        raise BagError(f"bag {prepared.bag.path}", "; ".join(lost), "an installed message type", "install its package")
    return replace(prepared, schedule=replace(schedule, sensors=left), warnings=(*prepared.warnings, *lost))


def input_warnings(
    specs: Sequence[ModalitySpec],
    settings: Settings,
    found: SensorTopics,
    facts: Mapping[str, TopicFacts],
    duration_s: float,
) -> list[str]:
    """Inputs of the model that no sensor serves, or one that is too slow for them, and recordings shorter than a window."""
    warnings = []
    for spec in specs:
        serving = [s for s in settings.sensors if s.model_input == spec.name and s.name in found.topics]
        if not serving:
            warnings.append(f"no sensor for the model's input {spec.name}: it is predicted without it")
        warnings += [
            f"{s.name}: sends {facts[s.name].rate_hz:.3g} Hz, and the model's input {spec.name} has {spec.grid_rate_hz:.3g} Hz"
            for s in serving
            if spec.is_finer_than(facts[s.name].rate_hz)
        ]
    longest = max(specs, key=lambda spec: spec.window_s)
    if duration_s < longest.window_s:
        warnings.append(
            f"the recording lasts {duration_s:.1f} s, and the model looks back {longest.window_s:g} s: no window is ever full"
        )
    return warnings


def read_truth(bag: Bag, source: str | None, start_ns: int) -> Labels | None:
    """The labels of a bag from ``start_ns`` on, from a topic or an intervals file.

    Without a source, from intervals.csv beside the bag; None if there is none. Raises DataError or BagError.
    """
    if source is None:
        beside = find_intervals(bag.path)
        if beside is None:
            return None
        source = str(beside.absolute())
    left_s = bag.duration_s - (start_ns - bag.start_ns) / NS_PER_S
    return labels_of_run(read_labels(bag, source), source, start_ns, left_s)


def node_arguments(prepared: PreparedReplay) -> list[str]:
    """The command line of fuse_node for a replay."""
    arguments = ["--ros-args", "--params-file", str(prepared.params_file), "-p", "use_sim_time:=true", "-p", "autostart:=true"]
    if prepared.model:
        arguments += ["-p", f"model:={prepared.model}"]
    for name, topic in prepared.schedule.sensors.items():
        arguments += ["-p", f"{name}.topic:={topic.name}", "-p", f"{name}.type:={topic.msg_type}"]
    for sensor in prepared.settings.sensors:
        if sensor.name in prepared.found.topics and sensor.name not in prepared.schedule.sensors:  # its type is not installed
            arguments += ["-p", f"{sensor.name}.type:={sensor_kind(sensor.kind).default_msg_type}"]
    return arguments + ["-p", f"battery_topic:={prepared.battery.name if prepared.battery else BATTERY_TOPIC}"]


def judge(prepared: PreparedReplay, played: PlayedRun, delivered: DeliveryLog) -> RunResult:
    """Hold what fuse_node published against its promises and against the labels."""
    task, schedule = prepared.task, prepared.schedule
    limits = limits_of(prepared.settings, delivered)
    summary = summarise(played.predictions, played.statuses, schedule.script.faults, delivered, limits, played.end_s)
    if not summary.valid_predictions:
        why = "; ".join(reasons_of_silence(played.statuses)) or "no sensor was ever seen"
        summary = replace(summary, promises_broken=(*summary.promises_broken, f"no valid prediction: {why}"))
    if played.exit_status != 0:
        broken = f"fuse_node ended with {played.exit_status}: {played.last_words}"
        summary = replace(summary, promises_broken=(*summary.promises_broken, broken))
    recorded_s = task.repeat * schedule.period_s(prepared.bag) - task.gap_s
    record = record_of(prepared, played, min(played.end_s, schedule.to_s, recorded_s))
    sensors = {name: topic.name for name, topic in schedule.sensors.items()}
    return RunResult(
        record, summary, score_run(record), str(task.bag), sensors, played.exit_status, played.holes, prepared.bag.damage
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


def reasons_of_silence(statuses: Sequence[StatusRow]) -> list[str]:
    """For every sensor that sent something and was never OK, the state that it had most often, with its latest reason."""
    lines = []
    for name in sorted({name for row in statuses for name in row.states}):
        seen = [row.of(name) for row in statuses]
        states = Counter(status.state for status in seen if status.state != "NEVER_SEEN")
        if states and "OK" not in states:
            state = states.most_common(1)[0][0]
            reason = next(status.reason for status in reversed(seen) if status.state == state)
            lines.append(f"{name} {state} ({reason})")
    return lines


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
