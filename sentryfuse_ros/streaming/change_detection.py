"""Which windows of a camera's picture have changed since the picture from which their codes were made (`ChangeRule`)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import onnxruntime

from ..errors import ParameterError
from ..model.patch_config import PatchTokenizerConfig
from ..preprocessing import ModalitySpec
from ..runtime.onnx_session import make_session
from . import change_graph
from .change_rule import ChangeRule, rule_for


class Change(NamedTuple):
    """How much a picture has changed.

    In Python's own numbers: with so few windows, a chain of calls of numpy takes longer than what is decided from them here.
    """

    scores: list[float]  # of the windows, row by row: the largest of each window's patches; above 1 counts as changed
    changed: list[int]  # the windows that count as changed, ascending
    top: float  # mean of the largest patch scores


class ChangeDetector:
    """The state of the change detection of one camera: the picture that is held, window by window, and the learnt noise.

    Pictures are in the units of `preprocessing.camera.camera_frame`: metres, 0 without return, or shares of full scale. Only
    every ``pixel_step``-th row and column of them is looked at, which is a quarter of the work and sees what covers more
    than a pixel. Raises ParameterError where the step does not divide a patch.

    All arrays are made once and bound to the session (`change_graph`), so that comparing allocates nothing.
    """

    def __init__(
        self, spec: ModalitySpec, options: PatchTokenizerConfig, rule: ChangeRule | None = None, has_holes: bool | None = None
    ):
        """``has_holes``: whether a pixel of 0 has no return; None: as the encoding says."""
        self.rule = rule_for(spec.encoding) if rule is None else rule
        step = self.rule.pixel_step
        if options.patch % step:
            raise ParameterError("change rule pixel_step", step, f"a divisor of the patch, {options.patch}", "change either")
        self._has_holes = spec.encoding == "depth_m" if has_holes is None else has_holes
        (rows, columns), channels = options.window_grid(spec), spec.channels
        side, windows = options.window * options.patch // step, rows * columns
        self._means = change_graph.patch_means(channels, side, options.window)
        self._cut = (channels, rows, side, columns, side)
        self.pixels = np.zeros((windows, channels * side * side), np.float32)  # of the newest picture, window by window
        self._by_window = self.pixels.reshape(rows, columns, channels, side, side).transpose(2, 0, 3, 1, 4)
        self._held = np.zeros_like(self.pixels)
        self._noises = tuple(np.zeros((windows, options.window**2), np.float32) for _ in range(2))  # read and written, in turns
        self._turn = 0
        self._scores, self._top = np.full(windows, np.inf, np.float32), np.full((), np.inf, np.float32)
        self.holds_picture = False  # whether there is anything to compare with
        if self.rule.factor:
            graph = change_graph.change_graph(self.rule, windows, self._means, self._has_holes)
            self._session = make_session(graph)
            self._bindings = [self._bind(*pair) for pair in (self._noises, self._noises[::-1])]

    def reset(self) -> None:
        """Forget the picture and the noise."""
        self.holds_picture = False

    def see(self, picture: np.ndarray) -> None:
        """Take the pixels of a picture (C, H, W) that are looked at; `compare` and `hold` are about the picture seen last."""
        step = self.rule.pixel_step
        self._by_window[...] = picture[:, ::step, ::step].reshape(self._cut)

    def compare(self) -> Change:
        """How much the picture has changed. Also learns the noise of the patches that did not. There must be one that is held."""
        if self.rule.factor:
            self._session.run_with_iobinding(self._bindings[self._turn])
            self._turn = 1 - self._turn
        scores = self._scores.tolist()
        return Change(scores, [k for k, score in enumerate(scores) if score > 1], float(self._top))

    def hold(self, windows: np.ndarray | None = None) -> None:
        """Compare later pictures with this one in ``windows`` (indices), or everywhere."""
        if not self.holds_picture:
            self._noises[self._turn][...] = self._expected_noise()
            self.holds_picture, windows = True, None
        if windows is None:
            self._held[...] = self.pixels
        else:
            held, pixels = self._held, self.pixels
            for window in windows.tolist():  # of a few rows, each by itself is faster than all by their indices
                held[window] = pixels[window]

    def _bind(self, noise: np.ndarray, new_noise: np.ndarray) -> Any:
        binding, value = self._session.io_binding(), onnxruntime.OrtValue.ortvalue_from_numpy
        inputs = {change_graph.NOW: self.pixels, change_graph.HELD: self._held, change_graph.NOISE: noise}
        outputs = {change_graph.SCORES: self._scores, change_graph.TOP: self._top, change_graph.NEW_NOISE: new_noise}
        for name, array in inputs.items():
            binding.bind_ortvalue_input(name, value(array))
        for name, array in outputs.items():
            binding.bind_ortvalue_output(name, value(array))
        return binding

    def _expected_noise(self) -> np.ndarray:
        mean = self.pixels @ self._means
        if self._has_holes:
            mean /= np.maximum((self.pixels > 0) @ self._means, np.float32(1e-6))
        return np.asarray(self.rule.expected_noise(mean), np.float32)
