"""Which sensors are live: the conditions of the comparison as weights over masks, so that no mask has to be drawn."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from sentryfuse_ros.masks import all_masks, mask_to_bits

RATIOS = (0.25, 0.5, 0.7, 0.8)
DROPOUT = {"dropout_30": 0.3, "dropout_50": 0.5}  # each sensor is absent with this chance, given that one is left
MISSING = {"one_missing": 1, "two_missing": 2}


@cache  # a report asks a hundred thousand times
def conditions(sensors: int) -> Mapping[str, Mapping[str, float]]:
    """Condition -> {mask bits: weight}; the weights of a condition add up to 1. "two_missing" needs three sensors or more."""
    bits = [mask_to_bits(mask) for mask in all_masks(sensors)]
    out = {"all": {"1" * sensors: 1.0}}
    for name, missing in MISSING.items():
        if missing < sensors:
            out[name] = _normalised({b: 1.0 for b in bits if b.count("0") == missing})
    for name, chance in DROPOUT.items():
        out[name] = _normalised({b: chance ** b.count("0") * (1 - chance) ** b.count("1") for b in bits})
    return out


def _normalised(weights: dict[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {bits: w / total for bits, w in weights.items()}
