"""The figures of a caption head that `sentryfuse bench streaming` repeats; `benchmarks/captions.py` measures them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from ..errors import DataError

KEYS = ("caption_cider", "caption_facts_true", "caption_ms")


class CaptionFigures(NamedTuple):
    """``summary`` has KEYS; model_sha256: the weights that the head reads."""

    summary: dict[str, float]
    model_sha256: str


def read_caption_figures(path: Path) -> CaptionFigures:
    """From the results of `benchmarks.captions`. Raises DataError where they cannot be read."""
    remedy = "write it with: python -m benchmarks.captions --json " + str(path)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return CaptionFigures({key: float(values["summary"][key]) for key in KEYS}, str(values["model_sha256"]))
    except (OSError, ValueError) as error:
        raise DataError(f"caption figures {path}", str(error), "results of benchmarks.captions", remedy) from error
    except (KeyError, TypeError) as error:
        raise DataError(f"caption figures {path}", f"no {error}", "results of benchmarks.captions", remedy) from error
