"""The report of the study with the budget over the whole network as Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..tables import NOT_RUN, combination_rows, control_rows, percent, progress, seed_values, table
from ..variants import GATE
from .measurement import ALONE
from .stages import RATIOS
from .stem_scores import STEM_CRITERIA

SIDES = {
    "first": "first study: heads and FFN channels, r up to .8",
    "units": "the same budget, the networks of this study, r up to .9",
    "network": "whole network, r up to .9",
    "alone": "whole network, the criterion's scores alone choose",
}
FIGURES = {
    "all": "mean relative gain, all combinations",
    "dropout": "the same under dropout (one or two missing, or each by chance), r >= .5",
    "all_sensors": "the same with all sensors",
    "best_each": "against whichever criterion is best in each combination",
}


def network_tables(report: Mapping[str, Any]) -> dict[str, str]:
    """Name of a place in the page -> Markdown."""
    return {
        "progress": progress(report),
        "gains": _gains(report, FIGURES),
        "gains_by_ratio": _gains(report, {f"r{r:g}": f"r = {r:g}" for r in RATIOS}),
        "gains_by_task": _gains(report, {task: task for task in dict.fromkeys(c["task"] for c in report["combinations"])}),
        "criteria": _criteria(report),
        "controls": control_rows(report["plans"], RATIOS),
        "kept": _kept(report),
        "combinations": combination_rows(report, RATIOS),
    }


def _gains(report: Mapping[str, Any], figures: Mapping[str, str]) -> str:
    rows = [(words, *(_gain(report["gains"][side].get(name)) for side in SIDES)) for name, words in figures.items()]
    rows.append(("strongest criterion", *(_name(report["gains"][side]["strongest"]) for side in SIDES)))
    rows.append(("seeds, at least", *(str(report["gains"][side].get("all", {}).get("seeds", 0)) for side in SIDES)))
    return table(("figure", *SIDES.values()), rows)


def _gain(found: Mapping[str, Any] | None) -> str:
    if found is None or found["value"] is None:
        return "-"
    return f"{percent(found['value'])} %" + seed_values(found["by_seed"], percent)


def _name(plan: str | None) -> str:
    return NOT_RUN if plan is None else plan.removesuffix("_units").removesuffix("_alone")


def _criteria(report: Mapping[str, Any]) -> str:
    """Mean accuracy over all combinations of a ratio, by criterion, on both trainings and with the scores alone."""
    at = {(row["variant"], row["plan"]): row for row in report["plans"]}
    alone = {criterion: name for name, criterion in ALONE.items()}
    rows = []
    for criterion in STEM_CRITERIA:
        found = [at.get(key) for key in (("normal", criterion), ("normal", alone[criterion]), ("joint", criterion))]
        if any(found):
            rows.append(
                (criterion, *(percent(row["by_ratio"][str(r)]["accuracy"]) if row else "-" for row in found for r in RATIOS))
            )
    if ours := at.get(("normal", STEM_CRITERIA[0])):
        empty = ["-"] * 2 * len(RATIOS)
        rows.append(("ours (the gate)", *empty, *(percent(ours["by_ratio"][str(r)]["ours"]) for r in RATIOS)))
    kinds = ("normal", "normal, scores alone", "ours")
    return table(("criterion", *(f"{kind}, r = {r:g}" for kind in kinds for r in RATIOS)), rows)


def _kept(report: Mapping[str, Any]) -> str:
    rows = [
        (
            "ours" if row["plan"] == GATE else f"normal, {row['plan']}",
            f"{row['ratio']:g}",
            percent(row["sensors"], 0),
            percent(row["whole_stems"], 0),
            f"{row['layers']:.1f}",
            f"{row['units_ratio']:.2f}",
        )
        for row in report["kept"]
    ]
    return table(("plan", "r", "sensors used, %", "of these with whole stems, %", "layers of 4", "ratio of their units"), rows)
