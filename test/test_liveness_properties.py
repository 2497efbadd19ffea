"""Properties of liveness that hold for any sequence of messages."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from message_feed import MS, S, started

from sentryfuse_ros.decoders.batch import PayloadFault
from sentryfuse_ros.sensing.liveness import LivenessConfig, SensorLiveness

message = st.tuples(
    st.integers(0, 3),  # periods lost before it
    st.sampled_from([0, 0, 0, 0, 1, 3, 5]),  # fault
    st.sampled_from([0, 0, 0, 0, 0, "zero", 2.0, -2.0, -0.03, -0.7]),  # what is wrong with its stamp [s]
    st.sampled_from([True, True, False]),  # new payload
)


@settings(deadline=None)
@given(st.lists(message, max_size=60), st.lists(st.integers(1, 25), min_size=1, max_size=20))
def test_state_does_not_depend_on_batch_sizes(messages, sizes):
    """Judged one by one or in any batches: same state, counts and reason (the vectorised path is the plain one)."""
    config = LivenessConfig(expected_rate_hz=50, backward_tolerance_s=0.05, max_latency_s=0.5)
    arrival, stamps, faults, prints = [], [], [], []
    now, fingerprint = 10 * S, 1
    for lost, fault, wrong, new in messages:
        now += (1 + lost) * 20 * MS
        fingerprint += new
        arrival.append(now)
        stamps.append(0 if wrong == "zero" else now + round(wrong * S))
        faults.append(fault)
        prints.append(fingerprint)
    single, batched = SensorLiveness(config), SensorLiveness(config)

    def observe(live, a, b):
        live.observe(
            np.array(arrival[a:b], np.int64),
            arrival[b - 1],
            np.array(stamps[a:b], np.int64),
            np.array(faults[a:b], np.uint8),
            np.array(prints[a:b], np.uint64),
        )

    for k in range(len(messages)):
        observe(single, k, k + 1)
    at = turn = 0
    while at < len(messages):
        stop = min(at + sizes[turn % len(sizes)], len(messages))
        observe(batched, at, stop)
        at, turn = stop, turn + 1
    one, many = single.update(now, now), batched.update(now, now)
    for name in ("state", "reason", "received", "dropped", "invalid", "latency_s", "age_s", "stamp_age_s", "alarm"):
        assert getattr(one, name) == getattr(many, name), name


@settings(deadline=None)
@given(st.lists(st.booleans(), max_size=80))
def test_mask_bit_follows_the_documented_rules(bad):
    """Clears within 3 bad in a row; sets only after 3 good in a row; one bad among nine good changes nothing."""
    feed = started()
    live_before = True
    for k, is_bad in enumerate(bad):
        live = feed.send(1, fault=PayloadFault.NAN if is_bad else PayloadFault.NONE)[0].live
        last = bad[max(0, k - 2) : k + 1]
        if len(last) == 3 and all(last):
            assert not live
        if len(last) == 3 and not any(last):
            assert live
        if live and not live_before:
            assert len(last) == 3 and not any(last)
        if live_before and not live:
            assert is_bad and sum(bad[max(0, k - 9) : k + 1]) >= 3
        live_before = live
