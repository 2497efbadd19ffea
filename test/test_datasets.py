"""Finding a data set by its name, and what every data set offers."""

import pytest

from sentryfuse_ros.datasets import DATASETS, dataset, utd_mhad
from sentryfuse_ros.errors import DataError
from sentryfuse_ros.preprocessing import ModalitySpec

DRIVE = (
    ModalitySpec("gyroscope", "series", 5.0, (250, 3)),
    ModalitySpec("accelerometer", "series", 5.0, (250, 3)),
    ModalitySpec("wheel_velocity", "series", 5.0, (32, 2)),
    ModalitySpec("motor_current", "series", 5.0, (32, 2)),
)


DIGITS = (
    ModalitySpec("audio", "audio", 1.0, (50, 40), options={"sample_rate_hz": 8000}),
    ModalitySpec("image", "camera", 1.0, (1, 1, 28, 28), "mono"),
)


@pytest.mark.parametrize("name, specs, where", [("borealtc", DRIVE, "BorealTC"), ("av_digits", DIGITS, "free-spoken-digit")])
def test_without_the_files_the_error_says_where_they_are_from(tmp_path, monkeypatch, name, specs, where):
    monkeypatch.setenv("SENTRYFUSE_DATA", str(tmp_path))
    with pytest.raises(DataError, match=f"SENTRYFUSE_DATA.*{where}.*datasets/{name}.py"):
        dataset(name).load(specs)


def test_every_set_has_classes_splits_and_provenance():
    for name in DATASETS:
        source = dataset(name)
        assert {"train", "test"} <= set(source.SPLIT) and len(source.CLASSES) > 1 and source.PROVENANCE and source.load
        groups = [g for split in source.SPLIT.values() for g in split]
        assert len(groups) == len(set(groups))


def test_unknown_set_and_unknown_modality():
    with pytest.raises(DataError, match="utd_mhad"):
        dataset("imagenet")
    with pytest.raises(DataError, match="mic"):
        utd_mhad.load([ModalitySpec("mic", "audio", 1.0, (10, 8))])
