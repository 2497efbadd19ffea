"""The robot's fuser without ROS: `feed` messages in, `tick` gives a prediction with its mask, ratio and reasons.

    messages -> decoder -> window buffer + liveness -> snapshot at t -> model input -> engine -> prediction
    battery, budget, latency -> power governor -> pruning ratio ------------------------^

The node feeds it from live topics; recordings, tests and benchmarks use it directly. The caller supplies two clocks:
the node clock (ROS time, which header stamps are on) and the arrival clock (steady on a robot, the node clock under
simulated time).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np

from ..decoders.message_definition import Message
from ..errors import ParameterError
from ..nanoseconds import NS_PER_S
from ..preprocessing.picture_window import PictureWindow
from ..sensing.body_motion import BodyMotion
from ..sensing.held_pictures import HeldPictures
from ..sensing.input_source import InputSource
from ..sensing.liars import hearings
from ..sensing.liveness import Status
from ..sensing.model_inputs import Hold, ModelInputs, extract_inputs, slots_of
from ..sensing.sensor import Sensor
from ..sensing.sensor_switch import SensorSwitch
from ..sensing.trust_watch import OFF
from ..settings import Settings
from .engine import Engine
from .governor_config import GovernorConfig
from .power_governor import GovernorState, PowerGovernor
from .recent_times import RecentTimes
from .sensor_requests import SensorRequests
from .tick import Prediction, SensorView, Tick

if TYPE_CHECKING:
    from ..streaming.streamed_input import StreamUse

BACKWARD_JUMP_NS = 1_000_000  # A node clock that goes back by more than this has jumped.
LATE_SHARE = 0.25  # of a fuse period, by which a tick may be late and still find the picture that it takes
SAMPLE_DUE_PERIODS = 1.5  # A sensor silent for longer than this many periods is not worth waiting for.


class Pipeline:
    """Feed messages, tick, get predictions. One thread feeds and takes snapshots; the same or another one infers.

    While a message is being read, which may take long, a further thread may take a snapshot of what was there before
    (`snapshot` with ``make_rows=False``).
    """

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        deserialize: Mapping[str, Callable[[bytes], Any]] | None = None,
        definitions: Mapping[str, Message] | None = None,
    ):
        """``deserialize``: per message type a function from serialised bytes to a message object, where ROS is there.

        ``definitions``: per message type its definition, for the sensors with `fields`.
        """
        deserialize, definitions = deserialize or {}, definitions or {}
        self._engine = engine
        self.streamed = engine.stream(settings["streaming"], settings["inference_threads"])  # model inputs that are streams
        self._known = engine.known_pictures
        self._lock = RLock()  # of everything but the reading of messages and the inference
        rate_hz = settings["fuse_rate_hz"]
        self._period_s = 1.0 / rate_hz
        self._sensors = {
            s.name: Sensor(
                s,
                engine.specs,
                deserialize.get(s.msg_type),
                rate_hz,
                definitions.get(s.msg_type),
                engine.trust_tables.get(s.model_input),
                self._lock,
            )
            for s in settings.sensors
        }
        self._body = {s.name: self._sensors[s.motion_sensor] for s in settings.sensors if s.motion_sensor}
        for sensor in self._body.values():
            sensor.motion = BodyMotion(*sensor.kind.motion_columns(sensor.decoder.value_names))
        self._switches = {name: SensorSwitch() for name in self._sensors}
        self.requests = SensorRequests(settings.sensors)
        self._slots = slots_of(self._sensors, engine.specs, settings.sensors)
        self._held = HeldPictures(len(self._slots))
        self._asleep: frozenset[str] = frozenset()  # sensors that the plan of the newest tick does not use
        self._slot_names = [[s.name for source in sources for s in source.sensors] for sources in self._slots]
        measures_power = settings["power_measurement"] != "none"
        self._governor = PowerGovernor(GovernorConfig.from_settings(settings), engine.ratio_levels, measures_power)
        self.override(settings["pruning_ratio_override"])
        self._power = self._governor.update(0.0)
        self._governor.reset()
        self._inference_ms = RecentTimes()
        self._streams: Mapping[str, StreamUse] = {}
        self._sequence = 0
        self._serving: tuple[InputSource | None, ...] = ()  # what served in the newest tick, per model input
        self._last_node_ns = 0
        self._resets = 0

    # ---- what comes in ----------------------------------------------------------------------------------------

    def look_due(self, sensor: str, now_arrival_ns: int, tick_due: bool) -> bool:
        """Whether a sensor's messages should be taken now and fed, even if there are none (`Sensor.look_due`). Whoever feeds all
        messages as they come need not ask."""
        return self._sensors[sensor].look_due(now_arrival_ns, tick_due)

    def look_due_by(self, arrival_ns: int) -> bool:
        """Whether some sensor's messages will have to be taken by this time, even if no tick is due."""
        return any(s.look_due_by(arrival_ns) for name, s in self._sensors.items() if not self._switches[name].disabled)

    def feed(
        self,
        sensor: str,
        messages: Sequence[Any],
        arrival_ns: np.ndarray,
        now_node_ns: int,
        now_arrival_ns: int,
    ) -> bool:
        """Take messages (serialised bytes or message objects, oldest first, perhaps none) of one sensor.

        arrival_ns: int64 (n,) on the arrival clock. Bad messages are counted, never raised. Returns whether anything
        came that the model uses.
        """
        entry = self._sensors[sensor]
        if self._switches[sensor].disabled:
            return False
        entry.feed(messages, arrival_ns, now_node_ns, now_arrival_ns)
        return bool(messages) and entry.spec is not None and not entry.asleep

    def disable(self, sensor: str, reason: str = "") -> None:
        """Use a sensor no longer: its messages are dropped, its bit is cleared, and it raises no alarm. Raises ParameterError."""
        with self._lock:
            self._known_sensor(sensor).reset()
            self._switches[sensor].disable(reason)

    def enable(self, sensor: str) -> None:
        """Use a sensor again; it begins anew, with its grace. Raises ParameterError."""
        with self._lock:
            self._known_sensor(sensor).reset()
            self._switches[sensor].enable()

    def acknowledge(self, sensor: str, reason: str = "") -> None:
        """The loss of a sensor is known: no alarm until it has been OK again. Raises ParameterError."""
        with self._lock:
            entry = self._known_sensor(sensor)
            self._switches[sensor].acknowledge(sensor, entry.status, reason)

    def _known_sensor(self, name: str) -> Sensor:
        if name not in self._sensors:
            raise ParameterError("sensor", repr(name), "one of " + ", ".join(self._sensors))
        return self._sensors[name]

    def battery(self, percentage: float, charging: bool, now_arrival_ns: int, pack: str = "", filled: bool = True) -> None:
        """Take one sensor_msgs/BatteryState; see `PowerGovernor.battery` (docs/POWER.md)."""
        with self._lock:
            self._governor.battery(percentage, charging, now_arrival_ns * 1e-9, pack, filled)

    def budget(self, watts: float) -> None:
        """Take a power budget [W], in force until the next; NaN withdraws it."""
        with self._lock:
            self._governor.budget(watts)

    def measured_power(self, watts: float, now_arrival_ns: int) -> None:
        """Take the power that the budget limits [W], as measured; ignored if it is not finite, or power_measurement is none."""
        with self._lock:
            self._governor.measured_power(watts, now_arrival_ns * 1e-9)

    def override(self, ratio: float | None) -> None:
        """Fix the pruning ratio, 0..0.9; None or a negative number ends the override. Raises ParameterError."""
        with self._lock:
            self._governor.override(None if ratio is None or ratio < 0 else ratio)

    def configure(
        self,
        *,
        dwell_s: float | None = None,
        latency_target_ms: float | None = None,
        battery_timeout_s: float | None = None,
    ) -> None:
        """Change the parameters that may change while running; None leaves one as it is. Raises ParameterError."""
        now = self._governor.config
        config = replace(
            now,
            dwell_s=now.dwell_s if dwell_s is None else dwell_s,
            target_p95_ms=now.target_p95_ms if latency_target_ms is None else latency_target_ms,
            battery_timeout_s=now.battery_timeout_s if battery_timeout_s is None else battery_timeout_s,
        )
        with self._lock:
            self._governor.configure(config)

    def observe_clock(self, node_ns: int) -> bool:
        """Tell the node clock; a backward jump resets everything that depends on time and returns True."""
        jumped = node_ns < self._last_node_ns - BACKWARD_JUMP_NS
        if jumped:
            self.reset()
            self._resets += 1
        self._last_node_ns = node_ns
        return jumped

    def reset(self) -> None:
        """Forget everything that depends on time (buffers, liveness, waiting times); the battery's last word stays."""
        with self._lock:
            for sensor in self._sensors.values():
                sensor.reset()
            self._engine.reset()
            self._held.reset()
            self._governor.reset()
            self.requests.reset()
            self._last_node_ns = 0

    def restart(self) -> None:
        """Reset, and count ticks from 1 again, as at activation."""
        self.reset()
        self._sequence = 0

    # ---- what goes out ----------------------------------------------------------------------------------------

    def tick(self, now_node_ns: int, now_arrival_ns: int | None = None) -> Prediction:
        """Snapshot, inference and judgement in one call, for use without threads."""
        arrival_ns = now_node_ns if now_arrival_ns is None else now_arrival_ns
        tick = self.snapshot(now_node_ns, arrival_ns)
        prediction = self.infer(tick)
        self.judge(tick)
        self.report_latency(arrival_ns)
        return prediction

    def snapshot(self, now_node_ns: int, now_arrival_ns: int, make_rows: bool = True, late_s: float = 0.0) -> Tick:
        """Take the inputs of one inference from the sensors that are live now, and decide on the pruning ratio.

        With ``make_rows=False`` the newest pictures are left out unless rows have been made of them already; any thread may call
        it so, while another one feeds. ``late_s``: how long ago it was due; the next one is expected a fuse period after that.
        """
        if make_rows:  # of the sensors that have served so far, without keeping others waiting
            for source in self._serving:
                if source is not None and not source.asleep:
                    source.make_rows()
        with self._lock:
            tick = self._take_snapshot(now_node_ns, now_arrival_ns, make_rows)
            self._expect_window(now_arrival_ns + round((self._period_s - late_s) * NS_PER_S))
            return tick

    def _take_snapshot(self, now_node_ns: int, now_arrival_ns: int, make_rows: bool) -> Tick:
        statuses = {s.name: self._check(s, now_node_ns, now_arrival_ns) for s in self._sensors.values()}
        power = self._governor.update(now_arrival_ns * 1e-9)

        def choose(live: Sequence[bool]) -> Sequence[bool]:
            return self._engine.choice(live, power.ratio).used

        def hold_s(live: Sequence[bool]) -> float:
            return self._engine.choice(live, power.ratio).hold_s

        hold = Hold(self._held, hold_s)
        taken = extract_inputs(self._slots, statuses, now_node_ns, choose, make_rows, self._known, hold)
        snapshot, mask = taken.snapshot, taken.snapshot.mask
        for sources, serving, live in zip(self._slots, taken.serving, mask, strict=True):
            for source in sources:  # state and mask always agree
                if not live and source is serving or source.joined and not source.live(statuses):
                    source.note_absence(statuses, snapshot.end_ns)
        self._tell_motion(taken.inputs, statuses)
        self._sequence += 1
        self._put_to_sleep(taken, now_node_ns, hold_s(mask.tolist()) if mask.any() else 0.0)
        if power.ratio != self._power.ratio:
            self._inference_ms.clear()  # with times of the old ratio the latency target would be overshot
        self._power = power
        self.requests.decide(self._slot_names, mask.tolist(), choose, statuses, now_arrival_ns * 1e-9)
        self._serving = tuple(s if s and live else None for s, live in zip(taken.serving, mask, strict=True))
        return Tick(
            sequence=self._sequence,
            node_ns=now_node_ns,
            snapshot=snapshot,
            inputs=taken.inputs,
            mask=mask,
            used=taken.used,
            serving=tuple(source.name if source else "" for source in self._serving),
            power=power,
            statuses=statuses,
            newest_age_s=_newest_age_s([s for s, used in zip(taken.serving, taken.used) if used], statuses),
            hearings=hearings(self._slots, taken, statuses) if make_rows else (),
        )

    def _put_to_sleep(self, taken: ModelInputs, now_node_ns: int, hold_s: float) -> None:
        """Tell every sensor whether the plan in force uses it, and whether the next tick will take a new picture of it."""
        next_ns = now_node_ns + round((1.0 + LATE_SHARE) * self._period_s * NS_PER_S)
        asleep: set[str] = set()
        held: dict[str, bool] = {}  # by sensor, whether it may rest until after the next tick
        for place, (source, live) in enumerate(zip(taken.serving, taken.snapshot.mask, strict=True)):
            if source is None or not live:
                continue
            if not taken.used[place]:
                asleep |= {sensor.name for sensor in source.sensors}
            elif hold_s and source.holds_pictures and source.spec.name not in self._known:
                serves = self._held.serves_at(place, source, next_ns, hold_s)
                held |= {sensor.name: serves for sensor in source.sensors if sensor.may_rest(hold_s)}
        for name, sensor in self._sensors.items():
            sensor.sleep(name in asleep or held.get(name, False), name in held)
        self._asleep = frozenset(asleep)

    def _expect_window(self, due_arrival_ns: int) -> None:
        """Tell the sensors whose rows the next snapshot will use when it will be taken."""
        wanted = {source for sources in self._slots for source in sources if source in self._serving or source.distrusted}
        used = {sensor.name for source in wanted for sensor in source.sensors}
        for sensor in self._sensors.values():
            sensor.expect_window(due_arrival_ns if sensor.name in used else None)

    def _tell_motion(self, inputs: dict[str, np.ndarray | PictureWindow], statuses: Mapping[str, Status]) -> None:
        """Tell the windows of streams how fast their camera turns and drives, where its motion sensor is live."""
        for name, x in inputs.items():
            if isinstance(x, PictureWindow) and len(x.new) and (body := self._body.get(x.source.sensor)) is not None:
                if body.motion is not None and statuses[body.name].live:
                    end_ns, motion = int(x.new_stamp_ns[-1]), body.motion
                    inputs[name] = x._replace(turn_rad_s=motion.turn_rad_s(end_ns), speed_m_s=motion.speed_m_s(end_ns))

    def _check(self, sensor: Sensor, now_node_ns: int, now_arrival_ns: int) -> Status:
        status = self._switches[sensor.name].apply(sensor.check(now_node_ns, now_arrival_ns))
        sensor.status = self.requests.apply(sensor.name, status, now_arrival_ns * 1e-9)
        return sensor.status

    def infer(self, tick: Tick) -> Prediction:
        """Run the model on a snapshot. Without a live sensor the prediction is invalid and says why."""
        if not tick.mask.any():
            return Prediction(tick, False, self._why_blind(tick.statuses), stamp_ns=tick.node_ns)
        inference = self._engine.infer(tick.inputs, tick.mask, tick.power.ratio)
        self._inference_ms.add(inference.duration_s * 1e3)
        self._streams = inference.streams
        if not np.isfinite(inference.probabilities).all():
            return Prediction(tick, False, "the model gave numbers that are not finite", stamp_ns=tick.node_ns)
        return Prediction(tick, True, "", inference, tick.snapshot.newest_ns)

    def judge(self, tick: Tick) -> None:
        """Judge whether the sensors of a snapshot lie (docs/TRUST.md), once the prediction is out: none waits for it.

        What follows from it shows from the next tick on, in state, mask and reason alike.
        """
        for hearing in tick.hearings:
            judgement = hearing.weigh()
            with self._lock:
                hearing.conclude(judgement)

    def prepare(self, tick: Tick) -> bool:
        """Make one plan ready that the change after this tick may need (`Engine.prepare`); returns whether one was missing."""
        return bool(tick.mask.any()) and self._engine.prepare(tick.mask.tolist(), tick.power.ratio)

    def report_latency(self, now_arrival_ns: int) -> None:
        """Let the governor compare recent inference times with its latency target."""
        if self._governor.config.target_p95_ms:
            self._governor.latency(self.latency_p95_ms(), now_arrival_ns * 1e-9)

    def _why_blind(self, statuses: Mapping[str, Status]) -> str:
        """Why there is nothing to predict from, in one line."""
        parts = []
        for names, name in zip(self._slot_names, self._engine.modalities, strict=True):
            if not names:
                parts.append(f"{name}: no sensor is configured for it")
            parts += [f"{sensor} {statuses[sensor].state.name}" for sensor in names]
        return "no live sensor: " + ", ".join(parts)

    # ---- what can be read -------------------------------------------------------------------------------------

    @property
    def model_name(self) -> str:
        """The model's name in its checkpoint."""
        return self._engine.name

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the model inputs in mask order."""
        return self._engine.modalities

    @property
    def unjudged(self) -> tuple[str, ...]:
        """The sensors that should be judged by their parameter `trust`, and for whose model input the checkpoint has no table."""
        return tuple(s.name for s in self._sensors.values() if s.spec and s.trust is None and s.settings.trust != OFF)

    @property
    def predicts(self) -> bool:
        """Whether the newest tick had a live input."""
        return any(self._serving)

    @property
    def power(self) -> GovernorState:
        """The newest decision on the pruning ratio."""
        return self._power

    @property
    def streams(self) -> Mapping[str, StreamUse]:
        """What the newest inference did with the pictures of the inputs that are streams, by model input."""
        return self._streams

    @property
    def resets(self) -> int:
        """Backward jumps of the clock so far."""
        return self._resets

    @property
    def sensors(self) -> dict[str, SensorView]:
        """Every sensor by its name, as of now."""
        return {name: self.sensor(name) for name in self._sensors}

    def skips_messages(self, sensor: str) -> bool:
        """Whether only the newest messages of a sensor are needed (`SensorView`)."""
        return self._sensors[sensor].skips_messages

    def sensor(self, name: str) -> SensorView:
        """One sensor as of now."""
        s = self._sensors[name]
        rows = len(s.buffer) if s.buffer is not None else 0
        disabled = self._switches[name].disabled
        asleep = name in self._asleep
        return SensorView(s.settings, s.status, s.spec is not None, asleep, s.held, disabled, s.skips_messages, rows, s.error)

    def latency_p95_ms(self) -> float:
        """95th percentile of the recent inference times [ms]; NaN before the first."""
        return self._inference_ms.percentile(95)

    def sample_expected(self, now_arrival_ns: int) -> bool:
        """Whether a live sensor's next sample is about to come, so that waiting a moment gives a fresher prediction."""
        for sensor in self._sensors.values():
            status = sensor.status
            if sensor.spec is None or sensor.asleep or status is None:
                continue
            if status.live and status.rate_hz > 0:
                if (now_arrival_ns - sensor.last_arrival_ns) * 1e-9 < SAMPLE_DUE_PERIODS / status.rate_hz:
                    return True
        return False


def _newest_age_s(serving: Sequence[InputSource | None], statuses: Mapping[str, Status]) -> float:
    """Time since the serving sensor with the newest row heard its newest message [s]; 0 where no sensor serves."""
    rows = [(s.newest_ns, s.name) for source in serving if source is not None for s in source.sensors]
    if not rows:
        return 0.0
    _, name = max(rows, key=lambda row: row[0])
    return max(0.0, statuses[name].age_s)
