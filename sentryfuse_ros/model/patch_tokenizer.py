"""Pictures -> tokens, by attention inside small windows of patches: the stem "patches" of `patch_config`.

A picture is cut into patches, and a few neighbouring patches make a window (Swin, Liu et al., arXiv 2103.14030, without shifts).
Transformer layers run inside each window alone, `pack` reduces a window to its code, and convolutions over the grid of codes
and a linear layer read the picture out. Which window it is does not enter the encoding of a window; the read-out knows. Last, a
convolution over successive pictures makes the tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..preprocessing.spec import ModalitySpec
from .attention import AttendWeights, KeyTokens
from .block import SiteScales, SiteWeights, transform
from .patch_config import MOTION_CONTEXT, READ_KERNEL, READ_STRIDE, PatchTokenizerConfig
from .tokenizers import Tokenizer


class WindowLayer(nn.Module):
    """The weights of one transformer layer. Keys and values are apart, so that a smaller size has the leading rows of each."""

    def __init__(self, options: PatchTokenizerConfig):
        super().__init__()
        width, keys = options.width, options.num_kv_heads * options.head_dim
        self.norm_attention = nn.LayerNorm(width)
        self.query = nn.Linear(width, keys * options.heads_per_group)
        self.key = nn.Linear(width, keys)
        self.value = nn.Linear(width, keys)
        self.out = nn.Linear(keys * options.heads_per_group, width)
        self.norm_ffn = nn.LayerNorm(width)
        self.up = nn.Linear(width, options.ffn_dim)
        self.down = nn.Linear(options.ffn_dim, width)

    def weights(self, options: PatchTokenizerConfig) -> SiteWeights:
        """The leading heads and channels that ``options`` have."""
        keys, channels = options.num_kv_heads * options.head_dim, options.ffn_dim
        queries = keys * options.heads_per_group
        attention = AttendWeights(
            self.query.weight[:queries],
            self.query.bias[:queries],
            torch.cat([self.key.weight[:keys], self.value.weight[:keys]]),
            torch.cat([self.key.bias[:keys], self.value.bias[:keys]]),
            self.out.weight[:, :queries],
            self.out.bias,
            options.num_kv_heads,
        )
        return SiteWeights(
            (0,),
            self.norm_attention.weight,
            self.norm_attention.bias,
            attention,
            self.norm_ffn.weight,
            self.norm_ffn.bias,
            self.up.weight[:channels],
            self.up.bias[:channels],
            self.down.weight[:, :channels],
            self.down.bias,
        )


class PatchTokenizer(Tokenizer):
    """(B, K, C, H, W) -> tokens (B, K / frames_per_token, D), and whether each saw no picture (B, N) bool.

    Raises ParameterError unless windows of patches fill the picture and frames_per_token divides K.
    """

    def __init__(self, spec: ModalitySpec, d_model: int, options: PatchTokenizerConfig):
        super().__init__()
        self.sizes = [options.at_size(k) for k in range(1 + len(options.sizes))]
        self.options, self.count = options, options.token_count(spec)
        self.rows, self.columns = options.window_grid(spec)
        self.channels, self.planes = spec.shape[1], options.planes(spec)
        count, width = options.window**2, options.width
        self.embed = nn.Linear(self.planes * options.patch**2, width)
        self.place = nn.Parameter(torch.randn(count, width) * 0.02)
        self.layers = nn.ModuleList(WindowLayer(options) for _ in range(options.layers))
        self.norm = nn.LayerNorm(width)
        self.pack = nn.Linear(count * width, options.code)
        self.read, *further = (
            nn.Conv2d(before, behind, READ_KERNEL, stride=READ_STRIDE, padding=READ_KERNEL // 2)
            for before, behind in zip(options.reads, options.reads[1:])
        )
        self.read_further = nn.ModuleList(further)
        self.mix = nn.Linear(options.reads[-1] * options.grid[0] * options.grid[1], d_model)
        share = options.frames_per_token
        self.motion = nn.Conv1d(d_model, d_model, options.motion_steps, stride=share, padding=MOTION_CONTEXT)

    @property
    def blocks(self) -> Sequence[WindowLayer]:
        """The transformer layers."""
        return list(self.layers)  # type: ignore[arg-type]  # torch does not type what a ModuleList holds

    # ---- from pictures to tokens

    def forward(self, x: Tensor, size: int = 0, scales: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]:
        codes = self.encode(self.windows(x.flatten(0, 1)).flatten(0, 1), size, scales)
        pictures = self.read_out(codes.unflatten(0, (-1, self.rows * self.columns))).unflatten(0, x.shape[:2])
        return self.in_motion(pictures, (x != 0).flatten(2).any(-1))

    def windows(self, pictures: Tensor) -> Tensor:
        """Pictures (n, C, H, W) -> their windows, row by row: (n, windows, C, side, side)."""
        side = self.options.patch * self.options.window
        x = pictures.unflatten(-1, (self.columns, side)).unflatten(-3, (self.rows, side))  # (n, C, rows, side, columns, side)
        return x.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)

    def encode(self, windows: Tensor, size: int = 0, scales: Sequence[Tensor] | None = None) -> Tensor:
        """Windows (n, C, side, side) -> codes (n, code).

        ``scales`` multiply the units (`unit_scales`); each row is for a sample of n / len(scales[0]) successive windows.
        """
        options = self.sizes[size]
        x, patch, count = windows, options.patch, options.window
        if self.planes > self.channels:
            valid = x != 0
            mask = valid if self.planes == 2 * self.channels else valid.any(1, keepdim=True)
            x = torch.cat([x, mask.to(x.dtype)], 1)
        x = x.unflatten(-1, (count, patch)).unflatten(-3, (count, patch))  # (n, planes, rows, patch, columns, patch)
        x = self.embed(x.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)) + self.place  # (n, patches, width)
        keys = KeyTokens("strided", [count**2], [options.kv_stride], x.device) if options.kv_stride > 1 else _all_tokens
        for i, layer in enumerate(self.blocks[: options.layers]):
            chosen = None
            if scales is not None:
                heads, channels = (s.repeat_interleave(len(x) // len(s), 0) for s in scales[2 * i : 2 * i + 2])
                chosen = SiteScales(heads, channels)
            x = transform(x, layer.weights(options), options.head_dim, keys, scales=chosen)
        return self.pack(self.norm(x).flatten(1))

    def read_out(self, codes: Tensor) -> Tensor:
        """Codes of all windows of pictures (n, windows, code) -> what is known of each picture by itself (n, D)."""
        x = codes.transpose(1, 2).unflatten(-1, (self.rows, self.columns))
        for convolution in (self.read, *self.read_further):
            x = F.gelu(convolution(x))
        if x.shape[-2:] != self.options.grid:
            x = F.adaptive_avg_pool2d(x, self.options.grid)
        return self.mix(x.flatten(1))

    def in_motion(self, pictures: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """What is known of successive pictures (B, K, D), and which slots hold one (B, K) -> tokens (B, N, D), empty (B, N)."""
        share = self.options.frames_per_token
        pictures = pictures * seen.unsqueeze(-1)
        tokens = F.gelu(self.motion(pictures.transpose(1, 2))).transpose(1, 2)
        tokens = tokens + pictures.unflatten(1, (-1, share)).mean(2)
        return tokens, ~seen.unflatten(1, (-1, share)).any(-1)

    # ---- units, for training the smaller sizes

    def unit_scales(self, batch: int) -> list[Tensor]:
        heads = self.options.num_kv_heads * self.options.heads_per_group
        counts = (heads, self.options.ffn_dim) * len(self.layers)
        return [torch.ones(batch, count, requires_grad=True) for count in counts]

    @torch.no_grad()
    def sort_channels(self, saliency: Sequence[Tensor]) -> None:
        dim, per_group = self.options.head_dim, self.options.heads_per_group
        for layer, heads, channels in zip(self.blocks, saliency[0::2], saliency[1::2]):
            groups = heads.unflatten(0, (-1, per_group)).sum(1).argsort(descending=True, stable=True)
            key_rows = (groups[:, None] * dim + torch.arange(dim)).flatten()
            query_rows = (groups[:, None] * dim * per_group + torch.arange(dim * per_group)).flatten()
            for linear, rows in ((layer.query, query_rows), (layer.key, key_rows), (layer.value, key_rows)):
                linear.weight.copy_(linear.weight[rows])
                linear.bias.copy_(linear.bias[rows])
            layer.out.weight.copy_(layer.out.weight[:, query_rows])
            order = channels.argsort(descending=True, stable=True)
            layer.up.weight.copy_(layer.up.weight[order])
            layer.up.bias.copy_(layer.up.bias[order])
            layer.down.weight.copy_(layer.down.weight[:, order])


def _all_tokens(x: Tensor) -> Tensor:
    return x
