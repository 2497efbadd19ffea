"""Parts of a page that programs write: each stands between its marks, ``<!-- NAME -->`` and ``<!-- end NAME -->``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import DataError, reason_of
from ..files import write_atomically


def read_page(path: Path) -> str:
    """The text of a page; raises DataError where it is missing."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(
            f"page {path}", reason_of(error), "a page with marks for its tables", "take that of the sources"
        ) from error


def insert(path: Path, parts: Mapping[str, str]) -> None:
    """Replace what stands between the marks of each part; raises DataError where the page or a mark is missing."""
    text = read_page(path)
    for name, part in parts.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end {name} -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise DataError(
                f"page {path}", f"{text.count(begin)} places for {name}", f"{begin.strip()} and {end} once", "restore the marks"
            )
        before, _, rest = text.partition(begin)
        text = before + begin + part + "\n" + rest[rest.index(end) :]
    write_atomically(path, text)


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, without a line's end behind its last row."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows))
