"""docs/RECIPE.md names every key that a recipe has, with the range and the default that the code has."""

import re
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, get_args, get_origin, get_type_hints

import pytest

from sentryfuse_ros.model.config import FuseConfig
from sentryfuse_ros.model.patch_config import PatchTokenizerConfig
from sentryfuse_ros.model.tokenizer_config import FrameTokenizerConfig, SeriesTokenizerConfig, StemSize
from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.sensor_kinds import sensor_kinds
from sentryfuse_ros.training.augment import Augment
from sentryfuse_ros.training.elastic import Elastic
from sentryfuse_ros.training.recipe import Recipe
from sentryfuse_ros.training.schedule import Schedule
from sentryfuse_ros.validation import Rule

PAGE = (Path(__file__).parents[1] / "docs" / "RECIPE.md").read_text(encoding="utf-8")
SECTIONS = {
    "The training": Recipe,
    "modalities": ModalitySpec,
    "model": FuseConfig,
    "tokenizer, of an imu, a series or audio": SeriesTokenizerConfig,
    "tokenizer, of a camera or a lidar": FrameTokenizerConfig,
    "tokenizer, of a camera or a lidar, with stem: patches": PatchTokenizerConfig,
    "sizes": StemSize,
    "schedule": Schedule,
    "elastic": Elastic,
    "augment": Augment,
}


def tables(heading):
    """Rows of the tables between a heading and the next one, without the lines of names and dashes."""
    (text,) = re.findall(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return [row for row in rows if not row[0].startswith("---") and row[0] not in ("key", "kind")]


def shown(field):
    if field.default is MISSING:
        return "required" if field.default_factory is MISSING else "none"
    return written(field.default)


def written(value):
    if value in ("", (), None):
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(map(written, value)) + "]"
    return value if isinstance(value, str) else f"{value:g}"


def rule_of(hint):
    """The words of the rule of an annotation; "" where it has none."""
    rules = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return next((rule.expected for rule in rules if isinstance(rule, Rule)), "")


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_key_has_its_meaning_range_and_default(heading):
    kind = SECTIONS[heading]
    hints = get_type_hints(kind, include_extras=True)
    filled_in = {"modalities", "classes"} if kind is FuseConfig else set()  # by the training
    own = [field for field in fields(kind) if field.name not in filled_in]
    rows = {row[0].strip("`"): row[1:] for row in tables(heading) if len(row) == 4 and row[0].startswith("`")}
    assert set(rows) == {field.name for field in own}
    for field in own:
        meaning, allowed, default = rows[field.name]
        assert meaning and allowed and default == shown(field), field.name
        assert not rule_of(hints[field.name]) or allowed == rule_of(hints[field.name]), field.name


def test_every_option_of_every_kind_is_there():
    written = {
        (kind.strip(), row[1].strip("`"))
        for row in tables("modalities")
        if not row[0].startswith("`")
        for kind in row[0].split(",")
    }
    assert written == {(kind.name, option) for kind in sensor_kinds() for option in kind.options}
