"""Judge every injected fault: did the mask follow it in time?"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..sensing.rest import LONGEST_REST_S
from ..sensing.trust_watch import UNDECIDED
from .faults import InjectedFault
from .recorded_state import RecordedState
from .run_record import StatusRow
from .schedule import DeliveryLog

# A tick comes up to 0.35 fuse periods late, because it waits for a sample; 1.5 periods cover that and the tick itself.
TICK_ALLOWANCE = 1.5  # fuse periods
LIE_S = 2.0  # within which a lie is noticed that the model can notice, and after whose end the sensor is believed again
# In a replay the fuser's clock is behind its messages by up to this: /clock comes every 5 ms, and one may be lost. A tick just
# before the end of a fault may therefore have the first message after it.
CLOCK_LAG_S = 0.02


@dataclass(frozen=True)
class SensorLimits:
    """The parameters of one sensor that decide how soon a fault must be noticed. ``period_s``: between its messages."""

    timeout_s: float
    good_samples: int
    frozen_samples: int
    invalid_samples: int
    period_s: float
    max_latency_s: float


@dataclass(frozen=True)
class Limits:
    """What is promised for a run; `overhead_ms` is the limit of the 99th percentile of the overhead.

    speed: of the playback. At half of it, a fuse period lasts twice as long on the wall clock. Above 1, no overhead is promised.
    """

    fuse_period_s: float
    sensors: Mapping[str, SensorLimits]
    overhead_ms: float = 10.0
    speed: float = 1.0

    @property
    def gap_s(self) -> float:
        """The longest pause between two predictions on the wall clock."""
        return round(2 * self.fuse_period_s / min(self.speed, 1.0), 6)


@dataclass(frozen=True)
class FaultVerdict:
    """How one fault was noticed and recovered from, in seconds.

    A time is None if it could not be observed; `note` says why. seen_as: the states that the sensor had meanwhile.
    """

    sensor: str
    kind: str
    from_s: float
    to_s: float
    mask_clear_s: float | None = None
    clear_limit_s: float | None = None
    mask_return_s: float | None = None
    return_limit_s: float | None = None
    seen_as: tuple[str, ...] = ()
    kept: bool = True
    note: str = ""

    def describe(self) -> str:
        """The fault, how it was noticed and recovered from, and what there is to say of that, in a line."""
        seen = [f"seen as {'/'.join(self.seen_as)}"] if self.seen_as else []
        if self.mask_clear_s is not None:
            seen.append(f"left out after {self.mask_clear_s:g} s{_in_brackets(self.clear_limit_s)}")
        elif self.clear_limit_s is not None:
            seen.append(f"never left out{_in_brackets(self.clear_limit_s)}")
        if self.mask_return_s is not None:
            seen.append(f"back {self.mask_return_s:g} s after enough good messages{_in_brackets(self.return_limit_s)}")
        elif self.return_limit_s is not None:
            seen.append(f"not back after enough good messages{_in_brackets(self.return_limit_s)}")
        told = "; ".join(part for part in (", ".join(seen), self.note) if part)
        return f"{self.sensor} {self.kind} {self.from_s:g}-{self.to_s:g} s: {told or 'not noticed'}"


def _in_brackets(limit_s: float | None) -> str:
    return "" if limit_s is None else f" (limit {limit_s:g} s)"


class _Step(NamedTuple):
    """One of the two halves of a verdict: clearing the mask, or returning to it."""

    seconds: float | None
    limit_s: float | None
    kept: bool
    note: str


def judge_fault(
    fault: InjectedFault,
    statuses: Sequence[StatusRow],
    delivered: DeliveryLog,
    limits: Limits,
    end_s: float,
    recorded: RecordedState | None = None,
) -> FaultVerdict:
    """Compare one fault with the promises. ``recorded`` is asked before the fuser is accused of a late return.

    mask_clear_s counts from the start of the fault; mask_return_s from the sound message after its end that completes the
    good_samples, because the sensor cannot return earlier.
    """
    name = fault.sensor
    if not delivered.all_s.get(name):
        return FaultVerdict(name, fault.kind, fault.from_s, fault.to_s, note="the recording has no such sensor")
    if fault.from_s >= end_s:
        return FaultVerdict(name, fault.kind, fault.from_s, fault.to_s, note="the recording ends before it begins")
    during = [row for row in statuses if fault.from_s <= row.t_s < fault.to_s - CLOCK_LAG_S and name in row.states]
    seen_as = tuple(dict.fromkeys(row.states[name].state for row in during if row.states[name].state != "OK"))
    times = [row.t_s for row in statuses]
    ok = [row.of(name).state == "OK" for row in statuses]
    rests = [row.of(name).rests for row in statuses]
    cleared = _judge_clear(fault, times, ok, rests, limits)
    returned = _Step(None, None, True, "")
    before = next((row.of(name).state for row in reversed(statuses) if row.t_s < fault.from_s), "")
    if before == "IMPLAUSIBLE":
        returned = _Step(None, None, True, "what it sends was implausible before the fault too, so no return is promised")
    elif cleared.seconds is not None:
        after = [row.of(name) for row in statuses if fault.to_s <= row.t_s < fault.to_s + LIE_S]
        # What is judged of a sensor at the end of a fault is still made of its data, so distrust may begin then.
        distrusted = fault.kind == "lie" or "IMPLAUSIBLE" in (*seen_as, *(status.state for status in after))
        returned = _judge_return(fault, times, ok, delivered, limits, end_s, recorded, distrusted)
        if distrusted and not returned.kept and any(status.reason.endswith(UNDECIDED) for status in after):
            returned = returned._replace(kept=True, note="its data said nothing of the lie, so no return within 2 s is promised")
    return FaultVerdict(
        name,
        fault.kind,
        fault.from_s,
        fault.to_s,
        mask_clear_s=cleared.seconds,
        clear_limit_s=cleared.limit_s,
        mask_return_s=returned.seconds,
        return_limit_s=returned.limit_s,
        seen_as=seen_as,
        kept=cleared.kept and returned.kept,
        note="; ".join(note for note in (cleared.note, returned.note) if note),
    )


def _judge_clear(
    fault: InjectedFault, times: Sequence[float], ok: Sequence[bool], rests: Sequence[bool], limits: Limits
) -> _Step:
    """When the mask cleared after the start of a fault, and whether that was soon enough.

    A sensor that rests when the fault begins, or comes to rest before it must be noticed, is looked at less often.
    """
    sensor = limits.sensors[fault.sensor]
    worst_s = {
        "off": sensor.timeout_s,
        "freeze": max(sensor.timeout_s, (sensor.frozen_samples + 1) * sensor.period_s),
        "garbage": max(sensor.timeout_s, (sensor.invalid_samples + 1) * sensor.period_s),
        "delay": sensor.timeout_s,
        "lie": LIE_S,
    }.get(fault.kind)
    first = bisect.bisect_left(times, fault.from_s)
    cleared = next((t for t, good in zip(times[first:], ok[first:]) if not good and t < fault.to_s), None)
    seconds, note = None, ""
    if first >= len(times) or (first and not ok[first - 1]):
        seconds, note = 0.0, "already not live when the fault began"
    elif cleared is not None:
        seconds = round(cleared - fault.from_s, 3)
    elif fault.kind == "delay" and fault.by_s <= sensor.max_latency_s and fault.by_s < sensor.timeout_s:
        note, worst_s = "a delay this short is within max_latency_s", None
    elif fault.kind == "lie":
        note, worst_s = "it was not noticed: the model knows no such lie, or does not judge this sensor", None
    elif fault.kind == "corrupt":
        note = "single wrong bytes were within what the sensor may measure"
    elif fault.kind in ("slow", "intermittent", "burst"):
        note = "messages kept coming within the timeout"
    if worst_s is None:
        return _Step(seconds, None, True, note)
    worst_s += TICK_ALLOWANCE * limits.fuse_period_s
    if any(rests[max(first - 1, 0) : bisect.bisect_right(times, fault.from_s + worst_s)]):
        worst_s += LONGEST_REST_S
    limit_s = round(worst_s, 3)
    if seconds is None:
        return _Step(None, limit_s, False, note or "the mask never cleared")
    return _Step(seconds, limit_s, bool(seconds <= limit_s), note)


def _judge_return(
    fault: InjectedFault,
    times: Sequence[float],
    ok: Sequence[bool],
    delivered: DeliveryLog,
    limits: Limits,
    end_s: float,
    recorded: RecordedState | None,
    distrusted: bool,
) -> _Step:
    """When the mask bit returned after the end of a fault, and whether soon enough. ``distrusted``: it was IMPLAUSIBLE."""
    sensor, sound_s = limits.sensors[fault.sensor], delivered.sound_s.get(fault.sensor, [])
    all_s = delivered.all_s[fault.sensor]
    could_be_ok_s = ready_after(0.0, all_s, sound_s, sensor)
    was_ok = any(good for t, good in zip(times, ok, strict=True) if t < fault.from_s)
    if could_be_ok_s is not None and could_be_ok_s < fault.from_s - limits.fuse_period_s and not was_ok:
        return _Step(None, None, True, "it was not OK before the fault either, so nothing is promised")
    ready_s = ready_after(fault.to_s, all_s, sound_s, sensor)
    if ready_s is None:
        after = len(sound_s) - bisect.bisect_left(sound_s, fault.to_s)
        return _Step(
            None,
            None,
            True,
            "the recording ends before it could return"
            if after < sensor.good_samples
            else f"the recording never has {sensor.good_samples} good messages in a row afterwards, so nothing is promised",
        )
    enough = bisect.bisect_right(sound_s, ready_s)
    patience_s = 0.0
    if distrusted:
        patience_s = LIE_S
    elif fault.kind in ("slow", "intermittent", "delay", "burst"):
        patience_s = sensor.timeout_s
    limit_s = round(TICK_ALLOWANCE * limits.fuse_period_s + patience_s, 3)
    returned = next((t for t, good in zip(times, ok, strict=True) if t >= fault.to_s and good), None)
    if returned is None:
        # A sensor that falls silent again at once is never OK at a tick; no promise is broken by that.
        silent_s = sound_s[enough] - ready_s if enough < len(sound_s) else end_s - ready_s
        step = _Step(None, limit_s, bool(silent_s > sensor.timeout_s), "it did not return")
    else:
        seconds = round(max(0.0, returned - ready_s), 3)
        step = _Step(seconds, limit_s, bool(seconds <= limit_s), "")
    if step.kept or recorded is None:
        return step
    could_s, why = recorded(fault.sensor, fault.to_s)
    if could_s is None:
        return step._replace(kept=True, note=f"nothing is promised, because its recorded messages are refused: {why}")
    if returned is None or could_s <= ready_s:
        return step
    seconds = round(max(0.0, returned - could_s), 3)
    return _Step(seconds, limit_s, bool(seconds <= limit_s), "counted from when its recorded messages are good")


def ready_after(t_s: float, all_s: Sequence[float], sound_s: Sequence[float], sensor: SensorLimits) -> float | None:
    """When ``good_samples`` sound messages in a row have come after a time; None if they never do.

    A message that is not sound begins the count anew, and so does a silence that is longer than the timeout.
    """
    sound = Counter(sound_s)
    run, last_s = 0, t_s
    for at_s, count in Counter(all_s[bisect.bisect_left(all_s, t_s) :]).items():
        if at_s - last_s > sensor.timeout_s:
            run = 0
        run = run + count if sound[at_s] == count else 0
        last_s = at_s
        if run >= sensor.good_samples:
            return at_s
    return None
