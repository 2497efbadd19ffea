"""Backbones: how the tokens of the sensors meet.

early        one transformer over the tokens of all live sensors
bottleneck   one stream per sensor; streams exchange through a few shared tokens (MBT, Nagrani et al., arXiv 2107.00135)
cross_modal  one stream per sensor, which also attends to the tokens of the others (MulT, Tsai et al., arXiv 1906.00295)

A backbone has ``blocks``, one per site of `sites.all_sites`, and ``forward(x, live, weights, scales)``. A new kind needs a class
here, its sites in sites.py, and its name in config.BACKBONES. The stream of an absent sensor is not computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar, cast

import torch
from torch import Tensor, nn

from .attention import KeyTokens
from .block import Block, SiteScales, SiteWeights, stack_weights, transform
from .config import FuseConfig
from .sites import all_sites


class Backbone(nn.Module):
    """What all backbones have in common: a block per site, and the choice of the tokens that give keys."""

    def __init__(self, config: FuseConfig, lengths: Sequence[int]):
        super().__init__()
        self.config, self.lengths = config, tuple(lengths)
        self.strides = tuple(config.stride_of(name) for name in config.names)
        self.sites = all_sites(config)
        # One entry per site; the model files know the list as "layers".
        self.layers = nn.ModuleList(Block(config, site.num_kv_heads, site.heads_per_group) for site in self.sites)
        self._keys: dict[tuple, KeyTokens] = {}

    @property
    def blocks(self) -> Sequence[Block]:
        """The full weights, one block per site."""
        return cast("Sequence[Block]", self.layers)  # torch does not type what a ModuleList holds

    def weights(self, live: Sequence[int]) -> list[SiteWeights]:
        """The full weights, not copied, of the sites that exist with the modalities ``live``."""
        return [
            block.weights(i)
            for i, (block, site) in enumerate(zip(self.blocks, self.sites))
            if site.stream is None or site.stream in live
        ]

    def forward(
        self,
        x: Tensor,
        live: Sequence[int],
        weights: Sequence[SiteWeights] | None = None,
        scales: Sequence[SiteScales] | None = None,
    ) -> Tensor:
        """Fuse x (B, N, D), the tokens of the modalities ``live`` one after another -> (B, N, D)."""
        raise NotImplementedError

    def keys(self, lengths: Sequence[int], strides: Sequence[int], device: torch.device) -> KeyTokens:
        """Which of ``lengths`` tokens per modality give keys; made once and kept."""
        key = (*lengths, *strides, device)
        if key not in self._keys:
            with torch.inference_mode(False):  # kept for later, when training must be able to use it too
                self._keys[key] = KeyTokens(self.config.kv_pattern, lengths, strides, device)
        return self._keys[key]

    def transform(
        self, x: Tensor, w: SiteWeights, keys: KeyTokens, extra: Tensor | None, scales: Sequence[SiteScales] | None
    ) -> Tensor:
        """Run one block on x (B, N, D), or several stacked blocks on x (P, B, N, D)."""
        chosen = None
        if scales is not None:
            own = [scales[i] for i in w.sites]
            chosen = own[0] if len(own) == 1 else SiteScales(*(torch.stack(s) for s in zip(*own)))
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
        keys = self.keys([self.lengths[i] for i in live], [self.strides[i] for i in live], x.device)
        for w in self.weights(live) if weights is None else weights:
            x = self.transform(x, w, keys, None, scales)
        return x


Streams = dict[int, Tensor]  # index of the modality in the mask -> its tokens (B, N, D)
Shared = TypeVar("Shared")  # what the streams of a backbone pass on from layer to layer


class StreamFusion(Backbone, Generic[Shared]):
    """A transformer per live sensor. Subclasses say in `layer` what a stream sees of the others."""

    def forward(
        self,
        x: Tensor,
        live: Sequence[int],
        weights: Sequence[SiteWeights] | None = None,
        scales: Sequence[SiteScales] | None = None,
    ) -> Tensor:
        streams: Streams = dict(zip(live, x.split([self.lengths[i] for i in live], 1)))
        layers: list[list[SiteWeights]] = [[] for _ in range(self.config.layers)]
        for w in self.weights(live) if weights is None else weights:
            layers[self.sites[w.sites[0]].layer].append(w)
        shared = self.begin(streams)
        for number, layer in enumerate(layer for layer in layers if layer):  # a plan may have the weights of the first ones only
            streams, shared = self.layer(number, layer, streams, shared, scales)
        return torch.cat([streams[i] for i in live], 1)

    def begin(self, streams: Streams) -> Shared:
        """What the streams share before the first layer."""
        raise NotImplementedError

    def layer(
        self,
        number: int,
        layer: Sequence[SiteWeights],
        streams: Streams,
        shared: Shared,
        scales: Sequence[SiteScales] | None,
    ) -> tuple[Streams, Shared]:
        """Run all streams through one layer -> the streams, and what they share after it."""
        raise NotImplementedError

    def members(self, w: SiteWeights) -> list[int]:
        """The streams that these weights belong to."""
        return [stream for i in w.sites if (stream := self.sites[i].stream) is not None]

    def own_keys(self, stream: int, device: torch.device) -> KeyTokens:
        """Which of a stream's own tokens give keys."""
        return self.keys([self.lengths[stream]], [self.strides[stream]], device)


def gather(streams: Streams, members: list[int]) -> Tensor:
    """Tokens (B, N, D) of one stream, or (P, B, N, D) of several."""
    return streams[members[0]] if len(members) == 1 else torch.stack([streams[i] for i in members])


def scatter(x: Tensor, members: list[int]) -> Streams:
    """Inverse of `gather`."""
    return {members[0]: x} if len(members) == 1 else dict(zip(members, x.unbind(0)))


class BottleneckFusion(StreamFusion[Tensor]):
    """Streams that exchange only through shared tokens: each stream writes its own version of them, and the mean is passed on."""

    def __init__(self, config: FuseConfig, lengths: Sequence[int]):
        super().__init__(config, lengths)
        self.bottleneck = nn.Parameter(torch.randn(config.bottleneck_tokens, config.d_model) * 0.02)

    def begin(self, streams: Streams) -> Tensor:
        return self.bottleneck.expand(len(next(iter(streams.values()))), -1, -1)  # (B, T, D)

    def layer(
        self,
        number: int,
        layer: Sequence[SiteWeights],
        streams: Streams,
        shared: Tensor,
        scales: Sequence[SiteScales] | None,
    ) -> tuple[Streams, Tensor]:
        fused, last = number >= self.config.first_fusion_layer, number == self.config.layers - 1
        after: Streams = {}
        versions: list[Tensor] = []
        for w in layer:
            members = self.members(w)
            x = gather(streams, members)
            own = self.own_keys(members[0], x.device)
            beside = shared.expand(*x.shape[:-2], -1, -1)  # (..., T, D)
            if not fused:
                x = self.transform(x, w, own, None, scales)
            elif last:  # nothing reads the shared tokens after this layer, so they are not computed anew
                x = self.transform(x, w, own, beside, scales)
            else:
                count = [self.lengths[members[0]], shared.shape[-2]]
                keys = self.keys(count, [self.strides[members[0]], 1], x.device)
                x, version = self.transform(torch.cat([x, beside], -2), w, keys, None, scales).split(count, -2)
                versions += scatter(version, members).values()
            after.update(scatter(x, members))
        return after, torch.stack(versions).mean(0) if versions else shared


class CrossModalFusion(StreamFusion[Streams]):
    """Streams that attend to themselves and to the tokens of the others as these entered the backbone.

    As in MulT, every layer sees the others at their low level. One attention per stream sees all of them together, where MulT has
    one transformer per pair of sensors: a missing sensor then only shortens the list of keys.
    """

    def begin(self, streams: Streams) -> Streams:
        """By stream, the tokens (B, E, D) of the others that give keys; empty where there is only one stream."""
        low = {i: self.own_keys(i, x.device)(x) for i, x in streams.items()}
        return {i: torch.cat([low[j] for j in low if j != i], 1) for i in low} if len(low) > 1 else {}

    def layer(
        self,
        number: int,
        layer: Sequence[SiteWeights],
        streams: Streams,
        shared: Streams,
        scales: Sequence[SiteScales] | None,
    ) -> tuple[Streams, Streams]:
        after: Streams = {}
        for w in layer:
            members = self.members(w)
            x = gather(streams, members)
            extra = gather(shared, members) if shared else None
            after.update(scatter(self.transform(x, w, self.own_keys(members[0], x.device), extra, scales), members))
        return after, shared


def stack_streams(backbone: Backbone, weights: Sequence[SiteWeights]) -> list[SiteWeights]:
    """Stack same-shaped sites of a layer into one batched operation. Copies what it stacks.

    At batch 1 a stream mostly costs the calls, and these are then shared; training gains nothing by it.
    """
    alike: dict[tuple, list[SiteWeights]] = {}
    for w in weights:
        layer, stream, *_ = backbone.sites[w.sites[0]]
        tokens = None if stream is None else (backbone.lengths[stream], backbone.strides[stream])
        alike.setdefault((layer, tokens, w.attention.groups, *(t.shape for t in w.tensors())), []).append(w)
    return [same[0] if len(same) == 1 else stack_weights(same) for same in alike.values()]


def make_backbone(config: FuseConfig, lengths: Sequence[int]) -> Backbone:
    """The backbone that the config names; ``lengths`` (M,) are the tokens per modality."""
    kinds: dict[str, type[Backbone]] = {"early": EarlyFusion, "bottleneck": BottleneckFusion, "cross_modal": CrossModalFusion}
    return kinds[config.backbone](config, lengths)
