"""`sentryfuse trust` on a real folder of windows: tables for the inputs, measured harm, and the weights as they were."""

import json

import pytest
import torch
from bag_maker import labelled
from dataset_maker import SPECS, build
from made_up_training import Source, recipe, recordings
from tiny_model import tiny_config

from sentryfuse_ros.cli import main
from sentryfuse_ros.errors import DataError
from sentryfuse_ros.model.fuse import SentryFuse
from sentryfuse_ros.model.saved import save_checkpoint
from sentryfuse_ros.runtime.engine import Engine
from sentryfuse_ros.training.trust_run import _examples


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A model and the windows that it was trained on, or could have been."""
    root = tmp_path_factory.mktemp("trust")
    bags = [labelled(root / f"run{i}", (0, 2, "sand"), (2, 4, "wood"), seconds=4) for i in range(6)]
    build(bags, "intervals.csv", root / "set", stride_s=0.05)
    torch.manual_seed(0)
    config = tiny_config(modalities=SPECS, classes=("sand", "wood"), kv_stride={}, tokenizer={})
    recipe = {"train_groups": [f"run{i}" for i in range(5)], "validation_groups": ["run5"]}
    name = "a_model_whose_name_does_not_fit_into_one_line_of_a_terminal_of_eighty_columns"
    return save_checkpoint(SentryFuse(config), root / name, {"recipe": recipe}), root / "set"


def test_a_trust_file_is_made_of_the_groups_that_the_checkpoint_names(folders, capsys):
    model, windows = folders
    before = (model / "model.safetensors").read_bytes()
    assert main(["trust", str(model), str(windows)]) == 0
    lines = capsys.readouterr().out.splitlines()
    # One line per input and one for the file, however long they are: the output may go to a file.
    assert [line.split()[0] for line in lines] == ["camera:", "imu:", "written"]
    assert lines[1].startswith("imu: 55 quantities of 305 windows") and lines[2] == f"written to {model / 'model.trust.json'}"
    assert (model / "model.safetensors").read_bytes() == before
    engine = Engine.load(model)
    assert set(engine.trust_tables) == {"camera", "imu"}
    lies = {lie.name: lie for lie in engine.trust_tables["imu"].suspicions}
    assert "accel_in_g" in lies and lies["accel_in_g"].implausible >= lies["accel_in_g"].far + 1
    record = json.loads((model / "model.trust.json").read_text())
    assert record["command"].startswith("sentryfuse ")

    record["inputs"]["camera"]["windows"] = 1  # to be recognised
    (model / "model.trust.json").write_text(json.dumps(record))
    assert main(["trust", str(model), str(windows), "--inputs", "imu"]) == 0
    assert Engine.load(model).trust_tables["camera"].windows == 1  # the other table stays


def test_a_file_that_cannot_be_written_is_reported_before_the_data_are_read(folders, tmp_path, capsys):
    model = tmp_path / "model"
    model.mkdir()
    for name in ("model.safetensors", "model.json"):
        (model / name).write_bytes((folders[0] / name).read_bytes())
    (model / "model.trust.json").symlink_to("/proc/none/model.trust.json")
    assert main(["trust", str(model), "no data set"]) == 2
    assert f"file {model / 'model.trust.json'}: saw" in capsys.readouterr().err


def test_what_cannot_be_done_is_said(folders, capsys):
    model, windows = folders
    assert main(["trust", str(model), str(windows), "--inputs", "nose"]) == 2
    assert "nose" in capsys.readouterr().err
    assert main(["trust", "ground_robot", str(windows)]) == 2  # a robot's own installation is not changed by mistake
    error = " ".join(capsys.readouterr().err.split())
    assert "the name of a shipped model, 'ground_robot'" in error and "ground_robot and give the copy" in error
    assert main(["trust", "nowhere", str(windows)]) == 2
    assert "nowhere" in capsys.readouterr().err
    assert main(["trust", str(model), str(windows), "--groups", "run0"]) == 2
    assert "too few windows" in capsys.readouterr().err
    assert main(["trust", str(model), str(windows), "--groups", "run9"]) == 2
    assert "run9" in capsys.readouterr().err


def test_groups_of_a_public_set_are_named_as_text_and_checked(monkeypatch):
    specs = recipe().specs
    monkeypatch.setattr(Source, "SPLIT", {"train": (1, 2), "test": (3,)}, raising=False)
    monkeypatch.setattr(Source, "load", staticmethod(lambda specs, groups: [r for r in recordings() if r.group in groups]))
    assert len(_examples(Source, specs, ("1", "3"))) == 24
    with pytest.raises(DataError, match="among them; correct the groups"):
        _examples(Source, specs, ("1", "9"))
