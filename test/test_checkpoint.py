"""A model file comes back exactly; any wrong one is a CheckpointError that names the file and the remedy."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_model import tiny_batch, tiny_model

from sentryfuse_ros.errors import CheckpointError
from sentryfuse_ros.model.saved import load_checkpoint, save_checkpoint


@pytest.fixture
def folder(tmp_path):
    info = {"temperatures": {"111": [1.5] * 10}, "command": "sentryfuse train", "data": {"dataset": "none"}}
    return save_checkpoint(tiny_model(), tmp_path / "model", info)


def edit_json(folder, **changes):
    path = folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def replace_tensors(folder, tensors):
    """Write other tensors with a hash that fits, as a hand-made file would have."""
    import hashlib

    save_file(tensors, folder / "model.safetensors")
    edit_json(folder, sha256=hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest())


def assert_refused(path, *words):
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    text = str(caught.value)
    assert all(word in text for word in words), text
    assert caught.value.expected is not None and caught.value.remedy


def test_saved_model_answers_the_same_and_keeps_its_info(folder):
    model, info = load_checkpoint(folder)
    assert torch.equal(model(tiny_batch()).logits, tiny_model()(tiny_batch()).logits)
    assert model.config.to_dict() == tiny_model().config.to_dict()
    assert info["command"] == "sentryfuse train" and info["temperatures"]["111"][0] == 1.5
    assert not model.training and not any(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("file", ["model.safetensors", "model.json"])
def test_one_of_its_files_can_be_given(folder, file):
    assert load_checkpoint(folder / file)[1]["format_version"] == 1


def test_a_model_is_named_by_its_folder_or_its_file(folder):
    assert load_checkpoint(folder)[1]["name"] == "model"  # the fixture's folder
    for suffix in (".safetensors", ".json"):
        (folder / f"model{suffix}").rename(folder / f"walker{suffix}")
    assert load_checkpoint(folder / "walker.safetensors")[1]["name"] == "walker"


def test_missing_folder(tmp_path):
    assert_refused(tmp_path / "nothing", "nothing/model.json", "no such file")


def test_missing_tensors(folder):
    (folder / "model.safetensors").unlink()
    assert_refused(folder, "model.safetensors")


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x80\x04\x95 a pickle", b"\xff" * 64])
def test_tensors_that_are_no_safetensors(folder, content):
    (folder / "model.safetensors").write_bytes(content)
    assert_refused(folder, "model.safetensors")


def test_truncated_tensors(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert_refused(folder, "model.safetensors")


def test_one_flipped_bit(folder):
    path = folder / "model.safetensors"
    payload = bytearray(path.read_bytes())
    payload[-5] ^= 1
    path.write_bytes(payload)
    assert_refused(folder, "sha256")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": "other"}', "\udcff", "1" * 5000])
def test_json_that_is_not_ours(folder, content):
    (folder / "model.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    assert_refused(folder, "model.json")


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_a_pipe_is_not_waited_for(folder, name):
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert_refused(folder, name, "no ordinary file")


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_a_huge_file_is_refused_unread(folder, name, monkeypatch):
    os.truncate(folder / name, 10 * 2**30)  # a hole in the file system, not data
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail("read") if path.name == name else read(path))
    assert_refused(folder, name, "10737418240 bytes")


def test_json_nested_too_deep(folder):
    (folder / "model.json").write_text("[" * 200_000)
    assert_refused(folder, "model.json", "recursion")


def test_more_layers_than_any_network_has(folder):
    edit_json(folder, config={**json.loads((folder / "model.json").read_text())["config"], "layers": 1_000_000})
    assert_refused(folder, "model.json", "layers", "1 to 256")


@pytest.mark.parametrize("content", ["{", '{"format": "other"}', '{"format": "sentryfuse-trust", "format_version": 9}'])
def test_a_trust_file_that_is_not_ours_can_be_made_again_without_training(folder, content):
    (folder / "model.trust.json").write_text(content)
    assert_refused(folder, "model.trust.json", "make it again (sentryfuse trust), or remove it")
    (folder / "model.trust.json").unlink()
    load_checkpoint(folder)


def test_version_of_the_future(folder):
    edit_json(folder, format_version=2)
    assert_refused(folder, "format_version", "saw 2", "expected 1")


@pytest.mark.parametrize(
    "config", [None, {}, {"modalities": 3, "classes": ["a", "b"]}, {"classes": ["a", "b"], "modalities": [{"name": "x"}]}]
)
def test_config_that_builds_no_network(folder, config):
    edit_json(folder, config=config)
    assert_refused(folder, "config")


def test_missing_and_unknown_tensor(folder):
    tensors = load_file(folder / "model.safetensors")
    static = tensors.pop("gate.static")
    replace_tensors(folder, tensors)
    assert_refused(folder, "gate.static", "missing")
    replace_tensors(folder, {**tensors, "gate.static": static, "extra": static.clone()})
    assert_refused(folder, "extra", "unknown")


def test_tensor_of_another_shape(folder):
    tensors = load_file(folder / "model.safetensors")
    replace_tensors(folder, {**tensors, "gate.static": torch.zeros(3)})
    assert_refused(folder, "gate.static", "(3,)")


def test_tensor_of_another_type(folder):
    tensors = load_file(folder / "model.safetensors")
    replace_tensors(folder, {**tensors, "gate.static": tensors["gate.static"].double()})
    assert_refused(folder, "gate.static", "float64")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_no_numbers(folder, value):
    tensors = load_file(folder / "model.safetensors")
    tensors["gate.static"][0] = value
    replace_tensors(folder, tensors)
    assert_refused(folder, "gate.static", "NaN or infinity")


@pytest.mark.parametrize("temperatures", [[1.0], {"11": [1.0] * 10}, {"111": [1.0]}, {"111": [0.0] * 10}, {"111": ["x"] * 10}])
def test_temperatures_that_do_not_fit(folder, temperatures):
    edit_json(folder, temperatures=temperatures)
    assert_refused(folder, "temperatures")


def test_a_crash_while_saving_leaves_the_old_model_whole(folder, monkeypatch):
    before = load_checkpoint(folder)[0](tiny_batch()).logits
    monkeypatch.setattr("os.replace", lambda *a: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(tiny_model(seed=1), folder)
    monkeypatch.undo()
    assert torch.equal(load_checkpoint(folder)[0](tiny_batch()).logits, before)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_model_that_could_not_be_read_back_is_not_written(folder, value):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    model, _ = load_checkpoint(folder)
    model.gate.static[0] = value
    with pytest.raises(CheckpointError, match="model to be written to .*: saw NaN or infinity in tensor gate.static"):
        save_checkpoint(model, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
