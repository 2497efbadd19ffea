"""The files that a replay leaves: timeline, picture, summary and report."""

from __future__ import annotations

import json
from pathlib import Path

from ..files import write_atomically
from ..replay.judge import RunResult
from .run_page import page
from .run_plots import draw_run
from .run_timeline import write_timeline


def write_results(result: RunResult, out: Path, html: Path | None) -> None:
    """Write timeline.csv, timeline.png and summary.json into ``out``, and the report, with the same drawing, to ``html``."""
    write_timeline(out / "timeline.csv", result.record)
    svg = draw_run(result.record, out / "timeline.png")
    (out / "summary.json").write_text(json.dumps(result.to_dict(), indent=1) + "\n", encoding="utf-8")
    if html is not None:
        html.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(html, page(result, svg))
