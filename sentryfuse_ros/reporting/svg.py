"""A matplotlib figure as an <svg> element that can stand in a page beside others."""

from __future__ import annotations

import io
import re
from html import escape

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

from .style import FIGURE_STYLE


def svg_of(figure: Figure, prefix: str, title: str) -> Markup:
    """The figure as markup. Its ids get the ``prefix``, so that several figures fit in one page; ``title`` describes it."""
    with rc_context(FIGURE_STYLE):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", facecolor="none", metadata={"Date": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r' xmlns(:xlink)?="[^"]*"', "", text)  # HTML knows both name spaces
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", text)
    box = re.search(r'viewBox="[^"]*"', text)
    assert box is not None, "matplotlib always writes the view box"
    return Markup(f'<svg {box.group()} role="img" aria-label="{escape(title)}">' + text[text.index(">") + 1 :])
