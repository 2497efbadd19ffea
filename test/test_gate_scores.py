"""The gate's scores in numpy are those of the gate in torch."""

import numpy as np
import pytest
import torch
from model_family import FAMILY, random_config
from tiny_model import tiny_config

from sentryfuse_ros.masks import all_masks
from sentryfuse_ros.model.fuse import SentryFuse
from sentryfuse_ros.model.saved import checkpoint_of, load_checkpoint
from sentryfuse_ros.paths import model_path
from sentryfuse_ros.pruning import slicing
from sentryfuse_ros.pruning.gate_scores import gate_scores

CLOSE = 1e-5


def assert_same(model: SentryFuse) -> None:
    tensors = checkpoint_of(model).tensors
    for mask in all_masks(len(model.config.modalities)):
        for ours, expected in zip(gate_scores(model.config, tensors, mask), slicing.gate_scores(model, mask), strict=True):
            assert ours.shape == tuple(expected.shape) and ours.dtype == np.float32
            np.testing.assert_allclose(ours, expected.numpy(), rtol=0, atol=CLOSE)


def random_gate(config, seed=0) -> SentryFuse:
    """A network whose gate has no parameter left at 0."""
    torch.manual_seed(seed)
    model = SentryFuse(config)
    with torch.no_grad():
        for parameter in model.gate.parameters():
            parameter.normal_()
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize("name", FAMILY)
def test_each_backbone(name):
    assert_same(random_gate(tiny_config(**FAMILY[name])))


@pytest.mark.parametrize("seed", range(24))
def test_random_networks(seed):
    assert_same(random_gate(random_config(seed), seed))


@pytest.mark.parametrize("name", ("ground_robot", "husky_terrain", "utd_mhad_depth_imu"))
def test_the_shipped_models(name):
    assert_same(load_checkpoint(model_path(name))[0])


@pytest.mark.parametrize("kind", (list, tuple, np.array))
def test_a_mask_of_any_kind_gives_the_same_scores(kind):
    model = random_gate(tiny_config())
    tensors = checkpoint_of(model).tensors
    expected = gate_scores(model.config, tensors, (True, False, True))
    for ours, want in zip(gate_scores(model.config, tensors, kind([True, False, True])), expected, strict=True):
        np.testing.assert_array_equal(ours, want)
