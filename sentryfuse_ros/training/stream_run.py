"""A whole training of a network with a patch encoder on the depth of UTD-MHAD: network, accuracies, router, checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from ..datasets import utd_mhad
from ..datasets.repacked import read_ragged
from ..model.config import FuseConfig
from ..model.fuse import SentryFuse
from ..model.saved import save_checkpoint
from ..streaming.change_rule import ChangeRule
from .depth_clips import DepthFrames
from .depth_room import Pose
from .stale_tokens import FULL, LIGHT, encoded_anew, patch_view
from .stream_recipe import StreamTraining
from .stream_trainer import StreamTrainer, clip_logits, patch_tokenizer_of

REPORT_EVERY = 100  # steps
DEPTH_FILE, SKELETON_FILE = "depth_60x80_u16mm.npz", "skeleton.npz"
ORIGIN = "the recordings are at https://personal.utdallas.edu/~kehtar/UTD-MHAD.html"


def load_frames(device: str | torch.device = "cpu") -> DepthFrames:
    """All recordings of UTD-MHAD on a device. Raises DataError where the files are missing."""
    depth, skeleton = (read_ragged("utd_mhad", name, ORIGIN) for name in (DEPTH_FILE, SKELETON_FILE))
    return DepthFrames.of_tables(depth, skeleton, utd_mhad.DEPTH_HZ, device)


def train_stream(training: StreamTraining, out: Path, say: Callable[[str], None], command: str = "") -> Path:
    """Train, and write the model into ``out``. Raises SentryFuseError on missing data or a wrong recipe."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(training.seed)
    config = FuseConfig.from_dict({**training.model, "modalities": [training.spec.to_dict()], "classes": utd_mhad.CLASSES})
    frames = load_frames(device)
    model = SentryFuse(config).to(device)
    trainer = StreamTrainer(model, frames, frames.recordings(training.train_subjects).tolist(), training.recipe, training.seed)
    batches = trainer.batches()
    for step in range(training.steps):
        report = trainer.step(next(batches), step / training.steps)
        if (step + 1) % REPORT_EVERY == 0:
            say(f"step {step + 1}: loss {float(report.loss):.3f}, {float(report.correct):.2f} correct")
    metrics = {}
    if training.validation_subjects:
        metrics = validation_accuracies(trainer.ema_model, frames, training.validation_subjects)
        say("validation: " + ", ".join(f"{name} {value:.3f}" for name, value in metrics.items()))
    info = {
        "command": command,
        "recipe": training.to_dict(),
        "data": {
            "dataset": "utd_mhad",
            "provenance": utd_mhad.PROVENANCE,
            "train_groups": list(training.train_subjects),
            "validation_groups": list(training.validation_subjects),
        },
        "metrics": metrics,
        "streaming": dict(training.streaming),
    }
    return save_checkpoint(trainer.ema_model.cpu(), out, info)


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
        patches = patch_view(clips.depth_m, options.patch, options.window, rule.pixel_step)
        none = torch.zeros(patches.shape[:3], dtype=torch.bool, device=device)
        for name, found in correct.items():
            dense = torch.full((len(part),), name != "streamed", device=device)
            most = torch.full((len(part),), patches.shape[2], device=device)
            encoded = encoded_anew(patches, clips.valid, rule, most, none[..., 0], none, dense)
            branch = torch.full(clips.valid.shape, LIGHT if name == "light" else FULL, device=device)
            logits = clip_logits(model, clips, encoded, branch)
            found.append((logits.argmax(1) == clips.labels).cpu().numpy())
    return {f"validation_accuracy_{name}": round(float(np.concatenate(found).mean()), 4) for name, found in correct.items()}
