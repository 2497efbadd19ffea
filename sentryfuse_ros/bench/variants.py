"""The ways a net is trained here: ours, the normal one, and the controls; and which plans are tried on each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

USUAL = ("random", "l1", "l2", "wanda", "snip", "taylor", "torch_pruning_magnitude", "torch_pruning_taylor")
ORACLE = "oracle"
GATE = "gate"                # the net's own order; freed budget spent
GATE_BLIND = "gate_blind"    # its order for all sensors, whatever is missing; freed budget not spent


@dataclass(frozen=True)
class Variant:
    """``recipe``: what differs from the usual recipe. ``plans``: what its units are ranked by when it is measured."""

    what: str
    recipe: Mapping[str, Any] = field(default_factory=dict)
    plans: tuple[str, ...] = (GATE,)
    dense_attention: bool = False


VARIANTS = {
    "joint": Variant("ours: gate and pruned pass in the loop", plans=(GATE, GATE_BLIND, *USUAL, ORACLE)),
    "normal": Variant("one full-width pass, cross-entropy; the same sensor dropout", {"second_pass": "none"}, (*USUAL, ORACLE)),
    "mask_blind": Variant("as ours, but one order for all masks, freed budget not spent", {"gate": "blind", "spend_freed": False},
                          (GATE_BLIND, GATE)),
    "self_distilled": Variant("normal, with a second full-width pass that learns from the first", {"second_pass": "full"}, USUAL),
    "fixed_order": Variant("as ours, but a random order that never changes", {"gate": "fixed"}),
    "dense_attention": Variant("as ours, but with ordinary attention", dense_attention=True),
}
