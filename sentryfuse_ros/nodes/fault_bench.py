"""Play the fault matrix and the power cases into a fuse_node of its own process, and collect what it publishes and diagnoses."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import BatteryState
from std_msgs.msg import Float32

from ..bags.bag import Topic
from ..nanoseconds import NS_PER_S, stamp_to_ns
from ..replay.fault_matrix import DiagnosticRow, MatrixRun, MatrixTask, Stage
from ..replay.faults import FaultScript, InjectedFault
from ..replay.injector import stamped
from ..replay.power_cases import CASE_S, PRIME_S, RATE_HZ, PowerCase, PowerRun, as_fields
from ..runtime.cpu_priority import CpuPriority
from .collector import Collector
from .message_types import message_class
from .node_process import NodeProcess, transport_environment
from .player import READY_TIMEOUT_S, Player
from .ros_start import start_ros
from .spin import spinning

BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)


class OtherPublisher:
    """A second node that publishes on the topics of sensors: old messages of theirs with fresh stamps, at their rate."""

    def __init__(self, faults: Sequence[InjectedFault], topics: Mapping[str, Topic], samples: Mapping[str, Sequence[bytes]]):
        """samples: by sensor, messages of a second that are repeated over and over."""
        self._faults, self._topics, self._samples = faults, topics, samples
        self._node = rclpy.create_node("other_publisher", enable_rosout=False)
        self._publisher: Publisher | None = None
        self._fault: InjectedFault | None = None
        self._sent = 0

    def follow(self, t_s: float, start_ns: int) -> None:
        """Publish what is due at a time of the run; call it often."""
        fault = next((fault for fault in self._faults if fault.active(t_s)), None)
        if fault is not self._fault:
            self.stop()
            self._fault, self._sent = fault, 0
            if fault is not None:
                topic = self._topics[fault.sensor]
                self._publisher = self._node.create_publisher(message_class(topic.msg_type), topic.name, 50)
        if fault is None or self._publisher is None:
            return
        samples = self._samples[fault.sensor]
        while self._sent < (t_s - fault.from_s) * len(samples):
            at_ns = start_ns + int((fault.from_s + self._sent / len(samples)) * NS_PER_S)
            self._publisher.publish(stamped(samples[self._sent % len(samples)], at_ns))
            self._sent += 1

    def stop(self) -> None:
        """Fall silent."""
        if self._publisher is not None:
            self._node.destroy_publisher(self._publisher)
            self._publisher = None

    def destroy(self) -> None:
        """Stop, and leave the graph."""
        self.stop()
        self._node.destroy_node()


def play_matrix(stage: Stage, task: MatrixTask, progress: Callable[[float], None]) -> MatrixRun:
    """Play all deliveries, and the other publishers of the plan beside them.

    ``progress`` is called about 8 times a second with the time of the run [s]. Raises SentryFuseError if the node ends early.
    """
    start_ns = task.start_ns
    with started(stage) as (fuser, node):
        player = Player(node, task.topics, (), FaultScript(), start_ns)
        collector = Collector(node, start_ns, held_up_s=lambda: player.held_up_s)
        diagnostics = collect_diagnostics(node, start_ns)

        def show(t_s: float) -> None:
            fuser.check()
            progress(t_s)

        other = OtherPublisher(task.plan.beside(), task.topics, task.samples)
        try:
            with spinning(node):
                player.wait_until_ready(fuser, lambda: collector.latest.info is not None)
                ended = threading.Event()
                thread = threading.Thread(target=_follow, args=(other, player, start_ns, ended), daemon=True)
                thread.start()
                try:
                    end_s = player.play(task.stream, 1.0, show)
                finally:
                    ended.set()
                    thread.join(2.0)
                exit_status = fuser.stop()
        finally:
            other.destroy()
        last_words = fuser.last_words()
    return MatrixRun(
        collector.predictions,
        collector.statuses,
        diagnostics,
        min(end_s, task.plan.end_s),
        exit_status,
        last_words,
    )


def play_power(stage: Stage, cases: Sequence[PowerCase], fuse_period_s: float, progress: Callable[[int], None]) -> PowerRun:
    """Send the messages of every case for `CASE_S` each. Raises SentryFuseError if the node ends early or never becomes ready."""
    with started(stage) as (fuser, node):
        with spinning(node):
            waiting = Collector(node, 0)
            deadline_s = time.monotonic() + READY_TIMEOUT_S
            while not waiting.predictions and time.monotonic() < deadline_s:
                fuser.check()
                fuser.check_transitions()
                threading.Event().wait(0.05)
            start_ns = node.get_clock().now().nanoseconds
            collector = Collector(node, start_ns)
            for index, case in enumerate(cases):
                progress(index)
                fuser.check()
                _play_case(node, case, start_ns * 1e-9 + index * CASE_S)
    return PowerRun(collector.power, collector.predictions, fuse_period_s)


def _play_case(node: Node, case: PowerCase, begin_s: float) -> None:
    msg_class, topic = (BatteryState, "/battery_state") if case.input == "battery" else (Float32, "/power_budget")
    publisher = node.create_publisher(msg_class, topic, BEST_EFFORT if case.best_effort else 10)
    pause, sent = threading.Event(), 0
    while (t_s := node.get_clock().now().nanoseconds * 1e-9 - begin_s) < CASE_S:
        messages = case.messages if t_s >= PRIME_S or case.first is None else (case.first,)
        if messages:
            fields = dict(as_fields(messages[sent % len(messages)]))
            if msg_class is BatteryState:
                fields.setdefault("power_supply_status", BatteryState.POWER_SUPPLY_STATUS_DISCHARGING)
            publisher.publish(msg_class(**fields))
            sent += 1
        pause.wait(max(0.0, min(1.0 / RATE_HZ, CASE_S - t_s)))
    node.destroy_publisher(publisher)


def _follow(other: OtherPublisher, player: Player, start_ns: int, ended: threading.Event) -> None:
    while not ended.wait(0.005):
        other.follow(player.now_s, start_ns)


def collect_diagnostics(node: Node, start_ns: int) -> list[DiagnosticRow]:
    """A list that grows with every status of /diagnostics; times count from ``start_ns``."""
    rows: list[DiagnosticRow] = []

    def keep(message: DiagnosticArray) -> None:
        stamp = message.header.stamp
        t_s = (stamp_to_ns(stamp.sec, stamp.nanosec) - start_ns) / NS_PER_S
        rows.extend(
            DiagnosticRow(t_s, status.name, int.from_bytes(status.level, "little"), status.message) for status in message.status
        )

    node.create_subscription(DiagnosticArray, "/diagnostics", keep, 50)
    return rows


@contextmanager
def started(stage: Stage) -> Iterator[tuple[NodeProcess, Node]]:
    """A fuse_node in a process, and a node of this process on its domain, which asks for precedence over other programs."""
    environment = transport_environment(stage.domain_id)
    os.environ.update(environment)
    fuser = NodeProcess("fuse_node", stage.arguments, environment, stage.log_path)
    priority = CpuPriority()
    try:
        start_ros()
        priority.take()
        node = rclpy.create_node("sentryfuse_bench", enable_rosout=False)
        try:
            yield fuser, node
        finally:
            node.destroy_node()
            rclpy.try_shutdown()
    finally:
        priority.give_back()
        fuser.stop()
