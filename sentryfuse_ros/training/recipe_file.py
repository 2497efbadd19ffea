"""Reading the YAML file of a recipe, of whatever kind it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ..errors import ParameterError, reason_of


def read_recipe_file(path: str | Path, what: str, example: str) -> dict[str, Any]:
    """The keys of the file. ``what`` names it in errors, and ``example`` is a remedy that names a file like it.

    Raises ParameterError where the file is missing, is not YAML, or holds something else than keys with values.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ParameterError(f"{what} {path}", reason_of(error), "a readable YAML file", example) from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ParameterError(f"{what} {path}", str(error), "a readable YAML file", example) from error
    if not isinstance(values, dict):
        raise ParameterError(f"{what} {path}", type(values).__name__, "a mapping of keys to values", example)
    return values
