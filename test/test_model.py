"""SentryFuse as a network: absent sensors, empty windows, every kind of sensor, configs."""

import pytest
import torch
from tiny_model import SPECS, tiny_batch, tiny_config, tiny_model

from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.modalities.inputs import ModalitySpec
from sentryfuse_ros.model.config import FuseConfig
from sentryfuse_ros.model.fuse import SentryFuse
from sentryfuse_ros.model.tokenizers import make_tokenizer


def test_logits_and_use_have_their_shapes_and_use_sums_to_one():
    out = tiny_model()(tiny_batch())
    assert out.logits.shape == (3, 4) and out.use.shape == (3, 3)
    torch.testing.assert_close(out.use.sum(1), torch.ones(3))
    assert (out.use > 0).all()


def test_absent_sensor_is_not_computed_and_has_no_use():
    model, batch = tiny_model(), tiny_batch()
    del batch["camera"]  # would raise if anything read it
    tokens = model.tokens(batch, (False, True, True))
    assert tokens.x.shape[1] == model.lengths[1] + model.lengths[2]
    assert (model(batch, (False, True, True)).use[:, 0] == 0).all()


def test_answer_without_a_sensor_does_not_depend_on_its_data():
    model, batch = tiny_model(), tiny_batch()
    other = {**batch, "camera": tiny_batch(seed=9)["camera"]}
    mask = (False, True, True)
    assert torch.equal(model(batch, mask).logits, model(other, mask).logits)
    assert not torch.equal(model(batch).logits, model(other).logits)


@pytest.mark.parametrize("mask", [(False, False, False), (True, True)])
def test_impossible_masks_are_refused(mask):
    with pytest.raises(ParameterError, match="mask"):
        tiny_model()(tiny_batch(), mask)


def test_empty_windows_give_numbers_not_nan():
    batch = {name: torch.zeros_like(x) for name, x in tiny_batch().items()}
    out = tiny_model()(batch)
    assert torch.isfinite(out.logits).all() and torch.isfinite(out.use).all()


def test_an_empty_window_of_one_live_sensor_takes_no_part_in_the_readout():
    batch = tiny_batch()
    batch["imu"] = torch.zeros_like(batch["imu"])
    assert (tiny_model()(batch).use[:, 1] < 1e-6).all()


def test_samples_of_a_batch_do_not_influence_each_other():
    model, batch = tiny_model(), tiny_batch()
    alone = model({n: x[1:2] for n, x in batch.items()}).logits
    torch.testing.assert_close(model(batch).logits[1:2], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind, shape, encoding", [
    ("camera", (4, 3, 16, 16), "rgb"), ("imu", (40, 6), ""), ("audio", (40, 16), ""), ("lidar", (2, 2, 16, 32), ""),
    ("series", (20, 3), "")])
def test_every_kind_of_sensor_has_a_tokeniser(kind, shape, encoding):
    spec = ModalitySpec("s", kind, 1.0, shape, encoding)
    tokeniser = make_tokenizer(spec, 16)
    tokens, empty = tokeniser(torch.randn(2, *shape))
    assert tokens.shape == (2, tokeniser.count, 16) and empty.shape == (2, tokeniser.count) and not empty.any()
    assert tokeniser(torch.zeros(2, *shape))[1].all()


@pytest.mark.parametrize("motion", ["none", "also", "only"])
def test_frame_tokeniser_motion_options_run_and_only_sees_no_still_picture(motion):
    still = torch.randn(1, 1, 1, 12, 16).expand(2, 4, 1, 12, 16).clone()
    still[1] *= 2
    tokens, _ = make_tokenizer(SPECS[0], 16, {"stem_channels": (4, 4), "grid": (2, 2), "motion": motion})(still)
    same = torch.allclose(tokens[0], tokens[1], atol=1e-6)
    assert same == (motion == "only")


def test_unknown_tokeniser_option_is_named():
    with pytest.raises(ParameterError, match="patch"):
        make_tokenizer(SPECS[1], 16, {"patch": 3})


def test_config_survives_a_round_trip_and_rebuilds_the_same_network():
    config = tiny_config()
    again = FuseConfig.from_dict(config.to_dict())
    assert again.to_dict() == config.to_dict()
    assert [p.shape for p in SentryFuse(again).parameters()] == [p.shape for p in SentryFuse(config).parameters()]


@pytest.mark.parametrize("change, word", [
    ({"backbone": "late"}, "backbone"), ({"ffn_channels": 30}, "ffn_channels"), ({"layers": 0}, "layers"),
    ({"ratio_levels": (0.1, 0.5)}, "ratio_levels"), ({"ratio_levels": (0.0, 0.95)}, "ratio_levels"),
    ({"classes": ("a",)}, "classes"), ({"kv_stride": {"sonar": 2}}, "kv_stride"), ({"modalities": ()}, "modalities")])
def test_config_names_the_field_that_is_wrong(change, word):
    with pytest.raises(ParameterError, match=word):
        tiny_config(**change)


def test_config_refuses_unknown_keys():
    with pytest.raises(ParameterError, match="depth"):
        FuseConfig.from_dict({**tiny_config().to_dict(), "depth": 3})


def test_same_seed_same_network():
    a, b = tiny_model(3), tiny_model(3)
    assert all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values()))
    assert torch.equal(a(tiny_batch()).logits, b(tiny_batch()).logits)
