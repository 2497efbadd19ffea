"""The usual zero-shot pruning criteria as scores of heads and FFN channels, for comparison with SentryGate.

    random   by seed
    l1, l2   sum of |w|, of w^2, over the unit's weights (Han et al., arXiv 1506.02626)
    wanda    |w| times the norm of its input over the calibration batch (Sun et al., arXiv 2306.11695), summed over the
             weights that read the unit, as its structured form Wanda-sp does (An et al., arXiv 2312.11983)
    snip     |w dL/dw| summed over the unit's weights (Lee et al., arXiv 1810.02340)
    taylor   |activation * gradient| summed over the unit per sample, then averaged (Molchanov et al., arXiv 1611.06440,
             1906.10771)
    oracle   taylor measured with the very mask that the plan is for, which takes as many passes as there are masks
    torch_pruning_magnitude, torch_pruning_taylor   importance by that library, see library.py

All but oracle are measured once, with all sensors live, on data of the training split, and know nothing of the mask. The weights
of a head are its rows of the query, its columns of the output, and its share of the K/V rows that its group has in common, so
that heads add up to their group; the weights of a channel are its row of up and its column of down. Biases do not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.model.block import Block
from sentryfuse_ros.model.fuse import SentryFuse
from sentryfuse_ros.model.gate import Scores
from sentryfuse_ros.pruning.saliency import unit_scales
from sentryfuse_ros.training.examples import Examples

CRITERIA = ("random", "l1", "l2", "wanda", "snip", "taylor", "oracle", "torch_pruning_magnitude", "torch_pruning_taylor")
WITHOUT_DATA = ("random", "l1", "l2", "torch_pruning_magnitude")
CHUNK = 64  # samples in one pass


class Calibration(NamedTuple):
    """Samples that criteria are measured on."""

    inputs: Mapping[str, Tensor]  # name -> (n, *spec.shape), normalised
    labels: Tensor  # (n,) class ids

    @classmethod
    def draw(cls, examples: Examples, specs: Sequence, count: int = 256, seed: int = 0) -> Calibration:
        """``count`` of the examples, or all where there are fewer, drawn by seed and not augmented."""
        index = np.sort(np.random.default_rng(seed).permutation(len(examples))[:count])
        inputs = {name: torch.from_numpy(x) for name, x in examples.inputs(index, specs).items()}
        return cls(inputs, torch.from_numpy(np.asarray(examples.labels)[index]))

    def chunks(self, device: torch.device) -> Iterator[Calibration]:
        """All samples, `CHUNK` of them at a time."""
        for start in range(0, len(self.labels), CHUNK):
            part = slice(start, start + CHUNK)
            yield Calibration({n: x[part].to(device) for n, x in self.inputs.items()}, self.labels[part].to(device))


NO_SAMPLES = Calibration({}, torch.empty(0, dtype=torch.int64))


def unit_scores(
    criterion: str, model: SentryFuse, calibration: Calibration | None = None, mask: Sequence[bool] | None = None, seed: int = 0
) -> Scores:
    """Heads (sites, H) and channels (sites, C) as `slicing.choose_plan` takes them; higher stays longer.

    Only oracle uses ``mask`` (M,), and only random uses ``seed``. Heads and channels each have mean 1, except for random, which
    is uniform. Raises ParameterError on an unknown criterion, or where its calibration or mask is missing.
    """
    if criterion not in CRITERIA:
        raise ParameterError("pruning criterion", criterion, "one of " + ", ".join(CRITERIA))
    data = NO_SAMPLES if calibration is None else calibration
    if criterion not in WITHOUT_DATA and not len(data.labels):
        raise ParameterError(f"pruning criterion {criterion}", "no calibration samples", "some of the training split")
    if criterion == "oracle" and mask is None:
        raise ParameterError("pruning criterion oracle", "no mask", "the mask that the plan is for")
    with evaluating(model):
        if criterion == "random":
            return random_scores(model, seed)
        if criterion.startswith("torch_pruning"):
            from .library import library_scores

            return library_scores(model, loss_gradients(model, data) if criterion.endswith("taylor") else None)
        if criterion in ("l1", "l2"):
            scores = magnitude_scores(model, int(criterion[1]))
        elif criterion == "wanda":
            scores = wanda_scores(model, data)
        elif criterion == "snip":
            scores = snip_scores(model, data)
        else:
            scores = taylor_scores(model, data, mask if criterion == "oracle" else None)
    heads, channels = (s / s[s.sum(1) > 0].mean().nan_to_num(0).clamp_min(1e-12) for s in scores)
    return heads, channels


def random_scores(model: SentryFuse, seed: int) -> Scores:
    """Uniform in 0 to 1, and the same for a seed on any device."""
    generator = torch.Generator().manual_seed(seed)
    heads, channels = (
        [torch.rand(n, generator=generator) for n in counts]
        for counts in zip(*((_heads(b), b.up.out_features) for b in model.backbone.blocks))
    )
    device = _device(model)
    return torch.stack(heads).to(device), torch.stack(channels).to(device)


def magnitude_scores(model: SentryFuse, power: int) -> Scores:
    """Sum of |w| ** power over the weights of a unit; without a root for 2, so that heads add up to their group."""
    return _stack(unit_sums(b, *(w.detach().abs() ** power for w in weights_of(b))) for b in model.backbone.blocks)


def snip_scores(model: SentryFuse, calibration: Calibration) -> Scores:
    """Sum of |w dL/dw| over the weights of a unit, where L is the mean cross-entropy over all samples."""
    gradients = loss_gradients(model, calibration)
    return _stack(
        unit_sums(b, *((w.detach() * g).abs() for w, g in zip(weights_of(b), gs)))
        for b, gs in zip(model.backbone.blocks, gradients)
    )


def wanda_scores(model: SentryFuse, calibration: Calibration) -> Scores:
    """Sum of |w| ||x|| over the columns of the output (down) projection that read a head (channel), with x over all tokens."""
    reading = [w for b in model.backbone.blocks for w in (b.attention.out.weight, b.down.weight)]
    with torch.no_grad(), _InputNorms(reading) as norms:
        for chunk in calibration.chunks(_device(model)):
            model(chunk.inputs)
    scores = [(w.detach().abs() * norms.squares(w).sqrt()).sum(0) for w in reading]
    heads = [s.view(_heads(b), -1).sum(1) for b, s in zip(model.backbone.blocks, scores[::2])]
    return torch.stack(heads), torch.stack(scores[1::2])


def taylor_scores(model: SentryFuse, calibration: Calibration, mask: Sequence[bool] | None = None) -> Scores:
    """Mean over samples of |dL/dm| for a multiplier m = 1 on the output of a unit, which is activation times gradient, summed.

    The absolute value is taken per sample, because opposite signs would cancel if they were averaged first. Sites that do not run
    with ``mask`` have 0.
    """
    total: list[Tensor] = []
    count = len(calibration.labels)
    for chunk in calibration.chunks(_device(model)):
        scales = unit_scales(model.config, len(chunk.labels), _device(model))
        loss = F.cross_entropy(model(chunk.inputs, mask, scales=scales).logits, chunk.labels, reduction="sum")
        flat = [m for site in scales for m in site]
        gradients = torch.autograd.grad(loss, flat, allow_unused=True)
        sums = [torch.zeros_like(m[0]) if g is None else g.abs().sum(0) for m, g in zip(flat, gradients)]
        total = sums if not total else [a + b for a, b in zip(total, sums)]
    return torch.stack(total[::2]) / count, torch.stack(total[1::2]) / count


def weights_of(block: Block) -> tuple[Tensor, ...]:
    """The prunable weights of a block: query, K/V, output, up, down."""
    a = block.attention
    return a.query.weight, a.kv.weight, a.out.weight, block.up.weight, block.down.weight


def unit_sums(block: Block, query: Tensor, kv: Tensor, out: Tensor, up: Tensor, down: Tensor) -> Scores:
    """Sums per head (H,) and per channel (C,) of numbers per weight, which have the shapes of `weights_of`."""
    heads, groups = _heads(block), block.attention.groups
    shared = kv.view(2, groups, -1).sum((0, 2)) / (heads // groups)
    of_heads = query.reshape(heads, -1).sum(1) + out.sum(0).view(heads, -1).sum(1) + shared.repeat_interleave(heads // groups)
    return of_heads, up.sum(1) + down.sum(0)


def loss_gradients(model: SentryFuse, calibration: Calibration) -> list[tuple[Tensor, ...]]:
    """Gradients of the mean cross-entropy over all samples with all sensors live, for the `weights_of` each block."""
    weights = [w for b in model.backbone.blocks for w in weights_of(b)]
    total = [torch.zeros_like(w) for w in weights]
    wanted = [w.requires_grad for w in weights]
    for w in weights:
        w.requires_grad_(True)
    try:
        for chunk in calibration.chunks(_device(model)):
            loss = F.cross_entropy(model(chunk.inputs).logits, chunk.labels, reduction="sum") / len(calibration.labels)
            for sum_, g in zip(total, torch.autograd.grad(loss, weights, allow_unused=True)):
                if g is not None:
                    sum_ += g
    finally:
        for w, before in zip(weights, wanted):
            w.requires_grad_(before)
    return [tuple(total[i : i + 5]) for i in range(0, len(total), 5)]


class _InputNorms(TorchFunctionMode):
    """Sums the squares of the inputs of some weights. Blocks run on bare tensors, where module hooks see nothing."""

    def __init__(self, weights: Sequence[Tensor]):
        super().__init__()
        self._squares = {id(w): torch.zeros(w.shape[1], device=w.device) for w in weights}

    def squares(self, weight: Tensor) -> Tensor:
        """Sum over all samples and tokens, per input (in,)."""
        return self._squares[id(weight)]

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is F.linear and id(args[1]) in self._squares:
            self._squares[id(args[1])] += args[0].detach().square().flatten(0, -2).sum(0)
        return func(*args, **(kwargs or {}))


def _heads(block: Block) -> int:
    return block.attention.query.out_features // block.attention.head_dim


def _device(model: SentryFuse) -> torch.device:
    return model.gate.static.device


def _stack(pairs: Iterator[Scores]) -> Scores:
    heads, channels = zip(*pairs)
    return torch.stack(heads), torch.stack(channels)


@contextmanager
def evaluating(model: SentryFuse) -> Iterator[None]:
    """Run without dropout, and with gradients whatever the caller has set."""
    was = model.training
    model.eval()
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        model.train(was)
