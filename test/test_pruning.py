"""Budgets keep their word, units are nested, sliced weights compute what masked ones would."""

import pytest
import torch
from tiny_model import tiny_batch, tiny_config, tiny_model
from torch.utils.flop_counter import FlopCounterMode

from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.model.backbones import LayerScales
from sentryfuse_ros.pruning.budget import LayerBudget, full_budget, plan_budget, prunable_flops, token_counts
from sentryfuse_ros.pruning.slicing import choose_plan, choose_units, slice_weights

MASKS = [(True, True, True), (True, False, True), (False, True, False)]
RATIOS = [0.0, 0.1, 0.25, 0.5, 0.7, 0.9]


def counted(model, mask, ratio):
    """FLOPs torch counts for backbone only: the whole of fuse, less the read-out."""
    tokens, weights = model.tokens(tiny_batch(1), mask), slice_weights(model, choose_plan(model, mask, ratio))
    with FlopCounterMode(display=False) as counter:
        model.fuse(tokens, weights)
    with FlopCounterMode(display=False) as readout:
        model.readout(tokens.x, tokens.empty)
    return counter.get_total_flops() - readout.get_total_flops()


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("ratio", RATIOS)
def test_budget_arithmetic_is_what_torch_counts(mask, ratio):
    model = tiny_model()
    tokens = token_counts(model.lengths, model.strides, mask)
    budgets = plan_budget(model.config, model.lengths, model.strides, mask, ratio)
    assert prunable_flops(model.config, budgets, *tokens) == counted(model, mask, ratio)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("ratio", RATIOS)
def test_plan_stays_within_the_power_budget_unless_it_is_the_floor(mask, ratio):
    model, config = tiny_model(), tiny_config()
    budgets = plan_budget(config, model.lengths, model.strides, mask, ratio)
    dense = prunable_flops(config, [full_budget(config)] * 2, *token_counts(model.lengths, model.strides, MASKS[0]))
    used = prunable_flops(config, budgets, *token_counts(model.lengths, model.strides, mask))
    floor = [LayerBudget(1, 1, config.channel_step)] * 2
    assert used <= (1 - ratio) * dense * (1 + 1e-9) or budgets == floor


def test_budget_is_used_up_to_the_last_step_that_fits():
    model, config = tiny_model(), tiny_config()
    dense = prunable_flops(config, [full_budget(config)] * 2, *token_counts(model.lengths, model.strides, MASKS[0]))
    for ratio in (0.1, 0.3, 0.5, 0.7):
        used = counted(model, MASKS[0], ratio)
        step = 4 * 9 * config.d_model * config.channel_step  # one channel step over at most 9 tokens
        assert (1 - ratio) * dense - used < 2 * step


def test_absent_sensor_counts_as_removed_so_the_rest_stays_whole():
    model = tiny_model()
    whole = [full_budget(model.config)] * 2
    for ratio in (0.1, 0.3):
        assert plan_budget(model.config, model.lengths, model.strides, (False, True, False), ratio) == whole
    assert plan_budget(model.config, model.lengths, model.strides, (True, True, True), 0.3) != whole


def test_every_layer_keeps_a_head_and_a_channel_step_and_layers_differ_by_one_step():
    model = tiny_model()
    for ratio in RATIOS:
        a, b = plan_budget(model.config, model.lengths, model.strides, MASKS[0], ratio)
        assert min(a.groups, b.groups) >= 1 and min(a.channels, b.channels) >= model.config.channel_step
        assert abs(a.channels - b.channels) <= model.config.channel_step and abs(a.groups - b.groups) <= 1


@pytest.mark.parametrize("ratio", [-0.1, 0.91, float("nan")])
def test_ratio_outside_its_range_is_refused(ratio):
    model = tiny_model()
    with pytest.raises(ParameterError, match="ratio"):
        plan_budget(model.config, model.lengths, model.strides, MASKS[0], ratio)


def test_whole_groups_go_first_then_heads_of_the_last():
    heads, channels = torch.tensor([1.0, 9.0, 4.0, 5.0]), torch.arange(32.0)
    assert choose_units(heads, channels, LayerBudget(1, 2, 8), 2).heads.tolist() == [0, 1]  # 10 > 9
    kept = choose_units(heads, channels, LayerBudget(1, 1, 8), 2)
    assert kept.groups.tolist() == [0] and kept.heads.tolist() == [1] and kept.channels.tolist() == list(range(24, 32))


def test_units_of_a_higher_ratio_are_among_those_of_a_lower():
    model = tiny_model()
    for mask in MASKS:
        plans = [choose_plan(model, mask, r) for r in RATIOS]
        for wide, narrow in zip(plans, plans[1:]):
            for a, b in zip(wide, narrow):
                assert set(b.groups.tolist()) <= set(a.groups.tolist())
                assert set(b.channels.tolist()) <= set(a.channels.tolist())


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.9])
def test_sliced_weights_compute_what_switching_units_off_would(mask, ratio):
    model, batch = tiny_model(), tiny_batch()
    plan = choose_plan(model, mask, ratio)
    scales = []
    for keep in plan:
        heads, channels = torch.zeros(3, 4), torch.zeros(3, 32)
        heads[:, keep.heads], channels[:, keep.channels] = 1, 1
        scales.append(LayerScales(heads, channels))
    sliced = model(batch, mask, slice_weights(model, plan)).logits
    torch.testing.assert_close(sliced, model(batch, mask, scales=scales).logits, atol=1e-5, rtol=1e-4)
    if any(not keep.whole for keep in plan):
        assert not torch.allclose(sliced, model(batch, mask).logits, atol=1e-6)


def test_ratio_zero_with_all_sensors_is_the_dense_network_bit_for_bit():
    model, batch = tiny_model(), tiny_batch()
    weights = slice_weights(model, choose_plan(model, MASKS[0], 0.0))
    assert weights[0].up is model.backbone.layers[0].up.weight  # not even a copy
    assert torch.equal(model(batch, MASKS[0], weights).logits, model(batch).logits)


def test_gradient_reaches_kept_weights_only():
    model, batch = tiny_model().requires_grad_(True), tiny_batch()
    plan = choose_plan(model, MASKS[0], 0.7)
    model(batch, MASKS[0], slice_weights(model, plan)).logits.sum().backward()
    rows = model.backbone.layers[0].up.weight.grad.abs().sum(1) > 0
    assert rows.nonzero().flatten().tolist() == plan[0].channels.tolist()
