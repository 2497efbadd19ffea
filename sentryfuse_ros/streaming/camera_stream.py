"""One camera's stream: the codes of the windows of its newest picture, of which only those that changed are encoded anew."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .branches import AlwaysFull, Branch, Router, RouterInput
from .change_detection import Change, ChangeDetector
from .ego_motion import EgoMotion
from .policy import StreamPolicy
from .window_encoder import KnownPicture, WindowEncoder

LONGEST_REST = 8  # pictures for which a camera that drives is not compared, 0.8 s at 10 Hz


class StreamStep(NamedTuple):
    """What was done with one picture."""

    token: np.ndarray  # (D,) what is known of the picture
    branch: Branch
    encoded: int  # windows encoded anew
    size: int  # of the encoder that encoded them
    dense: bool  # whether all windows were encoded by the full branch
    moving: bool  # whether the camera counts as moving
    change: float  # mean of the largest patch scores; NaN where it was not compared with an earlier picture


class CameraStream:
    """The explicit state of one stream. `reset` belongs to a clock that jumped, a camera that came back, another resolution.

    Without a detector every picture is encoded whole, which is what a stream is compared with.
    """

    def __init__(
        self,
        encoder: WindowEncoder,
        detector: ChangeDetector | None = None,
        policy: StreamPolicy | None = None,
        router: Router | None = None,
        motion: EgoMotion | None = None,
        route_from_ratio: float = 0.0,
    ):
        """``route_from_ratio``: pruning ratio from which on the router chooses; below it every picture takes the full branch."""
        self._encoder, self._detector, self._policy = encoder, detector, policy or StreamPolicy()
        self._router: Router = router or AlwaysFull()
        self._motion, self._route_from_ratio = motion, route_from_ratio
        self._known = KnownPicture(encoder)
        self._token = np.zeros(encoder.d_model, np.float32)
        self._router_decides = not isinstance(self._router, AlwaysFull)
        self._since_dense = 0  # pictures since one was encoded whole, without those that were reused
        self._rest = self._patience = 0  # pictures for which nothing is compared: still to come, and after the next global change

    def reset(self) -> None:
        """Forget every picture; the next one is encoded whole."""
        if self._detector is not None:
            self._detector.reset()
        if self._motion is not None:
            self._motion.reset()
        self._router.reset()
        self._since_dense = self._rest = self._patience = 0

    def update(
        self,
        picture: np.ndarray,
        *,
        ratio: float = 0.0,
        confidence: float = 1.0,
        turn_rad_s: float | None = None,
        speed_m_s: float | None = None,
        size: int = 0,
    ) -> StreamStep:
        """Take the next picture, float32 (C, H, W) that is not normalised.

        ratio: pruning ratio in force. confidence: of the prediction before. turn_rad_s, speed_m_s: of the camera, where measured.
        size: of the encoder in the full branch, where a plan has chosen a smaller one than the whole.
        """
        detector, motion = self._detector, self._motion
        if detector is None:
            return self._encode_all(picture, size)
        measured = turn_rad_s is not None or speed_m_s is not None
        if self._rest and speed_m_s is None:
            self._rest -= 1
            return self._encode_all(picture, size, moving=True)
        if motion is not None and measured and motion.moving(None, turn_rad_s, speed_m_s):
            detector.reset()  # nothing is compared until the camera stands, so nothing is held either
            return self._encode_all(picture, size, moving=True)
        vote, change = None if measured else motion, None
        if detector.holds_picture:
            detector.see(picture)
            change = detector.compare()
        elif vote is not None and vote.votes_now:
            detector.see(picture)
        if vote is not None and vote.moving(detector.pixels, changed=None if change is None else len(change.changed)):
            detector.reset()
            return self._encode_all(picture, size, moving=True)
        if change is None:
            detector.see(picture)
            detector.hold()
            return self._encode_all(picture, size)
        branch = self._branch(change, ratio, confidence)
        if branch == Branch.REUSE:
            return StreamStep(self._token, branch, 0, size, False, False, change.top)
        windows = self._policy.choose(change, self._since_dense, ratio)
        if windows is None and branch == Branch.FULL:
            if motion is None or speed_m_s is not None:  # a gyro does not see that the camera drives straight on
                detector.hold()
                return self._encode_all(picture, size, change=change.top)
            # Nearly everything changed: the camera drives, which no vote sees. Comparing would be in vain for a while.
            self._rest = self._patience = min(2 * self._patience or 1, LONGEST_REST)
            detector.reset()
            return self._encode_all(picture, size, moving=True, change=change.top)
        self._patience = 0
        self._since_dense += 1
        size = size if branch == Branch.FULL else self._encoder.sizes - 1
        count = self._encoder.windows if windows is None else len(windows)
        if count:
            self._token = self._known.renew(picture, windows, size)
            detector.hold(windows)
        return StreamStep(self._token, branch, count, size, False, False, change.top)

    def _branch(self, change: Change, ratio: float, confidence: float) -> Branch:
        if not self._router_decides or ratio < self._route_from_ratio:
            return Branch.FULL
        share = len(change.changed) / self._encoder.windows
        return self._router.choose(RouterInput(change.top, share, change.texture, confidence, ratio))

    def _encode_all(self, picture: np.ndarray, size: int, moving: bool = False, change: float = math.nan) -> StreamStep:
        self._token, self._since_dense = self._known.renew(picture, size=size), 0
        return StreamStep(self._token, Branch.FULL, self._encoder.windows, size, True, moving, change)
