"""Recorded people as one table of depth frames, and random clips of them in simulated rooms; in torch, on any device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .depth_room import Pose, Size, measured, place_people, random_rooms, render_rooms

PEOPLE_COLUMNS = slice(10, 70)  # of the 80 columns of the recorded frames, in which all people stand
TRAINING_POSE = Pose(shift=(0.09, 0.05), zoom=0.08, turn_deg=3.0, depth_m=0.25)
STRAY_M = 0.3  # by which the farthest pixel of people may lie behind 99 % of them
BODY_SCALE_M = 0.3  # joints are given in this unit, about their mean


class Clips(NamedTuple):
    """B clips of K pictures each; a clip that is shorter fills the last slots."""

    depth_m: Tensor  # (B, K, H, W) as measured, 0 without return
    valid: Tensor  # (B, K) bool: slots that hold a picture
    labels: Tensor  # (B,)
    joints: Tensor  # (B, K, 60) about their mean, in units of BODY_SCALE_M


@dataclass
class DepthFrames:
    """Frames of all recordings one after another, on one device."""

    people_mm: Tensor  # (n, 60, 60) int16, 0 beside the people
    joints: Tensor  # (n, 60) about their mean, in units of BODY_SCALE_M
    first: Tensor  # (R + 1,) where each recording begins
    labels: Tensor  # (R,)
    subjects: np.ndarray  # (R,)
    rate_hz: float
    farthest_m: Tensor = field(init=False)  # (R,) of the people in each recording

    def __post_init__(self) -> None:
        bounds = self.first.tolist()
        # Every tenth frame is enough to know where the people are.
        far = [self.people_mm[a:b:10] for a, b in zip(bounds, bounds[1:])]
        quantiles = [torch.quantile(f[f > 0].float(), 0.99) for f in (x[:, ::2, ::2] for x in far)]
        self.farthest_m = torch.stack(quantiles) * 1e-3

    @classmethod
    def of_tables(
        cls, depth: Mapping[str, np.ndarray], skeleton: Mapping[str, np.ndarray], rate_hz: float, device: str | torch.device
    ) -> DepthFrames:
        """From the tables of depth and skeleton that `datasets.utd_mhad` describes, at ``rate_hz``."""
        joints = skeleton["data"].astype(np.float32)
        joints = ((joints - joints.mean(1, keepdims=True)) / BODY_SCALE_M).reshape(len(joints), -1)
        return cls(
            torch.from_numpy(depth["data"][:, :, PEOPLE_COLUMNS].astype(np.int16)).to(device),
            torch.from_numpy(joints).to(device),
            torch.from_numpy(depth["offset"].astype(np.int64)).to(device),
            torch.from_numpy(depth["ids"][:, 0].astype(np.int64) - 1).to(device),
            depth["ids"][:, 1],
            rate_hz,
        )

    def recordings(self, subjects: Sequence[int]) -> np.ndarray:
        """Indices of the recordings of some subjects."""
        return np.flatnonzero(np.isin(self.subjects, list(subjects)))

    def clips(
        self,
        recordings: Tensor,
        count: int,
        size: Size,
        rate_hz: float,
        random: torch.Generator,
        *,
        pose: Pose = TRAINING_POSE,
        speed: float = 0.2,
        partial: float = 0.3,
    ) -> Clips:
        """One clip of at most ``count`` pictures of each recording (B,), seen at ``rate_hz`` in a random room.

        speed: time runs up to this share faster or slower; partial: share of the clips that end before the recording does.
        With ``speed`` and ``partial`` 0 a clip ends with the recording's last frame.
        """
        device, batch = self.people_mm.device, len(recordings)

        def draw() -> Tensor:
            return torch.rand(batch, device=device, generator=random)

        start, stop = self.first[recordings], self.first[recordings + 1]
        length = (stop - start).float()
        step = self.rate_hz / rate_hz * (1 + speed * (2 * draw() - 1))  # recorded frames per picture
        end = length - 1 - draw() * step * (1.0 if speed else 0.0)
        end = torch.where(draw() < partial, end * (0.5 + 0.5 * draw()), end)
        age = torch.arange(count - 1, -1, -1, device=device)  # pictures before the newest
        place = end[:, None] - step[:, None] * age
        valid = place > -0.5
        frames = start[:, None] + place.round().long().clamp_min(0)
        people = place_people(self.people_mm[frames].float() * 1e-3, pose, size, random)
        farthest = torch.minimum(people.flatten(1).amax(1), self.farthest_m[recordings] + STRAY_M)
        # The wall stands as near as it can be without hiding people, or farther away: nearly all pixels lie before the farthest.
        room = render_rooms(random_rooms(farthest - STRAY_M * draw(), random), size)
        scene = torch.where(people > 0, people, room.unsqueeze(1))
        return Clips(measured(scene, random), valid, self.labels[recordings], self.joints[frames])
