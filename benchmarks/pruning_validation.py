"""What two choices of the pruning benchmark look like on the validation groups: numbers of K/V groups, ratios in training.

    python benchmarks/pruning_validation.py [--cache runs/bench] [--docs docs] [--json out.json]

Needs the data sets (SENTRYFUSE_DATA) and the trained nets of `sentryfuse bench pruning` in the cache; those that are not
there are trained, two to six minutes each. Fills the two tables of docs/PRUNING.md between their marks.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from rich.progress import track

from benchmarks.pruning.applications import APPLICATIONS, held_examples, load_examples
from benchmarks.pruning.cells import plan_accuracies
from benchmarks.pruning.conditions import RATIOS, conditions
from benchmarks.pruning.nets import Net, trained
from benchmarks.pruning.tables import insert, percent, table
from benchmarks.pruning.variants import GROUPS, VARIANTS
from sentryfuse_ros.masks import all_masks, mask_to_bits
from sentryfuse_ros.pruning.slicing import choose_plan
from sentryfuse_ros.training.evaluation import accuracy, predict_logits

SEEDS = (0, 1, 2)
SETS = tuple(name for name, application in APPLICATIONS.items() if application.pruning)
NUMBERS = {
    "joint": "1 K/V group a sensor (ours)",
    **{name: VARIANTS[name].what.removeprefix("as ours, ") for name in GROUPS},
    "dense_attention": "ordinary attention",
}
TRAINED_TO = {"joint": "up to .8 (ours)", "to_90": "up to .9"}


def whole(net: Net, split: str, cache: Path) -> float:
    """Accuracy at r = 0, all sensors, all examples of a split."""
    model, _ = trained(net, cache)
    examples, _ = load_examples(net.application, split)
    everyone = (True,) * len(model.config.names)
    return float(accuracy(predict_logits(model, examples, [everyone], [0.0])[mask_to_bits(everyone)][0], examples.labels))


def pruned(net: Net, cache: Path) -> dict[str, float]:
    """Ratio -> accuracy on the validation groups by the net's own order, mean over the conditions."""
    model, _ = trained(net, cache)
    held = held_examples(net.application, "validation", model.config.modalities)
    sensors, right = len(model.config.names), {}
    for mask in all_masks(sensors):
        plans = {ratio: choose_plan(model, mask, ratio) for ratio in (0.0, *RATIOS, 0.9)}
        right[mask_to_bits(mask)] = plan_accuracies(model, held, mask, plans)
    return {
        str(ratio): float(
            np.mean([sum(w * right[bits][ratio] for bits, w in weights.items()) for weights in conditions(sensors).values()])
        )
        for ratio in (0.0, *RATIOS, 0.9)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path("runs/bench"))
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/pruning_validation.json"))
    args = parser.parse_args()
    numbers = {
        v: {
            f"{a}, {split}": [whole(Net(a, "bottleneck", v, s), split, args.cache) for s in SEEDS]
            for a in SETS
            for split in ("test", "validation")
        }
        for v in track(NUMBERS, "K/V groups")
    }
    ratios = {
        v: [{a: pruned(Net(a, "early", v, s), args.cache) for a in SETS} for s in SEEDS]
        for v in track(TRAINED_TO, "ratios in training")
    }
    args.json.write_text(json.dumps({"num_kv_heads": numbers, "ratios_in_training": ratios}, indent=1) + "\n")
    columns = list(numbers["joint"])
    shown = list(ratios["joint"][0][SETS[0]])

    def by_seed(variant: str, ratio: str) -> list[float]:
        return [float(np.mean([one[a][ratio] for a in SETS])) for one in ratios[variant]]

    insert(
        args.docs / "PRUNING.md",
        {
            "groups_validation": table(
                ("K/V groups", *columns),
                [(NUMBERS[v], *(percent(np.mean(row[c])) for c in columns)) for v, row in numbers.items()],
            ),
            "ratios_validation": table(
                ("ratios in training", *(f"r = {float(r):g}" for r in shown)),
                [
                    (words, *(f"{percent(np.mean(by_seed(v, r)))} ({', '.join(map(percent, by_seed(v, r)))})" for r in shown))
                    for v, words in TRAINED_TO.items()
                ],
            ),
        },
    )


if __name__ == "__main__":
    main()
