"""The codes of the windows of many augmented clips, kept on disk, so that what comes after the encoder can be trained without it.

Encoding takes nearly all the time of a training step, and the encoder changes little at the end of a training. A store holds,
for several augmentations of each recording, the codes of every window by the whole encoder and by the light branch, and some
streams: which picture's code, by which branch, stands for each window of each picture. A stream, even one that policy and router
make, depends on the pictures and not on the codes, so that it is put together from codes that are kept.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..files import write_atomically
from ..model.fuse import SentryFuse
from .depth_clips import DepthFrames
from .drawn_streams import StreamMix
from .stream_trainer import depth_windows, patch_tokenizer_of

STREAMS = 6  # streams of each clip
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
            with contextlib.suppress(OSError, ValueError, EOFError):  # it is missing, or a kill left a part of it
                opened: np.ndarray = np.load(path, mmap_mode="r+")
                if opened.shape == size and opened.dtype == dtype:
                    return opened
            (folder / BUILT_FILE).unlink(missing_ok=True)  # a table that is made anew holds nothing of what that file says
            return np.lib.format.open_memmap(path, "w+", dtype, size)

        self._codes = table("codes", np.float16, 2, pictures, windows, code)
        self._source = table("source", np.uint8, STREAMS, pictures, windows)
        self._light = table("light", bool, STREAMS, pictures)
        self._valid = table("valid", bool, pictures)
        self._labels = table("labels", np.int64)

    def build(
        self,
        model: SentryFuse,
        frames: DepthFrames,
        mix: StreamMix,
        key: str,
        seed: int,
        say: Callable[[str], None],
        **augmentation: Any,
    ) -> None:
        """Encode what is not there yet; after a kill it goes on with the round that was not finished.

        mix: how the streams are drawn. key: what codes and streams depend on; where the folder holds those of another key, all
        are made anew. augmentation: of `DepthFrames.clips`.
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
                self._write(number * len(self.recordings) + start, model, frames, mix, chosen, random, augmentation)
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
        mix: StreamMix,
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
            source, light = mix.draw(clips, model, random)
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
