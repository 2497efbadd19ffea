"""How cost grows: with the number of sensors, the size of pictures, and the size of the model.

    python -m benchmarks.curves [--rounds 30] [--json out.json] [--plot out.png]

Every curve is measured through the same code as on the robot, without ROS: serialised images are fed to a `Pipeline`, which
decodes and checks them, takes a snapshot and infers. The points of a curve take turns within every round, so that a busy machine
slows all of them. The weights are random, because only time counts. Of each curve, the line of least squares is given with the
largest deviation from it, as a share of the largest point: a cost that grows faster than its cause would show there.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from rosbags.typesys import Stores, get_typestore

from sentryfuse_ros.cli.arguments import at_least_one
from sentryfuse_ros.machine import machine
from sentryfuse_ros.model.config import FuseConfig
from sentryfuse_ros.model.fuse import SentryFuse
from sentryfuse_ros.model.saved import checkpoint_of
from sentryfuse_ros.runtime.engine import Engine
from sentryfuse_ros.runtime.onnx_backend import OnnxBackend
from sentryfuse_ros.runtime.pipeline import Pipeline
from sentryfuse_ros.settings import build_settings

STORE = get_typestore(Stores.ROS2_JAZZY)
PERIOD_NS = 100_000_000
PIXELS = ((160, 120), (320, 240), (640, 480), (960, 720), (1280, 960), (1920, 1080))  # width, height
WIDTHS = ((64, 256), (128, 512), (192, 768), (256, 1024), (320, 1280))  # d_model, ffn_dim
SENSORS = range(1, 9)


class Point(NamedTuple):
    """One point of a curve: its cause, and a program that takes one turn and returns what it took [ms]."""

    cause: float
    turn: Callable[[], float]


class Cameras:
    """A pipeline with some cameras, and images for it that never repeat."""

    def __init__(self, count: int, size: tuple[int, int]):
        names = [f"camera_{i}" for i in range(count)]
        stem = {"frames_per_token": 1, "stem_channels": [8, 16, 24], "grid": [2, 2], "validity_mask": "none"}
        engine = _engine(
            {
                "modalities": [
                    {"name": n, "kind": "camera", "encoding": "rgb", "window_s": 2.0, "shape": [2, 3, 54, 72]} for n in names
                ],
                "d_model": 64,
                "layers": 2,
                "head_dim": 8,
                "ffn_dim": 128,
                "tokenizer": dict.fromkeys(names, stem),
            }
        )
        values: dict[str, Any] = {"sensors": names, "fuse_rate_hz": 10.0}
        for name in names:
            values |= {f"{name}.kind": "camera", f"{name}.topic": f"/{name}", f"{name}.model_input": name}
        self.pipeline, self.names, self.size = Pipeline(build_settings(values), engine), names, size
        self.now_ns, self.rng = 10**18, np.random.default_rng(0)
        for _ in range(12):  # until every camera is live and its older picture is known
            self.turn()

    def turn(self) -> float:
        """One image of every camera, and one prediction; returns what both took [ms]."""
        self.now_ns += PERIOD_NS
        messages = {name: self._image() for name in self.names}
        arrival_ns = np.array([self.now_ns])
        began_s = time.perf_counter()
        for name, message in messages.items():
            self.pipeline.feed(name, [message], arrival_ns, self.now_ns, self.now_ns)
        prediction = self.pipeline.tick(self.now_ns)
        took_ms = 1e3 * (time.perf_counter() - began_s)
        self.live = bool(prediction.tick.mask.all()) and prediction.valid
        return took_ms

    def _image(self) -> bytes:
        width, height = self.size
        types = STORE.types
        stamp = types["builtin_interfaces/msg/Time"](*divmod(self.now_ns, 10**9))
        header = types["std_msgs/msg/Header"](stamp, "camera_link")
        pixels = self.rng.integers(0, 256, height * width * 3, np.uint8)
        image = types["sensor_msgs/msg/Image"](header, height, width, "rgb8", 0, width * 3, pixels)
        return bytes(STORE.serialize_cdr(image, "sensor_msgs/msg/Image"))


def _engine(config: Mapping[str, Any]) -> Engine:
    torch.manual_seed(0)
    model = SentryFuse(FuseConfig.from_dict({"classes": [f"class_{i}" for i in range(6)], **config})).eval()
    checkpoint = checkpoint_of(model)
    return Engine(checkpoint, OnnxBackend(checkpoint))


def by_sensors() -> list[Point]:
    """Cause: cameras of 640x480."""
    return [Point(count, _of_live(Cameras(count, (640, 480)))) for count in SENSORS]


def by_picture() -> list[Point]:
    """Cause: megapixels of the images of one camera."""
    return [Point(w * h / 1e6, _of_live(Cameras(1, (w, h)))) for w, h in PIXELS]


def _of_live(cameras: Cameras) -> Callable[[], float]:
    if not cameras.live:
        raise SystemExit(f"{len(cameras.names)} cameras of {cameras.size}: not all are used, so nothing would be measured")
    return cameras.turn


def by_model() -> list[Point]:
    """Cause: MFLOP of a network with four sensors, 4 layers and 128 tokens. The time is that of the inference alone."""
    points = []
    for d_model, ffn_dim in WIDTHS:
        names = [f"imu_{i}" for i in range(4)]
        engine = _engine(
            {
                "modalities": [{"name": n, "kind": "imu", "window_s": 1.6, "shape": [320, 6]} for n in names],
                "d_model": d_model,
                "layers": 4,
                "head_dim": d_model // 8,
                "ffn_dim": ffn_dim,
                "tokenizer": dict.fromkeys(names, {"steps_per_token": 10, "stem_channels": 32}),
            }
        )
        rng, everyone = np.random.default_rng(0), np.ones(4, bool)
        window = {name: rng.standard_normal((320, 6)).astype(np.float32) for name in names}
        flops = engine.infer(window, everyone, 0.0).flops

        def turn(engine: Engine = engine, window: Mapping[str, np.ndarray] = window) -> float:
            return 1e3 * engine.infer(window, np.ones(4, bool), 0.0).duration_s

        points.append(Point(flops / 1e6, turn))
    return points


CURVES = {"sensors": by_sensors, "megapixels": by_picture, "model MFLOP": by_model}


def measure(points: Sequence[Point], rounds: int) -> dict[str, Any]:
    """Median time of each point [ms], and how far the curve is from a line."""
    rng = np.random.default_rng(1)
    ms = np.empty((rounds, len(points)))
    for k in range(rounds):
        for i in rng.permutation(len(points)):
            ms[k, i] = points[i].turn()
    cause, median = np.array([p.cause for p in points]), np.median(ms, axis=0)
    slope, offset = np.polyfit(cause, median, 1)
    apart = float(np.abs(median - slope * cause - offset).max() / median.max())
    return {
        "cause": cause.round(4).tolist(),
        "ms": median.round(4).tolist(),
        "quartiles_ms": np.percentile(ms, (25, 75), axis=0).round(4).tolist(),
        "slope_ms": round(float(slope), 5),
        "offset_ms": round(float(offset), 4),
        "largest_deviation": round(apart, 4),
    }


def draw(curves: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """One panel per curve, with its line."""
    from matplotlib.figure import Figure

    labels = {
        "sensors": ("cameras of 640x480", "one image of each, and a prediction [ms]"),
        "megapixels": ("image size [megapixels]", "one image, and a prediction [ms]"),
        "model MFLOP": ("network [MFLOP]", "one inference [ms]"),
    }
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    for axes, (name, curve) in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves.items()):
        cause = np.array(curve["cause"])
        axes.plot(cause, curve["slope_ms"] * cause + curve["offset_ms"], color="0.7", label="line of least squares")
        low, high = np.abs(np.array(curve["quartiles_ms"]) - np.array(curve["ms"]))
        axes.errorbar(cause, curve["ms"], (low, high), fmt="o", color="#1f77b4", label="median, quartiles")
        axes.set(xlabel=labels[name][0], ylabel=labels[name][1], xlim=(0, None), ylim=(0, None))
        axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=at_least_one, default=30, help="turns of every point (default 30)")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    parser.add_argument("--plot", type=Path, help="also draw the curves into this file")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    curves = {}
    for name, build in CURVES.items():
        curves[name] = curve = measure(build(), arguments.rounds)
        print(f"{name}: {curve['slope_ms']} ms each, {curve['offset_ms']} ms besides; at most "
              f"{100 * curve['largest_deviation']:.1f} % from a line")  # fmt: skip
        print("  " + "  ".join(f"{c:g}: {ms:.2f} ms" for c, ms in zip(curve["cause"], curve["ms"])))
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(1), "curves": curves}, indent=1) + "\n")
    if arguments.plot:
        draw(curves, arguments.plot)


if __name__ == "__main__":
    main()
