"""Which windows of a camera's picture have changed since the picture from which their codes were made (`ChangeRule`)."""

from __future__ import annotations

import cv2
import numpy as np

from ..errors import ParameterError
from ..model.patch_config import PatchTokenizerConfig
from ..preprocessing import ModalitySpec
from .change_rule import ChangeRule, rule_for


class ChangeDetector:
    """The state of the change detection of one camera: the picture that is held, window by window, and the learnt noise.

    Pictures are in the units of `preprocessing.camera.camera_frame`: metres, 0 without return, or shares of full scale. Only
    every ``pixel_step``-th row and column of them is looked at (`thin`), which is a quarter of the work and sees what covers more
    than a pixel. Raises ParameterError where the step does not divide a patch.
    """

    def __init__(self, spec: ModalitySpec, options: PatchTokenizerConfig, rule: ChangeRule | None = None):
        self.rule = rule_for(spec.encoding) if rule is None else rule
        step = self.rule.pixel_step
        if options.patch % step:
            raise ParameterError("change rule pixel_step", step, f"a divisor of the patch, {options.patch}", "change either")
        channels, height, width = spec.shape[1], spec.shape[2] // step, spec.shape[3] // step
        self._window, self._shape = options.window, (channels, height, width)
        self.grid = options.window_grid(spec)
        self._has_holes = spec.encoding == "depth_m"
        self._patches = (spec.shape[2] // options.patch, spec.shape[3] // options.patch)
        self._held: np.ndarray | None = None
        self._held_valid = np.ones((height, width), np.float32)
        self._noise = np.zeros(self._patches, np.float32)
        self._held_share = np.ones(self._patches, np.float32)  # of valid pixels in each patch that is held
        self._change, self._both, self._now_valid = np.empty((3, height, width), np.float32)

    @property
    def holds_picture(self) -> bool:
        """Whether there is anything to compare with."""
        return self._held is not None

    def reset(self) -> None:
        """Forget the picture and the noise."""
        self._held = None

    def thin(self, picture: np.ndarray) -> np.ndarray:
        """The pixels of a picture (C, H, W) that are looked at, (C, H / step, W / step) float32."""
        step = self.rule.pixel_step
        return np.ascontiguousarray(picture[:, ::step, ::step])

    def patch_scores(self, picture: np.ndarray) -> np.ndarray:
        """How much each patch of a thinned picture has changed, (rows, columns) of patches, above 1 where it counts as changed.

        Also learns the noise of the patches that did not change. There must be a picture that is held.
        """
        assert self._held is not None
        rule = self.rule
        if not rule.factor:
            return np.full(self._patches, np.inf, np.float32)
        change, share_both, flipped = self._compare(picture, self._held)
        limit = np.minimum(np.maximum(self._noise, rule.noise_floor), rule.noise_cap)  # np.clip takes as long as all else here
        limit *= rule.factor
        limit += rule.floor
        scores = np.divide(change, limit, out=limit)
        quiet = scores <= 1
        if share_both is not None and flipped is not None:
            enough = share_both >= rule.least_share
            scores *= enough
            flipped *= 1 / rule.flipped_share
            np.maximum(scores, flipped, out=scores)
            quiet = (scores <= 1) & enough
        change -= self._noise
        change *= quiet
        change *= rule.noise_rate
        self._noise += change
        return scores

    def window_scores(self, patch_scores: np.ndarray) -> np.ndarray:
        """The largest score of the patches of each window, (windows,), row by row."""
        rows, columns = self.grid
        by_row = patch_scores.reshape(rows, self._window, -1).max(axis=1)
        scores: np.ndarray = by_row.reshape(rows * columns, self._window).max(axis=1)
        return scores

    def hold(self, picture: np.ndarray, windows: np.ndarray | None = None) -> None:
        """Compare later pictures with this thinned one in ``windows`` (indices), or everywhere."""
        valid = self._valid(picture) if self._has_holes else None
        if self._held is None:
            self._held = np.empty(self._shape, np.float32)
            self._noise = self._expected_noise(picture, valid)
            windows = None
        if windows is None:
            self._held[...] = picture
            if valid is not None:
                self._held_valid[...] = valid
        else:
            chosen = np.zeros(self.grid, np.uint8)
            chosen.ravel()[windows] = 1
            mask = cv2.resize(chosen, self._shape[:0:-1], interpolation=cv2.INTER_NEAREST)
            for held, now in zip(self._held, picture):
                cv2.copyTo(now, mask, held)
            if valid is not None:
                cv2.copyTo(valid, mask, self._held_valid)
        if valid is not None:
            self._held_share = self._mean(self._held_valid)

    def _compare(self, picture: np.ndarray, held: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """Of each patch: mean change of the pixels valid in both pictures, their share, share of pixels that changed validity.

        Without holes in the pictures the shares are None.
        """
        change = cv2.absdiff(picture[0], held[0], dst=self._change)
        if not self._has_holes:
            mean = self._mean(change)
            for now, before in zip(picture[1:], held[1:]):
                mean += self._mean(cv2.absdiff(now, before, dst=self._change))
            mean *= 1 / len(picture)
            return mean, None, None
        valid = self._valid(picture)
        both = cv2.multiply(valid, self._held_valid, dst=self._both)
        share_both = self._mean(both)
        flipped = self._mean(valid)
        flipped += self._held_share
        flipped -= 2 * share_both
        mean = self._mean(cv2.multiply(change, both, dst=change))
        mean /= np.maximum(share_both, np.float32(1e-6))
        return mean, share_both, flipped

    def _valid(self, picture: np.ndarray) -> np.ndarray:
        """1 where a pixel has a return, 0 elsewhere; overwritten by the next call."""
        return cv2.threshold(picture[0], 0, 1, cv2.THRESH_BINARY, dst=self._now_valid)[1]

    def _mean(self, pixels: np.ndarray) -> np.ndarray:
        """Means of the patches."""
        return cv2.resize(pixels, self._patches[::-1], interpolation=cv2.INTER_AREA)

    def _expected_noise(self, picture: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
        mean = sum(self._mean(channel) for channel in picture) / len(picture)
        if valid is not None:
            mean = mean / np.maximum(self._mean(valid), np.float32(1e-6))
        return np.asarray(self.rule.expected_noise(mean), np.float32)
