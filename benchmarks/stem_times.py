"""How long a ground network's camera takes for a picture: the old stem of convolutions, the patch encoder, and its stream."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sentryfuse_ros.datasets.camera_pictures import camera_pictures
from sentryfuse_ros.model.checkpoint import Checkpoint
from sentryfuse_ros.model.subnetwork import whole_stems
from sentryfuse_ros.model.tensor_shapes import token_counts
from sentryfuse_ros.pruning.gate_scores import gate_scores
from sentryfuse_ros.pruning.units import subnetwork_units
from sentryfuse_ros.runtime.onnx_backend import OnnxBackend
from sentryfuse_ros.streaming.camera_stream import CameraStream
from sentryfuse_ros.streaming.stream_config import StreamConfig
from sentryfuse_ros.streaming.window_encoder import WindowEncoder

DRIVES, ROUNDS, FIRST = 6, 3, 35  # pictures before FIRST are left out; in the standing drives the robot stops at 30
LAST = 138  # and drives on at 140
CAMERA = "camera"


def stem_times(
    patches: Checkpoint,
    convolutions: Checkpoint,
    streaming: Mapping[str, Any],
    standing: Sequence[Path],
    driving: Sequence[Path],
    kept: Path | None = None,
) -> dict[str, dict[str, float]]:
    """Mean time of a picture [ms] of each side, in turns, on drives in which the robot stands and on others."""
    spec = patches.config.modalities[patches.config.names.index(CAMERA)]
    encoder = WindowEncoder(patches, CAMERA)
    streams = {
        "patches, whole": CameraStream(encoder),
        "patches, light": CameraStream(encoder),
        "stream": StreamConfig.from_dict({**streaming, "router": "none"}).make_stream(encoder),
        "stream with router": StreamConfig.from_dict({**streaming, "route_from_ratio": 0.0}).make_stream(encoder),
    }
    sizes = {"patches, light": encoder.sizes - 1}
    sides: dict[str, Callable[[np.ndarray, float], Any]] = {"convolutions": _convolutions(convolutions, spec)}
    for name, stream in streams.items():
        sides[name] = _side(stream, sizes.get(name, 0))
    found = {}
    for what, folders in (("standing", standing), ("driving", driving)):
        bags = sorted(p for folder in folders for p in folder.iterdir() if p.name.startswith("test"))[:DRIVES]
        took: dict[str, list[np.ndarray]] = {name: [] for name in sides}
        rng = np.random.default_rng(0)
        for _ in range(ROUNDS if bags else 0):
            seconds: dict[str, list[float]] = {name: [] for name in sides}
            for bag in bags:
                for stream in streams.values():
                    stream.reset()
                recording = camera_pictures(bag, spec, kept)
                for t, (frame, turn) in enumerate(zip(recording.frames, recording.turn_rad_s.tolist())):
                    for name in rng.permutation(list(sides)):
                        began = time.perf_counter()
                        sides[name](frame, turn)
                        if FIRST <= t < LAST:
                            seconds[name].append(time.perf_counter() - began)
            for name, values in seconds.items():
                took[name].append(np.array(values))
        if bags:
            found[what] = {name: round(float(np.median(rows, 0).mean()) * 1e3, 4) for name, rows in took.items()}
            print(what, found[what], flush=True)
    return found


def _side(stream: CameraStream, size: int) -> Callable[[np.ndarray, float], Any]:
    return lambda frame, turn: stream.update(frame, turn_rad_s=turn if np.isfinite(turn) else None, size=size)


def _convolutions(checkpoint: Checkpoint, spec: Any) -> Callable[[np.ndarray, float], Any]:
    """Normalise one picture and run the old stem on it."""
    config = checkpoint.config
    part = whole_stems(config, tuple(name == CAMERA for name in config.names), 0.0)
    units = subnetwork_units(config, token_counts(config), part, gate_scores(config, checkpoint.tensors, part.used))
    (session,) = OnnxBackend(checkpoint).compile(part, units).pictures
    mean, std = (np.asarray(values, np.float32)[:, None, None] for values in (spec.mean, spec.std))
    return lambda frame, turn: session.run(((frame - mean) / std)[None])
