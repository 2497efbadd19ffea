"""What change detection has to beat: cheaper ways to choose what is encoded anew, and the rule with a part left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..streaming.branches import Branch, RouterInput
from ..streaming.camera_stream import CameraStream
from ..streaming.change_detection import Change, ChangeDetector
from ..streaming.change_rule import rule_for
from ..streaming.policy import StreamPolicy
from ..streaming.stream_config import StreamConfig
from ..streaming.window_encoder import WindowEncoder


class RandomWindows(StreamPolicy):
    """As many windows as the policy would choose, but any."""

    def choose(self, change: Change, count: int, ratio: float = 0.0) -> list[int] | None:
        chosen = super().choose(change, count, ratio)
        if chosen is None:
            return None
        return np.random.default_rng(count).permutation(len(change.scores))[: len(chosen)].tolist()


class AgainstThePictureBefore(ChangeDetector):
    """Compares with the picture before instead of the one from which the codes were made, so that slow motion is never seen."""

    def compare(self) -> Change:
        change = super().compare()
        self.hold()
        return change


class EveryNthPicture:
    """Encodes every n-th picture whole and lets it stand for the others."""

    def __init__(self, n: int):
        self._n, self._count = n, 0

    def reset(self) -> None:
        self._count = 0

    def choose(self, given: RouterInput) -> Branch:
        self._count += 1
        return Branch.FULL if self._count % self._n == 0 else Branch.REUSE


def plain(encoder: WindowEncoder) -> CameraStream:
    """Every picture is encoded whole."""
    return CameraStream(encoder)


def random_windows(encoder: WindowEncoder, config: StreamConfig) -> CameraStream:
    """The configured policy's number of windows, but any of them."""
    policy = RandomWindows(**vars(config.policy))
    return CameraStream(encoder, ChangeDetector(encoder.spec, encoder.options, config.rule), policy)


def against_the_picture_before(encoder: WindowEncoder, config: StreamConfig) -> CameraStream:
    """The configured rule, with the wrong picture to compare with."""
    return CameraStream(encoder, AgainstThePictureBefore(encoder.spec, encoder.options, config.rule), config.policy)


def blind_to_holes(encoder: WindowEncoder, config: StreamConfig) -> CameraStream:
    """The configured rule, which takes a missing return for a depth of 0."""
    return CameraStream(encoder, ChangeDetector(encoder.spec, encoder.options, config.rule, has_holes=False), config.policy)


def without_refresh(encoder: WindowEncoder, config: StreamConfig) -> CameraStream:
    """The configured rule and policy, without refreshing windows in turn."""
    policy = replace(config.policy, refresh_pictures=0)
    return CameraStream(encoder, ChangeDetector(encoder.spec, encoder.options, config.rule), policy)


def every_nth_picture(encoder: WindowEncoder, n: int) -> CameraStream:
    """Fewer pictures instead of fewer windows."""
    rule = rule_for(encoder.spec.encoding).with_factor(0.0)
    return CameraStream(encoder, ChangeDetector(encoder.spec, encoder.options, rule), router=EveryNthPicture(n))
