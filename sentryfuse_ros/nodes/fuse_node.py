"""fuse_node: sensor topics in, fused predictions out. A managed (lifecycle) node around `sentryfuse_ros.pipeline`.

poll timer (steady) -> drain topics -> pipeline.feed -> when due: pipeline.snapshot -> worker: infer, publish
"""

from __future__ import annotations

import math
import sys
import time
import traceback

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import BatteryState
from std_msgs.msg import Float32

from ..errors import SentryFuseError
from ..msg import FusedPrediction, ModalityMask, ModelInfo, PruningState
from ..paths import model_path
from ..preprocessing import empty_input
from ..runtime.engine import Engine
from ..runtime.pipeline import Pipeline, Prediction, Tick, override_of
from ..runtime.worker import LatestJobWorker
from .declare import DeclaredParameters
from .diagnostics import LoopFigures, diagnostics_message
from .guard import guard_change_state
from .publish import mask_message, model_info_message, prediction_message, pruning_message
from .receive import TopicReceiver, check_topic, make_receive_node, message_class
from .spin import run, settle_garbage

# A due tick waits this long for a sample that is about to come, so that predictions leave right after one. Short: a
# sensor that has just died must not delay it (measured: 10 ms and more break the promised latency).
WAIT_FOR_SAMPLE_S = 0.004
WAIT_POLL_S = 0.0015  # how often it looks while it waits
# Parameters that may change while the node runs, by their name in GovernorConfig.
GOVERNOR_FIELDS = {"latency_target_ms": "target_p95_ms", "dwell_s": "dwell_s", "battery_timeout_s": "battery_timeout_s"}


class FuseNode(LifecycleNode):
    """Managed node; parameters in config/fuse.yaml, topics in the README."""

    def __init__(self):
        super().__init__("fuse_node")
        self.parameters = DeclaredParameters(self)
        for text in self.parameters.warnings():
            self.get_logger().warning(text)
        guard_change_state(self)
        self.pipeline: Pipeline | None = None
        self.worker: LatestJobWorker | None = None
        self.receivers: list[TopicReceiver] = []
        self.receive_node = None
        self._outputs: list = []
        self._inputs: list = []
        self._timers_active: list = []
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._autostart_timer = None
        if self.get_parameter("autostart").value is True:
            self._autostart_timer = self.create_timer(0.001, self._autostart, clock=self._steady)

    # --- lifecycle -----------------------------------------------------------------------------------------

    def _autostart(self) -> None:
        self._autostart_timer.cancel()
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def _attempt(self, name: str, action) -> TransitionCallbackReturn:
        """Run a transition; what goes wrong is said in one line (and in full at debug level) and is a FAILURE."""
        try:
            action()
            return TransitionCallbackReturn.SUCCESS
        except SentryFuseError as error:
            self.get_logger().error(f"{name} failed: {error}")
        except Exception as error:  # a managed node reports and stays alive for another try
            self.get_logger().error(f"{name} failed: {type(error).__name__}: {error}")
            self.get_logger().debug(traceback.format_exc())
        return TransitionCallbackReturn.FAILURE

    def on_configure(self, state):
        result = self._attempt("configure", self._configure)
        if result != TransitionCallbackReturn.SUCCESS:
            self._release()
            return result
        return super().on_configure(state)

    def on_activate(self, state):
        result = super().on_activate(state)  # publishers first: what follows publishes
        if result == TransitionCallbackReturn.SUCCESS:
            result = self._attempt("activate", self._activate)
            if result != TransitionCallbackReturn.SUCCESS:
                self._deactivate()
                super().on_deactivate(state)
        return result

    def on_deactivate(self, state):
        self._attempt("deactivate", self._deactivate)
        return super().on_deactivate(state)

    def on_cleanup(self, state):
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state):
        self._attempt("shutdown", self.close)
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state):
        self._attempt("error handling", self.close)
        return TransitionCallbackReturn.SUCCESS  # back to unconfigured, ready for another configure

    def _configure(self) -> None:
        settings = self.parameters.settings()
        self.model_file = model_path(settings["model"])
        engine = Engine.load(self.model_file, settings["device"], settings["inference_threads"])
        for name in ("battery_topic", "power_budget_topic"):
            check_topic(name, settings[name])
        deserialize = {}
        for sensor in settings.sensors:
            check_topic(f"{sensor.name}.topic", sensor.topic)
            msg_class = message_class(sensor.msg_type)
            deserialize[sensor.msg_type] = lambda raw, cls=msg_class: deserialize_message(raw, cls)
        self.settings = settings
        self.pipeline = Pipeline(settings, engine, deserialize)
        seen = {s.model_input for s in settings.sensors}
        for name in engine.modalities:
            if name not in seen:
                self.get_logger().warning(
                    f"model input {name} has no sensor; set parameter model_input of a sensor to {name}, "
                    "or it counts as absent for ever"
                )
        blank = {spec.name: empty_input(spec) for spec in engine.specs}
        self.dense = engine.infer(blank, np.ones(len(engine.modalities), bool), 0.0)
        warm_s = engine.warm() if settings["warm_up"] else 0.0
        self._frame_id = settings["output_frame_id"]
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.prediction_out = self.create_lifecycle_publisher(FusedPrediction, "~/prediction", 10)
        self.mask_out = self.create_lifecycle_publisher(ModalityMask, "~/mask", 10)
        self.pruning_out = self.create_lifecycle_publisher(PruningState, "~/pruning", latched)
        self.info_out = self.create_lifecycle_publisher(ModelInfo, "~/model_info", latched)
        # Not managed: /diagnostics is shared by all nodes; ours speak while the node is active.
        self.diagnostics_out = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._outputs = [self.prediction_out, self.mask_out, self.pruning_out, self.info_out]
        self.get_logger().info(
            f"model {engine.info.get('name', '')}: inputs {', '.join(engine.modalities)}, {len(engine.classes)} classes, "
            f"plans warm in {warm_s:.1f} s"
        )

    def _activate(self) -> None:
        settings = self.settings
        self.pipeline.reset()
        self.pipeline.sequence = 0
        self.figures = LoopFigures()
        self._next_fuse_ns = 0
        self._last_pruning: tuple = ()
        self._last_pruning_s = -math.inf
        self._logged: dict[str, object] = {}
        self._sim_time = bool(self.get_parameter("use_sim_time").value)
        self.receive_node = make_receive_node(self)
        self.receivers = [TopicReceiver(self, self.receive_node, s, settings["receive"]) for s in settings.sensors]
        self.topics = {r.sensor.name: r.topic for r in self.receivers}
        self.worker = LatestJobWorker(self._infer_and_publish, self._on_inference_error)
        self._inputs = [
            self.create_subscription(BatteryState, settings["battery_topic"], self._on_battery, 10),
            self.create_subscription(Float32, settings["power_budget_topic"], self._on_budget, 10),
        ]
        self.info_out.publish(
            model_info_message(self.pipeline.engine, self.dense, str(self.model_file), self.get_clock().now().nanoseconds)
        )
        # A whole number of polls per fuse period, so that every tick falls on a poll.
        self._poll_period_s = 1.0 / (settings["fuse_rate_hz"] * math.ceil(settings["poll_rate_hz"] / settings["fuse_rate_hz"]))
        self._timers_active = [
            self.create_timer(self._poll_period_s, self._guarded(self._poll), clock=self._steady),
            self.create_timer(1.0 / settings["diagnostics_rate_hz"], self._guarded(self._diagnose), clock=self._steady),
        ]
        self._wait_timer = self.create_timer(WAIT_POLL_S, self._guarded(self._poll), clock=self._steady)
        self._wait_timer.cancel()
        self._timers_active.append(self._wait_timer)
        settle_garbage()
        modes = {("raw" if r.by_hand else "callback") for r in self.receivers}
        self.get_logger().info(
            f"active at {settings['fuse_rate_hz']:g} Hz, receive {'/'.join(sorted(modes))}: "
            + ", ".join(f"{name} on {topic}" for name, topic in self.topics.items())
        )

    def _deactivate(self) -> None:
        for timer in self._timers_active:
            self.destroy_timer(timer)
        self._timers_active = []
        if self.worker is not None:
            self.worker.stop()
            self.worker = None
        for receiver in self.receivers:
            receiver.destroy()
        self.receivers = []
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs = []
        if self.receive_node is not None:
            self.receive_node.destroy_node()
            self.receive_node = None

    def _release(self) -> None:
        self._deactivate()
        for publisher in self._outputs:
            self.destroy_lifecycle_publisher(publisher)
        if self._outputs:
            self.destroy_publisher(self.diagnostics_out)
        self._outputs = []
        self.pipeline = None

    def close(self) -> None:
        """Stop everything; safe in any state and to call twice."""
        self._release()

    def _guarded(self, callback):
        """A timer's callback that cannot end the node: what it raises is logged and counted in diagnostics."""

        def call():
            if self.worker is None:
                return  # it was due when the node was deactivated
            try:
                callback()
            except Exception as error:
                self.figures.failed += 1
                text = traceback.format_exc() if self.figures.failed == 1 else f"{type(error).__name__}: {error}"
                self.get_logger().error(f"{callback.__name__} failed: {text}", throttle_duration_sec=5.0)

        return call

    # --- clocks --------------------------------------------------------------------------------------------

    def _now(self) -> tuple[int, int]:
        """(node clock, arrival clock) in ns: arrival is steady, or the node clock where that is simulated."""
        node_ns = self.get_clock().now().nanoseconds
        return node_ns, node_ns if self._sim_time else time.monotonic_ns()

    # --- the loop ------------------------------------------------------------------------------------------

    def _poll(self) -> None:
        node_ns, arrival_ns = self._now()
        if node_ns == 0:
            return  # simulated time that has not begun
        if self.pipeline.observe_clock(node_ns):
            self.get_logger().warning("the clock jumped back: buffers, liveness and streaming state were reset")
            for receiver in self.receivers:
                receiver.drain()  # what lies there is from the time before
            self._next_fuse_ns = 0
        fresh = False
        for receiver in self.receivers:
            messages, age_ns = receiver.drain()
            if messages:
                # Read anew: decoding the sensor before took time, and these messages came meanwhile.
                node_ns, arrival_ns = self._now()
                self.pipeline.feed(receiver.sensor.name, messages, arrival_ns - age_ns, node_ns, arrival_ns)
                fresh = fresh or self.pipeline.sensors[receiver.sensor.name].spec is not None
        period_ns = 1e9 / self.settings["fuse_rate_hz"]
        if self._next_fuse_ns == 0:
            self._next_fuse_ns = node_ns
        late_ns = node_ns - self._next_fuse_ns
        if late_ns < -0.5e9 * self._poll_period_s:  # nearer to another poll than to this one
            return
        if not fresh and late_ns < WAIT_FOR_SAMPLE_S * 1e9 and self.pipeline.sample_expected(arrival_ns):
            self._wait_timer.reset()
            return
        self._wait_timer.cancel()
        self._next_fuse_ns += int(period_ns * (1 + max(0, late_ns) // period_ns))
        self._fuse(node_ns, arrival_ns, max(0, late_ns) * 1e-9)

    def _fuse(self, node_ns: int, arrival_ns: int, late_s: float) -> None:
        begin_s = time.monotonic()
        self.pipeline.report_latency(arrival_ns * 1e-9)
        tick = self.pipeline.snapshot(node_ns, arrival_ns)
        # The clock of what the fuser itself adds starts when the newest sample came, or when the tick was due
        # where nothing newer came.
        tick.waiting_since_s = begin_s - min(late_s, tick.newest_age_s)
        self.figures.ticks += 1
        self.worker.put((self.pipeline.resets, tick))
        self.mask_out.publish(mask_message(self.pipeline, tick, self.topics, self._frame_id))
        self._log_changes(tick)

    def _infer_and_publish(self, job: tuple[int, Tick]) -> None:
        """In the worker thread."""
        resets, tick = job
        prediction: Prediction = self.pipeline.infer(tick)
        if resets != self.pipeline.resets:
            return  # the clock jumped back meanwhile: this one is of the time before
        message = prediction_message(prediction, self.pipeline.engine, self._frame_id, self.get_clock().now().nanoseconds)
        if prediction.valid:
            message.overhead_ms = (time.monotonic() - tick.waiting_since_s) * 1e3 - message.inference_ms
        self.prediction_out.publish(message)
        self.figures.add(message)
        key = (tick.power.ratio, tick.mask.tobytes())
        now_s = time.monotonic()
        if key != self._last_pruning or now_s - self._last_pruning_s >= 1.0:
            self._last_pruning, self._last_pruning_s = key, now_s
            self.pruning_out.publish(pruning_message(self.pipeline, prediction, self.dense))

    def _on_inference_error(self, error: Exception) -> None:
        self.figures.failed += 1
        self.get_logger().error(f"inference failed: {type(error).__name__}: {error}", throttle_duration_sec=5.0)

    def _log_changes(self, tick: Tick) -> None:
        """Every change of a sensor's state and of the ratio, once."""
        for name, status in tick.statuses.items():
            if self._logged.get(name) == status.state:
                continue
            first = name not in self._logged
            self._logged[name] = status.state
            if not (first and status.state == 0):
                text = f"{name}: {status.state.name}" + (f", {status.reason}" if status.reason else "")
                if status.alarm:  # two calls: rclpy ties a severity to each calling line
                    self.get_logger().warning(text)
                else:
                    self.get_logger().info(text)
        if self._logged.get("ratio") != tick.power.ratio:
            self._logged["ratio"] = tick.power.ratio
            self.get_logger().info(f"pruning ratio {tick.power.ratio:.2f}: {tick.power.reason}")

    # --- other inputs --------------------------------------------------------------------------------------

    def _on_battery(self, message: BatteryState) -> None:
        if self.pipeline is None:
            return  # it was waiting when the node was cleaned up
        charging = message.power_supply_status == BatteryState.POWER_SUPPLY_STATUS_CHARGING
        self.pipeline.governor.battery(message.percentage, charging, self._now()[1] * 1e-9)

    def _on_budget(self, message: Float32) -> None:
        if self.pipeline is not None:
            self.pipeline.governor.budget(message.data, self._now()[1] * 1e-9)

    def _on_set_parameters(self, changes):
        result = self.parameters.check_change(changes, configured=self.pipeline is not None)
        if result.successful and self.pipeline is not None:
            for change in changes:
                if change.name == "pruning_ratio_override":
                    self.pipeline.governor.override(override_of(float(change.value)))
                elif change.name in GOVERNOR_FIELDS:
                    self.pipeline.governor.configure(**{GOVERNOR_FIELDS[change.name]: float(change.value)})
        return result

    def _diagnose(self) -> None:
        for receiver in self.receivers:
            before = receiver.unheard
            if receiver.follow_publishers():
                self.get_logger().info(f"{receiver.sensor.name}: QoS now {receiver.reliability.name.lower()}, as published")
            if receiver.unheard and receiver.unheard != before:
                self.get_logger().warning(f"{receiver.sensor.name}: {receiver.unheard}")
        node_ns, arrival_ns = self._now()
        if node_ns == 0:
            self.get_logger().warning("use_sim_time is set and no /clock has come yet", throttle_duration_sec=10.0)
        self.diagnostics_out.publish(
            diagnostics_message(
                self.get_fully_qualified_name(), self.pipeline, self.receivers, self.figures, self.worker, node_ns
            )
        )


def main(args: list[str] | None = None) -> int:
    return run(FuseNode, args)


if __name__ == "__main__":
    sys.exit(main())
