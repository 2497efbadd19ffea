"""Reading the YAML files that people write: parameters, recipes, fault scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from .errors import ParameterError, reason_of


def load_yaml(path: str | Path, what: str, remedy: str | None = None) -> Any:
    """What a YAML file holds; ``what`` is how an error names it.

    Raises ParameterError where the file cannot be read, or with the line where it is no YAML.
    """
    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ParameterError(f"{what} {path}", reason_of(error), "a readable YAML file", remedy) from error
    except UnicodeDecodeError as error:
        raise ParameterError(f"{what} {path}", "bytes that are no text", "a YAML file in UTF-8", remedy) from error
    except yaml.YAMLError as error:
        raise ParameterError(f"{what} {path}", _mistake(error), "valid YAML", remedy) from error
    except (ValueError, RecursionError) as error:  # of a date that does not exist, or of blocks within blocks without end
        raise ParameterError(f"{what} {path}", str(error), "valid YAML", remedy) from error


def _mistake(error: yaml.YAMLError) -> str:
    """The mistake and its line, in one line."""
    mark = getattr(error, "problem_mark", None)
    parts = [part for part in (getattr(error, "context", None), getattr(error, "problem", None)) if part]
    text = ": ".join(parts) or str(error).partition("\n")[0]
    return f"{text}, in line {mark.line + 1}" if mark is not None else text
