"""Modality masks: one bit per model input, in the order of the checkpoint's modalities; set where the sensor is live."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product


def all_masks(modalities: int) -> list[tuple[bool, ...]]:
    """Every mask with at least one live sensor, in decreasing order of the number of live sensors."""
    masks = [mask for mask in product((True, False), repeat=modalities) if any(mask)]
    return sorted(masks, key=lambda mask: -sum(mask))


def mask_to_bits(mask: Iterable[bool]) -> str:
    """(True, False) -> "10", the form of a mask in checkpoints, reports and tables."""
    return "".join("1" if bit else "0" for bit in mask)


def bits_to_mask(bits: str) -> tuple[bool, ...]:
    """The inverse of `mask_to_bits`: "10" -> (True, False)."""
    return tuple(bit == "1" for bit in bits)
