"""Another installation of this package, in a virtual environment of its own, as programs of it are started from here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ..errors import ParameterError
from ..paths import PACKAGE


def interpreter_of(prefix: Path) -> Path:
    """The Python of a virtual environment. Raises ParameterError where there is none."""
    python = prefix.absolute() / "bin" / "python"
    if not python.exists():
        raise ParameterError("--before", prefix, "a virtual environment that holds this package", "give its folder")
    return python


def start_script_of(prefix: Path, name: str) -> Path:
    """The start script of a node in a virtual environment. Raises ParameterError where there is none."""
    interpreter_of(prefix)
    script = prefix.absolute() / "lib" / PACKAGE / name
    if not script.exists():
        expected = f"one that holds this package with its nodes (lib/{PACKAGE}/{name})"
        raise ParameterError("--before", prefix, expected, "run make setup in the sources of the other version")
    return script


def environment_of_other(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The same without the entries of PYTHONPATH that hold this package: the other one must find its own. Those that hold ROS
    stay. The working directory must not lead to this package either."""
    own = dict(environment)
    paths = [path for path in own.pop("PYTHONPATH", "").split(os.pathsep) if path and not Path(path, PACKAGE).is_dir()]
    return {**own, "PYTHONPATH": os.pathsep.join(paths)} if paths else own
