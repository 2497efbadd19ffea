"""Backbones: how the sensors' tokens meet.

early        one transformer over all tokens of all live sensors
bottleneck   one stream per sensor; they exchange through a few shared tokens (MBT, Nagrani et al., arXiv 2107.00135)
cross_modal  one stream per sensor, each also attends to the others' tokens (MulT, Tsai et al., arXiv 1906.00295)

A backbone has ``blocks``, one per site of `sites.all_sites`, and ``forward(x, live, weights, scales)``. A further one
is added here, in sites.py, and to config.BACKBONES. The stream of an absent sensor is not computed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .attention import KeyTokens
from .block import Block, SiteScales, SiteWeights, stack_weights, transform
from .config import FuseConfig
from .sites import all_sites


class Backbone(nn.Module):
    """What all have in common: a block per site, and the choice of key tokens."""

    def __init__(self, config: FuseConfig, lengths: Sequence[int]):
        super().__init__()
        self.config, self.lengths = config, tuple(lengths)
        self.strides = tuple(config.stride_of(name) for name in config.names)
        self.sites = all_sites(config)
        # Called layers since before there were streams; the name is in the model files.
        self.layers = nn.ModuleList(Block(config, site.num_kv_heads, site.heads_per_group) for site in self.sites)
        self._keys: dict[tuple, KeyTokens] = {}

    @property
    def blocks(self) -> nn.ModuleList:
        """Full weights, one block per site."""
        return self.layers

    def weights(self, live: Sequence[int]) -> list[SiteWeights]:
        """Full weights of the sites that exist with the modalities ``live``, not copied."""
        return [
            block.weights(i)
            for i, (block, site) in enumerate(zip(self.blocks, self.sites))
            if site.stream is None or site.stream in live
        ]

    def keys(self, lengths: Sequence[int], strides: Sequence[int], device: torch.device) -> KeyTokens:
        """The rule for these runs of tokens, made once."""
        key = (*lengths, *strides, device)
        if key not in self._keys:
            with torch.inference_mode(False):  # kept for later: training must be able to use them too
                self._keys[key] = KeyTokens(self.config.kv_pattern, lengths, strides, device)
        return self._keys[key]

    def transform(
        self, x: Tensor, w: SiteWeights, keys: KeyTokens, extra: Tensor | None, scales: Sequence[SiteScales] | None
    ) -> Tensor:
        """Run one block, or several stacked ones at once: x (B, N, D), or (P, B, N, D)."""
        chosen = None
        if scales is not None:
            chosen = [scales[i] for i in w.sites]
            chosen = chosen[0] if len(chosen) == 1 else SiteScales(*(torch.stack(s) for s in zip(*chosen)))
        return transform(x, w, self.config.head_dim, keys, extra, chosen, self.config.dropout if self.training else 0.0)


class EarlyFusion(Backbone):
    """One transformer over the concatenated tokens of the live sensors."""

    def forward(
        self,
        x: Tensor,
        live: Sequence[int],
        weights: Sequence[SiteWeights] | None = None,
        scales: Sequence[SiteScales] | None = None,
    ) -> Tensor:
        """x (B, N, D), the runs of the modalities ``live`` one after another -> (B, N, D)."""
        keys = self.keys([self.lengths[i] for i in live], [self.strides[i] for i in live], x.device)
        for w in self.weights(live) if weights is None else weights:
            x = self.transform(x, w, keys, None, scales)
        return x


class StreamFusion(Backbone):
    """A transformer per live sensor; a kind of it says in `layer` what a stream sees of the others."""

    def forward(
        self,
        x: Tensor,
        live: Sequence[int],
        weights: Sequence[SiteWeights] | None = None,
        scales: Sequence[SiteScales] | None = None,
    ) -> Tensor:
        """x (B, N, D), the runs of the modalities ``live`` one after another -> (B, N, D)."""
        streams = dict(zip(live, x.split([self.lengths[i] for i in live], 1)))
        layers: list[list[SiteWeights]] = [[] for _ in range(self.config.layers)]
        for w in self.weights(live) if weights is None else weights:
            layers[self.sites[w.sites[0]].layer].append(w)
        shared = self.begin(streams)
        for number, layer in enumerate(layers):
            streams, shared = self.layer(number, layer, streams, shared, scales)
        return torch.cat([streams[i] for i in live], 1)

    def begin(self, streams: dict[int, Tensor]):
        """What the streams share before the first layer."""
        raise NotImplementedError

    def layer(
        self, number: int, layer: list[SiteWeights], streams: dict[int, Tensor], shared, scales: Sequence[SiteScales] | None
    ) -> tuple[dict[int, Tensor], object]:
        """All streams through one layer -> the streams, and what they share after it."""
        raise NotImplementedError

    def members(self, w: SiteWeights) -> list[int]:
        """Streams whose weights these are."""
        return [self.sites[i].stream for i in w.sites]


def gather(streams: dict[int, Tensor], members: list[int]) -> Tensor:
    """Tokens (B, N, D) of one stream; (P, B, N, D) of several."""
    return streams[members[0]] if len(members) == 1 else torch.stack([streams[i] for i in members])


def scatter(x: Tensor, members: list[int]) -> dict[int, Tensor]:
    """Inverse of `gather`."""
    return {members[0]: x} if len(members) == 1 else dict(zip(members, x.unbind(0)))


class BottleneckFusion(StreamFusion):
    """Streams that exchange only through shared tokens: each stream writes its own version, the mean is passed on."""

    def __init__(self, config: FuseConfig, lengths: Sequence[int]):
        super().__init__(config, lengths)
        self.bottleneck = nn.Parameter(torch.randn(config.bottleneck_tokens, config.d_model) * 0.02)

    def begin(self, streams: dict[int, Tensor]) -> Tensor:
        return self.bottleneck.expand(len(next(iter(streams.values()))), -1, -1)  # (B, T, D)

    def layer(self, number, layer, streams, shared, scales):
        fused, last = number >= self.config.fusion_layer, number == self.config.layers - 1
        after, versions = {}, []
        for w in layer:
            members = self.members(w)
            x = gather(streams, members)
            length, stride = self.lengths[members[0]], self.strides[members[0]]
            alone = self.keys([length], [stride], x.device)
            beside = shared.expand(*x.shape[:-2], -1, -1)
            if not fused:
                x = self.transform(x, w, alone, None, scales)
            elif last:  # nobody reads the shared tokens after it
                x = self.transform(x, w, alone, beside, scales)
            else:
                keys = self.keys([length, shared.shape[-2]], [stride, 1], x.device)
                x, version = self.transform(torch.cat([x, beside], -2), w, keys, None, scales).split(
                    [length, shared.shape[-2]], -2
                )
                versions += scatter(version, members).values()
            after.update(scatter(x, members))
        return after, torch.stack(versions).mean(0) if versions else shared


class CrossModalFusion(StreamFusion):
    """Streams that look at themselves and at the tokens of the others as these entered the backbone.

    As in MulT the others are seen at their low level, in every layer. One attention per stream sees all of them
    together, where MulT has one transformer per pair: a missing sensor then only shortens the list of keys.
    """

    def begin(self, streams: dict[int, Tensor]) -> dict[int, Tensor | None]:
        low = {i: self.keys([self.lengths[i]], [self.strides[i]], x.device)(x) for i, x in streams.items()}
        if len(low) == 1:
            return dict.fromkeys(low)
        return {i: torch.cat([low[j] for j in low if j != i], 1) for i in low}  # (B, E, D)

    def layer(self, number, layer, streams, shared, scales):
        after = {}
        for w in layer:
            members = self.members(w)
            x = gather(streams, members)
            keys = self.keys([self.lengths[members[0]]], [self.strides[members[0]]], x.device)
            extra = None if shared[members[0]] is None else gather(shared, members)
            after.update(scatter(self.transform(x, w, keys, extra, scales), members))
        return after, shared


def stack_streams(backbone: Backbone, weights: Sequence[SiteWeights]) -> list[SiteWeights]:
    """Weights per site -> the same with those of a layer stacked that have one shape, so that they run at once.

    At batch 1 a stream costs mostly the calls, and these are then shared. No gain in training. Copies what it stacks.
    """
    alike: dict[tuple, list[SiteWeights]] = {}
    for w in weights:
        layer, stream, *_ = backbone.sites[w.sites[0]]
        tokens = None if stream is None else (backbone.lengths[stream], backbone.strides[stream])
        alike.setdefault((layer, tokens, w.attention.groups, *(t.shape for t in w.tensors())), []).append(w)
    return [same[0] if len(same) == 1 else stack_weights(same) for same in alike.values()]


def make_backbone(config: FuseConfig, lengths: Sequence[int]) -> Backbone:
    """The backbone named in the config; ``lengths`` (M,) are the tokens per modality."""
    kinds = {"early": EarlyFusion, "bottleneck": BottleneckFusion, "cross_modal": CrossModalFusion}
    return kinds[config.backbone](config, lengths)
