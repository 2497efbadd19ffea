"""Which recordings stay together, and what is said of class names."""

from collections import Counter

import pytest
from bag_maker import labelled
from dataset_maker import SPECS, build

from sentryfuse_ros.datasets import dataset
from sentryfuse_ros.datasets.class_names import look_alike
from sentryfuse_ros.datasets.description import BagDescription
from sentryfuse_ros.datasets.splits import DEFAULT_SHARES, assign_splits, origins_apart, origins_of
from sentryfuse_ros.errors import DataError, ParameterError
from sentryfuse_ros.evaluation.cautions import leaks
from sentryfuse_ros.reporting.dataset_console import notes
from sentryfuse_ros.training.checks import check_origins
from sentryfuse_ros.training.examples import WindowExamples

NAMES = ("subject1_a", "subject1_b", "subject2_a")


def test_origins_from_names_and_from_a_table(tmp_path):
    assert origins_of(NAMES, r"subject(\d+)") == dict(zip(NAMES, "112", strict=True))
    assert origins_of(NAMES, r"subject\d") == dict(zip(NAMES, ("subject1", "subject1", "subject2"), strict=True))
    assert origins_of(NAMES, "") == {}
    table = tmp_path / "places.csv"
    table.write_text("\ufeffbag,place\n" + "".join(f"{name},{place}\n" for name, place in zip(NAMES, "xyx", strict=True)))
    assert origins_of(NAMES, f"{table}:place") == dict(zip(NAMES, "xyx", strict=True))
    for group_by, error, words in (
        (r"subject1", DataError, "no origin of subject2_a"),
        (r"subject(", ParameterError, "regular expression"),
        (f"{table}:day", DataError, "bag and day"),
        (f"{tmp_path}/none.csv:day", DataError, "No such file"),
    ):
        with pytest.raises(error, match=words):
            origins_of(NAMES, group_by)


def bags_of(people=12, each=5, **splits):
    return [
        BagDescription(f"{p}_{i}", windows=10, origin=f"p{p}", split=splits.get(f"b{p}_{i}", ""))
        for p in range(people)
        for i in range(each)
    ]


def test_recordings_of_one_origin_stay_together_and_the_shares_hold():
    out = assign_splits(bags_of(), DEFAULT_SHARES, 0)
    assert all(len({bag.split for bag in out if bag.origin == f"p{p}"}) == 1 for p in range(12)) and not origins_apart(out)
    counts = Counter(bag.split for bag in out)
    assert counts["train"] in (35, 40, 45) and counts["val"] in (5, 10, 15) and counts["test"] in (5, 10, 15)
    out = assign_splits(bags_of(b3_2="test"), DEFAULT_SHARES, 0)
    assert {bag.split for bag in out if bag.origin == "p3"} == {"test"}


@pytest.mark.parametrize("unit", [1, 100, 0.1])
def test_only_the_proportions_of_the_shares_count(unit):
    shares = {name: unit * share for name, share in (("train", 0.5), ("val", 0.25), ("test", 0.25))}
    counts = Counter(bag.split for bag in assign_splits(bags_of(people=20, each=1), shares, 0))
    assert counts == {"train": 10, "val": 5, "test": 5}


def test_an_origin_on_both_sides_is_said():
    out = assign_splits(bags_of(b3_2="test", b3_4="train"), DEFAULT_SHARES, 0)
    (remark,) = origins_apart(out)
    assert "recordings of p3 are in test and train" in remark
    trained = {"origins": {"train": ["p1", "p3"]}, "recordings": {"train": ["p3_4"]}}
    assert "other recordings of p3" in leaks(trained, "set", ["test"], ["p3_2"], {"p3", "p7"})[0]
    assert not leaks(trained, "set", ["test"], ["p7_2"], {"p7"})


def test_a_data_set_knows_its_origins(tmp_path):
    bags = [labelled(tmp_path / f"p{i // 2}_{i}", (0, 2, "Sand"), (2, 4, "sand"), seconds=4) for i in range(6)]
    about = build(bags, "intervals.csv", tmp_path / "set", group_by=r"p\d")
    split = {bag.name: bag.split for bag in about.bags}
    assert all(split[f"p{p}_{2 * p}"] == split[f"p{p}_{2 * p + 1}"] for p in range(3)) and len(set(split.values())) == 3
    source = dataset(str(tmp_path / "set"))
    parts = {name: WindowExamples(source.load(SPECS, (name,))) for name in ("train", "val", "test")}
    assert set().union(*(part.windows.origins() for part in parts.values())) == {"p0", "p1", "p2"}
    assert all(len(part.windows.origins()) == 1 for part in parts.values())
    assert not check_origins(parts["train"], parts["val"]) and check_origins(parts["train"], parts["train"])
    assert any("'Sand' and 'sand' look alike" in line for line in notes(about))


def test_classes_that_the_recipe_lists_are_the_only_ones(tmp_path):
    bags = [labelled(tmp_path / f"run{i}", (0, 3, "sand"), (3, 6, "wood"), (6, 8, "wodo"), seconds=8) for i in range(3)]
    about = build(bags, "intervals.csv", tmp_path / "set", classes=("wood", "sand"))
    assert about.classes == ("wood", "sand") and dataset(str(tmp_path / "set")).CLASSES == ("wood", "sand")
    assert all(bag.skipped["label 'wodo' is not among the classes of the recipe"] == 3 for bag in about.bags)


def test_names_that_look_alike():
    assert look_alike(("Grass", "grass", "wet_grass")) == [("Grass", "grass")]
    assert look_alike(("gravel", "gravle", "sand")) == [("gravel", "gravle")]
    assert look_alike(("wet grass", "wet_grass")) == [("wet grass", "wet_grass")]
    assert look_alike(("walk 1", "walk 2", "on", "one", "left", "right", "sand", "hand")) == []
