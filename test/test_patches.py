"""The patch encoder: its options, its shapes and FLOPs, its smaller sizes, and the same numbers in ONNX Runtime as in torch."""

import numpy as np
import pytest
import torch
from tiny_model import tiny_config
from torch.utils.flop_counter import FlopCounterMode

from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.model.config import FuseConfig
from sentryfuse_ros.model.fuse import SentryFuse
from sentryfuse_ros.model.patch_config import PatchTokenizerConfig
from sentryfuse_ros.model.saved import checkpoint_of
from sentryfuse_ros.model.subnetwork import Subnetwork
from sentryfuse_ros.model.tensor_shapes import tensor_shapes
from sentryfuse_ros.model.tokenizer_config import leading_weights, tokenizer_config
from sentryfuse_ros.model.tokenizers import make_tokenizer
from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.pruning.slicing import as_arrays, gate_scores, slice_weights
from sentryfuse_ros.pruning.units import subnetwork_units

DEPTH = ModalitySpec("m", "camera", 1.0, (4, 1, 24, 36), "depth_m")
COLOUR = ModalitySpec("m", "camera", 1.0, (4, 3, 24, 36), "rgb")
LIDAR = ModalitySpec("m", "lidar", 1.0, (4, 5, 12, 48))
SMALL = {
    "stem": "patches",
    "patch": 3,
    "width": 8,
    "layers": 3,
    "num_kv_heads": 2,
    "heads_per_group": 2,
    "head_dim": 4,
    "ffn_dim": 16,
    "code": 6,
    "read_channels": 5,
    "grid": [1, 2],
    "sizes": [{"channels": 0.5, "layers": 0.3}],
}


def network(spec=DEPTH, **options):
    """A network of one patch encoder with random weights, norms and biases included."""
    model = SentryFuse(tiny_config(modalities=(spec,), kv_stride={}, tokenizer={"m": {**SMALL, **options}})).eval()
    random = torch.Generator().manual_seed(0)
    for weights in model.parameters():
        weights.data += 0.1 * torch.randn(weights.shape, generator=random)
    return model.requires_grad_(False)


def pictures(spec, seed=0):
    """A window with an empty slot and holes."""
    x = np.random.default_rng(seed).standard_normal(spec.shape).astype(np.float32)
    x[0] = 0
    x[1, :, 5:9, 7:20] = 0
    return x


def test_a_recipe_names_the_stem_and_a_checkpoint_remembers_it():
    config = network().config
    assert isinstance(config.tokenizer["m"], PatchTokenizerConfig)
    assert FuseConfig.from_dict(config.to_dict()) == config
    assert tensor_shapes(config) == {name: tuple(t.shape) for name, t in network().state_dict().items()}


@pytest.mark.parametrize(
    "options, word",
    [
        ({"stem": "convolutions"}, "'patches'"),
        ({"patch": 5}, "divisor of the picture's"),
        ({"frames_per_token": 3}, "divisor of 4"),
        ({"grid": [3, 2]}, "at most"),
        ({"read_channels": [5, 3], "grid": [2, 3]}, "at most"),
        ({"read_channels": []}, "read_channels"),
        ({"stem_channels": [4]}, "stem_channels"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, word):
    with pytest.raises(ParameterError, match=word):
        network(**options)


def test_a_series_has_no_patches():
    with pytest.raises(ParameterError, match="no stem named"):
        tokenizer_config(ModalitySpec("m", "series", 1.0, (40, 3)), {"stem": "patches"})


def test_the_former_name_of_frames_per_token_is_read():
    assert network(pictures_per_token=2).config.tokenizer == network(frames_per_token=2).config.tokenizer


@pytest.mark.parametrize("size", (0, 1))
@pytest.mark.parametrize("options", ({}, {"kv_stride": 2}, {"frames_per_token": 2}, {"window": 1}, {"read_channels": [5, 3]}))
def test_flops_are_those_that_torch_counts(size, options):
    model = network(**options)
    with FlopCounterMode(display=False) as counter:
        model.stems[0](torch.from_numpy(pictures(DEPTH))[None], size)
    assert counter.get_total_flops() == model.config.tokenizer["m"].at_size(size).flops(DEPTH, model.config.d_model)


def test_a_smaller_size_is_a_network_of_its_own():
    model = network()
    options = model.config.tokenizer["m"].at_size(1)
    assert (options.layers, options.num_kv_heads, options.ffn_dim) == (1, 1, 8)
    weights = {name: t.numpy() for name, t in model.stems[0].state_dict().items()}
    small = leading_weights(weights, options.tensor_shapes(DEPTH, model.config.d_model))
    alone = make_tokenizer(DEPTH, model.config.d_model, options).requires_grad_(False)
    alone.load_state_dict({name: torch.from_numpy(np.ascontiguousarray(w)) for name, w in small.items()})
    x = torch.from_numpy(pictures(DEPTH))[None]
    for found, expected in zip(model.stems[0](x, 1), alone(x)):
        torch.testing.assert_close(found, expected)


def test_sorting_the_units_changes_nothing_and_puts_the_best_first():
    model, x = network(), torch.from_numpy(pictures(DEPTH))[None]
    stem = model.stems[0]
    before = stem(x)[0]
    up = stem.blocks[0].up.weight.clone()
    saliency = [torch.arange(len(s[0]), dtype=torch.float32) for s in stem.unit_scales(1)]
    stem.sort_channels(saliency)
    torch.testing.assert_close(stem(x)[0], before)
    torch.testing.assert_close(stem.blocks[0].up.weight, up.flip(0))


def test_multipliers_of_the_units_reach_every_layer():
    model = network()
    stem = model.stems[0]
    scales = stem.unit_scales(2)
    x = torch.from_numpy(np.stack([pictures(DEPTH, 1), pictures(DEPTH, 2)]))
    torch.testing.assert_close(stem(x, 0, scales)[0], stem(x)[0])
    stem(x, 0, scales)[0].sum().backward()
    assert all(scale.grad.abs().sum(0).min() > 0 for scale in scales)


def test_what_happens_outside_a_window_does_not_change_its_code():
    model = network()
    stem, x = model.stems[0], torch.from_numpy(pictures(DEPTH))
    before = stem.encode(stem.windows(x).flatten(0, 1))
    x[:, :, :6, :6] += 1  # window 0 of every picture
    changed = (stem.encode(stem.windows(x).flatten(0, 1)) != before).any(1).view(4, -1)
    assert changed[:, 0].all() and not changed[:, 1:].any()


@pytest.mark.parametrize("spec", (DEPTH, COLOUR, LIDAR), ids=lambda spec: spec.encoding or spec.kind)
@pytest.mark.parametrize("mask", ("each", "one", "none"))
@pytest.mark.parametrize(
    "options", ({}, {"kv_stride": 2, "frames_per_token": 2}, {"grid": [2, 2], "window": 1}, {"read_channels": [5, 3]})
)
@pytest.mark.parametrize("size", (0, 1))
def test_onnx_gives_the_numbers_of_torch(spec, mask, options, size):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: make setup brings it")
    from sentryfuse_ros.runtime.onnx_backend import OnnxBackend

    model = network(spec, validity_mask=mask, **options)
    part = Subnetwork((True,), (size,), model.config.layers, 0.0)
    units = subnetwork_units(model.config, model.lengths, part, as_arrays(gate_scores(model, [True])))
    backend, x = OnnxBackend(checkpoint_of(model)), pictures(spec)
    found = backend.run(backend.compile(part, units), {"m": x})
    tokens = model.tokens({"m": torch.from_numpy(x)[None]}, [True], [size])
    expected = model.fuse(tokens, slice_weights(model, units))
    np.testing.assert_allclose(found.logits, expected.logits[0], atol=1e-4)
