"""The accuracies of the plans of one trained network, under a budget over the whole network.

Every ranking gets the same candidates (`parts.py`), the same budgets and the same planner, which is the product's
(`sentryfuse_ros.pruning.planner`) with FLOPs in place of measured time: of the parts that fit, it takes one that is as good as
the best on the validation split. What a ranking decides is which stem channels, heads and FFN channels a part keeps, and with a
layer mode, which layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from itertools import product
from typing import NamedTuple

import numpy as np
import torch

from sentryfuse_ros.masks import all_masks, bits_to_mask, mask_to_bits
from sentryfuse_ros.model.fuse import SentryFuse, Tokens
from sentryfuse_ros.model.subnetwork import Mask, Subnetwork, whole_stems
from sentryfuse_ros.pruning.planner import PlanCosts, PlanWorth, choose_plans
from sentryfuse_ros.pruning.slicing import gate_scores, slice_weights
from sentryfuse_ros.pruning.units import SiteKeep
from sentryfuse_ros.training.validation_predictions import ValidationPredictions

from ..budgets import BUDGET_MODES
from ..examples import Held, held_examples
from ..plans import BATCH, Asked, Ranking, make_plans, plan_accuracies, unit_key
from ..run_result import PlanResults
from ..runs import Run
from ..variants import GATE, GATE_BLIND, SCORES_ALONE
from .parts import LAYER_MODES, PartUnits, all_parts, part_flops, stems_of
from .stages import RATIOS
from .stem_scores import STEM_CRITERIA, StemScores, stem_scores

NETWORK_VERSION = 1  # to be raised when something is measured differently; results of another version are measured again
# The criterion also chooses the part, without the validation split: the one that keeps most of its scores.
ALONE = {f"{c}{SCORES_ALONE}": c for c in STEM_CRITERIA}
# The budget of the first study, over heads and FFN channels alone, on the same networks.
UNITS_ONLY = {f"{c}_units": c for c in (GATE, *STEM_CRITERIA)}
_PLANS: dict[str, tuple[str, ...]] = {
    "joint": (GATE, GATE_BLIND, *STEM_CRITERIA, "gate_units"),
    "normal": (*STEM_CRITERIA, *ALONE, *(f"{c}_units" for c in STEM_CRITERIA)),
    "mask_blind": (GATE_BLIND, GATE),
}
NETWORK_VARIANTS = ("joint", "normal", "fixed_order", "one_order", "mask_blind")
Parts = dict[tuple[Mask, float], Subnetwork]  # by the mask of the live sensors and the ratio


def network_plan_names(variant: str) -> tuple[str, ...]:
    """The plans that are measured on a network trained in this way."""
    return _PLANS.get(variant, (GATE,))


class Cut(NamedTuple):
    """How one ranking cuts a network into parts."""

    model: SentryFuse  # its stems' channels sorted by the ranking
    units: PartUnits
    stems: StemScores  # none where the network itself is sorted


class Chosen(NamedTuple):
    """The plans of one ranking."""

    cut: Cut
    parts: Parts


def measure_network_plans(run: Run, rank: Ranking, names: Sequence[str]) -> PlanResults:
    """All plans on the test split; the choices among parts and modes are made on the validation split."""
    model = rank.model
    everyone, masks = (True,) * len(model.config.names), all_masks(len(model.config.names))
    validation, test = (held_examples(run.task, split, model.config.modalities) for split in ("validation", "test"))
    chosen: dict[str, Chosen] = {}
    for name in names:
        if name not in chosen and name not in UNITS_ONLY:
            chosen |= _choose(ALONE.get(name, name), rank, validation, [n for n in names if ALONE.get(n) == name])
    whole = {mask: whole_stems(model.config, mask, 0.0) for mask in masks}
    dense_flops = _flops(PartUnits(model), whole[everyone])
    dense = part_accuracies(model, test, {part: PartUnits(model)(part) for part in whole.values()})
    results = PlanResults(
        measured_on=len(test.labels),
        modes={n: dict.fromkeys(map(str, RATIOS), mode_name(chosen[n].cut.units)) for n in names if n in chosen},
        dense={mask_to_bits(mask): dense[part] for mask, part in whole.items()},
        whole={
            str(r): [mask_to_bits(m) for m in masks if _flops(PartUnits(model), whole[m]) <= (1 - r) * dense_flops]
            for r in RATIOS
        },
        test={},
        spent={},
        parts={},
    )
    for name, (cut, parts) in chosen.items():
        units = {part: cut.units(part) for part in parts.values()}
        right = part_accuracies(cut.model, test, units)
        for ratio in map(str, RATIOS):
            here = {mask_to_bits(mask): parts[mask, float(ratio)] for mask in masks}
            results.test.setdefault(name, {})[ratio] = {bits: right[part] for bits, part in here.items()}
            results.parts.setdefault(name, {})[ratio] = {bits: part_name(part) for bits, part in here.items()}
            used = [part_flops(cut.model.config, part, units[part]) / dense_flops for part in here.values()]
            results.spent.setdefault(name, {})[ratio] = round(float(np.mean(used)), 4)
    if only := [name for name in names if name in UNITS_ONLY]:
        _add_units_only(results, rank, test, only)
    return results


def _choose(name: str, rank: Ranking, validation: Held, alone: Sequence[str]) -> dict[str, Chosen]:
    """The plans of a ranking by the validation split, and by its scores alone under the names ``alone``."""
    cut = cut_by(name, rank, validation)
    config, parts = cut.model.config, all_parts(cut.model.config)
    units = {part: cut.units(part) for row in parts.values() for part in row}
    logits = part_logits(cut.model, validation, units)
    predictions = ValidationPredictions(
        validation.labels, {code: np.stack([logits[p] for p in row]) for code, row in parts.items()}, None, validation.recording
    )
    costs = PlanCosts({code: tuple(part_flops(config, p, units[p]) / 1e6 for p in row) for code, row in parts.items()})
    worth = PlanWorth(predictions.accuracies(), predictions.standard_errors())
    plans = {key: choice.part for key, choice in choose_plans(config, costs, worth).items()}
    found = {name: Chosen(cut, blind_to_mask(cut.model, plans) if name == GATE_BLIND else plans)}
    if alone:
        kept = {code: [kept_importance(cut, p, units[p]) for p in row] for code, row in parts.items()}
        by_score = {key: choice.part for key, choice in choose_plans(config, costs, PlanWorth(kept, {})).items()}
        found |= {other: Chosen(cut, by_score) for other in alone}
    return found


def cut_by(name: str, rank: Ranking, validation: Held) -> Cut:
    """The network cut by its gate, or by a criterion with the modes that are better on the validation split."""
    model = rank.model
    everyone = (True,) * len(model.config.names)
    if name == GATE:
        return Cut(model, PartUnits(model), [])
    if name == GATE_BLIND:
        return Cut(model, PartUnits(model, lambda used: gate_scores(model, everyone), spend_freed=False), [])
    assert rank.calibration is not None
    of_stems, scores = stem_scores(name, model, rank.calibration, rank.seed), rank(name, everyone)
    network = deepcopy(model)
    for stem, found in zip(network.stems, of_stems):
        stem.sort_channels(found)
    modes = [PartUnits(network, lambda used: scores, *pair) for pair in product(BUDGET_MODES, LAYER_MODES)]
    masks = [mask for mask in all_masks(len(everyone)) if sum(mask) >= len(mask) - 1]
    tried = [p for mask in masks for p in all_parts(model.config)[mask_to_bits(mask)]]
    means = [float(np.mean(list(part_accuracies(network, validation, {p: m(p) for p in tried}).values()))) for m in modes]
    return Cut(network, modes[int(np.argmax(means))], of_stems)


def mode_name(units: PartUnits) -> str:
    """The budget mode and the layer mode."""
    return f"{units.budget_mode}, {units.layer_mode}"


def part_name(part: Subnetwork) -> str:
    """A part in the record: the code of its stems, the layers, the ratio of their units."""
    return f"{part.code}/{part.layers}/{part.units_level:g}"


def blind_to_mask(model: SentryFuse, plans: Parts) -> Parts:
    """The plan for all sensors, of which only what is live runs; where nothing of it is live, its stems and units on what is."""
    everyone = (True,) * len(model.config.names)

    def restricted(live: Mask, plan: Subnetwork) -> Subnetwork:
        used = tuple(a and b for a, b in zip(plan.used, live))
        used, size = (used, 0) if any(used) else (live, max(plan.stems))
        sizes = [len(model.config.tokenizer[name].sizes) for name in model.config.names]
        stems = tuple(max(s, min(size, most)) if here else 0 for s, most, here in zip(plan.stems, sizes, used))
        return plan._replace(used=used, stems=stems)

    return {(live, ratio): restricted(live, plans[everyone, ratio]) for live, ratio in plans}


def kept_importance(cut: Cut, part: Subnetwork, units: Sequence[SiteKeep]) -> float:
    """Share of a ranking's scores that a part keeps, 0 to 1: the mean over stem channels, heads and FFN channels."""
    heads, channels = cut.units.scores(part.used)
    config = cut.model.config
    stem_kept = stem_all = 0.0
    for i, own in enumerate(cut.stems):
        for scores in own:
            share = scores.sort(descending=True).values / scores.sum()
            smaller = config.tokenizer[config.names[i]].sizes
            size = part.stems[i]
            count = (smaller[size - 1].kept(len(scores)) if size else len(scores)) if part.used[i] else 0
            stem_kept, stem_all = stem_kept + float(share[:count].sum()), stem_all + 1.0
    of_heads = sum(float(heads[keep.site, torch.from_numpy(keep.heads)].sum()) for keep in units) / float(heads.sum())
    of_channels = sum(float(channels[keep.site, torch.from_numpy(keep.channels)].sum()) for keep in units) / float(channels.sum())
    return (stem_kept / stem_all + of_heads + of_channels) / 3


@torch.no_grad()  # not inference mode: criteria run backward passes through the same network afterwards
def part_logits(model: SentryFuse, held: Held, units: Mapping[Subnetwork, Sequence[SiteKeep]]) -> dict[Subnetwork, np.ndarray]:
    """Logits (n, classes) of every part with the units that it keeps. Parts that come out the same run once."""
    alike: dict[tuple, list[Subnetwork]] = {}
    for part, kept in units.items():
        alike.setdefault((part.used, part.stems, tuple(unit_key(keep) for keep in kept)), []).append(part)
    weights = [slice_weights(model, units[parts[0]]) for parts in alike.values()]
    rows: list[list[np.ndarray]] = [[] for _ in alike]
    for start in range(0, len(held.labels), BATCH):
        chunk = {name: x[start : start + BATCH] for name, x in held.inputs.items()}
        made = {(i, size): model.tokens_of(i, chunk[model.config.names[i]], size) for i, size in sorted(stems_of(units))}
        for row, w, (first, *_) in zip(rows, weights, alike.values()):
            live = tuple(i for i, here in enumerate(first.used) if here)
            x, empty = zip(*(made[i, first.stems[i]] for i in live))
            row.append(model.fuse(Tokens(torch.cat(x, 1), torch.cat(empty, 1), live), w).logits.numpy())
    return {part: np.concatenate(row) for row, parts in zip(rows, alike.values()) for part in parts}


def part_accuracies(model: SentryFuse, held: Held, units: Mapping[Subnetwork, Sequence[SiteKeep]]) -> dict[Subnetwork, float]:
    """The accuracy of every part."""
    found = part_logits(model, held, units)
    return {part: round(float((logits.argmax(1) == held.labels).mean()), 5) for part, logits in found.items()}


def _flops(units: PartUnits, part: Subnetwork) -> int:
    return part_flops(units.model.config, part, units(part))


def _add_units_only(results: PlanResults, rank: Ranking, test: Held, names: Sequence[str]) -> None:
    """The plans of the first study, mode even, at the ratios of this one."""
    for bits in results.dense:
        mask = bits_to_mask(bits)
        asked = {Asked(UNITS_ONLY[name], "even", ratio): name for name in names for ratio in RATIOS}
        for one, right in plan_accuracies(rank.model, test, mask, make_plans(rank.model, mask, asked, rank)).items():
            results.test.setdefault(asked[one], {}).setdefault(str(one.ratio), {})[bits] = right
