"""What the loop of another installation of this package costs on the same load, beside `nodes.bench_loop`: another version, whose
modules may have other names."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ParameterError
from .node_cost import LoopCost
from .other_installation import environment_of_other, interpreter_of
from .reference_load import FUSE_RATE_HZ, Stream, sensor_parameters

# Runs in the other installation: one fuse period after the other, on a clock of its own, as `nodes.bench_loop` does.
_WORKER = """
import json, struct, sys, time
from statistics import fmean
import numpy as np
import sentryfuse_ros
assert sentryfuse_ros.__file__.startswith(sys.prefix), sentryfuse_ros.__file__
try:
    from sentryfuse_ros.paths import model_path
    from sentryfuse_ros.runtime.engine import Engine
    from sentryfuse_ros.runtime.pipeline import Pipeline
    from sentryfuse_ros.settings import build_settings
except ImportError:
    from sentryfuse_ros.engine import Engine
    from sentryfuse_ros.parameters import build_settings
    from sentryfuse_ros.pipeline import Pipeline
    from sentryfuse_ros.resources import model_path
task = json.loads(sys.argv[1])
with np.load(task["payloads"]) as file:
    payloads = {name: [file[f"{name} {i}"].tobytes() for i in range(task["count"])] for name in task["rates_hz"]}
engine = Engine.load(model_path(task["model"]))
pipeline = Pipeline(build_settings(task["parameters"]), engine)
now_ns = start_ns = 1_700_000_000 * 10**9
sent, feed_s, tick_s = dict.fromkeys(payloads, 0), [], []
for i in range(task["warm_up"] + task["ticks"]):
    now_ns += round(1e9 / task["fuse_rate_hz"])
    came = {}
    for name, rate_hz in task["rates_hz"].items():
        period_ns, messages, stamps = round(1e9 / rate_hz), [], []
        while (stamp_ns := start_ns + sent[name] * period_ns) < now_ns:
            raw = payloads[name][sent[name] % task["count"]]
            messages.append(raw[:4] + struct.pack("<iI", *divmod(stamp_ns, 10**9)) + raw[12:])
            stamps.append(stamp_ns)
            sent[name] += 1
        came[name] = messages, np.array(stamps, np.int64)
    began_s = time.process_time()
    for name, (messages, stamps) in came.items():
        pipeline.feed(name, messages, stamps, now_ns, now_ns)
    fed_s = time.process_time()
    tick = pipeline.snapshot(now_ns, now_ns)
    if i >= task["warm_up"]:
        tick_s.append(time.process_time() - fed_s)
        feed_s.append(fed_s - began_s)
assert tick.mask.all(), tick.mask
print(json.dumps([1e3 * fmean(feed_s), 1e3 * fmean(tick_s)]))
"""


def measure_other_loop(
    prefix: Path,
    model: str,
    streams: Sequence[Stream],
    payloads: Mapping[str, Sequence[bytes]],
    ratio: float,
    ticks: int,
    warm_up_ticks: int,
) -> LoopCost:
    """Time ``ticks`` fuse periods after ``warm_up_ticks`` in the installation in the virtual environment ``prefix``.

    It loads its own model of this name. payloads: by the name of the stream, serialised messages that take turns, as many of
    each. Trust is not timed. Raises ParameterError where it cannot run.
    """
    count = min(len(messages) for messages in payloads.values())
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "payloads.npz")
        arrays: dict[str, Any] = {
            f"{name} {i}": np.frombuffer(raw, np.uint8) for name, own in payloads.items() for i, raw in enumerate(own)
        }
        np.savez(file, **arrays)
        task = {
            "payloads": str(file),
            "count": count,
            "model": model,
            "parameters": {**sensor_parameters(streams), "pruning_ratio_override": ratio},
            "rates_hz": {stream.name: stream.rate_hz for stream in streams},
            "fuse_rate_hz": FUSE_RATE_HZ,
            "ticks": ticks,
            "warm_up": warm_up_ticks,
        }
        done = subprocess.run(
            [str(interpreter_of(prefix)), "-c", _WORKER, json.dumps(task)],
            text=True,
            capture_output=True,
            check=False,
            cwd=folder,
            env=environment_of_other(),
        )
    if done.returncode:
        said = done.stderr.strip().split("\n")[-1]
        raise ParameterError("--before", f"a loop that ended with: {said}", "an installation that runs the model")
    feed_ms, tick_ms = json.loads(done.stdout.strip().split("\n")[-1])
    return LoopCost(ratio, feed_ms, tick_ms, 0.0, before=True)
