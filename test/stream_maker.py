"""A small network with a patch encoder, and streams of a depth camera for tests: a box that moves before a wall, with noise."""

import numpy as np
import torch
from tiny_model import tiny_config

from sentryfuse_ros.model.fuse import SentryFuse
from sentryfuse_ros.model.saved import checkpoint_of
from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.streaming.camera_stream import CameraStream
from sentryfuse_ros.streaming.change_detection import ChangeDetector
from sentryfuse_ros.streaming.window_encoder import WindowEncoder

SPEC = ModalitySpec("depth", "camera", 0.8, (8, 1, 96, 96), "depth_m", mean=(2.8,), std=(0.8,))
STEM = {
    "stem": "patches",
    "patch": 8,
    "width": 8,
    "layers": 2,
    "num_kv_heads": 2,
    "head_dim": 4,
    "ffn_dim": 16,
    "code": 6,
    "read_channels": 5,
    "grid": [3, 3],
    "sizes": [{"channels": 0.5, "layers": 0.5}],
}


def stream_model():
    """A network with random weights."""
    torch.manual_seed(0)
    model = SentryFuse(tiny_config(modalities=(SPEC,), kv_stride={}, tokenizer={"depth": STEM})).eval()
    return model.requires_grad_(False)


def stream_parts(**stream):
    """(model, window encoder, camera stream with a detector and the parts given)."""
    model = stream_model()
    encoder = WindowEncoder(checkpoint_of(model), "depth")
    return model, encoder, CameraStream(encoder, ChangeDetector(SPEC, encoder.options), **stream)


def still_room(count, rng, noise=1.0):
    """(count, 1, 96, 96) depths of a wall with a step in it, and the noise of a depth camera."""
    room = np.full((96, 96), 3.0, np.float32)
    room[60:] = 2.2
    frames = np.repeat(room[None], count, 0)
    frames += noise * 1.425e-3 * frames**2 * rng.standard_normal(frames.shape)
    frames[rng.random(frames.shape) < 0.003] = 0
    return frames.astype(np.float32)[:, None]


def with_box(frames, left_px, top=20, size=16, depth=1.5):
    """The same with a box at column ``left_px[t]`` in picture t; None leaves it out."""
    frames = frames.copy()
    for frame, left in zip(frames, left_px):
        if left is not None:
            frame[0, top : top + size, left : left + size] = depth
    return frames
