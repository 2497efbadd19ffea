"""HTML pages from the templates beside this file: self-contained, with every text escaped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"
NOTHING = "–"
NBSP = "\u00a0"


@dataclass(frozen=True)
class Cell:
    """A cell of a table. note: smaller, below the text. colour: of the background. bar: percent of a small bar, or None."""

    text: str
    css: str = ""
    note: str = ""
    colour: str = ""
    bar: int | None = None


@dataclass(frozen=True)
class Table:
    """numbers: the columns are aligned to the right, all but the first."""

    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    numbers: bool = False


@dataclass(frozen=True)
class Card:
    """One headline number."""

    value: str
    name: str
    detail: str


@dataclass(frozen=True)
class Picture:
    """A figure as an <svg> element, and its natural width."""

    svg: Markup
    width_px: int


def render(template: str, values: Mapping[str, object], filters: Mapping[str, Callable[..., object]]) -> str:
    """A page from one of the templates. ``filters`` are functions that the template applies to values."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters)
    return environment.get_template(template).render(values)


def percent(share: float | None) -> str:
    """0.934 -> "93.4"; a dash for None."""
    return NOTHING if share is None else f"{100 * share:.1f}"


def words(value: object) -> str:
    """[1, 3] -> "1 3"; of a mapping to lists, the lengths of the lists."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {len(v) if isinstance(v, (list, tuple)) else v}" for name, v in value.items())
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def in_words(facts: Mapping[str, object]) -> str:
    """What a checkpoint says of the data that it was trained on, without what is empty."""
    return "; ".join(f"{key.replace('_', ' ')} {words(value)}" for key, value in facts.items() if value not in ("", [], {}, None))
