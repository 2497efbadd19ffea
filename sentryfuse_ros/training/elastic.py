"""The second stage of a training: parts of the network learn to answer in place of the whole.

A plan may run smaller stems, fewer layers and fewer sensors than the network has (`model.subnetwork`). Cut out of a network
that was trained as a whole, such a part guesses; so every batch trains the whole network and one part of it that was drawn at
random. Both imitate the network of the first stage, which no longer changes, and both still learn from the labels
(Yu and Huang, Universally Slimmable Networks, arXiv 1903.05134, distil from the network itself; a frozen one was steadier here).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from ..model.config import FuseConfig
from ..model.subnetwork import Mask, Subnetwork
from ..validation import NotNegative, Positive, Rule, Share, ShareBelowOne, check

_Whole = Annotated[int, Rule(lambda v: v >= 0, "a whole number of 0 or more")]


@dataclass(frozen=True)
class Elastic:
    """How the second stage trains. The schedule of the first one holds for it too, without the rise of its pruning ratio."""

    epochs: _Whole = 0  # 0 leaves the stage out
    learning_rate: Positive = 3e-4  # a higher one costs the whole network its accuracy
    imitate: NotNegative = 1.0  # weight of the divergence from the network of the first stage, on windows of one label
    labels: NotNegative = 0.2  # weight of the loss on the labels
    # Share of the weights that the stage began with in those that ship: for a network that was elastic already and is trained on.
    # The mean of both keeps more of what the old one knew (Wortsman et al., Robust fine-tuning, arXiv 2109.01903).
    start_share: ShareBelowOne = 0.0
    whole_stems: Share = 0.2  # chance that the drawn part has whole stems
    least_stems: Share = 0.2  # chance that it has the smallest ones; otherwise each sensor draws its own size

    def __post_init__(self) -> None:
        check(self, "training recipe elastic", "correct the training YAML")

    def draw(self, config: FuseConfig, mask: Mask, ratio: float, rng: np.random.Generator) -> Subnetwork:
        """The part to train in a batch with a mask (M,): all sensors of the mask, stems and backbone at random.

        Half of the backbones are those that a plan chosen by time may run, half have all layers at ``ratio``, which plans that
        go by FLOPs run.
        """
        counts = [1 + len(config.tokenizer[name].sizes) for name in config.names]
        u = rng.random()
        stems = [int(rng.integers(count)) for count in counts]
        if u < self.whole_stems:
            stems = [0] * len(counts)
        elif u < self.whole_stems + self.least_stems:
            stems = [count - 1 for count in counts]
        stems = [size if here else 0 for size, here in zip(stems, mask)]
        layers, level = config.fusion_sizes[rng.integers(len(config.fusion_sizes))]
        if rng.random() < 0.5:
            layers, level = config.layers, ratio
        return Subnetwork(mask, tuple(stems), layers, level)
