"""SentryFuse: tokenise the live sensors, fuse their tokens, read out the class and who contributed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..errors import ParameterError
from .backbones import make_backbone
from .block import SiteScales, SiteWeights
from .config import FuseConfig
from .dropout import Dropout
from .gate import SentryGate
from .sites import all_sites
from .tokenizers import make_tokenizer


class FuseOutput(NamedTuple):
    """logits (B, classes); use (B, M) share of the read-out's attention per modality, 0 where absent."""

    logits: Tensor
    use: Tensor


class Tokens(NamedTuple):
    """x (B, N, D) tokens of the live modalities, run after run; empty (B, N) bool; live: their places in the mask."""

    x: Tensor
    empty: Tensor
    live: tuple[int, ...]


class Readout(nn.Module):
    """Attention pooling: each head weighs all tokens, sums their values, and the sum is classified."""

    def __init__(self, d_model: int, heads: int, classes: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(d_model)
        self.score = nn.Linear(d_model, heads)
        self.value = nn.Linear(d_model, d_model)
        self.dropout = Dropout(dropout)
        self.classify = nn.Linear(d_model, classes)

    def forward(self, x: Tensor, empty: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, N, D), empty (B, N) -> logits (B, classes), share of attention per token (B, N)."""
        x = self.norm(x)
        # Finite, so that a window with no data at all still gives numbers.
        score = self.score(x).masked_fill(empty.unsqueeze(-1), -1e4)  # (B, N, R)
        share = torch.softmax(score, dim=1)
        value = self.value(x).unflatten(-1, (self.heads, -1))  # (B, N, R, D/R)
        pooled = (share.unsqueeze(-1) * value).sum(1).flatten(1)  # (B, D)
        return self.classify(self.dropout(torch.nn.functional.gelu(pooled))), share.mean(-1)


class SentryFuse(nn.Module):
    """The network. Sensors that are absent are not computed: their tokens, and their streams, do not exist."""

    def __init__(self, config: FuseConfig):
        super().__init__()
        self.config = config
        # Keyed by place, since a modality's name may hold characters a module name cannot.
        self.tokenizers = nn.ModuleList(
            make_tokenizer(spec, config.d_model, config.tokenizer.get(spec.name)) for spec in config.modalities
        )
        self.lengths = tuple(t.count for t in self.tokenizers)
        self.positions = nn.ParameterList(nn.Parameter(torch.randn(n, config.d_model) * 0.02) for n in self.lengths)
        self.backbone = make_backbone(config, self.lengths)
        self.readout = Readout(config.d_model, config.readout_heads, len(config.classes), config.dropout)
        self.gate = SentryGate(len(config.modalities), len(all_sites(config)), config.heads, config.ffn_dim, config.gate_hidden)

    def tokens(self, inputs: Mapping[str, Tensor], mask: Sequence[bool]) -> Tokens:
        """Tokens of the live modalities from their inputs (B, *spec.shape). Raises ParameterError if none is live."""
        live = tuple(i for i, present in enumerate(mask) if present)
        if not live or len(mask) != len(self.tokenizers):
            raise ParameterError(
                "modality mask", [bool(m) for m in mask], f"{len(self.tokenizers)} entries, at least one of them true"
            )
        x, empty = [], []
        for i in live:
            x_i, empty_i = self.tokenizers[i](inputs[self.config.names[i]])
            x.append(x_i + self.positions[i])
            empty.append(empty_i)
        return Tokens(torch.cat(x, 1), torch.cat(empty, 1), live)

    def fuse(
        self, tokens: Tokens, weights: Sequence[SiteWeights] | None = None, scales: Sequence[SiteScales] | None = None
    ) -> FuseOutput:
        """Backbone and read-out on `tokens`, with full weights or the sliced ``weights`` of a plan.

        ``scales``: one per site of the whole network, those of absent streams unused.
        """
        lengths = [self.lengths[i] for i in tokens.live]
        x = self.backbone(tokens.x, tokens.live, weights, scales)
        logits, share = self.readout(x, tokens.empty)
        use = share.new_zeros(len(share), len(self.lengths))
        for i, part in zip(tokens.live, share.split(lengths, 1)):
            use[:, i] = part.sum(1)
        return FuseOutput(logits, use)

    def forward(
        self,
        inputs: Mapping[str, Tensor],
        mask: Sequence[bool] | None = None,
        weights: Sequence[SiteWeights] | None = None,
        scales: Sequence[SiteScales] | None = None,
    ) -> FuseOutput:
        """inputs: modality name -> (B, *spec.shape); mask (M,), all present if None; see `fuse`."""
        mask = [True] * len(self.tokenizers) if mask is None else mask
        return self.fuse(self.tokens(inputs, mask), weights, scales)
