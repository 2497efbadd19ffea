"""Which files are recordings, and which of them belong together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ..errors import BagError, raise_all

METADATA = "metadata.yaml"
SUFFIXES = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd", ".bag", ".bag.active")  # the last two are ROS 1
# rosbag2 splits a recording into NAME_0.mcap, NAME_1.mcap and so on. NAME_01.mcap is not a piece: somebody counts recordings.
_PIECE = re.compile(r"^(?P<name>.*)_(?P<number>0|[1-9]\d*)$")


def bag_folder(path: Path) -> Path:
    """The folder of a bag that is given by its folder or by a file in it."""
    return path if path.is_dir() else path.parent


def bag_name(path: Path) -> str:
    """What a recording is called: its folder's name, or for a file without metadata.yaml, the file's name without its suffix.

    The pieces of a split recording are called as one, without their numbers.
    """
    if path.is_dir():
        return path.resolve().name
    if _is_announced(path):
        return path.resolve().parent.name
    name, number = _split_name(path)
    is_piece = number == 0 or any(path.with_name(f"{name}_0{suffix}").exists() for suffix in SUFFIXES)
    return name if is_piece else _stem(path)


def check_there(paths: Sequence[Path]) -> None:
    """Raises BagError with every path at which there is nothing."""
    recording = "a rosbag2 folder with metadata.yaml, or an mcap or db3 file"
    raise_all([BagError(f"bag {path}", "nothing there", recording, "check the path") for path in paths if not path.exists()])


def find_bags(paths: Sequence[Path]) -> list[Path]:
    """The recordings that are given, and those below folders that are given, sorted by name.

    Nothing is opened: a path that is no recording is returned too, so that whoever opens it says what is wrong with it. A
    recording to which a link leads as well, such as ``latest``, is returned once.
    """
    found: list[Path] = []
    for path in (p.resolve() for p in paths):
        if path.is_dir():
            found += _recordings_in(path) or [path]
        else:
            found.append(path.parent if _is_announced(path) else path)
    once: dict[Path, Path] = {}
    for path in found:
        place = path.resolve()
        if path == place or place not in once:
            once[place] = path
    return list(once.values())


def storage_files(bag: Path) -> tuple[list[Path], list[str]]:
    """The files of one recording in order, and the names of those that its metadata.yaml announces but that are not there."""
    if bag.is_file() and not _is_announced(bag):
        return [bag], []
    folder = bag_folder(bag)
    announced = _announced(folder)
    present = [path for path in announced if path.exists()]
    if present:
        return present, [path.name for path in announced if not path.exists()]
    return sorted(_storage_in(folder), key=_split_name), []


def announced_messages(bag: Path) -> int | None:
    """How many ROS messages the recording's metadata.yaml announces; None if there is none, or it does not say."""
    if bag.is_file() and not _is_announced(bag):
        return None
    metadata = _metadata(bag_folder(bag))
    count = metadata.get("message_count")
    topics: Any = metadata.get("topics_with_message_count")
    if not isinstance(count, int):
        return None
    try:
        return count - sum(t["message_count"] for t in topics if t["topic_metadata"]["serialization_format"] != "cdr")
    except (KeyError, TypeError):  # as for the other keys, an odd value does not matter
        return count


def recordings_in_files(files: Sequence[Path]) -> dict[str, list[Path]]:
    """Files without metadata.yaml by the recording that they are pieces of. Pieces are numbered from 0, or they are no pieces."""
    groups: dict[str, list[Path]] = {}
    begun: set[str] = set()  # recordings of which there is piece 0
    for path in sorted(files, key=_split_name):
        name, number = _split_name(path)
        if number == 0 and name not in groups:
            begun.add(name)
        groups.setdefault(name if number < 0 or name in begun else path.name, []).append(path)
    return groups


def _recordings_in(folder: Path) -> list[Path]:
    """The recordings of a folder; if it has none, those of the folders in it."""
    if (folder / METADATA).exists():
        return [folder]
    groups = recordings_in_files(_storage_in(folder))
    if len(groups) == 1:
        return [folder]
    if groups:
        return [path for files in groups.values() for path in files]
    inside = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [bag for path in inside for bag in _recordings_in(path)]


def _storage_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if path.is_file() and path.name.endswith(SUFFIXES)]


def _metadata(folder: Path) -> dict[str, object]:
    """What metadata.yaml says; {} if there is none, or it is damaged: the files themselves say everything that is needed."""
    try:
        tree = yaml.safe_load((folder / METADATA).read_text(encoding="utf-8"))
        found = tree["rosbag2_bagfile_information"]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _announced(folder: Path) -> list[Path]:
    """The files that metadata.yaml names. Old versions wrote paths from outside the folder; the names count."""
    names = _metadata(folder).get("relative_file_paths")
    return [folder / Path(name).name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _is_announced(path: Path) -> bool:
    """Whether a file is part of the recording that the metadata.yaml beside it describes.

    Another one, such as what somebody recovered of it, is a recording of its own; but where the files that it names are all gone,
    they were renamed.
    """
    announced = _announced(path.parent)
    return path.name in (other.name for other in announced) or bool(announced and not any(p.exists() for p in announced))


def _split_name(path: Path) -> tuple[str, int]:
    """Name and number of a piece of a split recording: run_12.mcap -> ("run", 12)."""
    stem = _stem(path)
    piece = _PIECE.match(stem)
    return (piece["name"], int(piece["number"])) if piece else (stem, -1)


def _stem(path: Path) -> str:
    """The name of a file without its suffix."""
    suffix = next((suffix for suffix in SUFFIXES[2:] + SUFFIXES[:2] if path.name.endswith(suffix)), path.suffix)
    return path.name.removesuffix(suffix)
