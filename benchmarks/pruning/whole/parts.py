"""The parts of a network that a plan may run under a budget over the whole network, which units they keep, and what they cost.

A part is a `Subnetwork` of the product: some of the sensors, a size of their stems, some layers, and a pruning ratio of the heads
and channels in these layers. All stems of a part have the same size, so that there are few candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from sentryfuse_ros.masks import all_masks
from sentryfuse_ros.model.config import FuseConfig
from sentryfuse_ros.model.fuse import SentryFuse
from sentryfuse_ros.model.gate import Scores
from sentryfuse_ros.model.sites import all_sites
from sentryfuse_ros.model.subnetwork import Mask, Subnetwork, of_code
from sentryfuse_ros.pruning.cost import plan_flops
from sentryfuse_ros.pruning.slicing import as_arrays, gate_scores
from sentryfuse_ros.pruning.units import SiteKeep, fill_budgets

from ..budgets import study_budget

LAYER_MODES = ("first", "ranked")  # which layers a part with fewer of them keeps: the first ones, or the best ones by score


def part_codes(config: FuseConfig) -> list[str]:
    """`Subnetwork.code` of every choice of sensors with stems of one size; a stem with fewer sizes has its smallest one."""
    most = max(len(config.tokenizer[name].sizes) for name in config.names)
    found = [
        "".join(str(1 + min(size, len(config.tokenizer[name].sizes))) if here else "0" for name, here in zip(config.names, mask))
        for mask in all_masks(len(config.names))
        for size in range(1 + most)
    ]
    return list(dict.fromkeys(found))


def all_parts(config: FuseConfig) -> dict[str, list[Subnetwork]]:
    """Code -> the parts of it, one per fusion size of the network."""
    return {code: [of_code(code, size) for size in config.fusion_sizes] for code in part_codes(config)}


class PartUnits:
    """Which units of a network its parts keep.

    ``scores`` ranks the units for the sensors used (M,), by default the network's gate. ``budget_mode`` and ``spend_freed`` are
    those of `budgets.study_plan`. With the defaults the units are those of `pruning.units.subnetwork_units`. The scores must not
    change while an object of this class is used.
    """

    def __init__(
        self,
        model: SentryFuse,
        scores: Callable[[Mask], Scores] | None = None,
        budget_mode: str = "even",
        layer_mode: str = "first",
        spend_freed: bool = True,
    ):
        self.model, self.spend_freed = model, spend_freed
        self.scores = scores or (lambda used: gate_scores(model, used))
        self.budget_mode, self.layer_mode = budget_mode, layer_mode
        self.sites = all_sites(model.config)
        self._all_layers: dict[tuple[Mask, float], list[SiteKeep]] = {}  # the same for many parts

    def __call__(self, part: Subnetwork) -> list[SiteKeep]:
        """Units that stay in the sites of a part, in the order of `all_sites`."""
        key = (part.used, part.units_level)
        if key not in self._all_layers:
            config, lengths, scores = self.model.config, self.model.lengths, self.scores(part.used)
            compete = scores if self.budget_mode == "global" else None
            budgets = study_budget(config, lengths, part.used, part.units_level, self.spend_freed, compete)
            self._all_layers[key] = fill_budgets(config, lengths, part.used, budgets, as_arrays(scores))
        kept = set(self.layers(part))
        return [keep for keep in self._all_layers[key] if self.sites[keep.site].layer in kept]

    def layers(self, part: Subnetwork) -> list[int]:
        """The layers that a part runs."""
        if self.layer_mode == "first":
            return list(range(part.layers))
        worth = layer_worth(self.model.config, self.scores(part.used))
        return worth.argsort(descending=True, stable=True)[: part.layers].tolist()


def layer_worth(config: FuseConfig, scores: Scores) -> Tensor:
    """Mean score of a layer's heads plus that of its channels (layers,)."""
    of_sites = scores[0].detach().mean(1) + scores[1].detach().mean(1)
    layer = torch.tensor([site.layer for site in all_sites(config)])
    return torch.stack([of_sites.cpu()[layer == i].mean() for i in range(config.layers)])


def part_flops(config: FuseConfig, part: Subnetwork, units: Sequence[SiteKeep]) -> int:
    """FLOPs of one window by arithmetic: stems, layers that run, read-out. For early fusion, whose layers are alike."""
    return plan_flops(config, part, [keep.budget for keep in units])


def stems_of(parts: Iterable[Subnetwork]) -> set[tuple[int, int]]:
    """(place in the mask, size) of every stem that any of the parts runs."""
    return {(i, part.stems[i]) for part in parts for i, here in enumerate(part.used) if here}
