"""Budgets hold, the units of budgets are nested, and sliced weights compute what weights with units switched off would."""

from itertools import combinations, product

import numpy as np
import pytest
import torch
from model_family import ALIKE, FAMILY, random_config
from tiny_model import tiny_batch, tiny_config, tiny_model
from torch.utils.flop_counter import FlopCounterMode

from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.model.backbones import stack_streams
from sentryfuse_ros.model.block import SiteScales
from sentryfuse_ros.model.fuse import SentryFuse
from sentryfuse_ros.model.sites import all_sites, live_sites
from sentryfuse_ros.model.subnetwork import whole_stems
from sentryfuse_ros.pruning.budget import SiteBudget, full_budget, plan_budget, prunable_flops, site_flops
from sentryfuse_ros.pruning.cost import plan_flops
from sentryfuse_ros.pruning.slicing import as_arrays, choose_plan, slice_weights
from sentryfuse_ros.pruning.units import choose_units

MASKS = [(True, True, True), (True, False, True), (False, True, False)]
RATIOS = [0.0, 0.1, 0.25, 0.5, 0.7, 0.9]
family = pytest.mark.parametrize("name", FAMILY)


def budgets_of(plan):
    return [SiteBudget(len(k.groups), len(k.heads) // len(k.groups), len(k.channels)) for k in plan]


def counted(model, mask, weights):
    """FLOPs torch counts for the backbone alone."""
    tokens = model.tokens({s.name: torch.zeros(1, *s.shape) for s in model.config.modalities}, mask)
    with FlopCounterMode(display=False) as counter:
        model.backbone(tokens.x, tokens.live, weights)
    return counter.get_total_flops()


def random_scores(config, seed):
    torch.manual_seed(seed)
    sites = len(all_sites(config))
    return torch.randn(sites, config.heads), torch.randn(sites, config.ffn_dim)


@pytest.mark.parametrize("seed", range(60))
def test_random_networks_cost_what_the_arithmetic_says_and_stay_within_budget(seed):
    """Every backbone and mask: the formula is torch's count; the budget holds unless all that is left is the floor."""
    config = random_config(seed)
    model, scores = SentryFuse(config).eval().requires_grad_(False), random_scores(config, seed)
    lengths, everything = model.lengths, [True] * len(model.lengths)
    masks = [m for m in product((True, False), repeat=len(lengths)) if any(m)]
    for i, mask in enumerate(masks):
        ratio = RATIOS[(seed + i) % 6]
        plan = choose_plan(model, mask, ratio, scores)
        used = prunable_flops(config, budgets_of(plan), lengths, mask)
        assert used == counted(model, mask, slice_weights(model, plan))
        dense = prunable_flops(config, full_budget(config), lengths, everything)
        floor = all(b == SiteBudget(1, 1, config.channel_step) for b in budgets_of(plan))
        assert used <= (1 - ratio) * dense * (1 + 1e-9) or floor
        assert [k.site for k in plan] == [s.site for s in live_sites(config, lengths, mask)]
        if used < prunable_flops(config, full_budget(config, mask), lengths, mask):
            assert floor or (1 - ratio) * dense - used < dearest_step(config, lengths, mask)


def dearest_step(config, lengths, mask):
    """FLOPs of the largest step: a K/V group with its heads, or a channel step, in all streams of a layer."""

    def step(live, budget):
        return site_flops(config, budget, live.queries, live.keys)

    by_layer = {}
    for live in live_sites(config, lengths, mask):
        site = all_sites(config)[live.site]
        group = SiteBudget(1, site.heads_per_group, 0)
        by_layer.setdefault(site.layer, []).append(max(step(live, group), step(live, SiteBudget(0, 0, config.channel_step))))
    return max(map(sum, by_layer.values()))


@family
def test_cost_of_the_whole_is_what_torch_counts(name):
    model = tiny_model(**FAMILY[name])
    for mask in MASKS:
        plan = choose_plan(model, mask, 0.5)
        weights = slice_weights(model, plan)
        kept, everything = [keep.budget for keep in plan], full_budget(model.config, mask)
        for chosen, budgets in ((None, everything), (weights, kept), (stack_streams(model.backbone, weights), kept)):
            with FlopCounterMode(display=False) as counter:
                model(tiny_batch(1), mask, chosen)
            assert plan_flops(model.config, whole_stems(model.config, mask, 0.0), budgets) == counter.get_total_flops()


@family
def test_absent_sensor_counts_as_removed_so_the_rest_stays_whole(name):
    model = tiny_model(**FAMILY[name])
    for ratio in (0.1, 0.3):
        assert plan_budget(model.config, model.lengths, MASKS[2], ratio) == full_budget(model.config, MASKS[2])
    assert plan_budget(model.config, model.lengths, MASKS[0], 0.3) != full_budget(model.config)


def test_every_layer_keeps_a_head_and_a_channel_step_and_layers_differ_by_one_step():
    model = tiny_model()
    for ratio in RATIOS:
        a, b = plan_budget(model.config, model.lengths, MASKS[0], ratio)
        assert min(a.groups, b.groups) >= 1 and min(a.channels, b.channels) >= model.config.channel_step
        assert abs(a.channels - b.channels) <= model.config.channel_step and abs(a.groups - b.groups) <= 1


@family
def test_even_budget_keeps_about_the_same_share_of_every_stream(name):
    config = tiny_config(**{**FAMILY[name], "ffn_dim": 128, "channel_step": 2, "num_kv_heads": 4, "heads_per_group": 1})
    model = SentryFuse(config)
    for mask, ratio in product(MASKS, (0.3, 0.5, 0.7)):
        channels = [b.channels for b in plan_budget(config, model.lengths, mask, ratio)]
        assert max(channels) - min(channels) <= 0.1 * config.ffn_dim


@pytest.mark.parametrize("name", ["bottleneck", "cross_modal"])
def test_streams_with_the_same_work_keep_the_same_and_so_can_run_at_once(name):
    model = tiny_model(**{**FAMILY[name], **ALIKE})
    for mask, ratio in product(MASKS, RATIOS):
        weights = stack_streams(model.backbone, slice_weights(model, choose_plan(model, mask, ratio)))
        assert len(weights) == model.config.layers


@pytest.mark.parametrize("ratio", [-0.1, 0.91, float("nan")])
def test_ratio_outside_its_range_is_refused(ratio):
    model = tiny_model()
    with pytest.raises(ParameterError, match="ratio"):
        plan_budget(model.config, model.lengths, MASKS[0], ratio)


def test_whole_groups_go_first_then_heads_of_the_last():
    heads, channels = np.float32([1.0, 9.0, 4.0, 5.0]), np.arange(32.0)
    assert choose_units(heads, channels, SiteBudget(1, 2, 8), 2).heads.tolist() == [0, 1]  # 10 > 9
    kept = choose_units(heads, channels, SiteBudget(1, 1, 8), 2)
    assert kept.groups.tolist() == [0] and kept.heads.tolist() == [1] and kept.channels.tolist() == list(range(24, 32))


def test_units_of_a_smaller_budget_are_among_those_of_a_larger():
    heads, channels = as_arrays(random_scores(tiny_config(), 0))
    for small, large in ((SiteBudget(1, 1, 8), SiteBudget(1, 2, 8)), (SiteBudget(1, 2, 8), SiteBudget(2, 2, 24))):
        a, b = (choose_units(heads[0], channels[0], budget, 2) for budget in (small, large))
        for part in ("groups", "heads", "channels"):
            assert set(getattr(a, part).tolist()) <= set(getattr(b, part).tolist())


@family
def test_a_higher_ratio_keeps_less_everywhere_except_for_one_last_step(name):
    model = tiny_model(**FAMILY[name])
    step = model.config.channel_step
    for mask in MASKS:
        plans = [choose_plan(model, mask, r / 50) for r in range(46)]
        for wide, narrow in combinations(plans, 2):
            for a, b in zip(wide, narrow):
                assert len(b.groups) <= len(a.groups) + 1 and len(b.heads) <= len(a.heads) + 2
                assert len(b.channels) <= len(a.channels) + step
                if len(b.channels) <= len(a.channels):
                    assert set(b.channels.tolist()) <= set(a.channels.tolist())


@pytest.mark.parametrize("ratio", [0.1, 0.25, 0.5, 0.7, 0.9])
def test_plans_of_the_levels_are_nested_where_the_sites_are_alike(ratio):
    model = tiny_model()
    for mask in MASKS:
        for a, b in zip(choose_plan(model, mask, ratio - 0.1), choose_plan(model, mask, ratio)):
            assert set(b.heads.tolist()) <= set(a.heads.tolist()) and set(b.channels.tolist()) <= set(a.channels.tolist())


@family
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.9])
def test_sliced_weights_compute_what_switching_units_off_would(name, mask, ratio):
    model, batch = tiny_model(**FAMILY[name]), tiny_batch()
    plan = choose_plan(model, mask, ratio)
    scales = [SiteScales(torch.full((3, 4), torch.nan), torch.full((3, 32), torch.nan)) for _ in all_sites(model.config)]
    for keep in plan:
        heads, channels = (s.zero_() for s in scales[keep.site])
        heads[:, keep.heads], channels[:, keep.channels] = 1, 1
    sliced = model(batch, mask, slice_weights(model, plan)).logits
    torch.testing.assert_close(sliced, model(batch, mask, scales=scales).logits, atol=1e-5, rtol=1e-4)
    if any(not keep.whole for keep in plan):
        assert not torch.allclose(sliced, model(batch, mask).logits, atol=1e-6)


@family
def test_gradient_reaches_kept_weights_only(name):
    model, batch = tiny_model(**FAMILY[name]).requires_grad_(True), tiny_batch()
    plan = choose_plan(model, MASKS[0], 0.7)
    model(batch, MASKS[0], slice_weights(model, plan)).logits.sum().backward()
    for keep in plan:
        rows = model.backbone.blocks[keep.site].up.weight.grad.abs().sum(1) > 0
        assert rows.nonzero().flatten().tolist() == keep.channels.tolist()
