"""From a trained model and a data set of simulated drives to the model's caption head, in one call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ..datasets.window_folder import WindowFolder
from ..errors import DataError, ParameterError
from ..files import check_writable, make_folder
from ..model.saved import load_checkpoint
from ..model.subnetwork import whole_stems
from .checkpoint import captions_path, model_digest, read_captions, write_captions
from .config import CaptionConfig
from .decoder import checkpoint_of
from .examples import CaptionExamples, tokens_of_folder, with_truth
from .facts import USED
from .sentence_scores import FactScore, score_facts
from .speaker import Speaker
from .trainer import CaptionSchedule, CaptionTrainer, StepReport
from .vocabulary import learned_words
from .window_tokens import FrozenModel, WindowTokens, kept_tokens_path

CHECKED = 300  # validation windows whose sentences are checked after the training


@dataclass(frozen=True)
class CaptionTask:
    """What to train.

    model: folder of the trained model. dataset: folder of `sentryfuse dataset`. drives: folders that the recordings lie in. out:
    file to write, None for the one beside the model. tokens: folder in which the tokens of the windows are kept for another run,
    None to keep none. every: only every so many-th window, because neighbours are alike. start_from: the head to begin with, as
    that of earlier weights of the model, None for a new one.
    """

    model: Path
    dataset: Path
    drives: tuple[Path, ...]
    out: Path | None = None
    tokens: Path | None = None
    every: int = 2
    start_from: Path | None = None
    schedule: CaptionSchedule = field(default_factory=CaptionSchedule)
    device: str = "cpu"
    command: str = ""


class CaptionResult(NamedTuple):
    """The file, its number of parameters, and how true its sentences are on validation drives with all sensors."""

    path: Path
    parameters: int
    validation: FactScore


def train_captions(
    task: CaptionTask,
    report: Callable[[StepReport], None] = lambda step: None,
    progress: Callable[[str, float], None] = lambda split, done: None,
) -> CaptionResult:
    """Train a head, check it on the validation drives, and write it. The model does not change.

    ``report`` hears of the loss, ``progress`` of the share of a split's windows that are tokens by now. Raises SentryFuseError:
    what can be refused is refused before the long part of the work.
    """
    if task.device == "cuda" and not torch.cuda.is_available():
        raise ParameterError("device", "cuda", "a CUDA device that torch can use", "set it to cpu")
    frozen = FrozenModel(*load_checkpoint(task.model), task.device)
    classes, names = frozen.config.classes, frozen.config.names
    config = CaptionConfig.of(frozen.config, frozen.lengths, learned_words(classes, names))
    for folder in task.drives:
        if not folder.is_dir():
            raise DataError("drives", f"no folder {folder}", "folders of simulated drives", "give those that the data set is of")
    start = read_captions(task.start_from) if task.start_from is not None else None
    path = task.out or captions_path(task.model)
    check_writable(path)
    if task.tokens is not None:
        make_folder(task.tokens)
    examples = {split: _examples(task, frozen, split, progress) for split in ("train", "val")}
    learned, validation = ((examples[split].windows, examples[split].facts) for split in ("train", "val"))
    trainer = CaptionTrainer(frozen, config, *learned, validation, task.schedule)
    if start is not None:
        trainer.start_from(start)
    decoder = trainer.train(report)
    checkpoint = checkpoint_of(decoder, {})
    checked = _some(examples["val"], CHECKED)
    truth = check(Speaker(checkpoint), frozen, checked)
    info = {
        "model_sha256": model_digest(task.model),
        "command": task.command,
        "data": {split: f"{len(ex)} windows of {len(set(ex.windows.bag.tolist()))} drives" for split, ex in examples.items()},
        "metrics": {"validation_facts_true": round(truth.true, 4), "validation_sentences": len(checked)},
    }
    write_captions(config, checkpoint.tensors, path, info)
    return CaptionResult(path, sum(values.size for values in checkpoint.tensors.values()), truth)


def check(speaker: Speaker, frozen: FrozenModel, examples: CaptionExamples) -> FactScore:
    """How true the sentences are with all sensors and the whole network."""
    names = frozen.config.names
    states = dict.fromkeys(names, USED)
    part = whole_stems(frozen.config, (True,) * len(names), 0.0)
    sentences = [speaker.say(window, states).words for window in frozen.fused_windows(examples.windows, part)]
    return score_facts(sentences, [truth.with_sensors(states) for truth in examples.truths])


def _some(examples: CaptionExamples, count: int) -> CaptionExamples:
    return examples.select(np.unique(np.linspace(0, len(examples) - 1, min(count, len(examples))).astype(np.int64)))


def _examples(task: CaptionTask, frozen: FrozenModel, split: str, progress: Callable[[str, float], None]) -> CaptionExamples:
    folder, kept = WindowFolder(task.dataset), None
    if task.tokens is not None:
        kept = kept_tokens_path(task.tokens, model_digest(task.model), folder, split, task.every)
    if kept is not None and kept.is_file():
        windows = WindowTokens.read(kept)
    else:
        windows = tokens_of_folder(frozen, folder, split, task.every, lambda done: progress(split, done))
        if kept is not None:
            windows.save(kept)
    examples = with_truth(windows, task.drives)
    if not len(examples):
        raise DataError(f"split {split} of {task.dataset}", "no window with a truth", "at least one", "give longer drives")
    return examples
