"""Whether the fuse loop keeps its rate, and what is said of it when it does not."""

import math

import pytest

from sentryfuse_ros.runtime.loop_health import LoopHealth


class Loop:
    """A loop at 10 Hz that is judged once a second of a steady clock."""

    def __init__(self, speed=1.0):
        self.health, self.steady_s, self.speed = LoopHealth(10.0), 100.0, speed
        self.resets = self.replaced = 0

    def run(self, seconds, published_hz=10.0, ticks_hz=10.0, replaced_hz=0.0):
        """Rates count per second of the node clock; returns the last judgement."""
        for _ in range(seconds):
            self.steady_s += 1
            self.health.ticks += round(ticks_hz * self.speed)
            self.health.published += round(published_hz * self.speed)
            self.replaced += round(replaced_hz * self.speed)
            verdict = self.judge()
        return verdict

    def judge(self):
        return self.health.judge(1000 + self.steady_s * self.speed, self.steady_s, self.replaced, self.resets, 140.0)


def test_a_loop_that_keeps_its_rate_is_running():
    verdict = Loop().run(10)
    assert not verdict.slow and not verdict.failing and verdict.text == "running" and verdict.rate_hz == pytest.approx(10)


def test_one_late_tick_is_not_slow():
    loop = Loop()
    loop.run(9)
    assert not loop.run(1, published_hz=9).slow


def test_slow_inference_is_named_with_its_time():
    verdict = Loop().run(10, published_hz=6, ticks_hz=10, replaced_hz=4)
    assert verdict.slow and "6.0 of 10 predictions per second" in verdict.text
    assert "95th percentile 140 ms" in verdict.text and "period of 100 ms" in verdict.text


def test_a_busy_processor_is_named():
    verdict = Loop().run(10, published_hz=5, ticks_hz=5)
    assert verdict.slow and "processor is busy" in verdict.text


def test_simulated_time_that_runs_too_fast_is_named():
    verdict = Loop(speed=10.0).run(10, published_hz=2.9, ticks_hz=2.9)
    assert verdict.slow and verdict.rate_hz == pytest.approx(2.9)
    assert "2.9 of 10 predictions per second: simulated time runs 10.0 times as fast" in verdict.text


def test_without_a_clock_it_says_so():
    verdict = LoopHealth(10.0).judge(0.0, 5.0, 0, 0)
    assert verdict.slow and "no /clock" in verdict.text and math.isnan(verdict.rate_hz)


def test_a_clock_that_stands_still_is_said_and_is_no_fault():
    loop = Loop()
    loop.run(10)
    loop.speed, node_s = 0.0, 1000 + loop.steady_s
    verdict = None
    for _ in range(30):
        loop.steady_s += 1
        verdict = loop.health.judge(node_s, loop.steady_s, 0, 0)
    assert not verdict.slow and not verdict.failing and verdict.text == "the clock stands still"


def test_it_recovers():
    loop = Loop()
    assert loop.run(10, published_hz=5).slow
    assert not loop.run(8).slow


def test_a_backward_jump_starts_the_measurement_anew():
    loop = Loop()
    loop.run(10)
    loop.resets, loop.speed = 1, 0.5  # the node clock is now far behind
    verdict = loop.judge()
    assert math.isnan(verdict.rate_hz) and not verdict.slow


def test_an_error_is_reported_with_its_text_and_fades():
    loop = Loop()
    loop.run(3)
    loop.health.fail(ValueError("no such plan"))
    verdict = loop.run(1)
    assert verdict.failing and not verdict.slow and "ValueError: no such plan" in verdict.text
    assert not loop.run(10).failing


def test_a_forward_jump_is_no_fast_clock():
    loop = Loop()
    loop.run(10)
    before = 1000 + loop.steady_s
    loop.steady_s += 1
    loop.health.published += 10
    verdict = loop.health.judge(before + 101, loop.steady_s, 0, 0)
    assert math.isnan(verdict.rate_hz) and not verdict.slow
