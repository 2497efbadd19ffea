"""A whole training of a patch encoder in the place of a camera's stem, which can be continued, up to the checkpoint."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from safetensors.torch import load_file
from safetensors.torch import save as save_tensors

from ..datasets.camera_pictures import camera_pictures
from ..datasets.window_folder import WindowFolder
from ..errors import CheckpointError, DataError, ParameterError, reason_of
from ..files import write_atomically
from ..language.checkpoint import model_digest
from ..language.window_tokens import FrozenModel, WindowTokens, kept_tokens_path
from ..model.checkpoint import Checkpoint, read_checkpoint
from ..model.config import FuseConfig
from ..model.fuse import SentryFuse
from ..model.saved import checkpoint_of, load_checkpoint, save_checkpoint, weights_digest
from ..model.tokenizers import Tokenizer
from ..paths import model_path
from ..streaming.stream_config import StreamConfig
from .camera_windows import CameraWindows, recording_folders
from .stem_recipe import StemTraining
from .stem_router import learned_router
from .stem_trainer import LabelledWindows, StemTrainer, taught_tokens

REPORT_EVERY, SAVE_EVERY, VALIDATE_EVERY = 100, 200, 500  # steps
STATE_FILE, TAUGHT_FILE = "state.safetensors", "taught.safetensors"
KEPT = ("classes", "data", "temperatures")  # what the network that is taken over says of itself and stays true


@dataclass(frozen=True)
class Split:
    """One split of the data set: pictures of all its recordings, and its labelled windows."""

    pictures: CameraWindows
    windows: LabelledWindows


def train_stem(
    training: StemTraining,
    out: Path,
    say: Callable[[str], None],
    command: str = "",
    kept: Path | None = None,
    tokens: Path | None = None,
    resume: bool = False,
) -> Path:
    """Train, and write the model into ``out``; the state is saved there every few steps.

    ``kept``: folder in which the pictures are kept for another run; ``tokens``: the same for the tokens of the windows, which
    `train-captions` can share. Raises SentryFuseError on missing data or a wrong recipe, or where there is nothing to resume.
    """
    torch.set_num_threads(training.threads)
    torch.manual_seed(training.seed)
    stops = _stops(training)  # looked for first, so that a wrong folder is found now and not after the training
    parent_folder = model_path(training.model)
    parent, info = load_checkpoint(parent_folder)
    place = _camera_place(training, parent.config)
    model = with_patches(parent, place, training)
    splits = {name: _split(training, parent_folder, name, place, kept, tokens, say) for name in ("train", "val")}
    pictures, windows = splits["train"].pictures, splits["train"].windows
    taught = taught_by(parent.stems[place], pictures, out)
    trainer = StemTrainer(parent, model, place, pictures, taught, windows, training.recipe, training.seed)
    say(f"{len(trainer.pictures)} pictures, {len(trainer.windows.labels)} windows; {training.recipe.steps} steps")
    if resume:
        load_state(trainer, out)
    began_s, losses = time.monotonic(), []
    while trainer.steps < training.recipe.steps:
        losses.append(trainer.step())
        if trainer.steps % REPORT_EVERY == 0:
            means = np.mean(losses, 0)
            text = ", ".join(f"{name} {mean:.3f}" for name, mean in zip(losses[0]._fields, means) if mean)
            say(f"step {trainer.steps}: {text}; {(time.monotonic() - began_s) / len(losses):.2f} s a step")
            began_s, losses = time.monotonic(), []
        if trainer.steps % SAVE_EVERY == 0 or trainer.steps == training.recipe.steps:
            save_state(trainer, out)
        if trainer.steps % VALIDATE_EVERY == 0:
            figures = trainer.validate(splits["val"].windows, splits["val"].pictures)
            say("validation: " + ", ".join(f"{what} {value:.3f}" for what, value in figures.items()))
    validation = {
        name: trainer.validate(splits["val"].windows, splits["val"].pictures, size)
        for name, size in (("whole", 0), ("light", len(trainer.stem.sizes) - 1))
    }
    for name, figures in validation.items():
        say(f"validation, {name}: " + ", ".join(f"{what} {value:.3f}" for what, value in figures.items()))
    trainer.stem.load_state_dict(trainer.ema.state_dict())
    written = {
        **{key: info[key] for key in KEPT if key in info},
        "command": command,
        "recipe": {**info.get("recipe", {}), "stem_training": training.to_dict()},
        "metrics": {"validation": validation, "taken over": model_digest(parent_folder)},
        "streaming": _streaming(training, model, stops, kept, say),
    }
    return save_checkpoint(model, out, written)


def with_patches(parent: SentryFuse, place: int, training: StemTraining) -> SentryFuse:
    """The same network with a patch encoder, in its first state, at a place in the mask.

    Raises ParameterError where the tokens of both stems differ in number.
    """
    values = parent.config.to_dict()
    values["tokenizer"] = {**values["tokenizer"], training.camera: dict(training.stem)}
    model = SentryFuse(FuseConfig.from_dict(values))
    if model.lengths != parent.lengths:
        expected = f"{parent.lengths[place]} tokens a window, like the stem that it replaces"
        raise ParameterError(f"stem of {training.camera!r}", f"{model.lengths[place]} tokens", expected, "correct its options")
    own, first = f"tokenizers.{place}.", model.state_dict()
    model.load_state_dict(
        {
            **{n: t for n, t in parent.state_dict().items() if not n.startswith(own)},
            **{n: t for n, t in first.items() if n.startswith(own)},
        }
    )
    return model.eval()


def _stops(training: StemTraining) -> list[Path]:
    """The recordings that a router is to be taught on. Raises DataError where the recipe's folders hold none, ParameterError
    where it asks for a learned router and names no folder."""
    if training.streaming.get("router") != "learned":
        return []
    if not training.stops:
        if training.streaming.get("weights"):
            return []
        raise ParameterError(
            "stem recipe stops", "no folder", "recordings that its learned router is taught on", "add them, or set router: none"
        )
    bags = sorted(bag for folder in map(Path, training.stops) for bag in folder.glob("val_*"))
    if not bags:
        raise DataError("stops", ", ".join(training.stops), "folders with recordings val_*", "simulate them as the recipe says")
    return bags


def _streaming(
    training: StemTraining, model: SentryFuse, bags: Sequence[Path], kept: Path | None, say: Callable[[str], None]
) -> dict[str, Any]:
    """The section of the model, with the weights of a router that was taught on the stops."""
    section = dict(training.streaming)
    if not bags:
        return section
    config, spec = StreamConfig.from_dict(section), model.config.modalities[model.config.names.index(training.camera)]
    say(f"router: pictures of {len(bags)} recordings with stops")
    recordings = [camera_pictures(bag, spec, kept) for bag in bags]
    weights = learned_router(checkpoint_of(model), spec.name, recordings, training.router_costs, config.rule, training.seed)
    return {**section, "weights": asdict(weights)}


def _camera_place(training: StemTraining, config: FuseConfig) -> int:
    cameras = [spec.name for spec in config.modalities if spec.kind == "camera"]
    if training.camera not in cameras:
        raise ParameterError(
            "stem recipe camera", training.camera, f"a camera of the model: {cameras}", "correct the training YAML"
        )
    return config.names.index(training.camera)


def taught_by(stem: Tokenizer, pictures: CameraWindows, out: Path) -> torch.Tensor:
    """The tokens of the old stem, which are kept beside the state of the training."""
    path, of = out / TAUGHT_FILE, f"{weights_digest(stem)} {pictures.digest}"
    with contextlib.suppress(OSError, safetensors.SafetensorError):  # it is missing, or damaged: then it is made anew
        with safetensors.safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("of") == of:
                return torch.as_tensor(file.get_tensor("taught")).float()
    taught = taught_tokens(stem, pictures)
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(path, save_tensors({"taught": taught.half()}, {"of": of}))
    return taught.half().float()


def _split(
    training: StemTraining,
    parent: Path,
    name: str,
    place: int,
    kept: Path | None,
    tokens: Path | None,
    say: Callable[[str], None],
) -> Split:
    """Pictures and labelled windows of one split of the data set."""
    folder = WindowFolder(training.dataset)
    checkpoint: Checkpoint = read_checkpoint(parent)
    windows = folder.load(checkpoint.config.modalities, [name])
    windows = windows.select(np.arange(0, len(windows), training.every))
    path = None if tokens is None else kept_tokens_path(tokens, model_digest(parent), folder, name, training.every)
    if path is not None and path.is_file():
        known = WindowTokens.read(path)
    else:
        stamps_ns = folder.stamps_ns()
        known = FrozenModel(*load_checkpoint(parent)).stem_tokens(
            windows, stamps_ns if windows.place is None else stamps_ns[windows.place]
        )
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            known.save(path)
    names = [known.bags[i] for i in np.unique(known.bag)]
    folders = recording_folders(names, [Path(drives) for drives in training.drives])
    spec = checkpoint.config.modalities[place]
    recordings = {bag: camera_pictures(path, spec, kept) for bag, path in folders.items()}
    say(f"{name}: pictures of {len(recordings)} recordings")
    pictures = CameraWindows(spec, recordings)
    live = known.live.all(1)
    if not live.any():
        seen, expected = "no window in which all sensors were live", "one or more"
        raise DataError(f"split {name} of {training.dataset}", seen, expected, "make the data set of other recordings")
    known, labels = known.select(np.flatnonzero(live)), windows.labels[live]
    places = np.stack([pictures.ending(known.bags[bag], int(end)) for bag, end in zip(known.bag, known.stamp_ns)])
    return Split(pictures, LabelledWindows(known, places, labels))


# ---- the state of a run


def save_state(trainer: StemTrainer, folder: Path) -> None:
    """Write weights, their average, the optimiser and the number of steps to folder/state.safetensors, replaced as a whole."""
    tensors = {f"stem.{n}": t for n, t in trainer.stem.state_dict().items()}
    tensors |= {f"ema.{n}": t for n, t in trainer.ema.state_dict().items()}
    for i, slots in trainer.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{i}.{key}": t for key, t in slots.items()}
    metadata = {"steps": str(trainer.steps), "recipe": json.dumps(_recipe(trainer), sort_keys=True)}
    write_atomically(folder / STATE_FILE, save_tensors({n: t.contiguous() for n, t in tensors.items()}, metadata))


def load_state(trainer: StemTrainer, folder: Path) -> None:
    """Bring a fresh trainer to where the saved one was. Raises CheckpointError where there is nothing, or another recipe."""
    path = folder / STATE_FILE
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        tensors, steps, recipe = load_file(path), int(metadata["steps"]), metadata["recipe"]
    except (OSError, safetensors.SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(f"training state {path}", reason_of(error), "a run to resume", "drop --resume") from error
    then, now = json.loads(recipe), json.loads(json.dumps(_recipe(trainer)))
    if changed := sorted(key for key in {*then, *now} if then.get(key) != now.get(key)):
        seen = f"another run (differs in {', '.join(changed)})"
        expected = "the recipe, the model and the data that the run was started with"
        raise CheckpointError(f"training state {path}", seen, expected, "start again in another --out")

    def part(prefix: str) -> dict[str, Any]:
        return {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}

    slots: dict[int, dict[str, torch.Tensor]] = {}
    for name, t in part("optimiser.").items():
        index, key = name.split(".")
        slots.setdefault(int(index), {})[key] = t
    trainer.stem.load_state_dict(part("stem."))
    trainer.ema.load_state_dict(part("ema."))
    trainer.optimiser.load_state_dict({**trainer.optimiser.state_dict(), "state": slots})
    trainer.steps = steps


def _recipe(trainer: StemTrainer) -> dict[str, Any]:
    return {"recipe": asdict(trainer.recipe), "seed": trainer.seed, **trainer.learns_from}
