"""What the inputs of a model look like, one table per model input, and how far a window is from that.

A table is fitted on windows of the training recordings (`training.trust`) and read from the checkpoint. It holds two tests of the
`quantities` of a window:

- the *distance*: how unusual the quantities are together, as the Mahalanobis distance over the square root of their number;
- one *suspicion* for each known lie: a linear function of the quantities, their squares and their sizes, in logits.

Each has two limits. Above the first, the window is FAR: stranger than any of the recordings that the table was fitted on, which
weather can be, too. Above the second, it is IMPLAUSIBLE: stranger than unknown weather was seen to be.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..errors import CheckpointError, ParameterError
from ..preprocessing import ModalitySpec
from .quantities import Quantities, number, quantity_names, text_of

CLIP = 1000.0  # deviations; farther than this is equally far
SUSPICION_CLIP = 8.0
DISPROVED = -2.0  # logit of a known lie; of windows below it, seven times as many are of the training as of the lie
# What a trust file may tell under "measured": how the tables did on recordings that they were not fitted on.
MEASURED = ("lies", "lies_flagged", "worst_lie_vs_unplugged_points", "false_mask_share", "false_mask_share_new_nuisance")
_FORMAT_VERSION = 1
_AGAIN = "make the table again with sentryfuse trust"


class Plausibility(enum.IntEnum):
    """Verdict on one window."""

    NEAR = 0
    FAR = 1
    IMPLAUSIBLE = 2


class Judgement(NamedTuple):
    """Verdict on one window, and in words what is unusual; "" where nothing is.

    lie: the known lie that makes the window implausible, "" where none does. possible: the known lies that the window does not
    disprove; it may look like the training and say nothing of them, as grey asphalt says nothing of exchanged colours. A lie by
    degree is disproved by every window that is not implausible.
    """

    verdict: Plausibility
    text: str
    lie: str = ""
    possible: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Suspicion:
    """The test for one known lie. ``weights`` (3 q + 1,) float64 apply to `suspicion_terms`; the last one is the constant.

    masks: whether a sensor that tells it is left out. A lie that does no harm to the model is only warned of. by_degree: it shows
    in every window or in none, as sound that is too quiet does; exchanged colours show only where there are colours.
    """

    name: str
    text: str
    weights: np.ndarray
    far: float
    implausible: float
    masks: bool = True
    by_degree: bool = False


@dataclass(frozen=True)
class TrustTable:
    """One model input.

    names: of the q quantities. centre, scale (q,): their mean and deviation over the windows. usual (q, 2): what nearly all
    windows have. reach (q, 2), at least 1: by how much deviations below and above that are divided for the distance, because a
    few honest windows are as far out. offset (q,), whiten (q, q): the distance of deviations z is the norm of
    (in_reach(z) - offset) @ whiten over the square root of q. windows: how many it was fitted on.
    """

    names: tuple[str, ...]
    centre: np.ndarray
    scale: np.ndarray
    usual: np.ndarray
    reach: np.ndarray
    offset: np.ndarray
    whiten: np.ndarray
    far: float
    implausible: float
    suspicions: tuple[Suspicion, ...] = ()
    windows: int = 0

    def judge(self, found: Quantities) -> Judgement:
        """The verdict on the quantities of a window. Raises ParameterError where they are not those of the table."""
        z = self.deviations(self.values(found))
        distance = float(self.distances(z[None])[0])
        logits = self.suspicions_of(z[None])[:, 0]
        verdict = Plausibility(int(distance > self.far) + int(distance > self.implausible))
        likeliest, most, lie, excess = "", 0.0, "", 0.0
        for suspicion, logit in zip(self.suspicions, logits.tolist()):
            if logit > suspicion.far:
                own = Plausibility.IMPLAUSIBLE if suspicion.masks and logit > suspicion.implausible else Plausibility.FAR
                verdict = max(verdict, own)
                if own == Plausibility.IMPLAUSIBLE and logit - suspicion.implausible > excess:
                    lie, excess = suspicion.name, logit - suspicion.implausible
                if logit > max(most, 0.0):
                    likeliest, most = suspicion.text, logit
        pairs = zip(self.suspicions, logits.tolist())
        possible = frozenset(s.name for s, logit in pairs if logit > DISPROVED and not s.by_degree)
        if verdict == Plausibility.NEAR:
            return Judgement(verdict, "", possible=possible)
        text = self._strangest(found, z, distance) + (f"; perhaps {likeliest}" if likeliest else "")
        return Judgement(verdict, text, lie, possible)

    def values(self, found: Quantities) -> np.ndarray:
        """The quantities in the order of the table (q,)."""
        if tuple(found) != self.names:
            wrong = next((n for n in found if n not in self.names), "") or next(n for n in self.names if n not in found)
            raise ParameterError(
                "trust table quantity", repr(wrong), "the quantities of this version and this model input", _AGAIN
            )
        return np.fromiter(found.values(), np.float64, len(self.names))

    def deviations(self, values: np.ndarray) -> np.ndarray:
        """Values (..., q) as deviations from the windows' mean. What is not finite is as far as can be."""
        z = (values - self.centre) / self.scale
        return np.clip(np.nan_to_num(z, nan=CLIP, posinf=CLIP, neginf=-CLIP), -CLIP, CLIP)

    @cached_property
    def _usual_deviations(self) -> np.ndarray:
        """``usual`` in deviations, lowest and highest (2, q)."""
        return ((self.usual - self.centre[:, None]) / self.scale[:, None]).T

    def in_reach(self, z: np.ndarray) -> np.ndarray:
        """Deviations (n, q), of which the part that is outside of what is usual is divided by the reach."""
        low, high = self._usual_deviations
        within = np.clip(z, low, high)
        return within + (z - within) / np.where(z < low, self.reach[:, 0], self.reach[:, 1])

    def distances(self, z: np.ndarray) -> np.ndarray:
        """Distances (n,) of deviations (n, q)."""
        y = (self.in_reach(z) - self.offset) @ self.whiten
        return np.sqrt((y * y).mean(axis=1))

    def suspicions_of(self, z: np.ndarray) -> np.ndarray:
        """Logits (lies, n) of deviations (n, q)."""
        if not self.suspicions:
            return np.empty((0, len(z)))
        return np.stack([s.weights for s in self.suspicions]) @ suspicion_terms(z).T

    def _strangest(self, found: Quantities, z: np.ndarray, distance: float) -> str:
        """The quantity that is farthest from what is usual, or the distance where none is outside."""
        values = np.fromiter(found.values(), np.float64, len(self.names))
        outside = np.maximum(self.usual[:, 0] - values, values - self.usual[:, 1]) / self.scale
        worst = int(np.argmax(outside))
        if not outside[worst] > 0:
            return f"unusual together: distance {distance:.2f}, limit {self.implausible:.2f}"
        name = self.names[worst]
        low, high = (number(name, float(v)) for v in self.usual[worst])
        return f"{text_of(name, float(values[worst]))}, trained on {low} to {high}"

    def to_dict(self) -> dict[str, Any]:
        """Plain dict for JSON, with as many digits as matter."""
        return {
            "windows": self.windows,
            "quantities": {
                name: [_short(v) for v in (self.centre[i], self.scale[i], *self.usual[i], self.offset[i], *self.reach[i])]
                for i, name in enumerate(self.names)
            },
            "whiten": [_short(v) for v in self.whiten[np.tril_indices(len(self.names))]],
            "far": _short(self.far),
            "implausible": _short(self.implausible),
            "lies": [
                {
                    "name": s.name,
                    "text": s.text,
                    "weights": [_short(v) for v in s.weights],
                    "far": _short(s.far),
                    "implausible": _short(s.implausible),
                    "masks": s.masks,
                    "by_degree": s.by_degree,
                }
                for s in self.suspicions
            ],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], what: str) -> TrustTable:
        """Inverse of `to_dict`; ``what`` names the table in errors. Raises CheckpointError."""
        try:
            names = tuple(str(name) for name in values["quantities"])
            q = len(names)
            columns = np.array(list(values["quantities"].values()), np.float64)
            lower = np.array(values["whiten"], np.float64)
            if columns.shape == (q, 5):  # of a file that does not state how far honest windows were seen
                columns = np.hstack((columns, np.ones((q, 2))))
            if not 0 < q <= 4096 or columns.shape != (q, 7) or lower.shape != (q * (q + 1) // 2,):
                raise ValueError(f"{q} quantities, numbers of shape {columns.shape} and {lower.shape}")
            whiten = np.zeros((q, q))
            whiten[np.tril_indices(q)] = lower
            suspicions = tuple(
                Suspicion(
                    str(lie["name"]),
                    str(lie["text"]),
                    np.array(lie["weights"], np.float64),
                    float(lie["far"]),
                    float(lie["implausible"]),
                    bool(lie["masks"]),
                    bool(lie.get("by_degree", False)),
                )
                for lie in values["lies"]
            )
            if any(s.weights.shape != (3 * q + 1,) for s in suspicions):
                raise ValueError(f"not {3 * q + 1} weights of each lie")
            limits = [float(values["far"]), float(values["implausible"])]
            numbers = (columns, whiten, np.array(limits), *(s.weights for s in suspicions))
            if not all(np.isfinite(part).all() for part in numbers) or not (columns[:, [1, 5, 6]] > 0).all():
                raise ValueError("a number that is not finite, or a scale or reach that is not positive")
            centre, scale, usual, offset, reach = columns[:, 0], columns[:, 1], columns[:, 2:4], columns[:, 4], columns[:, 5:]
            windows = int(values["windows"])
            return cls(names, centre, scale, usual, reach, offset, whiten, limits[0], limits[1], suspicions, windows)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise CheckpointError(what, str(error), "a trust table of this version", _AGAIN) from error


def suspicion_terms(z: np.ndarray) -> np.ndarray:
    """What the weights of a suspicion apply to: deviations (n, q), their squares and their sizes, and 1: (n, 3 q + 1)."""
    z = np.clip(z, -SUSPICION_CLIP, SUSPICION_CLIP)
    return np.concatenate((z, z * z / 4, np.abs(z), np.ones((len(z), 1))), axis=1)


def usable_tables(trust: Mapping[str, Any], what: str, specs: Sequence[ModalitySpec]) -> dict[str, TrustTable]:
    """`tables_of` without those of other inputs, or of a version that had other quantities: they cannot judge."""
    tables = tables_of(trust, what)
    return {s.name: tables[s.name] for s in specs if s.name in tables and tables[s.name].names == quantity_names(s)}


def tables_of(trust: Mapping[str, Any], what: str) -> dict[str, TrustTable]:
    """The tables of a checkpoint by model input, from the JSON of its trust file. Raises CheckpointError."""
    if not trust:
        return {}
    if trust.get("format_version") != _FORMAT_VERSION:
        raise CheckpointError(f"{what} format_version", trust.get("format_version"), str(_FORMAT_VERSION), _AGAIN)
    inputs = trust.get("inputs")
    if not isinstance(inputs, Mapping):
        seen = type(inputs).__name__ if "inputs" in trust else "no such key, only " + ", ".join(map(str, trust))
        raise CheckpointError(f"{what} inputs", seen, "an object with one table per model input", _AGAIN)
    return {str(name): TrustTable.from_dict(values, f"{what} input {name!r}") for name, values in inputs.items()}


def trust_record(tables: Mapping[str, TrustTable], command: str) -> dict[str, Any]:
    """The JSON of a trust file."""
    return {
        "format_version": _FORMAT_VERSION,
        "command": command,
        "inputs": {name: table.to_dict() for name, table in tables.items()},
    }


def _short(value: float) -> float:
    value = float(value)
    return float(f"{value:.5g}") if math.isfinite(value) else value
