"""The branches of a camera's encoder, and the routers that choose one for every picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, Protocol

import numpy as np

from ..errors import ParameterError
from ..validation import Count, NotNegative, Positive, Share, check


class Branch(IntEnum):
    """What is done with a picture."""

    REUSE = 0  # the token of the picture before stands for it
    LIGHT = 1  # its changed windows go through the smallest size of the encoder
    FULL = 2  # its changed windows go through the whole encoder


_BRANCHES = tuple(Branch)


class RouterInput(NamedTuple):
    """What a router is told of a picture; `features` lists the same numbers."""

    change: float  # mean of the largest patch scores; above 1 counts as changed
    changed_share: float  # of the windows
    texture: float  # `Change.texture`
    confidence: float  # of the prediction before
    ratio: float  # pruning ratio in force

    def features(self) -> tuple[float, float, float, float, float]:
        """The same, changes on a logarithmic scale."""
        return math.log1p(self.change), self.changed_share, self.texture, self.confidence, self.ratio


class Router(Protocol):
    """Chooses a branch for every picture of a stream."""

    def choose(self, given: RouterInput) -> Branch:
        """The branch of the next picture."""
        ...

    def reset(self) -> None:
        """Forget the pictures before."""
        ...


class AlwaysFull:
    """Every picture takes the whole encoder: change detection alone."""

    def choose(self, given: RouterInput) -> Branch:
        return Branch.FULL

    def reset(self) -> None:
        pass


@dataclass(frozen=True)
class Steadiness:
    """What keeps a router from going back and forth."""

    dwell_pictures: Count = 3  # a cheaper branch is taken only after none but cheaper ones were wanted, so many pictures in a row
    margin: NotNegative = 0.3  # how much better another branch must be: a share of a threshold, or a difference of costs

    def __post_init__(self) -> None:
        check(self, "router steadiness", "correct the streaming section")


class _Dwell:
    """Goes to a dearer branch at once, and to a cheaper one when none but cheaper ones have been wanted for a while: it takes the
    one that is wanted then. The first wish is granted."""

    def __init__(self, pictures: int):
        self._pictures = pictures
        self.reset()

    def reset(self) -> None:
        self.branch, self._wanted = Branch.FULL, self._pictures - 1

    def settle(self, wanted: Branch) -> Branch:
        self._wanted = self._wanted + 1 if wanted < self.branch else 0
        if wanted > self.branch or self._wanted >= self._pictures:
            self.branch, self._wanted = wanted, 0
        return self.branch


@dataclass(frozen=True)
class Thresholds:
    """Changes from which on a picture is worth a branch."""

    light: Positive = 1.5
    full: Positive = 3.0


class ThresholdRouter:
    """The control: fixed thresholds on the change, which rise with the pruning ratio, with hysteresis and dwell."""

    def __init__(self, thresholds: Thresholds | None = None, steadiness: Steadiness | None = None):
        self._thresholds, self._steadiness = thresholds or Thresholds(), steadiness or Steadiness()
        self._dwell = _Dwell(self._steadiness.dwell_pictures)

    def reset(self) -> None:
        self._dwell.reset()

    def choose(self, given: RouterInput) -> Branch:
        # A branch that is in force is left only where the change is clearly below its threshold.
        ease = 1 - min(self._steadiness.margin, 0.9)
        at = self._dwell.branch
        wanted, change = Branch.REUSE, given.change / (1 + given.ratio)
        if change > self._thresholds.light * (ease if at >= Branch.LIGHT else 1):
            wanted = Branch.LIGHT
        if change > self._thresholds.full * (ease if at >= Branch.FULL else 1):
            wanted = Branch.FULL
        return self._dwell.settle(wanted)


@dataclass(frozen=True)
class RouterWeights:
    """A learned router: a small perceptron that expects the error of each branch, and what a branch costs."""

    hidden: tuple[tuple[float, ...], ...]  # (h, 5) on the features less ``mean`` over ``scale``
    hidden_bias: tuple[float, ...]
    out: tuple[tuple[float, ...], ...]  # (2, h): expected error of reuse and of light
    out_bias: tuple[float, float]
    mean: tuple[float, ...]  # (5,)
    scale: tuple[float, ...]
    costs: tuple[float, float, float]  # of the branches, in units of error

    def __post_init__(self) -> None:
        what, remedy = "router weights", "take them from the training again"
        check(self, what, remedy)
        units, features = len(self.hidden), len(RouterInput._fields)
        for name, rows, columns in (("hidden", units, features), ("out", 2, units)):
            widths = [len(row) for row in getattr(self, name)]
            if widths != [columns] * rows:
                raise ParameterError(f"{what} {name}", f"rows of {widths}", f"{rows} rows of {columns} numbers", remedy)
        for name, count in (("hidden_bias", units), ("mean", features), ("scale", features)):
            if len(getattr(self, name)) != count:
                raise ParameterError(f"{what} {name}", f"{len(getattr(self, name))} numbers", f"{count} numbers", remedy)
        if min(self.scale) <= 0:
            raise ParameterError(f"{what} scale", min(self.scale), "numbers above 0", remedy)


class LearnedRouter:
    """Takes the branch with the least expected error plus cost, which rises with the pruning ratio; leaving the branch in force
    costs ``margin`` more."""

    def __init__(self, weights: RouterWeights, steadiness: Steadiness | None = None):
        steadiness = steadiness or Steadiness()
        self._dwell = _Dwell(steadiness.dwell_pictures)
        self._costs, self._out_bias, self._margin = weights.costs, weights.out_bias, steadiness.margin
        # By hidden unit: what it makes of each feature, its bias, and what it adds to the two outputs.
        hidden = np.array(weights.hidden) / np.array(weights.scale)
        bias = np.array(weights.hidden_bias) - hidden @ np.array(weights.mean)
        self._units = [tuple(unit) for unit in np.column_stack([hidden, bias, np.array(weights.out).T]).tolist()]

    def reset(self) -> None:
        self._dwell.reset()

    def choose(self, given: RouterInput) -> Branch:
        (of_reuse, of_light, of_full), dearness = self._costs, 1 + given.ratio
        reuse, light = self.expected_errors(given)
        total = [reuse + of_reuse * dearness, light + of_light * dearness, of_full * dearness]
        total[self._dwell.branch] -= self._margin
        return self._dwell.settle(_BRANCHES[total.index(min(total))])

    def expected_errors(self, given: RouterInput) -> tuple[float, float]:
        """Of reuse and of light, beyond that of full."""
        change, share, texture, confidence, ratio = given
        change = math.log1p(change)  # as in `RouterInput.features`
        reuse, light = self._out_bias
        # With caches cold, so few numbers take half as long in Python as the handful of calls of numpy that they would take.
        for a, b, c, d, e, bias, of_reuse, of_light in self._units:
            unit = math.tanh(a * change + b * share + c * texture + d * confidence + e * ratio + bias)
            reuse += of_reuse * unit
            light += of_light * unit
        return softplus(reuse), softplus(light)


def softplus(x: float) -> float:
    """log(1 + exp(x)), for any x."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


@dataclass(frozen=True)
class BranchShare:
    """How often each branch was taken, and how often it changed."""

    reuse: Share
    light: Share
    full: Share
    switches_per_s: NotNegative


def branch_share(branches: np.ndarray, rate_hz: float) -> BranchShare:
    """Of the branches of successive pictures (n,), n at least 1."""
    shares = np.bincount(branches, minlength=3) / len(branches)
    switches = np.count_nonzero(np.diff(branches)) / max(len(branches) - 1, 1)
    return BranchShare(float(shares[0]), float(shares[1]), float(shares[2]), float(switches * rate_hz))
