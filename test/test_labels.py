"""Labels: what holds at a time and over a stretch of time."""

from sentryfuse_ros.bags.labels import TOUCHING_NS, Labels
from sentryfuse_ros.nanoseconds import NS_PER_S as NS
from sentryfuse_ros.replay.scores import is_steady


def test_labels_covering_a_stretch_of_time():
    labels = Labels.of_seconds([(0, 10, "sand"), (10, 20, "sand"), (30, 40, "wood")])

    def covering(*stretch_s):
        return labels.covering(*(t * NS for t in stretch_s))

    assert covering(0, 9) == covering(2, 20) == ("sand",) and covering(31, 40) == ("wood",)
    assert all(covering(*stretch) == () for stretch in ((-1, 5), (15, 25), (22, 25), (35, 41)))
    joined = Labels.of([(0, 10, "sand"), (10, 20, "wood")])
    assert joined.covering(5, 15) == ("sand", "wood") and joined.covering(10, 20) == ("wood",)


def test_seconds_that_were_rounded_leave_no_time_without_a_label():
    """Seconds since 1970 with six digits behind the point may be off by half a microsecond at either side."""
    labels = Labels.of([(0, NS, "sand"), (NS + TOUCHING_NS - 1, 2 * NS, "sand"), (2 * NS + TOUCHING_NS, 3 * NS, "sand")])
    assert labels.covering(NS // 2, 3 * NS // 2) == ("sand",) and labels.covering(3 * NS // 2, 5 * NS // 2) == ()


LABELS = Labels.of_seconds(((0.0, 4.0, "sand"), (4.0, 6.0, "grass"), (7.0, 10.0, "sand")))


def test_labels_at_between_and_steady():
    assert [LABELS.at_s(t) for t in (-0.1, 0.0, 3.999, 4.0, 6.5, 7.0, 10.0)] == ["", "sand", "sand", "grass", "", "sand", ""]
    assert LABELS.between(3 * NS, 8 * NS) == ("sand", "grass", "sand") and LABELS.between(62 * NS // 10, 68 * NS // 10) == ()
    steady = [is_steady(LABELS, t, NS) for t in (0.5, 1.0, 4.5, 5.0, 6.5, 7.5, 8.5)]
    assert steady == [False, True, False, True, False, False, True]
    assert LABELS.repeated(2, 20 * NS).at_s(25.0) == "grass"


def test_time_since_the_label_changed():
    s = 10**9
    labels = Labels.of_seconds([(0, 2, "sand"), (2, 3, "sand"), (3, 5, "wood"), (5, 6, "wood"), (7, 8, "wood"), (8, 9, "tiles")])
    known = {3.5: 0.5, 5.5: 2.5, 8.25: 0.25}
    assert {t: labels.seconds_since_change(round(t * s)) for t in known} == known
    # The beginning of a recording is no change, and after a time without a label nobody knows when there was one.
    assert [labels.seconds_since_change(round(t * s)) for t in (-1, 1, 2.5, 6.5, 7.5, 9)] == [None] * 6
