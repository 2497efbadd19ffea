"""Model inputs -> tokens, by one small convolutional stem per sensor. The stems of absent sensors are never run.

`tokenizer_config.py` lists the options of a stem, its smaller sizes among them: a smaller size runs on the leading channels of
every convolution, so that all sizes share one set of weights (Yu et al., Slimmable Neural Networks, arXiv 1812.08928).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..preprocessing.spec import ModalitySpec
from ..sensor_kinds import sensor_kind
from .tokenizer_config import (
    SERIES_KERNEL,
    TEXTURE_SCALES,
    FrameTokenizerConfig,
    SeriesTokenizerConfig,
    TokenizerConfig,
    tokenizer_config,
)


class Tokenizer(nn.Module):
    """Base of the tokenisers: (B, *spec.shape) -> tokens (B, count, D), and whether each token saw no data (B, count) bool.

    A tokeniser is made from (spec, d_model, options), and runs at any of the sizes of its options (`TokenizerConfig.at_size`).
    """

    count: int  # tokens per window

    def convolutions(self) -> list[tuple[nn.Conv1d | nn.Conv2d, nn.GroupNorm]]:
        """The convolutions of the stem, each with its norm, in the order in which they run."""
        raise NotImplementedError

    def mix_layer(self) -> nn.Conv1d | nn.Linear:
        """The layer that makes tokens of the last convolution's channels; its inputs are channel by channel."""
        raise NotImplementedError

    def unit_scales(self, batch: int) -> list[Tensor]:
        """Multipliers of 1 on every channel of every convolution, (B, C) each; their gradient is the channels' saliency."""
        return [torch.ones(batch, conv.out_channels, requires_grad=True) for conv, _ in self.convolutions()]

    @torch.no_grad()
    def sort_channels(self, saliency: Sequence[Tensor]) -> None:
        """Put the channels that matter most first, since a smaller size keeps the leading ones; the whole stem stays the same.

        ``saliency``: (C,) per convolution.
        """
        before: Tensor | None = None
        for (conv, norm), found in zip(self.convolutions(), saliency):
            order = found.argsort(descending=True, stable=True)
            for weights in (conv.weight, conv.bias, norm.weight, norm.bias):
                assert weights is not None
                weights.copy_(weights[order])
            if before is not None:
                conv.weight.copy_(conv.weight[:, before])
            before = order
        mix = self.mix_layer().weight
        assert before is not None
        by_channel = mix.reshape(len(mix), len(before), -1)
        mix.copy_(by_channel[:, before].reshape(mix.shape))


class SeriesTokenizer(Tokenizer):
    """(B, T, C) -> tokens (B, T / steps_per_token, D), and whether each token saw no data (B, N) bool.

    A step without data is zero in every channel, as preprocessing promises; an extra channel tells the stem which steps hold
    data. Raises ParameterError unless steps_per_token divides T.
    """

    def __init__(self, spec: ModalitySpec, d_model: int, options: SeriesTokenizerConfig):
        super().__init__()
        channels = spec.shape[1]
        steps_per_token, stem_channels = options.steps_per_token, options.stem_channels
        self.sizes = [options.at_size(k) for k in range(1 + len(options.sizes))]
        self.patch = steps_per_token
        self.count = options.token_count(spec)
        self.conv = nn.Conv1d(channels + 1, stem_channels, kernel_size=SERIES_KERNEL, padding=SERIES_KERNEL // 2)
        self.norm = nn.GroupNorm(1, stem_channels)
        self.mix = nn.Conv1d(stem_channels, d_model, kernel_size=steps_per_token, stride=steps_per_token)
        self.spectrum = PowerSpectrum(spec, d_model, steps_per_token, options.spectrum_steps) if options.spectrum_steps else None

    def convolutions(self) -> list[tuple[nn.Conv1d | nn.Conv2d, nn.GroupNorm]]:
        return [(self.conv, self.norm)]

    def mix_layer(self) -> nn.Conv1d:
        return self.mix

    def forward(self, x: Tensor, size: int = 0, scales: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]:
        options = self.sizes[size]
        kept = slice(options.stem_channels)
        seen = (x != 0).any(-1)  # (B, T)
        tokens = torch.cat([x, seen.unsqueeze(-1).to(x.dtype)], dim=-1).transpose(1, 2)  # (B, C+1, T)
        bias = None if self.conv.bias is None else self.conv.bias[kept]
        tokens = F.conv1d(tokens, self.conv.weight[kept], bias, padding=SERIES_KERNEL // 2)
        tokens = F.gelu(F.group_norm(tokens, 1, self.norm.weight[kept], self.norm.bias[kept]))
        if scales is not None:
            tokens = tokens * scales[0].unsqueeze(-1)
        tokens = F.conv1d(tokens, self.mix.weight[:, kept], self.mix.bias, stride=self.patch)  # (B, D, N)
        if self.spectrum is not None and options.spectrum_steps:
            tokens = tokens + self.spectrum(x)
        return tokens.transpose(1, 2), ~seen.unflatten(1, (self.count, self.patch)).any(-1)


class PowerSpectrum(nn.Module):
    """(B, T, C) -> (B, D, N): the logarithm of the power at every frequency around each token, mixed by a linear layer.

    A vibration is recognised by its frequencies, whatever its phase; a small convolution would have to learn that.
    """

    basis: Tensor

    def __init__(self, spec: ModalitySpec, d_model: int, hop: int, steps: int):
        super().__init__()
        self.hop, self.before = hop, (steps - hop) // 2
        self.after = steps - hop - self.before
        frequency, step = torch.arange(steps // 2 + 1, dtype=torch.float64)[:, None], torch.arange(steps, dtype=torch.float64)
        window = torch.hann_window(steps, periodic=True, dtype=torch.float64)
        angle = 2 * torch.pi * frequency * step / steps
        basis = torch.cat([torch.cos(angle), torch.sin(angle)]) * window / window.sum()
        self.register_buffer("basis", basis.float().unsqueeze(1), persistent=False)  # (2 F, 1, steps)
        self.mix = nn.Conv1d(spec.shape[1] * (steps // 2 + 1), d_model, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        B, _, C = x.shape
        x = F.pad(x.transpose(1, 2).flatten(0, 1).unsqueeze(1), (self.before, self.after))  # (B*C, 1, T + steps - hop)
        part = F.conv1d(x, self.basis, stride=self.hop).unflatten(1, (2, -1))  # (B*C, 2, F, N)
        # A unit-variance input has a power around e^-5 in each bin; the floor is a ten-thousandth of that.
        power = torch.log(part.square().sum(1) + 1e-6)  # (B*C, F, N)
        return self.mix(((power + 7.0) / 3.0).unflatten(0, (B, C)).flatten(1, 2))  # (B, D, N)


class FrameTokenizer(Tokenizer):
    """(B, K, C, H, W) -> tokens (B, K / frames_per_token, D), and whether each token saw no frame (B, N) bool.

    The frames of one token enter the stem together as channels, so that their differences (motion) are one linear step away.
    Beside them comes the validity mask: where the frames are not zero. Raises ParameterError unless frames_per_token divides K.
    """

    def __init__(self, spec: ModalitySpec, d_model: int, options: FrameTokenizerConfig):
        super().__init__()
        _, channels, _, width = spec.shape
        frames_per_token, stem_channels, motion = options.frames_per_token, options.stem_channels, options.motion
        self.sizes = [options.at_size(k) for k in range(1 + len(options.sizes))]
        self.patch = frames_per_token
        self.count = options.token_count(spec)
        crop = options.crop_columns or width
        self.columns = ((width - crop) // 2, (width - crop) // 2 + crop)
        self.motion = motion
        self.masks = {"each": channels, "one": 1, "none": 0}[options.validity_mask]
        sizes = [options.planes(spec), *stem_channels]
        self.convs = nn.ModuleList(
            nn.Conv2d(before, after, kernel, stride=2, padding=kernel // 2)
            for kernel, before, after in zip(options.kernels(), sizes, sizes[1:])
        )
        self.norms = nn.ModuleList(nn.GroupNorm(1, b) for b in stem_channels)
        self.grid = options.grid
        self.mix = nn.Linear(stem_channels[-1] * self.grid[0] * self.grid[1], d_model)
        parts = options.statistics
        self.statistics = TextureStatistics(spec, d_model, frames_per_token, parts) if parts else None

    def convolutions(self) -> list[tuple[nn.Conv1d | nn.Conv2d, nn.GroupNorm]]:
        convs = cast("Sequence[nn.Conv2d]", self.convs)  # torch does not type what a ModuleList holds
        return list(zip(convs, cast("Sequence[nn.GroupNorm]", self.norms)))

    def mix_layer(self) -> nn.Linear:
        return self.mix

    def forward(self, x: Tensor, size: int = 0, scales: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]:
        options = self.sizes[size]
        x = frames = x[..., self.columns[0] : self.columns[1]]
        valid = x != 0
        empty = ~valid.flatten(2).any(-1).unflatten(1, (self.count, self.patch)).any(-1)  # (B, N)
        if self.masks:
            mask = valid if self.masks > 1 else valid.any(2, keepdim=True)
            x = torch.cat([x, mask.to(x.dtype)], dim=2)  # (B, K, C + masks, H, W)
        if self.motion != "none":
            change = x[:, 1:] - x[:, :-1]
            # The difference between a frame and an empty slot is no motion.
            seen = valid.flatten(2).any(-1)
            change = change * (seen[:, 1:] & seen[:, :-1])[..., None, None, None]
            change = torch.cat([torch.zeros_like(x[:, :1]), change], 1)
            x = change if self.motion == "only" else torch.cat([x, change], 2)
        x = x.unflatten(1, (self.count, self.patch)).flatten(2, 3).flatten(0, 1)  # (B*N, patch*(C + masks), H, W)
        for i, ((conv, norm), channels) in enumerate(zip(self.convolutions(), options.stem_channels)):
            weight, bias = conv.weight[:channels, : x.shape[1]], None if conv.bias is None else conv.bias[:channels]
            x = F.conv2d(x, weight, bias, stride=2, padding=weight.shape[-1] // 2)
            x = F.gelu(F.group_norm(x, 1, norm.weight[:channels], norm.bias[:channels]))
            if scales is not None:
                x = x * scales[i].repeat_interleave(self.count, 0)[..., None, None]
        if x.shape[-2:] != self.grid:
            x = F.adaptive_avg_pool2d(x, self.grid)
        x = x.flatten(1)
        tokens = F.linear(x, self.mix.weight[:, : x.shape[1]], self.mix.bias).unflatten(0, (-1, self.count))  # (B, N, D)
        return (tokens + self.statistics(frames, valid) if self.statistics is not None and options.statistics else tokens), empty


class TextureStatistics(nn.Module):
    """(B, K, C, H, W) -> (B, K / frames_per_token, D): mean and roughness of every channel in every part of the picture.

    Roughness is the logarithm of the mean square of second differences, at several scales; a linear layer mixes all of it into
    the token. A convolution would have to learn to square and to average. A LiDAR point is compared with its neighbours in
    the same ring only.
    """

    def __init__(self, spec: ModalitySpec, d_model: int, frames_per_token: int, parts: tuple[int, ...]):
        super().__init__()
        self.patch, self.upright = frames_per_token, sensor_kind(spec.kind).rows_adjoin
        self.parts = (parts[0], parts[1])
        kinds = 1 + TEXTURE_SCALES * (2 if self.upright else 1)
        self.mix = nn.Linear(frames_per_token * spec.channels * kinds * parts[0] * parts[1], d_model)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        count = x.shape[1]
        seen = valid.any(2, keepdim=True).flatten(0, 1).to(x.dtype)  # (B*K, 1, H, W)
        x = x.flatten(0, 1) * seen
        found = [self._mean(x, seen)]
        for scale in range(TEXTURE_SCALES):
            found.append(self._roughness(x, seen, -1))
            if self.upright:
                found.append(self._roughness(x, seen, -2))
            if scale + 1 < TEXTURE_SCALES:
                size = (2, 2) if self.upright else (1, 2)
                share = F.avg_pool2d(seen, size)
                x, seen = F.avg_pool2d(x, size) / share.clamp_min(0.25), (share >= 0.5).to(x.dtype)
                x = x * seen
        x = torch.cat([f.flatten(1) for f in found], 1)  # (B*K, C * kinds * parts)
        return self.mix(x.unflatten(0, (-1, count // self.patch, self.patch)).flatten(2))

    def _mean(self, x: Tensor, seen: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x, self.parts) / F.adaptive_avg_pool2d(seen, self.parts).clamp_min(1e-3)

    def _roughness(self, x: Tensor, seen: Tensor, axis: int) -> Tensor:
        n = x.shape[axis] - 2
        if n < 1:
            return torch.zeros_like(self._mean(x, seen))
        before, middle, after = (x.narrow(axis, i, n) for i in range(3))
        whole = seen.narrow(axis, 0, n) * seen.narrow(axis, 1, n) * seen.narrow(axis, 2, n)
        energy = self._mean((before - 2 * middle + after).square() * whole, whole)
        return (torch.log(energy + 1e-5) + 4.0) / 3.0


def make_tokenizer(spec: ModalitySpec, d_model: int, options: TokenizerConfig | Mapping[str, Any] | None = None) -> Tokenizer:
    """The tokeniser of a modality, defaults where options are left out; raises ParameterError on a wrong option."""
    record = tokenizer_config(spec, options)
    made: Tokenizer = sensor_kind(spec.kind).stem(record.stem_name).tokenizer_class()(spec, d_model, record)
    return made
