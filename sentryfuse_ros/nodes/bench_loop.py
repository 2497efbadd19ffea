"""Times what the loop of fuse_node does besides receiving and inference, without a middleware, and prints it as JSON.

`python -m sentryfuse_ros.nodes.bench_loop MODEL STREAMS RATIO`
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from statistics import fmean

import numpy as np
from rclpy.serialization import serialize_message

from ..bags.header_stamps import stamped
from ..errors import ParameterError
from ..evaluation.node_cost import LoopCost
from ..evaluation.reference_load import FUSE_RATE_HZ, Stream, sensor_parameters
from ..nanoseconds import NS_PER_S
from ..paths import model_path
from ..runtime.engine import Engine
from ..runtime.pipeline import Pipeline
from ..runtime.plan_costs import choose_by_time
from ..runtime.process_memory import keep_large_buffers, use_large_pages
from ..runtime.tick import Tick
from ..sensor_kinds import sensor_kind
from ..settings import build_settings
from .bench_load import PAYLOADS, make_message

TICKS = 100
WARM_UP_TICKS = 60  # until the windows are full and the period of every sensor is known
START_NS = 1_700_000_000 * NS_PER_S


def serialised_payloads(streams: Sequence[Stream]) -> dict[str, list[bytes]]:
    """Messages of each stream, by its name; they take turns."""
    rng = np.random.default_rng(0)
    return {s.name: [serialize_message(make_message(s, rng)) for _ in range(PAYLOADS)] for s in streams}


class LoopLoad:
    """A pipeline under the reference load, one fuse period after the other, on a clock of its own."""

    def __init__(self, engine: Engine, streams: Sequence[Stream], ratio: float = 0.0):
        self._streams, self._payloads = streams, serialised_payloads(streams)
        self.pipeline = Pipeline(build_settings(sensor_parameters(streams)), engine)
        self.pipeline.override(ratio)
        self._now_ns, self._sent = START_NS, dict.fromkeys(self._payloads, 0)

    def advance(self) -> dict[str, tuple[list[bytes], np.ndarray]]:
        """One fuse period passes; returns the messages of each sensor that came meanwhile, and when [ns]."""
        begin_ns, self._now_ns = self._now_ns, self._now_ns + round(NS_PER_S / FUSE_RATE_HZ)
        came = {}
        for s in self._streams:
            period_ns, messages, stamps = round(NS_PER_S / s.rate_hz), [], []
            while (stamp_ns := START_NS + self._sent[s.name] * period_ns) < self._now_ns:
                if stamp_ns >= begin_ns:
                    messages.append(stamped(self._payloads[s.name][self._sent[s.name] % PAYLOADS], stamp_ns))
                    stamps.append(stamp_ns)
                self._sent[s.name] += 1
            came[s.name] = messages, np.array(stamps, np.int64)
        return came

    def feed(self, came: dict[str, tuple[list[bytes], np.ndarray]]) -> None:
        """Feed them as the loop does: pictures and clouds one by one, the small messages together."""
        now_ns = self._now_ns
        for s in self._streams:
            if not self.pipeline.robot_sensors.look_due(s.name, now_ns, True):
                continue
            messages, stamps = came[s.name]
            step = 1 if sensor_kind(s.kind).made_of_frames else max(len(messages), 1)
            for i in range(0, len(messages), step):
                more_wait = i + step < len(messages)
                self.pipeline.feed(s.name, messages[i : i + step], stamps[i : i + step], now_ns, now_ns, more_wait)

    def tick(self) -> Tick:
        """Take the snapshot."""
        return self.pipeline.snapshot(self._now_ns, self._now_ns)


def measure_loop(engine: Engine, streams: Sequence[Stream], ratio: float, ticks: int = TICKS) -> LoopCost:
    """Time so many fuse periods, after a warm-up."""
    load, feed_s, tick_s, judge_s = LoopLoad(engine, streams, ratio), [], [], []
    for i in range(WARM_UP_TICKS + ticks):
        if i == WARM_UP_TICKS:
            use_large_pages()  # as a node does
        came = load.advance()
        began_s = time.process_time()
        load.feed(came)
        fed_s = time.process_time()
        tick = load.tick()
        taken_s = time.process_time()
        load.pipeline.judge(tick)
        if i >= WARM_UP_TICKS:
            feed_s.append(fed_s - began_s)
            tick_s.append(taken_s - fed_s)
            judge_s.append(time.process_time() - taken_s)
    return LoopCost(ratio, 1e3 * fmean(feed_s), 1e3 * fmean(tick_s), 1e3 * fmean(judge_s))


def main() -> None:
    model, streams_json, ratio = sys.argv[1:]
    keep_large_buffers()
    engine = Engine.load(model_path(model))
    with suppress(ParameterError):  # the ratio is a share of FLOPs then
        choose_by_time(engine, 1)
    streams = [Stream(*values) for values in json.loads(streams_json)]
    print(json.dumps(asdict(measure_loop(engine, streams, float(ratio)))))


if __name__ == "__main__":
    main()
