"""What battery drivers send beside the definition of BatteryState: overfull gauges, empty messages, several packs."""

import math

import pytest

from sentryfuse_ros.runtime.battery_packs import MOST_PACKS, BatteryPacks
from sentryfuse_ros.runtime.governor_config import GovernorConfig
from sentryfuse_ros.runtime.power_governor import PowerGovernor

LEVELS = tuple(i / 10 for i in range(10))


def run(readings, period_s=1.0, **options):
    """The governor's states after each reading; a reading is a percentage, or keyword arguments of `battery`."""
    governor = PowerGovernor(GovernorConfig(**options), LEVELS)
    states = []
    for i, reading in enumerate(readings):
        values = reading if isinstance(reading, dict) else {"percentage": reading}
        governor.battery(**{"charging": False, "now_s": i * period_s, **values})
        states.append(governor.update(i * period_s))
    return states


def changes(states):
    return sum(a.ratio != b.ratio for a, b in zip(states, states[1:]))


def test_a_gauge_that_overshoots_on_the_charger_stays_a_full_battery():
    readings = [
        (0.97, True),
        (1.17, True),
        (1.18, True),
        (1.18, True),
        (1.05, False),
        (0.99, False),
        (0.95, False),
        (0.95, False),
    ]
    states = run([{"percentage": value, "charging": charging} for value, charging in readings], 2.5)
    assert [state.battery_fraction for state in states] == pytest.approx([0.97, 1, 1, 1, 1, 0.99, 0.95, 0.95])
    assert {state.ratio for state in states} == {0.0} and not any(state.trouble for state in states)


def test_a_first_reading_between_full_and_nearly_empty_is_not_guessed():
    state = run([1.5])[-1]
    assert math.isnan(state.battery_fraction) and state.ratio == 0 and "set battery_scale" in state.trouble
    assert run([1.5], battery_scale="percent")[-1].battery_fraction == pytest.approx(0.015)
    assert run([34.0, 1.5])[-1].battery_fraction == pytest.approx(0.015), "after percentages it is one"


def test_a_message_that_was_never_filled_in_is_no_empty_battery():
    state = run([{"percentage": 0.0, "filled": False}])[-1]
    assert state.ratio == 0 and math.isnan(state.battery_fraction) and "not filled in" in state.trouble
    assert run([0.4, {"percentage": 0.0, "filled": False}])[-1].battery_fraction == pytest.approx(0.4)


@pytest.mark.parametrize("period_s", [0.1, 1.0, 5.0])
def test_of_two_packs_with_names_the_lower_counts(period_s):
    states = run([{"percentage": 0.85, "pack": "id0"}, {"percentage": 0.35, "pack": "id1"}] * 30, period_s)
    assert changes(states) <= 1 and {state.battery_fraction for state in states[1:]} == {0.35}
    assert "lowest of 2 packs" in states[-1].reason and not states[-1].trouble


@pytest.mark.parametrize("readings", [(0.35, 0.85), (0.85, 0.35), (0.35, 0.85, 0.6)])
@pytest.mark.parametrize("period_s", [0.1, 1.0])
def test_of_packs_without_names_the_lower_counts_and_it_is_said(readings, period_s):
    states = run(list(readings) * 40, period_s)
    assert changes(states) <= 2 and changes(states[40:]) == 0
    assert {state.battery_fraction for state in states[10:]} == {0.35}
    assert "in turn, the lower counts" in states[-1].trouble


def test_a_changed_battery_is_believed_at_once_and_a_sagging_one_too():
    assert run([0.2, 0.9])[-1].battery_fraction == 0.9
    assert run([0.5, 0.3])[-1].battery_fraction == 0.3


def test_after_the_lower_pack_falls_silent_the_other_counts():
    states = run([0.35, 0.85] * 5 + [0.85] * 60)
    assert states[12].battery_fraction == 0.35 and states[-1].battery_fraction == 0.85 and not states[-1].trouble
    named = [{"percentage": 0.35, "pack": "a"}, *[{"percentage": 0.85, "pack": "b"}] * 60]
    assert [state.battery_fraction for state in run(named)][::30] == [0.35, 0.35, 0.85]


def test_an_empty_slot_beside_a_pack_is_left_out():
    empty = {"percentage": 0.0, "pack": "slot 2", "filled": False}
    states = run([{"percentage": 0.6, "pack": "slot 1"}, empty, {"percentage": 0.3, "pack": "slot 2"}, empty])
    assert [round(state.battery_fraction, 2) for state in states] == [0.6, 0.6, 0.3, 0.6]


def test_a_driver_that_renames_its_pack_all_the_time_fills_no_memory():
    packs = BatteryPacks()
    for i in range(1000):
        packs.read(0.5, False, float(i), "auto", f"serial {i}")
    assert len(packs) == MOST_PACKS
