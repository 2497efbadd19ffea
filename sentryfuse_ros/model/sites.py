"""Sites: the places where units are pruned. A site is one attention with its feed-forward: a layer, or a layer of one stream.

A backbone's ``blocks``, the gate's scores and the multipliers for saliency all have the order of `all_sites`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .config import FuseConfig


class Site(NamedTuple):
    """One attention with its feed-forward."""

    layer: int
    stream: int | None  # index of its modality in the mask; None where all modalities share the layer
    num_kv_heads: int
    heads_per_group: int


class LiveSite(NamedTuple):
    """A site whose stream is live, and how much work it has."""

    site: int  # its index in `all_sites`
    queries: int  # tokens that attend and go through the feed-forward
    keys: int  # tokens that give keys and values


def key_count(length: int, stride: int) -> int:
    """Number of keys that ``length`` tokens of a modality give, with either pattern."""
    return -(-length // stride)


def all_sites(config: FuseConfig) -> list[Site]:
    """Every site of a network, layer by layer, within a layer by modality."""
    streams: Sequence[int | None] = [None] if config.backbone == "early" else range(len(config.names))
    groups = [config.num_kv_heads_of(None if s is None else config.names[s]) for s in streams]
    return [Site(layer, s, g, config.heads // g) for layer in range(config.layers) for s, g in zip(streams, groups)]


def live_sites(config: FuseConfig, lengths: Sequence[int], mask: Sequence[bool]) -> list[LiveSite]:
    """The sites that exist under a mask (M,), in the order of `all_sites`; ``lengths`` (M,) are the tokens per modality."""
    live = [i for i, present in enumerate(mask) if present]
    keys = {i: key_count(lengths[i], config.stride_of(config.names[i])) for i in live}
    all_keys = sum(keys.values())
    out = []
    for place, site in enumerate(all_sites(config)):
        if site.stream is None:
            out.append(LiveSite(place, sum(lengths[i] for i in live), all_keys))
        elif site.stream in keys and config.backbone == "cross_modal":
            out.append(LiveSite(place, lengths[site.stream], all_keys))
        elif site.stream in keys:
            shared = config.bottleneck_tokens if site.layer >= config.first_fusion_layer else 0
            # Nothing reads the shared tokens after the last layer, so there they only give keys and are not computed anew.
            also = shared if site.layer < config.layers - 1 else 0
            out.append(LiveSite(place, lengths[site.stream] + also, keys[site.stream] + shared))
    return out
