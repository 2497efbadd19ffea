"""/diagnostics: one status per sensor, and one each for model, power and loop (levels as in REP 107)."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from ..msg import FusedPrediction
from ..runtime.pipeline import Pipeline
from ..runtime.power_governor import GovernorState
from ..sensing.liveness import State
from .messages import age_s, to_time
from .receive import TopicReceiver

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


def _recent() -> deque[float]:
    return deque(maxlen=100)


@dataclass
class LoopFigures:
    """Counts and recent latencies of the fuse loop."""

    ticks: int = 0
    published: int = 0
    invalid: int = 0  # published predictions without a live sensor
    failed: int = 0
    latency_ms: deque[float] = field(default_factory=_recent)
    overhead_ms: deque[float] = field(default_factory=_recent)

    def add(self, message: FusedPrediction) -> None:
        """Count a published prediction."""
        self.published += 1
        if message.valid:
            self.latency_ms.append(message.latency_ms)
            self.overhead_ms.append(message.overhead_ms)
        else:
            self.invalid += 1


def diagnostics_message(
    node: str,
    pipeline: Pipeline,
    receivers: Iterable[TopicReceiver],
    figures: LoopFigures,
    replaced: int,
    now_node_ns: int,
    power_unheard: str = "",
) -> DiagnosticArray:
    """One DiagnosticArray of the whole node. ``replaced``: snapshots that a newer one displaced before inference.

    power_unheard: why a publisher of battery or budget is not heard.
    """
    array = DiagnosticArray()
    array.header.stamp = to_time(now_node_ns)
    statuses = [
        *(status for receiver in receivers if (status := _sensor_status(pipeline, receiver)) is not None),
        _model_status(pipeline),
        _power_status(pipeline.power, power_unheard),
        _loop_status(figures, replaced, pipeline.resets),
    ]
    for status in statuses:
        status.name = f"{node.lstrip('/')}: {status.name}"
    array.status = statuses
    return array


def _sensor_status(pipeline: Pipeline, receiver: TopicReceiver) -> DiagnosticStatus | None:
    view = pipeline.sensor(receiver.sensor.name)
    status = view.status
    if status is None:
        return None  # no tick yet
    level = OK
    if status.alarm or receiver.unheard:
        level = ERROR if view.settings.required else WARN
    text = status.state.name + (f": {status.reason}" if status.reason else "")
    if receiver.unheard:
        text += "; " + receiver.unheard
    return _status(
        level,
        "sensor " + view.settings.name,
        text,
        topic=receiver.topic,
        rate_hz=float(status.rate_hz),
        age_s=age_s(status),
        latency_ms=float(status.latency_s) * 1e3,
        received=status.received,
        dropped=status.dropped,
        invalid=status.invalid,
        last_decode_error=view.last_decode_error,
    )


def _model_status(pipeline: Pipeline) -> DiagnosticStatus:
    serving = [view.status for view in pipeline.sensors.values() if view.serves_model]
    some_live = any(status is not None and status.state == State.OK for status in serving)
    return _status(
        OK if some_live else WARN,
        "model",
        "predicting" if some_live else "no live sensor of the model",
        model=pipeline.model_name,
        inputs=" ".join(pipeline.modalities),
        inference_p95_ms=pipeline.latency_p95_ms(),
    )


def _power_status(power: GovernorState, unheard: str) -> DiagnosticStatus:
    return _status(
        WARN if power.trouble or unheard else OK,
        "power",
        power.reason + (f"; {unheard}" if unheard else ""),
        ratio=float(power.ratio),
        requested_ratio=float(power.requested_ratio),
        battery_fraction=float(power.battery_fraction),
    )


def _loop_status(figures: LoopFigures, replaced: int, resets: int) -> DiagnosticStatus:
    return _status(
        ERROR if figures.failed else OK,
        "loop",
        f"{figures.failed} errors, see the log" if figures.failed else "running",
        ticks=figures.ticks,
        published=figures.published,
        without_live_sensor=figures.invalid,
        failed=figures.failed,
        replaced=replaced,
        clock_resets=resets,
        latency_p99_ms=_p99(figures.latency_ms),
        overhead_p99_ms=_p99(figures.overhead_ms),
    )


def _status(level: bytes, name: str, text: str, **values: float | int | str) -> DiagnosticStatus:
    pairs = [KeyValue(key=key, value=f"{value:.3f}" if isinstance(value, float) else str(value)) for key, value in values.items()]
    return DiagnosticStatus(level=level, name=name, message=text, values=pairs, hardware_id="sentryfuse")


def _p99(values: Iterable[float]) -> float:
    recent: Sequence[float] = tuple(values)  # the worker appends meanwhile
    return float(np.percentile(recent, 99)) if recent else math.nan
