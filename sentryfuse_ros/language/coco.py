"""Captions in the layout of COCO (https://cocodataset.org/#format-data, "Image Captioning", and #format-results).

Annotations are one JSON object with "images" [{"id", "file_name", ...}] and "annotations" [{"image_id", "id", "caption"}];
results are a list of {"image_id", "caption"}.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import DataError, reason_of


class CaptionedImage(NamedTuple):
    """An image and what people wrote of it, in the order of the file."""

    id: int
    file_name: str
    captions: tuple[str, ...]


def read_annotations(path: Path) -> list[CaptionedImage]:
    """All images of an annotation file that have a caption, in the order of the file. Raises DataError naming what is wrong."""
    values = _read(path)
    if not isinstance(values, dict):
        raise DataError(f"COCO annotations {path}", type(values).__name__, "an object with images and annotations")
    captions: dict[int, list[str]] = {}
    names: dict[int, str] = {}
    for i, image in enumerate(_entries(path, values.get("images"), "images")):
        number = _number(path, image, "id", f"images[{i}]")
        if number in names:
            raise DataError(f"COCO annotations {path} images[{i}]", f"id {number} again", "an id that no other image has")
        names[number], captions[number] = _text(path, image, "file_name", f"images[{i}]"), []
    for i, annotation in enumerate(_entries(path, values.get("annotations"), "annotations")):
        where = f"annotations[{i}]"
        number = _number(path, annotation, "image_id", where)
        if number not in names:
            raise DataError(f"COCO annotations {path} {where}", f"image_id {number}", "the id of one of the images")
        captions[number].append(_text(path, annotation, "caption", where))
    return [CaptionedImage(number, names[number], tuple(said)) for number, said in captions.items() if said]


def read_results(path: Path, images: Sequence[CaptionedImage]) -> list[str]:
    """One caption per image, in the order of ``images``. Raises DataError if an image has none, or more than one."""
    said: dict[int, str] = {}
    for i, result in enumerate(_entries(path, _read(path), "the file")):
        number = _number(path, result, "image_id", f"[{i}]")
        if number in said:
            raise DataError(f"COCO results {path} [{i}]", f"image_id {number} again", "one caption for each image")
        said[number] = _text(path, result, "caption", f"[{i}]")
    without = [image.id for image in images if image.id not in said]
    if without:
        raise DataError(f"COCO results {path}", f"no caption for image {without[0]}", f"one for each of {len(images)} images")
    return [said[image.id] for image in images]


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"COCO file {path}", reason_of(error), "a JSON file") from error


def _entries(path: Path, values: Any, what: str) -> list[dict[str, Any]]:
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise DataError(f"COCO file {path}", f"{what} that are {type(values).__name__}", "a list of objects")
    return values


def _number(path: Path, values: dict[str, Any], key: str, where: str) -> int:
    if not isinstance(values.get(key), int) or isinstance(values[key], bool):
        raise DataError(f"COCO file {path} {where} {key}", values.get(key), "a whole number")
    return int(values[key])


def _text(path: Path, values: dict[str, Any], key: str, where: str) -> str:
    if not isinstance(values.get(key), str):
        raise DataError(f"COCO file {path} {where} {key}", values.get(key), "text")
    return str(values[key])
