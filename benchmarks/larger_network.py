"""A network of the size that larger robots run: d = 256, 6 layers, 256 tokens. Its weights are random, because only time counts.

Its stems are small, so nearly all of its time goes into the transformer, and a share of FLOPs is nearly a share of time.
"""

from __future__ import annotations

import torch

from sentryfuse_ros.model.config import FuseConfig
from sentryfuse_ros.model.fuse import SentryFuse

SENSORS, STEPS, STEPS_PER_TOKEN = 4, 640, 10  # 64 tokens for each sensor


def larger_network() -> SentryFuse:
    """The network, in evaluation mode."""
    torch.manual_seed(0)
    names = [f"imu_{i}" for i in range(SENSORS)]
    config = FuseConfig.from_dict(
        {
            "modalities": [{"name": n, "kind": "imu", "window_s": 3.2, "shape": [STEPS, 6]} for n in names],
            "classes": [f"class_{i}" for i in range(10)],
            "d_model": 256,
            "layers": 6,
            "num_kv_heads": 4,
            "heads_per_group": 2,
            "head_dim": 32,
            "ffn_dim": 1024,
            "tokenizer": {n: {"steps_per_token": STEPS_PER_TOKEN, "stem_channels": 32} for n in names},
        }
    )
    return SentryFuse(config).eval().requires_grad_(False)
