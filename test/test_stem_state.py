"""What a training of a patch encoder keeps in its folder: it serves the same network, pictures and windows, and no others."""

import numpy as np
import pytest
import torch
from stream_maker import STEM
from tiny_model import tiny_model

from sentryfuse_ros.datasets.camera_pictures import CameraPictures
from sentryfuse_ros.errors import CheckpointError, DataError, ParameterError
from sentryfuse_ros.language.window_tokens import WindowTokens
from sentryfuse_ros.nanoseconds import NS_PER_S
from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.training.camera_windows import CameraWindows
from sentryfuse_ros.training.stem_recipe import StemRecipe, StemTraining
from sentryfuse_ros.training.stem_run import TAUGHT_FILE, load_state, save_state, taught_by, train_stem, with_patches
from sentryfuse_ros.training.stem_trainer import LabelledWindows, StemTrainer, taught_tokens

SPEC = ModalitySpec("camera", "camera", 1.0, (4, 1, 48, 48), "mono")
OPTIONS = {**STEM, "grid": [2, 2]}


def parent(seed=0):
    options = {"frames_per_token": 1, "stem_channels": [4, 4], "grid": [2, 2]}
    return tiny_model(seed, modalities=(SPEC,), kv_stride={}, tokenizer={"camera": options})


def pictures(seed=0, count=12):
    rng = np.random.default_rng(seed)
    stamp_ns = np.arange(1, count + 1) * (NS_PER_S // 4)
    pixels = rng.integers(1, 255, (count, 1, 48, 48)).astype(np.uint8)
    return CameraWindows(SPEC, {"drive": CameraPictures(stamp_ns, pixels, np.zeros(count, np.float32))})


def trainer(seed=0, drive=0, labels=(0, 1), **stem):
    """Of a network and pictures by seed, on two windows."""
    old, seen = parent(seed), pictures(drive)
    torch.manual_seed(0)
    model = with_patches(old, 0, StemTraining("", "", (), {**OPTIONS, **stem}))
    windows = WindowTokens(
        {(0, 0): np.zeros((2, 4, 16), np.float16)},
        {0: np.zeros((2, 4), bool)},
        ("drive",),
        np.zeros(2, int),
        np.array([4, 8]),
        np.ones((2, 1), bool),
    )
    places = np.array([[0, 1, 2, 3], [4, 5, 6, 7]])
    taught = taught_tokens(old.stems[0], seen)
    labelled = LabelledWindows(windows, places, np.array(labels))
    return StemTrainer(old, model, 0, seen, taught, labelled, StemRecipe(steps=4, batch=2, missing=0.0))


def test_a_resumed_training_goes_on_as_an_unbroken_one_does(tmp_path):
    unbroken, broken, resumed = trainer(), trainer(), trainer()
    for _ in range(4):
        unbroken.step()
    for _ in range(2):
        broken.step()
    save_state(broken, tmp_path)
    load_state(resumed, tmp_path)
    for _ in range(2):
        resumed.step()
    for a, b in zip(unbroken.stem.state_dict().values(), resumed.stem.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("changes", "differs"),
    [({"seed": 1}, "model"), ({"drive": 1}, "pictures"), ({"labels": (1, 0)}, "windows"), ({"code": 8}, "stem")],
)
def test_a_training_is_not_resumed_on_something_else(changes, differs, tmp_path):
    save_state(trainer(), tmp_path)
    with pytest.raises(CheckpointError, match=rf"saw another run \(differs in {differs}\)"):
        load_state(trainer(**changes), tmp_path)


def test_tokens_of_the_old_stem_are_kept_for_the_same_stem_and_pictures_alone(tmp_path):
    for seed, drive in ((0, 0), (0, 0), (1, 0), (0, 1)):
        old, seen = parent(seed), pictures(drive)
        torch.testing.assert_close(taught_by(old.stems[0], seen, tmp_path), taught_tokens(old.stems[0], seen), rtol=0, atol=1e-2)
    before = (tmp_path / TAUGHT_FILE).stat().st_mtime_ns
    taught_by(old.stems[0], seen, tmp_path)
    assert (tmp_path / TAUGHT_FILE).stat().st_mtime_ns == before, "they are not made again"
    (tmp_path / TAUGHT_FILE).write_bytes(b"half of a file")
    torch.testing.assert_close(taught_by(old.stems[0], seen, tmp_path), taught_tokens(old.stems[0], seen), rtol=0, atol=1e-2)


def test_the_rate_of_pictures_is_that_of_a_recording_with_several():
    one, many = pictures(count=1)._recordings["drive"], pictures()._recordings["drive"]
    drawn = CameraWindows(SPEC, {"short": one, "long": many}).drawn(np.random.default_rng(0), 50)
    assert drawn.shape == (50, 4) and drawn.max() == 12
    with pytest.raises(DataError, match="pictures of the recordings: saw at most one in each"):
        pictures(count=1).drawn(np.random.default_rng(0), 1)


@pytest.mark.parametrize(("wrong", "name"), [({"changed_from": (0.1, 0.01)}, "changed_from"), ({"seed": -1}, "seed")])
def test_values_that_no_training_can_draw_by_are_refused(wrong, name):
    with pytest.raises(ParameterError, match=f"stem recipe {name}: saw"):
        StemTraining("", "", (), {}, **wrong) if name == "seed" else StemRecipe(**wrong)


def test_a_wrong_streaming_section_is_found_before_the_training():
    with pytest.raises(ParameterError, match="streaming router: saw 'learnt', expected one of"):
        StemTraining("", "", (), {}, streaming={"router": "learnt"})


def test_a_learned_router_without_anything_to_learn_from_is_named_before_the_training(tmp_path):
    training = StemTraining("nowhere", "", (), {}, streaming={"router": "learned"})
    with pytest.raises(ParameterError, match="stem recipe stops: saw no folder, expected .*; add them, or set router: none"):
        train_stem(training, tmp_path / "out", str)


def test_folders_without_stops_are_found_before_the_training(tmp_path):
    training = StemTraining("nowhere", "", (), {}, streaming={"router": "learned"}, stops=(str(tmp_path),))
    with pytest.raises(DataError, match="stops: saw .*, expected folders with recordings val_"):
        train_stem(training, tmp_path / "out", str)
