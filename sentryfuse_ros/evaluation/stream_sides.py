"""What is timed of a stream, side by side: the encoder alone and the whole model, as a stream and encoded whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..model.checkpoint import Checkpoint
from ..streaming.stream_config import StreamConfig
from ..streaming.window_encoder import WindowEncoder
from . import stream_controls
from .stream_accuracy import StreamSetUp
from .stream_latency import GlobalAttention, Side
from .stream_set_ups import TOGETHER_RATIO, always_routed, detection_alone, pruned, whole


class Sides:
    """What is timed in turns, with one reset for all."""

    def __init__(self, checkpoint: Checkpoint):
        (name,) = checkpoint.config.names
        self._checkpoint, self.encoder = checkpoint, WindowEncoder(checkpoint, name)
        self.sides: dict[str, Side] = {}
        self._resets: list[Callable[[], None]] = []

    def side(self, name: str, run: Side) -> None:
        """Anything that takes a picture and the camera's rate of turn."""
        self.sides[name] = run

    def encoder_side(self, name: str, make: Callable[[WindowEncoder], Any], gyro: bool = False) -> None:
        """A camera's stream up to the picture's token."""
        stream = make(self.encoder)
        self._resets.append(stream.reset)
        self.sides[name] = lambda picture, turn: stream.update(picture, turn_rad_s=turn if gyro else None)

    def whole_side(self, name: str, set_up: StreamSetUp) -> None:
        """The whole model up to the logits."""
        run = set_up.run(self._checkpoint, self.encoder)
        self._resets.append(run.reset)
        self.sides[name] = lambda picture, turn: run.update(picture, ratio=set_up.ratio)

    def reset(self) -> None:
        """Forget every picture."""
        for reset in self._resets:
            reset()


def sides_of_a_still_camera(checkpoint: Checkpoint, config: StreamConfig) -> Sides:
    """The shipped stream with and without its parts, the same encoded whole, and attention over the whole picture."""
    alone, routed, sides = detection_alone(config), always_routed(config), Sides(checkpoint)
    sides.encoder_side("encoder, dense", stream_controls.plain)
    sides.encoder_side("encoder, stream", alone.make_stream)
    sides.encoder_side("encoder, stream with vote", replace(alone, watch_motion=True).make_stream)
    sides.whole_side("model, dense", StreamSetUp(stream_controls.plain, whole(checkpoint)))
    sides.whole_side("model, stream", StreamSetUp(alone.make_stream, whole(checkpoint)))
    together = StreamSetUp(routed.make_stream, pruned(checkpoint), TOGETHER_RATIO, reuse_predictions=True)
    sides.whole_side("model, together", together)
    sides.side("encoder, global attention", GlobalAttention(checkpoint, sides.encoder))
    return sides


def sides_of_a_moving_camera(checkpoint: Checkpoint, config: StreamConfig) -> Sides:
    """The encoder of the shipped stream, with a gyro and without, and the same encoded whole."""
    watching, sides = replace(detection_alone(config), watch_motion=True), Sides(checkpoint)
    sides.encoder_side("encoder, dense", stream_controls.plain)
    sides.encoder_side("encoder, stream with a gyro", watching.make_stream, gyro=True)
    sides.encoder_side("encoder, stream with vote", watching.make_stream)
    return sides
