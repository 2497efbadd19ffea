"""How a model streams, as its checkpoint says under ``streaming``, and the stream that follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from ..errors import ParameterError
from ..validation import Share, build, check, one_of
from .branches import AlwaysFull, LearnedRouter, Router, RouterWeights, Steadiness, ThresholdRouter, Thresholds
from .camera_stream import CameraStream
from .change_detection import ChangeDetector
from .change_rule import ChangeRule
from .ego_motion import EgoMotion
from .motion_vote import MotionLimits, MotionVote
from .policy import StreamPolicy
from .window_encoder import WindowEncoder

_REMEDY = "correct the streaming section of the model's JSON"


@dataclass(frozen=True)
class StreamConfig:
    """Change detection, policy, router and ego-motion of a camera's stream."""

    rule: ChangeRule | None = None  # without one, that of the encoding of the pictures (`rule_for`)
    policy: StreamPolicy = field(default_factory=StreamPolicy)
    # none: every picture takes the whole encoder.
    router: Annotated[str, one_of(("none", "threshold", "learned"))] = "none"
    thresholds: Thresholds = field(default_factory=Thresholds)
    weights: RouterWeights | None = None
    steadiness: Steadiness = field(default_factory=Steadiness)
    watch_motion: bool = True  # whether the stream looks for motion of the camera
    motion: MotionLimits = field(default_factory=MotionLimits)
    # Pruning ratio from which on the router chooses. What it saves costs some accuracy, so a full battery need not pay for it.
    route_from_ratio: Share = 0.0
    by_default: bool = False  # whether fuse_node streams unless it is told not to: where this was measured to win

    def __post_init__(self) -> None:
        check(self, "streaming", _REMEDY)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> StreamConfig:
        """From JSON; raises ParameterError on an unknown key, or a value that its key cannot have."""
        return build(cls, values, "streaming", _REMEDY)

    def make_router(self) -> Router:
        """A router in its first state. Raises ParameterError for a learned one that was never taught."""
        if self.router == "learned":
            if self.weights is None:
                raise ParameterError(
                    "streaming router", "learned, without weights", "weights beside it, or router: none", _REMEDY
                )
            return LearnedRouter(self.weights, self.steadiness)
        if self.router == "threshold":
            return ThresholdRouter(self.thresholds, self.steadiness)
        return AlwaysFull()

    def make_stream(self, encoder: WindowEncoder) -> CameraStream:
        """A stream in its first state. Raises ParameterError where a part of it cannot be made."""
        spec, options = encoder.spec, encoder.options
        detector, motion = ChangeDetector(spec, options, self.rule, texture=self.router == "learned"), None
        if self.watch_motion:
            shape = detector.window_shape(options, detector.rule)
            motion = EgoMotion(MotionVote(options.window_grid(spec), shape, self.motion, spec.channels))
        return CameraStream(encoder, detector, self.policy, self.make_router(), motion, self.route_from_ratio)
