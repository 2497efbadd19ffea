"""What a camera's stream sees, in plain sentences, made of nothing but what the node published: no caption head is needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..replay.run_record import PredictionRow, RunRecord, StreamRow
from ..replay.stream_scores import streamed_predictions

SETTLED_S = 0.6  # a sentence is said once what it says has held for so long
MOVES_CHANGE = 4.0  # change from which on something moves; noise at edges stays below it
SURE = 0.5  # confidence from which on a class is said without "perhaps"
WAYS = {
    "reuse": "Nothing is encoded; what was known of the scene still stands",
    "light": "What changed is encoded by the light branch",
    "full": "What changed is encoded by the full branch",
}
REFRESH = "What noise has changed, and a few windows in turn, are encoded by the full branch"


class Sight(NamedTuple):
    """What is said of a picture, before it is put into words."""

    moves: bool
    branch: str
    camera_moves: bool


class Sentence(NamedTuple):
    """One sentence, and when it was said."""

    t_s: float
    text: str


def sight(stream: StreamRow) -> Sight:
    """From what the stream did with a picture."""
    return Sight(stream.change >= MOVES_CHANGE, stream.branch, stream.moving)


def sentence(stream: StreamRow, prediction: tuple[str, float], classes: int) -> str:
    """What is seen. ``prediction``: class and confidence; the model can only choose among its ``classes``."""
    seen = sight(stream)
    if seen.camera_moves:
        return "The camera moves, or nearly all of its picture does; every picture is encoded whole."
    if not seen.moves:
        return f"Nothing moves. {REFRESH if stream.branch == 'full' else WAYS[stream.branch]}."
    name, confidence = prediction[0].replace("_", " "), prediction[1]
    guess = f"it looks {'' if confidence >= SURE else 'perhaps '}like {name} ({100 * confidence:.0f} %)"
    return f"Something moves. {WAYS[stream.branch]}; of the {classes} classes that the model knows, {guess}."


def sentences(record: RunRecord) -> list[Sentence]:
    """The sentences of a run: one whenever what is seen has changed and the change has held for a while."""
    said: list[Sentence] = []
    told: Sight | None = None
    pairs: Sequence[tuple[PredictionRow, StreamRow]] = streamed_predictions(record)
    since = 0
    for i, (p, stream) in enumerate(pairs):
        if sight(stream) != sight(pairs[since][1]):
            since = i
        if sight(stream) != told and p.t_s - pairs[since][0].t_s >= SETTLED_S:
            told = sight(stream)
            said.append(Sentence(p.t_s, sentence(stream, (p.class_name, p.confidence), len(record.model.classes))))
    return said
