"""Pruning criteria: equal to a calculation by hand, finding planted units, leaving the model as it was."""

import sys
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from made_up_task import calibration
from tiny_model import tiny_batch, tiny_config, tiny_model

from benchmarks.pruning import criteria
from benchmarks.pruning.criteria import CRITERIA, WITHOUT_DATA, Calibration, unit_scores
from sentryfuse_ros.errors import ParameterError, SentryFuseError
from sentryfuse_ros.model.attention import attend, strided_index
from sentryfuse_ros.model.config import BACKBONES
from sentryfuse_ros.pruning.saliency import unit_scales
from sentryfuse_ros.pruning.slicing import choose_plan, slice_weights

OURS = [c for c in CRITERIA if not c.startswith("torch_pruning")]
MEASURED = [c for c in OURS if c not in WITHOUT_DATA]
ALL = (True, True, True)


def scores(criterion, model, count=5, mask=ALL, seed=0):
    return unit_scores(criterion, model, calibration(count), mask, seed)


def proportional(actual, expected):
    torch.testing.assert_close(actual, expected / expected.mean(), rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("power", [1, 2])
def test_magnitude_is_the_sum_over_a_units_weights(power):
    model = tiny_model()  # 4 heads of 4 dimensions, 2 share a K/V group
    heads, channels = torch.zeros(2, 4), torch.zeros(2, 32)
    for layer, block in enumerate(model.backbone.blocks):
        a = block.attention
        for head in range(4):
            rows, group = slice(4 * head, 4 * head + 4), head // 2
            heads[layer, head] = sum((w.abs() ** power).sum() for w in (a.query.weight[rows], a.out.weight[:, rows]))
            for start in (0, 8):  # keys, values
                own = a.kv.weight[start + 4 * group : start + 4 * group + 4]
                heads[layer, head] += (own.abs() ** power).sum() / 2
        for channel in range(32):
            channels[layer, channel] = (block.up.weight[channel].abs() ** power).sum() + (
                block.down.weight[:, channel].abs() ** power
            ).sum()
    for actual, expected in zip(scores(f"l{power}", model), (heads, channels)):
        proportional(actual, expected)


def test_snip_is_weight_times_gradient_of_the_batch():
    model, data = tiny_model(), calibration()
    actual = scores("snip", model)
    model.requires_grad_(True)
    F.cross_entropy(model(data.inputs).logits, data.labels).backward()
    heads, channels = torch.zeros(2, 4), torch.zeros(2, 32)
    for layer, block in enumerate(model.backbone.blocks):
        a = block.attention
        q, kv, o, up, down = (
            (w * w.grad).abs().detach() for w in (a.query.weight, a.kv.weight, a.out.weight, block.up.weight, block.down.weight)
        )
        for head in range(4):
            rows = range(4 * head, 4 * head + 4)
            shared = sum(kv[4 * (head // 2) + i].sum() + kv[8 + 4 * (head // 2) + i].sum() for i in range(4)) / 2
            heads[layer, head] = sum(q[r].sum() + o[:, r].sum() for r in rows) + shared
        channels[layer] = torch.stack([up[c].sum() + down[:, c].sum() for c in range(32)])
    for mine, expected in zip(actual, (heads, channels)):
        proportional(mine, expected)


def test_taylor_is_the_mean_over_samples_of_the_absolute_slope():
    model, data = tiny_model().double(), calibration(3)
    inputs = {n: x.double() for n, x in data.inputs.items()}
    actual = criteria.taylor_scores(model, Calibration(inputs, data.labels))

    def losses(layer, kind, unit, m):
        scales = unit_scales(model.config, 3)
        with torch.no_grad():
            scales[layer][kind][:, unit] = m
        return F.cross_entropy(model(inputs, scales=scales).logits, data.labels, reduction="none").detach()

    for layer, kind, unit in [*product((0, 1), (0,), range(4)), *product((0, 1), (1,), (0, 7, 31))]:
        slope = (losses(layer, kind, unit, 1 + 1e-3) - losses(layer, kind, unit, 1 - 1e-3)) / 2e-3
        assert actual[kind][layer, unit].item() == pytest.approx(slope.abs().mean().item(), rel=2e-3)


def test_wanda_is_weight_times_norm_of_its_input():
    model, data = tiny_model(layers=1), calibration()
    block = model.backbone.blocks[0]
    x = model.tokens(data.inputs, ALL).x
    y = F.layer_norm(x, (16,), block.norm_attention.weight, block.norm_attention.bias)
    source = y[:, strided_index(list(model.lengths), [1, 2, 1])]
    w = block.attention.weights()
    outputs = attend(y, source, w._replace(out=torch.eye(16), out_bias=torch.zeros(16)), 4)  # of the heads, side by side
    x = x + attend(y, source, w, 4)
    hidden = F.gelu(block.up(F.layer_norm(x, (16,), block.norm_ffn.weight, block.norm_ffn.bias)))
    heads = torch.stack(
        [
            (block.attention.out.weight[:, r].abs() * outputs[..., r].square().sum((0, 1)).sqrt()).sum()
            for r in torch.arange(16).view(4, 4)
        ]
    )
    channels = torch.stack([block.down.weight[:, c].abs().sum() * hidden[..., c].norm() for c in range(32)])
    for actual, expected in zip(scores("wanda", model), (heads, channels)):
        proportional(actual[0], expected)


@pytest.mark.parametrize("criterion", [c for c in OURS if c != "random"])
def test_planted_units_are_found(criterion):
    model = tiny_model()
    for block, head, channel in zip(model.backbone.blocks, (1, 2), (5, 30)):
        for linear, columns in ((block.attention.out, range(4 * head, 4 * head + 4)), (block.down, [channel])):
            others = [c for c in range(linear.in_features) if c not in columns]
            linear.weight[:, others] *= 0.01
    heads, channels = scores(criterion, model)
    assert heads.argmax(1).tolist() == [1, 2] and channels.argmax(1).tolist() == [5, 30]


def test_a_large_unit_that_does_nothing_fools_magnitude_only():
    model = tiny_model()
    block = model.backbone.blocks[0]
    block.up.weight[3] *= 20
    block.down.weight[:, 3] *= 20
    block.up.weight[3].abs_().neg_()
    block.up.bias[3] = -1e4  # GELU gives 0
    first = {c: scores(c, model)[1][0] for c in ("l1", "l2", *MEASURED)}
    assert first["l1"].argmax() == 3 and first["l2"].argmax() == 3
    assert all(first[c][3] == 0 for c in MEASURED)


def test_oracle_is_taylor_of_the_mask():
    model = tiny_model()
    for full, taylor in zip(scores("oracle", model), scores("taylor", model)):
        torch.testing.assert_close(full, taylor)
    alone = scores("oracle", model, mask=(False, True, False))
    assert not torch.allclose(alone[0], scores("taylor", model)[0], rtol=0.1)
    only_imu = Calibration({"imu": calibration().inputs["imu"]}, calibration().labels)
    torch.testing.assert_close(unit_scores("oracle", model, only_imu, (False, True, False))[0], alone[0])


def test_the_mask_changes_nothing_for_the_others():
    model = tiny_model()
    for criterion in set(OURS) - {"oracle"}:
        for blind, told in zip(scores(criterion, model), scores(criterion, model, mask=(False, True, False))):
            assert torch.equal(blind, told)


def test_random_is_repeatable_by_seed():
    model = tiny_model()
    for once, again, other in zip(scores("random", model), scores("random", model), scores("random", model, seed=1)):
        assert torch.equal(once, again) and not torch.equal(once, other)


@pytest.mark.parametrize(
    "shape",
    [
        *({"backbone": b} for b in BACKBONES),
        {"backbone": "bottleneck", "heads_per_group": 1, "num_kv_heads": {"camera": 2, "imu": 4, "wheel": 1}},
    ],
)
@pytest.mark.parametrize("criterion", OURS)
def test_scores_make_plans_that_run(criterion, shape):
    model = tiny_model(**shape)
    for mask in (ALL, (False, True, True)):
        found = scores(criterion, model, mask=mask)
        sites = len(model.backbone.blocks)
        assert found[0].shape == (sites, 4) and found[1].shape == (sites, 32)
        assert all(torch.isfinite(s).all() and (s >= 0).all() for s in found)
        plans = [choose_plan(model, mask, ratio, found) for ratio in (0.3, 0.7)]
        for more, less in zip(*plans):
            assert set(less.heads.tolist()) <= set(more.heads.tolist())
            assert set(less.channels.tolist()) <= set(more.channels.tolist())
        with torch.no_grad():
            logits = model(tiny_batch(), mask, slice_weights(model, plans[1])).logits
        assert torch.isfinite(logits).all()


@pytest.mark.parametrize("criterion", MEASURED)
def test_samples_are_looked_at_in_chunks_of_any_size(criterion, monkeypatch):
    model = tiny_model()
    whole = scores(criterion, model)
    monkeypatch.setattr(criteria, "CHUNK", 2)
    for a, b in zip(whole, scores(criterion, model)):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("criterion", OURS)
def test_the_model_is_left_as_it_was(criterion):
    model = tiny_model(dropout=0.5)
    model.train()
    before = {n: p.clone() for n, p in model.named_parameters()}
    with torch.no_grad():  # as a caller may have it
        first, second = scores(criterion, model), scores(criterion, model)
    assert all(torch.equal(a, b) for a, b in zip(first, second))  # no dropout while measuring
    assert model.training
    for name, p in model.named_parameters():
        assert torch.equal(p, before[name]) and not p.requires_grad and p.grad is None


def test_calibration_is_drawn_by_seed_without_augmentation():
    class Hundred:
        labels = torch.arange(100).numpy()

        def __len__(self):
            return 100

        def inputs(self, index, specs, rng=None):
            assert rng is None
            return {s.name: index.astype("float32")[:, None] for s in specs}

    specs = tiny_config().modalities
    one, same, other = (Calibration.draw(Hundred(), specs, 10, seed) for seed in (0, 0, 1))
    assert torch.equal(one.labels, same.labels) and not torch.equal(one.labels, other.labels)
    assert torch.equal(one.inputs["imu"][:, 0].long(), one.labels) and len(set(one.labels.tolist())) == 10
    assert len(Calibration.draw(Hundred(), specs, 1000).labels) == 100


def test_what_is_missing_is_named():
    model = tiny_model()
    with pytest.raises(ParameterError, match="hessian.*wanda"):
        unit_scores("hessian", model)
    with pytest.raises(ParameterError, match="wanda.*calibration"):
        unit_scores("wanda", model)
    with pytest.raises(ParameterError, match="oracle.*mask"):
        unit_scores("oracle", model, calibration())


def test_without_the_library_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_pruning", None)  # import then raises ImportError
    with pytest.raises(SentryFuseError, match="pip install torch-pruning=="):
        unit_scores("torch_pruning_magnitude", tiny_model())


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("per_group", [1, 2])
def test_the_library_ranks_as_the_formulas_it_implements(per_group, backbone):
    pytest.importorskip("torch_pruning", reason="torch-pruning is not installed: an optional benchmark dependency")
    model = tiny_model(num_kv_heads=4 // per_group, heads_per_group=per_group, backbone=backbone)
    for theirs, ours in (("torch_pruning_magnitude", "l2"), ("torch_pruning_taylor", "snip")):
        found, expected = scores(theirs, model), scores(ours, model)
        for a, b in zip(found[1], expected[1]):
            torch.testing.assert_close(a, b / b.mean(), rtol=1e-4, atol=1e-5)
        if per_group == 1:  # with shared K/V the library does not count these
            for a, b in zip(found[0], expected[0]):
                torch.testing.assert_close(a, b / b.mean(), rtol=1e-4, atol=1e-5)
        else:
            without = _without_keys_and_values(model, ours)
            for a, b in zip(found[0], without):
                torch.testing.assert_close(a, b / b.mean(), rtol=1e-4, atol=1e-5)


def _without_keys_and_values(model, criterion):
    if criterion == "l2":
        per_weight = [[w**2 for w in criteria.weights_of(b)] for b in model.backbone.blocks]
    else:
        gradients = criteria.loss_gradients(model, calibration())
        per_weight = [
            [(w * g).abs() for w, g in zip(criteria.weights_of(b), gs)] for b, gs in zip(model.backbone.blocks, gradients)
        ]
    return [
        criteria.unit_sums(b, q, torch.zeros_like(kv), o, up, down)[0]
        for b, (q, kv, o, up, down) in zip(model.backbone.blocks, per_weight)
    ]
