"""The codes of the windows of many augmented clips, kept on disk, so that what comes after the encoder can be trained without it.

Encoding takes nearly all the time of a training step, and the encoder changes little at the end of a training. A store holds, for
several augmentations of each recording, the codes of every window by the whole encoder and by the light branch, and some random
streams: which picture's code, by which branch, stands for each window of each picture.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..files import write_atomically
from ..model.fuse import SentryFuse
from ..streaming.change_rule import ChangeRule
from .depth_clips import Clips, DepthFrames
from .stale_tokens import encoded_anew, patch_view
from .stream_trainer import REFRESH, RUN, depth_windows, patch_tokenizer_of

STREAMS = 3  # random streams of each clip
MOST_REUSED = 0.4  # largest share of reused pictures in a stream with branches
FEWEST, FEW = 0.03, 0.13  # shares of the windows that a picture of a frugal stream may encode, at most
PART = 16  # clips that are made at once
WINDOWS = 4096  # windows that are encoded at once; more do not fit the cache of a CPU
BUILT_FILE = "built.json"


class CodeBatch(NamedTuple):
    """Stored clips: B clips of K pictures with W windows. A clip that is shorter fills the last slots."""

    dense: Tensor  # (B, K, W, code) float32, every window encoded whole
    streamed: Tensor  # (B, K, W, code), some of them older codes, some by the light branch
    valid: Tensor  # (B, K) bool
    labels: Tensor  # (B,)


class CodeStore:
    """Codes under a folder, written round by round: one round is one augmentation of every recording."""

    def __init__(self, folder: Path, recordings: Sequence[int], rounds: int, shape: tuple[int, int, int]):
        """``shape``: pictures, windows, and numbers of a code."""
        self.folder, self.recordings, self.rounds = folder, list(recordings), rounds
        pictures, windows, code = shape
        clips = rounds * len(self.recordings)
        folder.mkdir(parents=True, exist_ok=True)

        def table(name: str, dtype: Any, *of_clip: int) -> np.ndarray:
            path, size = folder / f"{name}.npy", (clips, *of_clip)
            if path.exists():
                opened: np.ndarray = np.load(path, mmap_mode="r+")
                if opened.shape == size:
                    return opened
            return np.lib.format.open_memmap(path, "w+", dtype, size)

        self._codes = table("codes", np.float16, 2, pictures, windows, code)
        self._source = table("source", np.uint8, STREAMS, pictures, windows)
        self._light = table("light", bool, STREAMS, pictures)
        self._valid = table("valid", bool, pictures)
        self._labels = table("labels", np.int64)

    def build(
        self, model: SentryFuse, frames: DepthFrames, key: str, seed: int, say: Callable[[str], None], **augmentation: Any
    ) -> None:
        """Encode what is not there yet; after a kill it goes on with the round that was not finished.

        key: what the codes depend on; where the folder holds those of another key, all are made anew. augmentation: of
        `DepthFrames.clips`.
        """
        path = self.folder / BUILT_FILE
        try:
            built = json.loads(path.read_text(encoding="utf-8"))
            done = int(built["rounds"]) if built["key"] == key else 0
        except (OSError, ValueError, KeyError, TypeError):
            done = 0
        model.eval()
        for number in range(done, self.rounds):
            random = torch.Generator(frames.people_mm.device).manual_seed(1000 * seed + number)
            for start in range(0, len(self.recordings), PART):
                chosen = torch.as_tensor(self.recordings[start : start + PART], device=frames.people_mm.device)
                self._write(number * len(self.recordings) + start, model, frames, chosen, random, augmentation)
            for part in (self._codes, self._source, self._light, self._valid, self._labels):
                part.flush()  # type: ignore[attr-defined]  # a memory map, which numpy types as an array
            write_atomically(path, json.dumps({"key": key, "rounds": number + 1}))
            say(f"codes: {number + 1} of {self.rounds} augmentations")

    @torch.no_grad()
    def _write(
        self,
        at: int,
        model: SentryFuse,
        frames: DepthFrames,
        chosen: Tensor,
        random: torch.Generator,
        augmentation: dict[str, Any],
    ) -> None:
        spec, tokenizer = model.config.modalities[0], patch_tokenizer_of(model)
        clips = frames.clips(chosen, spec.shape[0], (spec.shape[2], spec.shape[3]), spec.grid_rate_hz, random, **augmentation)
        windows = depth_windows(model, clips.depth_m)[clips.valid].flatten(0, 1)
        place, count = slice(at, at + len(chosen)), tokenizer.rows * tokenizer.columns
        codes = torch.zeros(*clips.valid.shape, count, tokenizer.options.code, device=chosen.device)
        for branch, size in enumerate((0, len(tokenizer.sizes) - 1)):
            found = torch.cat([tokenizer.encode(part, size) for part in windows.split(WINDOWS)])
            codes[clips.valid] = found.unflatten(0, (-1, count))
            self._codes[place, branch] = codes.half().cpu().numpy()
        for k in range(STREAMS):
            source, light = random_stream(clips, model, random)
            self._source[place, k], self._light[place, k] = source.byte().cpu().numpy(), light.cpu().numpy()
        self._valid[place], self._labels[place] = clips.valid.cpu().numpy(), clips.labels.cpu().numpy()

    def __len__(self) -> int:
        return len(self._labels)

    def batch(self, clips: np.ndarray, stream: int, device: str | torch.device = "cpu") -> CodeBatch:
        """Clips by number (B,), each with one of its STREAMS streams."""
        codes = torch.from_numpy(self._codes[clips].astype(np.float32))
        source = torch.from_numpy(self._source[clips, stream].astype(np.int64))  # (B, K, W)
        light = torch.from_numpy(self._light[clips, stream]).gather(1, source.flatten(1)).view_as(source)
        row, _, column = torch.meshgrid(*(torch.arange(n) for n in source.shape), indexing="ij")
        streamed = codes[row, light.long(), source, column]
        found = codes[:, 0], streamed, torch.from_numpy(self._valid[clips]), torch.from_numpy(self._labels[clips])
        return CodeBatch(*(part.to(device) for part in found))


def random_stream(clips: Clips, model: SentryFuse, random: torch.Generator, frugal: float = 0.0) -> tuple[Tensor, Tensor]:
    """A random stream of each clip: the picture whose code stands for a window (B, K, W), and which pictures are light (B, K).

    Sensitivity, budget and the mix of branches are drawn anew; a third of the clips are encoded by the whole encoder only.
    frugal: share of the clips that spend as little as at a high pruning ratio: the light branch for all pictures but the first,
    and few windows.
    """
    options, (batch, count) = patch_tokenizer_of(model).options, clips.valid.shape

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, device=clips.valid.device, generator=random)

    rule = ChangeRule(factor=float(draw(1) * 2.3 + 1.2))
    patches = patch_view(clips.depth_m, options.patch, options.window, rule.steps)
    windows = patches.shape[2]
    which, among = (draw(batch, -(-count // RUN)).repeat_interleave(RUN, 1)[:, :count] for _ in range(2))
    branched = draw(batch, 1) < 2 / 3
    reuse = branched & (which < MOST_REUSED * draw(batch, 1))
    light = branched & (among < draw(batch, 1))
    most = torch.where(draw(batch) < 0.3, windows, (draw(batch) * windows / 4).long() + 2)
    if frugal:
        saving = draw(batch) < frugal
        few = 1 + (windows * (FEWEST + draw(batch) * (FEW - FEWEST))).long()
        most = torch.where(saving, few, most)
        light = torch.where(saving[:, None], torch.cumsum(clips.valid, 1) > 1, light)
        reuse = torch.where(saving[:, None], which < MOST_REUSED * draw(batch, 1), reuse)
    refresh = draw(batch, count, windows) < 1 / REFRESH
    dense = torch.zeros(batch, dtype=torch.bool, device=clips.valid.device)
    return encoded_anew(patches, clips.valid, rule, most, reuse, refresh, dense).source, light
