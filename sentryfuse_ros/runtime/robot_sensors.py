"""All sensors of a robot: they take its messages, give the inputs of a tick, and rest while no plan needs them; without ROS."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import RLock
from typing import Any

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
from .power_governor import GovernorState
from .sensor_requests import SensorRequests
from .tick import SensorView, Tick

LATE_SHARE = 0.25  # of a fuse period, by which a tick may be late and still find the picture that it takes
SAMPLE_DUE_PERIODS = 1.5  # A sensor silent for longer than this many periods is not worth waiting for.


class RobotSensors:
    """The sensors of a robot and what each of them does for the model. `Pipeline` says who may call it from which thread."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        deserialize: Mapping[str, Callable[[bytes], Any]],
        definitions: Mapping[str, Message],
        lock: RLock,
    ):
        """``deserialize``, ``definitions``: as `Pipeline` has them. ``lock``: of everything but the reading of messages."""
        self._engine = engine
        self._known = engine.known_pictures
        self._lock = lock
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
                lock,
            )
            for s in settings.sensors
        }
        self._body = {s.name: self._sensors[s.motion_sensor] for s in settings.sensors if s.motion_sensor}
        for sensor in self._body.values():
            sensor.motion = BodyMotion(*sensor.kind.motion_columns(sensor.decoder.value_names))
        self._switches = {name: SensorSwitch() for name in self._sensors}
        self.requests = SensorRequests(settings.sensors)
        self._slots = slots_of(self._sensors, engine.specs, settings.sensors)
        self._held = HeldPictures(len(self._slots), round(0.5 * self._period_s * NS_PER_S))
        self._asleep: frozenset[str] = frozenset()  # sensors that the plan of the newest tick does not use
        self._slot_names = [[s.name for source in sources for s in source.sensors] for sources in self._slots]
        self.serving: tuple[InputSource | None, ...] = ()  # what served in the newest tick, per model input

    # ---- messages ---------------------------------------------------------------------------------------------

    def look_due(self, sensor: str, now_arrival_ns: int, tick_due: bool) -> bool:
        """Whether a sensor's messages should be taken now and fed, even if there are none (`Sensor.look_due`). Whoever feeds all
        messages as they come need not ask."""
        return self._sensors[sensor].look_due(now_arrival_ns, tick_due)

    def look_due_by(self, arrival_ns: int) -> bool:
        """Whether some sensor's messages will have to be taken by this time, even if no tick is due."""
        return any(s.look_due_by(arrival_ns) for name, s in self._sensors.items() if not self._switches[name].disabled)

    def skips_messages(self, sensor: str) -> bool:
        """Whether only the newest messages of a sensor are needed (`SensorView`)."""
        return self._sensors[sensor].skips_messages

    def feed(
        self,
        sensor: str,
        messages: Sequence[Any],
        arrival_ns: np.ndarray,
        now_node_ns: int,
        now_arrival_ns: int,
        more_wait: bool = False,
    ) -> bool:
        """Take messages of one sensor, as `Pipeline.feed` has them; returns whether anything came that the model uses."""
        entry = self._sensors[sensor]
        if self._switches[sensor].disabled:
            return False
        entry.feed(messages, arrival_ns, now_node_ns, now_arrival_ns, more_wait)
        return bool(messages) and entry.spec is not None and not entry.asleep

    def sample_expected(self, now_arrival_ns: int, within_s: float) -> bool:
        """Whether a live sensor's next sample is due within so long, or a little overdue, so that waiting for it gives a fresher
        prediction."""
        for sensor in self._sensors.values():
            status = sensor.status
            if sensor.spec is None or sensor.asleep or status is None:
                continue
            if status.live and status.rate_hz > 0:
                silent_s, period_s = (now_arrival_ns - sensor.last_arrival_ns) * 1e-9, 1 / status.rate_hz
                if period_s - within_s < silent_s < SAMPLE_DUE_PERIODS * period_s:
                    return True
        return False

    # ---- operators --------------------------------------------------------------------------------------------

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

    def reset(self) -> None:
        """Forget everything that depends on time: buffers, liveness, waiting times."""
        for sensor in self._sensors.values():
            sensor.reset()
        self._held.reset()
        self.requests.reset()

    # ---- a tick -----------------------------------------------------------------------------------------------

    def make_rows(self) -> None:
        """Make rows of the newest pictures of the sensors that have served so far, without keeping others waiting."""
        for source in self.serving:
            if source is not None and not source.asleep:
                source.make_rows()

    def tick(self, sequence: int, power: GovernorState, now_node_ns: int, now_arrival_ns: int, make_rows: bool) -> Tick:
        """Take the inputs of one inference from the sensors that are live now, and let those rest that its plan does not need."""
        statuses = {s.name: self._check(s, now_node_ns, now_arrival_ns) for s in self._sensors.values()}

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
        self._put_to_sleep(taken, now_node_ns, hold_s(mask.tolist()) if mask.any() else 0.0)
        self.requests.decide(self._slot_names, mask.tolist(), choose, statuses, now_arrival_ns * 1e-9)
        self.serving = tuple(s if s and live else None for s, live in zip(taken.serving, mask, strict=True))
        return Tick(
            sequence=sequence,
            node_ns=now_node_ns,
            snapshot=snapshot,
            inputs=taken.inputs,
            mask=mask,
            used=taken.used,
            serving=tuple(source.name if source else "" for source in self.serving),
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
                serves = self._held.serves_until(place, source, next_ns)
                held |= {sensor.name: serves for sensor in source.sensors if sensor.may_rest(hold_s)}
        for name, sensor in self._sensors.items():
            sensor.sleep(name in asleep or held.get(name, False), name in held)
        self._asleep = frozenset(asleep)

    def expect_window(self, due_arrival_ns: int) -> None:
        """Tell the sensors whose rows the next snapshot will use when it will be taken."""
        wanted = {source for sources in self._slots for source in sources if source in self.serving or source.distrusted}
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

    # ---- what can be read -------------------------------------------------------------------------------------

    @property
    def unjudged(self) -> tuple[str, ...]:
        """The sensors that should be judged by their parameter `trust`, and for whose model input the checkpoint has no table."""
        return tuple(s.name for s in self._sensors.values() if s.spec and s.trust is None and s.settings.trust != OFF)

    def views(self) -> dict[str, SensorView]:
        """Every sensor by its name, as of now."""
        return {name: self.view(name) for name in self._sensors}

    def view(self, name: str) -> SensorView:
        """One sensor as of now."""
        s = self._sensors[name]
        rows = len(s.buffer) if s.buffer is not None else 0
        disabled = self._switches[name].disabled
        asleep = name in self._asleep
        return SensorView(s.settings, s.status, s.spec is not None, asleep, s.held, disabled, s.skips_messages, rows, s.error)

    def why_blind(self, statuses: Mapping[str, Status]) -> str:
        """Why there is nothing to predict from, in one line."""
        parts = []
        for names, name in zip(self._slot_names, self._engine.modalities, strict=True):
            if not names:
                parts.append(f"{name}: no sensor is configured for it")
            parts += [f"{sensor} {statuses[sensor].state.name}" for sensor in names]
        return "no live sensor: " + ", ".join(parts)


def _newest_age_s(serving: Sequence[InputSource | None], statuses: Mapping[str, Status]) -> float:
    """Time since the serving sensor with the newest row heard its newest message [s]; 0 where no sensor serves."""
    rows = [(s.newest_ns, s.name) for source in serving if source is not None for s in source.sensors]
    if not rows:
        return 0.0
    _, name = max(rows, key=lambda row: row[0])
    return max(0.0, statuses[name].age_s)
