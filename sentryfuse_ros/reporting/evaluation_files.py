"""The files that `sentryfuse evaluate` writes: the report as JSON, its rows as CSV, and the page."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import SentryFuseError
from ..evaluation.records import EvaluationReport, MaskResult
from ..files import check_writable, write_atomically


@dataclass(frozen=True)
class EvaluationFiles:
    """Which files to write; None for those that nobody asked for."""

    json: Path | None = None
    csv: Path | None = None
    html: Path | None = None

    def check(self) -> None:
        """Make their folders. Raises SentryFuseError on a file that cannot be written, before the long part of the work."""
        for path in filter(None, (self.json, self.csv, self.html)):
            check_writable(path)
        if self.html:
            try:
                import matplotlib  # noqa: F401
            except ImportError as error:
                raise SentryFuseError(
                    "--html",
                    "no package matplotlib",
                    "matplotlib, which draws the figures",
                    "pip install matplotlib, or use --json and --csv",
                ) from error

    def write(self, report: EvaluationReport) -> None:
        """Write the files that were asked for."""
        if self.json:
            write_atomically(self.json, json.dumps(report.to_dict(), indent=1) + "\n")
        if self.csv:
            write_csv(self.csv, report.measured.rows)
        if self.html:
            from .evaluation_page import page

            write_atomically(self.html, page(report))


def write_csv(path: Path, rows: Sequence[MaskResult]) -> None:
    """The rows as a table: live sensors joined by +, the interval in two columns; a cell without a value is empty."""
    flat = []
    for row in rows:
        low, high = row.ci95 or (None, None)
        values = {name: value for name, value in row.to_dict().items() if name != "ci95"}
        flat.append({**values, "live": "+".join(row.live), "ci95_low": low, "ci95_high": high})
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, list(flat[0]))
    table.writeheader()
    table.writerows(flat)
    write_atomically(path, text.getvalue())
