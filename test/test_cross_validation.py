"""Cross-validation: every unit is held out once, from a model that has not seen it."""

import json
from dataclasses import replace

import pytest
from bag_maker import labelled
from dataset_maker import SPECS, build
from made_up_training import QUIET, RECIPE, Source, recipe

from sentryfuse_ros.cli import main
from sentryfuse_ros.datasets import dataset
from sentryfuse_ros.errors import CheckpointError, DataError, ParameterError
from sentryfuse_ros.training import cross_validation
from sentryfuse_ros.training.cross_validation import Fold, cross_validate, divided, held_out, summed_up, units_of


def test_units_are_divided_into_parts_of_one_size():
    parts = divided([f"p{i}" for i in range(11)], 4, 3)
    assert sorted(unit for part in parts for unit in part) == sorted(f"p{i}" for i in range(11))
    assert sorted(map(len, parts)) == [2, 3, 3, 3] and parts == divided([f"p{i}" for i in range(11)], 4, 3)
    for count in (1, 12):
        with pytest.raises(ParameterError, match="2 to 11"):
            divided([f"p{i}" for i in range(11)], count, 0)
    with pytest.raises(ParameterError, match="saw 1 person, .* expected at least two"):
        divided(["p0"], 2, 0)


def test_mean_and_spread():
    result = summed_up([Fold(("a",), {"11": 0.9, "10": None}), Fold(("b",), {"11": 0.7, "10": 0.5})])
    assert result.mean == {"11": 0.8, "10": 0.5} and result.deviation == {"11": 0.1414, "10": 0.0}


def test_every_group_of_a_public_set_is_held_out_once(made_up, monkeypatch, tmp_path):
    monkeypatch.setattr(cross_validation, "dataset", lambda name: Source)
    own = replace(recipe(), epochs=1)
    result = cross_validate(own, tmp_path / "cv", 3, console=QUIET)
    assert sorted(group for fold in result.folds for group in fold.held_out) == [1, 2, 3]
    for place, fold in enumerate(result.folds):
        data = json.loads((tmp_path / "cv" / f"fold{place}" / "model.json").read_text())["data"]
        assert tuple(data["validation_groups"]) == fold.held_out and not set(data["train_groups"]) & set(fold.held_out)
    kept = json.loads((tmp_path / "cv" / "cross_validation.json").read_text())
    assert kept["mean"] == result.mean and set(result.mean) == {"11", "10", "01"}
    before = (tmp_path / "cv" / "fold0" / "model.json").stat().st_mtime_ns
    assert cross_validate(own, tmp_path / "cv", 3, resume=True, console=QUIET) == result
    assert (tmp_path / "cv" / "fold0" / "model.json").stat().st_mtime_ns == before, "what is finished is not trained again"


@pytest.fixture
def folder(tmp_path):
    """Windows of three persons with two recordings each, one of them in the test split."""
    bags = [labelled(tmp_path / f"p{i // 2}_{i}", (0, 2, "sand"), (2, 4, "wood"), seconds=4) for i in range(6)]
    build(bags, "intervals.csv", tmp_path / "set", group_by=r"p\d")
    return tmp_path / "set"


def test_persons_and_recordings_of_a_folder_are_groups(folder):
    source = dataset(str(folder))
    split = {bag.origin: bag.split for bag in source.description.bags}
    tested = next(origin for origin in split if split[origin] == "test")
    own = recipe(
        dataset=str(folder), modalities=[spec.to_dict() for spec in SPECS], train_groups=["train"], validation_groups=["val"]
    )
    assert set(units_of(source, own)) == set(split) - {tested}
    one = sorted(set(split) - {tested})[0]
    windows = source.load(SPECS, (one,))
    assert windows.origins() == {one} and len({windows.recordings[i] for i in windows.recording}) == 2
    assert len({*source.load(SPECS, (f"{one}_{2 * int(one[1])}",)).recording.tolist()}) == 1
    with pytest.raises(DataError, match="nobody.*p0, p0_0, p0_1, p1, p1_2, p1_3, p2, p2_4 and 1 more"):
        source.load(SPECS, ("nobody",))
    changes = held_out(own, [one])
    assert changes["validation_groups"] == (one,) and set(changes["train_groups"]) == set(split) - {tested, one}
    assert held_out(own, ["val"]) == {"train_groups": ("train",), "validation_groups": ("val",)}
    with pytest.raises(ParameterError, match="--validate-on: saw nobody"):
        held_out(own, ["nobody"])


def test_command_prints_folds_mean_and_spread(folder, tmp_path, capsys):
    import yaml

    values = {
        **RECIPE,
        "dataset": str(folder),
        "modalities": [SPECS[1].to_dict()],
        "train_groups": ["train"],
        "validation_groups": ["val"],
        "epochs": 1,
        "model": {**RECIPE["model"], "tokenizer": {"imu": {"steps_per_token": 5, "stem_channels": 8}}},
    }
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(values))
    assert main(["train", "--config", str(tmp_path / "r.yaml"), "--out", str(tmp_path / "cv"), "--cross-validate", "2"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "fold 0 fold 1 mean spread" in shown and "fold 2 of 2: held out p" in shown


def test_folds_of_another_recipe_are_not_taken_for_finished_ones(made_up, monkeypatch, tmp_path):
    monkeypatch.setattr(cross_validation, "dataset", lambda name: Source)
    own = replace(recipe(), epochs=1)
    cross_validate(own, tmp_path, 3, console=QUIET)
    for other, count, what in (
        (own, 2, "train_groups, validation_groups"),
        (replace(own, learning_rate=0.1), 3, "learning_rate"),
    ):
        with pytest.raises(
            CheckpointError, match=rf"finished fold .*fold0: saw a training by another recipe \(differs in {what}\)"
        ):
            cross_validate(other, tmp_path, count, resume=True, console=QUIET)


def test_recordings_of_a_person_in_the_test_split_stay_there(folder):
    """As where single recordings of a person were given to the test split by name."""
    table, description = folder / "windows.csv", folder / "dataset.json"
    values = json.loads(description.read_text())
    for key in ("recordings", "bags"):
        for bag in values.get(key, ()):
            bag["split"] = "test" if bag["name"] == "p0_0" else "train" if bag["name"].startswith("p0") else "val"
    description.write_text(json.dumps(values))
    rows = table.read_text().splitlines()
    place = rows[0].split(",").index("split")
    for i, row in enumerate(rows[1:], 1):
        cells = row.split(",")
        cells[place] = "test" if cells[0] == "p0_0" else "train" if cells[0].startswith("p0") else "val"
        rows[i] = ",".join(cells)
    table.write_text("\n".join(rows) + "\n")
    own = recipe(
        dataset=str(folder), modalities=[spec.to_dict() for spec in SPECS], train_groups=["train"], validation_groups=["val"]
    )
    units = units_of(dataset(str(folder)), own)
    assert units == {"p0": ("p0_1",), "p1": ("p1",), "p2": ("p2",)}
    assert held_out(own, ["p1"]) == {"train_groups": ("p0_1", "p2"), "validation_groups": ("p1",)}
    assert held_out(own, ["p0"]) == {"train_groups": ("p1", "p2"), "validation_groups": ("p0_1",)}


@pytest.mark.parametrize("options", [["--start-from", "model"], ["--calibrate-from", "fold0", "fold1"], ["--validate-on", "1"]])
def test_options_for_one_training_are_refused_beside_cross_validation(options, tmp_path, capsys):
    arguments = ["train", "--config", "recipe.yaml", "--out", str(tmp_path / "cv"), "--cross-validate", "2", *options]
    assert main(arguments) == 2
    assert f"sentryfuse train: {options[0]}: saw it beside --cross-validate, expected none" in capsys.readouterr().err
    assert not (tmp_path / "cv").exists()
