"""The report as Markdown tables; each has a place in a page (`reporting.page_parts`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sentryfuse_ros.reporting.page_parts import markdown_table

from .conditions import RATIOS
from .variants import GATE, GATE_BLIND, GATE_MODE, ORACLE, SCORES_ALONE, STATIC, USUAL, VARIANTS

NOT_RUN = "not run yet"
WORDS = {
    GATE: "own order",
    GATE_MODE: "own order, budget mode chosen",
    GATE_BLIND: "own order, blind to the mask, freed budget wasted",
    ORACLE: "oracle per mask",
    **{name: f"{c}, one plan for all masks, freed budget wasted" for name, c in STATIC.items()},
}


class Figure(NamedTuple):
    """One figure of the summary in words."""

    words: str
    unit: str  # "share" or "points"


FIGURES = {
    "gain_mean_rel": Figure("relative gain over the strongest baseline, all combinations", "share"),
    "gain_mean_rel_early": Figure("of these, early fusion", "share"),
    "gain_mean_rel_bottleneck": Figure("of these, bottleneck", "share"),
    "gain_mean_rel_cross_modal": Figure("of these, cross-modal", "share"),
    "gain_dropout_rel": Figure("the same under dropout (one or two missing, or each by chance), r >= .5", "share"),
    "gain_missing_rel": Figure("of these, one or two missing", "share"),
    "gain_mean_rel_where_pruned": Figure("over all combinations whose budget prunes at all", "share"),
    "gain_mean_rel_best_each": Figure("over all combinations, against whichever criterion is best in each", "share"),
    "gain_mean_rel_to_90": Figure("the first of these, of our networks pruned up to r = .9 in training", "share"),
    "gain_mean_rel_self_distilled": Figure(
        "over the strongest on networks with our second pass and distillation, never pruned in training", "share"
    ),
    "gain_mean_rel_static": Figure(
        "over the strongest of L2, SNIP and Taylor as published: one plan for all masks, fewer FLOPs", "share"
    ),
    "gain_mean_rel_plain": Figure(
        "over the strongest on a network that never saw a sensor missing, at our FLOPs: the gain from sensor dropout", "share"
    ),
    "gain_vs_mask_blind_points": Figure(
        "points over the best plan blind to the mask, freed budget wasted, one or two missing, r >= .5", "points"
    ),
    "gain_vs_one_order_points": Figure("points over the best plan with one order for all masks at our FLOPs, the same", "points"),
    "gain_vs_one_order_explained_points": Figure(
        "the same, with networks trained with one order and with a random one among them", "points"
    ),
    "kept_r50": Figure("accuracy kept at r = .5 of the same network's at r = 0, all sensors", "share"),
    "kept_r70": Figure("the same at r = .7", "share"),
    "kept_r80": Figure("the same at r = .8", "share"),
    "kept_r50_baseline": Figure("accuracy that the strongest baseline keeps of its network's at r = .5", "share"),
    "kept_r70_baseline": Figure("the same at r = .7", "share"),
    "kept_r80_baseline": Figure("the same at r = .8", "share"),
    "kept_r50_of_normal": Figure("our accuracy at r = .5 as a share of the normally trained network's at r = 0", "share"),
    "kept_r70_of_normal": Figure("the same at r = .7", "share"),
    "dense_gap_points": Figure("points that our network is behind the normally trained one at r = 0", "points"),
    "dense_gap_self_distilled_points": Figure("the same behind one with a second pass of full width", "points"),
}


def tables(report: Mapping[str, Any]) -> dict[str, str]:
    """Name of a place in the document -> Markdown."""
    return {
        "progress": progress(report),
        "figures": _figures(report),
        "criteria": _criteria(report),
        "controls": control_rows(report["plans"]),
        "controls_explained": control_rows(report["plans_explained"]),
        "combinations": combination_rows(report),
        "attend": _attend(report),
        "groups": _groups(report),
        "accuracy": _accuracy(report),
    }


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown; NOT_RUN where there is no row."""
    return (markdown_table(head, rows) if rows else NOT_RUN) + "\n"


def percent(value: float | None, digits: int = 1) -> str:
    """0.934 -> 93.4"""
    return "-" if value is None else f"{100 * value:.{digits}f}"


def _points(value: float | None) -> str:
    return "-" if value is None else f"{value:+.1f}"


def seed_values(by_seed: Mapping[str, float], words: Callable[[float], str]) -> str:
    """How far seeds are apart; nothing of one alone."""
    return f" (by seed: {', '.join(map(words, by_seed.values()))})" if len(by_seed) > 1 else ""


def progress(report: Mapping[str, Any]) -> str:
    """How many runs are finished, and the command."""
    return f"{report['finished']} of {report['asked']} runs are finished. Command: `{report['command']}`.\n"


def _figures(report: Mapping[str, Any]) -> str:
    summary, basis, rows = report["summary"], report["basis"], []
    for name, figure in FIGURES.items():
        value, on = summary.get(name), basis.get(name, {})
        share = figure.unit == "share"
        shown = NOT_RUN if value is None else f"{percent(value)} %" if share else f"{value:+.1f}"
        shown += seed_values(on.get("by_seed", {}), percent if share else _points)
        what = (
            f"{on['combinations']} combinations"
            if "combinations" in on
            else f"{on['networks']} networks"
            if "networks" in on
            else "-"
        )
        rows.append((figure.words, shown, what, str(on.get("seeds", "-"))))
    return table(("figure", "value", "rests on", "seeds, at least"), rows)


def _criteria(report: Mapping[str, Any]) -> str:
    """Every criterion on both trainings, mean accuracy by ratio."""
    at = {(row["variant"], row["plan"]): row for row in report["plans"]}
    rows = []
    for plan in (*USUAL, ORACLE):
        found = [at.get((variant, plan)) for variant in ("normal", "joint")]
        if any(found):
            rows.append(
                (
                    plan.replace("_", " "),
                    *(percent(row["by_ratio"][str(r)]["accuracy"]) if row else "-" for row in found for r in RATIOS),
                )
            )
    ours = at.get(("normal", USUAL[0]))
    if ours:
        rows.append(("ours (the gate)", *["-"] * len(RATIOS), *(percent(ours["by_ratio"][str(r)]["ours"]) for r in RATIOS)))
    return table(("criterion", *(f"{training}, r = {r:g}" for training in ("normal", "joint") for r in RATIOS)), rows)


def control_rows(plans: Sequence[Mapping[str, Any]], ratios: Sequence[float] = RATIOS) -> str:
    """Ours less each control, on the combinations that both have."""
    rows = []
    for row in controls_shown(plans):
        rows.append(
            (
                f"{row['variant']}: {VARIANTS[row['variant']].what}",
                ranked_by(row),
                _points(row["points_r0"]),
                *(_points(row["by_ratio"][str(r)]["points"]) for r in ratios),
                _points(row["points"]) + seed_values(row["by_seed"], _points),
                percent(row["spent"]),
                str(row["combinations"]),
                str(row["seeds"]),
            )
        )
    return table(
        (
            "training",
            "ranked by",
            *(f"r = {r:g}" for r in (0, *ratios)),
            "mean, r > 0",
            "FLOPs spent, %",
            "combinations",
            "seeds, at least",
        ),
        rows,
    )


def controls_shown(plans: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Of the plans compared with ours: of the usual criteria on one kind of training only the strongest."""
    best: dict[str, Mapping[str, Any]] = {}
    for row in plans:
        alone = row["plan"].endswith(SCORES_ALONE)
        key = row["variant"] + ("" if row["plan"] in USUAL else SCORES_ALONE if alone else row["plan"])
        if key not in best or row["points"] < best[key]["points"]:
            best[key] = row
    return list(best.values())


def ranked_by(row: Mapping[str, Any]) -> str:
    """What orders the units of a plan, in words."""
    if row["plan"].endswith(SCORES_ALONE):
        return f"best usual criterion, its scores alone ({row['plan'].removesuffix(SCORES_ALONE)})"
    return WORDS.get(row["plan"], f"best usual criterion ({row['plan']})")


def combination_rows(report: Mapping[str, Any], ratios: Sequence[float] = RATIOS) -> str:
    """Ours / strongest baseline by application, backbone and condition."""
    rows: dict[tuple, dict[float, str]] = {}
    for line in report["combinations"]:
        key = (line["task"], line["backbone"], line["condition"])
        cell = f"{percent(line['ours'])} / {percent(line['strongest'])}" + ("" if line["pruned_share"] else " *")
        rows.setdefault(key, {0.0: f"{percent(line['dense_ours'])} / {percent(line['dense_normal'])}"})[line["ratio"]] = cell
    return table(
        ("task", "backbone", "sensors", *(f"r = {r:g}" for r in (0, *ratios))),
        [(a, b, c.replace("_", " "), *(row.get(r, "-") for r in (0.0, *ratios))) for (a, b, c), row in rows.items()],
    )


def _attend(report: Mapping[str, Any]) -> str:
    summary, basis = report["summary"], report["basis"]
    gaps, by_network, on = summary["attend_gap_points"], summary["attend_gap_points_by_network"], basis["attend_gap_points"]
    tasks = list(dict.fromkeys(name.rsplit("-", 1)[0] for name in by_network))
    rows = [
        (
            b,
            f"{percent(saving)} %",
            _points(gaps[b]) + seed_values(on["by_seed"][b], _points) if b in gaps else NOT_RUN,
            *(_points(by_network.get(f"{t}-{b}")) for t in tasks),
            str(on["seeds"]),
        )
        for b, saving in summary["flops_saving"].items()
    ]
    return table(
        ("backbone", "FLOPs saved", "points behind ordinary attention", *(f"on {t}" for t in tasks), "seeds, at least"),
        rows,
    )


def _groups(report: Mapping[str, Any]) -> str:
    rows = [
        (
            VARIANTS[name].what.removeprefix("as ours, "),
            f"{percent(row['flops_of_ours'])} %",
            _points(row["points_r0"]) + seed_values(row["points_r0_by_seed"], _points),
            _points(row["points"]),
            str(row["tasks"]),
            str(row["seeds"]),
        )
        for name, row in report["summary"]["num_kv_heads"].items()
    ]
    return table(
        (
            "K/V groups",
            "FLOPs, of ours",
            "points behind ours at r = 0",
            "pruned, at r of its own FLOPs",
            "tasks",
            "seeds, at least",
        ),
        rows,
    )


def _accuracy(report: Mapping[str, Any]) -> str:
    basis = report["basis"]["accuracy_r0"]
    return table(
        ("task", "backbone", "accuracy", "seeds"),
        [
            (a, basis[a]["backbone"], f"{percent(value)} %", ", ".join(percent(v) for v in basis[a]["by_seed"].values()))
            for a, value in report["summary"]["accuracy_r0"].items()
        ],
    )
