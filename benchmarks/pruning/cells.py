"""One trained net -> the accuracies of all its plans, under all masks and ratios, as one JSON that is kept."""

from __future__ import annotations

import csv
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sentryfuse_ros.masks import all_masks, mask_to_bits
from sentryfuse_ros.model.fuse import SentryFuse
from sentryfuse_ros.model.sites import live_sites
from sentryfuse_ros.pruning.budget import BUDGET_MODES, SiteBudget, prunable_flops
from sentryfuse_ros.pruning.cost import count_flops
from sentryfuse_ros.pruning.slicing import SiteKeep, choose_plan, slice_weights
from sentryfuse_ros.training.evaluation import accuracy, predict_logits
from sentryfuse_ros.training.metrics import METRICS_FILE

from .applications import APPLICATIONS, Held, held_examples, load_examples
from .archive import NO_CELLS, Cells
from .conditions import RATIOS
from .criteria import CRITERIA, Calibration, Scores, unit_scores
from .nets import Net, recipe_of, trained
from .variants import GATE, GATE_BLIND, GATE_MODE, ORACLE, STATIC, VARIANTS

CELL_FILE = "cell.json"
CALIBRATION = 256  # training examples that criteria are measured on
BATCH = 300
VERSION = 1  # of what is measured; a cell of another is measured again

Mask = tuple[bool, ...]
Plans = dict[tuple[str, str, float], list[SiteKeep]]  # (ranked by, budget mode, ratio)


def plan_names(net: Net) -> tuple[str, ...]:
    """What the units of a net are ranked by in turn; those of torch-pruning only where it is installed."""
    if not APPLICATIONS[net.application].pruning:
        return ()
    library = find_spec("torch_pruning") is not None
    return tuple(p for p in VARIANTS[net.variant].plans if library or not p.startswith("torch_pruning"))


def evaluation_hash(net: Net) -> str:
    """Eight hex digits of how a trained net is measured."""
    values = [VERSION, RATIOS, CALIBRATION, APPLICATIONS[net.application].held]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:8]


def read_cell(net: Net, cache: Path, archive: Cells = NO_CELLS) -> dict[str, Any] | None:
    """The finished cell of a net, of the cache or the archive; None where there is none, it was measured otherwise, or lacks
    a plan."""
    for cell in (_stored(net, cache), archive.get(net.name)):
        if cell is not None and cell.get("evaluation") == evaluation_hash(net) and not _missing(net, cell):
            return dict(cell)
    return None


def _stored(net: Net, cache: Path) -> dict[str, Any] | None:
    """What the cache has of a net, however it was measured."""
    try:
        return json.loads((cache / net.name / CELL_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _missing(net: Net, cell: Mapping[str, Any]) -> list[str]:
    return [name for name in plan_names(net) if name not in cell.get("test", {})]


def run_cell(net: Net, cache: Path) -> dict[str, Any]:
    """The cell of a net: read where it is finished, else trained (or gone on with) and measured, or what it lacks added.

    Safe to kill at any time. Several runs may share a cache: one that wants a net which another is at waits for it.
    """
    folder = cache / net.name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # let go by the system when the process ends, however it does
        return read_cell(net, cache) or _new_cell(net, cache)


def _new_cell(net: Net, cache: Path) -> dict[str, Any]:
    torch.set_num_threads(recipe_of(net).threads)  # as in training, which may have been another process
    model, _ = trained(net, cache)
    began, cell = time.monotonic(), _stored(net, cache)
    if cell is None or cell.get("evaluation") != evaluation_hash(net):
        cell = {
            "net": net._asdict(),
            "evaluation": evaluation_hash(net),
            "train_s": _seconds(cache / net.name),
            "measure_s": 0.0,
            **measure(net, model),
        }
    else:  # plans that were measured before stay, even those that cannot be measured here
        more = measure_plans(net, model, _missing(net, cell), cell["modes"])
        cell |= {part: cell[part] | more[part] for part in ("modes", "test", "spent")}
    cell["measure_s"] = round(cell["measure_s"] + time.monotonic() - began, 1)
    target = cache / net.name / CELL_FILE
    partial = target.with_suffix(".partial")
    partial.write_text(json.dumps(cell, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, target)
    return cell


def _seconds(folder: Path) -> float:
    """How long the epochs of a net took, over all runs it was trained in."""
    with (folder / METRICS_FILE).open(newline="", encoding="utf-8") as file:
        return round(sum(float(line["seconds"]) for line in csv.DictReader(file)), 1)


def measure(net: Net, model: SentryFuse) -> dict[str, Any]:
    """Everything that is asked of a trained net.

    sensors, params; flops: the whole forward pass, the same with dense_attention; accuracy: r = 0 with all sensors on the
    whole test split; and where plans are tried: dense {mask: accuracy at r = 0}, modes {plan: {ratio: budget mode}} chosen on
    the validation split, test {plan: {ratio: {mask: accuracy}}}, spent {plan: {ratio: share of the prunable FLOPs, mean over
    masks}}, whole {ratio: masks whose budget leaves nothing to prune}.
    """
    config, sensors = model.config, len(model.config.names)
    everyone = (True,) * sensors
    test, _ = load_examples(net.application, "test")
    cell: dict[str, Any] = {
        "sensors": sensors,
        "params": sum(p.numel() for n, p in model.named_parameters() if not n.startswith("gate.")),
        "flops": count_flops(model, everyone),
        "flops_dense_attention": count_flops(SentryFuse(config.dense_attention()), everyone),
        "test_examples": len(test),
    }
    if names := plan_names(net):
        cell |= measure_plans(net, model, names, {})
    whole = predict_logits(model, test, [everyone], [0.0])[mask_to_bits(everyone)][0]
    return cell | {"accuracy": round(accuracy(whole, test.labels), 4)}


def measure_plans(net: Net, model: SentryFuse, names: Sequence[str], known: Mapping[str, dict[str, str]]) -> dict[str, Any]:
    """The part of a cell that is about plans; ``known``: budget modes of plans that were measured before."""
    config = model.config
    everyone = (True,) * len(config.names)
    train, _ = load_examples(net.application, "train")
    rank = Ranking(model, Calibration.draw(train, config.modalities, CALIBRATION), net.seed)
    modes = choose_modes(model, held_examples(net.application, "validation", config.modalities), names, rank, known)
    held = held_examples(net.application, "test", config.modalities)
    cell: dict[str, Any] = {
        "measured_on": len(held.labels),
        "modes": modes,
        "dense": {},
        "whole": {str(r): [] for r in RATIOS},
        "test": {n: {str(r): {} for r in RATIOS} for n in names},
    }
    spent: dict[str, dict[str, list[float]]] = {n: {str(r): [] for r in RATIOS} for n in names}
    most = prunable_flops(config, full_budgets(model, everyone), model.lengths, everyone)
    for mask in all_masks(len(config.names)):
        bits = mask_to_bits(mask)
        plans = make_plans(model, mask, ((n, modes[n][str(r)], r) for n in names for r in RATIOS), rank)
        plans["dense", "even", 0.0] = choose_plan(model, mask, 0.0)
        found = plan_accuracies(model, held, mask, plans)
        cell["dense"][bits] = found.pop(("dense", "even", 0.0))
        for (name, _, ratio), right in found.items():
            cell["test"][name][str(ratio)][bits] = right
            budgets = [budget_of(keep) for keep in plans[name, modes[name][str(ratio)], ratio]]
            spent[name][str(ratio)].append(prunable_flops(config, budgets, model.lengths, mask) / most)
        for ratio in RATIOS:
            if all(keep.whole for keep in choose_plan(model, mask, ratio)):
                cell["whole"][str(ratio)].append(bits)
    cell["spent"] = {n: {r: round(float(np.mean(v)), 4) for r, v in rows.items()} for n, rows in spent.items()}
    return cell


class Ranking:
    """Scores by any criterion; each is measured once, and of oracle once per mask."""

    def __init__(self, model: SentryFuse, calibration: Calibration, seed: int):
        self.model, self.calibration, self.seed = model, calibration, seed
        self._known: dict[tuple, Scores] = {}

    def __call__(self, name: str, mask: Mask) -> Scores:
        """Heads (sites, H), channels (sites, C)."""
        asked, name = mask if name in (GATE, GATE_MODE, ORACLE) else (True,) * len(mask), STATIC.get(name, name)
        if (name, asked) not in self._known:
            if name in CRITERIA:
                self._known[name, asked] = unit_scores(name, self.model, self.calibration, asked, self.seed)
            else:
                with torch.no_grad():
                    self._known[name, asked] = self.model.gate(torch.tensor(asked, device=self.model.gate.static.device))
        return self._known[name, asked]


def choose_modes(
    model: SentryFuse, held: Held, names: Sequence[str], rank: Ranking, known: Mapping[str, dict[str, str]]
) -> dict[str, dict[str, str]]:
    """{plan: {ratio: budget mode}}: the better one on the validation split, mean of all sensors and each one missing.

    The gate was trained with the even budget and keeps it, but for `GATE_MODE`. A tie is even's. A static plan has its
    criterion's mode.
    """
    masks = [mask for mask in all_masks(len(model.config.names)) if sum(mask) >= len(mask) - 1]
    chosen = {n: dict.fromkeys(map(str, RATIOS), "even") for n in names}
    tried = [n for n in names if n in CRITERIA or n == GATE_MODE]
    right: dict[tuple, list[float]] = {(n, m, r): [] for n in tried for m in BUDGET_MODES for r in RATIOS}
    for mask in masks if tried else ():
        for key, value in plan_accuracies(model, held, mask, make_plans(model, mask, right, rank)).items():
            right[key].append(value)
    for n in tried:
        for r in RATIOS:
            if np.mean(right[n, "global", r]) > np.mean(right[n, "even", r]):
                chosen[n][str(r)] = "global"
    return chosen | {n: (chosen | dict(known))[c] for n, c in STATIC.items() if n in names}


def make_plans(model: SentryFuse, mask: Mask, asked: Iterable[tuple[str, str, float]], rank: Ranking) -> Plans:
    """The plans asked for; all at the same budget, and all but the blind and the static ones spend what absent sensors free."""
    left = {live.site for live in live_sites(model.config, model.lengths, mask)}

    def plan(name: str, mode: str, ratio: float) -> list[SiteKeep]:
        if name in STATIC:  # the plan for all sensors, of which only the sites stay that the mask leaves
            whole = choose_plan(model, (True,) * len(mask), ratio, rank(name, mask), mode)
            return [keep for keep in whole if keep.site in left]
        return choose_plan(model, mask, ratio, rank(name, mask), mode, spend_freed=name != GATE_BLIND)

    return {key: plan(*key) for key in asked}


@torch.no_grad()  # not inference mode: criteria run backward passes through the same network afterwards
def plan_accuracies(model: SentryFuse, held: Held, mask: Mask, plans: Mapping[tuple, Sequence[SiteKeep]]) -> dict[tuple, float]:
    """Accuracy of every plan; plans that keep the same units are run once."""
    device = model.gate.static.device
    alike: dict[tuple, list[tuple]] = {}
    for key, plan in plans.items():
        alike.setdefault(tuple(_units(keep) for keep in plan), []).append(key)
    weights = [slice_weights(model, plans[keys[0]]) for keys in alike.values()]
    right = np.zeros(len(alike), np.int64)
    for start in range(0, len(held.labels), BATCH):
        part = slice(start, start + BATCH)
        tokens = model.tokens({n: x[part].to(device) for n, x in held.inputs.items()}, mask)
        for i, w in enumerate(weights):
            right[i] += (model.fuse(tokens, w).logits.argmax(1).cpu().numpy() == held.labels[part]).sum()
    return {key: round(float(n / len(held.labels)), 5) for keys, n in zip(alike.values(), right) for key in keys}


def _units(keep: SiteKeep) -> tuple:
    return (keep.site,) if keep.whole else (keep.site, tuple(keep.heads.tolist()), tuple(keep.channels.tolist()))


def budget_of(keep: SiteKeep) -> SiteBudget:
    """How many units a plan keeps of a site."""
    return SiteBudget(len(keep.groups), len(keep.heads) // len(keep.groups), len(keep.channels))


def full_budgets(model: SentryFuse, mask: Mask) -> list[SiteBudget]:
    """Of the network as it is."""
    return [budget_of(keep) for keep in choose_plan(model, mask, 0.0)]
