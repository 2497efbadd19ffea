"""The robot's fuser without ROS: `feed` messages in, `tick` gives a prediction with its mask, ratio and reasons.

    messages -> decoder -> window buffer + liveness -> snapshot at t -> model input -> engine -> prediction

The node calls it from live topics; bags, tests and benches call it straight. Two clocks come in from the caller:
the node clock (header stamps are on it; ROS time) and the arrival clock (steady live, node clock under sim time).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ParameterError
from ..sensing.liveness import Status
from ..sensing.model_inputs import extract_inputs, slots_of
from ..sensing.sensor import Sensor
from ..sensing.snapshot import Snapshot
from ..settings import Settings
from .engine import Engine, Inference
from .power_governor import GovernorConfig, GovernorState, PowerGovernor


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
        self.slots = slots_of(self.sensors.values(), engine.modalities)
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
        snapshot, serving, inputs = extract_inputs(self.slots, self.engine.specs, statuses, now_node_ns)
        newest = max((s for s in serving if s), key=lambda s: s.newest_ns, default=None)
        self.sequence += 1
        power = self.governor.update(now_arrival_ns * 1e-9)
        if power.ratio != self.power.ratio:
            self.inference_ms.clear()  # times of the old ratio would have the latency target overshoot
        self.power = power
        return Tick(
            self.sequence,
            now_node_ns,
            snapshot,
            inputs,
            snapshot.mask,
            tuple(s.name if s and used else "" for s, used in zip(serving, snapshot.mask, strict=True)),
            self.power,
            statuses,
            max(0.0, newest.status.age_s) if newest else 0.0,
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
        raise ParameterError(
            "parameter battery_curve_ratio", f"{len(ratios)} values", f"{len(percents)}, one for each of battery_curve_percent"
        )
    return GovernorConfig(
        curve=tuple((percent / 100, ratio) for percent, ratio in zip(percents, ratios, strict=True)),
        battery_scale=settings["battery_scale"],
        battery_hysteresis=settings["battery_hysteresis_percent"] / 100,
        critical_fraction=settings["battery_critical_percent"] / 100,
        battery_timeout_s=settings["battery_timeout_s"],
        charging_ratio=settings["charging_ratio"],
        p_min_w=settings["power_budget_min_w"],
        p_max_w=settings["power_budget_max_w"],
        target_p95_ms=settings["latency_target_ms"],
        dwell_s=settings["dwell_s"],
    )
