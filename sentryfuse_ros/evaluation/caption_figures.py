"""The figures of captions that `sentryfuse bench streaming` repeats, from the results of two benchmarks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import DataError, reason_of

KEYS = ("caption_cider", "caption_facts_true", "caption_ms")
STREAMED_KEYS = ("caption_cider_kept", "caption_cider_kept_standing")  # with STTF and ANC, of every picture encoded whole


class CaptionFigures(NamedTuple):
    """``summary`` has the keys that were asked for; model_sha256: the weights that the head reads."""

    summary: dict[str, float]
    model_sha256: str


def read_caption_figures(path: Path) -> CaptionFigures:
    """From the results of `benchmarks.captions`. Raises DataError where they cannot be read."""
    return _read(path, KEYS, "benchmarks.captions")


def read_streamed_captions(path: Path) -> CaptionFigures:
    """From the results of `benchmarks.streamed_captions`. Raises DataError where they cannot be read."""
    return _read(path, STREAMED_KEYS, "benchmarks.streamed_captions")


def _read(path: Path, keys: Sequence[str], benchmark: str) -> CaptionFigures:
    remedy = f"write it with: python -m {benchmark} --json {path}"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return CaptionFigures({key: float(values["summary"][key]) for key in keys}, str(values["model_sha256"]))
    except (OSError, ValueError) as error:
        raise DataError(f"caption figures {path}", reason_of(error), f"results of {benchmark}", remedy) from error
    except (KeyError, TypeError) as error:
        raise DataError(f"caption figures {path}", f"no {error}", f"results of {benchmark}", remedy) from error
