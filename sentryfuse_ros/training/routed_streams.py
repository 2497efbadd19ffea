"""The streams that a model's own policy and router make of clips: in torch, batched, on any device.

The same decisions as `streaming.camera_stream` takes while the camera stands, so that a network learns from the codes and the
branches that it will meet. Tests hold one against the other.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..streaming.branches import RouterWeights
from ..streaming.change_graph import TOP_PATCHES, texture_rows
from ..streaming.change_rule import ChangeRule
from ..streaming.stream_config import StreamConfig
from .depth_clips import Clips
from .stale_tokens import FULL, LIGHT, REUSE, BatchDetector, Encoded, expected_noise_of, patch_view
from .stream_trainer import RUN

OFTEN_RATIO = 0.7  # pruning ratio of half of the streams
NO_PRUNING = 0.7  # share of the others at ratio 0, half of them with the router and half as a node below `route_from_ratio`
MOST_RATIO = 0.9  # largest ratio of the rest
LEAST_CONFIDENCE = 0.15


def deployed_streams(
    clips: Clips, config: StreamConfig, patch: int, window: int, scale: float, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """What policy and router make of each clip at a random pruning ratio: the picture whose code stands for a window (B, K, W),
    and which pictures are light (B, K).

    patch, window: of the encoder; scale: standard deviation of the pictures in the model's input. The confidence that the router
    is told is drawn, and stays for some pictures.
    """
    batch, count = clips.valid.shape

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, device=clips.valid.device, generator=random)

    assert config.rule is not None
    ratio = torch.where(draw(batch) < 0.5, OFTEN_RATIO, MOST_RATIO * draw(batch) * (draw(batch) >= NO_PRUNING))
    routes = (ratio > 0) | (draw(batch) < 0.5)
    confidence = LEAST_CONFIDENCE + (1 - LEAST_CONFIDENCE) * draw(batch, -(-count // RUN)).repeat_interleave(RUN, 1)[:, :count]
    patches = patch_view(clips.depth_m, patch, window, config.rule.steps)
    rough = textures(clips.depth_m, clips.valid, scale, config.rule, patch * window)
    branches, encoded = routed_streams(config, patches, clips.valid, rough, ratio, confidence, routes)
    return encoded.source, branches == LIGHT


class BatchRouter:
    """The state of the learned router of B streams."""

    def __init__(self, weights: RouterWeights, dwell_pictures: int, margin: float, batch: int, device: torch.device):
        def tensor(values: object) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=device)

        self._hidden, self._hidden_bias = tensor(weights.hidden), tensor(weights.hidden_bias)
        self._out, self._out_bias = tensor(weights.out), tensor(weights.out_bias)
        self._mean, self._scale, self._costs = tensor(weights.mean), tensor(weights.scale), tensor(weights.costs)
        self._dwell, self._margin = dwell_pictures, margin
        self.branch = torch.full((batch,), FULL, device=device)
        self._wanted = torch.full((batch,), dwell_pictures - 1, device=device)

    def reset(self, which: Tensor) -> None:
        """Forget the pictures of the streams ``which`` (B,)."""
        self.branch = self.branch.masked_fill(which, FULL)
        self._wanted = self._wanted.masked_fill(which, self._dwell - 1)

    def choose(self, features: Tensor) -> Tensor:
        """The branches (B,) of the next pictures from what is told of them (B, 5); see `RouterInput.features`."""
        hidden = torch.tanh(F.linear((features - self._mean) / self._scale, self._hidden, self._hidden_bias))
        errors = F.pad(F.softplus(F.linear(hidden, self._out, self._out_bias)), (0, 1))  # that of full is 0
        total = errors + self._costs * (1 + features[:, 4:])
        total = total - self._margin * F.one_hot(self.branch, 3)
        wish = total.argmin(1)
        self._wanted = torch.where(wish < self.branch, self._wanted + 1, 0)
        taken = (wish > self.branch) | (self._wanted >= self._dwell)
        self.branch = torch.where(taken, wish, self.branch)
        self._wanted = self._wanted.masked_fill(taken, 0)
        return self.branch


def routed_streams(
    config: StreamConfig, patches: Tensor, valid: Tensor, texture: Tensor, ratio: Tensor, confidence: Tensor, routes: Tensor
) -> tuple[Tensor, Encoded]:
    """Branches (B, K) and encoded windows of clips whose camera stands, by a learned router and its policy.

    patches (B, K, W, P, pixels), thinned by the rule's steps; valid (B, K): slots with a picture, the last ones; texture
    (B, K) as `streaming.change_detection` measures it; ratio (B,): pruning ratio in force; confidence (B, K): of the prediction
    before each picture; routes (B,): where the router chooses, the others take the full branch. A picture that begins a clip is
    encoded whole.
    """
    batch, count, windows = patches.shape[:3]
    device, policy, rule = patches.device, config.policy, config.rule
    assert config.weights is not None and rule is not None
    router = BatchRouter(config.weights, config.steadiness.dwell_pictures, config.steadiness.margin, batch, device)
    most = torch.tensor([policy.limit(windows, r) for r in ratio.tolist()], device=device)
    detector = BatchDetector.start(rule, patches[:, 0])
    since_dense = torch.zeros(batch, dtype=torch.int64, device=device)
    window = torch.arange(windows, device=device)
    anew = torch.zeros(batch, count, windows, dtype=torch.bool, device=device)
    branches = torch.full((batch, count), FULL, device=device)
    for t in range(count):
        first = valid[:, t] & ~(valid[:, t - 1] if t else torch.zeros_like(valid[:, 0]))
        scores = detector.scores(patches[:, t])
        top = scores.flatten(1).topk(min(TOP_PATCHES, scores[0].numel()), sorted=False).values.mean(1)
        score = scores.amax(-1)
        changed = score > 1
        share = changed.float().mean(1)
        router.reset(first)
        told = torch.stack([torch.log1p(top), share, texture[:, t], confidence[:, t], ratio], 1)
        branch = torch.where(routes & ~first, router.choose(told), FULL)
        router.reset(first)
        chosen = changed & (_rank(score, since_dense) < most[:, None])
        if policy.refresh_pictures:
            turn = (since_dense % policy.refresh_pictures)[:, None]
            refreshed = -(-turn * windows // policy.refresh_pictures), -(-(turn + 1) * windows // policy.refresh_pictures)
            chosen = chosen | (window >= refreshed[0]) & (window < refreshed[1])
        everything = (share > policy.dense_above) | (chosen.float().mean(1) > policy.dense_above)
        chosen = (chosen | everything[:, None]) & (branch != REUSE)[:, None] | first[:, None]
        dense = first | everything & (branch == FULL)
        since_dense = torch.where(dense, 0, since_dense + (branch != REUSE))
        anew[:, t], branches[:, t] = chosen & valid[:, t, None], branch
        detector.hold(patches[:, t], anew[:, t])
        detector.noise = torch.where(first[:, None, None], expected_noise_of(rule, patches[:, t]), detector.noise)
    places = torch.arange(count, device=device).view(1, -1, 1)
    return branches, Encoded(anew, torch.cummax(torch.where(anew, places, 0), 1).values)


def textures(depth_m: Tensor, valid: Tensor, scale: float, rule: ChangeRule, side: int) -> Tensor:
    """Of pictures (B, K, H, W): (B, K), 0 where none is ``valid``; see `Change.texture`. side: of a window, in pixels."""
    rows = depth_m[..., :: texture_rows(rule) * rule.steps[0], :: rule.steps[1]]
    return rows.unflatten(-1, (-1, side // rule.steps[1])).diff(dim=-1).abs().mean((-1, -2, -3)) / scale * valid


def _rank(score: Tensor, count: Tensor) -> Tensor:
    """Places (B, W) of windows by score (B, W), the largest first; equal ones take turns with the ``count`` (B,) of pictures."""
    windows = score.shape[1]
    order = (torch.arange(windows, device=score.device) + count[:, None]) % windows
    by_score = score.gather(1, order).sort(stable=True, dim=1, descending=True).indices
    in_turn = order.gather(1, by_score)  # windows, the first in place first
    return torch.zeros_like(in_turn).scatter(1, in_turn, torch.arange(windows, device=score.device).expand_as(in_turn))
