"""Teaching a router how wrong a picture's token becomes when its windows are reused or encoded by the light branch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ..streaming.branches import Branch, RouterInput, RouterWeights
from ..streaming.change_detection import ChangeDetector
from ..streaming.change_rule import ChangeRule
from ..streaming.stream_classifier import StreamResult
from ..streaming.window_encoder import WindowEncoder

HIDDEN, EPOCHS = 16, 400
STAY = 0.7  # chance that a drawn branch stays for the next picture


class PictureClassifier(Protocol):
    """What runs plain beside the branches: `StreamClassifier`, or another that tells a confidence."""

    def reset(self) -> None:
        """Forget every picture."""
        ...

    def update(self, picture: np.ndarray) -> StreamResult:
        """Take the next picture."""
        ...


class RouterExamples(NamedTuple):
    """What a router would have been told of n pictures, and what each branch would have led to."""

    features: np.ndarray  # (n, 5)
    errors: np.ndarray  # (n, 3) of the token after reuse, light and full, as a share of the tokens' spread


def router_examples(
    encoder: WindowEncoder,
    classifier: PictureClassifier,
    streams: Iterable[Sequence[np.ndarray]],
    rule: ChangeRule,
    seed: int = 0,
) -> RouterExamples:
    """Follow random branches through streams of pictures and note, at each picture, what each branch would have led to.

    ``classifier`` runs plain beside them and gives the confidence.
    """
    rng = np.random.default_rng(seed)
    light = encoder.sizes - 1
    features, tokens, dense_tokens = [], [], []
    for pictures in streams:
        detector = ChangeDetector(encoder.spec, encoder.options, rule, texture=True)
        classifier.reset()
        known, branch, confidence = encoder.encode(pictures[0]), Branch.FULL, 1.0
        for t, picture in enumerate(pictures):
            logits, step = classifier.update(picture)
            share = np.exp(logits - logits.max())
            before, confidence = confidence, float(share.max() / share.sum())
            detector.see(picture)
            if t == 0:
                detector.hold()
                continue
            change = detector.compare()
            changed = np.array(change.changed, np.int64)
            share, ratio = len(changed) / len(change.scores), float(rng.choice([0, 0.5]))
            told = RouterInput(change.top, share, change.texture, before, ratio)
            outcomes = [known]
            for size in (light, 0):
                outcomes.append(encoder.renew(known, picture, changed, size) if len(changed) else known)
            features.append(told.features())
            tokens.append([encoded.token for encoded in outcomes])
            dense_tokens.append(step.token)
            if rng.random() > STAY:
                branch = Branch(int(rng.integers(3)))
            if branch != Branch.REUSE:
                known = outcomes[branch]
                if len(changed):
                    detector.hold(change.changed)
    dense = np.array(dense_tokens)
    errors = np.sqrt((((np.array(tokens) - dense[:, None]) / dense.std(0)) ** 2).mean(-1))
    return RouterExamples(np.array(features, np.float32), errors)


def train_router(examples: RouterExamples, costs: tuple[float, float, float], seed: int = 0) -> RouterWeights:
    """A perceptron that expects how much worse reuse and light are than full, from what a router is told."""
    torch.manual_seed(seed)
    x = torch.from_numpy(examples.features)
    mean, scale = x.mean(0), x.std(0).clamp_min(1e-3)
    target = torch.from_numpy(np.maximum(examples.errors[:, :2] - examples.errors[:, 2:], 0)).float()
    hidden, out = nn.Linear(x.shape[1], HIDDEN), nn.Linear(HIDDEN, 2)
    optimiser = torch.optim.Adam([*hidden.parameters(), *out.parameters()], 1e-2)
    for _ in range(EPOCHS):
        found = F.softplus(out(torch.tanh(hidden((x - mean) / scale))))
        loss = F.smooth_l1_loss(found, target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    def rows(weights: torch.Tensor) -> list:
        values: list = weights.detach().double().round(decimals=5).tolist()
        return values

    return RouterWeights(rows(hidden.weight), rows(hidden.bias), rows(out.weight), rows(out.bias), rows(mean), rows(scale), costs)  # type: ignore[arg-type]  # the record turns lists into tuples
