"""Collect what a fuse_node publishes as rows of a run, and keep the newest message of each topic for a live view."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from builtin_interfaces.msg import Time
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

from ..msg import Caption, FusedPrediction, ModalityMask, ModelInfo, PruningState
from ..nanoseconds import stamp_to_ns
from ..replay.run_record import CaptionRow, ModelFacts, PowerRow, PredictionRow, SensorStatus, StatusRow, StreamRow
from ..sensing.liveness import State


@dataclass
class LatestMessages:
    """The newest message of each topic, None before the first, and the time of the run [s]."""

    t_s: float = 0.0
    prediction: FusedPrediction | None = None
    mask: ModalityMask | None = None
    pruning: PruningState | None = None
    info: ModelInfo | None = None
    caption: Caption | None = None


class Collector:
    """Subscribes to the topics of ``fuse_node`` and keeps everything that comes; times count from ``start_ns``.

    ``held_up_s``: for how long the recording's time has waited until now, which is no pause of the fuser's.
    """

    def __init__(self, node: Node, start_ns: int, fuser: str = "/fuse_node", held_up_s: Callable[[], float] = lambda: 0.0):
        self._start_ns, self._held_up_s = start_ns, held_up_s
        self.predictions: list[PredictionRow] = []
        self.statuses: list[StatusRow] = []
        self.power: list[PowerRow] = []
        self.captions: list[CaptionRow] = []
        self.streams: list[StreamRow] = []
        self.latest = LatestMessages()
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        node.create_subscription(FusedPrediction, f"{fuser}/prediction", self._on_prediction, 100)
        node.create_subscription(ModalityMask, f"{fuser}/mask", self._on_mask, 100)
        node.create_subscription(PruningState, f"{fuser}/pruning", self._on_pruning, latched)
        node.create_subscription(Caption, f"{fuser}/caption_stamped", self._on_caption, 10)
        node.create_subscription(ModelInfo, f"{fuser}/model_info", self._on_info, latched)

    def model_facts(self) -> ModelFacts:
        """What the node has said of its model; empty facts if it has said nothing."""
        info = self.latest.info
        if info is None:
            return ModelFacts()
        return ModelFacts(
            name=info.name,
            modalities=tuple(info.modalities),
            classes=tuple(info.classes),
            window_s=max(info.windows_s, default=0.0),
            parameters=info.parameters,
            trained_on=info.trained_on,
            sha256=info.sha256,
        )

    def _since_start_s(self, stamp: Time) -> float:
        return (stamp_to_ns(stamp.sec, stamp.nanosec) - self._start_ns) * 1e-9

    def _on_prediction(self, message: FusedPrediction) -> None:
        self.latest.prediction = message
        self.predictions.append(
            PredictionRow(
                t_s=self._since_start_s(message.tick),
                wall_s=time.monotonic() - self._held_up_s(),
                valid=message.valid,
                reason=message.reason,
                class_name=message.class_name,
                confidence=message.confidence,
                mask=tuple(message.mask),
                ratio=message.pruning_ratio,
                inference_ms=message.inference_ms,
                latency_ms=message.latency_ms,
                overhead_ms=message.overhead_ms,
                sequence=message.sequence,
            )
        )

    def _on_mask(self, message: ModalityMask) -> None:
        self.latest.mask = message
        states = {s.name: SensorStatus(State(s.state).name, s.rate_hz, s.reason, s.asleep, s.held) for s in message.sensors}
        self.statuses.append(StatusRow(self._since_start_s(message.header.stamp), states))

    def _on_pruning(self, message: PruningState) -> None:
        self.latest.pruning = message
        self.power.append(
            PowerRow(
                t_s=self._since_start_s(message.header.stamp),
                battery_percent=100 * message.battery_percentage,
                ratio=message.ratio,
                flops=message.flops,
                flops_dense=message.flops_dense,
                reason=message.reason,
            )
        )
        for stream in message.streams[:1]:
            t_s = self._since_start_s(message.header.stamp)
            self.streams.append(StreamRow(t_s, stream.branch, stream.tokens, stream.change, stream.flops_share, stream.moving))

    def _on_caption(self, message: Caption) -> None:
        self.latest.caption = message
        self.captions.append(CaptionRow(self._since_start_s(message.header.stamp), message.text))

    def _on_info(self, message: ModelInfo) -> None:
        self.latest.info = message
