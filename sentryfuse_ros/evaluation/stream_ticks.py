"""What a tick of the fuser costs with a camera as a stream and without: the same pictures through several pipelines, in turns."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..model.checkpoint import Checkpoint
from ..nanoseconds import NS_PER_S, ns_to_stamp
from ..runtime.backends import load_backend
from ..runtime.engine import Engine
from ..runtime.pipeline import Pipeline
from ..settings import build_settings
from ..simulation.watch import RATE_HZ, START_NS, VISITS_S, pictures

SIDES = {"no stream": ("off", 0.0), **{f"stream, ratio {ratio:g}": ("on", ratio) for ratio in (0.0, 0.3, 0.7)}}
FIRST_S = 4.0  # when every window is full
TICK_AFTER_NS = NS_PER_S // 50  # from a picture to its tick


def time_ticks(checkpoint: Checkpoint, duration_s: float, seed: int = 0) -> dict[str, float]:
    """Mean milliseconds of snapshot and inference together, by "side, nobody" and "side, somebody": the scene of
    `simulation.watch`, in which somebody is there from its first visit on. One thread, and all pipelines in random order.
    """
    (name,) = checkpoint.config.names
    sides = {side: _pipeline(checkpoint, name, *options) for side, options in SIDES.items()}
    took: dict[str, list[float]] = {}
    rng = np.random.default_rng(seed)
    for t_s, _, picture in pictures(duration_s, seed):
        now_ns = START_NS + round(t_s * NS_PER_S)
        message = _image(picture, now_ns)
        scene = "nobody" if t_s < VISITS_S[0] else "somebody"
        for side in rng.permutation(list(sides)):
            pipeline = sides[side]
            pipeline.feed(name, [message], np.array([now_ns]), now_ns, now_ns)
            started = time.perf_counter()
            pipeline.infer(pipeline.snapshot(now_ns + TICK_AFTER_NS, now_ns + TICK_AFTER_NS))
            if t_s >= FIRST_S:
                took.setdefault(f"{side}, {scene}", []).append(time.perf_counter() - started)
    return {key: round(1e3 * float(np.mean(seconds)), 4) for key, seconds in sorted(took.items())}


def _pipeline(checkpoint: Checkpoint, name: str, streaming: str, ratio: float) -> Pipeline:
    engine = Engine(checkpoint, load_backend(checkpoint, "onnxruntime"))
    own = {f"{name}.kind": "camera", f"{name}.expected_rate_hz": RATE_HZ}
    flat = {"sensors": [name], "streaming": streaming, "pruning_ratio_override": ratio, **own}
    return Pipeline(build_settings(flat), engine)


def _image(picture: np.ndarray, stamp_ns: int) -> Any:
    """A sensor_msgs/Image."""
    sec, nanosec = ns_to_stamp(stamp_ns)
    height, width = picture.shape
    return SimpleNamespace(
        header=SimpleNamespace(stamp=SimpleNamespace(sec=sec, nanosec=nanosec), frame_id="camera"),
        height=height,
        width=width,
        encoding="16UC1",
        is_bigendian=0,
        step=2 * width,
        data=picture.astype("<u2").view(np.uint8).ravel(),
    )
