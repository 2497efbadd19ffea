"""Our filter beside the message_filters of ROS: it keeps the sets that theirs loses, and both can be connected."""

from types import SimpleNamespace

import pytest

from sentryfuse_ros.sensing.snapshot_synchronizer import MatchedSet, SnapshotSynchronizer

MS = 1_000_000
S = 1000 * MS


@pytest.fixture
def upstream():
    return pytest.importorskip(
        "message_filters", reason="message_filters comes with a ROS install (not on PyPI): comparison left out"
    )


def ros_message(stamp_ms):
    from std_msgs.msg import Header

    sec, nanosec = divmod(round(stamp_ms * MS), S)
    header = Header()
    header.stamp.sec, header.stamp.nanosec = sec, nanosec
    return SimpleNamespace(header=header, ms=stamp_ms)


def both(upstream, n, **options):
    """The same inputs, real message_filters ones, into theirs and ours; gives sources and the two lists of sets."""
    sources = [upstream.SimpleFilter() for _ in range(n)]
    theirs, ours = [], []
    stock = upstream.ApproximateTimeSynchronizer(sources, 50, 0.005)
    stock.registerCallback(lambda *messages: theirs.append([m.ms for m in messages]))
    sync = SnapshotSynchronizer(sources, 50, 0.005, timeout_s=0.3, **options)
    sync.registerCallback(lambda *messages: ours.append([m and m.ms for m in messages]))
    return sources, stock, theirs, sync, ours


def test_sets_continue_when_one_input_is_silent(upstream):
    (a, b, _), _, theirs, _, ours = both(upstream, 3)
    for k in range(1000):
        a.signalMessage(ros_message(k * 10))
        b.signalMessage(ros_message(k * 10))
    assert len(theirs) == 0
    assert ours == [[k * 10, k * 10, None] for k in range(1000)]


def test_sets_continue_after_a_bag_loop_with_full_queues(upstream):
    (a, b, c), _, theirs, _, ours = both(upstream, 3)
    for k in range(300):
        a.signalMessage(ros_message(9000 + k * 10))
        b.signalMessage(ros_message(9000 + k * 10))
    theirs.clear(), ours.clear()
    for k in range(300):
        for source in (a, b, c):
            source.signalMessage(ros_message(k * 10))
    assert len(theirs) < 30, "upstream evicts the newest message, the one with the smallest stamp"
    assert len([s for s in ours if None not in s]) >= 299


def test_a_raising_callback_does_not_lock_the_filter(upstream):
    a, b = upstream.SimpleFilter(), upstream.SimpleFilter()
    stock = upstream.ApproximateTimeSynchronizer([a, b], 50, 0.005)

    def broken(*_):
        raise RuntimeError("no disk")

    stock.registerCallback(broken)
    a.signalMessage(ros_message(0))
    with pytest.raises(RuntimeError):
        b.signalMessage(ros_message(0))
    assert stock.lock.locked(), "theirs: every further message would wait for ever"

    c, d = upstream.SimpleFilter(), upstream.SimpleFilter()
    sync = SnapshotSynchronizer([c, d], 50, 0.005, on_error=lambda *_: None)
    got = []
    sync.registerCallback(broken)
    sync.registerCallback(lambda *messages: got.append(messages))
    for k in range(10):
        c.signalMessage(ros_message(k * 100)), d.signalMessage(ros_message(k * 100))
    assert len(got) == 10 and not sync._lock.locked()


def test_both_give_the_same_sets_for_healthy_inputs(upstream):
    (a, b, c), _, theirs, _, ours = both(upstream, 3)
    for k in range(500):
        for jitter, source in enumerate((b, a, c)):
            source.signalMessage(ros_message(k * 20 + jitter))
    assert theirs == ours and len(ours) == 500


def test_other_filters_can_be_connected_behind(upstream):
    a, b, c = (upstream.SimpleFilter() for _ in range(3))
    sync = SnapshotSynchronizer([a, b], as_set=True)
    cache = upstream.Cache(sync, 10)
    got = []
    upstream.TimeSynchronizer([sync, c], 10).registerCallback(lambda *messages: got.append(messages))
    for k in range(5):
        for source in (a, b, c):
            source.signalMessage(ros_message(k * 100))
    assert len(got) == 5 and isinstance(got[0][0], MatchedSet) and len(got[0][0].messages) == 2
    assert cache.getLast().messages[0].ms == 400
