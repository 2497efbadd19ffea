"""A whole training of a network with a patch encoder on the depth of UTD-MHAD: both stages, accuracies, checkpoint."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ..datasets import utd_mhad
from ..datasets.repacked import read_ragged
from ..errors import CheckpointError, ParameterError
from ..model.config import FuseConfig
from ..model.fuse import SentryFuse
from ..model.saved import load_checkpoint, save_checkpoint
from ..paths import model_path
from ..streaming.change_rule import ChangeRule
from ..streaming.stream_config import StreamConfig
from .depth_clips import DepthFrames
from .depth_room import Pose
from .drawn_streams import StreamMix
from .stale_tokens import FULL, LIGHT, encoded_anew, patch_view
from .stream_codes import CodeStore
from .stream_pairs import PairTrainer
from .stream_readout import ReadoutTrainer
from .stream_recipe import ReadoutRecipe, StreamRecipe, StreamTraining
from .stream_trainer import StreamTrainer, clip_logits, patch_tokenizer_of

REPORT_EVERY = 100  # steps; the state of a second stage is written as often
FIRST_STAGE, CODES, STATE_FILE = "first_stage", "codes", "state.safetensors"  # in the folder of the model
DEPTH_FILE, SKELETON_FILE = "depth_60x80_u16mm.npz", "skeleton.npz"
ORIGIN = "the recordings are at https://personal.utdallas.edu/~kehtar/UTD-MHAD.html"


def load_frames(device: str | torch.device = "cpu") -> DepthFrames:
    """All recordings of UTD-MHAD on a device. Raises DataError where the files are missing."""
    depth, skeleton = (read_ragged("utd_mhad", name, ORIGIN) for name in (DEPTH_FILE, SKELETON_FILE))
    return DepthFrames.of_tables(depth, skeleton, utd_mhad.DEPTH_HZ, device)


def train_stream(
    training: StreamTraining, out: Path, say: Callable[[str], None], command: str = "", start: Path | None = None
) -> Path:
    """Train, and write the model into ``out``. A second stage that was interrupted goes on where it was.

    start: model to begin the second stage with, in place of the first. Raises SentryFuseError on missing data or a wrong recipe.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(training.seed)
    config = FuseConfig.from_dict({**training.model, "modalities": [training.spec.to_dict()], "classes": utd_mhad.CLASSES})
    frames = load_frames(device)
    _check_subjects(training, frames)
    begun = _begun(training) if start is None else None
    started = None if start is None else _started(start, config, training)
    known = started or begun
    streaming = dict(training.streaming) or dict(known.info.get("streaming", {}) if known else {})
    info: dict[str, Any] = {
        "command": command,
        "recipe": training.to_dict(),
        "data": {
            "dataset": "utd_mhad",
            "provenance": utd_mhad.PROVENANCE,
            "train_groups": list(training.train_subjects),
            "validation_groups": list(training.validation_subjects),
        },
        "streaming": streaming,
    }
    if started is None:
        model = _first_stage(training, config, frames, streaming, begun, say)
    else:
        model = started.model.to(device)
    if training.readout is not None:
        if started is None:
            first = save_checkpoint(model, out / FIRST_STAGE, info)
            say(f"first stage written to {first}; should the second one be interrupted, go on with --start-from {first}")
        model = _second_stage(training, training.readout, model, frames, streaming, out / CODES, say)
    if training.validation_subjects:
        info["metrics"] = metrics = validation_accuracies(model, frames, training.validation_subjects)
        say("validation: " + ", ".join(f"{name} {value:.3f}" for name, value in metrics.items()))
    folder = save_checkpoint(model, out, info)
    shutil.rmtree(out / CODES, ignore_errors=True)  # gigabytes that nothing needs any more
    return folder


class _Begun(NamedTuple):
    """The model whose weights a stage begins with."""

    name: str
    model: SentryFuse
    info: dict[str, Any]


def _begun(training: StreamTraining) -> _Begun | None:
    """What the recipe's `begin_with` names; None where it names nothing."""
    name = training.begin_with
    if not name:
        return None
    model, info = load_checkpoint(model_path(name))
    _check_unseen("begin_with", name, info, training)
    return _Begun(name, model, info)


def _check_unseen(option: str, name: str, info: Mapping[str, Any], training: StreamTraining) -> None:
    """Raises ParameterError where a model to begin with has learned from subjects that are validated on."""
    known = set(info.get("data", {}).get("train_groups", ())) & set(training.validation_subjects)
    if known:
        seen, expected = f"{name}, trained on {sorted(known)}", "a model that has not seen the validation subjects"
        raise ParameterError(option, seen, expected, "name another one, or validate on other subjects")


def _check_subjects(training: StreamTraining, frames: DepthFrames) -> None:
    """Raises ParameterError for subjects without a recording."""
    known = set(frames.subjects.tolist())
    for what, subjects in (("train", training.train_subjects), ("validation", training.validation_subjects)):
        if unknown := sorted(set(subjects) - known):
            raise ParameterError(f"stream recipe {what}_subjects", unknown, f"among {sorted(known)}", "correct the training YAML")


def _first_stage(
    training: StreamTraining,
    config: FuseConfig,
    frames: DepthFrames,
    streaming: Mapping[str, Any],
    begun: _Begun | None,
    say: Callable[[str], None],
) -> SentryFuse:
    model = SentryFuse(config)
    if begun is not None:
        say(_take_weights(model, begun))
    model.to(frames.people_mm.device)
    recordings, recipe = frames.recordings(training.train_subjects).tolist(), training.recipe
    trainer = (
        PairTrainer(model, frames, recordings, recipe, training.seed, stream_to_follow(recipe, streaming))
        if recipe.paired
        else StreamTrainer(model, frames, recordings, recipe, training.seed)
    )
    batches = trainer.batches()
    for step in range(training.steps):
        report = trainer.step(next(batches), step / training.steps)
        if (step + 1) % REPORT_EVERY == 0:
            say(f"step {step + 1}: loss {float(report.loss):.3f}, {float(report.correct):.2f} correct")
    return trainer.ema_model


def stream_to_follow(recipe: StreamRecipe | ReadoutRecipe, streaming: Mapping[str, Any]) -> StreamConfig | None:
    """Policy and router that the share `routed` of the streams follows, at every pruning ratio; None where that share is 0."""
    if not recipe.routed:
        return None
    config = replace(StreamConfig.from_dict(streaming), route_from_ratio=0.0)
    if config.router != "learned" or config.weights is None:
        raise ParameterError(
            "stream recipe routed",
            f"{recipe.routed} with the router {config.router!r}",
            "a section `streaming` with a learned router",
            "take that of another model with --begin-with, or set routed to 0",
        )
    return config


def _take_weights(model: SentryFuse, begun: _Begun) -> str:
    """Copy the tensors of another model that have the same name and shape; says how many."""
    own = model.state_dict()
    taken = {name: t for name, t in begun.model.state_dict().items() if name in own and own[name].shape == t.shape}
    if not taken:
        raise CheckpointError(f"model {begun.name}", "no tensor that fits", "a model like that of the recipe", "name another one")
    model.load_state_dict({**own, **taken})
    return f"begun with {len(taken)} of {len(own)} tensors from {begun.name}"


def _started(start: Path, config: FuseConfig, training: StreamTraining) -> _Begun:
    """The network that a second stage begins with."""
    if training.readout is None:
        raise ParameterError(
            "--start-from", str(start), "a recipe with a section `readout`", "add the section, or leave --start-from out"
        )
    model, info = load_checkpoint(start)
    if model.config.to_dict() != config.to_dict():
        raise CheckpointError(
            f"model {start}", "another network", "the one of the recipe", "correct its sections camera and model"
        )
    _check_unseen("--start-from", str(start), info, training)
    return _Begun(str(start), model, info)


def _second_stage(
    training: StreamTraining,
    recipe: ReadoutRecipe,
    model: SentryFuse,
    frames: DepthFrames,
    streaming: Mapping[str, Any],
    folder: Path,
    say: Callable[[str], None],
) -> SentryFuse:
    """The average of the network at the end of the second stage, whose state and codes are kept in ``folder`` meanwhile."""
    recordings = frames.recordings(training.train_subjects).tolist()
    mix = StreamMix(recipe.frugal, recipe.routed, stream_to_follow(recipe, streaming))
    key = hashlib.sha256(json.dumps([recordings, training.seed, asdict(mix)], sort_keys=True).encode())
    for _, tensor in sorted(model.state_dict().items()):
        key.update(tensor.cpu().numpy().tobytes())
    options = patch_tokenizer_of(model).options
    shape = (model.config.modalities[0].shape[0], int(np.prod(options.window_grid(model.config.modalities[0]))), options.code)
    store = CodeStore(folder, recordings, recipe.augmentations, shape)
    store.build(model, frames, mix, key.hexdigest(), training.seed, say)
    key.update(json.dumps(asdict(recipe), sort_keys=True).encode())
    trainer, state = ReadoutTrainer(model, store, recipe, training.seed), folder / STATE_FILE
    if trainer.load(state, key.hexdigest()):
        say(f"second stage goes on after step {trainer.steps}")
    while trainer.steps < recipe.steps:
        report = trainer.step()
        if trainer.steps % REPORT_EVERY == 0:
            trainer.save(state, key.hexdigest())
            say(f"second stage, step {trainer.steps}: loss {float(report.loss):.3f}, {float(report.correct):.2f} correct")
    return trainer.ema_model


def validation_accuracies(model: SentryFuse, frames: DepthFrames, subjects: Sequence[int], seed: int = 7) -> dict[str, float]:
    """Accuracy after the last picture of the recordings of some subjects: encoded whole, by the light branch, and streamed."""
    device, options = frames.people_mm.device, patch_tokenizer_of(model).options
    spec, rule = model.config.modalities[0], ChangeRule()
    random = torch.Generator(device).manual_seed(seed)
    correct: dict[str, list[np.ndarray]] = {"whole": [], "light": [], "streamed": []}
    for part in torch.as_tensor(frames.recordings(subjects), device=device).split(32):
        clips = frames.clips(
            part, spec.shape[0], (spec.shape[2], spec.shape[3]), spec.grid_rate_hz, random, pose=Pose(), speed=0.0, partial=0.0
        )
        patches = patch_view(clips.depth_m, options.patch, options.window, rule.steps)
        none = torch.zeros(patches.shape[:3], dtype=torch.bool, device=device)
        for name, found in correct.items():
            dense = torch.full((len(part),), name != "streamed", device=device)
            most = torch.full((len(part),), patches.shape[2], device=device)
            encoded = encoded_anew(patches, clips.valid, rule, most, none[..., 0], none, dense)
            branch = torch.full(clips.valid.shape, LIGHT if name == "light" else FULL, device=device)
            logits = clip_logits(model, clips, encoded, branch)
            found.append((logits.argmax(1) == clips.labels).cpu().numpy())
    return {f"validation_accuracy_{name}": round(float(np.concatenate(found).mean()), 4) for name, found in correct.items()}
