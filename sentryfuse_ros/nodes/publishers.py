"""What fuse_node publishes: its topics, and when each message is due."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile

from ..msg import FusedPrediction, ModalityMask, ModelInfo, PruningState
from ..runtime.engine import Engine
from ..runtime.inference import Inference
from ..runtime.pipeline import Pipeline
from ..runtime.tick import Prediction, Tick
from .messages import mask_message, model_info_message, prediction_message, pruning_message

PRUNING_PERIOD_S = 1.0  # PruningState goes out at least this often, and with every change.


class _PruningKey(NamedTuple):
    """What a PruningState depends on: a change of it is published at once."""

    ratio: float
    mask: bytes
    streams: tuple[tuple[int, int, bool], ...]  # branch, windows encoded anew and motion of each


class FuserPublishers:
    """The publishers of one configured node. They are made at configure and destroyed at cleanup."""

    def __init__(self, node: LifecycleNode, engine: Engine, dense: Inference, model_file: Path, frame_id: str):
        """``dense``: an inference of the whole model, whose cost the others are compared with."""
        self._node, self._engine, self._dense = node, engine, dense
        self._model_file, self._frame_id = model_file, frame_id
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._prediction = node.create_lifecycle_publisher(FusedPrediction, "~/prediction", 10)
        self._mask = node.create_lifecycle_publisher(ModalityMask, "~/mask", 10)
        self._pruning = node.create_lifecycle_publisher(PruningState, "~/pruning", latched)
        self._model_info = node.create_lifecycle_publisher(ModelInfo, "~/model_info", latched)
        self.restart()

    def restart(self) -> None:
        """Forget what was published before, as at activation."""
        self._last_pruning: _PruningKey | None = None
        self._last_pruning_s = -math.inf

    def publish_model_info(self) -> None:
        now_ns = self._node.get_clock().now().nanoseconds
        self._model_info.publish(model_info_message(self._engine, self._dense, str(self._model_file), now_ns))

    def publish_mask(self, pipeline: Pipeline, tick: Tick, topics: Mapping[str, str]) -> None:
        """ModalityMask of a tick. Where nobody listens it is not made: no later subscription would get it."""
        if self._mask.get_subscription_count():
            self._mask.publish(mask_message(pipeline, tick, topics, self._frame_id))

    def publish_prediction(self, prediction: Prediction, now_node_ns: int) -> FusedPrediction:
        """Publish and return it. The message's latency and overhead end here."""
        message = prediction_message(prediction, self._engine, self._frame_id, now_node_ns)
        if prediction.valid:
            since_s = time.monotonic() - prediction.tick.waiting_since_s
            message.overhead_ms = since_s * 1e3 - message.inference_ms
        self._prediction.publish(message)
        return message

    def publish_pruning_if_due(self, prediction: Prediction, pipeline: Pipeline) -> None:
        """PruningState where ratio, mask or what a stream does have changed, or where the last one is a second old."""
        streams = prediction.inference.streams.values() if prediction.inference else ()
        did = tuple((use.branch, use.encoded, use.moving) for use in streams)
        key, now_s = _PruningKey(prediction.tick.power.ratio, prediction.tick.mask.tobytes(), did), time.monotonic()
        if key != self._last_pruning or now_s - self._last_pruning_s >= PRUNING_PERIOD_S:
            self._last_pruning, self._last_pruning_s = key, now_s
            self._pruning.publish(pruning_message(prediction, self._engine, self._dense, pipeline.latency_p95_ms()))

    def destroy(self) -> None:
        for publisher in (self._prediction, self._mask, self._pruning, self._model_info):
            self._node.destroy_lifecycle_publisher(publisher)
