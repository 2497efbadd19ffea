"""Extract labelled windows from one recording with the code that runs on the robot: decoders, liveness, buffers, inputs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..bags.bag import Bag, Topic
from ..bags.labels import Labels
from ..bags.message_types import definition_of, deserialiser
from ..bags.sensor_topics import match_sensors
from ..bags.topic_facts import TopicFacts, topic_facts
from ..errors import BagError
from ..nanoseconds import NS_PER_S
from ..preprocessing import ModalitySpec, empty_input
from ..sensing.liveness import State
from ..sensing.model_inputs import extract_inputs, slots_of
from ..sensing.sensor import Sensor
from ..settings import SensorSettings

# Why a moment gave no window.
FILLING = "before the first full window"
CHANGES = "no label holds throughout the window"
NO_LABEL = "no label there"
NOTHING_LIVE = "no live sensor"
JUMP = "before a jump of the recording's clock"
REFUSING = (State.LATE, State.FROZEN, State.INVALID)  # the messages come, and cannot be used
JUMP_NS = 600 * NS_PER_S  # a longer silence is skipped: somebody set the clock, for example from 1970 to today
FILLING_SHARE = 20  # the first window may lack one part in this many: a few samples


@dataclass(frozen=True)
class WindowSettings:
    """Which windows to extract: what they look like, from which sensors, how often, and which labels to leave out.

    classes: the labels that there are, in the order of the model's classes; (): whatever occurs, in alphabetical order.
    label_at: "end" labels a window by what holds at its end, "whole" keeps only windows throughout which one label holds. chosen:
    sensor -> topic of the bags. named: the sensors whose topic the user named; no other topic serves them.
    """

    specs: tuple[ModalitySpec, ...]
    sensors: tuple[SensorSettings, ...]
    stride_s: float = 0.5
    ignore: tuple[str, ...] = ()
    label_at: str = "end"
    classes: tuple[str, ...] = ()
    chosen: Mapping[str, str] = field(default_factory=dict)
    named: frozenset[str] = frozenset()


@dataclass(frozen=True)
class BagWindows:
    """n windows of one bag, and what was left out.

    inputs: name -> (n, *shape) float32. labels: n names. end_ns (n,) int64. live (n, M) bool in the order of the specs. steady
    (n,) bool: one label held throughout. since_change_s (n,): from the change of the label to the end, NaN without one. skipped:
    reason -> number of moments without a window. topics: sensor -> topic, and rates_hz: how fast it sends. types: of the topics.
    absent: sensor -> why it has no topic. remarks: on the choice of the topics and the length. unused: topic -> type. faults:
    sensor -> how many of its messages were refused, and the latest reason.
    """

    inputs: Mapping[str, np.ndarray]
    labels: Sequence[str]
    end_ns: np.ndarray
    live: np.ndarray
    steady: np.ndarray
    since_change_s: np.ndarray
    skipped: Counter[str]
    topics: Mapping[str, str]
    rates_hz: Mapping[str, float]
    types: Mapping[str, str]
    absent: Mapping[str, str]
    remarks: Sequence[str]
    unused: Mapping[str, str]
    faults: Mapping[str, str]


def ignored(label: str) -> str:
    """Why the moments of a label that the user does not want have no window."""
    return f"label {label!r} ignored"


def extract_windows(bag: Bag, labels: Labels, settings: WindowSettings) -> BagWindows:
    """Every ``stride_s`` the windows that the robot would have had at that moment.

    The longest of them decides whether one label held throughout. Sensors without a topic in the bag are absent. Raises BagError
    if the bag has no topic for any of the specs, or a sensor is too slow for its spec.
    """
    wanted = [s for s in settings.sensors if s.model_input in {spec.name for spec in settings.specs}]
    unused = {s.name for s in settings.sensors} - {s.name for s in wanted}
    chosen = {name: topic for name, topic in settings.chosen.items() if name not in unused}
    found = match_sensors(bag, wanted, chosen, settings.named)
    matched = found.topics
    if not matched:
        raise BagError(
            f"bag {bag.path}",
            "topics " + ", ".join(f"{t.name} ({t.msg_type})" for t in bag.topics.values()),
            "a topic for one of " + ", ".join(f"{s.name} ({s.kind}, {s.topic})" for s in wanted),
            "; ".join(f"{name}: {why}" for name, why in found.absent.items()),
        )
    facts = {name: topic_facts(bag, topic) for name, topic in matched.items()}
    _check_rates(bag, wanted, facts, settings.specs)
    sensors = {s.name: _sensor(bag, s, matched[s.name], settings.specs) for s in wanted if s.name in matched}
    topics = {name: topic.name for name, topic in matched.items()}
    extraction = _Extraction(sensors, wanted, labels, settings, bag.start_ns)
    extraction.run(bag, topics)
    return BagWindows(
        {
            spec.name: np.array([x[spec.name] for x in extraction.inputs], np.float32).reshape(-1, *spec.shape)
            for spec in settings.specs
        },
        extraction.labels,
        np.array(extraction.end_ns, np.int64),
        np.array(extraction.live, bool).reshape(-1, len(settings.specs)),
        np.array(extraction.steady, bool),
        np.array(extraction.since_change_s, np.float64),
        extraction.skipped,
        topics,
        {name: round(fact.rate_hz, 2) for name, fact in facts.items()},
        {topic.name: topic.msg_type for topic in matched.values()},
        found.absent,
        (*found.remarks, *_too_short(bag, settings.specs)),
        {t.name: t.msg_type for t in bag.topics.values() if t.name not in topics.values()},
        extraction.faults(),
    )


def _sensor(bag: Bag, settings: SensorSettings, topic: Topic, specs: Sequence[ModalitySpec]) -> Sensor:
    """The sensor as the robot has it, for a topic of the bag."""
    definition = definition_of(bag, topic.name) if settings.fields else None
    return Sensor(replace(settings, msg_type=topic.msg_type), specs, deserialiser(bag, topic.name), definition=definition)


def _too_short(bag: Bag, specs: Sequence[ModalitySpec]) -> list[str]:
    """A remark if the recording is shorter than a window."""
    longest = max(specs, key=lambda spec: spec.window_s)
    if bag.duration_s >= longest.window_s:
        return []
    return [f"the recording lasts {bag.duration_s:.1f} s, and a window of {longest.name} {longest.window_s:g} s"]


def _check_rates(
    bag: Bag, sensors: Sequence[SensorSettings], facts: Mapping[str, TopicFacts], specs: Sequence[ModalitySpec]
) -> None:
    """Raises BagError if a sensor sends fewer messages than its model input has steps: the input would mostly repeat itself."""
    for sensor in sensors:
        spec = next(spec for spec in specs if spec.name == sensor.model_input)
        rate_hz = facts[sensor.name].rate_hz if sensor.name in facts else 0.0
        if spec.is_finer_than(rate_hz):
            raise BagError(
                f"bag {bag.path} {sensor.name}",
                f"{rate_hz:.3g} messages per second",
                f"at least {spec.grid_rate_hz:g}, the steps per second of the modality {spec.name}",
                "make the first size of its shape smaller or its window longer, or leave this bag out",
            )


class _Extraction:
    """Plays a bag into sensors and collects windows."""

    def __init__(
        self,
        sensors: Mapping[str, Sensor],
        wanted: Sequence[SensorSettings],
        all_labels: Labels,
        settings: WindowSettings,
        start_ns: int,
    ):
        """``wanted``: the settings of all sensors that serve the model, those without a topic in the bag included."""
        self.inputs: list[dict[str, np.ndarray]] = []
        self.labels: list[str] = []
        self.end_ns: list[int] = []
        self.live: list[np.ndarray] = []
        self.steady: list[bool] = []
        self.since_change_s: list[float] = []
        self.skipped: Counter[str] = Counter()
        self._sensors, self._all_labels, self._settings = sensors, all_labels, settings
        self._slots = slots_of(sensors, settings.specs, wanted)
        self._blank = {spec.name: empty_input(spec) for spec in settings.specs}
        self._window_ns = round(max(spec.window_s for spec in settings.specs) * NS_PER_S)
        self._first_end_ns = self._full_from(start_ns)
        self._bad: dict[str, str] = {}  # sensor -> the latest reason for which its messages were not used
        self._was_ok: set[str] = set()
        self._waiting: dict[str, tuple[list[bytes], list[int]]] = {name: ([], []) for name in sensors}

    def run(self, bag: Bag, topics: Mapping[str, str]) -> None:
        """Play the whole bag; ``topics``: sensor -> topic."""
        waiting_of: dict[str, list[tuple[list[bytes], list[int]]]] = {}  # several sensors may read one topic
        for name, topic in topics.items():
            waiting_of.setdefault(topic, []).append(self._waiting[name])
        stride_ns = round(self._settings.stride_s * NS_PER_S)
        due_ns = bag.start_ns + stride_ns
        for topic, time_ns, raw in bag.messages(list(waiting_of)):
            if time_ns - due_ns > JUMP_NS:
                self._look(due_ns)
                self.skipped[JUMP] += 1
                due_ns = time_ns + stride_ns
                self._first_end_ns = self._full_from(time_ns)
            while time_ns > due_ns:
                self._look(due_ns)
                due_ns += stride_ns
            for messages, times in waiting_of[topic]:
                messages.append(raw)
                times.append(time_ns)

    def _full_from(self, begin_ns: int) -> int:
        """Earliest end of a window that is full of what came from this time on."""
        return begin_ns + self._window_ns - self._window_ns // FILLING_SHARE

    def faults(self) -> dict[str, str]:
        """By sensor: how many messages were refused and why, or why it could never be used although it sent."""
        texts = {}
        for name, sensor in self._sensors.items():
            status = sensor.status
            if status is not None and status.invalid:
                why = sensor.error or self._bad.get(name, "see its parameters in docs/LIVENESS.md")
                texts[name] = f"{status.invalid} of {status.received} messages refused: {why}"
            elif name in self._bad and name not in self._was_ok:
                texts[name] = f"none of its {status.received if status else 0} messages could be used: {self._bad[name]}"
        return texts

    def _look(self, now_ns: int) -> None:
        """Take the windows of this moment, or count why there are none."""
        for name, (messages, times) in self._waiting.items():
            if messages:
                self._sensors[name].feed(messages, np.array(times, np.int64), now_ns, now_ns)
                messages.clear()
                times.clear()
        statuses = {s.name: s.check(now_ns, now_ns) for s in self._sensors.values()}
        for name, status in statuses.items():
            if status.state == State.OK:
                self._was_ok.add(name)
            elif status.state in REFUSING:
                self._bad[name] = status.reason
        taken = extract_inputs(self._slots, statuses, now_ns)
        end_ns = taken.snapshot.end_ns
        label = self._all_labels.at(end_ns - 1)  # the sample at the end belongs to the time before it
        steady = len(self._all_labels.covering(end_ns - self._window_ns, end_ns)) == 1
        if not taken.inputs:
            self.skipped[NOTHING_LIVE] += 1
        elif end_ns < self._first_end_ns:
            self.skipped[FILLING] += 1
        elif not label:
            self.skipped[NO_LABEL] += 1
        elif label in self._settings.ignore:
            self.skipped[ignored(label)] += 1
        elif self._settings.classes and label not in self._settings.classes:
            self.skipped[f"label {label!r} is not among the classes of the recipe"] += 1
        elif not steady and self._settings.label_at == "whole":
            self.skipped[CHANGES] += 1
        else:
            since_s = self._all_labels.seconds_since_change(end_ns - 1)
            self.inputs.append({**self._blank, **taken.windows})
            self.labels.append(label)
            self.steady.append(steady)
            self.since_change_s.append(math.nan if since_s is None else since_s)
            self.end_ns.append(end_ns)
            self.live.append(taken.snapshot.mask.copy())
