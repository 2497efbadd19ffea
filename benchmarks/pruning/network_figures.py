"""Figures of the networks: accuracy kept when pruned, accuracy lost at r = 0, and what SentryAttend saves and costs."""

from __future__ import annotations

from .comparison import (
    OURS,
    PAIR,
    Figures,
    Part,
    Plan,
    by_seed,
    fewest_seeds,
    gap,
    gap_of_seed,
    mean,
    ours_and,
    rests_on,
    strongest,
    usual_baselines,
)
from .result_table import Pair, ResultTable
from .variants import GATE, GROUPS

DENSE_GAPS = {"dense_gap": ("normal", "joint"), "dense_gap_self_distilled": ("self_distilled", "joint")}


def kept(table: ResultTable) -> Part:
    """Accuracy at r, with all sensors, as a fraction of the same network's at r = 0, and of the normally trained network's.

    The same for the strongest baseline on its own network.
    """
    figures: Figures = {}
    basis: Figures = {}
    best = strongest(table, usual_baselines(table), table.combinations(*PAIR))
    kinds: tuple[tuple[str, Plan | None, str], ...] = (
        ("", OURS, "joint"),
        ("_of_normal", OURS, "normal"),
        ("_baseline", best, "normal"),
    )
    for name, ratio in (("kept_r50", 0.5), ("kept_r70", 0.7), ("kept_r80", 0.8)):
        for suffix, plan, dense in kinds:
            variants = ("joint",) if dense == "joint" else PAIR
            combinations = [] if plan is None else table.combinations(*variants, only=("all",), ratios=(ratio,))
            shares = []
            if plan is not None:
                for c in combinations:
                    seeds = table.seeds(c.pair, variants)
                    shares.append(table.accuracy(c, *plan, seeds) / table.accuracy(c, dense, "dense", seeds))
            figures[name + suffix] = mean(shares)
            basis[name + suffix] = rests_on(table, combinations, variants)
    return Part(figures, basis)


def dense_gap(table: ResultTable) -> Part:
    """Points that a network trained to be pruned is behind one that is not, at r = 0, all sensors, the whole test split."""
    figures: Figures = {}
    basis: Figures = {}
    for name, (dense, ours) in DENSE_GAPS.items():
        pairs = [pair for pair in table.pairs(dense, ours) if table.any_of(pair, ours).plans is not None]
        gaps = {"-".join(pair): gap(table, pair, dense, ours) for pair in pairs}
        figures |= {f"{name}_points": mean(gaps.values(), 2), f"{name}_points_by_network": gaps}
        basis[f"{name}_points"] = {
            "networks": len(gaps),
            "seeds": fewest_seeds(table, pairs, (dense, ours)),
            "by_seed": _gaps_by_seed(table, pairs, dense, ours),
        }
    return Part(figures, basis)


def attention(table: ResultTable) -> Part:
    """SentryAttend by backbone: the share of all FLOPs that it saves, and the points that it is behind ordinary attention."""
    saving: dict[str, list[float]] = {}
    for pair in table.pairs("joint"):
        result = table.any_of(pair, "joint")
        if result.plans is not None:
            saving.setdefault(pair[1], []).append(1 - result.flops / result.flops_dense_attention)
    both = ("dense_attention", "joint")
    pairs: dict[str, list[Pair]] = {}
    for pair in table.pairs(*both):
        pairs.setdefault(pair[1], []).append(pair)
    figures: Figures = {
        "flops_saving": {b: mean(v) for b, v in saving.items()},
        "attend_gap_points": {b: mean((gap(table, p, *both) for p in v), 2) for b, v in pairs.items()},
        "attend_gap_points_by_network": {"-".join(p): gap(table, p, *both) for v in pairs.values() for p in v},
    }
    basis: Figures = {
        "flops_saving": {"tasks": {b: len(v) for b, v in saving.items()}},
        "attend_gap_points": {
            "tasks": {b: len(v) for b, v in pairs.items()},
            "seeds": fewest_seeds(table, [p for v in pairs.values() for p in v], both),
            "by_seed": {b: _gaps_by_seed(table, v, *both) for b, v in pairs.items()},
        },
    }
    return Part(figures, basis)


def num_kv_heads(table: ResultTable) -> Part:
    """Other numbers of K/V groups per sensor: FLOPs as a share of ours, points behind ours at r = 0 and over all combinations."""
    rows: Figures = {}
    for variant in GROUPS:
        both = ("joint", variant)
        if not (pairs := table.pairs(*both)):
            continue
        flops = mean(table.any_of(p, variant).flops / table.any_of(p, "joint").flops for p in pairs)
        pruned = [ours_and(table, c, Plan(variant, GATE), both) for c in table.combinations(*both)]
        rows[variant] = {
            "flops_of_ours": flops,
            "points": mean((100 * (a - b) for a, b in pruned), 2),
            "points_r0": mean((gap(table, p, *both) for p in pairs), 2),
            "tasks": len(pairs),
            "seeds": fewest_seeds(table, pairs, both),
            "points_r0_by_seed": _gaps_by_seed(table, pairs, *both),
        }
    return Part({"num_kv_heads": rows}, {})


def accuracy_r0(table: ResultTable) -> Part:
    """Accuracy of our networks at r = 0, all sensors, the whole test split; of early fusion where there is one."""
    figures: Figures = {}
    basis: Figures = {}
    for task in dict.fromkeys(t for t, _ in table.pairs("joint")):
        backbones = [b for t, b in table.pairs("joint") if t == task]
        backbone = "early" if "early" in backbones else backbones[0]
        results = table.of((task, backbone), "joint")
        figures[task] = mean(r.accuracy for r in results.values())
        basis[task] = {"backbone": backbone, "by_seed": {str(s): r.accuracy for s, r in sorted(results.items())}}
    return Part({"accuracy_r0": figures}, {"accuracy_r0": basis})


def _gaps_by_seed(table: ResultTable, pairs: list[Pair], other: str, ours: str) -> dict[str, float | None]:
    return by_seed(table, pairs, (other, ours), lambda pair, seed: gap_of_seed(table, pair, other, ours, seed), 2)
