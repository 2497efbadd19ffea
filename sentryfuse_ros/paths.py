"""Where the shipped files, checkpoints, data sets and start scripts lie.

After an installation by colcon or pip, ``config/``, ``models/`` and ``launch/`` are in ``<prefix>/share/sentryfuse_ros``.
In a source tree they are beside the package.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from .errors import DataError, ParameterError, SentryFuseError

PACKAGE = "sentryfuse_ros"
NO_FOLDER = Path(os.devnull, PACKAGE)  # nothing can be made in it, on any system


def share_path(*parts: str) -> Path:
    """Path of a shipped file or folder, e.g. ``share_path("config", "fuse.yaml")``.

    Raises SentryFuseError if it is not part of this installation.
    """
    # Links are not resolved: with `colcon build --symlink-install`, the files of the package are links to the source tree,
    # and share/ lies beside the links, not beside their targets.
    here = Path(__file__).absolute().parent
    looked = []
    for parent in here.parents:
        for base in (parent / "share" / PACKAGE, parent):
            candidate = base.joinpath(*parts)
            if base != parent or parent == here.parent:  # a source tree is searched only directly above the package
                looked.append(str(base))
                if candidate.exists():
                    return candidate
    raise SentryFuseError(
        f"shipped file {'/'.join(parts)}",
        "none of " + ", ".join(looked[:4]),
        "it beside the installed package",
        "reinstall the package (make setup, or colcon build)",
    )


def cache_root() -> Path | None:
    """This package's folder below `$XDG_CACHE_HOME` or ~/.cache (XDG Base Directory); None if there is no home folder."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):  # the specification says to ignore a relative path
        return Path(base, PACKAGE)
    home = os.path.expanduser("~")  # "~" itself where nothing tells the home folder
    return Path(home, ".cache", PACKAGE) if os.path.isabs(home) else None


def cache_path(*parts: str) -> Path:
    """Path of a file that can be made again at any time, in `cache_root`. It and its folder may not exist, and where there is no
    home folder, they cannot be made."""
    return Path(cache_root() or NO_FOLDER, *parts)


def expanded(path: str | Path) -> Path:
    """A path with the home folder in the place of ~, and as it is where nothing tells the home folder."""
    return Path(os.path.expanduser(path))


def data_root() -> Path:
    """Folder of data sets and recordings: ``$SENTRYFUSE_DATA``, or ``../shared`` relative to the working folder."""
    return Path(os.environ.get("SENTRYFUSE_DATA", os.path.join("..", "shared")))


def data_path(*parts: str) -> Path:
    """A file or folder below `data_root`. Raises DataError that names SENTRYFUSE_DATA if it does not exist."""
    path = data_root().joinpath(*parts)
    if not path.exists():
        raise DataError(
            f"data {'/'.join(parts)}",
            f"nothing at {path}",
            "the recorded data",
            "set SENTRYFUSE_DATA to the folder that holds data/ and bags/",
        )
    return path


def model_path(model: str) -> Path:
    """Path of a checkpoint, given as a path or as the name of a shipped model.

    Raises SentryFuseError that lists the shipped models if there is no such checkpoint.
    """
    path = expanded(model)
    if model and path.exists():
        return path
    if path.name == model:  # a name, or nothing at all
        models = share_path("models")
        if model and (models / model).exists():
            return models / model
        shipped = sorted(p.name for p in models.iterdir() if p.is_dir())
        raise SentryFuseError("parameter model", repr(model), f"a path, or one of {', '.join(shipped)}")
    raise SentryFuseError("parameter model", f"no file at {path}", "a checkpoint folder or .safetensors file")


def model_roots(at_start: str, configured: str) -> tuple[Path, ...]:
    """What checkpoints a node may read: the shipped ones, the one given at its start, and all below the configured folders.

    configured: folders separated by colons.
    """
    given = [expanded(folder) for folder in configured.split(":") if folder]
    return (*share_path("models").iterdir(), expanded(at_start), *given)


def check_model_root(path: Path, roots: Iterable[Path]) -> None:
    """Raises ParameterError for a checkpoint that does not lie in one of these folders, links followed."""
    real, allowed = path.resolve(), [root.resolve() for root in roots]
    if not any(real == root or root in real.parents for root in allowed):
        raise ParameterError(
            "parameter model",
            str(path),
            "a shipped model, the one given at the start, or one below model_roots",
            f"start the node with model_roots: {path.parent}",
        )


def executable_path(name: str) -> Path:
    """Start script of a node, `<prefix>/lib/sentryfuse_ros/<name>`. Raises SentryFuseError if it is not installed."""
    for parent in Path(__file__).absolute().parents:
        candidate = parent / "lib" / PACKAGE / name
        if candidate.exists():
            return candidate
    raise SentryFuseError(
        f"node {name}",
        "no start script beside this installation",
        "a build by colcon",
        "run make setup, or colcon build and source install/setup.bash",
    )
