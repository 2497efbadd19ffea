"""Sizes that a tokeniser can run at: how many of its stem's channels, with or without its statistics.

The sizes of a network are listed in its configuration, the full one first. Narrow stems use the first channels of every
layer, so a smaller size is a part of a larger one (slimmable networks, Yu et al., arXiv 1812.08928).
"""

from __future__ import annotations

from dataclasses import dataclass

CHANNEL_STEP = 4  # kernels work on groups of channels; between two steps nothing is saved


@dataclass(frozen=True)
class StemSize:
    """One size: the share of the stem's channels, and whether the statistics (texture, power spectrum) are made."""

    width: float = 1.0
    statistics: bool = True


FULL_SIZE = StemSize()


def kept_channels(channels: int, width: float) -> int:
    """Channels of a layer at a width: a multiple of `CHANNEL_STEP`, at least one step, at most all."""
    return min(channels, max(1, round(width * channels / CHANNEL_STEP)) * CHANNEL_STEP)
