"""Which sensors work, and which part of the network runs: drawn at random, so that a head has seen what a robot may meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..model.config import FuseConfig
from ..model.subnetwork import Subnetwork, whole_stems
from ..training.elastic import Elastic
from .facts import RESTING, SENSOR_STATES, USED

FAULTS = SENSOR_STATES[2:]


class Situation(NamedTuple):
    """A subnetwork, and which of the sensors that it does not use are live all the same: those rest."""

    part: Subnetwork
    live: tuple[bool, ...]

    def states(self, names: Sequence[str], rng: np.random.Generator) -> dict[str, str]:
        """States of the sensors by name; those that are not live have faults at random."""
        found = {}
        for name, used, live in zip(names, self.part.used, self.live):
            found[name] = USED if used else RESTING if live else FAULTS[int(rng.integers(len(FAULTS)))]
        return found


@dataclass(frozen=True)
class Situations:
    """Chances. The number of sensors that are not live: index 0 none, 1 one, and so on."""

    not_live: tuple[float, ...] = (0.5, 0.3, 0.13, 0.07)
    rests: float = 0.25  # chance that the plan leaves out some of the live sensors
    whole: float = 0.3  # chance of the whole stems, layers and units of the sensors that are used
    highest_ratio: float = 0.8

    def draw(self, config: FuseConfig, rng: np.random.Generator) -> Situation:
        """A situation with at least one sensor in use."""
        count = len(config.names)
        chances = np.array(self.not_live[:count]) / sum(self.not_live[:count])
        live = np.ones(count, bool)
        live[rng.permutation(count)[: rng.choice(len(chances), p=chances)]] = False
        used = live.copy()
        if live.sum() > 1 and rng.random() < self.rests:
            resting = rng.permutation(np.flatnonzero(live))[: rng.integers(1, live.sum())]
            used[resting] = False
        mask = tuple(used.tolist())
        if rng.random() < self.whole:
            part = whole_stems(config, mask, 0.0)
        else:
            part = Elastic().draw(config, mask, float(rng.uniform(0, self.highest_ratio)), rng)
        return Situation(part, tuple(live.tolist()))
