"""States of one sensor: coming up, silence, faults, stamps, counts and reasons."""

import numpy as np
import pytest
from message_feed import EPOCH, MS, Feed, S, started

from sentryfuse_ros.decoders.batch import PayloadFault
from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.sensing.liveness import LivenessConfig, SensorLiveness, State


def first_not_ok(statuses):
    return next((k + 1 for k, status in enumerate(statuses) if not status.live), None)


# ---- coming up, silence, coming back ------------------------------------------------------------------------------


def test_never_seen_alarms_only_when_required_and_after_grace():
    feed = Feed(required=True, grace_s=2.0)
    assert feed.status().state == State.NEVER_SEEN and not feed.status().alarm
    assert not feed.wait(1.9).alarm
    late = feed.wait(0.2)
    assert late.alarm and late.reason == "no message yet after 2.1 s, grace 2.0 s" and late.age_s == -1
    assert not Feed(required=False, grace_s=0.0).wait(9.0).alarm


def test_good_samples_bring_a_new_sensor_up():
    feed = Feed()
    feed.status()
    first, second, third = feed.send(3)
    assert first.state == State.RECOVERING and first.reason == "1 of 3 good messages after NEVER_SEEN"
    assert not first.alarm, "coming up for the first time is no alarm"
    assert second.state == State.RECOVERING and third.state == State.OK and third.reason == ""


def test_stale_at_the_first_update_after_the_timeout():
    feed = started(30.0)
    assert feed.wait(0.2).live
    gone = feed.wait(0.001)
    assert gone.state == State.STALE and gone.alarm
    assert feed.wait(0.229).reason == "no message for 0.43 s, timeout 0.20 s"
    assert not gone.live


def test_timeout_is_three_periods_of_a_slow_sensor():
    feed = started(2.0)
    assert feed.status().timeout_s == pytest.approx(1.5)
    assert feed.wait(1.49).live and not feed.wait(0.02).live


def test_timeout_parameter_overrides_the_period():
    feed = started(30.0, timeout_s=0.7)
    assert feed.wait(0.69).live and not feed.wait(0.02).live


@pytest.mark.parametrize("rate_hz", [1.0, 5.0, 30.0, 400.0])
def test_timeout_of_an_unknown_rate_is_measured(rate_hz):
    feed = Feed(rate_hz, config=LivenessConfig(expected_rate_hz=0))
    feed.status()
    assert feed.send(40)[-1].timeout_s == pytest.approx(max(3 / rate_hz, 0.2), rel=1e-3)
    assert feed.status().rate_hz == pytest.approx(rate_hz, rel=0.05)
    assert not feed.wait(max(3 / rate_hz, 0.2) + 0.01).live


def test_measured_period_survives_loss_of_a_third():
    feed = Feed(5.0, config=LivenessConfig())
    rng = np.random.default_rng(1)
    lost = 0
    for _ in range(400):
        if rng.random() < 1 / 3:
            feed.now_ns += feed.period_ns
            lost += 1
        else:
            feed.send()
    status = feed.status()
    assert status.timeout_s == pytest.approx(0.6) and status.rate_hz == pytest.approx(5 * 2 / 3, rel=0.25)
    assert 0.9 * lost <= status.dropped <= lost, "all but those lost before the period was known"


def test_alarm_lasts_until_enough_good_samples_have_come():
    feed = started()
    feed.wait(1.0)
    first, second, third = feed.send(3)
    assert (first.state, second.state, third.state) == (State.RECOVERING, State.RECOVERING, State.OK)
    assert second.alarm and second.reason == "2 of 3 good messages after STALE" and not third.alarm


def test_one_message_per_timeout_never_sets_the_bit():
    feed = started()
    for _ in range(10):
        assert not feed.wait(0.3).live
        assert not feed.send(1)[0].live


@pytest.mark.parametrize("rate_hz", [0.4, 3.0, 10.0])
def test_a_sensor_that_comes_back_slower_is_live_after_three_messages_and_stays(rate_hz):
    feed = Feed(30.0, config=LivenessConfig())
    feed.send(100)
    feed.wait(5.0)
    live = []
    for _ in range(30):
        for _ in range(20):  # ticks between its messages
            live.append(feed.wait(1 / rate_hz / 20).live)
        feed.now_ns -= feed.period_ns  # `send` advances by the old period
        live.append(feed.send(1)[0].live)
    assert live.index(True) == 3 * 21 - 1 and all(live[3 * 21 :])
    assert feed.status().timeout_s == pytest.approx(max(3 / rate_hz, 0.2), rel=0.02)


def test_a_sensor_that_comes_back_slower_is_not_waited_for_where_its_rate_is_given():
    feed = started()
    feed.wait(5.0)
    assert not any(feed.send(1)[0].live or feed.wait(0.3).live for _ in range(30))


def test_bursts_of_arrivals_are_no_silence():
    feed, states = Feed(200.0, config=LivenessConfig()), []
    for burst in range(40):
        stamps = EPOCH + feed.now_ns + np.arange(60) * feed.period_ns
        feed.now_ns += round(0.3 * S)
        feed.fingerprint += 60
        feed.batch([feed.now_ns] * 60, stamps, [0] * 60, np.arange(60) + feed.fingerprint)
        for _ in range(3):
            feed.now_ns += 1
            states.append((burst, feed.wait(0.09).state))
        feed.now_ns -= 3 * (round(0.09 * S) + 1)
    assert {state for burst, state in states if burst > 10} == {State.OK}
    assert feed.status().dropped == 0 and feed.wait(0.61).state == State.STALE


# ---- frozen -------------------------------------------------------------------------------------------------------


def test_frozen_at_the_tenth_equal_payload():
    feed = started()
    statuses = feed.send(9, same=True)  # with the last good one: ten
    assert first_not_ok(statuses) == 9
    assert statuses[-1].state == State.FROZEN and statuses[-1].reason == "same payload 10 times in a row, limit 10"
    assert feed.send(3, same=True)[-1].reason == "same payload 13 times in a row, limit 10"
    assert first_not_ok(feed.send(3)[-1:]) is None


def test_no_false_alarm_when_few_frames_repeat():
    feed = started()
    for _ in range(50):
        assert all(status.live for status in feed.send(8, same=True) + feed.send(1))


def test_one_changed_frame_does_not_bring_a_frozen_camera_back():
    feed = started()
    feed.send(20, same=True)
    assert not feed.send(1)[0].live
    assert not any(status.live for status in feed.send(30, same=True))


def test_a_stuck_camera_stays_stuck_through_malformed_messages():
    feed = started()
    for _ in range(4):
        feed.send(4, same=True)
        stuck, feed.fingerprint = feed.fingerprint, 77
        feed.send(1, fault=PayloadFault.MALFORMED, same=True)
        feed.fingerprint = stuck
    assert not feed.status().live


def test_frozen_can_be_switched_off():
    feed = started(frozen_samples=0)
    assert all(status.live for status in feed.send(100, same=True))


def test_equal_payloads_bring_a_sensor_up_where_frozen_is_switched_off():
    """The commands of a robot that drives straight ahead are equal from the first one on."""
    feed = Feed(frozen_samples=0)
    assert [status.live for status in feed.send(4, same=True)] == [False, False, True, True]
    feed.wait(2.0)
    assert [status.live for status in feed.send(4, same=True)] == [False, False, True, True]


# ---- invalid and late ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [fault for fault in PayloadFault if fault])
def test_three_faults_in_a_row_are_invalid(fault):
    feed = started()
    statuses = feed.send(5, fault=fault)
    assert first_not_ok(statuses) == 3
    assert statuses[2].state == State.INVALID and statuses[2].invalid == 3
    assert statuses[2].reason == f"payload {fault.name}, 3 bad in a row"


def test_single_bad_samples_among_good_ones_do_not_clear_the_bit():
    feed = started()
    for _ in range(30):
        assert feed.send(1, fault=PayloadFault.NAN)[0].live
        assert all(status.live for status in feed.send(4))
    assert feed.status().invalid == 30


def test_single_good_samples_among_bad_ones_do_not_set_it():
    feed = started()
    feed.send(5, fault=PayloadFault.BLACK)
    for _ in range(30):
        assert not any(status.live for status in feed.send(2) + feed.send(1, fault=PayloadFault.BLACK))


def test_faults_before_the_recovery_do_not_count_after_it():
    feed = started()
    feed.send(8, fault=PayloadFault.NAN)
    assert feed.send(3)[-1].live
    assert feed.send(1, fault=PayloadFault.NAN)[0].live


def test_every_second_message_bad_is_invalid_within_ten():
    feed = started()
    statuses = [feed.send(1, fault=PayloadFault.NAN if k % 2 == 0 else PayloadFault.NONE)[0] for k in range(10)]
    assert statuses[-1].state == State.INVALID or statuses[-2].state == State.INVALID
    assert "5 bad of the last 10" in statuses[8].reason


@pytest.mark.parametrize(
    "send, words",
    [
        (dict(stamp_ns=0), "stamp is zero, 3 bad in a row"),
        (dict(stamp_offset_s=2.31), "stamp 2.31 s in the future, tolerance 0.20 s, 3 bad in a row"),
        (dict(stamp_offset_s=-3600.0), "behind the newest, tolerance 0.05 s, 3 bad in a row"),
    ],
)
def test_impossible_stamps_are_invalid(send, words):
    feed = started()
    statuses = feed.send(4, **send)
    assert first_not_ok(statuses) == 3 and statuses[2].state == State.INVALID
    assert words in statuses[2].reason
    assert statuses[2].invalid == 3


@pytest.mark.parametrize("send", [dict(stamp_ns=0), dict(stamp_offset_s=9.0), dict(stamp_offset_s=-9.0)])
def test_stamps_do_not_matter_when_not_trusted(send):
    feed = started(trust_stamps=False)
    assert all(status.live for status in feed.send(30, **send))
    assert feed.status().latency_s == 0 and feed.status().dropped == 0 and feed.status().stamp_age_s == -1


def test_dropped_by_arrival_when_stamps_are_not_trusted():
    feed = Feed(100.0, trust_stamps=False)
    for tick in range(1, 51):  # drained in uneven batches, nothing lost
        n = 10 + (tick % 2) - ((tick + 1) % 2)
        feed.batch([tick * 100 * MS] * n, [0] * n, [0] * n, range(tick * 100, tick * 100 + n))
    feed.now_ns = 5 * S
    assert feed.status().dropped <= 1
    feed.batch([6 * S] * 50, [0] * 50, [0] * 50, range(50))  # half of a second's messages
    assert 48 <= feed.status().dropped <= 51


def test_stamps_slightly_out_of_order_are_accepted():
    feed = started(100.0)
    for _ in range(20):
        assert feed.send(1, stamp_offset_s=-0.03)[0].live
        assert feed.send(1)[0].live
    assert feed.status().invalid == 0


def test_messages_with_too_much_latency_are_late():
    feed = started(max_latency_s=0.5, backward_tolerance_s=10.0)
    statuses = feed.send(4, stamp_offset_s=-1.2)
    assert first_not_ok(statuses) == 3 and statuses[2].state == State.LATE
    assert statuses[2].reason == "latency 1.20 s, limit 0.50 s" and statuses[2].invalid == 0
    assert statuses[2].latency_s == pytest.approx(1.2)
    assert feed.send(3)[-1].live


def test_any_latency_is_fine_when_the_limit_is_off():
    feed = Feed(max_latency_s=0.0)
    assert feed.send(5, stamp_offset_s=-100.0)[-1].live


def test_before_the_node_clock_runs_stamps_are_not_compared_with_it():
    live = SensorLiveness(LivenessConfig(expected_rate_hz=10))
    for k in range(1, 6):
        live.observe(np.array([k * 100 * MS]), 0, np.array([EPOCH + k * 100 * MS]), np.zeros(1), np.array([k]))
    assert live.update(510 * MS, 0).live


def test_bad_then_good_in_one_batch_is_processed_in_order():
    feed = started(400.0)
    start = feed.now_ns

    def drain(faults):
        times = [feed.now_ns + (k + 1) * feed.period_ns for k in range(len(faults))]
        feed.batch(times, [EPOCH + t for t in times], faults, range(feed.fingerprint, feed.fingerprint + len(times)))
        feed.fingerprint += 100
        feed.now_ns = times[-1]
        return feed.status()

    assert drain([0] * 30 + [3] * 10).state == State.INVALID
    assert drain([3] * 30 + [0] * 10).live
    assert drain([3] * 38 + [0] * 2).state == State.RECOVERING
    assert feed.now_ns > start


# ---- counts, rates, alarm, reset ----------------------------------------------------------------------------------


def test_gaps_between_stamps_count_as_dropped():
    feed = started(100.0)
    for missing in (1, 4, 0, 7):
        feed.now_ns += missing * feed.period_ns
        feed.send(3)
    assert feed.send(2)[-1].dropped == 12


def test_gap_inside_a_batch_counts_as_dropped():
    feed = started(100.0)
    times = [feed.now_ns + k * feed.period_ns for k in (1, 2, 5, 6, 7, 8, 9)]
    feed.batch(times, [EPOCH + t for t in times], [0] * 7, range(7))
    feed.now_ns = times[-1]
    assert feed.status().dropped == 2 and feed.status().live


def test_messages_that_are_stamped_late_or_out_of_order_are_not_dropped():
    feed = started(100.0)
    for _ in range(20):
        feed.send(1, stamp_offset_s=0.008)
        feed.send(3)
        feed.send(1, stamp_offset_s=-0.03)
        feed.send(3)
    assert feed.status().dropped == 0 and feed.status().invalid == 0
    feed.now_ns += 6 * feed.period_ns
    assert feed.send(5)[-1].dropped == 6


@pytest.mark.parametrize("broken_too", [False, True], ids=["all regular", "with a message without stamp"])
@pytest.mark.parametrize(("late_s", "dropped"), [(0.065, 0), (0.005, 0), (0.1, 1)], ids=["late", "in time", "lost"])
def test_before_messages_that_are_left_out_on_purpose_a_late_one_is_told_from_a_lost_one(broken_too, late_s, dropped):
    feed = started(10.0)
    feed.send(stamp_offset_s=late_s)  # what comes after it, which would tell, is left out
    feed.now_ns += 3 * feed.period_ns
    first = EPOCH + feed.now_ns
    stamps = [first, 0, first + feed.period_ns] if broken_too else [first, first + feed.period_ns]
    feed.now_ns += feed.period_ns
    feed.batch([feed.now_ns] * len(stamps), stamps, [0] * len(stamps), range(len(stamps)), skipped=True)
    assert feed.send(8)[-1].dropped == dropped


@pytest.mark.parametrize("late_s", [0.0, 0.01], ids=["even stamps", "uneven stamps"])
def test_losses_count_also_where_only_two_messages_in_a_row_are_looked_at(late_s):
    feed, random, lost = started(10.0), np.random.default_rng(0), 0
    for look in range(400):
        feed.now_ns += 4 * feed.period_ns
        gone = random.random() < 0.2
        stamps = EPOCH + feed.now_ns + np.array([0, (1 + gone) * feed.period_ns]) + random.uniform(0, late_s * S, 2)
        feed.now_ns += (1 + gone) * feed.period_ns + round(late_s * S)
        feed.batch([feed.now_ns] * 2, stamps, [0, 0], [2 * look, 2 * look + 1], skipped=True)
        lost += gone
    assert 0.9 * (lost - 1) <= feed.status().dropped <= lost


def test_a_message_without_stamp_is_not_also_counted_as_dropped():
    feed = started(100.0)
    feed.send(1, fault=PayloadFault.MALFORMED, stamp_ns=0)
    feed.send(3)
    assert feed.status().dropped == 0 and feed.status().invalid == 1 and feed.status().received == 9


@pytest.mark.parametrize("batch", [1, 7, 40])
def test_rate_is_right_for_messages_taken_in_batches(batch):
    feed = Feed(400.0)
    for _ in range(800 // batch):
        times = [feed.now_ns + (k + 1) * feed.period_ns for k in range(batch)]
        feed.now_ns = times[-1]
        feed.batch([feed.now_ns] * batch, [EPOCH + t for t in times], [0] * batch, range(1, batch + 1))
    assert feed.status().rate_hz == pytest.approx(400, rel=0.02)
    assert feed.wait(10.0).rate_hz < 5, "a silent sensor has no rate"


def test_latency_is_stamp_to_arrival_on_the_node_clock():
    feed = Feed()
    assert feed.send(4, stamp_offset_s=-0.08)[-1].latency_s == pytest.approx(0.08)
    assert feed.wait(0.1).stamp_age_s == pytest.approx(0.18)
    assert feed.status().age_s == pytest.approx(0.1)


@pytest.mark.parametrize("trust_stamps", [True, False])
def test_no_messages_are_missing_of_the_time_before_a_reset(trust_stamps):
    """As of a sensor that an operator disabled for a while, or of a node that was inactive."""
    feed = started(10.0, trust_stamps=trust_stamps)
    feed.wait(30.0)
    feed.liveness.reset()
    assert feed.send(20)[-1].dropped == 0


def test_reset_forgets_the_state_and_keeps_the_counts():
    feed = started()
    feed.liveness.reset()
    assert feed.status().state == State.NEVER_SEEN and feed.status().received == 5 and not feed.status().alarm
    assert feed.send(3, stamp_offset_s=-1e6)[-1].state == State.LATE, "stamps restart: late, not going back"
    feed.liveness.reset()
    assert feed.send(3)[-1].live
    feed.liveness.reset()
    feed.status()
    assert feed.wait(6.0).alarm, "it was there before the reset: its absence is an alarm after the grace time"


@pytest.mark.parametrize(
    "name, value",
    [("timeout_s", -1), ("timeout_s", float("nan")), ("good_samples", 0), ("invalid_samples", 0), ("frozen_samples", 1)]
    + [("expected_rate_hz", float("inf")), ("max_latency_s", -0.1)],
)
def test_impossible_threshold_is_named(name, value):
    with pytest.raises(ParameterError, match=name):
        LivenessConfig(**{name: value})
