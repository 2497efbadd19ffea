"""The loop of an active fuse_node: topics are polled, fed to the pipeline, and fused when a tick is due.

poll timer (steady clock) -> drain topics -> pipeline.feed -> when due: pipeline.snapshot -> worker: infer, publish

Two threads: the executor's polls and takes snapshots, the worker's infers and publishes. The newest snapshot wins.
"""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable
from typing import NamedTuple

from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode
from rclpy.timer import Timer

from ..runtime.pipeline import Pipeline, Tick
from ..runtime.worker import LatestJobWorker
from ..sensor_kinds import sensor_kind
from ..settings import Settings
from .change_log import ChangeLog
from .diagnostics import LoopFigures, diagnostics_message
from .power_inputs import PowerInputs
from .publishers import FuserPublishers
from .receive import TopicReceiver, make_receive_node

# A due tick waits this long for a sample that is about to come, so that predictions leave right after one. It is short
# because a sensor that has just died must not delay the tick (measured: 10 ms and more break the promised latency).
WAIT_FOR_SAMPLE_S = 0.004
WAIT_POLL_S = 0.0015  # How often the loop looks while it waits.


class Now(NamedTuple):
    """One moment on both clocks [ns]; the arrival clock is steady, or the node clock where that one is simulated."""

    node_ns: int
    arrival_ns: int


class _Job(NamedTuple):
    """A snapshot to infer, and the clock resets at that time: a later reset makes its prediction worthless."""

    resets: int
    tick: Tick


class FuseLoop:
    """One activation of the node: `start`, then it runs on the node's executor until `close`."""

    def __init__(self, node: LifecycleNode, settings: Settings, pipeline: Pipeline, publishers: FuserPublishers):
        self._node, self._settings, self._pipeline, self._publishers = node, settings, pipeline, publishers
        self._logger = node.get_logger()
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._sim_time = bool(node.get_parameter("use_sim_time").value)
        self._figures = LoopFigures()
        self._changes = ChangeLog(self._logger)
        self._next_fuse_ns = 0
        # A whole number of polls per fuse period, so that every tick coincides with a poll.
        fuse_rate_hz = settings["fuse_rate_hz"]
        self._poll_period_s = 1.0 / (fuse_rate_hz * math.ceil(settings["poll_rate_hz"] / fuse_rate_hz))
        self._receivers: list[TopicReceiver] = []
        self._power: PowerInputs | None = None
        self._timers: list[Timer] = []
        self._closed = False
        self._receive_node = make_receive_node(node)
        self._worker = LatestJobWorker(self._infer_and_publish, self._on_inference_error)

    def start(self) -> None:
        """Subscribe and begin to poll. Where this raises, call `close`."""
        node, settings = self._node, self._settings
        self._pipeline.restart()
        self._publishers.restart()
        for sensor in settings.sensors:
            self._receivers.append(TopicReceiver(node, self._receive_node, sensor, settings["receive"]))
        self._topics = {receiver.sensor.name: receiver.topic for receiver in self._receivers}
        topics = settings["battery_topic"], settings["power_budget_topic"]
        self._power = PowerInputs(node, *topics, self._pipeline, lambda: self._now().arrival_ns)
        self._publishers.publish_model_info()
        self._timers.append(self._timer(self._poll_period_s, self._poll))
        self._timers.append(self._timer(1.0 / settings["diagnostics_rate_hz"], self._diagnose))
        self._wait_timer = self._timer(WAIT_POLL_S, self._poll)
        self._wait_timer.cancel()
        self._timers.append(self._wait_timer)

    def describe(self) -> str:
        """Rate, receive path and topics, for the log."""
        modes = sorted({"raw" if receiver.by_hand else "callback" for receiver in self._receivers})
        topics = ", ".join(f"{name} on {topic}" for name, topic in self._topics.items())
        return f"active at {self._settings['fuse_rate_hz']:g} Hz, receive {'/'.join(modes)}: {topics}"

    def close(self) -> None:
        """Stop polling, wait for the inference in progress, drop the subscriptions. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        for timer in self._timers:
            self._node.destroy_timer(timer)
        self._worker.stop()
        for receiver in self._receivers:
            receiver.destroy()
        if self._power is not None:
            self._power.destroy()
        self._receive_node.destroy_node()

    # --- clocks and timers ---------------------------------------------------------------------------------

    def _now(self) -> Now:
        node_ns = self._node.get_clock().now().nanoseconds
        return Now(node_ns, node_ns if self._sim_time else time.monotonic_ns())

    def _timer(self, period_s: float, callback: Callable[[], None]) -> Timer:
        """A timer whose callback cannot end the node: what it raises is logged and counted in diagnostics."""

        def call() -> None:
            if self._closed:
                return  # it was due when the node was deactivated
            try:
                callback()
            except Exception as error:
                self._figures.failed += 1
                text = traceback.format_exc() if self._figures.failed == 1 else f"{type(error).__name__}: {error}"
                self._logger.error(f"{callback.__name__} failed: {text}", throttle_duration_sec=5.0)

        return self._node.create_timer(period_s, call, clock=self._steady)

    # --- the loop ------------------------------------------------------------------------------------------

    def _poll(self) -> None:
        now = self._now()
        if now.node_ns == 0:
            return  # simulated time has not begun
        if self._pipeline.observe_clock(now.node_ns):
            self._logger.warning("the clock jumped back: buffers, liveness and waiting times were reset")
            for receiver in self._receivers:
                receiver.drain()  # these messages are from the time before the jump
            self._next_fuse_ns = 0
        fresh = False
        for receiver in self._receivers:
            # Read the clocks again: decoding the previous sensor took time, and messages came meanwhile.
            messages, age_ns = receiver.drain()
            now = self._now()
            arrival_ns = now.arrival_ns - age_ns
            # Pictures and clouds one by one, because each may take long, and a tick must not wait for all of them.
            step = 1 if sensor_kind(receiver.sensor.kind).made_of_frames else max(1, len(messages))
            for begin in range(0, len(messages), step):
                end = begin + step
                fresh |= self._pipeline.feed(
                    receiver.sensor.name, messages[begin:end], arrival_ns[begin:end], now.node_ns, now.arrival_ns
                )
                now = self._now()
                if self._overdue(now):
                    self._fuse_if_due(now, True)
        self._fuse_if_due(now, fresh)

    def _overdue(self, now: Now) -> bool:
        """Whether a tick was due so long ago that it cannot wait for the rest of this poll."""
        return 0 < self._next_fuse_ns < now.node_ns - 0.5e9 * self._poll_period_s

    def _fuse_if_due(self, now: Now, fresh: bool) -> None:
        """Take a snapshot when the fuse period has passed; ``fresh``: this poll brought data for the model."""
        period_ns = 1e9 / self._settings["fuse_rate_hz"]
        if self._next_fuse_ns == 0:
            self._next_fuse_ns = now.node_ns
        late_ns = now.node_ns - self._next_fuse_ns
        if late_ns < -0.5e9 * self._poll_period_s:  # another poll will be nearer to the tick than this one
            return
        if not fresh and late_ns < WAIT_FOR_SAMPLE_S * 1e9 and self._pipeline.sample_expected(now.arrival_ns):
            self._wait_timer.reset()
            return
        self._wait_timer.cancel()
        self._next_fuse_ns += int(period_ns * (1 + max(0, late_ns) // period_ns))
        self._fuse(now, max(0, late_ns) * 1e-9)

    def _fuse(self, now: Now, late_s: float) -> None:
        begin_s = time.monotonic()
        self._pipeline.report_latency(now.arrival_ns)
        tick = self._pipeline.snapshot(now.node_ns, now.arrival_ns)
        # overhead_ms counts from the arrival of the newest sample, or from the moment at which the tick was due if
        # nothing newer came.
        tick.waiting_since_s = begin_s - min(late_s, tick.newest_age_s)
        self._figures.ticks += 1
        self._worker.put(_Job(self._pipeline.resets, tick))
        self._publishers.publish_mask(self._pipeline, tick, self._topics)
        self._changes.follow(tick)

    def _infer_and_publish(self, job: _Job) -> None:
        """In the worker thread."""
        prediction = self._pipeline.infer(job.tick)
        if job.resets != self._pipeline.resets:
            return  # the clock jumped back meanwhile: this prediction belongs to the time before
        self._figures.add(self._publishers.publish_prediction(prediction))
        self._publishers.publish_pruning_if_due(prediction, self._pipeline.latency_p95_ms())

    def _on_inference_error(self, error: Exception) -> None:
        self._figures.failed += 1
        self._logger.error(f"inference failed: {type(error).__name__}: {error}", throttle_duration_sec=5.0)

    # --- diagnostics ---------------------------------------------------------------------------------------

    def _diagnose(self) -> None:
        for receiver in self._receivers:
            before = receiver.unheard
            if receiver.follow_publishers():
                self._logger.info(f"{receiver.sensor.name}: QoS now {receiver.reliability.name.lower()}, as published")
            if receiver.unheard and receiver.unheard != before:
                self._logger.warning(f"{receiver.sensor.name}: {receiver.unheard}")
        unheard = ""
        if self._power is not None:
            before = self._power.unheard
            self._power.follow_publishers()
            unheard = self._power.unheard
            if unheard and unheard != before:
                self._logger.warning(unheard)
        now = self._now()
        if now.node_ns == 0:
            self._logger.warning("use_sim_time is set and no /clock has come yet", throttle_duration_sec=10.0)
        name = self._node.get_fully_qualified_name()
        replaced = self._worker.replaced
        self._publishers.publish_diagnostics(
            diagnostics_message(name, self._pipeline, self._receivers, self._figures, replaced, now.node_ns, unheard)
        )
