"""What streams have to reach, and the one summary of several models."""

import pytest

from sentryfuse_ros.evaluation.stream_goals import GOALS, judged
from sentryfuse_ros.evaluation.streaming import headline

TOKENS = {"small": 196, "large": 1200}


def row(measure, **figures):
    """The row of a goal for models with one figure each."""
    (goal,) = (goal for goal in GOALS if goal.measure == measure)
    summaries = {name: {goal.key.format(tokens=TOKENS[name]): value} for name, value in figures.items()}
    return next(r for r in judged(summaries, TOKENS) if r["measure"] == measure)


def test_a_limit_is_that_of_a_models_size():
    found = row("encoder, dense over stream", small=2.8, large=4.99)
    assert found["goal"] == "at least 2.8 with 196 tokens, 5 with 1200 tokens"
    assert found["reached"] == {"small": "2.80", "large": "4.99"} and found["met"] == {"small": True, "large": False}
    assert row("global attention over stream", small=3.0, large=10.0)["met"] == {"small": None, "large": True}


@pytest.mark.parametrize(
    ("measure", "limit", "good", "bad"),
    (
        ("router: points lost", "at most 1", 1.0, 1.01),
        ("accuracy on depth alone, every picture whole", "at least 70 %", 0.7, 0.699),
        ("moving camera: dense over stream, with a gyro", "at least 0.952", 0.953, 0.95),  # 5 % slower at most
    ),
)
def test_a_figure_is_held_against_its_limit(measure, limit, good, bad):
    found = row(measure, small=good, large=bad)
    assert found["goal"] == limit and found["met"] == {"small": True, "large": False}


def test_a_gain_is_no_loss_and_what_was_not_measured_is_not_judged():
    assert row("together: points lost", small=-0.7)["reached"] == {"small": "none"}
    other = next(r for r in judged({"small": {}}, TOKENS) if r["measure"] == "together: points lost")
    assert other["reached"] == {"small": "not measured"} and other["met"] == {"small": None}


def test_the_headline_is_that_of_the_first_model_and_never_the_better_of_two():
    small = {"together_latency_ratio": 3.2, "sttf_latency_ratio_196": 2.9}
    large = {"together_latency_ratio": 8.2, "sttf_latency_ratio_1200": 6.9, "sttf_latency_ratio_1200_vs_global": 22.0}
    found = headline({"small": small, "large": large}, TOKENS)
    assert found == {**small, "sttf_latency_ratio_1200": 6.9, "sttf_latency_ratio_1200_vs_global": 22.0}
