"""Scores by the library torch-pruning (DepGraph; Fang et al., CVPR 2023, arXiv 2301.12900), an optional dependency.

The library traces calls of modules, but the blocks here run on bare tensors. So the attention and the feed-forward of each block
are written out once more as modules on the same weights; groups and importance are then the library's own, with its default
settings. It counts these weights: for a channel, its row of up and its column of down. For a head, the mean over its dimensions
(as in the library's own head pruning) of its rows of the query and its columns of the output, and of key and value too where
every query head has its own; with grouped queries the library leaves those out of the sum. So its magnitude equals l2 in
criteria.py except for K/V, and its Taylor, which it computes as |w dL/dw| per weight, equals snip.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sentryfuse_ros.errors import SentryFuseError
from sentryfuse_ros.model.attention import SentryAttend
from sentryfuse_ros.model.fuse import SentryFuse

VERSION = "1.6.1"  # the version that this was tested with


def library_scores(model: SentryFuse, gradients: Sequence[tuple[Tensor, ...]] | None) -> tuple[Tensor, Tensor]:
    """Heads (sites, H) and channels (sites, C), of mean 1 per site: Taylor with `criteria.loss_gradients`, magnitude without.

    Raises SentryFuseError where the library is not installed.
    """
    library = _library()
    importance = library.importance.MagnitudeImportance() if gradients is None else library.importance.TaylorImportance()
    heads, channels = [], []
    for i, block in enumerate(model.backbone.blocks):
        a, slopes = block.attention, gradients[i] if gradients is not None else (None,) * 5
        attention = _Attention(a, slopes[:3])
        group = _group(library, attention, attention.query, attention.query.in_features)
        heads.append(importance(group).view(a.groups * a.per_group, -1).mean(1))
        up, down = _linear(block.up.weight, slopes[3]), _linear(block.down.weight, slopes[4])
        channels.append(importance(_group(library, nn.Sequential(up, nn.GELU(), down), up, block.up.in_features)))
    device = model.gate.static.device
    return torch.stack(heads).to(device), torch.stack(channels).to(device)


class _Attention(nn.Module):
    """Grouped-query attention in a form that the library knows: one linear map each for query, key, value and output."""

    def __init__(self, attention: SentryAttend, slopes: Sequence[Tensor | None]):
        super().__init__()
        self.groups, self.per_group, self.head_dim = attention.groups, attention.per_group, attention.head_dim
        key, value = attention.kv.weight.chunk(2)
        key_slope, value_slope = (None, None) if slopes[1] is None else slopes[1].chunk(2)
        self.query, self.key = _linear(attention.query.weight, slopes[0]), _linear(key, key_slope)
        self.value, self.out = _linear(value, value_slope), _linear(attention.out.weight, slopes[2])

    def forward(self, x: Tensor) -> Tensor:
        split = [m(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for m in (self.query, self.key, self.value)]
        if self.per_group > 1:
            split[1:] = (t.repeat_interleave(self.per_group, 1) for t in split[1:])
        return self.out(F.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2))


def _linear(weight: Tensor, slope: Tensor | None) -> nn.Linear:
    """A copy on the CPU, with its gradient."""
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    linear.weight = nn.Parameter(weight.detach().cpu().clone())
    linear.weight.grad = None if slope is None else slope.detach().cpu().clone()
    return linear


def _group(library: ModuleType, module: nn.Module, root: nn.Linear, width: int):
    """The weights that the library prunes together with the outputs of ``root``."""
    graph = library.DependencyGraph().build_dependency(module, torch.zeros(1, 4, width))
    return graph.get_pruning_group(root, library.prune_linear_out_channels, idxs=list(range(root.out_features)))


def _library() -> ModuleType:
    try:
        import torch_pruning
    except ImportError as error:
        raise SentryFuseError(
            "package torch-pruning",
            "none installed",
            f"version {VERSION}",
            f"pip install torch-pruning=={VERSION}, or leave out the criteria of that name",
        ) from error
    return torch_pruning
