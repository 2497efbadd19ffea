"""When a sensor is no longer believed, and when it is again, from the judgements on its windows."""

from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from virtual_robot import FOUR

from sentryfuse_ros.nanoseconds import NS_PER_S as NS
from sentryfuse_ros.sensing.liveness import State, Status
from sentryfuse_ros.sensing.trust_table import Judgement, Plausibility, TrustTable
from sentryfuse_ros.sensing.trust_watch import EVIDENCE_S, MEMORY_S, UNDECIDED, TrustWatch

CAMERA, IMU = (next(spec for spec in FOUR if spec.name == name) for name in ("camera", "imu"))
SHOWS = Judgement(Plausibility.IMPLAUSIBLE, "a reason", "swapped", frozenset({"swapped"}))
STRANGE = Judgement(Plausibility.IMPLAUSIBLE, "a reason")
GREY = Judgement(Plausibility.NEAR, "", possible=frozenset({"swapped"}))  # exchanged or not, a grey picture looks alike
GREEN = Judgement(Plausibility.NEAR, "")
STEP_S = 0.2


# These tests bring their own judgements.
ZERO, ONE = np.zeros(1), np.ones(1)
TABLE = TrustTable(("a quantity",), ZERO, ONE, np.array([[-1.0, 1.0]]), np.ones((1, 2)), ZERO, np.eye(1), 1.0, 1.3)


class Drive:
    """A watch that is given one judgement every 0.2 s."""

    def __init__(self, spec):
        self.watch, self.times = TrustWatch(spec, TABLE, True, 3, 3), count(1)
        self.now_s = 0.0

    def see(self, judgement, windows=1):
        for _ in range(windows):
            self.now_s = STEP_S * next(self.times)
            self.watch.follow(round(self.now_s * NS), judgement)
        return self.watch.distrusted

    def until(self, judgement, distrusted):
        """Seconds of such windows until the sensor is (or is no longer) distrusted."""
        begin = self.now_s
        while self.watch.distrusted != distrusted:
            self.see(judgement)
            assert self.now_s < begin + 60
        return self.now_s - begin


@pytest.mark.parametrize("judgement", [SHOWS, STRANGE])
def test_pictures_must_be_implausible_for_a_while(judgement):
    drive = Drive(CAMERA)
    assert not drive.see(judgement, 4)
    assert drive.see(judgement) and drive.now_s == pytest.approx(EVIDENCE_S + STEP_S)


def test_a_window_of_steps_holds_its_evidence():
    """The virtual robot's IMU window is a second long; the judged half of it reaches as far before the first bad window."""
    drive = Drive(IMU)
    assert drive.until(STRANGE, True) <= EVIDENCE_S - IMU.window_s / 2 + 2 * STEP_S


def test_a_window_without_rows_is_not_judged():
    """As of the slower of two topics, all of whose rows may be newer than the newest of the other."""
    watch = TrustWatch(IMU, TABLE, True, 3, 3)
    step_ns = round(IMU.window_s / IMU.shape[0] * NS)
    stamps = NS + np.arange(20) * step_ns
    assert watch.has_holes(stamps[:0]) and watch.has_holes(stamps[::10]) and not watch.has_holes(stamps)


def test_strange_windows_that_are_not_in_a_row_mask_nothing():
    drive = Drive(CAMERA)
    for _ in range(10):
        assert not drive.see(STRANGE, 3) and not drive.see(GREEN)
        assert not drive.see(SHOWS, 3) and not drive.see(GREEN)


def test_windows_that_say_nothing_of_a_lie_neither_hide_it_nor_bring_the_sensor_back():
    drive = Drive(CAMERA)
    drive.see(SHOWS, 2)
    assert not drive.see(GREY, 10)
    assert drive.see(SHOWS)
    assert drive.see(GREY, 30)
    status = drive.watch.apply(Status(State.OK, "", 10.0, 0.05, 0.01, 0.06, 0.3, 100, 0, 0, False))
    assert status.state == State.IMPLAUSIBLE and status.reason == f"a reason; {UNDECIDED}"
    assert drive.until(GREEN, False) == pytest.approx(3 * STEP_S, abs=STEP_S)


def test_a_lie_that_was_suspected_long_ago_is_forgotten():
    drive = Drive(CAMERA)
    drive.see(SHOWS, 2)
    drive.see(GREY, round(MEMORY_S / STEP_S) + 1)
    assert not drive.see(SHOWS, 2)


def test_nobody_is_distrusted_for_ever():
    drive = Drive(CAMERA)
    drive.until(SHOWS, True)
    assert drive.until(GREY, False) == pytest.approx(20, abs=1)
    drive.until(STRANGE, True)
    assert drive.until(GREEN, False) == pytest.approx(3 * STEP_S)


def test_rows_from_before_the_lie_was_disproved_are_not_believed():
    drive = Drive(CAMERA)
    drive.until(SHOWS, True)
    drive.see(GREY, 5)
    drive.see(GREEN)
    first_s = drive.now_s
    drive.until(GREEN, False)
    assert drive.watch.good_from_ns == round(first_s * NS)


def test_the_first_window_that_disproves_a_lie_bounds_what_is_believed_however_many_said_nothing_before():
    drive = Drive(CAMERA)
    drive.until(SHOWS, True)
    drive.see(GREY, 45)  # together they count more than one window that disproves it
    status = drive.watch.apply(Status(State.OK, "", 10.0, 0.05, 0.01, 0.06, 0.3, 100, 0, 0, False))
    assert status.state == State.IMPLAUSIBLE and status.reason == f"a reason; {UNDECIDED}"
    drive.see(GREEN)
    first_s = drive.now_s
    assert drive.watch.apply(replace(status, state=State.OK)).state == State.RECOVERING
    drive.until(GREEN, False)
    assert drive.watch.good_from_ns == round(first_s * NS)


def test_a_lie_that_was_suspected_before_a_long_time_without_windows_is_forgotten():
    drive = Drive(CAMERA)
    drive.see(SHOWS, 4)
    for _ in range(round(MEMORY_S / STEP_S) + 1):
        next(drive.times)  # the sensor is not judged, as while a plan leaves it out
    assert not drive.see(SHOWS, 4) and drive.see(SHOWS)
