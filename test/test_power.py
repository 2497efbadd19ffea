import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.runtime.governor_config import GovernorConfig
from sentryfuse_ros.runtime.power_governor import PowerGovernor

LEVELS = (0.0, 0.25, 0.5, 0.7, 0.9)
NAN = float("nan")


def governor(**options):
    return PowerGovernor(GovernorConfig(**options), LEVELS)


def at_battery(fraction, charging=False, now_s=0.0, **options):
    g = governor(**options)
    g.battery(fraction, charging, now_s)
    return g.update(now_s)


# ---- curve and levels ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "battery, requested, ratio",
    [(1.0, 0, 0), (0.8, 0, 0), (0.65, 0.15, 0.25), (0.5, 0.3, 0.5), (0.35, 0.5, 0.5), (0.2, 0.7, 0.7)] + [(0.15, 0.8, 0.9)],
)
def test_default_curve(battery, requested, ratio):
    state = at_battery(battery)
    assert state.requested_ratio == pytest.approx(requested, abs=1e-9) and state.ratio == ratio
    assert state.reason == f"battery {battery * 100:.0f} % asks {requested:.2f}"


def test_nothing_known_asks_for_nothing():
    state = governor().update(0.0)
    assert state.ratio == 0 and math.isnan(state.battery_fraction) and math.isnan(state.budget_w)
    assert state.reason == "nothing asks for pruning; no battery reading"


def test_ratio_is_always_a_level_even_when_zero_is_none():
    g = PowerGovernor(GovernorConfig(), (0.7, 0.3))
    assert g.update(0.0).ratio == 0.3
    g.battery(0.05, False, 1.0)
    assert g.update(1.0).ratio == 0.7


def test_float32_requests_hit_their_level():
    g = governor(curve=((0.5, float(np.float32(0.7))),))
    g.battery(0.4, False, 0.0)
    assert float(np.float32(0.7)) != 0.7 and g.update(0.0).ratio == 0.7


# ---- bad battery messages -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad, words", [(NAN, "NaN"), (-1.0, "-1, out of range"), (250.0, "250, out of range")])
def test_unreadable_percentage_keeps_the_last_one(bad, words):
    g = governor()
    g.battery(0.35, False, 0.0)
    g.update(0.0)
    g.battery(bad, False, 1.0)
    state = g.update(1.0)
    assert state.ratio == 0.5 and state.battery_fraction == 0.35
    assert state.reason == f"last battery 35 % asks 0.50; battery reads {words}"


def test_a_battery_unreadable_from_the_start_is_reported():
    state = at_battery(NAN)
    assert state.ratio == 0 and math.isnan(state.battery_fraction) and "battery reads NaN" in state.reason


def test_percentages_instead_of_fractions_are_recognised():
    g = governor()
    g.battery(34.0, False, 0.0)
    assert g.update(0.0).battery_fraction == pytest.approx(0.34)
    g.battery(0.8, False, 1.0)
    assert g.update(1.0).battery_fraction == pytest.approx(0.008), "once percent, always percent"


def test_one_wild_reading_does_not_turn_fractions_into_percent():
    g = governor()
    g.battery(0.9, False, 0.0)
    g.battery(65.0, False, 1.0)
    assert "after fractions" in g.update(1.0).reason and g.update(1.0).battery_fraction == 0.9
    g.battery(0.9, False, 2.0)
    assert g.update(2.0).battery_fraction == 0.9


def test_a_slightly_overfull_battery_is_full():
    assert at_battery(1.02).battery_fraction == 1.0


def test_battery_scale_can_be_set():
    assert at_battery(0.9, battery_scale="percent").battery_fraction == pytest.approx(0.009)
    assert math.isnan(at_battery(34.0, battery_scale="fraction").battery_fraction)


def test_charging_asks_for_the_charging_ratio():
    state = at_battery(0.05, charging=True)
    assert state.ratio == 0 and state.charging and state.reason == "battery 5 % charging asks 0.00"
    assert at_battery(0.05, charging=True, charging_ratio=0.5).ratio == 0.5


def test_a_silent_battery_keeps_its_value_and_is_reported():
    g = governor(battery_timeout_s=30.0)
    g.battery(0.34, False, 0.0)
    assert g.update(29.0).reason == "battery 34 % asks 0.51"
    state = g.update(42.0)
    assert state.ratio == 0.7 and state.reason == "last battery 34 % asks 0.51; battery silent for 42 s"


def test_a_silent_charger_is_not_believed():
    g = governor()
    g.battery(0.3, True, 0.0)
    assert g.update(0.0).ratio == 0
    assert g.update(40.0).ratio == 0.7


# ---- hysteresis and dwell -----------------------------------------------------------------------------------------


def test_hysteresis_holds_a_level():
    g = governor(dwell_s=0, battery_hysteresis=0.03)
    seen = []
    for now, battery in enumerate([0.56, 0.54, 0.56, 0.575, 0.585]):  # more than 0.25 is asked below 55 %
        g.battery(battery, False, now)
        seen.append(g.update(now).ratio)
    assert seen == [0.25, 0.5, 0.5, 0.5, 0.25]


def test_hysteresis_is_reported():
    g = governor(dwell_s=0)
    for now, battery in enumerate([0.54, 0.56]):
        g.battery(battery, False, now)
        state = g.update(now)
    assert state.reason == "battery 56 % asks 0.24, 0.50 kept by hysteresis"


def test_dwell_keeps_a_level_for_its_time():
    g = governor(dwell_s=5.0)
    g.battery(0.9, False, 0.0)
    g.update(0.0)
    g.battery(0.3, False, 1.0)
    state = g.update(1.0)
    assert state.ratio == 0 and state.reason.endswith("0.00 kept for 4.0 s more by dwell")
    assert g.update(4.9).ratio == 0 and g.update(5.0).ratio == 0.7


def test_critical_battery_skips_dwell():
    g = governor(dwell_s=100.0)
    g.battery(0.9, False, 0.0)
    g.update(0.0)
    g.battery(0.09, False, 1.0)
    state = g.update(1.0)
    assert state.ratio == 0.9 and "critical battery 9 %" in state.reason


def test_a_clock_that_goes_back_does_not_hold_the_level_for_ever():
    g = governor(dwell_s=5.0)
    g.battery(0.9, False, 1000.0)
    g.update(1000.0)
    g.battery(0.3, False, 1.0)
    g.update(1.0)
    assert g.update(6.1).ratio == 0.7


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    levels=st.sets(st.sampled_from([0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]), min_size=1),
    minutes=st.integers(10, 120),
    percent=st.booleans(),
)
def test_a_full_drain_visits_every_level_once(seed, levels, minutes, percent):
    """100 to 10 % with +-1 % of noise on every reading: no flapping, and no level passed over."""
    rng = np.random.default_rng(seed)
    g = PowerGovernor(GovernorConfig(), (0.0, *levels))
    seen = []
    for now_s in range(0, minutes * 60 + 1, 2):
        true = 1.0 - 0.9 * now_s / (minutes * 60)
        reading = min(max(true + rng.uniform(-0.01, 0.01), 0.0), 1.0)
        g.battery(reading * (100 if percent else 1), False, float(now_s))
        seen.append(g.update(float(now_s)).ratio)
    changes = [seen[0]] + [b for a, b in zip(seen[:-1], seen[1:], strict=True) if a != b]
    assert changes == sorted({0.0, *levels})


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(allow_nan=True), st.booleans(), st.floats(0, 20)), max_size=40))
def test_any_battery_message_gives_a_level_and_a_reason(messages):
    g, now_s, last_change, last = governor(), 0.0, None, None
    for percentage, charging, step in messages:
        now_s += step
        g.battery(percentage, charging, now_s)
        state = g.update(now_s)
        assert state.ratio in LEVELS and 0 <= state.requested_ratio <= 0.9 and state.reason
        assert math.isnan(state.battery_fraction) or 0 <= state.battery_fraction <= 1
        if last is not None and state.ratio < last:
            assert now_s - last_change >= g.config.dwell_s - 1e-9, "dwell may be skipped upwards only"
        if last is None or state.ratio != last:
            last_change = now_s
        last = state.ratio


# ---- budget -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("watts, ratio", [(20, 0), (15, 0), (10, 0.5), (5, 0.9), (0, 0.9), (7.5, 0.7)])
def test_budget_maps_power_to_ratio(watts, ratio):
    g = governor(p_min_w=5, p_max_w=15)
    g.budget(watts)
    state = g.update(0.0)
    assert state.ratio == ratio and f"power budget {watts:g} W asks" in state.reason and state.budget_w == watts


def test_largest_request_wins():
    g = governor(p_min_w=5, p_max_w=15, dwell_s=0)
    g.battery(0.2, False, 0.0)
    g.budget(10)
    assert g.update(0.0).reason == "battery 20 % asks 0.70"
    g.budget(5)
    assert g.update(1.0).ratio == 0.9 and g.update(1.0).reason.startswith("power budget 5 W asks 0.90")


def test_budget_is_withdrawn_by_nan_and_refused_when_impossible():
    g = governor(p_min_w=5, p_max_w=15, dwell_s=0)
    g.budget(5)
    g.budget(-3)
    state = g.update(0.0)
    assert state.ratio == 0.9 and "power budget -3 W refused" in state.reason
    g.budget(NAN)
    assert g.update(1.0).ratio == 0 and math.isnan(g.update(1.0).budget_w)


def test_budget_without_p_max_w_is_ignored_and_reported():
    g = governor()
    g.budget(7)
    assert "power_budget_max_w is 0" in g.update(0.0).reason and g.update(0.0).ratio == 0


def test_noise_on_the_budget_does_not_flap():
    g = governor(p_min_w=5, p_max_w=15, dwell_s=0)
    seen = set()
    for now in range(100):
        g.budget(10 + 0.2 * (-1) ** now)
        seen.add(g.update(float(now)).ratio)
    assert seen <= {0.5} or len(seen) == 1


# ---- latency ------------------------------------------------------------------------------------------------------


def run_latency(g, p95_of, seconds, start_s=0.0):
    """Tick once a second, p95 as the level in force gives it; gives the ratios."""
    ratio, seen = g.update(start_s).ratio, []
    for k in range(1, seconds + 1):
        g.latency(p95_of(ratio), start_s + k)
        ratio = g.update(start_s + k).ratio
        seen.append(ratio)
    return seen


def test_latency_over_target_raises_one_level_per_dwell():
    g = governor(target_p95_ms=20.0, dwell_s=5.0)
    seen = run_latency(g, lambda ratio: 50.0, 30)
    assert seen[:4] == [0] * 4 and seen[4:9] == [0.25] * 5 and seen[9:14] == [0.5] * 5
    assert seen[-1] == 0.9 and seen == sorted(seen)


def test_latency_settles_without_swinging():
    g = governor(target_p95_ms=20.0, dwell_s=5.0)
    seen = run_latency(g, lambda ratio: 4 + 24 * (1 - ratio), 300)
    assert set(seen[60:]) == {0.5}, "16 ms at 0.5 is comfortable, but 0.25 would take 22 ms"


# Times [ms] at the levels, the first of which saves less than its ratio and the second far more, as plans of measured time do.
CLIFF = {0.0: 20.0, 0.25: 19.0, 0.5: 8.0, 0.7: 7.0, 0.9: 5.0}


def changes_of(ratios):
    return sum(a != b for a, b in zip(ratios[:-1], ratios[1:], strict=True))


def test_a_level_that_takes_longer_than_expected_is_tried_ever_more_rarely():
    g = governor(target_p95_ms=18.0, dwell_s=2.0)
    seen = run_latency(g, CLIFF.__getitem__, 4000)
    assert set(seen[10:]) == {0.25, 0.5} and seen[-1] == 0.5
    assert changes_of(seen[10:1010]) <= 8, "at most four tries in a thousand seconds"
    assert changes_of(seen[1010:]) <= 6


def test_a_level_that_failed_is_tried_at_once_when_the_load_has_gone():
    g = governor(target_p95_ms=18.0, dwell_s=2.0)
    run_latency(g, CLIFF.__getitem__, 20)
    assert run_latency(g, lambda ratio: 0.5 * CLIFF[ratio], 8, start_s=21.0)[-1] == 0.0


def test_a_level_that_failed_is_tried_at_once_for_another_target():
    g = governor(target_p95_ms=18.0, dwell_s=2.0)
    run_latency(g, CLIFF.__getitem__, 20)
    g.configure(GovernorConfig(target_p95_ms=30.0, dwell_s=2.0))
    assert run_latency(g, CLIFF.__getitem__, 8, start_s=21.0)[-1] == 0.0


def test_latency_comfortably_under_lowers_again():
    g = governor(target_p95_ms=20.0, dwell_s=5.0)
    run_latency(g, lambda ratio: 50.0, 30)
    seen = run_latency(g, lambda ratio: 1.0, 30, start_s=100.0)
    assert seen == sorted(seen, reverse=True) and seen[-1] == 0.0
    assert sum(a != b for a, b in zip(seen[:-1], seen[1:], strict=True)) <= 4


def test_latency_counts_from_the_level_the_battery_asks():
    g = governor(target_p95_ms=20.0, dwell_s=5.0)
    g.battery(0.4, False, 0.0)
    assert run_latency(g, lambda ratio: 50.0, 6)[-1] == 0.7


def test_a_target_that_is_switched_on_again_begins_without_the_level_of_the_old_one():
    g = governor(target_p95_ms=20.0, dwell_s=1.0)
    assert run_latency(g, lambda ratio: 50.0, 10)[-1] == 0.9
    g.configure(GovernorConfig(target_p95_ms=0.0, dwell_s=1.0))
    assert g.update(20.0).ratio == 0.0
    g.configure(GovernorConfig(target_p95_ms=100.0, dwell_s=1.0))
    state = g.update(30.0)
    assert state.ratio == 0.0 and "target 20" not in state.reason
    assert set(run_latency(g, lambda ratio: 50.0, 5, start_s=31.0)) == {0.0}


def test_nan_latency_is_ignored():
    g = governor(target_p95_ms=20.0, dwell_s=0.0)
    assert set(run_latency(g, lambda ratio: NAN, 10)) == {0.0}


def test_without_a_target_latency_asks_nothing():
    assert set(run_latency(governor(dwell_s=0.0), lambda ratio: 1e6, 10)) == {0.0}


# ---- override, reset, parameters ----------------------------------------------------------------------------------


def test_override_wins_at_once_and_ends_at_once():
    g = governor(dwell_s=100.0)
    g.battery(0.3, False, 0.0)
    assert g.update(0.0).ratio == 0.7
    g.override(0.0)
    state = g.update(1.0)
    assert state.ratio == 0 and state.overridden and state.reason.startswith("override 0.00; battery 30 % asks 0.57")
    assert state.requested_ratio == pytest.approx(0.3 + 0.4 * 2 / 3)
    g.override(None)
    assert g.update(2.0).ratio == 0.7 and not g.update(2.0).overridden


@pytest.mark.parametrize("ratio", [NAN, -0.1, 0.91, float("inf"), "0.5"])
def test_impossible_override_is_refused_and_the_old_one_stays(ratio):
    g = governor()
    g.override(0.5)
    with pytest.raises(ParameterError, match="pruning_ratio_override"):
        g.override(ratio)
    assert g.update(0.0).ratio == 0.5


def test_reset_keeps_the_battery_and_forgets_waiting_times():
    """A bag loop: the clock starts again at 0 while the battery on the robot is what it was."""
    g = governor(p_min_w=5, p_max_w=15, dwell_s=50.0)
    g.battery(0.3, False, 1000.0)
    g.budget(6)
    g.override(0.25)
    g.update(1000.0)
    g.reset()
    state = g.update(0.0)
    assert state.overridden and state.ratio == 0.25 and state.battery_fraction == 0.3 and state.budget_w == 6
    g.override(None)
    g.reset()
    assert g.update(0.0).ratio == 0.9
    assert "silent" not in g.update(29.0).reason and "silent for 31 s" in g.update(31.0).reason


def test_reset_forgets_the_latency_level():
    g = governor(target_p95_ms=20.0, dwell_s=1.0)
    assert run_latency(g, lambda ratio: 50.0, 10)[-1] == 0.9
    g.reset()
    assert g.update(0.0).ratio == 0.0


@pytest.mark.parametrize(
    "options",
    [
        dict(dwell_s=-1.0),
        dict(battery_hysteresis=NAN),
        dict(charging_ratio=0.95),
        dict(battery_scale="volts"),
        dict(curve=()),
        dict(curve=((0.2, 0.1), (0.5, 0.6))),
        dict(curve=((0.2, 0.5), (0.2, 0.4))),
        dict(curve=((1.2, 0.5),)),
    ],
)
def test_impossible_parameters_are_named(options):
    with pytest.raises(ParameterError, match=list(options)[-1]):
        GovernorConfig(**options)


def test_a_power_budget_range_upside_down_is_named_by_its_parameters():
    with pytest.raises(ParameterError, match="power_budget_max_w: saw 4.*power_budget_min_w 5"):
        GovernorConfig(p_min_w=5.0, p_max_w=4.0)


@pytest.mark.parametrize("levels", [(), (0.0, NAN), (-0.1,), (0.95,)])
def test_impossible_levels_are_named(levels):
    with pytest.raises(ParameterError, match="levels"):
        PowerGovernor(GovernorConfig(), levels)
