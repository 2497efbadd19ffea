"""Budgets of the pruning study: sites that compete by score, and freed budget that is wasted."""

from itertools import combinations, product

import pytest
import torch
from model_family import FAMILY, random_config
from test_pruning import MASKS, RATIOS, budgets_of, counted, dearest_step, family, random_scores
from tiny_model import tiny_model

from benchmarks.pruning.budgets import study_budget, study_plan
from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.model.fuse import SentryFuse
from sentryfuse_ros.model.sites import live_sites
from sentryfuse_ros.pruning.budget import SiteBudget, full_budget, plan_budget, prunable_flops
from sentryfuse_ros.pruning.slicing import slice_weights


@pytest.mark.parametrize("seed", range(60))
def test_random_networks_cost_what_the_arithmetic_says_and_stay_within_budget(seed):
    """Every backbone, mask, mode: the formula is torch's count; the budget holds unless all that is left is the floor."""
    config = random_config(seed)
    model, scores = SentryFuse(config).eval().requires_grad_(False), random_scores(config, seed)
    lengths, everything = model.lengths, [True] * len(model.lengths)
    masks = [m for m in product((True, False), repeat=len(lengths)) if any(m)]
    for i, mask in enumerate(masks):
        ratio, mode, spend = RATIOS[(seed + i) % 6], ("even", "global")[(seed + i) % 2], (seed + i) % 3 > 0
        plan = study_plan(model, mask, ratio, scores, mode, spend)
        used = prunable_flops(config, budgets_of(plan), lengths, mask)
        assert used == counted(model, mask, slice_weights(model, plan))
        paid_for = everything if spend else mask
        dense = prunable_flops(config, full_budget(config, paid_for), lengths, paid_for)
        floor = all(b == SiteBudget(1, 1, config.channel_step) for b in budgets_of(plan))
        assert used <= (1 - ratio) * dense * (1 + 1e-9) or floor
        assert [k.site for k in plan] == [s.site for s in live_sites(config, lengths, mask)]
        if used < prunable_flops(config, full_budget(config, mask), lengths, mask):
            assert floor or (1 - ratio) * dense - used < dearest_step(config, lengths, mask)


@family
def test_freed_budget_not_spent_leaves_each_site_as_with_all_sensors(name):
    model = tiny_model(**FAMILY[name])
    config, mask = model.config, MASKS[1]
    for ratio in (0.2, 0.5, 0.8):
        everywhere = plan_budget(config, model.lengths, MASKS[0], ratio)
        wasted = study_budget(config, model.lengths, mask, ratio, spend_freed=False)
        spent = plan_budget(config, model.lengths, mask, ratio)
        for live, b in zip(live_sites(config, model.lengths, mask), wasted):
            # One step of the one kind may have gone to the other, and one may be left over.
            assert abs(b.channels - everywhere[live.site].channels) <= 2 * config.channel_step
            assert abs(b.groups - everywhere[live.site].groups) <= 1
        assert prunable_flops(config, wasted, model.lengths, mask) < prunable_flops(config, spent, model.lengths, mask)


@family
def test_global_budget_goes_where_the_scores_are(name):
    model = tiny_model(**{**FAMILY[name], "ffn_dim": 64, "channel_step": 2})
    heads, channels = (torch.zeros_like(s) for s in model.gate(torch.tensor(MASKS[0])))
    heads[0], channels[0] = 1, 1
    first, *others = study_budget(model.config, model.lengths, MASKS[0], 0.8, scores=(heads, channels))
    assert first.channels > max(b.channels for b in others)
    assert all(b.groups >= 1 and b.channels >= model.config.channel_step for b in others)
    assert plan_budget(model.config, model.lengths, MASKS[0], 0.8)[0].channels < first.channels


def test_budget_mode_that_does_not_exist_is_refused():
    with pytest.raises(ParameterError, match="even, global"):
        study_plan(tiny_model(), MASKS[0], 0.5, mode="fair")


@family
@pytest.mark.parametrize("mode", ["even", "global"])
def test_a_higher_ratio_keeps_less_everywhere_except_for_one_last_step(name, mode):
    model = tiny_model(**FAMILY[name])
    step = model.config.channel_step
    for mask in MASKS:
        plans = [study_plan(model, mask, r / 50, mode=mode) for r in range(46)]
        for wide, narrow in combinations(plans, 2):
            for a, b in zip(wide, narrow):
                assert len(b.groups) <= len(a.groups) + 1 and len(b.heads) <= len(a.heads) + 2
                assert len(b.channels) <= len(a.channels) + step
                if len(b.channels) <= len(a.channels):
                    assert set(b.channels.tolist()) <= set(a.channels.tolist())


@family
def test_the_defaults_are_the_budgets_of_the_product(name):
    model = tiny_model(**FAMILY[name])
    for mask, ratio in product(MASKS, RATIOS):
        assert study_budget(model.config, model.lengths, mask, ratio) == plan_budget(model.config, model.lengths, mask, ratio)
