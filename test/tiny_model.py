"""A network small enough for tests, real in every part: camera, IMU and a third sensor."""

import numpy as np
import torch

from sentryfuse_ros.model.config import FuseConfig
from sentryfuse_ros.model.fuse import SentryFuse
from sentryfuse_ros.preprocessing import ModalitySpec

SPECS = (
    ModalitySpec("camera", "camera", 1.0, (4, 1, 12, 16), "depth_m"),
    ModalitySpec("imu", "imu", 1.0, (40, 6)),
    ModalitySpec("wheel", "series", 1.0, (20, 2)),
)


SIZES = dict(  # of a network that is quick to run and to train
    d_model=16,
    layers=2,
    num_kv_heads=2,
    heads_per_group=2,
    head_dim=4,
    ffn_dim=32,
    channel_step=8,
    readout_heads=2,
    gate_hidden=4,
)


def tiny_config(**changes) -> FuseConfig:
    """Three sensors, two layers, 4 query heads on 2 K/V heads, 32 channels."""
    values = dict(
        modalities=SPECS,
        classes=("rest", "turn", "jump", "fall"),
        **SIZES,
        dropout=0.0,
        kv_stride={"camera": 1, "imu": 2},
        tokenizer={
            "camera": {"stem_channels": [4, 4], "grid": [2, 2]},
            "imu": {"stem_channels": 8},
            "wheel": {"steps_per_token": 5, "stem_channels": 4},
        },
    )
    return FuseConfig(**{**values, **changes})


def tiny_model(seed: int = 0, **changes) -> SentryFuse:
    """Random weights, with gate scores that differ between units and between masks."""
    torch.manual_seed(seed)
    model = SentryFuse(tiny_config(**changes))
    with torch.no_grad():
        model.gate.static.normal_()
        model.gate.score.weight.normal_()
    return model.eval().requires_grad_(False)


def tiny_inputs(seed: int = 0) -> dict[str, np.ndarray]:
    """One window of noise per sensor."""
    rng = np.random.default_rng(seed)
    return {spec.name: rng.standard_normal(spec.shape).astype(np.float32) for spec in SPECS}


def tiny_batch(count: int = 3, seed: int = 0) -> dict[str, torch.Tensor]:
    """``count`` windows of noise per sensor."""
    windows = [tiny_inputs(seed + i) for i in range(count)]
    return {name: torch.from_numpy(np.stack([w[name] for w in windows])) for name in windows[0]}
