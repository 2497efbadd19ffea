"""Training a caption head on a frozen model, over sets of sensors, their faults, subnetworks and pruning levels of the head."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import CheckpointError, ParameterError, SentryFuseError
from ..model.subnetwork import whole_stems
from ..validation import CHECKED_BY_RECORD, Count, NotNegative, Positive, Seed, Share, ShareBelowOne, check
from .checkpoint import CaptionCheckpoint
from .config import BEGIN, CaptionConfig
from .decoder import CaptionDecoder, Percepts
from .facts import Facts
from .grammar import compose, learned_chances
from .situations import Situation, Situations
from .vocabulary import Vocabulary
from .window_tokens import FrozenModel, WindowTokens

VALIDATED = 256  # windows of the validation loss
_WHAT, _REMEDY = "caption training", "correct the option of sentryfuse train-captions"
NO_WORD = -1  # in a batch of words, behind the end of a sentence


@dataclass(frozen=True)
class CaptionSchedule:
    """How a head is trained. Raises ParameterError on a value that a field cannot have."""

    steps: Count = 3000
    batch: Count = 96
    learning_rate: Positive = 1.5e-3
    warm_up: Count = 150  # steps in which the learning rate rises
    weight_decay: NotNegative = 0.05
    dropout: ShareBelowOne = 0.1
    noise: NotNegative = 0.1  # on the tokens, as a share of their deviation
    fewer_tokens: Share = 0.5  # chance that a step leaves out up to half of the tokens
    pruned: Share = 0.4  # chance that a step draws one of the head's levels, the whole head being one of them
    seed: Seed = 0
    # The learning rate falls to zero by then, if that is before the last step; inf sets no limit.
    stop_after_s: Annotated[float, CHECKED_BY_RECORD] = math.inf
    report_every: Count = 100

    def __post_init__(self) -> None:
        check(self, _WHAT, _REMEDY)
        if not self.stop_after_s > 0:
            raise ParameterError(f"{_WHAT} stop_after_s", self.stop_after_s, "a number above 0", _REMEDY)

    def rate(self, t: float, step: int) -> float:
        """Learning rate at the share ``t`` of the training."""
        return self.learning_rate * min(1.0, (step + 1) / self.warm_up) * (0.5 + 0.5 * math.cos(math.pi * min(t, 1.0)))


class StepReport(NamedTuple):
    """Mean loss per word since the last report, and that on the validation windows with all sensors."""

    step: int
    loss: float
    validation: float
    elapsed_s: float


class CaptionTrainer:
    """Trains on windows (n) with the facts of each, which come without sensors; ``validation`` windows are only looked at."""

    def __init__(
        self,
        frozen: FrozenModel,
        config: CaptionConfig,
        windows: WindowTokens,
        facts: Sequence[Facts],
        validation: tuple[WindowTokens, Sequence[Facts]],
        schedule: CaptionSchedule | None = None,
        situations: Situations | None = None,
    ):
        self.frozen, self.config, self.windows, self.facts = frozen, config, windows, facts
        self.schedule, self.situations = schedule or CaptionSchedule(), situations or Situations()
        torch.manual_seed(self.schedule.seed)
        self.decoder = CaptionDecoder(config, self.schedule.dropout).to(frozen.device)
        self.vocabulary = Vocabulary(config.words)
        self.rng = np.random.default_rng(self.schedule.seed)
        decayed = [p for p in self.decoder.parameters() if p.ndim > 1]
        others = [p for p in self.decoder.parameters() if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": self.schedule.weight_decay}, {"params": others, "weight_decay": 0.0}]
        self._validation = self._validation_batch(*validation)
        self.optimiser = torch.optim.AdamW(groups, self.schedule.learning_rate, betas=(0.9, 0.98))

    def start_from(self, head: CaptionCheckpoint) -> None:
        """Begin with the weights of a head of the same shape and words. Raises CheckpointError."""
        if head.config != self.config:
            own, other = self.config.to_dict(), head.config.to_dict()
            odd = next(name for name in own if own[name] != other[name])
            raise CheckpointError(f"caption head to start from, {odd}", other[odd], own[odd], "train a new one")
        self.decoder.load_state_dict({name: torch.tensor(values) for name, values in head.tensors.items()})

    def train(self, report: Callable[[StepReport], None] = lambda step: None) -> CaptionDecoder:
        """Train to the end of the schedule; returns the decoder in evaluation mode. Raises SentryFuseError where it diverges."""
        schedule, began_s = self.schedule, time.monotonic()
        losses: list[Tensor] = []
        for step in range(schedule.steps):
            elapsed_s = time.monotonic() - began_s
            t = max(step / schedule.steps, elapsed_s / schedule.stop_after_s)
            if t >= 1:
                break
            for group in self.optimiser.param_groups:
                group["lr"] = schedule.rate(t, step)
            losses.append(self._step())
            if (step + 1) % schedule.report_every == 0:
                report(StepReport(step + 1, _finite_mean(losses, step), self.validation_loss(), elapsed_s))
                losses = []
        if losses:
            _finite_mean(losses, step)
        return self.decoder.eval()

    def _step(self) -> Tensor:
        situation = self.situations.draw(self.frozen.config, self.rng)
        index = self._windows_with(situation)
        percepts, words = self._examples(situation, index, self.windows, self.facts, self.rng)
        percepts = self._disturbed(percepts)
        level = 0.0
        if self.rng.random() < self.schedule.pruned:
            level = self.config.ratio_levels[self.rng.integers(len(self.config.ratio_levels))]
        loss = word_loss(self.decoder.train(), percepts, words, level)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.decoder.parameters(), 1.0)
        self.optimiser.step()
        return loss.detach()

    @torch.no_grad()
    def validation_loss(self) -> float:
        """Loss per word of the whole head on validation windows, always the same sentences."""
        return float(word_loss(self.decoder.eval(), *self._validation, level=0.0))

    def _validation_batch(self, windows: WindowTokens, facts: Sequence[Facts]) -> tuple[Percepts, Tensor]:
        everyone = (True,) * len(self.config.modalities)
        situation = Situation(whole_stems(self.frozen.config, everyone, 0.0), everyone)
        index = np.unique(np.linspace(0, len(windows) - 1, min(len(windows), VALIDATED)).astype(np.int64))
        return self._examples(situation, index, windows, facts, np.random.default_rng(0))

    def _windows_with(self, situation: Situation) -> np.ndarray:
        """Windows in which the sensors that the part uses were live."""
        used = np.array(situation.part.used)
        index = self.rng.integers(len(self.windows), size=self.schedule.batch)
        good = index[self.windows.live[index][:, used].all(1)]
        return good if len(good) else index[:1]

    def _examples(
        self,
        situation: Situation,
        index: np.ndarray,
        windows: WindowTokens,
        facts: Sequence[Facts],
        rng: np.random.Generator,
    ) -> tuple[Percepts, Tensor]:
        names = self.frozen.config.names
        states = [situation.states(names, rng) for _ in index]
        percepts = self.frozen.percepts(windows, index, situation.part, [[row[n] for n in names] for row in states])
        sentences = [compose(facts[i].with_sensors(row), rng, mentioned=learned_chances(row)) for i, row in zip(index, states)]
        words = torch.from_numpy(self.vocabulary.batch(sentences, self.config.longest)).to(self.frozen.device)
        return percepts, words

    def _disturbed(self, percepts: Percepts) -> Percepts:
        """With noise on the tokens, and at times without some of them: drives are few, and their tokens must not be learned by
        heart."""
        noise = self.schedule.noise
        stem, fused = (x + noise * x.std() * torch.randn_like(x) for x in (percepts.stem, percepts.fused))
        percepts = percepts._replace(stem=stem, fused=fused)
        if self.rng.random() >= self.schedule.fewer_tokens:
            return percepts
        count = len(percepts.places)
        chosen = np.sort(self.rng.permutation(count)[: self.rng.integers(-(-count // 2), count + 1)])
        keep = torch.from_numpy(chosen).to(stem.device)
        return percepts._replace(stem=stem[:, keep], fused=fused[:, keep], places=percepts.places[keep])


def _finite_mean(losses: Sequence[Tensor], step: int) -> float:
    """The mean of the losses up to a step. Raises SentryFuseError where it is not finite."""
    mean = float(torch.stack(list(losses)).mean())
    if not math.isfinite(mean):
        raise SentryFuseError(f"caption training loss by step {step + 1}", mean, "a finite number", "lower the learning rate")
    return mean


def word_loss(decoder: CaptionDecoder, percepts: Percepts, words: Tensor, level: float) -> Tensor:
    """Mean cross-entropy of the next word. ``words`` (B, T) end with END and are filled up with NO_WORD."""
    before = torch.cat([torch.full_like(words[:, :1], BEGIN), words[:, :-1].clamp(min=0)], 1)
    logits = decoder(percepts, before, level)
    return F.cross_entropy(logits.flatten(0, 1), words.flatten(), ignore_index=NO_WORD)
