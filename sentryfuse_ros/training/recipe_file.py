"""Reading the YAML file of a recipe, of whatever kind it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import ParameterError
from ..yaml_files import load_yaml


def read_recipe_file(path: str | Path, what: str, example: str) -> dict[str, Any]:
    """The keys of the file. ``what`` names it in errors, and ``example`` is a remedy that names a file like it.

    Raises ParameterError where the file is missing, is not YAML, or holds something else than keys with values.
    """
    values = load_yaml(path, what, example)
    if not isinstance(values, dict):
        raise ParameterError(f"{what} {path}", type(values).__name__, "a mapping of keys to values", example)
    return values
