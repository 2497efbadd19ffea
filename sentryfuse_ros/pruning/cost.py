"""What a plan costs as a whole, including everything that is not pruned."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.utils.flop_counter import FlopCounterMode

from ..model.block import SiteWeights
from ..model.fuse import SentryFuse
from ..model.sites import live_sites
from .budget import SiteBudget, site_flops


def count_flops(model: SentryFuse, mask: Sequence[bool], weights: Sequence[SiteWeights] | None = None) -> int:
    """FLOPs of one window, 2 per multiply-add, tokenisers and read-out included: what torch's counter finds."""
    return fixed_flops(model, mask) + backbone_flops(model, mask, weights)


def fixed_flops(model: SentryFuse, mask: Sequence[bool]) -> int:
    """FLOPs of tokenisers and read-out, which no plan changes."""
    device = model.gate.static.device
    inputs = {spec.name: torch.zeros(1, *spec.shape, device=device) for spec, here in zip(model.config.modalities, mask) if here}
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        tokens = model.tokens(inputs, mask)
        model.readout(tokens.x, tokens.empty)
    return int(counter.get_total_flops())


def backbone_flops(model: SentryFuse, mask: Sequence[bool], weights: Sequence[SiteWeights] | None = None) -> int:
    """FLOPs of the backbone with these weights, or with all of them if None, by arithmetic instead of a run."""
    config, head_dim = model.config, model.config.head_dim
    weights = model.backbone.weights([i for i, here in enumerate(mask) if here]) if weights is None else weights
    work = {live.site: live for live in live_sites(config, model.lengths, mask)}
    total = 0
    for w in weights:
        heads = w.attention.query.shape[-2] // head_dim
        kept = SiteBudget(w.attention.groups, heads // w.attention.groups, w.up.shape[-2])
        total += sum(site_flops(config, kept, work[i].queries, work[i].keys) for i in w.sites)
    return total


def count_params(model: SentryFuse, mask: Sequence[bool], weights: Sequence[SiteWeights] | None = None) -> int:
    """Number of parameters that one window reads; those of the gate are not among them."""
    live = [i for i, here in enumerate(mask) if here]
    weights = model.backbone.weights(live) if weights is None else weights
    read = [t for w in weights for t in w.tensors()] + list(model.readout.parameters())
    # What a backbone has beside its blocks, as the shared tokens of the bottleneck, is always read.
    read += [p for name, p in model.backbone.named_parameters() if not name.startswith("layers.")]
    for i in live:
        read += [model.positions[i], *model.tokenizers[i].parameters()]
    return sum(t.numel() for t in read)
