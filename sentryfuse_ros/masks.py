"""Modality masks: which sensors are live, one bit per model input, in the order of the checkpoint's modalities."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product


def all_masks(modalities: int) -> list[tuple[bool, ...]]:
    """Every mask with at least one live sensor, those with most live sensors first."""
    masks = [mask for mask in product((True, False), repeat=modalities) if any(mask)]
    return sorted(masks, key=lambda mask: -sum(mask))


def mask_to_bits(mask: Iterable[bool]) -> str:
    """(True, False) -> "10", the form in which checkpoints, reports and tables write a mask."""
    return "".join("1" if bit else "0" for bit in mask)


def bits_to_mask(bits: str) -> tuple[bool, ...]:
    """Inverse of `mask_to_bits`: "10" -> (True, False)."""
    return tuple(bit == "1" for bit in bits)
