"""The pages of the project: what they link to exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path for folder in (ROOT, ROOT / "docs", ROOT / "benchmarks", ROOT / "examples") for path in folder.glob("**/*.md")
)
PAGES = [page for page in dict.fromkeys(PAGES) if not any(part.startswith(".") for part in page.relative_to(ROOT).parts)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert not missing
