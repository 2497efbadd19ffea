"""What every backbone promises: absent streams are not computed, everything learns, plans are exact, files can be read back."""

import copy
import json

import pytest
import torch
from model_family import ALIKE, FAMILY
from tiny_model import tiny_batch, tiny_config, tiny_inputs, tiny_model

from sentryfuse_ros.errors import CheckpointError, ParameterError
from sentryfuse_ros.model.backbones import stack_streams
from sentryfuse_ros.model.saved import load_checkpoint, save_checkpoint
from sentryfuse_ros.model.sites import all_sites, live_sites
from sentryfuse_ros.model.subnetwork import whole_stems
from sentryfuse_ros.pruning.budget import full_budget
from sentryfuse_ros.pruning.cost import plan_params
from sentryfuse_ros.pruning.saliency import SaliencyTeacher, alignment_loss, saliency, unit_scales
from sentryfuse_ros.pruning.slicing import choose_plan, slice_weights
from sentryfuse_ros.runtime.engine import Engine

ALL, NO_CAMERA, IMU = (True, True, True), (False, True, True), (False, True, False)
family = pytest.mark.parametrize("name", FAMILY)
streams = pytest.mark.parametrize("name", ["bottleneck", "cross_modal"])


def alike_batch(count=2):
    torch.manual_seed(1)
    return {n: torch.randn(count, 20, 2) for n in "abc"}


# absent sensors


@family
def test_nothing_of_an_absent_sensor_is_read(name):
    model, batch = tiny_model(**FAMILY[name]), tiny_batch()
    expected = model(batch, NO_CAMERA).logits
    for parameter in [
        *model.tokenizers[0].parameters(),
        model.positions[0],
        *(p for site, b in zip(all_sites(model.config), model.backbone.blocks) if site.stream == 0 for p in b.parameters()),
    ]:
        parameter.fill_(float("nan"))
    del batch["camera"]
    assert torch.equal(model(batch, NO_CAMERA).logits, expected)
    for ratio in (0.0, 0.7):
        plan = choose_plan(model, NO_CAMERA, ratio)
        assert torch.isfinite(model(batch, NO_CAMERA, slice_weights(model, plan)).logits).all()


@streams
def test_units_of_an_absent_stream_are_not_in_the_plan(name):
    model = tiny_model(**FAMILY[name])
    sites = all_sites(model.config)
    assert [k.site for k in choose_plan(model, ALL, 0.5)] == list(range(len(sites)))
    assert {sites[k.site].stream for k in choose_plan(model, NO_CAMERA, 0.5)} == {1, 2}
    parts = [whole_stems(model.config, mask, 0.0) for mask in (IMU, NO_CAMERA, ALL)]
    params = [plan_params(model.config, part, full_budget(model.config, part.used)) for part in parts]
    assert params[0] < params[1] < params[2]


@family
def test_live_sensors_do_influence_each_other(name):
    model, batch = tiny_model(**FAMILY[name]), tiny_batch()
    other = {**batch, "camera": tiny_batch(seed=9)["camera"]}
    start = model.lengths[0] + model.lengths[1]
    wheel = [model.backbone(model.tokens(b, ALL).x, (0, 1, 2))[:, start:] for b in (batch, other)]
    assert not torch.allclose(*wheel, atol=1e-6)


def test_streams_meet_only_through_the_bottleneck():
    """With the shared tokens cut off, a stream of `bottleneck` is deaf to the others."""
    model, batch = tiny_model(**FAMILY["bottleneck"]), tiny_batch()
    other = {**batch, "camera": tiny_batch(seed=9)["camera"]}
    start = model.lengths[0] + model.lengths[1]

    def wheel(inputs):
        model.backbone.begin = lambda streams: torch.zeros(3, 0, 16)
        x = model.tokens(inputs, ALL).x
        return model.backbone(x, (0, 1, 2))[:, start:]

    assert torch.equal(wheel(batch), wheel(other))


def test_one_layer_of_the_bottleneck_is_before_the_fusion():
    model = tiny_model(**FAMILY["bottleneck"])
    live = live_sites(model.config, model.lengths, ALL)
    camera, keys = model.lengths[0], model.lengths[0]  # stride 1
    assert [(s.queries, s.keys) for s in live[::3]] == [(camera, keys), (camera + 2, keys + 2), (camera, keys + 2)]


# learning


@family
def test_gradient_reaches_every_parameter(name):
    model = tiny_model(**FAMILY[name]).requires_grad_(True).train()
    model(tiny_batch()).logits.square().sum().backward()
    without = [n for n, p in model.named_parameters() if not n.startswith("gate.") and (p.grad is None or not p.grad.any())]
    assert not without


@streams
def test_saliency_and_alignment_leave_absent_streams_alone(name):
    model, batch = tiny_model(**FAMILY[name]).requires_grad_(True), tiny_batch()
    scales = unit_scales(model.config, 3)
    model(batch, NO_CAMERA, scales=scales).logits.square().sum().backward()
    heads, channels = saliency(scales)
    absent = torch.tensor([site.stream == 0 for site in all_sites(model.config)])
    for kind in (heads, channels):
        assert (kind[absent] == 0).all() and (kind[~absent].sum(1) > 0).all()
        assert float(kind[~absent].mean()) == pytest.approx(1)
    teacher = SaliencyTeacher()
    teacher.update(NO_CAMERA, (heads, channels))
    model.gate.zero_grad()
    scores = model.gate(torch.tensor(NO_CAMERA))
    for s in scores:
        s.retain_grad()
    alignment_loss(scores, teacher.target(NO_CAMERA)).backward()
    assert all((s.grad[absent] == 0).all() and s.grad[~absent].any() for s in scores)


@family
def test_scales_of_one_change_nothing(name):
    model, batch = tiny_model(**FAMILY[name]), tiny_batch()
    torch.testing.assert_close(model(batch, scales=unit_scales(model.config, 3)).logits, model(batch).logits)


# exactness


@family
def test_plan_of_everything_is_the_dense_network_bit_for_bit(name):
    model, batch = tiny_model(**FAMILY[name]), tiny_batch()
    for mask in (ALL, NO_CAMERA, IMU):
        weights = slice_weights(model, choose_plan(model, mask, 0.0))
        assert torch.equal(model(batch, mask, weights).logits, model(batch, mask).logits)
        assert weights[0].up is model.backbone.blocks[weights[0].sites[0]].up.weight  # not even a copy


@streams
@pytest.mark.parametrize("pattern", ["strided", "pooled"])
@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.7])
def test_stacked_streams_compute_what_they_do_one_by_one(name, pattern, ratio):
    model = tiny_model(**{**FAMILY[name], **ALIKE, "kv_pattern": pattern})
    for mask in (ALL, NO_CAMERA, IMU):
        one_by_one = slice_weights(model, choose_plan(model, mask, ratio))
        stacked = stack_streams(model.backbone, one_by_one)
        assert sorted(i for w in stacked for i in w.sites) == [w.sites[0] for w in one_by_one]
        if ratio == 0.0:
            assert len(stacked) == model.config.layers
        torch.testing.assert_close(
            model(alike_batch(), mask, stacked).logits, model(alike_batch(), mask, one_by_one).logits, atol=1e-5, rtol=1e-4
        )
        assert sum(t.numel() for w in stacked for t in w.tensors()) == sum(t.numel() for w in one_by_one for t in w.tensors())


@streams
def test_stacked_streams_collect_the_same_saliency(name):
    model = tiny_model(**{**FAMILY[name], **ALIKE})
    found = []
    for stacked in (False, True):
        weights, scales = model.backbone.weights((0, 1, 2)), unit_scales(model.config, 2)
        model(alike_batch(), ALL, stack_streams(model.backbone, weights) if stacked else weights, scales).logits.sum().backward()
        found.append(saliency(scales))
    for a, b in zip(*found):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)


def test_streams_of_different_shape_are_not_stacked():
    model = tiny_model(**FAMILY["cross_modal"])
    weights = model.backbone.weights((0, 1, 2))
    assert [w.sites for w in stack_streams(model.backbone, weights)] == [w.sites for w in weights]


# engine and files


@family
def test_engine_runs_all_masks_and_levels_and_counts(name):
    model = tiny_model(**FAMILY[name])
    engine = Engine.from_model(copy.deepcopy(model))
    engine.warm()
    full = engine.infer(tiny_inputs(), ALL, 0.0)
    assert full.params == sum(p.numel() for n, p in model.named_parameters() if not n.startswith("gate."))
    torch.testing.assert_close(torch.from_numpy(full.probabilities), torch.softmax(model(tiny_batch(1)).logits[0], 0))
    flops = [engine.infer(tiny_inputs(), ALL, r).flops for r in engine.ratio_levels]
    assert flops == sorted(flops, reverse=True) and flops[0] > flops[5] > flops[9]


@family
def test_model_file_survives_a_round_trip(name, tmp_path):
    model = tiny_model(**FAMILY[name])
    again, _ = load_checkpoint(save_checkpoint(model, tmp_path))
    assert again.config.to_dict() == model.config.to_dict()
    assert torch.equal(again(tiny_batch()).logits, model(tiny_batch()).logits)


def test_model_file_of_another_backbone_is_refused(tmp_path):
    folder = save_checkpoint(tiny_model(**FAMILY["cross_modal"]), tmp_path / "a")
    other = save_checkpoint(tiny_model(), tmp_path / "b")
    record = (folder / "model.json").read_text()
    sha = [line for line in (other / "model.json").read_text().splitlines() if '"sha256"' in line][0]
    ours = [line for line in record.splitlines() if '"sha256"' in line][0]
    (other / "model.json").write_text(record.replace(ours, sha))
    with pytest.raises(CheckpointError, match="tensor backbone.layers"):
        load_checkpoint(other)


@family
@pytest.mark.parametrize(
    "change",
    [
        {"d_model": 10**7},
        {"d_model": 10**30},
        {"num_kv_heads": [2]},
        {"kv_stride": [2]},
        {"kv_stride": {"imu": "2"}},
        {"bottleneck_tokens": 2.5},
        {"kv_pattern": None},
    ],
)
def test_model_file_whose_config_does_not_fit_is_refused(name, change, tmp_path):
    folder = save_checkpoint(tiny_model(**FAMILY[name]), tmp_path)
    record = json.loads((folder / "model.json").read_text())
    record["config"].update(change)
    (folder / "model.json").write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match="config|tensor"):
        load_checkpoint(folder)


# configs


@pytest.mark.parametrize(
    "change, word",
    [
        ({"kv_pattern": "random"}, "kv_pattern"),
        ({"kv_stride": {"imu": 0}}, "kv_stride"),
        ({"num_kv_heads": {"camera": 2, "imu": 2, "wheel": 2}}, "early fusion"),
        ({"num_kv_heads": 0}, "num_kv_heads"),
        ({"backbone": "cross_modal", "num_kv_heads": {"camera": 2}}, "num_kv_heads"),
        ({"backbone": "cross_modal", "num_kv_heads": {"camera": 3, "imu": 2, "wheel": 2}, "heads_per_group": 1}, "divisors"),
        ({"backbone": "bottleneck", "fusion_layer": 1}, "fusion_layer"),
        ({"backbone": "bottleneck", "fusion_layer": -1}, "fusion"),
        ({"backbone": "bottleneck", "fusion_layer": 0, "bottleneck_tokens": 0}, "bottleneck_tokens"),
    ],
)
def test_config_names_the_field_that_is_wrong(change, word):
    with pytest.raises(ParameterError, match=word):
        tiny_config(**change)
