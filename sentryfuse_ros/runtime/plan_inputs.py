"""What the session of a plan is given of each sensor, in arrays that stay where they are from window to window.

Some of what a tokeniser begins with is done here: numpy puts the steps that a convolution sees side by side in less time than
ONNX Runtime's convolution does.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..model.patch_config import MOTION_CONTEXT, PatchTokenizerConfig
from ..model.tokenizer_config import SERIES_KERNEL, SeriesTokenizerConfig, TokenizerConfig
from ..preprocessing import ModalitySpec
from .backend import PictureTokens
from .picture_session import PictureSession, with_valid_pixels

MOTION = " motion"  # behind the name of a modality: input (N, steps * D) with the pictures around each token side by side
SPECTRUM = " spectrum"  # behind the name of a modality: input with the steps around each token, channel by channel


class PlanInput(Protocol):
    """The input of one sensor to the sessions of plans, of which one runs at a time."""

    name: str
    tokens: int  # that are made of a window
    arrays: dict[str, np.ndarray]  # what sessions read, by the name of their inputs

    def take(self, given: np.ndarray | PictureTokens) -> np.ndarray | None:
        """Put a window into the arrays. Returns which tokens saw data, bool (N,), or None where all of them did."""
        ...


class WindowInput:
    """A window as it is, or that of a camera or LiDAR with a plane more that says which pixels are valid."""

    def __init__(self, spec: ModalitySpec, options: TokenizerConfig, tokens: int):
        self.name, self.tokens, self._options = spec.name, tokens, options
        shape = list(spec.shape)
        shape[1] += options.sees_valid_pixels
        self._window = np.zeros(shape, np.float32)
        self.arrays = {spec.name: self._window}

    def take(self, given: np.ndarray | PictureTokens) -> np.ndarray | None:
        """See `PlanInput.take`."""
        assert isinstance(given, np.ndarray)
        valid = given
        if self._options.sees_valid_pixels:
            valid = np.asarray(given.any(1))
            with_valid_pixels(given, valid, self._window)
        else:
            self._window[...] = given
        seen = self._options.seen(valid, self.tokens)
        return None if seen.all() else seen


class SeriesInput:
    """Of a window (T, C), with a further channel that is 1 where a step has data: for each step, the steps that the convolution
    sees, side by side (T, SERIES_KERNEL * (C + 1)); and where the stem has a spectrum, for each token and channel the steps
    whose power spectrum is taken (N * C, spectrum_steps)."""

    def __init__(self, spec: ModalitySpec, options: SeriesTokenizerConfig):
        length, channels = spec.shape
        hop, size = options.steps_per_token, options.spectrum_steps
        self.name, self._options = spec.name, options
        self.tokens = options.token_count(spec)
        before = max(SERIES_KERNEL // 2, (size - hop) // 2)
        padded = np.zeros((length + 2 * before + 1, channels + 1), np.float32)
        self._steps, self._valid = padded[before : before + length, :-1], padded[before : before + length, -1]
        self._valid[...] = 1
        self._has_holes = False  # what is in the arrays now
        row, number = padded.strides
        seen = padded[before - SERIES_KERNEL // 2 :]
        views = {spec.name: as_strided(seen, (length, SERIES_KERNEL * (channels + 1)), (row, number), writeable=False)}
        if size:
            around = padded[before - (size - hop) // 2 :]
            shape, strides = (self.tokens, channels, size), (hop * row, number, row)
            views[spec.name + SPECTRUM] = as_strided(around, shape, strides, writeable=False)
        self._copies = [(np.zeros(view.shape, np.float32), view) for view in views.values()]
        self.arrays = {name: copy.reshape(-1, view.shape[-1]) for name, (copy, view) in zip(views, self._copies)}

    def take(self, given: np.ndarray | PictureTokens) -> np.ndarray | None:
        """See `PlanInput.take`."""
        assert isinstance(given, np.ndarray)
        self._steps[...] = given
        holes = not np.logical_and.reduce(given[:, 0])  # at a step without data all channels are 0
        if holes:
            self._valid[...] = given.any(1)
        elif self._has_holes:
            self._valid[...] = 1
        self._has_holes = holes
        for copy, view in self._copies:
            copy[...] = view
        return self._options.seen(given, self.tokens) if holes else None


class PictureInput:
    """The tokens of the pictures of a window (K, D), and for a stem that sees motion those of successive pictures side by side
    (N, motion_steps * D), 0 where a picture holds no data and outside of the window."""

    def __init__(self, spec: ModalitySpec, options: TokenizerConfig, tokens: int, d_model: int, pictures: PictureSession):
        self.name, self.tokens, self.pictures = spec.name, tokens, pictures
        count, around = spec.shape[0], MOTION_CONTEXT
        padded = np.zeros((count + 2 * around, d_model), np.float32)
        self._tokens = padded[around : around + count]
        self.arrays = {spec.name: self._tokens}
        self._motion: tuple[np.ndarray, np.ndarray] | None = None  # the array, and the view that it is a copy of
        if isinstance(options, PatchTokenizerConfig):
            row, number = padded.strides
            shape = tokens, options.motion_steps * d_model
            view = as_strided(padded, shape, (options.frames_per_token * row, number), writeable=False)
            self._motion = np.zeros(shape, np.float32), view
            self.arrays[spec.name + MOTION] = self._motion[0]
        self._taken: PictureTokens | None = None
        self._tokens_seen: np.ndarray | None = None

    def take(self, given: np.ndarray | PictureTokens) -> np.ndarray | None:
        """See `PlanInput.take`."""
        made = given if isinstance(given, PictureTokens) else self.pictures.run(given)
        if made is not self._taken:
            self._taken, self._tokens_seen = made, None
            self._tokens[...] = made.tokens
            if not made.seen.all():
                self._tokens_seen = np.asarray(made.seen.reshape(self.tokens, -1).any(1))
                if self._motion is not None:
                    self._tokens[made.seen == 0] = 0
            self.lay_side_by_side()
        return self._tokens_seen

    def lay_side_by_side(self) -> None:
        """Bring the array of successive pictures up to date with that of the tokens."""
        if self._motion is not None:
            array, view = self._motion
            array[...] = view
