"""What a frozen model makes of windows: the tokens of its stems, made once, and what a subnetwork makes of these, made anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..datasets.damaged_npz import DAMAGED_NPZ
from ..datasets.window_folder import WindowFolder
from ..datasets.windows import WindowSet
from ..errors import DataError, reason_of
from ..files import replacing
from ..model.fuse import SentryFuse
from ..model.subnetwork import Subnetwork
from ..preprocessing.normalise import normalise
from ..pruning.planner import PlanChoice
from ..pruning.slicing import slice_weights
from ..runtime.engine import Engine
from .decoder import Percepts
from .facts import SENSOR_STATES
from .speaker import FusedWindow

CHUNK = 128  # windows that go through a stem at once
Stem = tuple[int, int]  # place of the sensor in the mask, size of its stem


@dataclass(frozen=True)
class WindowTokens:
    """n windows as tokens of the stems, of every size.

    tokens: (n, length, d_model) float16; empty (n, length) bool: those that saw no data. bags: names of the recordings; bag (n,):
    places in them; stamp_ns (n,): end of the window; live (n, M) bool.
    """

    tokens: Mapping[Stem, np.ndarray]
    empty: Mapping[int, np.ndarray]
    bags: tuple[str, ...]
    bag: np.ndarray
    stamp_ns: np.ndarray
    live: np.ndarray

    def __len__(self) -> int:
        return len(self.bag)

    def select(self, chosen: np.ndarray) -> WindowTokens:
        """The windows at ``chosen`` (bool or int)."""
        return WindowTokens(
            {stem: rows[chosen] for stem, rows in self.tokens.items()},
            {place: rows[chosen] for place, rows in self.empty.items()},
            self.bags,
            self.bag[chosen],
            self.stamp_ns[chosen],
            self.live[chosen],
        )

    def save(self, path: Path) -> None:
        """Write them as an .npz file."""
        arrays = {f"tokens {place} {size}": rows for (place, size), rows in self.tokens.items()}
        arrays |= {f"empty {place}": rows for place, rows in self.empty.items()}
        rest = {"bags": np.array(self.bags), "bag": self.bag, "stamp_ns": self.stamp_ns, "live": self.live}
        with replacing(path) as file:
            np.savez(file, **arrays, **rest)  # type: ignore[arg-type]  # numpy's stub takes the names for its options

    @classmethod
    def read(cls, path: Path) -> WindowTokens:
        """Inverse of `save`; raises DataError."""
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file}
            named = {name: rows for name, rows in arrays.items() if name.startswith("tokens ")}
            tokens = {(int(name.split()[1]), int(name.split()[2])): rows for name, rows in named.items()}
            empty = {int(name.split()[1]): rows for name, rows in arrays.items() if name.startswith("empty ")}
            bags = tuple(arrays["bags"].tolist())
            return cls(tokens, empty, bags, arrays["bag"], arrays["stamp_ns"], arrays["live"])
        except (*DAMAGED_NPZ, IndexError) as error:
            raise DataError(
                f"window tokens {path}", reason_of(error), "a file of this version", "remove it, and run again"
            ) from error


def kept_tokens_path(folder: Path, model_sha256: str, windows: WindowFolder, split: str, every: int) -> Path:
    """Where the tokens of every so many-th window of a split are kept for another run: of this model and this data set alone."""
    return folder / f"{model_sha256[:12]}_{windows.identity()}_{every}_{split}.npz"


class FrozenModel:
    """A trained network that no longer changes, and its plans."""

    def __init__(self, model: SentryFuse, info: Mapping[str, object], device: str = "cpu"):
        self.engine = Engine.from_model(model, info, device)
        self.model, self.device = model, torch.device(device)
        self.config, self.lengths = model.config, model.lengths
        self._starts = np.cumsum([0, *model.lengths])

    @torch.inference_mode()
    def stem_tokens(
        self, windows: WindowSet, stamp_ns: np.ndarray, progress: Callable[[float], None] = lambda done: None
    ) -> WindowTokens:
        """The tokens of all stems; ``progress`` is called with the share that is done."""
        tokens: dict[Stem, list[np.ndarray]] = {}
        empties: dict[int, list[np.ndarray]] = {}
        for start in range(0, len(windows), CHUNK):
            index = np.arange(start, min(len(windows), start + CHUNK))
            for place, spec in enumerate(self.config.modalities):
                x = torch.from_numpy(normalise(spec, windows.rows(spec.name, index))).to(self.device)
                for size in range(1 + len(self.config.tokenizer[spec.name].sizes)):
                    rows, empty = self.model.tokens_of(place, x, size)
                    tokens.setdefault((place, size), []).append(rows.cpu().numpy().astype(np.float16))
                empties.setdefault(place, []).append(empty.cpu().numpy())
            progress((index[-1] + 1) / len(windows))
        live = [windows.live.get(name, np.ones(len(windows), bool)) for name in self.config.names]
        return WindowTokens(
            {stem: np.concatenate(parts) for stem, parts in tokens.items()},
            {place: np.concatenate(parts) for place, parts in empties.items()},
            windows.recordings,
            windows.recording,
            stamp_ns,
            np.stack(live, 1),
        )

    @torch.no_grad()  # and not inference_mode, whose tensors a decoder cannot learn from
    def percepts(self, windows: WindowTokens, index: np.ndarray, part: Subnetwork, states: Sequence[Sequence[str]]) -> Percepts:
        """What a subnetwork perceives in the windows ``index`` (B,); ``states``: B rows of M states of sensors."""
        live = tuple(i for i, used in enumerate(part.used) if used)
        chosen = [torch.from_numpy(windows.tokens[i, part.stems[i]][index]) for i in live]
        stem = torch.cat(chosen, 1).to(self.device, torch.float32)
        empty = torch.cat([torch.from_numpy(windows.empty[i][index]) for i in live], 1).to(self.device)
        weights = slice_weights(self.model, self.engine.units(PlanChoice(part)))
        fused = self.model.backbone(stem, live, weights)
        logits, _ = self.model.readout(fused, empty)
        numbers = [[SENSOR_STATES.index(state) for state in row] for row in states]
        return Percepts(
            stem,
            fused,
            self.places(live),
            part.layers,
            torch.tensor(numbers, device=self.device),
            torch.log_softmax(logits / self.engine.temperature(part), -1),
        )

    def fused_windows(self, windows: WindowTokens, part: Subnetwork) -> Iterator[FusedWindow]:
        """All windows one by one, as the robot's engine gives them under a subnetwork."""
        count = len(part.used)
        for start in range(0, len(windows), CHUNK):
            index = np.arange(start, min(len(windows), start + CHUNK))
            seen = self.percepts(windows, index, part, [[SENSOR_STATES[0]] * count] * len(index))
            stem, fused, answer = (x.cpu().numpy() for x in (seen.stem, seen.fused, seen.log_probabilities.exp()))
            yield from (FusedWindow(part, *parts) for parts in zip(stem, fused, answer))

    def places(self, live: Sequence[int]) -> Tensor:
        """Places of the tokens of the sensors ``live`` among those of all sensors (N,)."""
        return torch.from_numpy(np.concatenate([np.arange(self._starts[i], self._starts[i + 1]) for i in live])).to(self.device)
