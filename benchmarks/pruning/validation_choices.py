"""What two choices of the study look like on the validation groups: the number of K/V groups, and the ratios in training.

    python -m benchmarks.pruning.validation_choices [--no-run] [--cache DIR] [--docs DIR] [--json FILE]

It needs the data sets (SENTRYFUSE_DATA) and the trained networks of `python -m benchmarks.pruning` in the cache; those that are
missing are trained, two to six minutes each. With --no-run the tables are only filled again from the JSON.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from sentryfuse_ros.files import write_atomically
from sentryfuse_ros.masks import all_masks, mask_to_bits
from sentryfuse_ros.pruning.slicing import choose_plan
from sentryfuse_ros.reporting.page_parts import insert
from sentryfuse_ros.training.logits import accuracy, predict_logits

from .conditions import RATIOS, conditions
from .examples import held_examples, load_examples
from .plans import plan_accuracies
from .runs import Run
from .tables import percent, table
from .tasks import TASKS
from .training import trained
from .variants import GROUPS, VARIANTS

SEEDS = (0, 1, 2)
SHOWN_RATIOS = (0.0, *RATIOS, 0.9)
PRUNED_TASKS = tuple(name for name, task in TASKS.items() if task.pruning)
NUMBERS = {
    "joint": "1 K/V group a sensor (ours)",
    **{name: VARIANTS[name].what.removeprefix("as ours, ") for name in GROUPS},
    "dense_attention": "ordinary attention",
}
TRAINED_TO = {"joint": "up to .8 (ours)", "to_90": "up to .9"}


def whole_accuracy(run: Run, split: str, cache: Path) -> float:
    """Accuracy at r = 0 with all sensors, on all examples of a split."""
    model = trained(run, cache)
    examples, _ = load_examples(run.task, split)
    everyone = (True,) * len(model.config.names)
    return accuracy(predict_logits(model, examples, [everyone], [0.0])[mask_to_bits(everyone)][0], examples.labels)


def pruned_accuracies(run: Run, cache: Path) -> dict[str, float]:
    """Ratio -> accuracy on the validation groups by the network's own order, mean over the conditions."""
    model = trained(run, cache)
    held = held_examples(run.task, "validation", model.config.modalities)
    weights = conditions(len(model.config.names)).values()
    by_mask = {
        mask_to_bits(mask): plan_accuracies(model, held, mask, {r: choose_plan(model, mask, r) for r in SHOWN_RATIOS})
        for mask in all_masks(len(model.config.names))
    }
    return {
        str(ratio): float(np.mean([sum(w * by_mask[bits][ratio] for bits, w in condition.items()) for condition in weights]))
        for ratio in SHOWN_RATIOS
    }


def measure(cache: Path) -> dict[str, Any]:
    """The content of the JSON."""
    numbers = {
        v: {
            f"{t}, {split}": [whole_accuracy(Run(t, "bottleneck", v, s), split, cache) for s in SEEDS]
            for t in PRUNED_TASKS
            for split in ("test", "validation")
        }
        for v in track(NUMBERS, "K/V groups")
    }
    ratios = {
        v: [{t: pruned_accuracies(Run(t, "early", v, s), cache) for t in PRUNED_TASKS} for s in SEEDS]
        for v in track(TRAINED_TO, "ratios in training")
    }
    return {"num_kv_heads": numbers, "ratios_in_training": ratios}


def tables(found: dict[str, Any]) -> dict[str, str]:
    """Name of a place in the page -> Markdown."""
    numbers, ratios = found["num_kv_heads"], found["ratios_in_training"]
    columns = list(numbers["joint"])

    def by_seed(variant: str, ratio: float) -> list[float]:
        return [float(np.mean([seed[task][str(ratio)] for task in PRUNED_TASKS])) for seed in ratios[variant]]

    def cell(variant: str, ratio: float) -> str:
        values = by_seed(variant, ratio)
        return f"{percent(float(np.mean(values)))} ({', '.join(map(percent, values))})"

    return {
        "groups_validation": table(
            ("K/V groups", *columns),
            [(NUMBERS[v], *(percent(float(np.mean(row[c]))) for c in columns)) for v, row in numbers.items()],
        ),
        "ratios_validation": table(
            ("ratios in training", *(f"r = {r:g}" for r in SHOWN_RATIOS)),
            [(words, *(cell(v, r) for r in SHOWN_RATIOS)) for v, words in TRAINED_TO.items()],
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path("runs/pruning"), help="trained networks (default: %(default)s)")
    parser.add_argument("--docs", type=Path, default=Path("benchmarks/pruning"), help="folder of the page (default: %(default)s)")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/pruning_validation.json"), help="the results")
    parser.add_argument("--no-run", action="store_true", help="only fill the tables from the results that are there")
    args = parser.parse_args()
    if not args.no_run:
        write_atomically(args.json, json.dumps(measure(args.cache), indent=1) + "\n")
    insert(args.docs / "README.md", tables(json.loads(args.json.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
