"""Latency of the backends on a GPU, and how far their answers are from torch's on the CPU. It takes a few minutes.

    python -m benchmarks.cuda --json cuda.json

Compared are torch on CUDA, operation by operation and with one graph per plan, the execution providers of ONNX Runtime that are
installed, and ONNX Runtime on one CPU thread, on both shipped models and on a larger network (`larger_network.py`). Every round
runs every backend and ratio once, in another order each time.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.larger_network import larger_network
from sentryfuse_ros.cli.arguments import at_least_one
from sentryfuse_ros.machine import machine
from sentryfuse_ros.model.checkpoint import Checkpoint, read_checkpoint
from sentryfuse_ros.model.saved import checkpoint_of, network_of
from sentryfuse_ros.runtime.backend import Backend
from sentryfuse_ros.runtime.backends import CUDA_PROVIDERS
from sentryfuse_ros.runtime.engine import Engine
from sentryfuse_ros.runtime.plan_costs import noise_window
from sentryfuse_ros.runtime.torch_backend import TorchBackend

RATIOS = (0.0, 0.5, 0.7, 0.9)
MODELS = Path(__file__).parent.parent / "models"


def backends_of(checkpoint: Checkpoint) -> dict[str, Backend]:
    """Every backend that this machine can run the network on, by what the table calls it."""
    found: dict[str, Backend] = {
        "torch CUDA, one graph per plan": TorchBackend(network_of(checkpoint), "cuda"),
        "torch CUDA, operation by operation": TorchBackend(network_of(checkpoint), "cuda", graphs=False),
    }
    try:
        import onnxruntime

        from sentryfuse_ros.runtime.onnx_backend import OnnxBackend
    except ImportError:
        return found
    found["ONNX Runtime, 1 CPU thread"] = OnnxBackend(checkpoint)
    for provider in CUDA_PROVIDERS:
        if provider in onnxruntime.get_available_providers():
            found[f"ONNX Runtime {provider}"] = OnnxBackend(checkpoint, providers=[provider, "CPUExecutionProvider"])
    return found


def measure(name: str, checkpoint: Checkpoint, rounds: int) -> list[dict[str, Any]]:
    """One row per backend and ratio."""
    reference = Engine(checkpoint, TorchBackend(network_of(checkpoint)))
    engines = {label: Engine(checkpoint, backend) for label, backend in backends_of(checkpoint).items()}
    window, everyone = noise_window(reference), np.ones(len(reference.modalities), bool)
    runs = [(label, ratio) for label in engines for ratio in RATIOS]
    apart = {}
    for label, ratio in runs:
        wanted = reference.infer(window, everyone, ratio).probabilities
        apart[label, ratio] = float(np.abs(engines[label].infer(window, everyone, ratio).probabilities - wanted).max())
    seconds, rng = np.empty((rounds, len(runs))), np.random.default_rng(0)
    for k in range(rounds):
        for i in rng.permutation(len(runs)):
            label, ratio = runs[i]
            engines[label].prime(window)
            seconds[k, i] = engines[label].infer(window, everyone, ratio).duration_s
    lower, median, upper = 1e3 * np.quantile(seconds, (0.25, 0.5, 0.75), axis=0)
    return [
        {
            "model": name,
            "backend": label,
            "ratio": ratio,
            "median_ms": round(float(median[i]), 4),
            "quartile1_ms": round(float(lower[i]), 4),
            "quartile3_ms": round(float(upper[i]), 4),
            "speedup_over_ratio_0": round(float(median[runs.index((label, 0.0))] / median[i]), 2),
            "largest_difference_to_torch_cpu": apart[label, ratio],
        }
        for i, (label, ratio) in enumerate(runs)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=at_least_one, default=200)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("no GPU that this torch can use: run it on a machine with one, with a torch that was built for CUDA")
    checkpoints = {path.name: read_checkpoint(path) for path in sorted(MODELS.iterdir()) if (path / "model.json").exists()}
    checkpoints["d 256, 6 layers, 256 tokens"] = checkpoint_of(larger_network())
    rows = [row for name, checkpoint in checkpoints.items() for row in measure(name, checkpoint, args.rounds)]
    for row in rows:
        print(
            f"{row['model']:28} {row['backend']:36} r {row['ratio']:.1f}  {row['median_ms']:8.3f} ms "
            f"{row['speedup_over_ratio_0']:5.2f}x  differs by {row['largest_difference_to_torch_cpu']:.1e}"
        )
    if args.json:
        report = {
            "command": f"python -m benchmarks.cuda --rounds {args.rounds}",
            "gpu": torch.cuda.get_device_name(),
            "torch": torch.__version__,
            "machine": machine(1),
            "rows": rows,
        }
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
