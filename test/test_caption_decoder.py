"""The caption head: torch and ONNX Runtime say the same, at every level; the file comes back as it was written."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch_file

from sentryfuse_ros.errors import CheckpointError
from sentryfuse_ros.language.checkpoint import (
    CaptionCheckpoint,
    check_belongs,
    read_captions,
    tensor_shapes,
    write_captions,
)
from sentryfuse_ros.language.config import BEGIN, END, CaptionConfig
from sentryfuse_ros.language.decoder import CaptionDecoder, Percepts
from sentryfuse_ros.language.facts import SENSOR_STATES, USED
from sentryfuse_ros.language.speaker import FusedWindow, Speaker
from sentryfuse_ros.language.vocabulary import Vocabulary, learned_words
from sentryfuse_ros.model.subnetwork import Subnetwork

NAMES, CLASSES = ("camera", "imu", "audio"), ("gravel", "grass")
CONFIG = CaptionConfig(
    NAMES, (2, 5, 3), 16, 3, CLASSES, learned_words(CLASSES, NAMES), d_model=32, layers=2, head_dim=8, ffn_dim=64, longest=20
)


def decoder(seed=0, scale=6.0):
    torch.manual_seed(seed)
    made = CaptionDecoder(CONFIG).eval()
    with torch.no_grad():  # far from even scores, so that the most probable word is never in doubt
        for parameter in made.parameters():
            parameter.mul_(scale if parameter.ndim > 1 else 1.0).add_(0.1 * torch.randn_like(parameter))
    return made


def arrays(model):
    return {name: values.detach().numpy() for name, values in model.state_dict().items()}


def window(used=(True, False, True), seed=0):
    rng = np.random.default_rng(seed)
    count = sum(n for n, here in zip(CONFIG.lengths, used) if here)
    stem, fused = rng.standard_normal((2, count, CONFIG.token_dim)).astype(np.float32)
    return FusedWindow(Subnetwork(used, (0, 0, 0), 2, 0.5), stem, fused, np.array([0.7, 0.3], np.float32))


STATES = {"camera": USED, "imu": "frozen", "audio": USED}


def said_by_torch(model, seen, states, level):
    """The numbers of the words, the whole sentence being read anew for every word."""
    starts = np.cumsum([0, *CONFIG.lengths])
    places = np.concatenate([np.arange(starts[i], starts[i + 1]) for i, here in enumerate(seen.part.used) if here])
    percepts = Percepts(
        torch.from_numpy(seen.stem)[None],
        torch.from_numpy(seen.fused)[None],
        torch.from_numpy(places),
        seen.part.layers,
        torch.tensor([[SENSOR_STATES.index(states[name]) for name in NAMES]]),
        torch.from_numpy(np.log(seen.probabilities))[None],
    )
    words = [BEGIN]
    with torch.inference_mode():
        while len(words) <= CONFIG.longest and (len(words) == 1 or words[-1] != END):
            words.append(int(model(percepts, torch.tensor([words]), level)[0, -1].argmax()))
    return words[1:]


@pytest.mark.parametrize("level", CONFIG.ratio_levels)
@pytest.mark.parametrize("used", [(True, False, True), (False, False, True), (True, True, True)])
def test_onnx_runtime_says_what_torch_says(level, used):
    said = set()
    for seed in range(4):
        model = decoder(seed)
        speaker = Speaker(CaptionCheckpoint(CONFIG, arrays(model), {}))
        seen = window(used, seed)
        caption = speaker.say(seen, STATES, level)
        expected = said_by_torch(model, seen, STATES, level)
        assert caption.words == Vocabulary(CONFIG.words).decode(expected)
        said.add(caption.words)
        assert 0 < caption.confidence <= 1 and caption.duration_s > 0
    assert len(said) > 1


def test_a_level_keeps_the_leading_units_and_rounds_up():
    widths = [CONFIG.width(level) for level in CONFIG.ratio_levels]
    assert [w.groups for w in widths] == [4, 3, 2, 1]
    assert [w.channels for w in widths] == [64, 48, 32, 16]
    assert [CONFIG.level(r) for r in (0.0, 0.1, 0.25, 0.3, 0.9)] == [0.0, 0.25, 0.25, 0.5, 0.75]


def test_units_that_a_level_leaves_out_do_not_change_what_it_says():
    model = decoder()
    before = said_by_torch(model, window(), STATES, 0.75)
    with torch.no_grad():
        for layer in model.layers:
            layer.up.weight[16:] = 9.0
            layer.words.query.weight[16:] = -9.0
            layer.percepts.key.weight[8:] = 9.0
    assert said_by_torch(model, window(), STATES, 0.75) == before
    assert said_by_torch(model, window(), STATES, 0.0) != said_by_torch(decoder(), window(), STATES, 0.0)


def test_the_sensor_states_are_read():
    model = decoder()
    speaker = Speaker(CaptionCheckpoint(CONFIG, arrays(model), {}))
    said = {speaker.say(window(), {**STATES, "imu": state}).words for state in SENSOR_STATES}
    assert len(said) > 1


def test_a_file_comes_back_in_half_precision(tmp_path):
    tensors = arrays(decoder(scale=1.0))
    path = tmp_path / "captions.safetensors"
    write_captions(CONFIG, tensors, path, {"model_sha256": "abc", "metrics": {"cider": 1.5}})
    read = read_captions(path)
    assert read.config == CONFIG and read.info["metrics"] == {"cider": 1.5}
    for name, values in tensors.items():
        assert read.tensors[name].dtype == np.float32
        np.testing.assert_allclose(read.tensors[name], values, rtol=1e-3, atol=1e-5)
    assert {name: values.shape for name, values in tensors.items()} == tensor_shapes(CONFIG)
    check_belongs(read, path, "abc")
    with pytest.raises(CheckpointError, match="trained on model abc"):
        check_belongs(read, path, "abd")


def test_damaged_files_are_named(tmp_path):
    path = tmp_path / "captions.safetensors"
    with pytest.raises(CheckpointError, match="no such file, .* train one .* or do without captions"):
        read_captions(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="captions.safetensors"):
        read_captions(path)
    tensors = arrays(decoder())
    write_captions(CONFIG, {**tensors, "word": tensors["word"][:-1]}, path, {"model_sha256": ""})
    with pytest.raises(CheckpointError, match="tensor word"):
        read_captions(path)
    write_captions(CONFIG, tensors, path, {"model_sha256": ""})
    with safe_open(path, "np") as file:
        metadata = file.metadata()
    kept = load_file(path)
    kept["norm.bias"][...] = np.nan
    save_file(kept, path, metadata)
    with pytest.raises(CheckpointError, match="NaN"):
        read_captions(path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"config": []}, "config: saw caption head keys: saw list"),
        ({"config": {**CONFIG.to_dict(), "ratio_levels": []}}, "config: saw caption head ratio_levels: saw .*one level or more"),
        ({"config": {**CONFIG.to_dict(), "ratio_levels": [0.5, 0.0]}}, "config: saw caption head ratio_levels: .*ascending"),
        ({"config": {**CONFIG.to_dict(), "colour": 1}}, "config: saw caption head keys: saw 'colour'"),
        ({"config": {**CONFIG.to_dict(), "layers": "2"}}, "config: saw caption head layers: saw '2', expected a whole number"),
        ({"format": "sentryfuse-captions 0"}, "format: saw sentryfuse-captions 0, expected sentryfuse-captions 1"),
        ([], "format: saw list, expected sentryfuse-captions 1"),
    ],
    ids=["no config", "no level", "levels in disorder", "unknown key", "number in text", "old format", "no object"],
)
def test_a_header_that_says_nonsense_is_named(change, named, tmp_path):
    path = tmp_path / "captions.safetensors"
    write_captions(CONFIG, arrays(decoder()), path, {"model_sha256": ""})
    with safe_open(path, "np") as file:
        header = json.loads(file.metadata()["sentryfuse"])
    changed = {**header, **change} if isinstance(change, dict) else change
    save_file(load_file(path), path, {"sentryfuse": json.dumps(changed)})
    with pytest.raises(CheckpointError, match=f"caption head .*captions.safetensors {named}.*sentryfuse train-captions"):
        read_captions(path)


def test_a_type_of_tensor_that_numpy_does_not_have_is_named(tmp_path):
    path = tmp_path / "captions.safetensors"
    save_torch_file({"word": torch.zeros(2, dtype=torch.bfloat16)}, path, {"sentryfuse": "{}"})
    with pytest.raises(CheckpointError, match="captions.safetensors: saw .*bfloat16.*, expected a whole safetensors file"):
        read_captions(path)
