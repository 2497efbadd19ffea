"""The usual criteria as scores of stem channels; `criteria.py` names their sources and does the same for heads and FFN channels.

The weights of a channel are its row of its convolution and the columns that read it, of the next convolution or of the layer
that makes the tokens. Biases and the norm's gains do not count. All are measured with all sensors.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.model.fuse import SentryFuse, Tokens
from sentryfuse_ros.model.tokenizers import Tokenizer

from ..criteria import Calibration, evaluating

StemScores = list[list[Tensor]]  # per tokeniser and convolution: (C,)
STEM_CRITERIA = ("random", "l1", "l2", "wanda", "snip", "taylor")


def stem_scores(criterion: str, model: SentryFuse, calibration: Calibration, seed: int = 0) -> StemScores:
    """Scores of every channel of every stem, as `Tokenizer.sort_channels` takes them; higher stays longer.

    Raises ParameterError on an unknown criterion.
    """
    if criterion not in STEM_CRITERIA:
        raise ParameterError("pruning criterion of stems", criterion, "one of " + ", ".join(STEM_CRITERIA))
    with evaluating(model):
        if criterion == "random":
            generator = torch.Generator().manual_seed(seed)
            return [[torch.rand(conv.out_channels, generator=generator) for conv, _ in s.convolutions()] for s in model.stems]
        if criterion in ("l1", "l2"):
            power = int(criterion[1])
            return [_unit_sums(stem, [w.detach().abs() ** power for w in weights_of(stem)]) for stem in model.stems]
        if criterion == "snip":
            return _snip(model, calibration)
        return _wanda(model, calibration) if criterion == "wanda" else _taylor(model, calibration)


def weights_of(stem: Tokenizer) -> list[Tensor]:
    """Weights of the convolutions in turn, and of the layer that makes the tokens."""
    return [*(conv.weight for conv, _ in stem.convolutions()), stem.mix_layer().weight]


def _by_input(weight: Tensor, channels: int) -> Tensor:
    """(channels, rest): a number per weight, by the channel that the weight reads."""
    return weight.reshape(len(weight), channels, -1).transpose(0, 1).flatten(1)


def _unit_sums(stem: Tokenizer, numbers: Sequence[Tensor]) -> list[Tensor]:
    """Sums per channel of numbers per weight, which have the shapes of `weights_of`."""
    counts = [conv.out_channels for conv, _ in stem.convolutions()]
    return [
        own.flatten(1).sum(1) + _by_input(reading, count).sum(1)
        for own, reading, count in zip(numbers, numbers[1:], counts, strict=False)
    ]


def _snip(model: SentryFuse, calibration: Calibration) -> StemScores:
    """|w dL/dw| summed over the weights of a channel, where L is the mean cross-entropy over all samples."""
    weights = [w for stem in model.stems for w in weights_of(stem)]
    wanted = [w.requires_grad for w in weights]
    total = [torch.zeros_like(w) for w in weights]
    for w in weights:
        w.requires_grad_(True)
    try:
        for chunk in calibration.chunks(weights[0].device):
            loss = F.cross_entropy(model(chunk.inputs).logits, chunk.labels, reduction="sum") / len(calibration.labels)
            for sum_, gradient in zip(total, torch.autograd.grad(loss, weights)):
                sum_ += gradient
    finally:
        for w, before in zip(weights, wanted):
            w.requires_grad_(before)
    slopes = iter(total)
    return [_unit_sums(stem, [(w.detach() * next(slopes)).abs() for w in weights_of(stem)]) for stem in model.stems]


def _taylor(model: SentryFuse, calibration: Calibration) -> StemScores:
    """Mean over samples of |dL/dm| for a multiplier m = 1 on the output of a channel."""
    total: StemScores = []
    everyone = tuple(range(len(model.stems)))
    for chunk in calibration.chunks(model.gate.static.device):
        scales = [stem.unit_scales(len(chunk.labels)) for stem in model.stems]
        made = [model.tokens_of(i, chunk.inputs[name], 0, scales[i]) for i, name in enumerate(model.config.names)]
        tokens = Tokens(torch.cat([x for x, _ in made], 1), torch.cat([empty for _, empty in made], 1), everyone)
        loss = F.cross_entropy(model.fuse(tokens).logits, chunk.labels, reduction="sum")
        slopes = iter(torch.autograd.grad(loss, [m for own in scales for m in own]))
        found = [[next(slopes).abs().sum(0) for _ in own] for own in scales]
        total = [[a + b for a, b in zip(x, y)] for x, y in zip(total, found)] if total else found
    return [[sums / len(calibration.labels) for sums in own] for own in total]


def _wanda(model: SentryFuse, calibration: Calibration) -> StemScores:
    """|w| ||x|| summed over the weights that read a channel, with ||x|| over all samples and places."""
    counts = [[conv.out_channels for conv, _ in stem.convolutions()] for stem in model.stems]
    reading = [weights_of(stem)[1:] for stem in model.stems]
    with torch.no_grad(), _ChannelNorms({w.data_ptr(): n for ws, ns in zip(reading, counts) for w, n in zip(ws, ns)}) as norms:
        for chunk in calibration.chunks(model.gate.static.device):
            model(chunk.inputs)
    return [
        [_by_input(w.detach().abs(), n).sum(1) * norms.squares[w.data_ptr()].sqrt() for w, n in zip(ws, ns)]
        for ws, ns in zip(reading, counts)
    ]


class _ChannelNorms(TorchFunctionMode):
    """Sums the squares of what some weights read, by channel. Stems run on views of their weights, so these go by address."""

    def __init__(self, channels: dict[int, int]):
        super().__init__()
        self.channels = channels
        self.squares = {address: torch.zeros(n) for address, n in channels.items()}

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in (F.conv1d, F.conv2d, F.linear) and (address := args[1].data_ptr()) in self.channels:
            x = args[0].detach()
            self.squares[address] += x.reshape(len(x), self.channels[address], -1).square().sum((0, 2))
        return func(*args, **(kwargs or {}))
