"""Fits the trust tables of a model: what the windows that it is trained on look like (docs/TRUST.md).

Both tests of a table know the recordings, and the same windows in made-up weather. Their first limit is what validation windows
reach. The second lies beyond it by a margin, and by as much more as recordings under one condition (darkness, dust ...) were
beyond the limit of a table that was fitted without all recordings under that condition: so strange was weather that it had never
seen. For lies by degree, it is beyond what recordings reach that are held out in turn as well. The second limit of the distance
also lies beyond nearly all windows in made-up weather.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..preprocessing import ModalitySpec
from ..sensing.quantities import quantities
from ..sensing.trust_table import Suspicion, TrustTable, suspicion_terms
from ..sensor_kinds import sensor_kind
from .made_up_lies import MadeUpLie

MARGIN = 1.3  # between the limits of the distance at least, as a factor; each lie has its own, a difference of logits
EVEN = 0.0  # logit at which a window is as likely to be of the lie as of the training; below it nothing is masked
RARE = 0.0005  # of the windows of the training may lie beyond the first limit
LEFT_OUT_RARE = 0.01  # of the windows under a condition that was left out may lie beyond the second limit
LEFT_OUT_SPARE = 1.1
WEATHER_RARE = 0.001  # of the windows in made-up weather may lie beyond the second limit of the distance
LEAST_WINDOWS, LEAST_OF_TRAINING = 200, 50  # for a table: together with those for validation, and without
SAME = 0.99  # of the windows may have the same quantities at most, or nothing is known of how an honest sensor changes
LEAST_OF_CONDITION = 50  # for a condition to be left out
FOLDS = 5  # of which each is held out of a table once
MOST_WINDOWS = 6000
LEAST_SCALE = 0.03  # of a quantity; most are logarithms or shares, and a deviation of 3 % is small
FARTHEST = 3.0  # deviations that the honest windows farthest from what is usual are drawn in to
RIDGE = 0.03
PENALTY = 30.0  # on the weights of a suspicion
HALVINGS = 8
STEPS, FURTHER_STEPS = 10, 4  # of Newton's method, from nothing and from another table's weights
WEATHER_SHARE, LIE_SHARE = 0.5, 0.25  # copies in made-up weather, and copies with each lie, per window

Rows = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Windows:
    """n windows of one model input without mean and std.

    rows: indices (k,) -> (k, *spec.shape). validation (n,) bool: held out of training. conditions: name -> (n,) bool.
    """

    spec: ModalitySpec
    count: int
    rows: Rows
    validation: np.ndarray
    conditions: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Numbers:
    """Quantities of windows (n, q), and which window each row is of."""

    values: np.ndarray
    of: np.ndarray

    def at(self, chosen: np.ndarray) -> np.ndarray:
        """Those of the windows ``chosen`` (bool per window)."""
        return self.values[chosen[self.of]]


@dataclass(frozen=True)
class Measured:
    """The quantities ``names`` of windows: as they are, of some in made-up weather, and of some with each of the ``lies``."""

    names: tuple[str, ...]
    clean: Numbers
    weather: Numbers
    told: tuple[Numbers, ...]
    lies: tuple[MadeUpLie, ...]
    validation: np.ndarray
    conditions: Mapping[str, np.ndarray]


def fit_table(windows: Windows, seed: int = 0) -> TrustTable | None:
    """The table of one model input.

    None where its kind has no quantities, there are too few windows, or it hardly ever changed.
    """
    measured = measure(windows, seed)
    return None if measured is None else fit_measured(measured)


def fit_measured(measured: Measured, known: np.ndarray | None = None) -> TrustTable:
    """The table of the windows ``known`` (bool per window; None: all)."""
    known = np.ones(len(measured.validation), bool) if known is None else known
    table = _fit(measured, known)
    margin = max(MARGIN, _weather_reach(table, measured.weather.at(known)))
    logit_margins = np.maximum([lie.margin for lie in measured.lies], _held_out_reach(measured, known, table))
    for condition in measured.conditions.values():
        under, others = known & condition, known & ~condition
        if min(len(measured.clean.at(under)), len(measured.clean.at(others))) < LEAST_OF_CONDITION:
            continue
        other = _fit(measured, others, table)
        if not other.far:  # it changes under this condition only
            continue
        z = other.deviations(measured.clean.at(under))
        margin = max(margin, LEFT_OUT_SPARE * float(np.quantile(other.distances(z), 1 - LEFT_OUT_RARE)) / other.far)
        if measured.lies:
            reached = np.quantile(other.suspicions_of(z), 1 - LEFT_OUT_RARE, axis=1)
            logit_margins = np.maximum(logit_margins, reached - [s.far for s in other.suspicions])
    return replace(
        table,
        implausible=table.far * margin,
        suspicions=tuple(replace(s, implausible=max(s.far + float(m), EVEN)) for s, m in zip(table.suspicions, logit_margins)),
    )


def _held_out_reach(measured: Measured, known: np.ndarray, table: TrustTable) -> np.ndarray:
    """For each lie by degree, how far beyond the first limit nearly all windows are of recordings that a table does not know: a
    difference of logits. 0 for the other lies."""
    by_degree = np.array([lie.by_degree for lie in measured.lies], bool)
    if not by_degree.any():
        return np.zeros(len(by_degree))
    fold = np.zeros(len(known), int)
    for part in (measured.validation, ~measured.validation):
        fold[part] = np.arange(part.sum()) * FOLDS // max(part.sum(), 1)  # windows of one recording follow each other
    beyond = []
    for number in range(FOLDS):
        other = _fit(measured, known & (fold != number), table)
        logits = other.suspicions_of(other.deviations(measured.clean.at(known & (fold == number))))
        beyond.append(logits - np.array([s.far for s in other.suspicions])[:, None])
    return np.where(by_degree, np.quantile(np.hstack(beyond), 1 - RARE, axis=1), 0.0)


def _weather_reach(table: TrustTable, weather: np.ndarray) -> float:
    """How far out nearly all windows in made-up weather (n, q) are, as a multiple of the first limit of the distance."""
    if not len(weather):
        return 0.0
    return float(np.quantile(table.distances(table.deviations(weather)), 1 - WEATHER_RARE)) / table.far


def measure(windows: Windows, seed: int = 0) -> Measured | None:
    """What a table is fitted on; None where there is too little."""
    spec = replace(windows.spec, mean=(), std=())
    kind = sensor_kind(spec.kind)
    if kind.quantity_function() is None or windows.count < LEAST_WINDOWS:
        return None
    random = np.random.default_rng(seed)
    lies: tuple[MadeUpLie, ...] = kind.made_up_lies(spec)
    weather = kind.weather_function()
    rows: list[list[list[float]]] = [[] for _ in range(2 + len(lies))]
    of: list[list[int]] = [[] for _ in rows]
    names: tuple[str, ...] = ()
    # Each lie has its own, so that one more lie leaves the windows of the others as they are.
    own_random = [np.random.default_rng([seed, *lie.name.encode()]) for lie in lies]
    for place, x in _each(windows, random):
        copies: list[tuple[int, np.ndarray]] = [(0, x)]
        if weather is not None and random.random() < WEATHER_SHARE:
            copies.append((1, weather(spec, x, random)))
        if not windows.validation[place]:
            pairs = enumerate(zip(lies, own_random, strict=True))
            copies += [(2 + i, lie.tell(x, own)) for i, (lie, own) in pairs if own.random() < LIE_SHARE]
        for copy, changed in copies:
            found = quantities(spec, np.asarray(changed, np.float32))
            if found is not None:
                names = names or tuple(found)
                rows[copy].append(list(found.values()))
                of[copy].append(place)
    trained = ~windows.validation if not windows.validation.all() else windows.validation
    own = np.array([values for values, place in zip(rows[0], of[0]) if trained[place]], np.float64)
    if min(len(rows[0]) - LEAST_WINDOWS, len(own) - LEAST_OF_TRAINING) < 0:
        return None
    if (own == np.median(own, axis=0)).all(axis=1).mean() > SAME:
        return None
    numbers = [Numbers(np.array(v, np.float64).reshape(-1, len(names)), np.array(o, np.int64)) for v, o in zip(rows, of)]
    return Measured(names, numbers[0], numbers[1], tuple(numbers[2:]), lies, windows.validation, windows.conditions)


def _each(windows: Windows, random: np.random.Generator) -> Iterator[tuple[int, np.ndarray]]:
    index = np.arange(windows.count)
    if len(index) > MOST_WINDOWS:
        index = np.sort(random.choice(index, MOST_WINDOWS, replace=False))
    for start in range(0, len(index), 64):
        chunk = index[start : start + 64]
        yield from zip(chunk.tolist(), windows.rows(chunk), strict=True)


def _fit(measured: Measured, known: np.ndarray, start: TrustTable | None = None) -> TrustTable:
    """A table of the windows ``known`` (bool per window), whose second limits are still its first. ``start``: a table of similar
    windows, which saves time."""
    names, clean, validation = measured.names, measured.clean, measured.validation
    training = known & ~validation if (known & ~validation).any() else known
    own = clean.at(training)
    centre, scale = own.mean(axis=0), np.maximum(own.std(axis=0), LEAST_SCALE)
    usual = np.quantile(own, (0.005, 0.995), axis=0).T
    # A drop in the ground moves some of a LiDAR's heights by thirty deviations. The few windows that show one must not set the
    # limit of the distance for all the others. Made-up weather does not count here: it goes farther than any real one.
    farthest = (np.stack((own.min(axis=0), own.max(axis=0)), axis=1) - usual) / scale[:, None]
    reach = np.maximum(np.abs(farthest) / FARTHEST, 1.0)
    table = TrustTable(names, centre, scale, usual, reach, np.zeros(len(names)), np.eye(len(names)), 0.0, 0.0)
    z = table.deviations(np.concatenate((own, measured.weather.at(training))))
    near = table.in_reach(z)
    offset = near.mean(axis=0)
    whiten = np.linalg.cholesky(np.linalg.inv(_shrunk_covariance(near - offset) + RIDGE * np.eye(len(names))))
    table = replace(table, offset=offset, whiten=whiten)
    z_own, z_validation = table.deviations(own), table.deviations(clean.at(known & validation))
    both = [table.distances(z_own), table.distances(z_validation)]
    far = max(float(np.quantile(both[0], 1 - RARE)), float(both[1].max(initial=0.0)))
    suspicions = []
    for place, (lie, numbers) in enumerate(zip(measured.lies, measured.told, strict=True)):
        before = None if start is None else start.suspicions[place].weights
        weights = _logistic(suspicion_terms(z), suspicion_terms(table.deviations(numbers.at(training))), before)
        suspicions.append(Suspicion(lie.name, lie.text, weights, 0.0, 0.0, by_degree=lie.by_degree))
    table = replace(table, far=far, implausible=far, suspicions=tuple(suspicions), windows=len(own))
    if not suspicions:
        return table
    logits = np.quantile(table.suspicions_of(z_own), 1 - RARE, axis=1)
    held_out = table.suspicions_of(z_validation)
    limits = np.maximum(logits, held_out.max(axis=1)) if held_out.size else logits
    return replace(
        table, suspicions=tuple(replace(s, far=float(v), implausible=float(v)) for s, v in zip(table.suspicions, limits))
    )


def _shrunk_covariance(z: np.ndarray) -> np.ndarray:
    """Covariance of rows (n, q) with mean 0, shrunk towards a multiple of the unit matrix (Ledoit and Wolf 2004)."""
    n, q = z.shape
    sample = z.T @ z / n
    mean = float(np.trace(sample)) / q
    spread = float(((sample - mean * np.eye(q)) ** 2).sum()) / q
    noise = float((((z * z).sum(axis=1) ** 2).mean() - (sample**2).sum()) / n / q)
    share = min(max(noise / max(spread, 1e-12), 0.0), 1.0)
    return np.asarray(share * mean * np.eye(q) + (1 - share) * sample)


def _logistic(no: np.ndarray, yes: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
    """Weights (t,) of a logistic regression between rows (n, t) and (m, t), both sides counting alike, by Newton's method."""
    terms = np.concatenate((no, yes))
    target = np.repeat([0.0, 1.0], (len(no), len(yes)))
    count = np.repeat([0.5 / max(len(no), 1), 0.5 / max(len(yes), 1)], (len(no), len(yes))) * len(terms)
    penalty = np.full(terms.shape[1], PENALTY)
    penalty[-1] = 1e-6

    def loss(at: np.ndarray) -> float:
        logits = terms @ at
        return float(count @ (np.logaddexp(0, logits) - target * logits) + 0.5 * penalty @ (at * at))

    weights = np.zeros(terms.shape[1]) if start is None else start
    least = loss(weights)
    for _ in range(STEPS if start is None else FURTHER_STEPS):
        p = 1 / (1 + np.exp(-np.clip(terms @ weights, -30, 30)))
        gradient = terms.T @ (count * (p - target)) + penalty * weights
        curvature = (terms * (count * p * (1 - p))[:, None]).T @ terms + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        for _ in range(HALVINGS):  # far from the minimum a whole step may lead away from it
            if (now := loss(weights - step)) <= least:
                weights, least = weights - step, now
                break
            step = step / 2
    return weights
