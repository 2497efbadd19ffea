"""The plans of a checkpoint, compiled when they are first needed and kept as long as they are among the last ones used."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..masks import mask_to_bits
from ..model.checkpoint import Checkpoint
from ..model.subnetwork import Subnetwork
from ..model.tensor_shapes import token_counts
from ..preprocessing import ModalitySpec
from ..pruning.cost import picture_flops, plan_flops, plan_params
from ..pruning.gate_scores import gate_scores
from ..pruning.units import SiteKeep, subnetwork_units
from .backend import Backend

PLANS_KEPT = 24  # those of `Engine.neighbours`, and as many again; of the shipped model one takes 1 to 2 MB


@dataclass(frozen=True, slots=True)
class CompiledPlan:
    """What one subnetwork runs on, with its cost, and what each run needs of it."""

    compiled: Any  # the backend's
    flops: int
    picture_flops: int  # of those the ones that predictions with the same picture share
    params: int
    temperature: float  # see `plan_temperature`
    used: np.ndarray  # bool (M,), read-only
    inputs: tuple[ModalitySpec, ...]  # of the sensors it uses


class CompiledPlans:
    """At most PLANS_KEPT plans, by their subnetwork; the one that was used longest ago makes room."""

    def __init__(self, checkpoint: Checkpoint, backend: Backend):
        self._checkpoint, self._backend = checkpoint, backend
        self._token_counts = token_counts(checkpoint.config)
        self._plans: OrderedDict[Subnetwork, CompiledPlan] = OrderedDict()

    def __len__(self) -> int:
        return len(self._plans)

    def __iter__(self) -> Iterator[Subnetwork]:
        """The subnetworks, the one that was used longest ago first."""
        return iter(self._plans)

    def __contains__(self, part: Subnetwork) -> bool:
        return part in self._plans

    def use(self, part: Subnetwork) -> CompiledPlan:
        """The plan of a subnetwork, which then is the last one used."""
        plan = self._plans.get(part)
        if plan is not None:
            self._plans.move_to_end(part)
            return plan
        units, config = self.units(part), self._checkpoint.config
        budgets = [keep.budget for keep in units]
        used = np.array(part.used)
        used.setflags(write=False)
        plan = self._plans[part] = CompiledPlan(
            self._backend.compile(part, units),
            plan_flops(config, part, budgets),
            picture_flops(config, part),
            plan_params(config, part, budgets),
            plan_temperature(self._checkpoint, part),
            used,
            tuple(spec for spec, here in zip(config.modalities, part.used) if here),
        )
        if len(self._plans) > PLANS_KEPT:
            self._plans.popitem(last=False)
        return plan

    def units(self, part: Subnetwork) -> list[SiteKeep]:
        """The units that a subnetwork keeps, by the gate's scores for the sensors it uses."""
        config = self._checkpoint.config
        scores = gate_scores(config, self._checkpoint.tensors, part.used)
        return subnetwork_units(config, self._token_counts, part, scores)


def plan_temperature(checkpoint: Checkpoint, part: Subnetwork) -> float:
    """What the logits of a subnetwork are divided by to be calibrated; 1 where training fitted none."""
    config, info = checkpoint.config, checkpoint.info
    row, place = info.get("plan_temperatures", {}).get(part.code), 0
    if row and part.fusion_size in config.fusion_sizes:
        place = config.fusion_sizes.index(part.fusion_size)
    else:
        row = info.get("temperatures", {}).get(mask_to_bits(part.used))
        place = config.ratio_levels.index(part.units_level) if part.units_level in config.ratio_levels else 0
    return float(row[place]) if row else 1.0
