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
from ..nanoseconds import NS_PER_S
from ..settings import Settings
from .engine import Engine
from .governor_config import GovernorConfig
from .power_governor import GovernorState, PowerGovernor
from .recent_times import RecentTimes
from .robot_sensors import RobotSensors
from .tick import Prediction, SensorView, Tick

if TYPE_CHECKING:
    from ..streaming.streamed_input import StreamUse

BACKWARD_JUMP_NS = 1_000_000  # A node clock that goes back by more than this has jumped.


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
        self._engine = engine
        self.streamed = engine.stream(settings["streaming"], settings["inference_threads"])  # model inputs that are streams
        self._lock = RLock()  # of everything but the reading of messages and the inference
        self._period_s = 1.0 / settings["fuse_rate_hz"]
        self.robot_sensors = RobotSensors(settings, engine, deserialize or {}, definitions or {}, self._lock)
        measures_power = settings["power_measurement"] != "none"
        self._governor = PowerGovernor(GovernorConfig.from_settings(settings), engine.ratio_levels, measures_power)
        self.override(settings["pruning_ratio_override"])
        self._power = self._governor.update(0.0)
        self._governor.reset()
        self._inference_ms = RecentTimes()
        self._streams: Mapping[str, StreamUse] = {}
        self._sequence = 0
        self._last_node_ns = 0
        self._taken_node_ns = self._taken_arrival_ns = 0  # of the newest snapshot
        self._resets = 0

    # ---- what comes in ----------------------------------------------------------------------------------------

    def feed(
        self,
        sensor: str,
        messages: Sequence[Any],
        arrival_ns: np.ndarray,
        now_node_ns: int,
        now_arrival_ns: int,
        more_wait: bool = False,
    ) -> bool:
        """Take messages (serialised bytes or message objects, oldest first, perhaps none) of one sensor.

        arrival_ns: int64 (n,) on the arrival clock. more_wait: newer messages of this sensor are here already and will be fed
        next. Bad messages are counted, never raised. Returns whether anything came that the model uses.
        """
        return self.robot_sensors.feed(sensor, messages, arrival_ns, now_node_ns, now_arrival_ns, more_wait)

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
            self.robot_sensors.reset()
            self._engine.reset()
            self._governor.reset()
            self._last_node_ns = self._taken_node_ns = self._taken_arrival_ns = 0

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
        The snapshots of all threads are in order of time: one that is overtaken while it makes rows is of the later moment.
        """
        if make_rows:
            self.robot_sensors.make_rows()
        with self._lock:
            self._taken_node_ns = now_node_ns = max(now_node_ns, self._taken_node_ns)
            self._taken_arrival_ns = now_arrival_ns = max(now_arrival_ns, self._taken_arrival_ns)
            power = self._governor.update(now_arrival_ns * 1e-9)
            if power.ratio != self._power.ratio:
                self._inference_ms.clear()  # with times of the old ratio the latency target would be overshot
            self._power = power
            self._sequence += 1
            tick = self.robot_sensors.tick(self._sequence, power, now_node_ns, now_arrival_ns, make_rows)
            self.robot_sensors.expect_window(now_arrival_ns + round((self._period_s - late_s) * NS_PER_S))
            return tick

    def infer(self, tick: Tick) -> Prediction:
        """Run the model on a snapshot. Without a live sensor the prediction is invalid and says why."""
        if not tick.mask.any():
            self._streams = {}  # no stream has done anything
            return Prediction(tick, False, self.robot_sensors.why_blind(tick.statuses), stamp_ns=tick.node_ns)
        inference = self._engine.infer(tick.inputs, tick.mask, tick.power.ratio)
        self._inference_ms.add(inference.duration_s * 1e3)
        self._streams = inference.streams
        if inference.class_id < 0:
            return Prediction(tick, False, "the model gave numbers that are not finite", stamp_ns=tick.node_ns)
        return Prediction(tick, True, "", inference, tick.snapshot.newest_ns)

    def failed(self, tick: Tick, error: Exception) -> Prediction:
        """The prediction of a snapshot on which `infer` has raised an error: it is invalid and says so."""
        return Prediction(tick, False, f"inference failed: {type(error).__name__}: {error}", stamp_ns=tick.node_ns)

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
            p95_ms = self.latency_p95_ms()
            with self._lock:
                self._governor.latency(p95_ms, now_arrival_ns * 1e-9)

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
    def predicts(self) -> bool:
        """Whether the newest tick had a live input."""
        return any(self.robot_sensors.serving)

    @property
    def power(self) -> GovernorState:
        """The newest decision on the pruning ratio."""
        return self._power

    @property
    def streams(self) -> Mapping[str, StreamUse]:
        """What the newest prediction did with the pictures of the inputs that are streams, by model input; empty without one."""
        return self._streams

    @property
    def resets(self) -> int:
        """Backward jumps of the clock so far."""
        return self._resets

    @property
    def sensors(self) -> dict[str, SensorView]:
        """Every sensor by its name, as of now."""
        return self.robot_sensors.views()

    def latency_p95_ms(self) -> float:
        """95th percentile of the recent inference times [ms]; NaN before the first."""
        return self._inference_ms.percentile(95)
