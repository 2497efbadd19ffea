"""Which plan a ratio runs: one of the best that fit its share of measured time, and of these the one that uses most of it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.masks import all_masks, mask_to_bits
from sentryfuse_ros.model.config import FuseConfig
from sentryfuse_ros.model.subnetwork import all_codes, of_code, whole_stems
from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.pruning.planner import PlanChoice, PlanCosts, PlanWorth, choose_plans, predictions_per_picture

LEVELS = (0.0, 0.5, 0.9)


def network(sensors, **changes):
    """A network of sensors without names; the plans that it may run are at the ratio levels, unless ``changes`` add others."""
    specs = tuple(ModalitySpec(f"s{i}", "series", 1.0, (20, 2)) for i in range(sensors))
    return FuseConfig(modalities=specs, classes=("a", "b"), ratio_levels=LEVELS, **changes)


PAIR = network(2)
COSTS = PlanCosts({"11": (10.0, 8.0, 6.0), "10": (7.0, 6.0, 4.0), "01": (3.0, 2.0, 0.9)})
ACCURACY = {"11": [0.95, 0.95, 0.90], "10": [0.93, 0.92, 0.80], "01": [0.85, 0.85, 0.84]}
NO_ERROR = {bits: [0.0] * 3 for bits in ACCURACY}


def chosen(live, level, accuracy=ACCURACY, error=NO_ERROR, costs=COSTS, most_lost=1.0):
    choice = choose_plans(PAIR, costs, PlanWorth(accuracy, error), most_lost)[live, level]
    assert choice.part == whole_stems(PAIR, choice.used, choice.part.units_level)
    return choice.part.code, choice.part.units_level


def test_ratio_0_leaves_nothing_out_and_costs_are_told():
    plans = choose_plans(PAIR, COSTS, PlanWorth(ACCURACY, NO_ERROR))
    assert plans[(True, True), 0.0] == PlanChoice(whole_stems(PAIR, (True, True), 0.0), 10.0, 0.95)
    assert plans[(False, True), 0.0] == PlanChoice(whole_stems(PAIR, (False, True), 0.0), 3.0, 0.85)


def test_the_best_plan_within_the_budget_may_leave_a_live_sensor_out():
    assert chosen((True, True), 0.5) == ("01", 0.0)  # into 5 ms fit "10" at .9, with 80 %, and the three of "01"
    assert chosen((True, True), 0.9) == ("01", 0.9)  # 1 ms


def test_an_absent_sensor_counts_as_removed():
    assert chosen((False, True), 0.5) == ("01", 0.0)  # 3 ms fit into 5 as they are
    assert chosen((False, True), 0.9) == ("01", 0.9)


def test_where_nothing_fits_the_best_that_takes_little_longer_than_the_cheapest_is_taken():
    assert chosen((True, False), 0.9) == ("10", 0.9)  # the others take half as long again, and more
    # 4.5 ms are within 15 % of 4 and are what .5 takes; 4.9 ms are not.
    for ms, expected in ((4.5, ("10", 0.5)), (4.9, ("10", 0.9))):
        assert chosen((True, False), 0.9, costs=PlanCosts({**COSTS.plan_ms, "10": (7.0, ms, 4.0)})) == expected


def test_a_plan_that_loses_more_than_is_allowed_is_not_used_even_if_nothing_else_fits():
    assert chosen((True, True), 0.9, most_lost=0.11) == ("01", 0.9)  # .84 is .11 less than .95
    assert chosen((True, True), 0.9, most_lost=0.10) == ("01", 0.5)  # the cheapest of those with .85 and more; it takes too long
    assert chosen((True, True), 0.9, most_lost=0.0) == ("11", 0.5)  # 8 ms, the cheapest of those that lose nothing
    assert chosen((True, False), 0.9, most_lost=0.02) == ("10", 0.5)


def test_plans_within_one_standard_error_of_the_best_are_equally_good():
    for size, expected in ((0.04, ("01", 0.0)), (0.06, ("10", 0.9))):  # .80 is within .06 of .85 and uses 4 of 5 ms
        error = {"11": [0.0] * 3, "10": [0.0] * 3, "01": [size] * 3}
        assert chosen((True, True), 0.5, error=error) == expected


def test_of_equally_good_plans_those_with_most_sensors_are_taken():
    costs = PlanCosts({**COSTS.plan_ms, "11": (10.0, 3.5, 2.5)})  # "10" at .9 would use more of the 5 ms
    error = {bits: [0.2] * 3 for bits in ACCURACY}
    assert chosen((True, True), 0.5, error=error, costs=costs) == ("11", 0.5)


def test_sensors_never_validated_together_are_a_last_resort():
    unknown = {**ACCURACY, "01": [None] * 3}
    assert chosen((True, True), 0.5, accuracy=unknown) == ("10", 0.9)
    assert chosen((False, True), 0.9, accuracy=unknown) == ("01", 0.9)


numbers = st.floats(0.01, 1.0)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_every_plan_uses_live_sensors_only_and_keeps_the_budget_where_any_can(data):
    bits = [mask_to_bits(mask) for mask in all_masks(3)]
    row = st.tuples(numbers, numbers, numbers)
    costs = PlanCosts({b: tuple(sorted(data.draw(row), reverse=True)) for b in bits})
    worth = PlanWorth({b: data.draw(row) for b in bits}, {b: data.draw(row) for b in bits})
    plans = choose_plans(network(3), costs, worth)
    assert set(plans) == {(mask, level) for mask in all_masks(3) for level in LEVELS}
    for (live, level), choice in plans.items():
        assert any(choice.used) and all(here <= there for here, there in zip(choice.used, live))
        possible = [costs.plan_ms[mask_to_bits(m)] for m in all_masks(3) if all(a <= b for a, b in zip(m, live))]
        cheapest = min(min(ms) for ms in possible)
        assert choice.cost_ms <= plans[live, LEVELS[max(0, LEVELS.index(level) - 1)]].cost_ms + 1e-9
        if level:
            assert choice.cost_ms <= max((1 - level) * costs.dense_ms, cheapest * 1.15) + 1e-9


def test_worth_comes_from_a_checkpoint_with_or_without_standard_errors():
    metrics = {"cross_validation_accuracy": ACCURACY, "cross_validation_standard_error": NO_ERROR}
    assert PlanWorth.of_checkpoint({"metrics": metrics}, PAIR) == PlanWorth(ACCURACY, NO_ERROR)
    assert PlanWorth.of_checkpoint({"metrics": {"validation_accuracy": ACCURACY}}, PAIR) == PlanWorth(ACCURACY, {})
    assert choose_plans(PAIR, COSTS, PlanWorth(ACCURACY, {}))[(True, True), 0.5].accuracy == 0.85
    for metrics in ({}, {"validation_accuracy": {"11": [0.9] * 3}}, {"validation_accuracy": {b: [0.9] for b in ACCURACY}}):
        with pytest.raises(ParameterError, match="validation accuracies.*set budget to flops"):
            PlanWorth.of_checkpoint({"metrics": metrics}, PAIR)


def test_costs_of_the_dense_network_are_those_of_all_sensors():
    assert COSTS.dense_ms == 10.0 and np.isclose(PlanCosts({"1": (2.0,)}).dense_ms, 2.0)


ELASTIC = network(2, layers=3, tokenizer={"s0": {"sizes": [{"channels": 0.25}]}}, fusion_sizes=[[3, 0.0], [1, 0.5]])


def test_codes_name_every_choice_of_sensors_and_sizes_of_their_stems():
    assert list(all_codes(ELASTIC)) == ["01", "10", "11", "20", "21"]
    part = of_code("20", ELASTIC.fusion_sizes[1])
    assert (part.used, part.stems, part.layers, part.units_level) == ((True, False), (1, 0), 1, 0.5)
    assert part.code == "20" and part.fusion_size == (1, 0.5)


def test_smaller_stems_and_fewer_layers_are_taken_before_a_sensor_is_left_out_where_they_know_more():
    costs = PlanCosts({"11": (10.0, 8.0), "21": (6.0, 4.0), "10": (7.0, 6.0), "20": (4.0, 2.0), "01": (3.0, 1.0)})
    accuracy = {"11": [0.95, 0.94], "21": [0.93, 0.92], "10": [0.9, 0.9], "20": [0.8, 0.8], "01": [0.85, 0.84]}
    metrics = {"validation_plan_accuracy": accuracy, "validation_accuracy": ACCURACY}
    plans = choose_plans(ELASTIC, costs, PlanWorth.of_checkpoint({"metrics": metrics}, ELASTIC))
    found = {key: (choice.part.code, choice.part.layers) for key, choice in plans.items()}
    assert found[(True, True), 0.0] == ("11", 3)
    assert found[(True, True), 0.5] == ("21", 1)  # 4 of 5 ms, 92 %; the others that fit know 85 % at most
    assert found[(True, True), 0.9] == ("01", 1)
    assert found[(True, False), 0.5] == ("20", 3)  # "20" knows the same with one layer, but time that is there is used
    with pytest.raises(ParameterError, match="2 numbers for each of 5 sets of sensors and sizes"):
        PlanWorth.of_checkpoint({"metrics": {"validation_accuracy": ACCURACY}}, ELASTIC)


def test_a_plan_that_holds_its_pictures_costs_a_share_of_their_time_and_is_worth_what_it_was_measured_at():
    costs = PlanCosts(COSTS.plan_ms, ((5.0,), ()))  # of the time of s0, five ms are those of a new picture
    metrics = {
        "validation_accuracy": ACCURACY,
        "validation_held_accuracy": {"11": [0.94, 0.93, 0.89], "10": [0.92, 0.91, 0.79]},
        "validation_held_standard_error": {"11": [0.0] * 3, "10": [0.0] * 3},
        "hold_s": 0.5,
    }
    worth = PlanWorth.of_checkpoint({"metrics": metrics}, PAIR)
    plans = choose_plans(PAIR, costs, worth, rate_hz=10.0)  # five predictions share a picture, which then costs 1 ms
    found = {key: (c.part.code, c.part.units_level, c.cost_ms, c.accuracy, c.hold_s) for key, c in plans.items()}
    assert {c.shared_by for c in plans.values() if c.hold_s} == {5}
    assert found[(True, True), 0.0] == ("11", 0.0, 10.0, 0.95, 0.0)  # nothing is held where nothing need be saved
    assert found[(True, True), 0.5] == ("11", 0.5, 4.0, 0.93, 0.5)
    assert found[(True, True), 0.9] == ("01", 0.9, 0.9, 0.84, 0.0)
    assert found[(True, False), 0.5] == ("10", 0.0, 3.0, 0.92, 0.5)
    assert found[(False, True), 0.5] == ("01", 0.0, 3.0, 0.85, 0.0)
    # Two predictions a second have a new picture each, if it serves for half a second.
    assert not any(choice.hold_s for choice in choose_plans(PAIR, costs, worth, rate_hz=2.0).values())
    assert not any(choice.hold_s for choice in choose_plans(PAIR, COSTS, worth, rate_hz=10.0).values())  # no time to save
    assert not any(choice.hold_s for choice in choose_plans(PAIR, costs, PlanWorth(ACCURACY, NO_ERROR), rate_hz=10.0).values())


def test_of_equally_good_plans_with_as_many_sensors_those_that_hold_nothing_are_taken():
    costs = PlanCosts({**COSTS.plan_ms, "11": (10.0, 8.0, 4.5)}, ((5.0,), ()))
    held = {"11": [0.94, 0.94, 0.94], "10": [0.9] * 3}
    for error, expected in ((0.05, (4.5, 0.0)), (0.03, (4.0, 0.5))):  # .90 is within .05 of .94, and not within .03
        worth = PlanWorth(ACCURACY, NO_ERROR, PlanWorth(held, {"11": [error] * 3, "10": [error] * 3}), 0.5)
        choice = choose_plans(PAIR, costs, worth, rate_hz=10.0)[(True, True), 0.5]
        assert (choice.cost_ms, choice.hold_s) == expected and choice.used == (True, True)


@pytest.mark.parametrize(
    "from_ratio, held, expected",
    [
        (0.6, 0.91, (4.5, 0.0)),  # below that ratio, the plan that holds nothing is as good
        (0.5, 0.91, (0.5, 0.5)),  # gives way to the cheapest of those that hold and are as good as the best of them
        (0.5, 0.86, (0.5, 0.5)),  # two standard errors behind it
        (0.5, 0.85, (4.5, 0.0)),  # too far behind it
        (0.5, 0.94, (4.0, 0.5)),  # nothing that holds nothing is as good anyway
    ],
)
def test_from_a_ratio_on_plans_that_hold_their_pictures_come_first_if_they_cost_little_accuracy(from_ratio, held, expected):
    costs = PlanCosts({**COSTS.plan_ms, "11": (10.0, 8.0, 4.5)}, ((5.0,), ()))
    error = {code: [0.02] * 3 for code in ACCURACY}
    worth = PlanWorth(ACCURACY, error, PlanWorth({"11": [held] * 3, "10": [held] * 3}, error), 0.5)
    plans = choose_plans(PAIR, costs, worth, rate_hz=10.0, hold_from_ratio=from_ratio)
    choice = plans[(True, True), 0.5]
    assert (choice.cost_ms, choice.hold_s) == expected and choice.used == (True, True)
    assert plans[(False, True), 0.5].hold_s == 0.0  # the absent sensor has saved enough


@pytest.mark.parametrize(
    "hold_s, rate_hz, shared", [(0.5, 10.0, 5), (0.5, 7.0, 3), (0.5, 2.0, 1), (0.5, 0.5, 1), (0.0, 10.0, 1), (0.3, 10.0, 3)]
)
def test_how_many_predictions_share_a_picture(hold_s, rate_hz, shared):
    assert predictions_per_picture(hold_s, rate_hz) == shared
