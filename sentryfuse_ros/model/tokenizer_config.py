"""Options of the tokenisers, one record per kind of stem; `tokenizers.py` says what the stems do with them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, TypeVar

import numpy as np

from ..errors import ParameterError
from ..preprocessing.spec import ModalitySpec
from ..sensor_kinds import sensor_kind
from ..validation import Count, Rule, ShareAboveZero, build, check, one_of

REMEDY = "correct the tokenizer section of the model in the training YAML"
Shapes = dict[str, tuple[int, ...]]
SERIES_KERNEL = 5  # steps that the stem of a series sees at once
FIRST_KERNEL, LATER_KERNEL = 5, 3  # pixels, for the first convolution of a picture and those after it
TEXTURE_SCALES = 3  # scales at which the roughness of a picture is measured
CHANNEL_STEP = 4  # stem channels are kept in multiples of this
_Length = Annotated[int, Rule(lambda v: v >= 0, "a whole number of 0 or more")]
T = TypeVar("T", bound="TokenizerConfig")


@dataclass(frozen=True)
class StemSize:
    """What a smaller version of a stem keeps. Its weights are the leading ones of the whole stem's."""

    channels: ShareAboveZero = 1.0  # share of the channels of every convolution, rounded up to a multiple of CHANNEL_STEP
    features: bool = True  # whether the features that are computed beside the convolutions stay: statistics, spectrum
    layers: ShareAboveZero = 1.0  # share of the layers of a patch encoder, rounded up; a stem of convolutions keeps its own

    def kept(self, channels: int) -> int:
        """How many of ``channels`` stay."""
        return min(channels, CHANNEL_STEP * math.ceil(channels * self.channels / CHANNEL_STEP - 1e-9))


@dataclass(frozen=True)
class TokenizerConfig(ABC):
    """Base of the options of a tokeniser. What follows from them without running it is worked out here, without torch."""

    # Smaller versions that a plan may run instead of the whole stem; the code of a subnetwork has one digit for each sensor.
    sizes: Annotated[tuple[StemSize, ...], Rule(lambda v: len(v) <= 8, "a list of at most 8 sections")] = field(
        default=(), kw_only=True
    )

    def __post_init__(self) -> None:
        check(self, "tokenizer", REMEDY)

    @property
    def stem_name(self) -> str:
        """What a recipe's key `stem` calls the stem; empty for the one that the kind of sensor has by default."""
        return ""

    @property
    def keeps_tokens(self) -> bool:
        """Whether a token is made of every picture by itself, which stays the same from window to window and may be kept."""
        return False

    @property
    def sees_valid_pixels(self) -> bool:
        """Whether the stem as a graph is given one more plane of each picture, which is 1 where any channel is not 0."""
        return False

    def at_size(self: T, size: int) -> T:
        """The options of the stem at one of its sizes: 0 is the whole stem, 1 the first of ``sizes``. It has no sizes itself."""
        return self.smaller(self.sizes[size - 1]) if size else replace(self, sizes=())

    @abstractmethod
    def smaller(self: T, size: StemSize) -> T:
        """The options of a stem that keeps what ``size`` says, without sizes of its own."""
        ...

    @abstractmethod
    def token_count(self, spec: ModalitySpec) -> int:
        """Tokens of one window. Raises ParameterError where the options do not fit the window."""
        ...

    def seen(self, window: np.ndarray, tokens: int) -> np.ndarray:
        """Which of the ``tokens`` of a window (K or T, ...) saw any data: bool (N,). Each sees an equal share of the steps or
        pictures, and what holds no data is 0."""
        return np.asarray(window.reshape(tokens, -1).any(1))

    @abstractmethod
    def tensor_shapes(self, spec: ModalitySpec, d_model: int) -> Shapes:
        """Shape of every tensor that a checkpoint holds of the tokeniser, by its name."""
        ...

    @abstractmethod
    def flops(self, spec: ModalitySpec, d_model: int) -> int:
        """FLOPs of one window, 2 per multiply-add, as torch's counter counts them: convolutions and linear layers."""
        ...


@dataclass(frozen=True)
class SeriesTokenizerConfig(TokenizerConfig):
    """Stem of an IMU, a series or audio."""

    steps_per_token: Count = 10
    stem_channels: Count = 48
    # Length of the window around each token whose power spectrum, of every channel, is added to the token; 0 adds none.
    spectrum_steps: _Length = 0

    def smaller(self, size: StemSize) -> SeriesTokenizerConfig:
        spectrum_steps = self.spectrum_steps if size.features else 0
        return replace(self, stem_channels=size.kept(self.stem_channels), spectrum_steps=spectrum_steps, sizes=())

    def token_count(self, spec: ModalitySpec) -> int:
        steps = spec.shape[0]
        if steps % self.steps_per_token:
            raise ParameterError(
                f"tokenizer {spec.name!r} steps_per_token", self.steps_per_token, f"a divisor of {steps}", REMEDY
            )
        if self.spectrum_steps and not self.steps_per_token <= self.spectrum_steps <= steps:
            expected = f"0, or {self.steps_per_token} (steps_per_token) to {steps}"
            raise ParameterError(f"tokenizer {spec.name!r} spectrum_steps", self.spectrum_steps, expected, REMEDY)
        return steps // self.steps_per_token

    def spectrum_bins(self) -> int:
        """Frequencies of the power spectrum, 0 without one."""
        return self.spectrum_steps // 2 + 1 if self.spectrum_steps else 0

    def tensor_shapes(self, spec: ModalitySpec, d_model: int) -> Shapes:
        channels, stem = spec.shape[1], self.stem_channels
        shapes: Shapes = {
            **layer_shapes("conv", stem, channels + 1, SERIES_KERNEL),
            **layer_shapes("norm", stem),
            **layer_shapes("mix", d_model, stem, self.steps_per_token),
        }
        if self.spectrum_steps:
            shapes |= layer_shapes("spectrum.mix", d_model, channels * self.spectrum_bins(), 1)
        return shapes

    def flops(self, spec: ModalitySpec, d_model: int) -> int:
        (steps, channels), tokens, stem = spec.shape, self.token_count(spec), self.stem_channels
        macs = steps * (channels + 1) * SERIES_KERNEL * stem + tokens * stem * self.steps_per_token * d_model
        macs += channels * tokens * 2 * self.spectrum_bins() * self.spectrum_steps
        macs += tokens * channels * self.spectrum_bins() * d_model
        return 2 * macs


@dataclass(frozen=True)
class FrameTokenizerConfig(TokenizerConfig):
    """Stem of a camera or a LiDAR."""

    frames_per_token: Count = 2
    stem_channels: Annotated[tuple[Count, ...], Rule(bool, "at least one number of channels")] = (16, 24, 32)
    crop_columns: _Length = 0  # only so many columns in the middle of the picture are seen; 0 keeps all of them
    grid: tuple[Count, Count] = (4, 3)  # rows and columns that the last convolution is averaged down to
    # "also": differences between frames beside the frames; "only": differences instead of them.
    motion: Annotated[str, one_of(("none", "also", "only"))] = "none"
    # The stem is told where the frame holds data: "each" channel apart, "one" mask for all channels, or "none".
    validity_mask: Annotated[str, one_of(("each", "one", "none"))] = "each"
    # [rows, columns]: the picture is divided into so many parts, whose mean and texture are added to the token; [] adds none.
    statistics: Annotated[tuple[Count, ...], Rule(lambda v: len(v) in (0, 2), "[rows, columns], or [] for none")] = ()

    @property
    def keeps_tokens(self) -> bool:
        return self.frames_per_token == 1 and self.motion == "none"

    @property
    def sees_valid_pixels(self) -> bool:
        return self.validity_mask == "one" or bool(self.statistics)

    def smaller(self, size: StemSize) -> FrameTokenizerConfig:
        stem_channels = tuple(size.kept(c) for c in self.stem_channels)
        return replace(self, stem_channels=stem_channels, statistics=self.statistics if size.features else (), sizes=())

    def token_count(self, spec: ModalitySpec) -> int:
        frames = spec.shape[0]
        if frames % self.frames_per_token:
            raise ParameterError(
                f"tokenizer {spec.name!r} frames_per_token", self.frames_per_token, f"a divisor of {frames}", REMEDY
            )
        rows, columns = spec.shape[2:]
        if self.crop_columns > columns:
            raise ParameterError(f"tokenizer {spec.name!r} crop_columns", self.crop_columns, f"at most {columns}", REMEDY)
        parts = (rows, (self.crop_columns or columns) // 2**TEXTURE_SCALES)
        if self.statistics and not all(n <= most for n, most in zip(self.statistics, parts)):
            expected = f"[rows, columns] of at most {list(parts)}"
            raise ParameterError(f"tokenizer {spec.name!r} statistics", list(self.statistics), expected, REMEDY)
        return frames // self.frames_per_token

    def seen(self, window: np.ndarray, tokens: int) -> np.ndarray:
        columns = self.crop_columns or window.shape[-1]
        first = (window.shape[-1] - columns) // 2
        return super().seen(window[..., first : first + columns], tokens)

    def planes(self, spec: ModalitySpec) -> int:
        """Planes that the first convolution takes: the channels, their validity masks and their motion, of all frames."""
        channels = spec.shape[1]
        masks = {"each": channels, "one": 1, "none": 0}[self.validity_mask]
        return self.frames_per_token * (channels + masks) * (2 if self.motion == "also" else 1)

    def kernels(self) -> list[int]:
        """Size of the kernel of each convolution."""
        return [FIRST_KERNEL if i == 0 else LATER_KERNEL for i in range(len(self.stem_channels))]

    def statistics_size(self, spec: ModalitySpec) -> int:
        """Numbers per frame that the statistics give, 0 without them."""
        if not self.statistics:
            return 0
        kinds = 1 + TEXTURE_SCALES * (2 if sensor_kind(spec.kind).rows_adjoin else 1)
        return spec.channels * kinds * self.statistics[0] * self.statistics[1]

    def tensor_shapes(self, spec: ModalitySpec, d_model: int) -> Shapes:
        sizes = [self.planes(spec), *self.stem_channels]
        shapes: Shapes = {}
        for i, (kernel, before, after) in enumerate(zip(self.kernels(), sizes, sizes[1:])):
            shapes |= layer_shapes(f"convs.{i}", after, before, kernel, kernel) | layer_shapes(f"norms.{i}", after)
        shapes |= layer_shapes("mix", d_model, sizes[-1] * self.grid[0] * self.grid[1])
        if self.statistics:
            shapes |= layer_shapes("statistics.mix", d_model, self.frames_per_token * self.statistics_size(spec))
        return shapes

    def flops(self, spec: ModalitySpec, d_model: int) -> int:
        tokens, (rows, columns) = self.token_count(spec), spec.shape[2:]
        columns = self.crop_columns or columns
        sizes = [self.planes(spec), *self.stem_channels]
        macs = 0
        for kernel, before, after in zip(self.kernels(), sizes, sizes[1:]):
            rows, columns = -(-rows // 2), -(-columns // 2)
            macs += tokens * rows * columns * kernel * kernel * before * after
        macs += tokens * sizes[-1] * self.grid[0] * self.grid[1] * d_model
        macs += tokens * self.frames_per_token * self.statistics_size(spec) * d_model
        return 2 * macs


def tokenizer_config(spec: ModalitySpec, options: TokenizerConfig | Mapping[str, Any] | None = None) -> TokenizerConfig:
    """The options of a modality as a record, defaults filled in; raises ParameterError on an option it does not have."""
    named = options.get("stem", "") if isinstance(options, Mapping) else options.stem_name if options is not None else ""
    wanted = sensor_kind(spec.kind).stem(named).options_class()
    if options is None or isinstance(options, Mapping):
        return build(wanted, options or {}, f"tokenizer {spec.name!r}", REMEDY)
    if not isinstance(options, wanted):
        raise ParameterError(f"tokenizer {spec.name!r}", type(options).__name__, f"a {wanted.__name__}", REMEDY)
    return options


def leading_weights(weights: Mapping[str, np.ndarray], shapes: Shapes) -> dict[str, np.ndarray]:
    """The leading part of every tensor that a smaller stem has: ``shapes`` are those of `TokenizerConfig.tensor_shapes`."""
    return {name: weights[name][tuple(slice(n) for n in shape)] for name, shape in shapes.items()}


def layer_shapes(name: str, out: int, *inner: int) -> Shapes:
    """Weight (out, *inner) and bias (out,) of a layer."""
    return {f"{name}.weight": (out, *inner), f"{name}.bias": (out,)}
