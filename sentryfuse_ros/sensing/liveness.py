"""Is a sensor to be believed? States with reasons, from arrivals, stamps, faults and payload fingerprints.

``docs/LIVENESS.md`` explains every state and threshold. Two clocks, both int nanoseconds given by the caller:
*arrival* (steady clock on a robot, node clock under simulated time) tells silence, *node* is what stamps are
compared with. A whole batch is judged with a dozen numpy calls; only changes of verdict cost Python.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, fields

import numpy as np

from ..decoders.batch import PayloadFault
from ..errors import ParameterError
from ..nanoseconds import NS_PER_S
from .rates import ArrivalRate, StampPeriod


class State(enum.IntEnum):
    """State of one sensor; the same numbers as in ``msg/ModalityStatus.msg``. Only OK sets the mask bit."""

    NEVER_SEEN = 0
    OK = 1
    LATE = 2
    STALE = 3
    FROZEN = 4
    INVALID = 5
    RECOVERING = 6


@dataclass(frozen=True, slots=True)
class LivenessConfig:
    """Thresholds of one sensor. Raises ParameterError for values that cannot be."""

    expected_rate_hz: float = 0.0  # 0: unknown, measured from the stamps
    timeout_s: float = 0.0  # silence that makes STALE; 0: max(3 sensor periods, 0.2 s)
    frozen_samples: int = 10  # same payload this often in a row makes FROZEN; 0: never
    invalid_samples: int = 3  # bad messages in a row that make INVALID or LATE
    good_samples: int = 3  # good messages in a row that bring a sensor back
    max_latency_s: float = 1.0  # stamp to arrival; 0: any latency is fine
    future_tolerance_s: float = 0.2  # a stamp may be ahead of the node clock by this
    backward_tolerance_s: float = 0.05  # a stamp may be behind the newest one by this
    grace_s: float = 5.0  # no alarm for a sensor that has not come up yet
    required: bool = False  # alarm also when it never came at all
    trust_stamps: bool = True  # False: stamps are ignored, arrival time is used

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "bool":
                continue
            if not math.isfinite(value) or value < 0:
                raise ParameterError(field.name, value, "a finite number, 0 or greater", f"set {field.name}")
        for name, low in (("invalid_samples", 1), ("good_samples", 1)):
            if getattr(self, name) < low:
                raise ParameterError(name, getattr(self, name), f"at least {low}", f"set {name}")
        if self.frozen_samples == 1:
            raise ParameterError("frozen_samples", 1, "0 (off) or at least 2", "one message alone cannot be frozen")


@dataclass(frozen=True, slots=True)
class Status:
    """What is known of a sensor at one moment; ``reason`` is "" when OK."""

    state: State
    reason: str
    rate_hz: float  # measured arrival rate, 0 when unknown
    age_s: float  # since the newest message arrived, -1 when none ever did
    latency_s: float  # stamp to arrival of the newest message with a believable stamp, 0 when unknown
    stamp_age_s: float  # node clock less the newest believable stamp, -1 when there is none
    timeout_s: float  # silence that would make it STALE now
    received: int  # messages since construction, bad ones included
    dropped: int  # messages missing by the gaps between stamps
    invalid: int  # messages refused: payload fault or impossible stamp
    alarm: bool  # it should be there and is not

    @property
    def live(self) -> bool:
        """The sensor's bit in the modality mask."""
        return self.state == State.OK


# Verdicts on one message. From LATE on they are bad; FAULT + f is payload fault f.
GOOD, REPEAT, LATE, FROZEN, STAMP_ZERO, STAMP_FUTURE, STAMP_BACK, FAULT = range(8)
STATE_OF = {LATE: State.LATE, FROZEN: State.FROZEN}  # every other bad verdict: INVALID

HALF_BAD_OF = 10  # at least half of this many recent messages bad: INVALID though never enough of them in a row


class SensorLiveness:
    """Follows one sensor: ``observe`` every batch in order, then ``update`` once per tick. One thread at a time."""

    def __init__(self, config: LivenessConfig | None = None):
        self.config = config or LivenessConfig()
        c = self.config
        self._future_ns, self._backward_ns = round(c.future_tolerance_s * NS_PER_S), round(c.backward_tolerance_s * NS_PER_S)
        self._late_ns = round(c.max_latency_s * NS_PER_S) if c.max_latency_s else 1 << 62
        self._memory = max(HALF_BAD_OF, 2 * c.invalid_samples)  # so that a longer run is needed where one was asked
        self._received = self._dropped = self._invalid = 0
        self._ever_received = False
        self._period = StampPeriod(c.expected_rate_hz)
        self.reset()

    def reset(self) -> None:
        """Forget states and stamps, as after a backward jump of time; counts and measured period stay."""
        self.state = State.NEVER_SEEN
        self._before = State.NEVER_SEEN  # what RECOVERING recovers from
        self._cause, self._cause_value = GOOD, 0.0
        self._bad_run = self._good_run = 0
        self._recent = 0  # bit k: the message k messages ago was bad
        self._same_run, self._fingerprint = 0, None
        self._newest_stamp = 0
        self._unstamped = 0  # messages without a believable stamp since the newest believable one
        self._latency_s = 0.0
        self._arrival = self._start = None
        self._was_ok = False
        self._rate = ArrivalRate()

    @property
    def timeout_s(self) -> float:
        """Silence [s] after which the next ``update`` says STALE."""
        return self.config.timeout_s or self._period.timeout_s

    # ---- messages ---------------------------------------------------------------------------------------------

    def observe(
        self,
        arrival_ns: np.ndarray,
        now_node_ns: int,
        stamp_ns: np.ndarray,
        fault: np.ndarray,
        fingerprint: np.ndarray,
    ) -> None:
        """Judge n messages in order of arrival.

        arrival_ns int64 (n,) on the arrival clock; now_node_ns: node clock when the last of them arrived, 0 when not
        running yet (stamps are then not compared with it); stamp_ns int64 (n,); fault uint8 (n,); fingerprint
        uint64 (n,).
        """
        n = len(stamp_ns)
        if n == 0:
            return
        arrival_ns, stamp_ns = np.asarray(arrival_ns, np.int64), np.asarray(stamp_ns, np.int64)
        fault, fingerprint = np.asarray(fault), np.asarray(fingerprint)
        self._ever_received = True
        self._received += n
        arrival = int(arrival_ns[-1])
        self._rate.add(arrival, n)
        if not self.config.trust_stamps:
            self._dropped += self._period.gaps_by_arrival(arrival, n)
        self._arrival = arrival if self._arrival is None else max(self._arrival, arrival)
        regular = not self.config.trust_stamps or self._regular_stamps(arrival_ns, now_node_ns, stamp_ns)
        faulty = np.count_nonzero(fault)
        if regular and not faulty and self._fresh(fingerprint):
            self._take(GOOD, n)  # the usual case, and the only one that must be cheap
            return
        verdict = self._repeats(fault, fingerprint)
        bad_value = None if regular else self._judge_stamps(arrival_ns, now_node_ns, stamp_ns, verdict)
        if faulty:
            verdict = np.where(fault, fault.astype(verdict.dtype) + FAULT, verdict)
        self._invalid += int(np.count_nonzero(verdict >= STAMP_ZERO))
        if bad_value is not None and np.count_nonzero(verdict >= LATE):
            self._cause_value = float(bad_value[verdict >= LATE][-1])
        starts = [0, *(np.flatnonzero(verdict[1:] != verdict[:-1]) + 1).tolist(), n]
        for start, stop in zip(starts[:-1], starts[1:], strict=True):
            self._take(int(verdict[start]), stop - start)

    def _fresh(self, fingerprint) -> bool:
        """No payload equals the one before it; takes the batch in when so."""
        if int(fingerprint[0]) == self._fingerprint or np.count_nonzero(fingerprint[1:] == fingerprint[:-1]):
            return False
        self._fingerprint, self._same_run = int(fingerprint[-1]), 1
        return True

    def _regular_stamps(self, arrival_ns, now_node_ns, stamp_ns) -> bool:
        """All stamps are believable, in order and in time; takes the batch in when so."""
        first = int(stamp_ns[0])
        if first <= 0 or first < self._newest_stamp:
            return False
        steps = stamp_ns[1:] - stamp_ns[:-1]
        if np.count_nonzero(steps < 0):
            return False
        if now_node_ns > 0:
            latency = arrival_ns - stamp_ns  # still lacks the offset between the two clocks
            offset = now_node_ns - int(arrival_ns[-1])
            if np.count_nonzero((latency < -self._future_ns - offset) | (latency > self._late_ns - offset)):
                return False
            self._latency_s = (int(latency[-1]) + offset) / NS_PER_S
        if self._newest_stamp:
            gap = first - self._newest_stamp
            if len(steps):  # a batch teaches the period by its own steps; this one would cost as much as all of them
                self._dropped += self._period.gap_by_stamp(gap, self._unstamped)
            else:
                self._dropped += self._period.gaps_by_stamps(np.array([gap]), self._unstamped)
        if len(steps):
            self._dropped += self._period.gaps_by_stamps(steps)
        self._newest_stamp, self._unstamped = int(stamp_ns[-1]), 0
        return True

    def _judge_stamps(self, arrival_ns, now_node_ns, stamp_ns, verdict) -> np.ndarray:
        """Write the bad stamps into `verdict` (n,), take the others in; gives the seconds a reason quotes, (n,)."""
        zero = stamp_ns <= 0
        future = np.zeros_like(zero)
        node = None
        if now_node_ns > 0:
            node = arrival_ns + (now_node_ns - int(arrival_ns[-1]))  # node clock when each message arrived
            future = ~zero & (stamp_ns > node + self._future_ns)
        newest = np.maximum.accumulate(np.where(zero | future, self._newest_stamp, stamp_ns))
        newest = np.maximum(newest, self._newest_stamp)
        before = np.concatenate(([self._newest_stamp], newest[:-1]))
        back = ~(zero | future) & (stamp_ns < before - self._backward_ns)
        believable = ~(zero | future | back)
        self._take_stamps(newest, believable)
        value_ns = before - stamp_ns
        if node is not None:
            latency = node - stamp_ns
            verdict[(verdict < LATE) & (latency > self._late_ns)] = LATE  # a frozen payload is the worse of the two
            value_ns = np.where(back, value_ns, latency)
            if believable.any():
                self._latency_s = float(latency[believable][-1]) / NS_PER_S
        verdict[zero], verdict[future], verdict[back] = STAMP_ZERO, STAMP_FUTURE, STAMP_BACK
        return value_ns / NS_PER_S

    def _take_stamps(self, newest: np.ndarray, believable: np.ndarray) -> None:
        """Count the gaps between believable stamps; messages that came without one fill a gap."""
        at = np.flatnonzero(believable)
        if not len(at):
            self._unstamped += len(newest)
            return
        unstamped = np.cumsum(~believable)
        filled = np.diff(unstamped[at], prepend=-self._unstamped)
        steps = np.diff(newest[at], prepend=self._newest_stamp)
        if not self._newest_stamp:
            steps, filled = steps[1:], filled[1:]
        self._dropped += self._period.gaps_by_stamps(steps, filled)
        self._newest_stamp = int(newest[-1])
        self._unstamped = int(unstamped[-1] - unstamped[at[-1]])

    def _repeats(self, fault: np.ndarray, fingerprint: np.ndarray) -> np.ndarray:
        """Verdicts GOOD, REPEAT (same payload as before) or FROZEN (for the frozen_samples-th time or more), int (n,).

        Messages with a fault are passed over: a stuck camera stays stuck through a malformed message.
        """
        verdict = np.zeros(len(fault), np.int16)
        at = np.flatnonzero(fault == 0)
        if not len(at):
            return verdict
        prints = fingerprint[at]
        changed = np.ones(len(at), bool)
        changed[0] = int(prints[0]) != self._fingerprint
        changed[1:] = prints[1:] != prints[:-1]
        index = np.arange(1, len(at) + 1)
        # Length of the run each message stands in; the first run goes on from the batch before.
        run = index - np.maximum.accumulate(np.where(changed, index - 1, -self._same_run))
        verdict[at] = run > 1
        if self.config.frozen_samples:
            verdict[at[run >= self.config.frozen_samples]] = FROZEN
        self._fingerprint, self._same_run = int(prints[-1]), int(run[-1])
        return verdict

    # ---- states -----------------------------------------------------------------------------------------------

    def _take(self, verdict: int, count: int) -> None:
        """Advance the state by `count` messages of one verdict."""
        c = self.config
        shift = min(count, self._memory)
        self._recent = (self._recent << shift) & ((1 << self._memory) - 1)
        if verdict < LATE:
            self._bad_run = 0
            if self.state == State.OK:
                return
            if verdict == GOOD:  # a repeat neither speaks for the sensor nor against it
                self._good_run += count
            if self._good_run >= c.good_samples:
                self.state, self._recent, self._was_ok = State.OK, 0, True
            elif self._good_run and self.state != State.RECOVERING:
                self._before, self.state = self.state, State.RECOVERING
            return
        self._recent |= (1 << shift) - 1
        self._bad_run += count
        self._good_run = 0
        half_bad = 2 * self._recent.bit_count() >= self._memory
        if self.state != State.OK or verdict == FROZEN or self._bad_run >= c.invalid_samples or half_bad:
            self.state, self._cause = STATE_OF.get(verdict, State.INVALID), verdict

    def update(self, now_arrival_ns: int, now_node_ns: int) -> Status:
        """State at this moment: silence is noticed here. Arguments: the two clocks now [ns]."""
        if self._start is None:
            self._start = now_arrival_ns
        age_s = -1.0 if self._arrival is None else max(0, now_arrival_ns - self._arrival) / NS_PER_S
        timeout_s = self.timeout_s
        if age_s > timeout_s and self.state != State.NEVER_SEEN:
            self.state = State.STALE
            self._bad_run = self._good_run = self._recent = 0
        up_s = (now_arrival_ns - self._start) / NS_PER_S
        seen = self._newest_stamp and self.config.trust_stamps and now_node_ns > 0
        return Status(
            state=self.state,
            reason="" if self.state == State.OK else self._reason(age_s, timeout_s, up_s),
            rate_hz=self._rate.rate_hz(age_s if self.state == State.STALE else 0.0),
            age_s=age_s,
            latency_s=self._latency_s,
            stamp_age_s=max(0, now_node_ns - self._newest_stamp) / NS_PER_S if seen else -1.0,
            timeout_s=timeout_s,
            received=self._received,
            dropped=self._dropped,
            invalid=self._invalid,
            alarm=self._alarm(up_s),
        )

    def _alarm(self, up_s: float) -> bool:
        if self.state == State.OK:
            return False
        wanted = self.config.required or self._ever_received
        return self._was_ok or (wanted and up_s >= self.config.grace_s)

    def _reason(self, age_s: float, timeout_s: float, up_s: float) -> str:
        c = self.config
        if self.state == State.NEVER_SEEN:
            return f"no message yet after {up_s:.1f} s, grace {c.grace_s:.1f} s"
        if self.state == State.STALE:
            return f"no message for {age_s:.2f} s, timeout {timeout_s:.2f} s"
        if self.state == State.RECOVERING:
            return f"{self._good_run} of {c.good_samples} good messages after {self._before.name}"
        if self.state == State.FROZEN:
            return f"same payload {self._same_run} times in a row, limit {c.frozen_samples}"
        if self._cause == LATE:
            return f"latency {self._cause_value:.2f} s, limit {c.max_latency_s:.2f} s"
        what = {
            STAMP_ZERO: "stamp is zero",
            STAMP_FUTURE: f"stamp {-self._cause_value:.2f} s in the future, tolerance {c.future_tolerance_s:.2f} s",
            STAMP_BACK: f"stamp {self._cause_value:.2f} s behind the newest, tolerance {c.backward_tolerance_s:.2f} s",
        }.get(self._cause) or f"payload {PayloadFault(self._cause - FAULT).name}"
        run, recent = self._bad_run, self._recent.bit_count()
        if run >= c.invalid_samples or run == recent:
            return f"{what}, {run} bad in a row"
        return f"{what}, {recent} bad of the last {self._memory}"
