"""SentryFuse: tokenise the live sensors, fuse their tokens, and read out the class and how much each sensor contributed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from ..errors import ParameterError
from .backbones import make_backbone
from .block import SiteScales, SiteWeights
from .config import FuseConfig
from .dropout import Dropout
from .gate import SentryGate
from .sites import all_sites
from .tokenizers import Tokenizer, make_tokenizer


class FuseOutput(NamedTuple):
    """The network's answer for a batch."""

    logits: Tensor  # (B, classes)
    attention_share: Tensor  # (B, M) share of the read-out's attention by modality, 0 where it is absent


class Tokens(NamedTuple):
    """Tokens of the live modalities, those of one modality after those of another."""

    x: Tensor  # (B, N, D)
    empty: Tensor  # (B, N) bool: tokens that saw no data
    live: tuple[int, ...]  # indices of the live modalities in the mask


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
        # A finite number instead of -inf, so that a window without any data still gives numbers.
        score = self.score(x).masked_fill(empty.unsqueeze(-1), -1e4)  # (B, N, R)
        share = torch.softmax(score, dim=1)
        value = self.value(x).unflatten(-1, (self.heads, -1))  # (B, N, R, D/R)
        pooled = (share.unsqueeze(-1) * value).sum(1).flatten(1)  # (B, D)
        return self.classify(self.dropout(torch.nn.functional.gelu(pooled))), share.mean(-1)


class SentryFuse(nn.Module):
    """The network. Absent sensors are not computed: neither their tokens nor their streams exist."""

    def __init__(self, config: FuseConfig):
        super().__init__()
        self.config = config
        # A list in the order of the mask, since a modality's name may hold characters that a module's name cannot.
        tokenizers = [make_tokenizer(spec, config.d_model, config.tokenizer[spec.name]) for spec in config.modalities]
        self.tokenizers = nn.ModuleList(tokenizers)
        self.lengths = tuple(t.count for t in tokenizers)  # tokens per modality
        self.positions = nn.ParameterList(nn.Parameter(torch.randn(n, config.d_model) * 0.02) for n in self.lengths)
        self.backbone = make_backbone(config, self.lengths)
        self.readout = Readout(config.d_model, config.readout_heads, len(config.classes), config.dropout)
        self.gate = SentryGate(len(config.modalities), len(all_sites(config)), config.heads, config.ffn_dim, config.gate_hidden)

    def tokens(self, inputs: Mapping[str, Tensor], mask: Sequence[bool], stems: Sequence[int] | None = None) -> Tokens:
        """Tokens of the live modalities from their inputs (B, *spec.shape), by stems of the sizes ``stems`` (M,), whole if None.

        Raises ParameterError if no modality is live.
        """
        live = tuple(i for i, present in enumerate(mask) if present)
        if not live or len(mask) != len(self.tokenizers):
            raise ParameterError(
                "modality mask", [bool(m) for m in mask], f"{len(self.tokenizers)} entries, at least one of them true"
            )
        parts = [self.tokens_of(i, inputs[self.config.names[i]], 0 if stems is None else stems[i]) for i in live]
        return Tokens(torch.cat([x for x, _ in parts], 1), torch.cat([empty for _, empty in parts], 1), live)

    @property
    def stems(self) -> Sequence[Tokenizer]:
        """The tokenisers in mask order."""
        return cast("Sequence[Tokenizer]", self.tokenizers)  # torch does not type what a ModuleList holds

    def tokens_of(
        self, place: int, window: Tensor, size: int = 0, scales: Sequence[Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Tokens (B, N, D) of the modality at a place in the mask, and which of them saw no data (B, N).

        ``scales`` multiply the channels of its stem (`Tokenizer.unit_scales`).
        """
        x, empty = self.tokenizers[place](window, size, scales)
        return x + self.positions[place], empty

    def fuse(
        self, tokens: Tokens, weights: Sequence[SiteWeights] | None = None, scales: Sequence[SiteScales] | None = None
    ) -> FuseOutput:
        """Backbone and read-out on `tokens`, with full weights or with the sliced ``weights`` of a plan, which may be those of
        the first layers only.

        ``scales``, one per site of the whole network, multiply the units; those of absent streams are not used.
        """
        return self._read(tokens, self.backbone(tokens.x, tokens.live, weights, scales))

    def fuse_with_tokens(
        self, tokens: Tokens, weights: Sequence[SiteWeights] | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """`fuse`, and the tokens before and behind the backbone (B, N, D)."""
        fused = self.backbone(tokens.x, tokens.live, weights)
        return (*self._read(tokens, fused), tokens.x, fused)

    def _read(self, tokens: Tokens, fused: Tensor) -> FuseOutput:
        lengths = [self.lengths[i] for i in tokens.live]
        logits, share = self.readout(fused, tokens.empty)
        attention_share = share.new_zeros(len(share), len(self.lengths))
        for i, part in zip(tokens.live, share.split(lengths, 1)):
            attention_share[:, i] = part.sum(1)
        return FuseOutput(logits, attention_share)

    def forward(
        self,
        inputs: Mapping[str, Tensor],
        mask: Sequence[bool] | None = None,
        weights: Sequence[SiteWeights] | None = None,
        scales: Sequence[SiteScales] | None = None,
    ) -> FuseOutput:
        """Logits from inputs {modality name: (B, *spec.shape)} under a mask (M,), all sensors live if None; see `fuse`."""
        mask = [True] * len(self.tokenizers) if mask is None else mask
        return self.fuse(self.tokens(inputs, mask), weights, scales)
