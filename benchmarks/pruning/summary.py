"""The benchmark's figures from whatever cells are finished, each with what it rests on.

Wherever a strongest baseline or mask-blind plan is needed it is the one with the highest mean on the very test accuracies that
it is then compared on: a choice in its favour. Budget modes come from the validation split (cells.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sentryfuse_ros.model.config import BACKBONES

from .conditions import MISSING, RATIOS
from .results import Combination, Results
from .variants import GATE, GATE_BLIND, GATE_MODE, GROUPS, ORACLE, STATIC, USUAL, VARIANTS

OURS = ("joint", GATE)
PAIR = ("joint", "normal")  # the trainings of the comparison itself
HIGH = tuple(r for r in RATIOS if r >= 0.5)
# Plans that know nothing of the mask: those that do not even spend what an absent sensor frees, and those that do; the latter
# of all backbones, and with the controls that one backbone has.
_ONE_ORDER = (("mask_blind", GATE), *(("joint", c) for c in USUAL))
MASK_BLIND = {
    "gain_vs_mask_blind": (("mask_blind", GATE_BLIND), ("joint", GATE_BLIND)),
    "gain_vs_one_order": _ONE_ORDER,
    "gain_vs_one_order_explained": (("one_order", GATE), ("fixed_order", GATE), *_ONE_ORDER),
}
# A stronger baseline than that of the comparison: passed through and distilled as ours. Two weaker ones: criteria with one plan
# per ratio for all masks, and a training without sensor dropout.
OTHER_BASELINES = (("self_distilled", "self_distilled", USUAL), ("static", "normal", STATIC), ("plain", "plain", USUAL))
DENSE_GAPS = {"dense_gap": ("normal", "joint"), "dense_gap_self_distilled": ("self_distilled", "joint")}
CONTROLS = (
    *(("normal", c) for c in (*USUAL, ORACLE, *STATIC)),
    *(("joint", c) for c in (*USUAL, ORACLE, GATE_MODE, GATE_BLIND)),
    *(("plain", c) for c in USUAL),
    ("mask_blind", GATE_BLIND),
    ("mask_blind", GATE),
    ("to_90", GATE),
    ("one_order", GATE),
    *(("self_distilled", c) for c in USUAL),
    ("fixed_order", GATE),
)

Plan = tuple[str, str]  # variant, plan


def summarise(cells: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """-> summary (the figures; None where no cell is finished), basis (what each rests on), combinations, plans (beside ours on
    all nets), plans_explained (on explained_on, the backbone that the controls which explain were tried on), accuracy."""
    cells = list(cells)
    results = Results(cells)
    explained_on = _explained_on(results)
    combinations = results.combinations(*PAIR)
    summary: dict[str, Any] = {"combinations": len(combinations), "seeds": _fewest_seeds(results, combinations, PAIR)}
    basis: dict[str, Any] = {}
    for part in (_gains, _others, _beyond, _mask_blind, _kept, _dense_gap, _attend, _groups, _accuracy_r0):
        figures, rests_on = part(results)
        summary |= figures
        basis |= rests_on
    best = summary["strongest_baseline"]
    return {
        "summary": summary,
        "basis": basis,
        "combinations": [_line(results, c, best) for c in combinations],
        "plans": [row for plan in CONTROLS if not VARIANTS[plan[0]].explains and (row := _against_ours(results, plan))],
        "plans_explained": [row for plan in CONTROLS if (row := _against_ours(results, plan, [explained_on]))],
        "explained_on": explained_on,
        "accuracy": [
            {**c["net"], "accuracy": c["accuracy"], "params": c["params"], "flops": c["flops"], "train_s": c["train_s"]}
            for c in cells
        ],
    }


def strongest(results: Results, candidates: Sequence[Plan], combinations: Sequence[Combination]) -> Plan | None:
    """The candidate with the highest mean over the combinations, those of all variants' common seeds."""
    if not combinations or not candidates:
        return None
    variants = {"joint", *(v for v, _ in candidates)}

    def mean(plan: Plan) -> float:
        return float(np.mean([results.accuracy(c, *plan, results.seeds(c[:2], variants)) for c in combinations]))

    return max(candidates, key=mean)


def _usual(results: Results) -> list[Plan]:
    """The baselines of the comparison itself: usual criteria that were measured, on the normally trained net."""
    return [("normal", c) for c in USUAL if c in results.plans("normal")]


def _pair(
    results: Results, at: Combination, plan: Plan, variants: Iterable[str] = PAIR, seeds: Sequence[int] = ()
) -> tuple[float, float]:
    """(ours, the other) on the seeds given, else on those that all of the variants have."""
    seeds = seeds or results.seeds(at[:2], {"joint", plan[0], *variants})
    return results.accuracy(at, *OURS, seeds), results.accuracy(at, *plan, seeds)


def _gains(results: Results) -> tuple[dict, dict]:
    """Relative gain over the strongest usual criterion on the normally trained net."""
    combinations, usual = results.combinations(*PAIR), _usual(results)
    best = strongest(results, usual, combinations)
    dropout = [c for c in combinations if c.condition != "all" and c.ratio in HIGH]
    kinds = {
        "gain_mean_rel": combinations,
        "gain_dropout_rel": dropout,
        "gain_missing_rel": [c for c in dropout if c.condition in MISSING],
        **{f"gain_mean_rel_{b}": [c for c in combinations if c.backbone == b] for b in BACKBONES},
        "gain_mean_rel_where_pruned": [c for c in combinations if results.pruned_share(c) > 0],
    }
    each = "gain_mean_rel_best_each"
    if best is None:
        return {"strongest_baseline": None, **dict.fromkeys((*kinds, each))}, {}
    gain = {c: _relative(*_pair(results, c, best)) for c in combinations}
    figures = {
        "strongest_baseline": best[1],
        **{name: _mean(gain[c] for c in kind) for name, kind in kinds.items()},
        each: _mean(min(_relative(*_pair(results, c, plan)) for plan in usual) for c in combinations),
    }
    basis = {
        name: _rests_on(results, kind, PAIR)
        | {"by_seed": _by_seed(results, kind, PAIR, lambda c, seed: _relative(*_pair(results, c, best, seeds=[seed])))}
        for name, kind in kinds.items()
    }
    return figures, basis | {each: _rests_on(results, combinations, PAIR)}


def _others(results: Results) -> tuple[dict, dict]:
    """Relative gains over the strongest of other baselines."""
    figures, basis = {}, {}
    for name, variant, criteria in OTHER_BASELINES:
        combinations = results.combinations("joint", variant)
        best = strongest(results, [(variant, c) for c in criteria if c in results.plans(variant)], combinations)
        gain = best and _mean(_relative(*_pair(results, c, best, ("joint",))) for c in combinations)
        figures |= {f"gain_mean_rel_{name}": gain, f"strongest_{name}": best and best[1]}
        basis[f"gain_mean_rel_{name}"] = _rests_on(results, combinations, ("joint", variant))
    return figures, basis


def _beyond(results: Results) -> tuple[dict, dict]:
    """As the first of the gains, of nets that were pruned in training beyond the ratios tested."""
    both, usual = ("to_90", "normal"), _usual(results)
    combinations = results.combinations(*both)
    best = strongest(results, usual, results.combinations(*PAIR))

    def gain(at: Combination, seeds: Sequence[int]) -> float:
        return _relative(results.accuracy(at, "to_90", GATE, seeds), results.accuracy(at, *best, seeds))

    name = "gain_mean_rel_to_90"
    found = best and _mean(gain(c, results.seeds(c[:2], both)) for c in combinations)
    return {name: found}, {
        name: _rests_on(results, combinations, both)
        | ({"by_seed": _by_seed(results, combinations, both, lambda c, seed: gain(c, [seed]))} if best else {})
    }


def _mask_blind(results: Results) -> tuple[dict, dict]:
    """Points over the best plans that know nothing of the mask, one or two sensors missing, r >= .5."""
    figures, basis = {}, {}
    for name, candidates in MASK_BLIND.items():
        variants = ("joint", *dict.fromkeys(v for v, _ in candidates if v != "joint"))
        combinations = results.combinations(*variants, only=tuple(MISSING), ratios=HIGH)
        best = strongest(results, [(v, c) for v, c in candidates if c in results.plans(v)], combinations)
        points = best and _mean((100 * (a - b) for a, b in (_pair(results, c, best, variants) for c in combinations)), 2)
        figures |= {f"{name}_points": points, f"{name}_best": best and ": ".join(best)}
        basis[f"{name}_points"] = _rests_on(results, combinations, variants)
        if best:
            basis[f"{name}_points"]["by_seed"] = _by_seed(
                results,
                combinations,
                variants,
                lambda c, seed, best=best: 100 * float(np.subtract(*_pair(results, c, best, seeds=[seed]))),
                2,
            )
    return figures, basis


def _kept(results: Results) -> tuple[dict, dict]:
    """Accuracy at r as a fraction of the same net's at r = 0, and of the normally trained net's; all sensors.

    The same of the strongest baseline on its own net.
    """
    figures, basis = {}, {}
    best = strongest(results, _usual(results), results.combinations(*PAIR))
    for name, ratio in (("kept_r50", 0.5), ("kept_r70", 0.7), ("kept_r80", 0.8)):
        for suffix, plan, dense in (("", OURS, "joint"), ("_of_normal", OURS, "normal"), ("_baseline", best, "normal")):
            variants = ("joint",) if dense == "joint" else PAIR
            combinations = results.combinations(*variants, only=("all",), ratios=(ratio,)) if plan else []
            shares = []
            for c in combinations:
                seeds = results.seeds(c[:2], variants)
                shares.append(results.accuracy(c, *plan, seeds) / results.accuracy(c, dense, "dense", seeds))
            figures[name + suffix] = _mean(shares)
            basis[name + suffix] = _rests_on(results, combinations, variants)
    return figures, basis


def _dense_gap(results: Results) -> tuple[dict, dict]:
    """Points that a net trained to be pruned is behind one that is not, at r = 0, all sensors, the whole test split."""
    figures, basis = {}, {}
    for name, (dense, ours) in DENSE_GAPS.items():
        pairs = [pair for pair in results.pairs(dense, ours) if "test" in _any(results, pair, ours)]
        gaps = {"-".join(pair): _gap(results, pair, dense, ours) for pair in pairs}
        figures |= {f"{name}_points": _mean(gaps.values(), 2), f"{name}_points_by_net": gaps}
        basis[f"{name}_points"] = {
            "nets": len(gaps),
            "seeds": min((len(results.seeds(p, (dense, ours))) for p in pairs), default=0),
            "by_seed": _by_seed(
                results, pairs, (dense, ours), lambda p, seed, dense=dense, ours=ours: _gap_of(results, p, dense, ours, seed), 2
            ),
        }
    return figures, basis


def _attend(results: Results) -> tuple[dict, dict]:
    """Of SentryAttend by backbone: share of all FLOPs it saves; points that it is behind ordinary attention."""
    saving: dict[str, list[float]] = {}
    for pair in results.pairs("joint"):
        cell = _any(results, pair, "joint")
        if "test" in cell:
            saving.setdefault(pair[1], []).append(1 - cell["flops"] / cell["flops_dense_attention"])
    both = ("dense_attention", "joint")
    pairs: dict[str, list[tuple[str, str]]] = {}
    for pair in results.pairs(*both):
        pairs.setdefault(pair[1], []).append(pair)
    figures = {
        "flops_saving": {b: _mean(v) for b, v in saving.items()},
        "attend_gap_points": {b: _mean((_gap(results, p, *both) for p in v), 2) for b, v in pairs.items()},
        "attend_gap_points_by_net": {"-".join(p): _gap(results, p, *both) for v in pairs.values() for p in v},
    }
    basis = {
        "applications": {b: len(v) for b, v in pairs.items()},
        "seeds": min((len(results.seeds(p, both)) for v in pairs.values() for p in v), default=0),
        "by_seed": {b: _by_seed(results, v, both, lambda p, s: _gap_of(results, p, *both, s), 2) for b, v in pairs.items()},
    }
    return figures, {"flops_saving": {"applications": {b: len(v) for b, v in saving.items()}}, "attend_gap_points": basis}


def _groups(results: Results) -> tuple[dict, dict]:
    """Other numbers of K/V groups a sensor: FLOPs as a share of ours', points behind ours at r = 0 and over all combinations."""
    rows = {}
    for variant in GROUPS:
        both = ("joint", variant)
        if not (pairs := results.pairs(*both)):
            continue
        flops = _mean(_any(results, p, variant)["flops"] / _any(results, p, "joint")["flops"] for p in pairs)
        points = [100 * (a - b) for a, b in (_pair(results, c, (variant, GATE), both) for c in results.combinations(*both))]
        rows[variant] = {
            "flops_of_ours": flops,
            "points": _mean(points, 2),
            "points_r0": _mean((_gap(results, p, *both) for p in pairs), 2),
            "applications": len(pairs),
            "seeds": min(len(results.seeds(p, both)) for p in pairs),
            "points_r0_by_seed": _by_seed(results, pairs, both, lambda p, s, both=both: _gap_of(results, p, *both, s), 2),
        }
    return {"num_kv_heads": rows}, {}


def _any(results: Results, pair: tuple[str, str], variant: str) -> Mapping[str, Any]:
    """Some seed's cell, for what is the same in all."""
    return next(iter(results.of(*pair, variant).values()))


def _accuracy_r0(results: Results) -> tuple[dict, dict]:
    """Accuracy of our nets at r = 0, all sensors, the whole test split; of early fusion where there is one."""
    figures, basis = {}, {}
    for application in dict.fromkeys(a for a, _ in results.pairs("joint")):
        backbones = [b for a, b in results.pairs("joint") if a == application]
        backbone = "early" if "early" in backbones else backbones[0]
        cells = results.of(application, backbone, "joint")
        figures[application] = _mean(c["accuracy"] for c in cells.values())
        basis[application] = {"backbone": backbone, "by_seed": {str(s): c["accuracy"] for s, c in sorted(cells.items())}}
    return {"accuracy_r0": figures}, {"accuracy_r0": basis}


def _gap(results: Results, pair: tuple[str, str], other: str, ours: str) -> float:
    """Points that one variant is ahead of another, all sensors at r = 0; common seeds."""
    return _mean((_gap_of(results, pair, other, ours, seed) for seed in results.seeds(pair, (other, ours))), 2)


def _gap_of(results: Results, pair: tuple[str, str], other: str, ours: str, seed: int) -> float:
    """The same of one seed."""
    return 100 * (results.of(*pair, other)[seed]["accuracy"] - results.of(*pair, ours)[seed]["accuracy"])


def _by_seed(
    results: Results, items: Sequence[tuple], variants: Iterable[str], value: Callable[[Any, int], float], digits: int = 4
) -> dict[str, float]:
    """{seed: mean of a value over items that begin with application and backbone}, how far seeds are apart.

    Only seeds that every pair has: other means would be of other items.
    """
    common = set.intersection(*(set(results.seeds(item[:2], variants)) for item in items)) if items else set()
    return {str(seed): _mean((value(item, seed) for item in items), digits) for seed in sorted(common)}


def _line(results: Results, at: Combination, best: str) -> dict[str, Any]:
    """One combination for the record, accuracies of all criteria on both nets."""
    seeds = results.seeds(at[:2], PAIR)
    plans = {"ours": OURS, "strongest": ("normal", best), "dense_ours": ("joint", "dense"), "dense_normal": ("normal", "dense")}
    return {
        **at._asdict(),
        "seeds": len(seeds),
        "pruned_share": round(results.pruned_share(at), 3),
        **{name: _round(results.accuracy(at, *plan, seeds)) for name, plan in plans.items()},
        "by_seed": {str(s): {name: _round(results.accuracy(at, *plan, [s])) for name, plan in plans.items()} for s in seeds},
        "normal": {p: _round(results.accuracy(at, "normal", p, seeds)) for p in results.plans("normal")},
        "joint": {p: _round(results.accuracy(at, "joint", p, seeds)) for p in results.plans("joint") if p != GATE},
    }


def _explained_on(results: Results) -> str | None:
    """The backbone that the controls which explain were tried on (`nets.nets`); None where none of them is finished."""
    return next((b for v in VARIANTS if VARIANTS[v].explains for _, b in results.pairs("joint", v)), None)


def _against_ours(results: Results, plan: Plan, backbones: Sequence[str | None] = BACKBONES) -> dict[str, Any] | None:
    """One plan on one kind of training beside ours, by ratio, on the same combinations of these backbones and the same seeds."""
    variant, name = plan
    variants = PAIR if variant in PAIR else ("joint", variant)
    combinations = [c for c in results.combinations(*variants) if c.backbone in backbones]
    if name not in results.plans(variant) or not combinations:
        return None
    by_ratio = {}
    for ratio in RATIOS:
        ours, other = zip(*(_pair(results, c, plan, variants) for c in combinations if c.ratio == ratio))
        by_ratio[str(ratio)] = {"ours": _mean(ours), "accuracy": _mean(other), "points": _mean(100 * (np.array(ours) - other), 2)}
    whole = []
    for c in combinations:
        seeds = results.seeds(c[:2], variants)
        whole.append(100 * (results.accuracy(c, "joint", "dense", seeds) - results.accuracy(c, variant, "dense", seeds)))
    spent = _mean(
        cell["spent"][name][str(r)]
        for pair in dict.fromkeys(c[:2] for c in combinations)
        for s in results.seeds(pair, variants)
        if "spent" in (cell := results.of(*pair, variant)[s])
        for r in RATIOS
    )
    by_seed = _by_seed(
        results, combinations, variants, lambda c, seed: 100 * float(np.subtract(*_pair(results, c, plan, seeds=[seed]))), 2
    )
    return {
        "variant": variant,
        "plan": name,
        "points_r0": _mean(whole, 2),
        "by_ratio": by_ratio,
        "spent": spent,
        "points": _mean((r["points"] for r in by_ratio.values()), 2),
        "by_seed": by_seed,
        **_rests_on(results, combinations, variants),
    }


def _rests_on(results: Results, combinations: Sequence[Combination], variants: Sequence[str]) -> dict[str, int]:
    return {"combinations": len(combinations), "seeds": _fewest_seeds(results, combinations, variants)}


def _fewest_seeds(results: Results, combinations: Sequence[Combination], variants: Sequence[str]) -> int:
    return min((len(results.seeds(c[:2], variants)) for c in combinations), default=0)


def _relative(ours: float, other: float) -> float:
    return ours / max(other, 1e-9) - 1


def _mean(values: Iterable[float], digits: int = 4) -> float | None:
    values = list(values)
    return round(float(np.mean(values)), digits) if values else None


def _round(value: float) -> float:
    return round(value, 4)
