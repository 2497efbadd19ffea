"""A network of the size that larger robots run: d = 256, 6 layers, 256 tokens. Its weights are random, because only time counts.

Its stems are small, so nearly all of its time goes into the transformer. A plan may leave out layers, and heads and channels of
those that stay. As with every model under `budget: time`, the parts of the network are timed first, and a ratio runs the best
plan that fits into its share of the dense network's time. Random weights have no accuracy to choose by. In its place stands the
share of the FLOPs that a plan runs, so that a ratio runs as much of the network as fits, with all four sensors.

    python -m benchmarks.larger_network --json larger_network.json

times the plans on ONNX Runtime beside the bare matrix products that each of them needs, without norms, softmax or activations, in
torch's library for such products. Both take turns, on one thread. With `--budget flops`, a ratio is a share of FLOPs, and all
layers run.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sentryfuse_ros.cli.arguments import at_least_one
from sentryfuse_ros.machine import machine
from sentryfuse_ros.model.config import DEFAULT_RATIO_LEVELS, FuseConfig
from sentryfuse_ros.model.fuse import SentryFuse
from sentryfuse_ros.model.saved import checkpoint_of
from sentryfuse_ros.model.subnetwork import Subnetwork, all_codes, of_code, whole_stems
from sentryfuse_ros.model.tensor_shapes import token_counts
from sentryfuse_ros.model.tokenizer_config import SERIES_KERNEL, SeriesTokenizerConfig
from sentryfuse_ros.pruning.budget import SiteBudget
from sentryfuse_ros.pruning.planner import PlanChoice, PlanWorth, choose_plans
from sentryfuse_ros.runtime.engine import Engine
from sentryfuse_ros.runtime.onnx_backend import OnnxBackend
from sentryfuse_ros.runtime.plan_costs import ROUNDS, measure_plan_costs, noise_window

SENSORS, STEPS, STEPS_PER_TOKEN = 4, 640, 10  # 64 tokens for each sensor
RATIOS = (0.0, 0.5, 0.7, 0.9)
LAYERS = 6
FUSION_SIZES = [(layers, level) for layers in range(LAYERS, 0, -1) for level in DEFAULT_RATIO_LEVELS]
Product = tuple[int, int, int, int]  # so many products of a matrix (rows, inner) with one (inner, columns)


def larger_network() -> SentryFuse:
    """The network, in evaluation mode."""
    torch.manual_seed(0)
    names = [f"imu_{i}" for i in range(SENSORS)]
    config = FuseConfig.from_dict(
        {
            "modalities": [{"name": n, "kind": "imu", "window_s": 3.2, "shape": [STEPS, 6]} for n in names],
            "classes": [f"class_{i}" for i in range(10)],
            "d_model": 256,
            "layers": LAYERS,
            "fusion_sizes": FUSION_SIZES,
            "num_kv_heads": 4,
            "heads_per_group": 2,
            "head_dim": 32,
            "ffn_dim": 1024,
            "tokenizer": {n: {"steps_per_token": STEPS_PER_TOKEN, "stem_channels": 32} for n in names},
        }
    )
    return SentryFuse(config).eval().requires_grad_(False)


def matrix_products(config: FuseConfig, budgets: Sequence[SiteBudget]) -> list[Product]:
    """The products of a plan with early fusion, all sensors live, and keys and values from all tokens."""
    tokens, d, hd = sum(token_counts(config)), config.d_model, config.head_dim
    found: list[Product] = []
    for spec in config.modalities:
        options = config.tokenizer[spec.name]
        assert isinstance(options, SeriesTokenizerConfig)
        (steps, channels), stem = spec.shape, options.stem_channels
        found.append((1, steps, (channels + 1) * SERIES_KERNEL, stem))
        found.append((1, options.token_count(spec), stem * options.steps_per_token, d))
    for site in budgets:
        heads = site.groups * site.heads_per_group
        found += [(1, tokens, d, heads * hd), (1, tokens, d, 2 * site.groups * hd)]  # queries; keys and values
        found += [(heads, tokens, hd, tokens), (heads, tokens, tokens, hd), (1, tokens, heads * hd, d)]
        found += [(1, tokens, d, site.channels), (1, tokens, site.channels, d)]
    return found


def product_runner(products: Sequence[Product]) -> Callable[[], None]:
    """Something that computes them all once, into memory that it has."""
    calls = []
    for count, rows, inner, columns in products:
        shapes = (count, rows, inner), (count, inner, columns), (count, rows, columns)
        left, right, out = (torch.randn(shape if count > 1 else shape[1:]) for shape in shapes)
        calls.append((torch.bmm if count > 1 else torch.mm, left, right, out))

    def run() -> None:
        for multiply, left, right, out in calls:
            multiply(left, right, out=out)

    return run


def choose_by_time(engine: Engine, rounds: int = ROUNDS) -> None:
    """Let each ratio run as many of the network's FLOPs, with all sensors, as fit into its share of the measured time."""
    config, everyone = engine.checkpoint.config, (True,) * SENSORS
    dense = engine.flops(PlanChoice(whole_stems(config, everyone, 0.0)))

    def share(part: Subnetwork) -> float | None:
        return engine.flops(PlanChoice(part)) / dense if part.used == everyone else None

    worth = {code: [share(of_code(code, size)) for size in config.fusion_sizes] for code in all_codes(config)}
    engine.choose(choose_plans(config, measure_plan_costs(engine, rounds), PlanWorth(worth, {})))


@torch.inference_mode()
def measure(rounds: int, budget: str) -> list[dict[str, Any]]:
    """One row per ratio."""
    torch.set_num_threads(1)
    checkpoint = checkpoint_of(larger_network())
    engine, everyone = Engine(checkpoint, OnnxBackend(checkpoint)), np.ones(SENSORS, bool)
    if budget == "time":
        choose_by_time(engine)
    window, flops = noise_window(engine), {}
    sides: dict[tuple[float, str], Callable[[], Any]] = {}
    for ratio in RATIOS:
        budgets = [keep.budget for keep in engine.units(engine.choice(everyone.tolist(), ratio))]
        products = matrix_products(checkpoint.config, budgets)
        flops[ratio] = sum(2 * count * rows * inner * columns for count, rows, inner, columns in products)
        sides[ratio, "plan"] = partial(engine.infer, window, everyone, ratio)
        sides[ratio, "products"] = product_runner(products)
    ms: dict[tuple[float, str], list[float]] = {side: [] for side in sides}
    rng = np.random.default_rng(0)
    for k in range(rounds + 3):  # the first ones warm up
        for i in rng.permutation(len(sides)):
            side, run = list(sides.items())[i]
            started = time.perf_counter()
            run()
            if k >= 3:
                ms[side].append(1e3 * (time.perf_counter() - started))
    median = {side: float(np.median(values)) for side, values in ms.items()}
    return [
        {
            "ratio": ratio,
            "layers": engine.choice(everyone.tolist(), ratio).part.layers,
            "units_level": engine.choice(everyone.tolist(), ratio).part.units_level,
            "plan_ms": round(median[ratio, "plan"], 3),
            "products_ms": round(median[ratio, "products"], 3),
            "products_mflop": round(flops[ratio] / 1e6, 1),
            "plan_mflop": round(engine.flops(engine.choice(everyone.tolist(), ratio)) / 1e6, 1),
            "plan_over_products": round(median[ratio, "plan"] / median[ratio, "products"], 2),
            "speedup_over_ratio_0": round(median[0.0, "plan"] / median[ratio, "plan"], 2),
        }
        for ratio in RATIOS
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=at_least_one, default=30)
    parser.add_argument("--budget", choices=("time", "flops"), default="time")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = measure(args.rounds, args.budget)
    for row in rows:
        print(
            f"r {row['ratio']:.1f}  {row['plan_ms']:7.2f} ms  {row['speedup_over_ratio_0']:5.2f}x  "
            f"its products {row['products_ms']:7.2f} ms  {row['plan_over_products']:.2f}x  "
            f"{row['layers']} layers at {row['units_level']}"
        )
    if args.json:
        report = {
            "command": f"python -m benchmarks.larger_network --rounds {args.rounds} --budget {args.budget}",
            "machine": machine(1),
            "rows": rows,
        }
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
