"""COCO's layout of captions, on made-up files."""

import json

import pytest

from sentryfuse_ros.errors import DataError
from sentryfuse_ros.language.coco import CaptionedImage, read_annotations, read_results

GOOD = {
    "info": {"year": 2014},
    "licenses": [],
    "images": [
        {"id": 42, "file_name": "COCO_val2014_000000000042.jpg", "height": 480, "width": 640},
        {"id": 7, "file_name": "b.jpg"},
        {"id": 8, "file_name": "nobody_wrote_of_it.jpg"},
    ],
    "annotations": [
        {"id": 1, "image_id": 7, "caption": "A dog on grass."},
        {"id": 2, "image_id": 42, "caption": "A road."},
        {"id": 3, "image_id": 7, "caption": "Un chien, à l’herbe."},
    ],
}


def file_of(folder, values, name="captions.json"):
    path = folder / name
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def test_images_and_their_captions_are_read(tmp_path):
    assert read_annotations(file_of(tmp_path, GOOD)) == [
        CaptionedImage(42, "COCO_val2014_000000000042.jpg", ("A road.",)),
        CaptionedImage(7, "b.jpg", ("A dog on grass.", "Un chien, à l’herbe.")),
    ]


def test_results_come_in_the_order_of_the_images(tmp_path):
    images = read_annotations(file_of(tmp_path, GOOD))
    results = [{"image_id": 7, "caption": "dog"}, {"image_id": 42, "caption": "road"}, {"image_id": 9, "caption": "more"}]
    assert read_results(file_of(tmp_path, results, "r.json"), images) == ["road", "dog"]


@pytest.mark.parametrize(
    "values, text",
    [
        ([], "an object with images"),
        ({"images": {}}, "images that are dict"),
        ({"images": [{"id": "42", "file_name": "a"}], "annotations": []}, r"images\[0\] id"),
        ({"images": [{"id": 1}], "annotations": []}, r"images\[0\] file_name"),
        ({"images": [{"id": 1, "file_name": "a"}] * 2, "annotations": []}, "id 1 again"),
        ({"images": [], "annotations": [{"image_id": 5, "caption": "a"}]}, "image_id 5"),
        (
            {"images": [{"id": 5, "file_name": "a"}], "annotations": [{"image_id": 5, "caption": None}]},
            r"annotations\[0\] caption",
        ),
    ],
)
def test_wrong_annotations_are_named(tmp_path, values, text):
    with pytest.raises(DataError, match=text):
        read_annotations(file_of(tmp_path, values))


@pytest.mark.parametrize(
    "values, text",
    [
        ({}, "list of objects"),
        ([{"image_id": 42, "caption": "a"}], "no caption for image 7"),
        ([{"image_id": 42, "caption": "a"}] * 2, "image_id 42 again"),
    ],
)
def test_wrong_results_are_named(tmp_path, values, text):
    with pytest.raises(DataError, match=text):
        read_results(file_of(tmp_path, values, "r.json"), read_annotations(file_of(tmp_path, GOOD)))


def test_files_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "broken.json").write_text("{")
    for name in ("broken.json", "nowhere.json"):
        with pytest.raises(DataError, match=name):
            read_annotations(tmp_path / name)
