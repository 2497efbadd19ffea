"""From a replay's task to what will be played: everything is read and checked before anything is started."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from ..bags.bag import Bag
from ..bags.label_sources import find_intervals, read_labels
from ..bags.labels import Labels
from ..bags.sensor_topics import SensorTopics, find_battery, match_sensors
from ..bags.topic_facts import TopicFacts, stamp_warning, topic_facts
from ..errors import BagError, ParameterError
from ..model.checkpoint import read_checkpoint
from ..nanoseconds import NS_PER_S
from ..paths import model_path, share_path
from ..preprocessing import ModalitySpec
from ..sensing.input_source import candidates
from ..settings import Settings, build_settings, named_topics, read_yaml, unknown_names
from .faults import FaultScript, read_script
from .schedule import Schedule
from .scores import labels_of_run
from .session import PreparedReplay, ReplayTask

LONGEST_GAP_S = 86400.0  # between two passes of a recording


def prepare(task: ReplayTask) -> PreparedReplay:
    """Read and check everything that a task names. Raises SentryFuseError."""
    _check_numbers(task)
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
    found.check_any(bag)
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
        *fault_warnings(script, found, schedule.end_s(bag)),
    ]
    return PreparedReplay(
        task,
        bag,
        settings,
        flat,
        model,
        specs,
        found,
        facts,
        schedule,
        battery,
        labels,
        tuple(warnings),
    )


def _check_numbers(task: ReplayTask) -> None:
    for option, value, allowed, expected in (
        ("--repeat", task.repeat, task.repeat >= 1, "1 or more"),
        ("--speed", task.speed, 0.05 <= task.speed <= 20, "0.05 to 20"),
        ("--gap", task.gap_s, 0 <= task.gap_s <= LONGEST_GAP_S, f"0 to {LONGEST_GAP_S:g} s"),
        ("--to", task.to_s, task.to_s is None or task.to_s > 0, "more than 0 s"),
    ):
        if not allowed:
            raise ParameterError(option, value, expected)


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
        sources = [parts for parts in candidates(settings.sensors, spec.name) if all(s.name in found.topics for s in parts)]
        serving = [sensor for parts in sources for sensor in parts]
        if not serving:
            warnings.append(f"no sensor for the model's input {spec.name}: it is predicted without it")
        warnings += [
            f"{s.name}: sends {facts[s.name].rate_hz:.3g} Hz, and the model's input {spec.name} has {spec.grid_rate_hz:g} Hz"
            for s in serving
            if spec.is_finer_than(facts[s.name].rate_hz)
        ]
    longest = max(specs, key=lambda spec: spec.window_s)
    if duration_s < longest.window_s:
        warnings.append(
            f"the recording lasts {duration_s:.1f} s, and the model looks back {longest.window_s:g} s: no window is ever full"
        )
    return warnings


def fault_warnings(script: FaultScript, found: SensorTopics, end_s: float) -> list[str]:
    """Faults that are never injected, because they begin after the end of the recording, or it does not have their sensor."""
    warnings = []
    for fault in script.faults:
        if fault.sensor not in found.topics:
            warnings.append(f"fault {fault.describe()} is never injected: the recording does not have this sensor")
        elif fault.from_s >= end_s:
            warnings.append(f"fault {fault.describe()} is never injected: the recording ends after {end_s:.1f} s")
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
