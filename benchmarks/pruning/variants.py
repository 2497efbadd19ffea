"""The ways a network is trained here: ours, the normal one, and the controls; and which plans are measured on each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

USUAL = ("random", "l1", "l2", "wanda", "snip", "taylor", "torch_pruning_magnitude", "torch_pruning_taylor")
ORACLE = "oracle"
STREAMS = ("bottleneck",)
RICH = 4  # K/V groups
RATIO_MAX = 0.8  # the pruned pass of all runs goes up to the highest ratio that is tested
GATE = "gate"  # the network's own order for the mask; the freed budget is spent
GATE_MODE = "gate_best_mode"  # as GATE, with the budget mode that is better on the validation split, as the criteria have it
GATE_BLIND = "gate_blind"  # the network's order for all sensors, whatever is missing; the freed budget is not spent
# Criteria used as they are published: one plan per ratio, whatever is missing; the freed budget is not spent. These three lost
# least in the first round.
STATIC = {"l2_one_plan": "l2", "snip_one_plan": "snip", "taylor_one_plan": "taylor"}
SCORES_ALONE = "_alone"  # ends the name of a criterion whose scores choose the part of the network too (`whole.measurement`)


@dataclass(frozen=True)
class Variant:
    """One way of training."""

    what: str  # in words, for the tables
    recipe: Mapping[str, Any] = field(default_factory=dict)  # keys of StudyRecipe that differ from the task's
    plans: tuple[str, ...] = (GATE,)  # what the units are ranked by when the network is measured
    dense_attention: bool = False  # ordinary attention: a K/V head per query head, keys from every token
    num_kv_heads: int | None = None  # K/V groups of every sensor
    rich: str | None = None  # or RICH groups for the sensor that is "best" or "worst" alone, and 1 for the others
    backbones: tuple[str, ...] = ()  # trained with these backbones only; with all if empty
    explains: bool = False  # a control that explains where the gain comes from; one backbone is enough


def _as_ours(what: str, recipe: Mapping[str, Any] | None = None, **more: Any) -> Variant:
    return Variant(f"as ours, {what}", recipe or {}, **more)


def _groups(what: str, **more: Any) -> Variant:
    return _as_ours(what, backbones=STREAMS, **more)


VARIANTS = {
    "joint": Variant("ours: gate and pruned pass in the loop", plans=(GATE, GATE_MODE, GATE_BLIND, *USUAL, ORACLE)),
    "normal": Variant(
        "one full-width pass, cross-entropy; the same sensor dropout", {"second_pass": "none"}, (*USUAL, ORACLE, *STATIC)
    ),
    "dense_attention": _as_ours("but with ordinary attention", dense_attention=True),
    "mask_blind": _as_ours(
        "but one order for all masks, freed budget not spent", {"gate": "blind", "spend_freed": False}, plans=(GATE_BLIND, GATE)
    ),
    "to_90": _as_ours("but the pruned pass goes beyond the ratios tested, to .9", {"schedule": {"ratio_max": 0.9}}),
    "self_distilled": _as_ours("but the second pass is not pruned", {"second_pass": "full"}, plans=USUAL, explains=True),
    "one_order": _as_ours("but one order for all masks; freed budget spent", {"gate": "blind"}, explains=True),
    "fixed_order": _as_ours("but a random order that never changes", {"gate": "fixed"}, explains=True),
    "plain": Variant(
        "one full-width pass, cross-entropy; all sensors always",
        {"second_pass": "none", "schedule": {"drop_from": 0.0, "drop_to": 0.0}},
        USUAL,
        explains=True,
    ),
    # How many K/V groups a sensor needs, asked of the backbone in which each has a stream of its own. Ours has 1.
    "groups_best": _groups("4 K/V groups for the sensor best alone, 1 for the others", rich="best"),
    "groups_worst": _groups("4 K/V groups for the sensor worst alone, 1 for the others", rich="worst"),
    "groups_4": _groups("4 K/V groups a sensor", num_kv_heads=4),
    "groups_2": _groups("2 K/V groups a sensor", num_kv_heads=2),
    "groups_8": _groups("8 K/V groups a sensor: one per query head", num_kv_heads=8),
}
GROUPS = tuple(name for name, variant in VARIANTS.items() if variant.num_kv_heads or variant.rich)
