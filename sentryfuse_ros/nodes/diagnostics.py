"""/diagnostics: one status per sensor, and one each for model, power and loop (REP 107 levels)."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from ..runtime.pipeline import Pipeline
from ..sensing.liveness import State
from .publish import to_time


@dataclass
class LoopFigures:
    """Counts and recent latencies of the fuse loop."""

    ticks: int = 0
    published: int = 0
    invalid: int = 0
    failed: int = 0
    latency_ms: deque = field(default_factory=lambda: deque(maxlen=100))
    overhead_ms: deque = field(default_factory=lambda: deque(maxlen=100))

    def add(self, message) -> None:
        self.published += 1
        if message.valid:
            self.latency_ms.append(message.latency_ms)
            self.overhead_ms.append(message.overhead_ms)
        else:
            self.invalid += 1


def _status(level: bytes, title: str, text: str, **values) -> DiagnosticStatus:
    pairs = [KeyValue(key=key, value=f"{value:.3f}" if isinstance(value, float) else str(value)) for key, value in values.items()]
    return DiagnosticStatus(level=level, name=title, message=text, values=pairs, hardware_id="sentryfuse")


def _p99(values: deque) -> float:
    return float(np.percentile(tuple(values), 99)) if values else math.nan


def diagnostics_message(
    node: str, pipeline: Pipeline, receivers, figures: LoopFigures, worker, now_node_ns: int
) -> DiagnosticArray:
    """One DiagnosticArray of the whole node."""
    ok, warn, error = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
    prefix = node.lstrip("/") + ": "
    array = DiagnosticArray()
    array.header.stamp = to_time(now_node_ns)
    for receiver in receivers:
        name, sensor = receiver.sensor.name, pipeline.sensors[receiver.sensor.name]
        status = sensor.status
        if status is None:
            continue
        alarm = status.alarm or receiver.unheard
        level = ok if not alarm else error if sensor.settings.required else warn
        text = status.state.name + (f": {status.reason}" if status.reason else "")
        if receiver.unheard:
            text += "; " + receiver.unheard
        array.status.append(
            _status(
                level,
                prefix + "sensor " + name,
                text,
                topic=receiver.topic,
                rate_hz=float(status.rate_hz),
                age_s=float(status.age_s) if status.state != State.NEVER_SEEN else -1.0,
                latency_ms=float(status.latency_s) * 1e3,
                received=status.received,
                dropped=status.dropped,
                invalid=status.invalid,
                last_decode_error=sensor.error,
            )
        )
    engine, power = pipeline.engine, pipeline.power
    live = [entry.status for slot in pipeline.slots for entry in slot if entry.status is not None]
    some_live = any(status.state == State.OK for status in live)
    array.status.append(
        _status(
            ok if some_live else warn,
            prefix + "model",
            "predicting" if some_live else "no live sensor of the model",
            model=engine.info.get("name", ""),
            inputs=" ".join(engine.modalities),
            inference_p95_ms=pipeline.latency_p95_ms(),
        )
    )
    array.status.append(
        _status(
            warn if power.trouble else ok,
            prefix + "power",
            power.reason,
            ratio=float(power.ratio),
            requested_ratio=float(power.requested_ratio),
            battery_fraction=float(power.battery_fraction),
        )
    )
    array.status.append(
        _status(
            error if figures.failed else ok,
            prefix + "loop",
            f"{figures.failed} errors, see the log" if figures.failed else "running",
            ticks=figures.ticks,
            published=figures.published,
            without_live_sensor=figures.invalid,
            failed=figures.failed,
            replaced=worker.replaced if worker else 0,
            clock_resets=pipeline.resets,
            latency_p99_ms=_p99(figures.latency_ms),
            overhead_p99_ms=_p99(figures.overhead_ms),
        )
    )
    return array
