"""What a run with the budget over the whole network states: smaller stems and backbones, and the two stages of a training.

The networks, data and numbers of epochs are those of the first study. A training with two passes spends its last epochs on the
product's second stage, in which parts of the network learn to stand alone; the normal training has as many epochs in all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RATIOS = (0.25, 0.5, 0.7, 0.8, 0.9)  # share of the FLOPs of the whole network with all sensors that must go
RATIO_MAX = 0.9  # of the units, in both stages
SECOND_STAGE = 0.4  # share of the epochs
LEARNING_RATE = 1e-3  # of the second stage
# Pruning ratios of the units, by how many layers a plan runs: all, half of them, one.
UNITS = ((0.0, 0.25, 0.5, 0.7, 0.85), (0.0, 0.5, 0.8), (0.0, 0.5, 0.9))
QUARTER_FROM = 12  # a stem has a second smaller size where each of its convolutions has so many channels


def with_stages(stated: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping of a recipe of the first study, with what the budget over the whole network needs."""
    epochs = stated["epochs"]
    second = 0 if stated.get("second_pass") == "none" else max(1, round(SECOND_STAGE * epochs))
    model = stated["model"]
    return {
        **stated,
        "epochs": max(1, epochs - second),
        "elastic": {"epochs": second, "learning_rate": LEARNING_RATE},
        "schedule": {**stated["schedule"], "ratio_max": RATIO_MAX},
        "model": {
            **model,
            "tokenizer": {name: {**options, "sizes": stem_sizes(options)} for name, options in model["tokenizer"].items()},
            "fusion_sizes": fusion_sizes(model["layers"]),
            "ratio_levels": [0.0, *RATIOS],
        },
    }


def stem_sizes(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Half of the channels; and a quarter, without the spectrum, where there are enough of them."""
    channels = options["stem_channels"]
    least = channels if isinstance(channels, int) else min(channels)
    sizes: list[dict[str, Any]] = [{"channels": 0.5}]
    return sizes if least < QUARTER_FROM else [*sizes, {"channels": 0.25, "features": False}]


def fusion_sizes(layers: int) -> list[list[float]]:
    """[layers, pruning ratio of their units], the whole backbone first."""
    counts = (layers, max(1, layers // 2), 1)
    return [list(size) for size in dict.fromkeys((count, ratio) for count, ratios in zip(counts, UNITS) for ratio in ratios)]
