"""Which windows of a camera's picture have changed since the picture from which their codes were made (`ChangeRule`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import onnxruntime

from ..errors import ParameterError
from ..model.patch_config import PatchTokenizerConfig
from ..preprocessing import ModalitySpec
from ..runtime.onnx_session import bound_session, make_session
from . import change_graph
from .change_rule import ChangeRule, rule_for


class Change(NamedTuple):
    """How much a picture has changed.

    Which windows these are is told in Python's own numbers: they are few, and a chain of calls of numpy takes longer than what
    is decided from them.
    """

    scores: Sequence[float]  # of the windows, row by row: the largest of each one's patches; above 1 counts as changed
    changed: list[int]  # the windows that count as changed, ascending
    top: float  # mean of the largest patch scores
    # Mean step between neighbouring pixels of the first channel that are compared, inside windows and in every second row, in
    # standard deviations of the spec; 0 where nobody asked for it.
    texture: float = 0.0


class ChangeDetector:
    """The state of the change detection of one camera: the picture that is held, window by window, and the learnt noise.

    Pictures are in the units of `preprocessing.camera.camera_frame`: metres, 0 without return, or shares of full scale. Only
    every so many-th row and column of them is looked at (`ChangeRule.steps`), which is less work and sees what covers more
    than a pixel. Raises ParameterError where the step does not divide a patch.

    All arrays are made once and bound to the session (`change_graph`), so that comparing allocates nothing.
    """

    def __init__(
        self,
        spec: ModalitySpec,
        options: PatchTokenizerConfig,
        rule: ChangeRule | None = None,
        has_holes: bool | None = None,
        texture: bool = False,
    ):
        """``has_holes``: whether a pixel of 0 has no return; None: as the encoding says. ``texture``: whether to measure it."""
        self.rule = rule_for(spec.encoding) if rule is None else rule
        for name, step in zip(("pixel_step", "row_step"), self.rule.steps[::-1]):
            if options.patch % step:
                raise ParameterError(f"change rule {name}", step, f"a divisor of the patch, {options.patch}", "change either")
        self._has_holes = spec.encoding == "depth_m" if has_holes is None else has_holes
        (rows, columns), channels = options.window_grid(spec), spec.channels
        windows = rows * columns
        shape = high, wide = self.window_shape(options, self.rule)
        self._means = change_graph.patch_means(channels, shape, options.window)
        self._cut = (channels, rows, high, columns, wide)
        self.pixels = np.zeros((windows, channels * high * wide), np.float32)  # of the newest picture, window by window
        self._by_window = self.pixels.reshape(rows, columns, channels, high, wide).transpose(2, 0, 3, 1, 4)
        self._held = np.zeros_like(self.pixels)
        self._noise = np.zeros((windows, options.window**2), np.float32)
        self._scores = np.full(windows, np.inf, np.float32)
        self._largest = np.full(min(change_graph.TOP_PATCHES, self._noise.size), np.inf, np.float32)
        self._texture = np.zeros((), np.float32)
        self.holds_picture = False  # whether there is anything to compare with
        if self.rule.factor:
            every = change_graph.texture_rows(self.rule)
            steps = change_graph.neighbour_steps(channels, shape, every) if texture else None
            if steps is not None:
                steps /= windows * steps.shape[1] * (spec.std[0] if spec.std else 1.0)
            session = make_session(change_graph.change_graph(self.rule, windows, self._means, self._has_holes, steps))
            self._bound = bound_session(session, self._bind(session, texture))

    @staticmethod
    def window_shape(options: PatchTokenizerConfig, rule: ChangeRule) -> tuple[int, int]:
        """Rows and columns of a window that are looked at."""
        side = options.window * options.patch
        return side // rule.steps[0], side // rule.steps[1]

    def reset(self) -> None:
        """Forget the picture and the noise."""
        self.holds_picture = False

    def see(self, picture: np.ndarray) -> None:
        """Take the pixels of a picture (C, H, W) that are looked at; `compare` and `hold` are about the picture seen last."""
        row, column = self.rule.steps
        self._by_window[...] = picture[:, ::row, ::column].reshape(self._cut)

    def compare(self) -> Change:
        """How much the picture has changed. Also learns the noise of the patches that did not. There must be one that is held."""
        if self.rule.factor:
            self._bound.run()
        scores, largest = self._scores.tolist(), self._largest.tolist()
        changed = [window for window, score in enumerate(scores) if score > 1.0]
        return Change(scores, changed, sum(largest) / len(largest), float(self._texture))

    def hold(self, windows: Sequence[int] | None = None) -> None:
        """Compare later pictures with this one in ``windows`` (indices), or everywhere."""
        if not self.holds_picture:
            self._noise[...] = self._expected_noise()
            self.holds_picture, windows = True, None
        if windows is None:
            self._held[...] = self.pixels
        else:
            held, pixels = self._held, self.pixels
            for window in windows:  # of a few rows, each by itself is faster than all by their indices
                held[window] = pixels[window]

    def _bind(self, session: Any, texture: bool) -> Any:
        binding, value = session.io_binding(), onnxruntime.OrtValue.ortvalue_from_numpy
        noise = value(self._noise)  # renewed in place, by the last step of the graph
        inputs = {change_graph.NOW: value(self.pixels), change_graph.HELD: value(self._held), change_graph.NOISE: noise}
        outputs: dict[str, np.ndarray] = {change_graph.SCORES: self._scores, change_graph.LARGEST: self._largest}
        if texture:
            outputs[change_graph.TEXTURE] = self._texture
        for name, given in inputs.items():
            binding.bind_ortvalue_input(name, given)
        for name, made in outputs.items():
            binding.bind_ortvalue_output(name, value(made))
        binding.bind_ortvalue_output(change_graph.NEW_NOISE, noise)
        return binding

    def _expected_noise(self) -> np.ndarray:
        mean = self.pixels @ self._means
        if self._has_holes:
            mean /= np.maximum((self.pixels > 0) @ self._means, np.float32(1e-6))
        return np.asarray(self.rule.expected_noise(mean), np.float32)
