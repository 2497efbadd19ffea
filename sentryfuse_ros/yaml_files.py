"""Reading the YAML files that people write: parameters, recipes, fault scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from .errors import ParameterError, reason_of


class RepeatedKeyError(ParameterError):
    """A YAML file has the same key twice in one place."""


class _RepeatedKey(yaml.MarkedYAMLError):
    """The same, as the YAML library knows it."""


class _Loader(yaml.SafeLoader):
    """Refuses a key that comes twice, as YAML demands. PyYAML keeps the last value, and ROS 2 joins the two blocks."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value == "<<":
                continue
            if key.value in lines:
                raise _RepeatedKey(
                    problem=f"the key {key.value} again after line {lines[key.value]}", problem_mark=key.start_mark
                )
            lines[key.value] = key.start_mark.line + 1
        return node


def load_yaml(path: str | Path, what: str, remedy: str | None = None) -> Any:
    """What a YAML file holds; ``what`` is how an error names it.

    Raises ParameterError where the file cannot be read, or with the line where it is no YAML, and RepeatedKeyError with both
    lines where a key comes twice.
    """
    try:
        return yaml.load(Path(path).read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise ParameterError(f"{what} {path}", reason_of(error), "a readable YAML file", remedy) from error
    except UnicodeDecodeError as error:
        raise ParameterError(f"{what} {path}", "bytes that are no text", "a YAML file in UTF-8", remedy) from error
    except _RepeatedKey as error:
        raise RepeatedKeyError(
            f"{what} {path}", _mistake(error), "each key once", "remove one, or join what is below them"
        ) from error
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
