"""One camera's stream: the codes of the windows of its newest picture, of which only those that changed are encoded anew."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .branches import AlwaysFull, Branch, Router, RouterInput, texture, top_change
from .change_detection import ChangeDetector
from .ego_motion import EgoMotion
from .policy import StreamPolicy
from .window_encoder import WindowEncoder

LONGEST_REST = 8  # pictures for which a camera that drives is not compared, 0.8 s at 10 Hz


@dataclass(frozen=True, slots=True)
class StreamStep:
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
        self._codes = np.zeros((encoder.windows, encoder.options.code), np.float32)
        self._token = np.zeros(encoder.d_model, np.float32)
        self._since_dense = 0
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
        detector = self._detector
        if detector is None:
            return self._encode_all(picture, None, size)
        measured = turn_rad_s is not None or speed_m_s is not None
        if self._rest and speed_m_s is None:
            self._rest -= 1
            return self._encode_all(picture, None, size, moving=True)
        thin = None if measured and self._motion is not None else detector.thin(picture)
        if self._motion is not None and self._motion.moving(None if thin is None else thin[0], turn_rad_s, speed_m_s):
            detector.reset()  # nothing is compared until the camera stands, so nothing is held either
            return self._encode_all(picture, None, size, moving=True)
        thin = detector.thin(picture) if thin is None else thin
        if not detector.holds_picture:
            return self._encode_all(picture, thin, size)
        patch_scores = detector.patch_scores(thin)
        scores, change = detector.window_scores(patch_scores), top_change(patch_scores)
        branch = self._branch(thin, change, scores, ratio, confidence)
        if branch == Branch.REUSE:
            self._since_dense += 1
            return StreamStep(self._token, branch, 0, size, False, False, change)
        windows = self._policy.choose(scores, self._since_dense, ratio)
        if windows is None and branch == Branch.FULL:
            if self._motion is None or speed_m_s is not None:  # a gyro does not see that the camera drives straight on
                return self._encode_all(picture, thin, size, change=change)
            # Nearly everything changed: the camera drives, which no vote sees. Comparing would be in vain for a while.
            self._rest = self._patience = min(2 * self._patience or 1, LONGEST_REST)
            detector.reset()
            return self._encode_all(picture, None, size, moving=True, change=change)
        self._patience = 0
        self._since_dense += 1
        size = size if branch == Branch.FULL else self._encoder.sizes - 1
        count = self._encoder.windows if windows is None else len(windows)
        if count:
            self._codes[slice(None) if windows is None else windows] = self._encoder.encode(picture, windows, size)
            detector.hold(thin, windows)
            self._token = self._encoder.read(self._codes)
        return StreamStep(self._token, branch, count, size, False, False, change)

    def _branch(self, thin: np.ndarray, change: float, scores: np.ndarray, ratio: float, confidence: float) -> Branch:
        if isinstance(self._router, AlwaysFull) or ratio < self._route_from_ratio:
            return Branch.FULL
        changed = float(np.count_nonzero(scores > 1) / len(scores))
        return self._router.choose(RouterInput(change, changed, texture(thin, self._encoder.spec), confidence, ratio))

    def _encode_all(
        self, picture: np.ndarray, thin: np.ndarray | None, size: int, moving: bool = False, change: float = math.nan
    ) -> StreamStep:
        self._codes[...] = self._encoder.encode(picture, size=size)
        if self._detector is not None and thin is not None:
            self._detector.hold(thin)
        self._since_dense = 0
        self._token = self._encoder.read(self._codes)
        return StreamStep(self._token, Branch.FULL, self._encoder.windows, size, True, moving, change)
