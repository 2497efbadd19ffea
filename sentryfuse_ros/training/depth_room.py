"""A simulated room around recorded people, as a depth camera with sensor noise sees it; in torch, so that it runs on a GPU.

UTD-MHAD has people without background. A robot's depth camera sees a room behind them, with noise that grows with the square of
the distance and holes at the edges (Khoshelham and Elberink, "Accuracy and Resolution of Kinect Depth Data for Indoor Mapping
Applications", Sensors 2012, 12(2)), and it is this noise that a change detector must tell from motion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..simulation.depth_noise import EDGE_HOLE_CHANCE, EDGE_M, HOLE_CHANCE, NOISE_PER_M

SMOOTH_FROM = 3.0  # recorded pixels that are drawn so many times as large would look like blocks
FOCAL_PER_HEIGHT = 1.19  # focal length of a Kinect, as a share of the height of its picture
_STILL = (0.0, 0.0)
Size = tuple[int, int]  # rows and columns of a picture


class Room(NamedTuple):
    """Rooms of B clips, each number of shape (B,), in metres as the camera sees them."""

    wall_m: Tensor  # distance of the wall behind
    slope: Tensor  # how much nearer this wall comes per metre to the right
    side: Tensor  # -1 or 1: at which hand there is a side wall
    side_m: Tensor
    floor_m: Tensor  # how far below the camera the floor lies
    boxes: Tensor  # (B, 2, 5): left, top, width, height as shares of the picture, depth before the wall


@dataclass(frozen=True)
class Pose:
    """How strongly the recorded people are moved and stretched in a clip; zero leaves them as they are."""

    shift: tuple[float, float] = _STILL  # largest move to the sides and up or down, as a share of the picture
    zoom: float = 0.0  # standard deviation of the logarithm of their width and of their height
    turn_deg: float = 0.0  # standard deviation of the roll of the camera
    depth_m: float = 0.0  # largest move towards the camera or away from it

    def grid(self, count: int, size: Size, device: torch.device, random: torch.Generator) -> Tensor:
        """Where the pixels of ``count`` clips come from, (count, *size, 2), as `F.grid_sample` takes it."""

        def draw(n: int) -> Tensor:
            return torch.rand(count, n, device=device, generator=random) * 2 - 1

        angle = torch.randn(count, device=device, generator=random) * self.turn_deg * torch.pi / 180
        stretch = torch.exp(-torch.randn(count, 2, device=device, generator=random) * self.zoom)
        turn = torch.stack([torch.stack([angle.cos(), angle.sin()], 1), torch.stack([-angle.sin(), angle.cos()], 1)], 1)
        shift = draw(2) * 2 * torch.tensor(self.shift, device=device)
        across = torch.tensor([size[1] / size[0], 1.0], device=device)  # the recorded square fills the height
        turn = turn * stretch.unsqueeze(-1) * across
        return F.affine_grid(torch.cat([turn, shift.unsqueeze(-1)], 2), [count, 1, *size], False)


def random_rooms(farthest_m: Tensor, random: torch.Generator) -> Room:
    """Rooms whose wall lies behind people who are at most ``farthest_m`` (B,) away."""
    count, device = len(farthest_m), farthest_m.device

    def draw(low: float, high: float) -> Tensor:
        return torch.rand(count, device=device, generator=random) * (high - low) + low

    boxes = torch.stack(
        [
            torch.stack([draw(-0.1, 0.9), draw(0.4, 0.75), draw(0.1, 0.3), draw(0.15, 0.45), draw(0.1, 0.5)], 1),
            torch.stack([draw(-0.3, 1.1), draw(0.0, 0.5), draw(0.1, 0.4), draw(0.05, 0.3), draw(0.05, 0.4)], 1),
        ],
        1,
    )
    side = torch.where(draw(0, 1) < 0.5, -1.0, 1.0)
    wall = (farthest_m + draw(0.25, 0.9)).clamp(2.0, 4.3)
    return Room(wall, draw(-0.25, 0.25), side, draw(1.1, 1.8), draw(0.95, 1.25), boxes)


def render_rooms(room: Room, size: Size, pan_px: Tensor | None = None) -> Tensor:
    """Empty rooms seen by a camera that has turned until the scene moved by ``pan_px`` (B,): depths (B, *size) [m]."""
    device = room.wall_m.device
    rows, columns = size
    u = torch.arange(columns, device=device, dtype=torch.float32).expand(len(room.wall_m), 1, columns)
    if pan_px is not None:
        u = u - pan_px.view(-1, 1, 1)
    v = torch.arange(rows, device=device, dtype=torch.float32).view(1, rows, 1)
    focal = FOCAL_PER_HEIGHT * rows
    right, down = (u - columns / 2) / focal, (v - rows / 2) / focal

    def per_clip(x: Tensor) -> Tensor:
        return x.view(-1, 1, 1)

    wall = per_clip(room.wall_m) / (1 - per_clip(room.slope) * right)
    side = per_clip(room.side_m) / (per_clip(room.side) * right).clamp_min(1e-3)
    floor = per_clip(room.floor_m) / down.clamp_min(1e-3)
    depth = torch.minimum(torch.minimum(wall, side), floor)
    for left, top, width, height, before in (box.unbind(1) for box in room.boxes.unbind(1)):
        left, top, width, height = (per_clip(x) * n for x, n in zip((left, top, width, height), (columns, rows) * 2))
        inside = (u >= left) & (u < left + width) & (v >= top) & (v < top + height)
        depth = torch.where(inside, torch.minimum(depth, wall - per_clip(before)), depth)
    return depth


def place_people(people_m: Tensor, pose: Pose, size: Size, random: torch.Generator) -> Tensor:
    """Recorded people (B, K, h, h) [m], 0 beside them -> (B, K, *size), moved and stretched alike within a clip.

    Where the picture is SMOOTH_FROM times as high as the recorded one, depths between recorded pixels are interpolated.
    """
    grid = pose.grid(len(people_m), size, people_m.device, random)
    if size[0] < SMOOTH_FROM * people_m.shape[-2]:
        placed = F.grid_sample(people_m, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    else:
        share = F.grid_sample((people_m > 0).to(people_m), grid, padding_mode="zeros", align_corners=False)
        placed = F.grid_sample(people_m, grid, padding_mode="zeros", align_corners=False) / share.clamp_min(0.5)
        placed = torch.where(share > 0.5, placed, 0.0)
    if pose.depth_m:
        move = (torch.rand(len(placed), 1, 1, 1, device=placed.device, generator=random) * 2 - 1) * pose.depth_m
        placed = torch.where(placed > 0, placed + move, placed)
    return placed


def measured(depth_m: Tensor, random: torch.Generator) -> Tensor:
    """What a depth camera measures of depths (..., H, W): noise, steps of its resolution, and holes that are 0."""
    edge = torch.zeros_like(depth_m, dtype=torch.bool)
    across = (depth_m[..., 1:] - depth_m[..., :-1]).abs() > EDGE_M
    along = (depth_m[..., 1:, :] - depth_m[..., :-1, :]).abs() > EDGE_M
    edge[..., 1:] |= across
    edge[..., :-1] |= across
    edge[..., 1:, :] |= along
    edge[..., :-1, :] |= along
    step = 2 * NOISE_PER_M * depth_m.square()
    noise = torch.randn(depth_m.shape, device=depth_m.device, generator=random) * 0.5
    noisy = torch.round(depth_m / step + noise) * step
    chance = torch.rand(depth_m.shape, device=depth_m.device, generator=random)
    holes = (chance < HOLE_CHANCE) | (edge & (chance < EDGE_HOLE_CHANCE))
    return torch.where(holes, torch.zeros_like(noisy), noisy)
