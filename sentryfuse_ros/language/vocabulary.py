"""The words that a caption head knows, taken from the grammar, and sentences as their numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np

from ..errors import DataError, ParameterError
from .config import BEGIN, END, MARKS
from .wordings import EVIDENCE, LEARNED, SENSOR_NOUNS


def learned_words(classes: Iterable[str], modalities: Iterable[str]) -> tuple[str, ...]:
    """Every word and mark of punctuation that a learned sentence can have, MARKS first, the others in alphabetical order.

    Raises ParameterError for a class or a model input whose name `grammar.parse` could not find in a sentence again.
    """
    classes, modalities = tuple(classes), tuple(modalities)
    for name in (*classes, *modalities):
        if not re.fullmatch(r"\w+", name) or name != name.lower():
            expected = "one word of small letters, digits and _, as sentences have it"
            raise ParameterError("name of a class or model input", repr(name), expected, "rename it, and train the model again")
    found = {"the", "and", ",", ";", *classes}
    for name in modalities:
        found |= {SENSOR_NOUNS.get(name, name), EVIDENCE.get(name, name)}
    for phrases in LEARNED.phrases.values():
        for phrase in phrases:
            found |= set(re.sub(r"\{\w\}|/", " ", phrase).split())
    return (*MARKS, *sorted(found))


class Vocabulary:
    """Sentences to numbers and back."""

    def __init__(self, words: Sequence[str]):
        self.words = tuple(words)
        self._number = {word: number for number, word in enumerate(self.words)}

    def encode(self, sentence: str) -> list[int]:
        """A sentence of the grammar -> its words' numbers, END last. Raises DataError for a word that it does not have."""
        try:
            return [*(self._number[word] for word in sentence.split()), END]
        except KeyError as error:
            raise DataError(f"sentence {sentence!r}", error.args[0], "words of the vocabulary", "train the head again") from error

    def decode(self, numbers: Iterable[int]) -> str:
        """Inverse of `encode`: up to END, without MARKS."""
        words = []
        for number in numbers:
            if number == END:
                break
            if number != BEGIN:
                words.append(self.words[number])
        return " ".join(words)

    def batch(self, sentences: Sequence[str], longest: int) -> np.ndarray:
        """Numbers of several sentences, int64 (n, longest of them), filled up with -1 behind END; cut after ``longest`` words."""
        rows = [self.encode(sentence)[:longest] for sentence in sentences]
        out = np.full((len(rows), max(map(len, rows))), -1, np.int64)
        for row, numbers in zip(out, rows):
            row[: len(numbers)] = numbers
        return out
