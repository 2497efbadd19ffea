"""What a checkpoint must hold, worked out without torch, is what the network in torch has."""

import pytest
import torch
from model_family import FAMILY, random_config
from tiny_model import SPECS, tiny_config

from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.model.checkpoint import read_checkpoint
from sentryfuse_ros.model.config import FuseConfig
from sentryfuse_ros.model.fuse import SentryFuse
from sentryfuse_ros.model.tensor_shapes import tensor_shapes, token_counts
from sentryfuse_ros.paths import model_path
from sentryfuse_ros.preprocessing import ModalitySpec

PICTURES = {
    "camera": ModalitySpec("m", "camera", 1.0, (4, 3, 18, 26), "rgb"),
    "depth": ModalitySpec("m", "camera", 1.0, (4, 1, 17, 24), "depth_m"),
    "lidar": ModalitySpec("m", "lidar", 1.0, (4, 5, 6, 32)),
}


def assert_same(config: FuseConfig) -> None:
    model = SentryFuse(config)
    assert tensor_shapes(config) == {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}
    counts = []
    with torch.inference_mode():
        for spec, tokenizer in zip(config.modalities, model.tokenizers):
            tokens, empty = tokenizer(torch.zeros(1, *spec.shape))
            assert tokens.shape == (1, empty.shape[1], config.d_model)
            counts.append(tokens.shape[1])
    assert token_counts(config) == tuple(counts)


def one_modality(spec: ModalitySpec, **options) -> FuseConfig:
    return tiny_config(modalities=(spec,), kv_stride={}, tokenizer={spec.name: options})


@pytest.mark.parametrize("name", FAMILY)
def test_each_backbone(name):
    assert_same(tiny_config(**FAMILY[name]))


@pytest.mark.parametrize("seed", range(24))
def test_random_networks(seed):
    assert_same(random_config(seed))


@pytest.mark.parametrize("name", ("ground_robot", "husky_terrain", "utd_mhad_depth_imu"))
def test_the_shipped_models(name):
    assert_same(read_checkpoint(model_path(name)).config)


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("motion", ("none", "also", "only"))
@pytest.mark.parametrize("validity_mask", ("each", "one", "none"))
@pytest.mark.parametrize("frames_per_token, statistics", ((1, []), (2, [2, 3]), (4, [1, 1])))
def test_picture_tokeniser(kind, motion, validity_mask, frames_per_token, statistics):
    assert_same(
        one_modality(
            PICTURES[kind], frames_per_token=frames_per_token, motion=motion, validity_mask=validity_mask, stem_channels=[4, 6],
            grid=[2, 3], statistics=statistics, crop_columns=24,
        )
    )  # fmt: skip


@pytest.mark.parametrize("spectrum_steps", (0, 5, 8, 13))
def test_series_tokeniser(spectrum_steps):
    spec = ModalitySpec("m", "series", 1.0, (40, 3))
    assert_same(one_modality(spec, steps_per_token=5, stem_channels=6, spectrum_steps=spectrum_steps))


@pytest.mark.parametrize("spec, options", ((SPECS[0], {"frames_per_token": 3}), (SPECS[1], {"steps_per_token": 7})))
def test_tokens_that_do_not_divide_the_window_are_refused(spec, options):
    config = one_modality(spec, **options)
    for shapes_of in (tensor_shapes, token_counts, SentryFuse):
        with pytest.raises(ParameterError, match="a divisor of"):
            shapes_of(config)
