"""The loop of an active fuse_node: topics are polled, fed to the pipeline, and fused when a tick is due.

poll timer (steady clock) -> drain topics -> pipeline.feed -> when due: pipeline.snapshot -> worker: infer, publish

Three threads: the executor's polls and takes snapshots, the worker's infers and publishes, and the metronome's takes the
snapshots for which the first is late, because a message takes long to read. The newest snapshot wins. A fourth one moves the heap
into large pages after the start, and ends.
"""

from __future__ import annotations

import math
import threading
import time
import traceback
from collections.abc import Callable
from typing import NamedTuple

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node
from rclpy.timer import Timer

from ..nanoseconds import NS_PER_S
from ..runtime.cpu_priority import CpuPriority, step_back
from ..runtime.loop_health import LoopHealth
from ..runtime.named_thread import named_thread
from ..runtime.pipeline import Pipeline
from ..runtime.power_rails import KINDS, power_rail
from ..runtime.process_memory import LargePages
from ..runtime.simulated_arrivals import SimulatedArrivals
from ..runtime.tick import Tick
from ..runtime.tick_schedule import TickSchedule
from ..runtime.worker import LatestJobWorker
from ..sensor_kinds import sensor_kind
from ..settings import Settings
from .captions import CaptionPublisher
from .change_log import ChangeLog
from .diagnostics import loop_statuses
from .driver_control import DriverControl
from .power_inputs import PowerInputs
from .publishers import FuserPublishers
from .subscriptions import SensorSubscriptions
from .views import Views

# A due tick waits this long for a sample that is about to come, so that predictions leave right after one. It is short
# because a sensor that has just died must not delay the tick (measured: 10 ms and more break the promised latency).
WAIT_FOR_SAMPLE_S = 0.004
WAIT_POLL_S = 0.0015  # How often the loop looks while it waits.
LONGEST_WAIT_S = 0.1  # By the steady clock: a simulated one may stand still meanwhile, and the sample then never comes.
# So long after the start, windows and queues are as large as they get, and the heap may be moved into large pages.
SETTLED_S, MOVE_PERIOD_S = 3.0, 0.1
MOVER = "large pages"  # the thread that moves them, which then ends
RAIL_PERIOD_S = 0.2  # How often a power sensor of the computer is read; an INA3221 renews its value about as often.


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

    def __init__(
        self,
        node: LifecycleNode,
        settings: Settings,
        pipeline: Pipeline,
        publishers: FuserPublishers,
        views: Views,
        drivers: DriverControl,
        receive_node: Node,
        captions: CaptionPublisher | None = None,
    ):
        """``receive_node``: for the sensors' subscriptions (`receive.make_receive_node`); it outlives the loop."""
        self._node, self._settings, self._pipeline, self._publishers, self._views = node, settings, pipeline, publishers, views
        self._drivers, self._captions = drivers, captions
        self._pictures: dict[str, bytes] = {}  # newest message of each camera, while somebody looks at ~/image
        self._logger = node.get_logger()
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._sim_time = bool(node.get_parameter("use_sim_time").value)
        self._health = LoopHealth(settings["fuse_rate_hz"])
        self._changes = ChangeLog(sensor.name for sensor in settings.sensors)
        self._was_slow = False
        self._ticks = TickSchedule(settings["fuse_rate_hz"], settings["poll_rate_hz"], self._sim_time)
        self._between = True  # whether there are polls before the next tick
        self._priority = CpuPriority()
        self._arrivals = SimulatedArrivals()
        self._subscriptions = SensorSubscriptions(node, receive_node, settings, pipeline.robot_sensors)
        self._power: PowerInputs | None = None
        self._timers: list[Timer] = []
        # Held from the reading of the clock for a late tick until its snapshot is with the worker, while a poll looks whether the
        # clock has jumped, and while a poll hands over its own snapshot. Otherwise a snapshot could be of the time before a jump
        # that was dealt with meanwhile, or come after a newer one.
        self._turn = threading.RLock()
        self._closed = False
        self._worker = LatestJobWorker(self._infer_and_publish, self._on_inference_error)
        self._ended = threading.Event()
        self._metronome = named_thread(self._take_missed_ticks, "metronome")
        self._mover = named_thread(self._use_large_pages, MOVER)

    def start(self) -> None:
        """Subscribe and begin to poll. Where this raises, call `close`."""
        node, settings = self._node, self._settings
        self._pipeline.restart()
        self._publishers.restart()
        self._subscriptions.follow_switches()
        self._power = PowerInputs(node, settings, self._pipeline, lambda: self._now().arrival_ns)
        self._publishers.publish_model_info()
        self._poll_timer = self._timer(self._ticks.poll_period_s, self._poll_and_plan)
        self._timers.append(self._poll_timer)
        self._wait_timer = self._timer(WAIT_POLL_S, self._poll_and_plan)
        self._wait_timer.cancel()
        self._waits, self._waits_until_s = False, 0.0  # whether it runs, and until when at most
        self._timers.append(self._wait_timer)
        if settings["power_measurement"] in KINDS:
            self._rail = power_rail(settings["power_measurement"], settings["power_rail"])
            self._timers.append(self._timer(RAIL_PERIOD_S, self._measure_power))
        self._metronome.start()
        self._mover.start()
        if settings["cpu_priority"] == "auto":
            self._priority.take()

    def follow_switches(self) -> None:
        """Subscribe to the sensors that are in use, and to no others."""
        self._subscriptions.follow_switches()

    def describe(self) -> str:
        """Rate, CPU priority, receive path and topics, for the log."""
        rate = f"{self._settings['fuse_rate_hz']:g} Hz"
        return f"active at {rate}, CPU priority {self._priority.level}, {self._subscriptions.describe()}"

    def close(self) -> None:
        """Stop polling, wait for the inference in progress, drop the subscriptions. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        for timer in self._timers:
            self._node.destroy_timer(timer)
        self._ended.set()
        for thread in (self._metronome, self._mover):
            if thread.is_alive():
                thread.join()
        self._worker.stop()
        self._priority.give_back()
        self._subscriptions.destroy()
        if self._power is not None:
            self._power.destroy()
        self._pipeline.robot_sensors.requests.reset()  # nobody looks after the sensors from now on
        self._drivers.follow(self._pipeline.robot_sensors.requests)

    # --- clocks and timers ---------------------------------------------------------------------------------

    def _now(self) -> Now:
        if not self._sim_time:  # the node clock is that of the system; to ask it through rclpy takes 100 times as long
            return Now(time.time_ns(), time.monotonic_ns())
        node_ns = self._node.get_clock().now().nanoseconds
        return Now(node_ns, node_ns)

    def _timer(self, period_s: float, callback: Callable[[], None]) -> Timer:
        """A timer whose callback cannot end the node: what it raises is logged and counted in diagnostics."""

        def call() -> None:
            if self._closed:
                return  # it was due when the node was deactivated
            try:
                callback()
            except Exception as error:
                self._health.fail(error)
                text = traceback.format_exc() if self._health.failed == 1 else f"{type(error).__name__}: {error}"
                self._logger.error(f"{callback.__name__} failed: {text}", throttle_duration_sec=5.0)

        return self._node.create_timer(period_s, call, clock=self._steady)

    # --- the loop ------------------------------------------------------------------------------------------

    def _poll_and_plan(self) -> None:
        try:
            self._poll()
        finally:
            if not self._sim_time:
                self._poll_timer.timer_period_ns = round(self._ticks.until_poll_s(self._now().node_ns, self._between) * NS_PER_S)
                self._poll_timer.reset()

    def _poll(self) -> None:
        now, subscriptions = self._now(), self._subscriptions
        if now.node_ns == 0:
            return  # simulated time has not begun
        with self._turn:
            if self._pipeline.observe_clock(now.node_ns):
                self._logger.warning("the clock jumped back: buffers, liveness and waiting times were reset")
                subscriptions.discard()  # these messages are from the time before the jump, and so are the pictures
                self._pictures.clear()
                self._ticks.reset()
                self._arrivals.reset()
            self._ticks.begin(now.node_ns)
        if self._sim_time:
            self._arrivals.note(time.monotonic_ns(), now.node_ns)
        fuse_due, fresh = self._ticks.is_due(now.node_ns), False
        for receiver in subscriptions:
            if not subscriptions.is_due(receiver, now.arrival_ns, fuse_due):
                continue
            name = receiver.sensor.name
            messages, age_ns = receiver.drain()
            if messages and name in self._views.cameras:
                self._keep_picture(name, messages[-1])
            # Read the clocks again: decoding the previous sensor took time, and these messages came meanwhile.
            now = self._now()
            if self._sim_time:
                arrival_ns = self._arrivals.at(age_ns, time.monotonic_ns(), now.node_ns)
            else:
                arrival_ns = now.arrival_ns - age_ns
            # Pictures and clouds one by one, because each may take long, and a tick must not wait for all of them.
            step = 1 if sensor_kind(receiver.sensor.kind).made_of_frames else max(1, len(messages))
            for begin in range(0, max(1, len(messages)), step):
                part, more_wait = slice(begin, begin + step), begin + step < len(messages)
                fresh |= self._pipeline.feed(name, messages[part], arrival_ns[part], now.node_ns, now.arrival_ns, more_wait)
                now = self._now()
                if self._ticks.cannot_wait(now.node_ns):
                    self._fuse_unless_a_sample_is_near(now, True)
        if self._ticks.is_due(now.node_ns):
            self._fuse_unless_a_sample_is_near(now, fresh)
        else:
            self._wait_for_sample(False)  # the metronome may have taken the tick

    def _fuse_unless_a_sample_is_near(self, now: Now, fresh: bool) -> None:
        """Take the snapshot that is due; ``fresh``: this poll brought data for the model."""
        left_s = WAIT_FOR_SAMPLE_S - self._ticks.late_s(now.node_ns)
        waits = not fresh and left_s > 0 and not (self._waits and time.monotonic() >= self._waits_until_s)
        if waits and self._pipeline.robot_sensors.sample_expected(now.arrival_ns, left_s):
            self._wait_for_sample(True)
            return
        self._wait_for_sample(False)
        late_s = self._ticks.claim(now.node_ns)
        if late_s is None:
            return
        self._fuse(now, late_s)
        last_ns = now.arrival_ns + round(self._ticks.until_last_poll_s(now.node_ns) * NS_PER_S)
        self._between = self._subscriptions.any_due_by(last_ns)
        self._drivers.follow(self._pipeline.robot_sensors.requests)
        self._subscriptions.keep_all()
        if self._priority.watch():
            self._logger.warning(
                "the node keeps the processor busy and runs at ordinary CPU priority from now on; lower fuse_rate_hz, set "
                "latency_target_ms or take a smaller model"
            )

    def _wait_for_sample(self, wait: bool) -> None:
        """Look again in a moment, or no longer; rclpy, which takes its time, is asked only where that changes something."""
        if wait:
            if not self._waits:
                self._waits_until_s = time.monotonic() + LONGEST_WAIT_S
            self._wait_timer.reset()
        elif self._waits:
            self._wait_timer.cancel()
        self._waits = wait

    def _take_missed_ticks(self) -> None:
        """In the metronome's thread: take the snapshots for which the thread that reads messages is late, of what it has read."""
        while not self._ended.wait(self._ticks.until_missed_s(self._now().node_ns)):
            try:
                with self._turn:
                    now = self._now()
                    late_s = self._ticks.claim(now.node_ns) if self._ticks.is_missed(now.node_ns) else None
                    if late_s is not None:
                        self._fuse(now, late_s, make_rows=False)
            except Exception as error:
                self._health.fail(error)
                self._logger.error(f"a late tick failed: {type(error).__name__}: {error}", throttle_duration_sec=5.0)

    def _use_large_pages(self) -> None:
        """In a thread of its own, because the kernel waits for all cores before it moves memory: no prediction waits with it."""
        step_back()
        pages, wait_s = LargePages(), SETTLED_S
        while not self._ended.wait(wait_s) and pages.step():
            wait_s = MOVE_PERIOD_S

    def _fuse(self, now: Now, late_s: float, make_rows: bool = True) -> None:
        begin_s = time.monotonic()
        if make_rows:
            self._pipeline.robot_sensors.make_rows()  # this may take long, and the next tick is not to wait for it
        with self._turn:
            self._pipeline.report_latency(now.arrival_ns)
            tick = self._pipeline.snapshot(now.node_ns, now.arrival_ns, make_rows, late_s)
            # overhead_ms counts from the arrival of the newest sample, or from the moment at which the tick was due if
            # nothing newer came.
            tick.waiting_since_s = begin_s - min(late_s, tick.newest_age_s)
            self._health.ticks += 1
            self._worker.put(_Job(self._pipeline.resets, tick))
            self._publishers.publish_mask(self._pipeline, tick, self._subscriptions.names)
            for warns, text in self._changes.follow(tick.statuses, tick.power, begin_s):
                if warns:  # two calls, because rclpy ties a severity to each calling line
                    self._logger.warning(text)
                else:
                    self._logger.info(text)

    def _infer_and_publish(self, job: _Job) -> None:
        """In the worker thread."""
        try:
            prediction = self._pipeline.infer(job.tick)
        except Exception as error:  # whoever waits for a prediction is told that there is none
            self._on_inference_error(error)
            prediction = self._pipeline.failed(job.tick, error)
        if job.resets != self._pipeline.resets:
            return  # the clock jumped back meanwhile: this prediction belongs to the time before
        message = self._publishers.publish_prediction(prediction, self._now().node_ns)
        self._health.add(message.valid, message.latency_ms, message.overhead_ms)
        self._publishers.publish_pruning_if_due(prediction, self._pipeline)
        self._pipeline.judge(job.tick)
        try:
            self._views.publish(prediction, dict(self._pictures))
        except Exception as error:  # nobody must miss a prediction because of what is shown to others
            self._logger.error(f"a view failed: {type(error).__name__}: {error}", throttle_duration_sec=5.0)
        if self._captions is not None:
            self._captions.offer(prediction)
        if self._settings["warm_up"]:
            self._pipeline.prepare(job.tick)

    def _keep_picture(self, camera: str, message: bytes) -> None:
        if self._views.wants_pictures:
            self._pictures[camera] = message
        elif self._pictures:
            self._pictures.clear()

    def _on_inference_error(self, error: Exception) -> None:
        self._health.fail(error)
        self._logger.error(f"inference failed: {type(error).__name__}: {error}", throttle_duration_sec=5.0)

    # --- other inputs and outputs --------------------------------------------------------------------------

    def _measure_power(self) -> None:
        self._pipeline.measured_power(self._rail.read_w(time.monotonic()), self._now().arrival_ns)

    def diagnose(self) -> list[DiagnosticStatus]:
        """The statuses for /diagnostics. Also follows the QoS of the publishers, which may come and go."""
        subscriptions = self._subscriptions
        subscriptions.follow_publishers()
        power_unheard = ""
        if self._power is not None:
            before = self._power.unheard
            self._power.follow_publishers()
            power_unheard = self._power.unheard
            if power_unheard and power_unheard != before:
                self._logger.warning(power_unheard)
        now = self._now()
        pipeline, replaced = self._pipeline, self._worker.replaced
        verdict = self._health.judge(now.node_ns * 1e-9, time.monotonic(), replaced, pipeline.resets, pipeline.latency_p95_ms())
        if verdict.slow and not self._was_slow:
            self._logger.warning(verdict.text)
        elif self._was_slow and not verdict.slow:
            rate = "the clock runs" if math.isnan(verdict.rate_hz) else f"{verdict.rate_hz:.1f} predictions per second again"
            self._logger.info(rate)
        self._was_slow = verdict.slow
        return loop_statuses(pipeline, subscriptions.names, subscriptions.unheard, self._health, verdict, replaced, power_unheard)
