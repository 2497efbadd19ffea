"""Sites: where units are pruned. A site is one attention with its feed-forward: a layer, or a layer of one stream.

The order of sites is that of a backbone's ``blocks``, of the gate's scores, and of the multipliers for saliency.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .attention import key_count
from .config import FuseConfig


class Site(NamedTuple):
    """One attention with its feed-forward."""

    layer: int
    stream: int | None  # place of its modality in the mask; None where all modalities share it
    num_kv_heads: int
    heads_per_group: int


class LiveSite(NamedTuple):
    """A site that a mask leaves, and its work."""

    site: int  # its place among `all_sites`
    queries: int  # tokens that attend and go through the feed-forward
    keys: int  # tokens that give keys and values


def all_sites(config: FuseConfig) -> list[Site]:
    """Every site of a network, layer by layer, within a layer by modality."""
    streams = [None] if config.backbone == "early" else range(len(config.names))
    groups = [config.num_kv_heads_of(None if s is None else config.names[s]) for s in streams]
    return [Site(layer, s, g, config.heads // g) for layer in range(config.layers) for s, g in zip(streams, groups)]


def live_sites(config: FuseConfig, lengths: Sequence[int], mask: Sequence[bool]) -> list[LiveSite]:
    """Sites that a mask (M,) leaves; ``lengths`` (M,) are the tokens per modality. An absent modality's do not exist."""
    live = [i for i, present in enumerate(mask) if present]
    keys = {i: key_count(lengths[i], config.stride_of(config.names[i])) for i in live}
    every = sum(keys.values())
    out = []
    for place, site in enumerate(all_sites(config)):
        if site.stream is None:
            out.append(LiveSite(place, sum(lengths[i] for i in live), every))
        elif site.stream in keys and config.backbone == "cross_modal":
            out.append(LiveSite(place, lengths[site.stream], every))
        elif site.stream in keys:
            shared = config.bottleneck_tokens if site.layer >= config.fusion_layer else 0
            # After the last layer nobody reads the shared tokens, so there they are only looked at.
            also = shared if site.layer < config.layers - 1 else 0
            out.append(LiveSite(place, lengths[site.stream] + also, keys[site.stream] + shared))
    return out
