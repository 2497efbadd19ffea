"""The files that a replay leaves: timeline, picture, summary and report."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ..files import check_writable, make_folder, write_atomically
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

    @property
    def parameters(self) -> Path:
        """The parameters that fuse_node was started with."""
        return self.out / "parameters.yaml"

    def check(self) -> None:
        """Make the folders of all files. Raises SentryFuseError on a file that cannot be written, before the run."""
        make_folder(self.out)
        for path in filter(None, (self.html, self.json, self.mcap)):
            check_writable(path)

    def write(self, result: RunResult) -> None:
        """Write timeline.csv, timeline.png and summary.json into ``out``, and the other files.

        Raises OSError or SentryFuseError.
        """
        from .run_page import page  # here, because matplotlib takes a second to import: a wrong argument is reported before
        from .run_plots import draw_run

        self.check()
        write_timeline(self.out / "timeline.csv", result.record)
        summary = json.dumps(result.to_dict(), indent=1) + "\n"
        for path in filter(None, (self.out / "summary.json", self.json)):  # before the drawing, which takes seconds
            write_atomically(path, summary)
        drawing = draw_run(result.record, self.out / "timeline.png")
        if self.html is not None:
            write_atomically(self.html, page(result, drawing))
