"""The fuser's results as messages of this package. Field meanings are in the .msg files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from builtin_interfaces.msg import Time

from ..msg import FusedPrediction, ModalityMask, ModalityStatus, ModelInfo, PruningState, StreamState
from ..nanoseconds import ns_to_stamp
from ..runtime.engine import Engine
from ..runtime.inference import Inference
from ..runtime.pipeline import Pipeline
from ..runtime.tick import Prediction, SensorView, Tick
from ..sensing.liveness import State, Status

if TYPE_CHECKING:
    from ..streaming.streamed_input import StreamUse


def to_time(stamp_ns: int) -> Time:
    """Nanoseconds to builtin_interfaces/Time."""
    sec, nanosec = ns_to_stamp(stamp_ns)
    return Time(sec=sec, nanosec=nanosec)


def prediction_message(prediction: Prediction, engine: Engine, frame_id: str, now_node_ns: int) -> FusedPrediction:
    """FusedPrediction without overhead_ms. ``now_node_ns`` ends its latency_ms, so build it right before publishing."""
    tick = prediction.tick
    message = FusedPrediction(valid=prediction.valid, reason=prediction.reason, sequence=tick.sequence)
    message.header.stamp = to_time(prediction.stamp_ns)
    message.header.frame_id = frame_id
    message.tick = to_time(tick.node_ns)
    message.modalities = list(engine.modalities)
    message.mask = tick.mask.tolist()
    message.used = list(tick.used)
    message.sensors = list(tick.serving)
    message.attention_share = [0.0] * len(tick.mask)
    message.pruning_ratio = float(tick.power.ratio)
    inference = prediction.inference
    if prediction.valid and inference is not None:
        message.class_id = int(inference.class_id)
        message.class_name = inference.class_name
        message.confidence = float(inference.confidence)
        message.probabilities = inference.probabilities.astype(np.float32).tolist()
        message.attention_share = inference.attention_share.astype(np.float32).tolist()
        message.inference_ms = inference.duration_s * 1e3
        message.latency_ms = (now_node_ns - prediction.stamp_ns) * 1e-6
    return message


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else float(value)


def age_s(status: Status) -> float:
    """Time since the newest message arrived [s], -1 if none ever did."""
    return float(status.age_s) if status.state != State.NEVER_SEEN else -1.0


def status_message(view: SensorView, status: Status, topic: str) -> ModalityStatus:
    """ModalityStatus of one sensor at a tick; ``topic`` is the resolved name."""
    settings = view.settings
    return ModalityStatus(
        name=settings.name,
        kind=settings.kind,
        topic=topic,
        state=int(status.state),
        reason=status.reason,
        model_input=settings.model_input if view.serves_model else "",
        required=settings.required,
        alarm=bool(status.alarm),
        asleep=view.asleep,
        held=view.held,
        rate_hz=float(status.rate_hz),
        expected_rate_hz=float(settings.expected_rate_hz),
        age_s=age_s(status),
        latency_ms=float(status.latency_s) * 1e3,
        received=int(status.received),
        dropped=int(status.dropped),
        invalid=int(status.invalid),
    )


def mask_message(pipeline: Pipeline, tick: Tick, topics: Mapping[str, str], frame_id: str) -> ModalityMask:
    """ModalityMask of a tick; ``topics``: the resolved topic of each sensor."""
    message = ModalityMask(modalities=list(pipeline.modalities), mask=tick.mask.tolist())
    message.header.stamp = to_time(tick.node_ns)
    message.header.frame_id = frame_id
    message.sensors = [
        status_message(pipeline.robot_sensors.view(name), status, topics.get(name, "")) for name, status in tick.statuses.items()
    ]
    return message


def pruning_message(prediction: Prediction, engine: Engine, dense: Inference, latency_p95_ms: float) -> PruningState:
    """PruningState of a prediction; ``dense`` is an inference of the whole model, for comparison."""
    power, inference = prediction.tick.power, prediction.inference
    mask = prediction.tick.mask
    choice = engine.choice(mask.tolist(), power.ratio) if mask.any() else None
    streams = inference.streams if inference else {}
    message = PruningState(
        battery_percentage=float(power.battery_fraction),
        charging=bool(power.charging),
        power_budget_w=float(power.budget_w),
        power_w=float(power.power_w),
        requested_ratio=float(power.requested_ratio),
        ratio=float(power.ratio),
        overridden=bool(power.overridden),
        flops=inference.flops if inference else 0,
        flops_dense=dense.flops - round(sum(use.known_flops for use in streams.values())),
        parameters=inference.params if inference else 0,
        parameters_dense=dense.params,
        latency_p95_ms=latency_p95_ms,
        plan_ms=_or_nan(choice.cost_ms if choice else None),
        plan_ms_dense=_or_nan(engine.dense_ms),
        plan_accuracy=_or_nan(choice.accuracy if choice else None),
        hold_s=choice.hold_s if choice else 0.0,
        reason=power.reason,
        streams=[stream_message(name, use) for name, use in streams.items()],
    )
    message.header.stamp = to_time(prediction.tick.node_ns)
    return message


def stream_message(model_input: str, use: StreamUse) -> StreamState:
    """StreamState of what a stream did with its newest pictures."""
    return StreamState(
        model_input=model_input,
        branch=use.branch.name.lower(),
        tokens=use.tokens,
        change=use.change,
        flops_share=use.flops_share,
        moving=use.moving,
        tokens_recent=use.recent_encoded,
        flops_share_recent=use.recent_flops,
        whole_recent=use.recent_whole,
        reuse=use.recent.reuse,
        light=use.recent.light,
        full=use.recent.full,
        switches_per_s=use.recent.switches_per_s,
    )


def model_info_message(engine: Engine, dense: Inference, path: str, now_node_ns: int) -> ModelInfo:
    """ModelInfo of the model in force; ``dense`` is an inference of the whole model."""
    info = engine.info
    message = ModelInfo(
        name=engine.name,
        path=path,
        sha256=str(info.get("sha256", "")),
        backbone=str(info.get("config", {}).get("backbone", "")),
        backend=engine.runs_on,
        modalities=list(engine.modalities),
        kinds=[spec.kind for spec in engine.specs],
        windows_s=[float(spec.window_s) for spec in engine.specs],
        classes=list(engine.classes),
        ratio_levels=[float(level) for level in engine.ratio_levels],
        parameters=dense.params,
        flops=dense.flops,
        trained_on=json.dumps(info.get("data", {})),
        metrics_json=json.dumps(info.get("metrics", {})),
    )
    message.header.stamp = to_time(now_node_ns)
    return message
