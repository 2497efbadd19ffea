"""Options of the tokenisers, one record per kind of stem; `tokenizers.py` says what the stems do with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from ..errors import ParameterError
from ..preprocessing.spec import ModalitySpec
from ..sensor_kinds import sensor_kind
from ..validation import Count, Rule, build, check, one_of

_REMEDY = "correct the tokenizer section of the model in the training YAML"
_Length = Annotated[int, Rule(lambda v: v >= 0, "a whole number of 0 or more")]


@dataclass(frozen=True)
class TokenizerConfig:
    """Base of the options of a tokeniser; a tokeniser class names its own record in ``Options``."""

    def __post_init__(self) -> None:
        check(self, "tokenizer", _REMEDY)


@dataclass(frozen=True)
class SeriesTokenizerConfig(TokenizerConfig):
    """Stem of an IMU, a series or audio."""

    steps_per_token: Count = 10
    stem_channels: Count = 48
    # Length of the window around each token whose power spectrum, of every channel, is added to the token; 0 adds none.
    spectrum_steps: _Length = 0


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


def tokenizer_config(spec: ModalitySpec, options: TokenizerConfig | Mapping[str, Any] | None = None) -> TokenizerConfig:
    """The options of a modality as a record, defaults filled in; raises ParameterError on an option it does not have."""
    wanted = sensor_kind(spec.kind).tokenizer_class().Options
    if options is None or isinstance(options, Mapping):
        return build(wanted, options or {}, f"tokenizer {spec.name!r}", _REMEDY)
    if not isinstance(options, wanted):
        raise ParameterError(f"tokenizer {spec.name!r}", type(options).__name__, f"a {wanted.__name__}", _REMEDY)
    return options
