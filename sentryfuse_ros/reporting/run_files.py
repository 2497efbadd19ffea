"""The files that a replay leaves: timeline, picture, summary and report."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ..files import write_atomically
from ..replay.run_summary import RunResult
from .run_timeline import write_timeline


@dataclass(frozen=True)
class RunFiles:
    """Which files to write: some into the folder ``out``; report, copy of the summary and messages if they are asked for.

    mcap_inputs: whether the messages of the sensors are written too.
    """

    out: Path
    html: Path | None = None
    json: Path | None = None
    mcap: Path | None = None
    mcap_inputs: bool = False

    def make_folders(self) -> None:
        """Make the folders of all files. Raises OSError."""
        self.out.mkdir(parents=True, exist_ok=True)
        for path in filter(None, (self.html, self.json, self.mcap)):
            path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, result: RunResult) -> None:
        """Write timeline.csv, timeline.png and summary.json into ``out``, and the other files. Raises OSError."""
        from .run_page import page  # here, because matplotlib takes a second to import: a wrong argument is reported before
        from .run_plots import draw_run

        self.make_folders()
        write_timeline(self.out / "timeline.csv", result.record)
        drawing = draw_run(result.record, self.out / "timeline.png")
        summary = json.dumps(result.to_dict(), indent=1) + "\n"
        for path in filter(None, (self.out / "summary.json", self.json)):
            write_atomically(path, summary)
        if self.html is not None:
            write_atomically(self.html, page(result, drawing))
