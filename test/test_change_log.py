"""What the log says of sensors and of the ratio: every event once, and little of a sensor that flaps."""

from dataclasses import replace

import pytest
from message_feed import Feed

from sentryfuse_ros.nodes.change_log import LINE_PERIOD_S, LINES_AT_ONCE, ChangeLog
from sentryfuse_ros.runtime.power_governor import PowerGovernor
from sentryfuse_ros.sensing.liveness import State

POWER = PowerGovernor().update(0.0)
NEVER = Feed().status()
OK = replace(NEVER, state=State.OK, reason="")
STALE = replace(NEVER, state=State.STALE, reason="no message for 0.43 s, timeout 0.20 s", alarm=True)
RECOVERING = replace(NEVER, state=State.RECOVERING, reason="1 of 3 good messages after STALE", alarm=True)


class Listener:
    """A log of one camera; time passes as a test says."""

    def __init__(self):
        self.log, self.now_s = ChangeLog(["camera"]), 0.0
        self.tell(NEVER)  # says the pruning ratio

    def tell(self, status, after_s=0.1):
        self.now_s += after_s
        return self.log.follow({"camera": status}, POWER, 500.0 + self.now_s)


def texts(lines):
    return [line.text for line in lines]


def test_loss_and_return_are_one_line_each():
    camera = Listener()
    assert texts(camera.tell(OK)) == ["camera: OK"] and camera.tell(OK) == []
    (lost,) = camera.tell(STALE)
    assert lost.warns and lost.text == "camera: STALE, no message for 0.43 s, timeout 0.20 s"
    assert camera.tell(STALE) == [] and camera.tell(RECOVERING) == []
    (back,) = camera.tell(OK, after_s=2.8)
    assert not back.warns and back.text == "camera: OK again after 3.0 s"


def test_a_sensor_that_returns_suspect_is_said_in_one_readable_sentence():
    camera = Listener()
    camera.tell(OK)
    camera.tell(STALE)
    (back,) = camera.tell(replace(OK, reason="unlike what the model was trained on: g", suspect=True), after_s=3.0)
    assert back.warns and back.text == "camera: OK again after 3.0 s, unlike what the model was trained on: g"


def test_a_flapping_sensor_is_throttled_and_the_rest_is_counted():
    camera = Listener()
    lines = [line for _ in range(300) for status in (STALE, OK) for line in camera.tell(status)]  # five changes a second
    most = LINES_AT_ONCE + 60 / LINE_PERIOD_S
    assert LINES_AT_ONCE < len(lines) <= most + 1
    counted = sum(int(text.split("(")[1].split()[0]) for text in texts(lines) if "more changes" in text)
    assert counted + len(lines) == pytest.approx(600, abs=10 * LINE_PERIOD_S + 1)


def test_what_a_flapping_sensor_ends_in_is_said_in_the_end():
    camera = Listener()
    for _ in range(20):
        camera.tell(OK)
        camera.tell(STALE)
    lines = camera.tell(OK) + camera.tell(OK, after_s=2 * LINE_PERIOD_S)
    assert texts(lines)[-1].startswith("camera: OK again after")


def test_a_required_sensor_that_never_comes_is_said_once():
    camera = Listener()
    assert camera.tell(NEVER) == []
    overdue = replace(NEVER, alarm=True, overdue=True, reason="no message yet after 5.1 s, grace 5.0 s")
    (line,) = camera.tell(overdue, after_s=5.0)
    assert line.warns and "NEVER_SEEN, no message yet after 5.1 s" in line.text and "camera.topic" in line.text
    assert camera.tell(overdue) == []


def test_a_sensor_that_never_comes_and_is_not_required_is_said_without_alarm():
    (line,) = Listener().tell(replace(NEVER, overdue=True))
    assert not line.warns and line.text.startswith("camera: NEVER_SEEN")


def test_ratio_is_said_when_it_changes():
    camera = Listener()
    higher = replace(POWER, ratio=0.3, reason="battery 50 % asks 0.30")
    lines = camera.log.follow({"camera": NEVER}, higher, 501.0)
    assert texts(lines) == ["pruning ratio 0.30: battery 50 % asks 0.30"]
    assert camera.log.follow({"camera": NEVER}, higher, 501.1) == []


def test_a_suspect_sensor_is_news_once_and_so_is_its_end():
    listener = Listener()
    suspect = replace(OK, reason="unlike what the model was trained on: g", suspect=True)
    lines = [line for status in (OK, suspect, suspect, suspect, OK, OK) for line in listener.tell(status, LINE_PERIOD_S)]
    assert [line.text for line in lines] == ["camera: OK", "camera: OK, unlike what the model was trained on: g", "camera: OK"]
    assert [line.warns for line in lines] == [False, True, False]
