"""Networks of every backbone for tests: small ones of fixed shape, and random ones."""

import numpy as np
from tiny_model import SPECS, tiny_config

from sentryfuse_ros.model.config import BACKBONES, FuseConfig
from sentryfuse_ros.preprocessing import ModalitySpec

# Changes to `tiny_config`, by backbone; the streams have K/V heads of their own number.
FAMILY = {
    "early": {},
    "bottleneck": dict(
        backbone="bottleneck",
        layers=3,
        bottleneck_tokens=2,
        fusion_layer=1,
        kv_pattern="pooled",
        num_kv_heads={"camera": 2, "imu": 1, "wheel": 2},
    ),
    "cross_modal": dict(backbone="cross_modal", num_kv_heads={"camera": 1, "imu": 2, "wheel": 2}),
}
# Changes that give a network smaller stems and backbones.
ELASTIC = dict(
    tokenizer={
        "camera": {
            "stem_channels": [8, 8],
            "grid": [2, 2],
            "statistics": [2, 1],
            "sizes": [{"channels": 0.5}, {"channels": 0.5, "features": False}],
        },
        "imu": {"stem_channels": 8, "spectrum_steps": 20, "sizes": [{"channels": 0.5, "features": False}]},
        "wheel": {"steps_per_token": 5, "stem_channels": 4},
    },
    fusion_sizes=[[2, 0.0], [2, 0.5], [1, 0.9]],
)
# Three streams of one shape, as stacking wants them.
ALIKE = dict(
    modalities=tuple(ModalitySpec(n, "series", 1.0, (20, 2)) for n in "abc"),
    num_kv_heads=2,
    kv_stride=dict.fromkeys("abc", 2),
    tokenizer={n: {"steps_per_token": 4, "stem_channels": 4} for n in "abc"},
)

assert tuple(FAMILY) == BACKBONES and {s.name for s in SPECS} == set(FAMILY["bottleneck"]["num_kv_heads"])


def random_config(seed: int) -> FuseConfig:
    """One to four modalities of 1 to 9 tokens, and everything else that decides on cost, drawn at random."""
    rng = np.random.default_rng(seed)
    names = [f"m{i}" for i in range(rng.integers(1, 5))]
    specs = tuple(ModalitySpec(n, "series", 1.0, (2 * int(rng.integers(1, 10)), 2)) for n in names)
    backbone, layers, most = BACKBONES[seed % 3], int(rng.integers(2, 5)), int(rng.choice([1, 2, 4]))
    per_group, step = int(rng.integers(1, 4)), int(rng.choice([2, 4, 8]))
    groups = most
    if backbone != "early" and rng.random() < 0.5:
        groups = {n: int(rng.choice([g for g in (1, 2, 4) if g <= most])) for n in names}
        groups[names[0]] = most
    return tiny_config(
        modalities=specs,
        backbone=backbone,
        layers=layers,
        num_kv_heads=groups,
        heads_per_group=per_group,
        head_dim=int(rng.integers(2, 6)),
        d_model=int(rng.choice([8, 12])),
        channel_step=step,
        ffn_dim=step * int(rng.integers(1, 9)),
        kv_pattern=str(rng.choice(["strided", "pooled"])),
        kv_stride={n: int(rng.integers(1, 5)) for n in names if rng.random() < 0.7},
        bottleneck_tokens=int(rng.integers(1, 5)),
        fusion_layer=int(rng.integers(0, layers - 1)),
        tokenizer={n: {"steps_per_token": 2, "stem_channels": 2} for n in names},
    )
