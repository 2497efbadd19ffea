"""What a sentence may say at each moment of a drive, from the truth of the simulation."""

import numpy as np
import pytest

from sentryfuse_ros.bags.drive_truth import Moment, write_truth
from sentryfuse_ros.bags.run_description import RunDescription, write_run_description
from sentryfuse_ros.errors import DataError
from sentryfuse_ros.language.scenes import Scenes
from sentryfuse_ros.simulation.nuisances import Nuisances

START_NS = 1_700_000_000 * 10**9


def drive(folder, moments, nuisances=None):
    folder.mkdir(exist_ok=True)
    write_truth(folder, moments)
    given = (nuisances or Nuisances()).as_dict()
    write_run_description(folder, RunDescription(split="train", seed=1, world=1, duration_s=5.0, nuisances=given))
    return Scenes(folder)


def straight(speed_mps=0.8, turn_rad_s=0.0, border_m=2.0, seconds=5.0):
    """From gravel onto sand, whose border lies ``border_m`` from the start."""
    moments = []
    for k in range(1, round(seconds * 10) + 1):
        x_m = k / 10 * speed_mps
        here, there = ("gravel", "sand") if x_m < border_m else ("sand", "")
        away_m = border_m - x_m if there and border_m - x_m <= 2 else 0.0
        moments.append(Moment(START_NS + k * 10**8, x_m, 0.0, 0.0, speed_mps, turn_rad_s, here, there if away_m else "", away_m))
    return moments


def at(scenes, seconds):
    return scenes.at(START_NS + round(seconds * 1e9))


def test_a_border_comes_near_is_crossed_and_is_forgotten(tmp_path):
    scenes = drive(tmp_path / "a", straight())  # the border is crossed at 2.5 s
    said = {
        t: (at(scenes, t).facts.ground, at(scenes, t).facts.left, at(scenes, t).facts.ahead)
        for t in (1.0, 1.5, 2.4, 2.6, 3.8, 4.1)
    }
    assert said == {
        1.0: ("gravel", "", ""),  # still 1.2 m away
        1.5: ("gravel", "", "sand"),
        2.4: ("gravel", "", "sand"),
        2.6: ("sand", "gravel", ""),
        3.8: ("sand", "gravel", ""),
        4.1: ("sand", "", ""),
    }


def test_near_a_threshold_both_words_are_true(tmp_path):
    scenes = drive(tmp_path / "a", straight())
    assert at(scenes, 1.0).aheads == {"sand"} and at(scenes, 4.3).changes == {("gravel", "sand")}
    assert at(scenes, 4.8).changes == frozenset()
    assert at(scenes, 2.4).grounds == {"gravel", "sand"} and at(scenes, 2.7).grounds == {"gravel", "sand"}
    assert at(scenes, 2.4).changes == {("gravel", "sand")}  # the front wheels have crossed it
    assert at(scenes, 1.5).grounds == {"gravel"} and at(scenes, 3.5).grounds == {"sand"}


@pytest.mark.parametrize(
    "speed_mps, word, true",
    [
        (0.3, "slow", {"slow"}),
        (0.5, "slow", {"slow", "medium"}),
        (0.6, "medium", {"slow", "medium"}),
        (0.75, "medium", {"medium"}),
        (0.9, "medium", {"medium", "fast"}),
        (1.2, "fast", {"fast"}),
    ],
)
def test_words_for_the_speed(tmp_path, speed_mps, word, true):
    truth = at(drive(tmp_path / "a", straight(speed_mps)), 3.0)
    assert truth.facts.speed == word and truth.speeds == true


@pytest.mark.parametrize(
    "turn_rad_s, word, true",
    [(0.5, "left", {"left"}), (-0.5, "right", {"right"}), (0.2, "", {"left"}), (-0.2, "", {"right"}), (0.05, "", set())],
)
def test_words_for_a_turn(tmp_path, turn_rad_s, word, true):
    truth = at(drive(tmp_path / "a", straight(turn_rad_s=turn_rad_s)), 3.0)
    assert truth.facts.turn == word and truth.turns == true


def test_conditions_are_the_strong_nuisances_and_sensors_are_given(tmp_path):
    scenes = drive(tmp_path / "a", straight(), Nuisances(fog=0.6, mud=0.14, wind=0.45))
    truth = at(scenes, 3.0).with_sensors({"camera": "frozen"})
    assert truth.facts.conditions == {"fog", "wind"} and truth.facts.sensors == {"camera": "frozen"}
    assert scenes.split == "train"


def test_before_a_second_has_passed_nothing_is_said(tmp_path):
    scenes = drive(tmp_path / "a", straight())
    assert at(scenes, 0.5) is None and at(scenes, 1.0) is not None


def test_a_drive_that_was_not_simulated_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"run\.json"):
        Scenes(tmp_path)


def test_a_simulated_drive_tells_its_own_story(tmp_path):
    from sentryfuse_ros.simulation.run import Drive

    truth = list(Drive("train", 0).truth(4.0))
    scenes = drive(tmp_path / "a", truth)
    moments = [at(scenes, t) for t in np.arange(1.0, 4.0, 0.1)]
    assert {m.facts.ground for m in moments} == {m.ground for m in truth[9:-1]}
    assert all(m.facts.ground in m.grounds and m.facts.speed in m.speeds for m in moments)
    assert any(m.facts.left for m in moments) and any(m.facts.ahead for m in moments)
