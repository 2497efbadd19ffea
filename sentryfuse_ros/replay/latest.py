"""The latest message of every topic that fuse_node publishes, as the live views need them, without importing ROS.

The classes describe the fields of msg/*.msg that are read here; objects of the generated message classes satisfy them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class PredictionMessage(Protocol):
    """sentryfuse_ros/msg/FusedPrediction"""

    valid: bool
    reason: str
    class_name: str
    confidence: float
    modalities: Sequence[str]
    mask: Sequence[bool]
    attention_share: Sequence[float]
    pruning_ratio: float
    inference_ms: float
    overhead_ms: float


class SensorMessage(Protocol):
    """sentryfuse_ros/msg/ModalityStatus"""

    name: str
    model_input: str
    state: int
    rate_hz: float
    age_s: float
    reason: str


class MaskMessage(Protocol):
    """sentryfuse_ros/msg/ModalityMask"""

    sensors: Sequence[SensorMessage]


class StreamMessage(Protocol):
    """sentryfuse_ros/msg/StreamState"""

    model_input: str
    branch: str
    tokens: float
    change: float
    flops_share: float
    moving: bool
    flops_share_recent: float
    reuse: float
    light: float
    full: float
    switches_per_s: float


class PruningMessage(Protocol):
    """sentryfuse_ros/msg/PruningState"""

    battery_percentage: float
    ratio: float
    flops: int
    flops_dense: int
    reason: str
    streams: Sequence[StreamMessage]


class ModelMessage(Protocol):
    """sentryfuse_ros/msg/ModelInfo"""

    name: str
    modalities: Sequence[str]
    classes: Sequence[str]
    windows_s: Sequence[float]
    parameters: int
    trained_on: str
    sha256: str


class CaptionMessage(Protocol):
    """sentryfuse_ros/msg/Caption"""

    text: str


class Latest(Protocol):
    """The latest message of each topic, None until the first one arrives; ``t_s``: time since the recording began."""

    t_s: float
    prediction: PredictionMessage | None
    mask: MaskMessage | None
    pruning: PruningMessage | None
    info: ModelMessage | None
    caption: CaptionMessage | None
