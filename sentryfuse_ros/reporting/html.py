"""Pieces of a self-contained HTML page: nothing is fetched, every text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
:root { --ink: #1d2a35; --soft: #5c6b7a; --line: #dfe5ea; --paper: #ffffff; --back: #f5f7f9; --blue: #1d3557;
        --good: #2f8f4e; --bad: #c8374b; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 15px/1.55 system-ui, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 27px; line-height: 1.25; margin: 0 0 6px; }
h2 { font-size: 19px; margin: 38px 0 8px; }
p { margin: 6px 0 10px; max-width: 78ch; }
.soft { color: var(--soft); }
.small { font-size: 13px; }
.sheet { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; padding: 14px; overflow-x: auto; }
.sheet svg { width: 100%; min-width: 860px; height: auto; display: block; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(250px, 1fr)); gap: 12px; margin: 20px 0 6px; }
.card { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px; }
.card b { display: block; font-size: 25px; line-height: 1.2; font-weight: 650; color: var(--blue); }
.card span { display: block; font-weight: 600; font-size: 13px; }
.card i { display: block; font-style: normal; color: var(--soft); font-size: 13px; line-height: 1.4; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th { text-align: left; font-size: 12.5px; color: var(--soft); font-weight: 600; border-bottom: 2px solid var(--line); }
th, td { padding: 6px 10px 6px 0; vertical-align: top; }
td { border-bottom: 1px solid var(--line); }
tr:last-child td { border-bottom: 0; }
td small { color: var(--soft); display: block; line-height: 1.35; }
.bar { display: inline-block; vertical-align: middle; width: 90px; height: 9px; border-radius: 5px; background: var(--line);
       margin-right: 8px; overflow: hidden; }
.bar i { display: block; height: 100%; background: var(--good); }
.n { white-space: nowrap; }
.good { color: var(--good); font-weight: 600; }
.bad { color: var(--bad); font-weight: 600; }
code { font: 13px ui-monospace, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
"""


class Html(str):
    """Text that is markup already; everything else is escaped where it enters the page."""


def text(value: object) -> Html:
    """A value as it may stand in the page."""
    return value if isinstance(value, Html) else Html(escape(str(value)))


def tag(name: str, *content: object, css: str = "") -> Html:
    """<name class="css">content</name>"""
    css = f' class="{escape(css)}"' if css else ""
    return Html(f"<{name}{css}>{''.join(map(text, content))}</{name}>")


def table(heads: Sequence[object], rows: Iterable[Sequence[object]]) -> Html:
    """A table in a white sheet."""
    head = tag("tr", *(tag("th", h) for h in heads))
    return tag(
        "div", tag("table", tag("thead", head), tag("tbody", *(tag("tr", *(tag("td", c) for c in r)) for r in rows))), css="sheet"
    )


def card(value: object, name: str, more: object) -> Html:
    """One headline number."""
    return tag("div", tag("span", name), tag("b", value), tag("i", more), css="card")


def bar(share: float) -> Html:
    """A small bar, 0 to 1 full."""
    return Html(f'<span class="bar"><i style="width:{100 * min(max(share, 0.0), 1.0):.0f}%"></i></span>')


def page(title: str, sections: Iterable[object]) -> str:
    """The whole document."""
    body = tag("main", *sections)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(title)}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )
