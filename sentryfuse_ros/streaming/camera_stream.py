"""One camera's stream: the codes of the windows of its newest picture, of which only those that changed are encoded anew."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .branches import AlwaysFull, Branch, Router, RouterInput, texture, top_change
from .change_detection import ChangeDetector
from .ego_motion import EgoMotion
from .policy import StreamPolicy
from .window_encoder import WindowEncoder


@dataclass(frozen=True, slots=True)
class StreamStep:
    """What was done with one picture."""

    token: np.ndarray  # (D,) what is known of the picture
    branch: Branch
    encoded: int  # windows encoded anew
    dense: bool  # whether all windows were encoded by the whole encoder
    moving: bool  # whether the camera counts as moving


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
    ):
        self._encoder, self._detector, self._policy = encoder, detector, policy or StreamPolicy()
        self._router: Router = router or AlwaysFull()
        self._motion = motion
        self._codes = np.zeros((encoder.windows, encoder.options.code), np.float32)
        self._token = np.zeros(encoder.d_model, np.float32)
        self._since_dense = 0

    def reset(self) -> None:
        """Forget every picture; the next one is encoded whole."""
        if self._detector is not None:
            self._detector.reset()
        if self._motion is not None:
            self._motion.reset()
        self._router.reset()
        self._since_dense = 0

    def update(
        self,
        picture: np.ndarray,
        *,
        ratio: float = 0.0,
        confidence: float = 1.0,
        turn_rad_s: float | None = None,
        speed_m_s: float | None = None,
    ) -> StreamStep:
        """Take the next picture, float32 (C, H, W) that is not normalised.

        ratio: pruning ratio in force. confidence: of the prediction before. turn_rad_s, speed_m_s: of the camera, where measured.
        """
        detector = self._detector
        if detector is None:
            return self._encode_all(picture, None, False)
        measured = turn_rad_s is not None or speed_m_s is not None
        thin = None if measured and self._motion is not None else detector.thin(picture)
        if self._motion is not None and self._motion.moving(None if thin is None else thin[0], turn_rad_s, speed_m_s):
            detector.reset()  # nothing is compared until the camera stands, so nothing is held either
            return self._encode_all(picture, None, True)
        thin = detector.thin(picture) if thin is None else thin
        if not detector.holds_picture:
            return self._encode_all(picture, thin, False)
        patch_scores = detector.patch_scores(thin)
        scores = detector.window_scores(patch_scores)
        branch = self._branch(thin, patch_scores, scores, ratio, confidence)
        if branch == Branch.REUSE:
            self._since_dense += 1
            return StreamStep(self._token, branch, 0, False, False)
        windows = self._policy.choose(scores, self._since_dense, ratio)
        if windows is None and branch == Branch.FULL:
            return self._encode_all(picture, thin, False)
        self._since_dense += 1
        size = 0 if branch == Branch.FULL else self._encoder.sizes - 1
        count = self._encoder.windows if windows is None else len(windows)
        if count:
            self._codes[slice(None) if windows is None else windows] = self._encoder.encode(picture, windows, size)
            detector.hold(thin, windows)
            self._token = self._encoder.read(self._codes)
        return StreamStep(self._token, branch, count, False, False)

    def _branch(self, thin: np.ndarray, patch_scores: np.ndarray, scores: np.ndarray, ratio: float, confidence: float) -> Branch:
        if isinstance(self._router, AlwaysFull):
            return Branch.FULL
        change, changed = top_change(patch_scores), float(np.count_nonzero(scores > 1) / len(scores))
        return self._router.choose(RouterInput(change, changed, texture(thin, self._encoder.spec), confidence, ratio))

    def _encode_all(self, picture: np.ndarray, thin: np.ndarray | None, moving: bool) -> StreamStep:
        self._codes[...] = self._encoder.encode(picture)
        if self._detector is not None and thin is not None:
            self._detector.hold(thin)
        self._since_dense = 0
        self._token = self._encoder.read(self._codes)
        return StreamStep(self._token, Branch.FULL, self._encoder.windows, True, moving)
