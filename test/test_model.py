"""SentryFuse as a network: absent sensors, empty windows, every kind of sensor, configs."""

import numpy as np
import pytest
import torch
from tiny_model import SPECS, tiny_batch, tiny_config, tiny_model

from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.model.config import FuseConfig
from sentryfuse_ros.model.fuse import SentryFuse
from sentryfuse_ros.model.tokenizers import PowerSpectrum, TextureStatistics, make_tokenizer
from sentryfuse_ros.preprocessing import ModalitySpec


def test_logits_and_attention_share_have_their_shapes_and_the_share_sums_to_one():
    out = tiny_model()(tiny_batch())
    assert out.logits.shape == (3, 4) and out.attention_share.shape == (3, 3)
    torch.testing.assert_close(out.attention_share.sum(1), torch.ones(3))
    assert (out.attention_share > 0).all()


def test_absent_sensor_is_not_computed_and_has_no_attention_share():
    model, batch = tiny_model(), tiny_batch()
    del batch["camera"]  # would raise if anything read it
    tokens = model.tokens(batch, (False, True, True))
    assert tokens.x.shape[1] == model.lengths[1] + model.lengths[2]
    assert (model(batch, (False, True, True)).attention_share[:, 0] == 0).all()


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
    assert torch.isfinite(out.logits).all() and torch.isfinite(out.attention_share).all()


def test_an_empty_window_of_one_live_sensor_takes_no_part_in_the_readout():
    batch = tiny_batch()
    batch["imu"] = torch.zeros_like(batch["imu"])
    assert (tiny_model()(batch).attention_share[:, 1] < 1e-6).all()


def test_samples_of_a_batch_do_not_influence_each_other():
    model, batch = tiny_model(), tiny_batch()
    alone = model({n: x[1:2] for n, x in batch.items()}).logits
    torch.testing.assert_close(model(batch).logits[1:2], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "kind, shape, encoding",
    [
        ("camera", (4, 3, 16, 16), "rgb"),
        ("imu", (40, 6), ""),
        ("audio", (40, 16), ""),
        ("lidar", (2, 2, 16, 32), ""),
        ("series", (20, 3), ""),
    ],
)
def test_every_kind_of_sensor_has_a_tokeniser(kind, shape, encoding):
    spec = ModalitySpec("s", kind, 1.0, shape, encoding)
    tokeniser = make_tokenizer(spec, 16)
    tokens, empty = tokeniser(torch.randn(2, *shape))
    assert tokens.shape == (2, tokeniser.count, 16) and empty.shape == (2, tokeniser.count) and not empty.any()
    assert tokeniser(torch.zeros(2, *shape))[1].all()


@pytest.mark.parametrize("motion", ["none", "also", "only"])
def test_frame_tokeniser_runs_with_every_motion_option_and_with_only_ignores_a_still_picture(motion):
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


@pytest.mark.parametrize(
    "change, word",
    [
        ({"backbone": "late"}, "backbone"),
        ({"ffn_dim": 30}, "ffn_dim"),
        ({"layers": 0}, "layers"),
        ({"ratio_levels": (0.1, 0.5)}, "ratio_levels"),
        ({"ratio_levels": (0.0, 0.95)}, "ratio_levels"),
        ({"classes": ("a",)}, "classes"),
        ({"kv_stride": {"sonar": 2}}, "kv_stride"),
        ({"modalities": ()}, "modalities"),
    ],
)
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


# what the tokenisers are given besides their convolutions


def test_power_spectrum_sees_frequency_and_power_not_phase():
    spec = ModalitySpec("imu", "imu", 1.0, (200, 6))
    spectrum = PowerSpectrum(spec, 8, hop=20, steps=40)
    caught = {}
    spectrum.mix.register_forward_pre_hook(lambda module, given: caught.update(x=given[0]))

    def powers(hz, phase, level=1.0):
        t = torch.arange(200) / 200
        x = torch.zeros(1, 200, 6)
        x[0, :, 2] = level * torch.sin(2 * torch.pi * hz * t + phase)
        spectrum(x)
        return caught["x"][0].unflatten(0, (6, 21))[2, :, 5] * 3 - 7  # the fifth token's bins of channel 2, back to logarithms

    tone = powers(50.0, 0.3)
    assert tone.argmax() == 10 and tone[10] == pytest.approx(np.log(0.25), abs=0.05)
    torch.testing.assert_close(tone[9:12], powers(50.0, 2.0)[9:12], atol=0.02, rtol=0)
    assert powers(50.0, 0.3, 10.0)[10] - tone[10] == pytest.approx(np.log(100), abs=0.05)
    assert powers(25.0, 0.0).argmax() == 5
    with pytest.raises(ParameterError, match="spectrum_steps"):
        make_tokenizer(spec, 8, {"steps_per_token": 20, "spectrum_steps": 10})


def test_texture_statistics_tell_rough_from_smooth_of_the_same_mean_and_leave_out_what_is_empty():
    spec = ModalitySpec("lidar", "lidar", 1.0, (1, 2, 4, 64))
    texture = TextureStatistics(spec, 8, 1, (2, 1))
    caught = {}
    texture.mix.register_forward_pre_hook(lambda module, given: caught.update(x=given[0]))

    def look(x):
        texture(x, x != 0)
        return caught["x"][0, 0].unflatten(0, (4, 2, 2))  # mean and roughness at three scales; channel; half of the rows

    torch.manual_seed(0)
    smooth = torch.full((1, 1, 2, 4, 64), 3.0)
    rough = smooth.clone()
    rough[:, :, 0, :2] += 0.1 * torch.randn(2, 64)
    a, b = look(smooth), look(rough)
    assert (b[1, 0, 0] - a[1, 0, 0]) > 1 and torch.equal(b[1:, 1], a[1:, 1]) and torch.equal(b[1:, :, 1], a[1:, :, 1])
    assert b[0, 0, 0] == pytest.approx(3.0, abs=0.05)
    holes = rough.clone()
    holes[..., 5::9] = 0  # missing points are neither low nor an edge
    c = look(holes)
    assert c[1, 0, 0] == pytest.approx(float(b[1, 0, 0]), abs=0.15) and c[0, 0, 0] == pytest.approx(3.0, abs=0.05)
    with pytest.raises(ParameterError, match="statistics"):
        make_tokenizer(spec, 8, {"frames_per_token": 1, "statistics": [5, 1]})


@pytest.mark.parametrize("choice, channels", [("each", 6), ("one", 4), ("none", 3)])
def test_stem_gets_the_masks_that_were_asked_for(choice, channels):
    spec = ModalitySpec("camera", "camera", 1.0, (2, 3, 16, 16), "rgb")
    stem = make_tokenizer(spec, 8, {"frames_per_token": 1, "stem_channels": [4], "grid": [2, 2], "validity_mask": choice})
    assert stem.convs[0].in_channels == channels
    tokens, empty = stem(torch.rand(2, 2, 3, 16, 16))
    assert tokens.shape == (2, 2, 8) and not empty.any()
    with pytest.raises(ParameterError, match="validity_mask"):
        make_tokenizer(spec, 8, {"validity_mask": "some"})
