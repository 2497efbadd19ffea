"""Facts become sentences and sentences facts again, in every wording."""

import numpy as np
import pytest

from sentryfuse_ros.errors import DataError, ParameterError
from sentryfuse_ros.language.facts import CONDITIONS, SENSOR_STATES, SPEEDS, TURNS, USED, Facts, Statement, Truth
from sentryfuse_ros.language.grammar import compose, learned_chances, parse, with_known_sensors, written
from sentryfuse_ros.language.vocabulary import Vocabulary, learned_words
from sentryfuse_ros.language.wordings import HELD_OUT, LEARNED

GROUNDS = ("asphalt", "gravel", "grass", "sand", "tiles", "wood")
SENSORS = ("camera", "imu", "audio", "lidar")
EVERYTHING: dict[str, float] = {}  # no fact is left unmentioned


def random_facts(rng):
    ground, left, ahead = (str(name) for name in rng.permutation(GROUNDS)[:3])
    sensors = {name: USED if rng.random() < 0.6 else str(rng.choice(SENSOR_STATES[1:])) for name in SENSORS}
    return Facts(
        ground,
        left if rng.random() < 0.3 else "",
        ahead if rng.random() < 0.3 else "",
        str(rng.choice(("", *SPEEDS))),
        str(rng.choice(("", *TURNS))),
        frozenset(name for name in CONDITIONS if rng.random() < 0.3),
        sensors,
    )


@pytest.mark.parametrize("wordings", [LEARNED, HELD_OUT], ids=["learned", "held out"])
def test_a_sentence_states_its_facts_and_nothing_else(wordings):
    rng = np.random.default_rng(0)
    for _ in range(1500):
        facts = random_facts(rng)
        sentence = compose(facts, rng, wordings, EVERYTHING)
        for text in (sentence, written(sentence)):
            parsed = parse(text)
            assert set(parsed.statements) == set(facts.statements()) and not parsed.strange, text


def test_what_is_not_mentioned_is_left_out_but_never_changed():
    rng = np.random.default_rng(1)
    unsaid = 0
    for _ in range(300):
        facts = random_facts(rng)
        said = set(parse(compose(facts, rng)).statements)
        assert said <= set(facts.statements())
        unsaid += said < set(facts.statements())
        assert {s for s in facts.statements() if s.kind in ("ground", "change", "sensor")} <= said
    assert unsaid > 50


def test_what_the_sensors_in_use_hardly_show_is_learned_seldom():
    facts = Facts("sand", "", "grass", "slow", "left", frozenset(), dict.fromkeys(SENSORS, USED))
    blind = facts.with_sensors({**facts.sensors, "imu": "frozen"})
    rng = np.random.default_rng(3)

    def share(given, kind):
        said = [parse(compose(given, rng, mentioned=learned_chances(given.sensors))).statements for _ in range(400)]
        return np.mean([any(statement.kind == kind for statement in statements) for statements in said])

    assert share(facts, "turn") > 0.8 > 0.3 > share(blind, "turn")
    assert share(facts, "speed") > 0.65 > 0.5 > share(blind, "speed")
    assert 0.3 < share(facts, "ahead") < 0.5


def test_a_sentence_as_people_write_it():
    facts = Facts(
        "grass", "gravel", "", "slow", "", frozenset({"darkness"}), {**dict.fromkeys(SENSORS, USED), "camera": "frozen"}
    )
    said = {written(compose(facts, np.random.default_rng(seed), LEARNED, EVERYTHING)) for seed in range(200)}
    assert len(said) > 100
    assert (
        "Driving slowly from gravel onto grass in the dark; the camera is frozen, so this rests on IMU, sound and LiDAR." in said
    )
    assert written("") == ""


def test_the_wordings_that_only_tests_use_share_no_phrase_with_the_learned_ones():
    assert set(HELD_OUT.phrases) == set(LEARNED.phrases)
    for kind, phrases in LEARNED.phrases.items():
        assert not set(phrases) & set(HELD_OUT.phrases[kind])
    assert not set(LEARNED.frames) & set(HELD_OUT.frames)


def test_strange_words_and_sensors_are_seen():
    parsed = parse("driving on sand under a purple sky ; the radar is frozen")
    assert parsed.statements == (Statement("ground", "sand"), Statement("sensor", "radar", "frozen"))
    assert parsed.strange == ("under", "a", "purple", "sky")
    assert parse("").statements == () and parse("the the the").strange == ("the", "the", "the")


def test_the_vocabulary_has_every_word_of_a_learned_sentence_and_comes_back():
    words = Vocabulary(learned_words(GROUNDS, SENSORS))
    rng = np.random.default_rng(2)
    for _ in range(500):
        sentence = compose(random_facts(rng), rng)
        assert words.decode(words.encode(sentence)) == sentence
    with pytest.raises(DataError, match="purple"):
        words.encode("driving on purple")
    batch = words.batch(["driving on sand", "driving"], 72)
    assert batch.shape == (2, 4) and batch[1].tolist() == [*words.encode("driving"), -1, -1]


def truth(**changes):
    facts = Facts("gravel", sensors=dict.fromkeys(SENSORS, USED), conditions=frozenset({"fog"}))
    none = frozenset()
    return Truth(facts, frozenset({"gravel", "sand"}), frozenset({("gravel", "sand")}), none, frozenset({"slow"}), none)


@pytest.mark.parametrize(
    "statement, true",
    [
        (Statement("ground", "sand"), True),  # under one of the wheels
        (Statement("ground", "grass"), False),
        (Statement("change", "gravel", "sand"), True),
        (Statement("change", "sand", "gravel"), False),
        (Statement("ahead", "sand"), False),
        (Statement("speed", "slow"), True),
        (Statement("speed", "fast"), False),
        (Statement("turn", "left"), False),
        (Statement("condition", "fog"), True),
        (Statement("condition", "mud"), False),
        (Statement("sensor", "camera", USED), True),
        (Statement("sensor", "camera", "frozen"), False),
        (Statement("sensor", "radar", "frozen"), False),
        (Statement("rests", "audio camera imu lidar"), True),
        (Statement("rests", "audio camera"), False),
    ],
)
def test_what_counts_as_true(statement, true):
    assert truth().allows(statement) is true


@pytest.mark.parametrize("name", ["sandy loam", "Sand", "wet-sand", ""])
def test_a_name_that_no_sentence_could_be_read_back_with_is_refused(name):
    for names in ((("grass", name), SENSORS), (GROUNDS, ("camera", name))):
        with pytest.raises(ParameterError, match=f"name of a class or model input: saw '{name}', expected one word"):
            learned_words(*names)


def test_what_is_said_of_the_sensors_is_what_is_known_of_them():
    rng = np.random.default_rng(0)
    for _ in range(500):
        facts, others = random_facts(rng), random_facts(rng)
        true = compose(facts, rng)
        assert with_known_sensors(true, facts.sensors) == true  # also where it does not say what it rests on
        mixed_up = compose(facts.with_sensors(others.sensors), rng, mentioned=EVERYTHING)
        mended = with_known_sensors(mixed_up, facts.sensors)
        assert set(parse(mended).statements) == set(facts.statements()) and not parse(mended).strange
    assert with_known_sensors("the camera is frozen", {"camera": USED}) == "the camera is frozen"  # there is no more to say
    assert with_known_sensors("driving on sand", {"camera": "off", "imu": USED}) != "driving on sand"  # it left one out
