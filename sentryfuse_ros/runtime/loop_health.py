"""How the fuse loop is doing: counts, recent latencies, errors, and whether it keeps its rate."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from .recent_times import RecentTimes

LEAST_SHARE = 0.9  # Below this share of fuse_rate_hz the loop is too slow.
WINDOW_S = 5.0  # The rate is measured over this much of the node clock, and over at least WINDOW_PERIODS.
WINDOW_PERIODS = 20
FEWEST_PERIODS = 10  # With less than this to go by, nothing is said of the rate.
MOST_SAMPLES = 2000  # a bound for a clock that stands still, in which no window ever passes
FORWARD_JUMP_S, FASTEST_CLOCK = 10.0, 20.0  # a step of the node clock beyond this is a jump
FAST_CLOCK = 1.5  # A node clock faster than this against the steady clock is named as the cause.


@dataclass(frozen=True, slots=True)
class Sample:
    """The counts of the loop at one moment."""

    node_s: float  # node clock
    steady_s: float  # a clock that never jumps
    resets: int  # backward jumps of the node clock so far
    replaced: int = 0  # snapshots that a newer one displaced before inference
    ticks: int = 0
    published: int = 0
    failed: int = 0


class Health(NamedTuple):
    """The judgement on the loop; ``slow`` and ``failing`` are never both set."""

    slow: bool
    failing: bool
    text: str
    rate_hz: float  # predictions per second of the node clock; NaN where too little time has passed


class LoopHealth:
    """Counts what the loop does; `judge` compares it with ``fuse_rate_hz``. One thread counts predictions, one the rest."""

    def __init__(self, fuse_rate_hz: float):
        self.fuse_rate_hz = fuse_rate_hz
        self.ticks = 0
        self.published = 0
        self.invalid = 0  # published predictions without a live sensor
        self.failed = 0
        self.last_error = ""
        self.latency_ms = RecentTimes()
        self.overhead_ms = RecentTimes()
        self._samples: deque[Sample] = deque(maxlen=MOST_SAMPLES)

    def add(self, valid: bool, latency_ms: float, overhead_ms: float) -> None:
        """Count a published prediction."""
        self.published += 1
        if valid:
            self.latency_ms.add(latency_ms)
            self.overhead_ms.add(overhead_ms)
        else:
            self.invalid += 1

    def fail(self, error: BaseException) -> None:
        """Count an error of the loop."""
        self.failed += 1
        self.last_error = f"{type(error).__name__}: {error}"

    def judge(self, node_s: float, steady_s: float, replaced: int, resets: int, inference_p95_ms: float = math.nan) -> Health:
        """Call it regularly; both clocks in seconds, ``node_s`` 0 while simulated time has not begun."""
        if node_s == 0:
            return Health(True, False, "use_sim_time is set and no /clock has come yet", math.nan)
        now = Sample(node_s, steady_s, resets, replaced, self.ticks, self.published, self.failed)
        if self._samples and (self._samples[-1].resets != resets or self._has_jumped(self._samples[-1], now)):
            self._samples.clear()
        self._samples.append(now)
        window_s = max(WINDOW_S, WINDOW_PERIODS / self.fuse_rate_hz)
        while len(self._samples) > 2 and now.node_s - self._samples[1].node_s >= window_s:
            self._samples.popleft()
        first = self._samples[0]
        if now.failed > first.failed or (now is first and now.failed):
            return Health(False, True, f"{now.failed} errors so far, the last one: {self.last_error}", self._rate(first, now))
        if len(self._samples) > 1 and now.node_s == self._samples[-2].node_s:
            return Health(False, False, "the clock stands still", math.nan)  # a paused simulation is no fault
        rate_hz = self._rate(first, now)
        if rate_hz >= LEAST_SHARE * self.fuse_rate_hz or math.isnan(rate_hz):
            return Health(False, False, "running", rate_hz)
        why = self._why_slow(first, now, inference_p95_ms)
        return Health(True, False, f"{rate_hz:.1f} of {self.fuse_rate_hz:g} predictions per second: {why}", rate_hz)

    @staticmethod
    def _has_jumped(before: Sample, now: Sample) -> bool:
        """Whether the node clock has jumped ahead, which no speed of a simulation explains."""
        return now.node_s - before.node_s > FORWARD_JUMP_S + FASTEST_CLOCK * (now.steady_s - before.steady_s)

    def _rate(self, first: Sample, now: Sample) -> float:
        elapsed_s = now.node_s - first.node_s
        if elapsed_s * self.fuse_rate_hz < FEWEST_PERIODS:
            return math.nan
        return (now.published - first.published) / elapsed_s

    def _why_slow(self, first: Sample, now: Sample, inference_p95_ms: float) -> str:
        if now.steady_s > first.steady_s:
            speed = (now.node_s - first.node_s) / (now.steady_s - first.steady_s)
            if speed > FAST_CLOCK:
                return f"simulated time runs {speed:.1f} times as fast as this machine's clock; play it more slowly"
        if now.replaced - first.replaced > 0.05 * max(now.ticks - first.ticks, 1):
            return (
                f"an inference takes longer than a period of {1e3 / self.fuse_rate_hz:.0f} ms "
                f"(95th percentile {inference_p95_ms:.0f} ms); lower fuse_rate_hz, set latency_target_ms or take a smaller model"
            )
        if now.ticks - first.ticks > 1.05 * (now.published - first.published):
            return "the last inference has not ended yet"
        return "the processor is busy with other things, or a message takes long to decode; lower fuse_rate_hz or poll_rate_hz"
