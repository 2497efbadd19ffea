"""Trains a network whose parts can stand in for it; `elastic.py` says how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ParameterError
from ..model.config import FuseConfig
from ..model.fuse import SentryFuse, Tokens
from ..model.saved import weights_digest
from ..model.subnetwork import Subnetwork
from ..preprocessing import ModalitySpec
from ..pruning.slicing import as_arrays, gate_scores, slice_weights
from ..pruning.units import SiteKeep, subnetwork_units
from .distributed import Distributed
from .examples import Examples
from .metrics import StepLosses
from .recipe import Recipe
from .trainer import Batch, Trainer

_REMEDY = "give the recipe that this network was trained by"
RANKED_ON = 512  # examples from which the channels of the stems get their order


class ElasticTrainer(Trainer):
    """Starts from the network of the first stage, whose gate it keeps as it is.

    ``whole``: that network. Raises ParameterError where the recipe describes another one. A subclass may order or choose the
    parts in another way: it overrides `channel_saliency` or `units`.
    """

    NAME = "elastic stage"
    UNUSED: tuple[str, ...] = ()

    def __init__(
        self,
        recipe: Recipe,
        examples: Examples,
        classes: Sequence[str],
        whole: SentryFuse,
        distributed: Distributed | None = None,
    ):
        self.elastic, self.whole = recipe.elastic, whole
        stage = replace(recipe, epochs=recipe.elastic.epochs, learning_rate=recipe.elastic.learning_rate)
        super().__init__(stage, examples, classes, distributed)
        self.whole = whole.to(self.device).eval().requires_grad_(False)
        self._start = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}

    @torch.no_grad()
    def shipped_network(self) -> SentryFuse:
        """The averaged network, blended with the one that the stage began with by the recipe's `start_share`."""
        for name, tensor in self.ema_model.state_dict().items():
            if tensor.is_floating_point():
                tensor.lerp_(self._start[name], self.elastic.start_share)
        return self.ema_model

    def first_network(self, classes: Sequence[str]) -> SentryFuse:
        """The network of the first stage, in the sizes of the recipe, its stems' channels sorted by what they matter."""
        _check_inputs_and_classes(self.whole, self.recipe.specs, classes)
        before = self.whole.config
        modalities = [spec.to_dict() for spec in before.modalities]
        config = FuseConfig.from_dict({**self.recipe.model, "modalities": modalities, "classes": before.classes})
        model = SentryFuse(config)
        _check_same_shapes(self.whole, model)
        model.load_state_dict(self.whole.state_dict())
        for stem, saliency in zip(model.stems, self.channel_saliency(model)):
            stem.sort_channels(saliency)
        return model

    def channel_saliency(self, model: SentryFuse) -> list[list[Tensor]]:
        """Mean |dL/dm| of a multiplier m = 1 on every channel, per tokeniser and convolution; see `pruning.saliency`."""
        rng = np.random.default_rng(self.recipe.seed)
        index = np.sort(rng.choice(len(self.examples), min(RANKED_ON, len(self.examples)), replace=False))
        model.eval()
        total: list[list[Tensor]] | None = None
        for start in range(0, len(index), self.recipe.batch):
            chosen = index[start : start + self.recipe.batch]
            inputs = {n: torch.from_numpy(x) for n, x in self.examples.inputs(chosen, model.config.modalities).items()}
            scales = [stem.unit_scales(len(chosen)) for stem in model.stems]
            parts = [model.tokens_of(i, inputs[name], 0, scales[i]) for i, name in enumerate(model.config.names)]
            everyone = tuple(range(len(parts)))
            tokens = Tokens(torch.cat([x for x, _ in parts], 1), torch.cat([empty for _, empty in parts], 1), everyone)
            labels = torch.from_numpy(self.examples.labels[chosen])
            F.cross_entropy(model.fuse(tokens).logits, labels, reduction="sum").backward()
            found = [[s.grad.abs().sum(0) for s in own if s.grad is not None] for own in scales]
            total = found if total is None else [[a + b for a, b in zip(x, y)] for x, y in zip(total, found)]
        model.zero_grad(set_to_none=True)
        assert total is not None
        return total

    @property
    def begins_with(self) -> dict[str, str]:
        return {"network of the first stage": weights_digest(self.whole)}

    @property
    def gate_learns(self) -> bool:
        return False

    def units(self, part: Subnetwork) -> list[SiteKeep]:
        """Units that stay in the sites of a part."""
        scores = as_arrays(gate_scores(self.model, part.used))
        return subnetwork_units(self.model.config, self.model.lengths, part, scores)

    def _step(self, batch: Batch, t: float, rng: np.random.Generator) -> StepLosses:
        schedule, model = self.recipe.schedule, self.model
        for group in self.optimiser.param_groups:
            group["lr"] = group["base_lr"] * schedule.learning_rate(t)
        with torch.no_grad():
            wanted = F.log_softmax(self.whole(batch.inputs, batch.mask).logits, 1)
        full = model(batch.inputs, batch.mask).logits

        part = self.elastic.draw(model.config, batch.mask, float(rng.uniform(0, schedule.ratio_max)), rng)
        weights = slice_weights(model, self.units(part))
        pruned = model.fuse(model.tokens(batch.inputs, part.used, part.stems), weights).logits

        losses = [self.cross_entropy(logits, batch.labels) for logits in (full, pruned)]
        apart = [self._divergence(logits, wanted, batch.steady) for logits in (full, pruned)]
        loss = self.elastic.labels * (losses[0] + losses[1]) + self.elastic.imitate * (apart[0] + apart[1])
        found = StepLosses(losses[0].item(), losses[1].item(), apart[1].item(), float("nan"), float("nan"))
        if not torch.isfinite(loss):
            return found
        return found._replace(gradient=self._descend(loss, None, batch.mask, t))

    @staticmethod
    def _divergence(logits: Tensor, wanted: Tensor, steady: Tensor) -> Tensor:
        """Mean KL divergence of an answer (B, classes) from the one that is wanted, where the label holds throughout the window.

        In the others the network of the first stage, if it was trained without them, knows no better than the label before.
        """
        each = F.kl_div(F.log_softmax(logits, 1), wanted, log_target=True, reduction="none").sum(1)
        return (each * steady).mean()


def _check_inputs_and_classes(whole: SentryFuse, specs: Sequence[ModalitySpec], classes: Sequence[str]) -> None:
    """Raises ParameterError where the network of the first stage has other inputs than a recipe or other classes than its data.

    Its own means and deviations are kept.
    """
    for what, seen, expected in (
        ("modalities", list(whole.config.names), [spec.name for spec in specs]),
        ("classes", list(whole.config.classes), list(classes)),
        *(
            (f"modality {now.name!r}", before.window_dict(), now.window_dict())
            for before, now in zip(whole.config.modalities, specs)
        ),
    ):
        if seen != expected:
            raise ParameterError(f"{what} of the network of the first stage", seen, expected, _REMEDY)


def _check_same_shapes(whole: SentryFuse, model: SentryFuse) -> None:
    before, now = whole.state_dict(), model.state_dict()
    differs = sorted({n for n in {*before, *now} if n not in before or n not in now or before[n].shape != now[n].shape})
    if differs:
        raise ParameterError("network of the first stage", f"another shape of {differs[0]}", "the recipe's network", _REMEDY)
