"""The parts of a network that can be run instead of the whole: which sensors, which sizes of their stems, layers, units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

from .config import FuseConfig, FusionSize

ABSENT = "0"  # in a code; above it come the sizes of a stem, the whole one first
Mask = tuple[bool, ...]


class Subnetwork(NamedTuple):
    """What a plan runs. All of its weights are those of the whole network, so switching needs no retraining."""

    used: Mask  # (M,) the sensors that take part
    stems: tuple[int, ...]  # (M,) size of each tokeniser (`TokenizerConfig.at_size`); 0 where it is whole or not used
    layers: int  # the first so many layers of the backbone
    units_level: float  # pruning ratio that chooses the units in these layers

    @property
    def code(self) -> str:
        """One character per sensor: 0 absent, 1 with its whole stem, 2 with the first smaller one, and so on."""
        return "".join(str(size + 1) if here else ABSENT for here, size in zip(self.used, self.stems))

    @property
    def fusion_size(self) -> FusionSize:
        """What it keeps of the backbone."""
        return FusionSize(self.layers, self.units_level)


def whole_stems(config: FuseConfig, used: Sequence[bool], units_level: float) -> Subnetwork:
    """All layers and whole stems of the sensors used (M,), with the units of a ratio level."""
    return Subnetwork(tuple(map(bool, used)), (0,) * len(used), config.layers, units_level)


def of_code(code: str, size: FusionSize) -> Subnetwork:
    """Inverse of `Subnetwork.code`."""
    used = tuple(mark != ABSENT for mark in code)
    return Subnetwork(used, tuple(max(int(mark) - 1, 0) for mark in code), size.layers, size.ratio)


def all_codes(config: FuseConfig) -> Iterator[str]:
    """Codes of every choice of sensors and sizes of their stems, at least one sensor used."""
    counts = [2 + len(config.tokenizer[name].sizes) for name in config.names]
    for marks in product(*(range(count) for count in counts)):
        if any(marks):
            yield "".join(map(str, marks))
