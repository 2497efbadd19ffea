"""The caption head in torch, for training: a small autoregressive transformer that reads the tokens of a fused window.

`onnx_decoder` writes the same network for the robot. Each of its sites keeps the leading units of a pruning level.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .checkpoint import CaptionCheckpoint
from .config import CaptionConfig, Width


class Percepts(NamedTuple):
    """What a sentence is about, for a batch of B windows under one subnetwork. N tokens come from the sensors that it uses."""

    stem: Tensor  # (B, N, token_dim) tokens as they entered the backbone
    fused: Tensor  # (B, N, token_dim) what the backbone made of them
    places: Tensor  # (N,) int64: place of each token among all tokens of the model
    depth: int  # layers of the backbone that were run
    states: Tensor  # (B, M) int64: places in `CaptionConfig.states`
    log_probabilities: Tensor  # (B, classes) of the calibrated answer


class Reader(nn.Module):
    """Makes the rows that the decoder attends to."""

    def __init__(self, config: CaptionConfig):
        super().__init__()
        d, tokens = config.d_model, sum(config.lengths)
        self.norm_stem, self.norm_fused = nn.LayerNorm(config.token_dim), nn.LayerNorm(config.token_dim)
        self.token = nn.Linear(2 * config.token_dim, d)
        self.place = nn.Parameter(torch.randn(tokens, d) * 0.02)
        self.depth = nn.Parameter(torch.randn(config.backbone_layers, d) * 0.02)
        self.state = nn.Parameter(torch.randn(len(config.modalities), len(config.states), d) * 0.1)
        self.answer = nn.Linear(len(config.classes), d)

    def forward(self, percepts: Percepts) -> Tensor:
        """-> rows (B, N + M + 1, d)."""
        both = torch.cat([self.norm_stem(percepts.stem), self.norm_fused(percepts.fused)], -1)
        tokens = self.token(both) + self.place[percepts.places] + self.depth[percepts.depth - 1]
        modalities = torch.arange(self.state.shape[0], device=percepts.states.device)
        return torch.cat([tokens, self.state[modalities, percepts.states], self.answer(percepts.log_probabilities)[:, None]], 1)


class Attention(nn.Module):
    """Grouped-query attention, as in `model.attention`, of which the leading K/V heads may be used."""

    def __init__(self, config: CaptionConfig):
        super().__init__()
        self.groups, self.per_group, self.head_dim = config.num_kv_heads, config.heads_per_group, config.head_dim
        heads = self.groups * self.per_group
        self.query = nn.Linear(config.d_model, heads * self.head_dim)
        self.key = nn.Linear(config.d_model, self.groups * self.head_dim, bias=False)  # softmax is blind to a bias of the keys
        self.value = nn.Linear(config.d_model, self.groups * self.head_dim)
        self.out = nn.Linear(heads * self.head_dim, config.d_model)

    def forward(self, x: Tensor, source: Tensor, groups: int, causal: bool) -> Tensor:
        """x (B, T, d) attends to source (B, S, d), with the leading ``groups`` K/V heads and their query heads."""
        kv, q = groups * self.head_dim, groups * self.per_group * self.head_dim
        query = F.linear(x, self.query.weight[:q], self.query.bias[:q])
        key = F.linear(source, self.key.weight[:kv])
        value = F.linear(source, self.value.weight[:kv], self.value.bias[:kv])
        query, key, value = (t.unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for t in (query, key, value))
        key, value = (t.repeat_interleave(self.per_group, 1) for t in (key, value))  # (B, heads, S, hd)
        y = F.scaled_dot_product_attention(query, key, value, is_causal=causal)
        return F.linear(y.transpose(1, 2).flatten(2), self.out.weight[:, :q], self.out.bias)


class Layer(nn.Module):
    """Attention to the words so far, attention to what is perceived, and a feed-forward, each behind a LayerNorm."""

    def __init__(self, config: CaptionConfig, dropout: float):
        super().__init__()
        d = config.d_model
        self.norm_words, self.norm_percepts, self.norm_ffn = nn.LayerNorm(d), nn.LayerNorm(d), nn.LayerNorm(d)
        self.words, self.percepts = Attention(config), Attention(config)
        self.up, self.down = nn.Linear(d, config.ffn_dim), nn.Linear(config.ffn_dim, d)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, rows: Tensor, width: Width) -> Tensor:
        y = self.norm_words(x)
        x = x + self.dropout(self.words(y, y, width.groups, causal=True))
        x = x + self.dropout(self.percepts(self.norm_percepts(x), rows, width.groups, causal=False))
        c = width.channels
        hidden = F.gelu(F.linear(self.norm_ffn(x), self.up.weight[:c], self.up.bias[:c]))
        return x + self.dropout(F.linear(hidden, self.down.weight[:, :c], self.down.bias))


class CaptionDecoder(nn.Module):
    """From percepts and the words so far to the next word."""

    def __init__(self, config: CaptionConfig, dropout: float = 0.0):
        super().__init__()
        self.config = config
        self.reader = Reader(config)
        self.norm_rows = nn.LayerNorm(config.d_model)
        self.word = nn.Parameter(torch.randn(len(config.words), config.d_model) * 0.05)  # also reads out the next word
        self.position = nn.Parameter(torch.randn(config.longest, config.d_model) * 0.02)
        self.layers = nn.ModuleList(Layer(config, dropout) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.d_model)
        self.dropout = nn.Dropout(dropout)

    def rows(self, percepts: Percepts) -> Tensor:
        """What the words attend to (B, N + M + 1, d)."""
        return self.norm_rows(self.dropout(self.reader(percepts)))

    def forward(self, percepts: Percepts, words: Tensor, level: float = 0.0) -> Tensor:
        """words (B, T) int64, BEGIN first -> logits (B, T, vocabulary) of the word after each, at a level of pruning."""
        rows, width = self.rows(percepts), self.config.width(level)
        x = self.dropout(self.word[words] + self.position[: words.shape[1]])
        for layer in self.layers:
            x = layer(x, rows, width)
        return self.norm(x) @ self.word.T


def checkpoint_of(decoder: CaptionDecoder, info: dict[str, object]) -> CaptionCheckpoint:
    """A decoder in torch as a checkpoint that was not written to a file."""
    tensors = {name: values.detach().cpu().numpy().astype(np.float32) for name, values in decoder.state_dict().items()}
    return CaptionCheckpoint(decoder.config, tensors, info)
