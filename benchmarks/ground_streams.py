"""Whole drives played as streams of a ground network's camera: what a window gets, and what was done with each picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from sentryfuse_ros.bags.drive_truth import read_truth
from sentryfuse_ros.datasets.camera_pictures import CameraPictures, camera_pictures
from sentryfuse_ros.language.window_tokens import FrozenModel, WindowTokens
from sentryfuse_ros.model.checkpoint import Checkpoint
from sentryfuse_ros.model.patch_tokenizer import PatchTokenizer
from sentryfuse_ros.model.subnetwork import Subnetwork, whole_stems
from sentryfuse_ros.nanoseconds import NS_PER_S
from sentryfuse_ros.preprocessing.picture_window import PictureWindow, Source, picture_window
from sentryfuse_ros.streaming.stream_config import StreamConfig
from sentryfuse_ros.streaming.streamed_input import StreamedInput
from sentryfuse_ros.streaming.window_encoder import WindowEncoder

CAMERA = "camera"
STANDING_MPS, STANDING_S = 0.03, 2.0  # a robot stands when it was slower than this for so long, as long as the window of a model


@dataclass(frozen=True)
class Way:
    """How the camera is streamed. ``gyro``: whether the rate of turn is told. ``ratio``: pruning ratio in force."""

    name: str
    streaming: Mapping[str, Any]
    gyro: bool = True
    ratio: float = 0.0


class Played(NamedTuple):
    """Windows (n) with the camera's tokens of the stream, and what was done with all pictures (m).

    encoded, flops: shares of a picture's windows, and of the FLOPs of encoding it whole. standing (m,) bool.
    """

    windows: WindowTokens
    encoded: np.ndarray
    flops: np.ndarray
    branch: np.ndarray
    moving: np.ndarray
    whole: np.ndarray
    standing: np.ndarray


class Drives:
    """The recordings of some windows: pictures, and when the robot stood."""

    def __init__(self, frozen: FrozenModel, windows: WindowTokens, folders: Sequence[Path], kept: Path | None = None):
        self.frozen, self.windows = frozen, windows
        self.place = frozen.config.names.index(CAMERA)
        self.spec = frozen.config.modalities[self.place]
        self.pictures: dict[int, CameraPictures] = {}
        self._standing: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for bag in np.unique(windows.bag).tolist():
            folder = next(f / windows.bags[bag] for f in folders if (f / windows.bags[bag]).exists())
            self.pictures[bag] = camera_pictures(folder, self.spec, kept)
            moments = read_truth(folder)
            self._standing[bag] = np.array([m.stamp_ns for m in moments]), np.array([m.speed_mps for m in moments])

    def standing(self, bag: int, stamp_ns: np.ndarray) -> np.ndarray:
        """Whether the robot of a recording had stood for STANDING_S at each of some times."""
        stamps, speed = self._standing[bag]
        fast = np.abs(speed) > STANDING_MPS
        found = []
        for end_ns in np.atleast_1d(stamp_ns).tolist():
            near = (stamps > end_ns - STANDING_S * NS_PER_S) & (stamps <= end_ns)
            found.append(np.count_nonzero(near) >= 0.9 * STANDING_S * 10 and not fast[near].any())
        return np.array(found, bool)

    def windows_standing(self) -> np.ndarray:
        """Whether the robot stood in each window (n,)."""
        found = np.zeros(len(self.windows), bool)
        for bag in self.pictures:
            own = self.windows.bag == bag
            found[own] = self.standing(bag, self.windows.stamp_ns[own])
        return found

    def play(self, checkpoint: Checkpoint, way: Way, encoder: WindowEncoder) -> Played:
        """Play every drive as a stream: each picture when it came, and each window from what the stream knew by then."""
        everyone = whole_stems(self.frozen.config, (True,) * len(self.frozen.config.names), 0.0)
        tokens = self.windows.tokens[self.place, 0].copy()
        done: list[tuple[float, float, int, bool, bool, bool]] = []
        for bag, recording in self.pictures.items():
            own = np.flatnonzero(self.windows.bag == bag)
            stream = StreamedInput(encoder, StreamConfig.from_dict(way.streaming))
            stands = self.standing(bag, recording.stamp_ns)
            frames, confidence, due = recording.frames, 1.0, 0
            for t, stamp_ns in enumerate(recording.stamp_ns.tolist()):
                while due < len(own) and self.windows.stamp_ns[own[due]] < stamp_ns:
                    tokens[own[due]], confidence = self._window(stream, recording, frames, t, own[due], everyone, way)
                    due += 1
                turn = float(recording.turn_rad_s[t]) if way.gyro and np.isfinite(recording.turn_rad_s[t]) else None
                window = self._pictures(stream, recording, frames, t + 1, stamp_ns)._replace(turn_rad_s=turn)
                use = stream.take(window, way.ratio, confidence).use
                if t and use is not None:  # the first picture of a drive is always encoded whole
                    newest = use.done[-1]
                    done.append((use.tokens, use.flops_share, int(use.branch), use.moving, newest.whole, bool(stands[t])))
            for i in own[due:]:
                tokens[i], confidence = self._window(stream, recording, frames, len(frames), i, everyone, way)
        windows = WindowTokens(
            {**self.windows.tokens, (self.place, 0): tokens},
            self.windows.empty,
            self.windows.bags,
            self.windows.bag,
            self.windows.stamp_ns,
            self.windows.live,
        )
        encoded, flops, branch, moving, whole, standing = (np.array(column) for column in zip(*done))
        return Played(windows, encoded, flops, branch.astype(int), moving, whole, standing)

    def _pictures(
        self, stream: StreamedInput, recording: CameraPictures, frames: np.ndarray, count: int, end_ns: int
    ) -> PictureWindow:
        """The window of the first ``count`` pictures that ends at a time, as a snapshot takes it."""
        first = int(np.searchsorted(recording.stamp_ns, end_ns - round(self.spec.window_s * NS_PER_S)))
        source = Source(CAMERA, frames.shape[2:])
        return picture_window(
            recording.stamp_ns[first:count], frames[first:count], end_ns, self.spec, stream.known(source), source
        )

    @torch.no_grad()
    def _window(
        self,
        stream: StreamedInput,
        recording: CameraPictures,
        frames: np.ndarray,
        count: int,
        index: int,
        part: Subnetwork,
        way: Way,
    ) -> tuple[np.ndarray, float]:
        """Tokens of the camera (N, D) in the window ``index``, and the confidence of its prediction."""
        found = stream.take(self._pictures(stream, recording, frames, count, int(self.windows.stamp_ns[index])), way.ratio)
        stem = self.frozen.model.stems[self.place]
        assert isinstance(stem, PatchTokenizer)
        made, _ = stem.in_motion(torch.from_numpy(found.tokens)[None], torch.from_numpy(found.seen > 0)[None])
        tokens = (made[0] + self.frozen.model.positions[self.place]).numpy()
        one = self.windows.select(np.array([index]))
        one = WindowTokens({**one.tokens, (self.place, 0): tokens[None]}, one.empty, one.bags, one.bag, one.stamp_ns, one.live)
        states = [["used"] * len(self.frozen.config.names)]
        answer = self.frozen.percepts(one, np.array([0]), part, states).log_probabilities.exp()
        return tokens, float(answer.max())
