"""The description of a recording: what is written is read again, and what is wrong is named."""

import json

import pytest

from sentryfuse_ros.bags.run_description import RUN_FILE, RunDescription, read_run_description, write_run_description
from sentryfuse_ros.errors import DataError


def test_a_description_is_read_as_it_was_written(tmp_path):
    nuisances, patches = {"fog": 0.7, "speed_mps": 0.8}, ({"class": "sand", "x_m": 1.0},)
    made = RunDescription("test", 3, 2_000_003, 60.0, nuisances, ("fog",), patches, battery_wh=20.0, battery_start=0.5)
    write_run_description(tmp_path, made)
    assert read_run_description(tmp_path) == read_run_description(tmp_path / "drive.mcap") == made and made.is_simulated()
    keys = ["split", "seed", "world", "duration_s", "nuisances", "disturbed", "patches", "text", "battery_wh", "battery_start"]
    assert list(json.loads((tmp_path / RUN_FILE).read_text())) == keys


def test_the_simulation_describes_its_recordings(simulated):
    made = read_run_description(simulated)
    assert (made.split, made.seed, made.world, made.duration_s) == ("test", 5, 2_000_005, 3.0) and made.is_simulated()
    assert set(made.disturbed) <= set(made.nuisances) and made.patches


def test_a_description_by_hand_needs_no_key_and_may_have_others(tmp_path):
    assert read_run_description(tmp_path) is None
    (tmp_path / RUN_FILE).write_text('{"driver": "anna"}')
    assert read_run_description(tmp_path) == RunDescription() and not RunDescription().is_simulated()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "a JSON object"),
        ("{", "a JSON object"),
        ('{"split": "exam"}', "split.*'exam'.*train, val, test"),
        ('{"disturbed": "fog"}', "disturbed.*a list of words"),
        ('{"seed": "three"}', "seed.*an integer"),
        ('{"duration_s": true}', "duration_s.*a number of seconds"),
        ('{"battery_wh": "much"}', "battery_wh.*a number of Wh"),
        ('{"nuisances": {"fog": "much"}}', "nuisances.*an object of numbers"),
        ('{"patches": 3}', "patches.*a list"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, words):
    (tmp_path / RUN_FILE).write_text(text)
    with pytest.raises(DataError, match=f"{RUN_FILE}.*{words}"):
        read_run_description(tmp_path)
