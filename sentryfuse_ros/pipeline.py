"""The robot's fuser without ROS: `feed` messages in, `tick` gives a prediction with its mask, ratio and reasons.

    messages -> decoder -> window buffer + liveness -> snapshot at t -> model input -> engine -> prediction

The node calls it from live topics; bags, tests and benches call it straight. Two clocks come in from the caller:
the node clock (header stamps are on it; ROS time) and the arrival clock (steady live, node clock under sim time).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .buffers import WindowBuffer
from .engine import Engine, Inference
from .errors import ParameterError
from .liveness import LivenessConfig, SensorLiveness, State, Status
from .modalities import make_decoder
from .modalities.inputs import ModalitySpec, model_input
from .parameters import SensorSettings, Settings
from .power import GovernorConfig, GovernorState, PowerGovernor
from .sync import Snapshot, take_snapshot

LIVENESS_PARAMETERS = (
    "expected_rate_hz", "timeout_s", "max_latency_s", "future_tolerance_s", "backward_tolerance_s", "trust_stamps",
    "frozen_samples", "invalid_samples", "good_samples", "grace_s", "required",
)
WITHOUT_HEADER = ("audio_common_msgs/msg/AudioData",)


class Sensor:
    """One sensor instance: decoder, liveness, and the buffer where the model uses it."""

    def __init__(self, settings: SensorSettings, specs: Sequence[ModalitySpec], deserialize: Callable[[bytes], Any] | None):
        self.settings = settings
        self.name = settings.name
        self.spec = next((spec for spec in specs if spec.name == settings.model_input), None)
        # A zero stamp where there should be one is a fault; types without a header, and sensors whose stamps are
        # not to be trusted, take the time of arrival.
        limits = dict(settings.limits)
        if not settings.values["trust_stamps"]:
            limits["use_arrival_stamp"] = 1.0
        self.stamp_by_arrival = not settings.values["trust_stamps"] or settings.msg_type in WITHOUT_HEADER
        self.decoder = make_decoder(settings.kind, settings.msg_type, self.spec, limits, deserialize)
        self.liveness = SensorLiveness(LivenessConfig(**{name: settings.values[name] for name in LIVENESS_PARAMETERS}))
        self.buffer: WindowBuffer | None = None  # made with the first rows: their shape is the decoder's to say
        self.status: Status | None = None
        self.error = ""
        self.last_arrival_ns = 0

    def feed(self, messages: Sequence, arrival_ns: np.ndarray, now_node_ns: int, now_arrival_ns: int) -> None:
        """See `Pipeline.feed`."""
        self.last_arrival_ns = int(arrival_ns[-1])
        arrival_node_ns = now_node_ns - (now_arrival_ns - arrival_ns)
        batch = self.decoder.decode(messages, arrival_node_ns if self.stamp_by_arrival else None)
        if batch.error:
            self.error = batch.error
        self.liveness.observe(arrival_ns, int(arrival_node_ns[-1]), batch.stamp_ns, batch.fault, batch.fingerprint)
        if self.spec is None or not len(batch.rows):
            return
        if self.buffer is None:
            self.buffer = WindowBuffer(self.spec.window_s, self._row_rate_hz(), batch.rows.shape[1:], batch.rows.dtype)
        self.buffer.append(batch.row_stamp_ns, batch.rows)

    def check(self, now_node_ns: int, now_arrival_ns: int) -> Status:
        """Liveness now."""
        self.status = self.liveness.update(now_arrival_ns, now_node_ns)
        if self.buffer is not None and self.status.state in (State.FROZEN, State.INVALID):
            self.buffer.clear()  # what a broken sensor said must not be part of a later window
        if self.status.state == State.INVALID and self.error and self.status.reason.startswith("payload"):
            self.status = replace(self.status, reason=f"{self.status.reason}: {self.error}")
        return self.status

    def reset(self) -> None:
        self.liveness.reset()
        self.decoder.reset()
        if self.buffer is not None:
            self.buffer.clear()

    def _row_rate_hz(self) -> float:
        """Rows a second to make room for; the buffer grows where a sensor is faster."""
        if self.settings.kind == "audio":
            return float(self.spec.options.get("sample_rate_hz", 16000))
        expected = self.settings.values["expected_rate_hz"]
        return 2.0 * expected if expected else {"camera": 60.0, "imu": 1000.0, "lidar": 40.0}[self.settings.kind]


@dataclass
class Tick:
    """Everything one inference needs, cut from the buffers: nothing in it is shared with them."""

    sequence: int
    node_ns: int
    snapshot: Snapshot
    inputs: dict[str, np.ndarray]
    mask: np.ndarray  # bool (M,)
    serving: tuple[str, ...]  # sensor per model input, "" where none
    power: GovernorState
    statuses: dict[str, Status]
    newest_age_s: float  # since the newest sample of the live sensors arrived
    waiting_since_s: float = 0.0  # the caller's steady clock at the moment it could have been cut


@dataclass
class Prediction:
    """What `FusedPrediction` carries, without ROS."""

    tick: Tick
    valid: bool
    reason: str
    inference: Inference | None = None
    stamp_ns: int = 0


class Pipeline:
    """Feed messages, tick, get predictions. One thread feeds and snapshots, one (the same or another) infers."""

    def __init__(self, settings: Settings, engine: Engine, deserialize: dict[str, Callable] | None = None):
        self.settings, self.engine = settings, engine
        deserialize = deserialize or {}
        self.sensors = {s.name: Sensor(s, engine.specs, deserialize.get(s.msg_type)) for s in settings.sensors}
        self.slots = tuple(
            tuple(s for s in self.sensors.values() if s.settings.model_input == name) for name in engine.modalities
        )
        self.governor = PowerGovernor(governor_config(settings), engine.ratio_levels)
        self.governor.override(override_of(settings["pruning_ratio_override"]))
        self.power = self.governor.update(0.0)  # the newest decision
        self.governor.reset()
        self.inference_ms: deque[float] = deque(maxlen=100)
        self.sequence = 0
        self.last_node_ns = 0
        self.resets = 0  # backward jumps so far

    def feed(self, sensor: str, messages: Sequence, arrival_ns: np.ndarray, now_node_ns: int, now_arrival_ns: int) -> None:
        """Take `messages` (raw CDR bytes or message objects, oldest first) of one sensor.

        arrival_ns: int64 (n,) on the arrival clock. Bad messages are counted, never raised.
        """
        if messages:
            self.sensors[sensor].feed(messages, arrival_ns, now_node_ns, now_arrival_ns)

    def observe_clock(self, node_ns: int) -> bool:
        """Tell the node clock; a backward jump resets everything and returns True."""
        jumped = node_ns < self.last_node_ns - 1_000_000
        if jumped:
            self.reset()
            self.resets += 1
        self.last_node_ns = node_ns
        return jumped

    def check(self, now_node_ns: int, now_arrival_ns: int) -> dict[str, Status]:
        """Liveness of every sensor now."""
        return {entry.name: entry.check(now_node_ns, now_arrival_ns) for entry in self.sensors.values()}

    def snapshot(self, now_node_ns: int, now_arrival_ns: int) -> Tick:
        """Cut what is live now: the inputs of one inference, copied out of the buffers."""
        statuses = self.check(now_node_ns, now_arrival_ns)
        # Of several sensors for one input the first live one serves: the others are its spares.
        serving = [
            next((s for s in candidates if statuses[s.name].live and s.buffer is not None), None) for candidates in self.slots
        ]
        buffers = {name: s.buffer if s else None for name, s in zip(self.engine.modalities, serving, strict=True)}
        # The window ends at the newest sample, not at the moment of the tick: the same recording then gives the
        # same inputs, whatever the timing of the machine.
        end_ns = min(now_node_ns, max((s.buffer.newest_ns for s in serving if s), default=now_node_ns))
        snapshot = take_snapshot(buffers, [s is not None for s in serving], end_ns)
        inputs = {
            spec.name: model_input(spec, *snapshot.windows[spec.name], snapshot.end_ns)
            for spec in self.engine.specs if spec.name in snapshot.windows
        }
        newest = max((s for s in serving if s), key=lambda s: s.buffer.newest_ns, default=None)
        self.sequence += 1
        power = self.governor.update(now_arrival_ns * 1e-9)
        if power.ratio != self.power.ratio:
            self.inference_ms.clear()  # times of the old ratio would have the latency target overshoot
        self.power = power
        return Tick(
            self.sequence, now_node_ns, snapshot, inputs, snapshot.mask,
            tuple(s.name if s and used else "" for s, used in zip(serving, snapshot.mask, strict=True)),
            self.power, statuses, max(0.0, newest.status.age_s) if newest else 0.0,
        )

    def sample_expected(self, now_arrival_ns: int) -> bool:
        """Whether a live sensor's next sample is about to come: waiting a moment gives a fresher prediction."""
        for entry in self.sensors.values():
            status = entry.status
            if entry.spec is not None and status is not None and status.live and status.rate_hz > 0:
                if (now_arrival_ns - entry.last_arrival_ns) * 1e-9 < 1.5 / status.rate_hz:
                    return True
        return False

    def infer(self, tick: Tick) -> Prediction:
        """Run the model on a snapshot. With no live sensor: a prediction that says so."""
        if not tick.mask.any():
            return Prediction(tick, False, self.why_blind(tick.statuses), stamp_ns=tick.node_ns)
        inference = self.engine.infer(tick.inputs, tick.mask, tick.power.ratio)
        self.inference_ms.append(inference.duration_s * 1e3)
        if not np.isfinite(inference.probabilities).all():
            return Prediction(tick, False, "the model gave numbers that are not finite", stamp_ns=tick.node_ns)
        return Prediction(tick, True, "", inference, tick.snapshot.newest_ns)

    def tick(self, now_node_ns: int, now_arrival_ns: int | None = None) -> Prediction:
        """Snapshot and inference in one call, for use without threads."""
        prediction = self.infer(self.snapshot(now_node_ns, now_node_ns if now_arrival_ns is None else now_arrival_ns))
        self.report_latency((now_node_ns if now_arrival_ns is None else now_arrival_ns) * 1e-9)
        return prediction

    def why_blind(self, statuses: dict[str, Status]) -> str:
        """Why there is nothing to predict from, in one line."""
        parts = []
        for candidates, name in zip(self.slots, self.engine.modalities, strict=True):
            if not candidates:
                parts.append(f"{name}: no sensor is configured for it")
            parts += [f"{s.name} {statuses[s.name].state.name}" for s in candidates]
        return "no live sensor: " + ", ".join(parts)

    def latency_p95_ms(self) -> float:
        """95th percentile of the recent inference times [ms]; NaN before the first."""
        recent = tuple(self.inference_ms)  # the worker appends meanwhile
        return float(np.percentile(recent, 95)) if recent else math.nan

    def report_latency(self, now_s: float) -> None:
        """Let the governor hold its latency target."""
        if self.inference_ms:
            self.governor.latency(self.latency_p95_ms(), now_s)

    def reset(self) -> None:
        """Forget all that depends on time (bag loop, clock jump); what the battery last said stays."""
        for entry in self.sensors.values():
            entry.reset()
        self.engine.reset()
        self.governor.reset()
        self.last_node_ns = 0


def override_of(value: float) -> float | None:
    """Parameter pruning_ratio_override: negative is none."""
    return None if value < 0 else value


def governor_config(settings: Settings) -> GovernorConfig:
    """The power parameters as the governor takes them. Raises ParameterError."""
    percents, ratios = settings["battery_curve_percent"], settings["battery_curve_ratio"]
    if len(percents) != len(ratios):
        raise ParameterError("parameter battery_curve_ratio", f"{len(ratios)} values",
                             f"{len(percents)}, one for each of battery_curve_percent")
    return GovernorConfig(
        curve=tuple((percent / 100, ratio) for percent, ratio in zip(percents, ratios, strict=True)),
        battery_scale=settings["battery_scale"], battery_hysteresis=settings["battery_hysteresis_percent"] / 100,
        critical_fraction=settings["battery_critical_percent"] / 100, battery_timeout_s=settings["battery_timeout_s"],
        charging_ratio=settings["charging_ratio"], p_min_w=settings["power_budget_min_w"],
        p_max_w=settings["power_budget_max_w"], target_p95_ms=settings["latency_target_ms"], dwell_s=settings["dwell_s"],
    )
