"""Model inputs -> tokens, one small convolutional stem per sensor. Absent sensors' stems are never run.

Options per kind (FuseConfig.tokenizer[name]):
  imu, series, audio   steps_per_token (10), stem_channels (48)
  camera, lidar        frames_per_token (2), stem_channels ([16, 24, 32]), crop_columns (0 = all), grid ([4, 3]),
                       motion ("none", "also": frame differences beside the frames, "only": instead of them)
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ParameterError
from ..modalities.inputs.spec import ModalitySpec


class SeriesTokenizer(nn.Module):
    """(B, T, C) -> tokens (B, T / steps_per_token, D) and which of them saw no data (B, N) bool.

    A step that is zero in every channel is an empty one (the input's promise); the stem is told so by an
    extra channel.
    """

    def __init__(self, spec: ModalitySpec, d_model: int, steps_per_token: int = 10, stem_channels: int = 48):
        super().__init__()
        steps, channels = spec.shape
        if steps % steps_per_token:
            raise ParameterError(f"tokenizer {spec.name!r} steps_per_token", steps_per_token, f"a divisor of {steps}")
        self.patch = steps_per_token
        self.count = steps // steps_per_token
        self.conv = nn.Conv1d(channels + 1, stem_channels, kernel_size=5, padding=2)
        self.norm = nn.GroupNorm(1, stem_channels)
        self.mix = nn.Conv1d(stem_channels, d_model, kernel_size=steps_per_token, stride=steps_per_token)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        seen = (x != 0).any(-1)                                            # (B, T)
        x = torch.cat([x, seen.unsqueeze(-1).to(x.dtype)], dim=-1)         # (B, T, C+1)
        x = self.mix(F.gelu(self.norm(self.conv(x.transpose(1, 2)))))      # (B, D, N)
        return x.transpose(1, 2), ~seen.unflatten(1, (self.count, self.patch)).any(-1)


class FrameTokenizer(nn.Module):
    """(B, K, C, H, W) -> tokens (B, K / frames_per_token, D) and which of them saw no frame (B, N) bool.

    The frames of one token enter the stem together as channels, so that their differences (motion) are one
    linear step away; with each comes the mask of its non-zero pixels.
    """

    def __init__(self, spec: ModalitySpec, d_model: int, frames_per_token: int = 2,
                 stem_channels: tuple[int, ...] = (16, 24, 32), crop_columns: int = 0, grid: tuple[int, int] = (4, 3),
                 motion: str = "none"):
        super().__init__()
        frames, channels, _, width = spec.shape
        if frames % frames_per_token:
            raise ParameterError(f"tokenizer {spec.name!r} frames_per_token", frames_per_token,
                                 f"a divisor of {frames}")
        self.patch = frames_per_token
        self.count = frames // frames_per_token
        crop = crop_columns or width
        self.columns = ((width - crop) // 2, (width - crop) // 2 + crop)
        if motion not in ("none", "also", "only"):
            raise ParameterError(f"tokenizer {spec.name!r} motion", motion, "none, also or only")
        self.motion = motion
        sizes = [frames_per_token * channels * (4 if motion == "also" else 2), *stem_channels]
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, kernel_size=5 if i == 0 else 3, stride=2, padding=2 if i == 0 else 1)
            for i, (a, b) in enumerate(zip(sizes, sizes[1:])))
        self.norms = nn.ModuleList(nn.GroupNorm(1, b) for b in stem_channels)
        self.grid = tuple(grid)
        self.mix = nn.Linear(stem_channels[-1] * grid[0] * grid[1], d_model)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = x[..., self.columns[0]:self.columns[1]]
        solid = x != 0
        empty = ~solid.flatten(2).any(-1).unflatten(1, (self.count, self.patch)).any(-1)  # (B, N)
        x = torch.cat([x, solid.to(x.dtype)], dim=2)                       # (B, K, 2C, H, W)
        if self.motion != "none":
            change = x[:, 1:] - x[:, :-1]
            # Between a frame and an empty slot there is no motion.
            seen = solid.flatten(2).any(-1)
            change = change * (seen[:, 1:] & seen[:, :-1])[..., None, None, None]
            change = torch.cat([torch.zeros_like(x[:, :1]), change], 1)
            x = change if self.motion == "only" else torch.cat([x, change], 2)
        x = x.unflatten(1, (self.count, self.patch)).flatten(2, 3).flatten(0, 1)  # (B*N, patch*2C, H, W)
        for conv, norm in zip(self.convs, self.norms):
            x = F.gelu(norm(conv(x)))
        if x.shape[-2:] != self.grid:
            x = F.adaptive_avg_pool2d(x, self.grid)
        return self.mix(x.flatten(1)).unflatten(0, (-1, self.count)), empty           # (B, N, D)


def make_tokenizer(spec: ModalitySpec, d_model: int, options: dict | None = None) -> nn.Module:
    """The tokeniser of a modality; raises ParameterError on an option it does not have."""
    kind = FrameTokenizer if spec.kind in ("camera", "lidar") else SeriesTokenizer
    try:
        return kind(spec, d_model, **dict(options or {}))
    except TypeError as error:
        raise ParameterError(f"tokenizer {spec.name!r} options", sorted(options), "those in model/tokenizers.py",
                             str(error)) from error
