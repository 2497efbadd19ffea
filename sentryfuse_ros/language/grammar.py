"""From facts to sentences by chance, and back from any sentence to what it states."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .facts import CONDITIONS, SENSOR_STATES, USED, Facts, Statement, sensor_statements
from .wordings import EVIDENCE, HELD_OUT, LEARNED, SENSOR_NOUNS, Wordings

# How often a sentence mentions a fact that is true; ground, change and what is wrong with a sensor always are.
MENTIONED = {"ahead": 0.9, "speed": 0.75, "turn": 0.9, "condition": 0.9, "rests": 0.8}
# What a head learns to be silent about rather than to guess, because the sensors in use hardly show it: chances in its training.
# A first head, trained without this, was wrong in every second turn and every fifth speed without the IMU, and in most grounds
# ahead.
HARDLY_SEEN = {"ahead": 0.4}
HARDLY_SEEN_WITHOUT = {"imu": {"turn": 0.2, "speed": 0.4}}
_SEPARATORS = (",", ";", ":", ".", "and")


def compose(
    facts: Facts, rng: np.random.Generator, wordings: Wordings = LEARNED, mentioned: Mapping[str, float] = MENTIONED
) -> str:
    """A sentence as words and punctuation with spaces between them, for instance "driving on sand ; the camera is frozen".

    Phrases, frame, the order of the conditions and which of the facts are mentioned are drawn from ``rng``.
    """

    def phrase(key: str) -> str:
        choices = wordings.phrases[key]
        return choices[int(rng.integers(len(choices)))]

    def says(kind: str) -> bool:
        return bool(rng.random() < mentioned.get(kind, 1.0))

    parts = dict.fromkeys(("travel", "speed", "place", "turn", "conditions", "ahead", "sensors", "rests"), "")
    parts["travel"] = phrase("travel")
    parts["place"] = phrase("change" if facts.left else "ground")
    parts["place"] = parts["place"].format(g=facts.left or facts.ground, h=facts.ground)
    if facts.ahead and says("ahead"):
        parts["ahead"] = phrase("ahead").format(g=facts.ahead)
    for kind, value in (("speed", facts.speed), ("turn", facts.turn)):
        if value and says(kind):
            parts[kind] = phrase(f"{kind} {value}")
    there = [name for name in CONDITIONS if name in facts.conditions and says("condition")]
    parts["conditions"] = _list([phrase(there[i]) for i in rng.permutation(len(there))])
    by_state = {state: [n for n, s in facts.sensors.items() if s == state] for state in SENSOR_STATES if state != USED}
    clauses = [_sensor_clause(phrase(state), names) for state, names in by_state.items() if names]
    parts["sensors"] = " ; ".join(clauses)
    if clauses and facts.used and says("rests"):
        parts["rests"] = phrase("rests").format(l=_list([EVIDENCE.get(name, name) for name in facts.used]))
    frame = wordings.frames[int(rng.integers(len(wordings.frames)))]
    return _tidy(frame.format_map(parts))


def learned_chances(sensors: Mapping[str, str]) -> dict[str, float]:
    """`MENTIONED` as a head learns it, by the states of the sensors."""
    chances = {**MENTIONED, **HARDLY_SEEN}
    for name, seldom in HARDLY_SEEN_WITHOUT.items():
        if sensors.get(name, USED) != USED:
            chances |= seldom
    return chances


def written(sentence: str) -> str:
    """A sentence as people write it: "Driving on sand; the camera is frozen."."""
    text = re.sub(r" ([,;:.])", r"\1", sentence.strip(" ."))
    return text[:1].upper() + text[1:] + "." if text else ""


def _sensor_clause(phrase: str, names: list[str]) -> str:
    many = len(names) > 1
    text = phrase.format(s=_list([f"the {SENSOR_NOUNS.get(name, name)}" for name in names]))
    return re.sub(r"(\w+)/(\w+)", lambda both: both[2 if many else 1], text)


def _list(items: list[str]) -> str:
    return " and ".join(filter(None, (" , ".join(items[:-1]), *items[-1:])))


def _tidy(text: str) -> str:
    """Without the separators of parts that are not there."""
    text = re.sub(r"(?: *[,;:])+(?= *[,;:])", "", re.sub(r" +", " ", text))
    return text.strip(" ,;:").replace("  ", " ")


# --- the way back -------------------------------------------------------------------------------------------


class Parsed(NamedTuple):
    """What a sentence states, each statement once, and the words that belong to no phrase."""

    statements: tuple[Statement, ...]
    strange: tuple[str, ...]


class _Pattern(NamedTuple):
    key: str
    regex: re.Pattern[str]


def parse(sentence: str) -> Parsed:
    """Read a sentence of either wording, written or in words; the longest phrase wins. Never raises."""
    text = " ".join(re.findall(r"[\w/]+|[,;:.]", sentence.lower()))
    found: dict[Statement, None] = {}
    strange, at = [], 0
    while at < len(text):
        if text[at] == " ":
            at += 1
            continue
        matches = [(m, p.key) for p in _patterns() if (m := p.regex.match(text, at))]
        if matches:
            match, key = max(matches, key=lambda found: found[0].end())
            found.update(dict.fromkeys(_statements(key, match)))
            at = match.end()
            continue
        word = text[at:].split(" ", 1)[0]
        if word not in _SEPARATORS:
            strange.append(word)
        at += len(word)
    return Parsed(tuple(found), tuple(strange))


@lru_cache(maxsize=1)
def _patterns() -> list[_Pattern]:
    sensor = r"the \w+"
    slots = {
        "g": r"(?P<g>\w+)",
        "h": r"(?P<h>\w+)",
        "s": rf"(?P<s>{sensor}(?: , {sensor})*(?: and {sensor})?)",
        "l": r"(?P<l>\w+(?: , \w+)*(?: and \w+)?)",
    }
    patterns = []
    for wordings in (LEARNED, HELD_OUT):
        for key, phrases in wordings.phrases.items():
            for phrase in phrases:
                text = re.sub(r"(\w+)/(\w+)", r"(?:\1|\2)", phrase)
                text = re.sub(r"\{(\w)\}", lambda slot: slots[slot[1]], text.lower())
                patterns.append(_Pattern(key, re.compile(text + r"(?!\w)")))
    return patterns


def _statements(key: str, match: re.Match[str]) -> Iterable[Statement]:
    kind, _, value = key.partition(" ")
    if kind == "travel":
        return
    if kind in ("ground", "ahead"):
        yield Statement(kind, match["g"])
    elif kind == "change":
        yield Statement(kind, match["g"], match["h"])
    elif kind in ("speed", "turn"):
        yield Statement(kind, value)
    elif kind in CONDITIONS:
        yield Statement("condition", kind)
    elif kind == "rests":
        yield Statement(kind, " ".join(sorted(_names(match["l"], EVIDENCE))))
    else:
        for name in _names(match["s"].replace("the ", ""), SENSOR_NOUNS):
            yield Statement("sensor", name, kind)


def _names(text: str, words: Mapping[str, str]) -> list[str]:
    """Sensors by the words for them; a word for none of them counts as a sensor of that name, which is then not true."""
    back = {word.lower(): name for name, word in words.items()}
    return [back.get(word, word) for word in re.split(r" , | and ", text)]


def with_known_sensors(sentence: str, sensors: Mapping[str, str]) -> str:
    """A sentence in words that states nothing false of the sensors and leaves out none that is not used: their states are known,
    and a head that is pruned, or has lost several sensors at once, mixes them up.

    It is the sentence itself where that is so, and otherwise the same other facts in the learned wordings. A sentence without a
    ground stays as it is.
    """
    statements = parse(sentence).statements
    said, true = {s for s in statements if s.kind in ("sensor", "rests")}, set(sensor_statements(sensors))
    places = [s for s in statements if s.kind in ("change", "ground")]
    if not places or (said <= true and all(s in said for s in true if s.kind == "sensor")):
        return sentence
    place = min(places, key=lambda s: s.kind)  # a change, which says the ground too, before a ground
    changes = place.kind == "change"
    first = {s.kind: s.value for s in reversed(statements)}
    facts = Facts(
        place.detail if changes else place.value,
        place.value if changes else "",
        first.get("ahead", ""),
        first.get("speed", ""),
        first.get("turn", ""),
        frozenset(s.value for s in statements if s.kind == "condition"),
        dict(sensors),
    )
    return compose(facts, np.random.default_rng(0), mentioned={})
