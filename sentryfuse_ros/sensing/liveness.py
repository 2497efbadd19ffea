"""Can a sensor be trusted? A state with a reason, from arrivals, stamps, faults and fingerprints.

``docs/LIVENESS.md`` explains every state and threshold. Two clocks, both in int nanoseconds, are given by the caller. Silence
is measured on the *arrival* clock, which is steady on a robot and the node clock under simulated time; stamps are compared
with the *node* clock.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, fields

import numpy as np

from ..decoders.batch import PayloadFault
from ..errors import ParameterError
from ..nanoseconds import NS_PER_S
from .rates import BURST_TIMEOUT, UNKNOWN_TIMEOUT_S, ArrivalPause, ArrivalRate, StampPeriod
from .verdicts import RepeatDetector, StampJudge, Verdict


class State(enum.IntEnum):
    """State of one sensor, with the numbers of ``msg/ModalityStatus.msg``. Only OK sets the sensor's bit in the mask."""

    NEVER_SEEN = 0
    OK = 1
    LATE = 2
    STALE = 3
    FROZEN = 4
    INVALID = 5
    RECOVERING = 6
    IMPLAUSIBLE = 7  # it lies (`TrustWatch`)
    DISABLED = 8  # by an operator (`SensorSwitch`)
    ASLEEP = 9  # its driver was asked to stop (`SensorRequests`)


@dataclass(frozen=True, slots=True)
class LivenessConfig:
    """Thresholds of one sensor. Raises ParameterError for values that are not allowed."""

    expected_rate_hz: float = 0.0  # 0: unknown, so it is measured from the stamps
    timeout_s: float = 0.0  # silence after which the sensor is STALE; 0: max(3 sensor periods, 0.2 s)
    frozen_samples: int = 10  # equal payloads in a row that mean FROZEN; 0: never
    invalid_samples: int = 3  # bad messages in a row that mean INVALID or LATE
    good_samples: int = 3  # good messages in a row after which a sensor is OK again
    max_latency_s: float = 1.0  # longest time from stamp to arrival; 0: any latency is accepted
    future_tolerance_s: float = 0.2  # how far a stamp may be ahead of the node clock
    backward_tolerance_s: float = 0.05  # how far a stamp may be behind the newest one
    grace_s: float = 5.0  # a sensor that has not come up raises no alarm for this long
    required: bool = False  # whether a sensor that never came up raises an alarm
    trust_stamps: bool = True  # False: stamps are ignored and the time of arrival is used

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
    """What is known of a sensor at one moment; ``reason`` is "" when it is OK, unless it is suspect."""

    state: State
    reason: str
    rate_hz: float  # measured arrival rate, 0 when unknown
    age_s: float  # since the newest message arrived, -1 when none ever did
    latency_s: float  # stamp to arrival of the newest message with a believable stamp, 0 when unknown
    stamp_age_s: float  # node clock minus the newest believable stamp, -1 when there is none
    timeout_s: float  # silence after which the sensor would be STALE now
    received: int  # messages since the construction, bad ones included
    dropped: int  # messages that never came, by the stamps of those that did
    invalid: int  # messages refused because of a payload fault or an impossible stamp
    alarm: bool  # the sensor should be OK and is not
    overdue: bool = False  # it has never sent anything, and its grace is over
    suspect: bool = False  # it is OK, but what it sends is unlike what the model was trained on

    @property
    def live(self) -> bool:
        """The sensor's bit in the modality mask."""
        return self.state == State.OK


STATE_OF: dict[int, State] = {Verdict.LATE: State.LATE, Verdict.FROZEN: State.FROZEN}  # every other bad verdict means INVALID
SUSPICIOUS_SILENCE = 0.5  # share of the timeout
RECENT_MESSAGES = 10  # if half of these are bad the sensor is INVALID, even if never enough of them came in a row


class SensorLiveness:
    """Follows one sensor: ``observe`` every batch in order, then ``update`` once per tick. Not thread-safe."""

    def __init__(self, config: LivenessConfig | None = None):
        self.config = c = config or LivenessConfig()
        # Remember at least twice a run of bad messages, so that half of them are no fewer than invalid_samples.
        self._memory = max(RECENT_MESSAGES, 2 * c.invalid_samples)
        self._period = StampPeriod(c.expected_rate_hz)
        self._stamps = StampJudge(self._period, c.future_tolerance_s, c.backward_tolerance_s, c.max_latency_s)
        self._repeats = RepeatDetector(c.frozen_samples)
        self._received = self._dropped_by_arrival = self._invalid = 0
        self._ever_received = False
        self.reset()

    def reset(self) -> None:
        """Forget states and stamps, as after a backward jump of time; counts and the measured period stay."""
        self.state = State.NEVER_SEEN
        self._before = State.NEVER_SEEN  # the state that RECOVERING recovers from
        self._cause, self._cause_value_s = int(Verdict.GOOD), 0.0  # last bad verdict, and the seconds its reason quotes
        self._bad_run = self._good_run = 0
        self._recent = 0  # bit k is set if the message k messages ago was bad
        self._stamps.reset()
        self._period.forget_arrivals()
        self._repeats.reset()
        self._arrival_ns: int | None = None
        self._start_ns: int | None = None
        self._was_ok = False
        self._rate, self._pause = ArrivalRate(), ArrivalPause()
        self._returning = False  # since a silence, until the sensor is OK again
        self._return_first_ns, self._return_count = 0, 0  # arrival of the first good message since then, and how many came

    @property
    def timeout_s(self) -> float:
        """Silence [s] after which the next ``update`` gives STALE."""
        return self.config.timeout_s or max(self._period.timeout_s, BURST_TIMEOUT * self._pause.pause_s)

    @property
    def period_s(self) -> float:
        """Time from message to message [s], as given or measured; 0 while it is not known."""
        return self._period.period_ns / NS_PER_S

    def suspicious(self, looked_ns: int) -> bool:
        """Whether the next messages might change the state: one of the last was bad, the last payload was a repetition, or at
        ``looked_ns`` [arrival clock] half of the timeout had passed without a message."""
        if self.state != State.OK or self._recent or self._repeats.run > 1 or self._arrival_ns is None:
            return True
        return looked_ns - self._arrival_ns > SUSPICIOUS_SILENCE * self.timeout_s * NS_PER_S

    def observe(
        self,
        arrival_ns: np.ndarray,
        now_node_ns: int,
        stamp_ns: np.ndarray,
        fault: np.ndarray,
        fingerprint: np.ndarray,
        skipped: bool = False,
    ) -> None:
        """Judge n messages in order of arrival.

        arrival_ns: int64 (n,) on the arrival clock. now_node_ns: node clock when the last of them arrived, 0 if it does not run
        yet, in which case stamps are not compared with it. stamp_ns: int64 (n,). fault: uint8 (n,). fingerprint: uint64 (n,).
        skipped: messages that came before these were left out on purpose; they are neither counted nor missed.
        """
        n = len(stamp_ns)
        if n == 0:
            return
        arrival_ns, stamp_ns = np.asarray(arrival_ns, np.int64), np.asarray(stamp_ns, np.int64)
        fault, fingerprint = np.asarray(fault), np.asarray(fingerprint)
        self._ever_received = True
        self._received += n
        arrival = int(arrival_ns[-1])
        if skipped:
            self._rate.add(arrival, n - 1, since_ns=int(arrival_ns[0]))
        else:
            self._rate.add(arrival, n)
        if skipped:
            self._pause.skip()
        self._pause.add(arrival_ns, self._period.period_ns)
        if not self.config.trust_stamps:
            if skipped:
                self._period.skip_to(int(arrival_ns[0]))
            self._dropped_by_arrival += self._period.gaps_by_arrival(arrival, n - 1 if skipped else n)
        self._arrival_ns = arrival if self._arrival_ns is None else max(self._arrival_ns, arrival)
        self._judge(arrival_ns, now_node_ns, stamp_ns, fault, fingerprint, skipped)
        if self._returning:
            self._follow_return(arrival_ns)

    def _follow_return(self, arrival_ns: np.ndarray) -> None:
        """A sensor that returns from silence may be slower than before: its timeout follows the messages that bring it back."""
        if self.state not in (State.RECOVERING, State.OK):
            self._return_count = 0
            return
        if not self._return_count:
            self._return_first_ns = int(arrival_ns[0])
        self._return_count += len(arrival_ns)
        if self.state == State.OK:
            self._returning = False
            if self._return_count > 1:
                self._period.relearn((int(arrival_ns[-1]) - self._return_first_ns) / (self._return_count - 1))

    def _judge(
        self,
        arrival_ns: np.ndarray,
        now_node_ns: int,
        stamp_ns: np.ndarray,
        fault: np.ndarray,
        fingerprint: np.ndarray,
        skipped: bool,
    ) -> None:
        """Verdicts on n messages, and the states that follow from them."""
        n = len(stamp_ns)
        regular = not self.config.trust_stamps or self._stamps.all_regular(arrival_ns, now_node_ns, stamp_ns, skipped)
        faulty = np.count_nonzero(fault)
        if regular and not faulty and self._repeats.all_fresh(fingerprint):
            self._advance(Verdict.GOOD, n)  # the usual case, and the only one that must be cheap
            return
        verdict = self._repeats.judge(fault, fingerprint)
        bad_value_s = None if regular else self._stamps.judge(arrival_ns, now_node_ns, stamp_ns, verdict, skipped)
        if faulty:
            verdict = np.where(fault, fault.astype(verdict.dtype) + int(Verdict.FAULT), verdict)
        self._invalid += int(np.count_nonzero(verdict >= Verdict.STAMP_ZERO))
        if bad_value_s is not None and np.count_nonzero(verdict >= Verdict.LATE):
            self._cause_value_s = float(bad_value_s[verdict >= Verdict.LATE][-1])
        starts = [0, *(np.flatnonzero(verdict[1:] != verdict[:-1]) + 1).tolist(), n]
        for start, stop in zip(starts[:-1], starts[1:], strict=True):
            self._advance(int(verdict[start]), stop - start)

    def _advance(self, verdict: int, count: int) -> None:
        """Advance the state by ``count`` messages with the same verdict."""
        c = self.config
        shift = min(count, self._memory)
        self._recent = (self._recent << shift) & ((1 << self._memory) - 1)
        if verdict < Verdict.LATE:
            self._bad_run = 0
            if self.state == State.OK:
                return
            if verdict == Verdict.GOOD:  # a repeat counts neither for the sensor nor against it
                self._good_run += count
            if self._good_run >= c.good_samples:
                self.state, self._recent, self._was_ok = State.OK, 0, True
                self._good_run = 0
            elif self._good_run and self.state != State.RECOVERING:
                self._before, self.state = self.state, State.RECOVERING
            return
        self._recent |= (1 << shift) - 1
        self._bad_run += count
        self._good_run = 0
        half_bad = 2 * self._recent.bit_count() >= self._memory
        if self.state != State.OK or verdict == Verdict.FROZEN or self._bad_run >= c.invalid_samples or half_bad:
            self.state, self._cause = STATE_OF.get(verdict, State.INVALID), verdict

    def update(self, now_arrival_ns: int, now_node_ns: int, looked_ns: int | None = None) -> Status:
        """State at this moment, given the two clocks [ns]. Silence is noticed here.

        looked_ns: until when it is known what has arrived [ns, arrival clock], for a sensor that is not looked at all the time.
        """
        if self._start_ns is None:
            self._start_ns = now_arrival_ns
        age_s = -1.0 if self._arrival_ns is None else max(0, now_arrival_ns - self._arrival_ns) / NS_PER_S
        c, timeout_s = self.config, self.timeout_s
        unknown_s = 0.0 if looked_ns is None else max(0, now_arrival_ns - looked_ns) / NS_PER_S
        # A sensor that has just come back may be slower than its timeout knows; the bit is clear meanwhile.
        returning = self.state == State.RECOVERING and self._returning and not (c.timeout_s or c.expected_rate_hz)
        if age_s - unknown_s > (max(timeout_s, UNKNOWN_TIMEOUT_S) if returning else timeout_s) and self.state != State.NEVER_SEEN:
            if not returning and self.state != State.STALE:
                self._good_run = self._return_count = 0
            self._returning = True
            self.state = State.STALE
            self._bad_run = self._recent = 0
        up_s = (now_arrival_ns - self._start_ns) / NS_PER_S
        newest_ns = self._stamps.newest_ns
        stamped = newest_ns and self.config.trust_stamps and now_node_ns > 0
        return Status(
            state=self.state,
            reason="" if self.state == State.OK else self._reason(age_s, timeout_s, up_s),
            rate_hz=self._rate.rate_hz(age_s if self.state == State.STALE else 0.0),
            age_s=age_s,
            latency_s=self._stamps.latency_s,
            stamp_age_s=max(0, now_node_ns - newest_ns) / NS_PER_S if stamped else -1.0,
            timeout_s=timeout_s,
            received=self._received,
            dropped=self._stamps.dropped + self._dropped_by_arrival,
            invalid=self._invalid,
            alarm=self._alarm(up_s),
            overdue=self.state == State.NEVER_SEEN and up_s >= self.config.grace_s,
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
            return f"same payload {self._repeats.run} times in a row, limit {c.frozen_samples}"
        if self._cause == Verdict.LATE:
            return f"latency {self._cause_value_s:.2f} s, limit {c.max_latency_s:.2f} s"
        stamp_reasons: dict[int, str] = {
            Verdict.STAMP_ZERO: "stamp is zero",
            Verdict.STAMP_FUTURE: f"stamp {-self._cause_value_s:.2f} s in the future, tolerance {c.future_tolerance_s:.2f} s",
            Verdict.STAMP_BACK: f"stamp {self._cause_value_s:.2f} s behind the newest, tolerance {c.backward_tolerance_s:.2f} s",
        }
        what = stamp_reasons.get(self._cause) or f"payload {PayloadFault(self._cause - Verdict.FAULT).name}"
        run, recent = self._bad_run, self._recent.bit_count()
        if run >= c.invalid_samples or run == recent:
            return f"{what}, {run} bad in a row"
        return f"{what}, {recent} bad of the last {self._memory}"
