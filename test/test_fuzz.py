"""Some thousand mutated messages of every type through the whole fuser; `python -m benchmarks.fuzz` is the long form."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")

from benchmarks.byte_parsers import FUZZED_TYPES, decode_one
from benchmarks.fuzz import real_messages
from sentryfuse_ros.paths import model_path
from sentryfuse_ros.replay.fuzzing import MAX_BYTES, fuzz, mutate
from sentryfuse_ros.runtime.engine import Engine
from sentryfuse_ros.sensor_kinds import sensor_kinds


@pytest.fixture(scope="module")
def seeds():
    return real_messages()


def test_nothing_escapes_and_no_sensor_serves_that_is_not_live(seeds):
    result = fuzz(seeds, Engine.load(model_path("ground_robot"), "cpu", 1), messages=3500, seed=1)
    assert not result.escaped and result.ticks == 350
    assert all(result.refused[name] > 50 and result.used[name] > 50 for name in seeds), "both ways are taken"


def test_real_messages_of_every_kind_of_sensor_are_mutated(seeds):
    read = {msg_type for kind in sensor_kinds() for msg_type in kind.msg_types}
    assert set(seeds) <= read and {kind.name for kind in sensor_kinds() if set(kind.msg_types) & set(seeds)} == {
        kind.name for kind in sensor_kinds() if kind.decoders
    }


def test_mutations_repeat_with_their_seed_and_stay_small(seeds):
    raws = [raw for raws in seeds.values() for raw in raws]
    once, again = ([mutate(raw, np.random.default_rng(7), raws) for raw in raws] for _ in range(2))
    assert once == again and all(a != b for a, b in zip(once, raws))
    random, grown = np.random.default_rng(0), raws[0]
    for _ in range(300):
        grown = mutate(grown, random, raws) or raws[0]
        assert len(grown) <= MAX_BYTES + 64 * 512


def test_what_coverage_guided_fuzzing_has_found_is_decoded():
    """The corpus of benchmarks/coverage_fuzz.py: inputs that reach every branch of the parsers that it has found."""
    with zipfile.ZipFile(Path(__file__).parent / "fuzz_corpus.zip") as archive:
        inputs = [archive.read(name) for name in archive.namelist()]
    assert len({data[0] % len(FUZZED_TYPES) for data in inputs if data}) == len(FUZZED_TYPES)
    for data in inputs:
        decode_one(data)
