"""How well sentences say what is true: by other people's metrics of wording, and by the share of their statements that are true.

CIDEr, BLEU-4, ROUGE-L and METEOR are those of the package pycocoevalcap, which a robot does not need; METEOR runs in Java.
"""

from __future__ import annotations

import contextlib
import io
import re
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import SentryFuseError
from .facts import Truth
from .grammar import parse


@dataclass(frozen=True)
class FactScore:
    """Over n sentences. true: share of all statements that are true; a word that belongs to no phrase is a statement that is not.

    by_kind: kind -> (stated, true). said: kind -> share of the facts there were that were stated. all_true: share of the
    sentences without any untrue statement.
    """

    true: float
    statements: int
    all_true: float
    by_kind: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    said: Mapping[str, float] = field(default_factory=dict)


def score_facts(sentences: Sequence[str], truths: Sequence[Truth]) -> FactScore:
    """Compare what each sentence states with the truth of its moment."""
    stated, true, there, said = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    flawless = 0
    for sentence, truth in zip(sentences, truths, strict=True):
        found = parse(sentence)
        good = [statement for statement in found.statements if truth.allows(statement)]
        stated.update(statement.kind for statement in found.statements)
        stated["strange word"] += len(found.strange)
        true.update(statement.kind for statement in good)
        flawless += len(good) == len(found.statements) and not found.strange
        facts = truth.facts.statements()
        there.update(fact.kind for fact in facts)
        said.update(fact.kind for fact in facts if fact in found.statements)
    total = stated.total()
    return FactScore(
        true.total() / total if total else float("nan"),
        total,
        flawless / max(1, len(sentences)),
        {kind: (count, true[kind]) for kind, count in sorted(stated.items()) if count},
        {kind: said[kind] / count for kind, count in sorted(there.items())},
    )


def _without_metrics(error: ImportError) -> SentryFuseError:
    return SentryFuseError("metrics of captions", f"no package {error.name}", "pycocoevalcap", "pip install pycocoevalcap==1.2")


def _by_moment(
    sentences: Sequence[str], references: Sequence[Sequence[str]]
) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    """Sentences and references as the metrics take them."""
    said = {i: [plain(sentence)] for i, sentence in enumerate(sentences)}
    return said, {i: [plain(sentence) for sentence in row] for i, row in enumerate(references)}


def score_wording(sentences: Sequence[str], references: Sequence[Sequence[str]], with_meteor: bool = True) -> dict[str, float]:
    """Compare sentences with references of the same moments: "cider", "bleu4", "rouge_l" and, where there is Java, "meteor".

    Raises SentryFuseError where pycocoevalcap is not installed.
    """
    try:
        from pycocoevalcap.bleu.bleu import Bleu
        from pycocoevalcap.cider.cider import Cider
        from pycocoevalcap.meteor.meteor import Meteor
        from pycocoevalcap.rouge.rouge import Rouge
    except ImportError as error:
        raise _without_metrics(error) from error
    said, wanted = _by_moment(sentences, references)
    with contextlib.redirect_stdout(io.StringIO()):  # they print as they go
        bleu, _ = Bleu(4).compute_score(wanted, said)
        cider, _ = Cider().compute_score(wanted, said)
        rouge, _ = Rouge().compute_score(wanted, said)
        found = {"cider": float(cider), "bleu4": float(bleu[3]), "rouge_l": float(rouge)}
        if with_meteor and shutil.which("java"):
            found["meteor"] = float(Meteor().compute_score(wanted, said)[0])
    return found


def cider_of_each(sentences: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
    """CIDEr of every sentence (n,), whose mean is that of `score_wording`: for intervals over drives. Raises as it does."""
    try:
        from pycocoevalcap.cider.cider import Cider
    except ImportError as error:
        raise _without_metrics(error) from error
    said, wanted = _by_moment(sentences, references)
    each: np.ndarray = Cider().compute_score(wanted, said)[1]
    return each


def plain(sentence: str) -> str:
    """A sentence as these metrics are usually given it: in lower case and without punctuation."""
    return " ".join(re.findall(r"\w+", sentence.lower()))
