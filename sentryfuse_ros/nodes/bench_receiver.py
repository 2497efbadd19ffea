"""Receives the reference load in one of three ways, in a process of its own, and prints what that cost as JSON.

`python -m sentryfuse_ros.nodes.bench_receiver SIDE STREAMS SECONDS MODEL`; the sides are
  ordinary  single-threaded executor with typed callbacks that only count, which is what one writes without thinking of CPU
  watched   fuse_node's receivers, the checks of the decoders and liveness, for sensors that the model does not use
  decoded   the same, and the rows that the model's windows use, ten times a second
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor

from ..errors import SentryFuseError
from ..evaluation.node_cost import ReceiveRun
from ..evaluation.reference_load import FUSE_RATE_HZ, Stream, sensor_parameters
from ..model.checkpoint import read_checkpoint
from ..nanoseconds import NS_PER_S
from ..paths import model_path
from ..runtime.process_memory import keep_large_buffers
from ..sensing.sensor import Sensor
from ..settings import build_settings
from .bench_load import COUNTED_TO, QUEUE_DEPTH, number_of
from .receive import TopicReceiver, make_receive_node, message_class
from .ros_start import start_ros
from .spin import make_executor

POLL_RATE_HZ = 30
POLLS_PER_TICK = round(POLL_RATE_HZ / FUSE_RATE_HZ)
WARM_UP_S = 2.0
DISCOVERY_LIMIT_S = 20.0


class Count:
    """Messages received of one stream, and those missing by their numbers."""

    def __init__(self) -> None:
        self.received = self.lost = 0
        self._last: int | None = None

    def add(self, number: int) -> None:
        """Count a message by its number modulo COUNTED_TO."""
        if self._last is not None:
            self.lost += (number - self._last - 1) % COUNTED_TO
        self._last, self.received = number, self.received + 1


def cpu_s() -> float:
    """CPU time of this process so far [s]."""
    use = resource.getrusage(resource.RUSAGE_SELF)
    return use.ru_utime + use.ru_stime


def measure(seconds: float, step: Callable[[], Any], counts: dict[str, Count]) -> ReceiveRun:
    """Call ``step`` until all streams come, for the warm-up, and then for the measured seconds."""
    limit = time.monotonic() + DISCOVERY_LIMIT_S
    while not all(count.received for count in counts.values()):
        step()
        if time.monotonic() > limit:
            silent = [name for name, count in counts.items() if not count.received]
            raise SentryFuseError("streams of the load", f"nothing from {', '.join(silent)}", "messages", "see sentryfuse doctor")
    end = time.monotonic() + WARM_UP_S
    while time.monotonic() < end:
        step()
    received = {name: count.received for name, count in counts.items()}
    lost = sum(count.lost for count in counts.values())
    cpu, begin = cpu_s(), time.monotonic()
    while time.monotonic() < begin + seconds:
        step()
    took = time.monotonic() - begin
    return ReceiveRun(
        cpu_percent=100 * (cpu_s() - cpu) / took,
        received_hz={name: (count.received - received[name]) / took for name, count in counts.items()},
        lost=sum(count.lost for count in counts.values()) - lost,
        received=sum(count.received for count in counts.values()) - sum(received.values()),
    )


def receive_ordinary(streams: Sequence[Stream], seconds: float) -> ReceiveRun:
    """The ordinary node."""
    node = rclpy.create_node("bench_ordinary")
    counts = {s.name: Count() for s in streams}

    def counting(count: Count) -> Callable[[Any], None]:
        return lambda message: count.add(message.header.stamp.nanosec % COUNTED_TO)

    for s in streams:
        node.create_subscription(message_class(s.msg_type), s.topic, counting(counts[s.name]), QUEUE_DEPTH)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    return measure(seconds, lambda: executor.spin_once(timeout_sec=0.1), counts)


def receive_ours(streams: Sequence[Stream], seconds: float, model: str, decoded: bool) -> ReceiveRun:
    """The receive path of fuse_node, with the rows of the model's windows if ``decoded``."""
    specs = read_checkpoint(model_path(model)).config.modalities if decoded else ()
    settings = build_settings(sensor_parameters(streams))
    node = rclpy.create_node("bench_ours")
    owner = make_receive_node(node)
    receivers = [TopicReceiver(node, owner, s, "auto") for s in settings.sensors]
    sensors = {s.name: Sensor(s, specs, None, FUSE_RATE_HZ) for s in settings.sensors}
    counts = {s.name: Count() for s in streams}
    polls = 0

    def poll() -> None:
        nonlocal polls
        polls += 1
        tick_due = polls % POLLS_PER_TICK == 0
        for receiver in receivers:
            sensor = sensors[receiver.sensor.name]
            if not sensor.look_due(time.monotonic_ns(), tick_due):
                continue
            messages, age_ns = receiver.drain()
            node_ns, arrival_ns = time.time_ns(), time.monotonic_ns()
            for message in messages:
                counts[sensor.name].add(number_of(message))
            sensor.feed(messages, arrival_ns - age_ns, node_ns, arrival_ns)
        if tick_due:
            for sensor in sensors.values():
                sensor.check(time.time_ns(), time.monotonic_ns())
                sensor.make_rows()
                sensor.expect_window(time.monotonic_ns() + round(NS_PER_S / FUSE_RATE_HZ))
        if polls % POLL_RATE_HZ == 0:
            for receiver in receivers:
                receiver.follow_publishers()

    node.create_timer(1 / POLL_RATE_HZ, poll, clock=Clock(clock_type=ClockType.STEADY_TIME))
    executor = make_executor()
    executor.add_node(node)
    return measure(seconds, lambda: executor.spin_once(timeout_sec=0.1), counts)


def main() -> None:
    side, streams_json, seconds, model = sys.argv[1:]
    streams = [Stream(*values) for values in json.loads(streams_json)]
    keep_large_buffers()
    start_ros()
    if side == "ordinary":
        run = receive_ordinary(streams, float(seconds))
    else:
        run = receive_ours(streams, float(seconds), model, side == "decoded")
    print(json.dumps(asdict(run)))


if __name__ == "__main__":
    main()
