"""A ground network whose camera is a stream: its accuracy, what the stream saves, and what is left of the captions.

    .venv/bin/python -m benchmarks.streamed_captions --model runs/ground_patches --dataset runs/ground/windows \
        --drives runs/ground/worlds --standing-dataset runs/standing/windows --standing-drives runs/standing/worlds

--model is a network of `sentryfuse train-stem` with a caption head beside it (`sentryfuse train-captions`); --parent the network
whose stem it replaces. Test drives are played as whole streams, picture by picture with the gyro, and a sentence is made of each
window: once with every picture encoded whole, and with the stream. Of the standing drives only the windows count in which the
robot stood. Needs pycocoevalcap. docs/GROUND_STREAM.md explains the figures.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sentryfuse_ros.datasets.window_folder import WindowFolder
from sentryfuse_ros.datasets.windows import WindowSet
from sentryfuse_ros.files import write_atomically
from sentryfuse_ros.language.checkpoint import model_digest, read_captions
from sentryfuse_ros.language.examples import CaptionExamples, with_truth
from sentryfuse_ros.language.facts import USED
from sentryfuse_ros.language.grammar import compose
from sentryfuse_ros.language.sentence_scores import cider_of_each, score_facts
from sentryfuse_ros.language.speaker import Speaker
from sentryfuse_ros.language.window_tokens import FrozenModel, WindowTokens
from sentryfuse_ros.language.wordings import HELD_OUT, LEARNED
from sentryfuse_ros.machine import machine
from sentryfuse_ros.model.checkpoint import Checkpoint
from sentryfuse_ros.model.saved import checkpoint_of, load_checkpoint
from sentryfuse_ros.model.subnetwork import whole_stems
from sentryfuse_ros.preprocessing.normalise import normalise
from sentryfuse_ros.streaming.branches import Branch, branch_share
from sentryfuse_ros.streaming.window_encoder import WindowEncoder

from .ground_streams import CAMERA, Drives, Played, Way
from .stem_times import stem_times

REFERENCES = 5  # per window
RESAMPLES = 1000  # of the drives, for an interval
CAMERA_HZ = 10.0
DENSE, CONVOLUTIONS, STREAMED = "every picture whole", "convolutions", "STTF and ANC"
WHOLE: Mapping[str, Any] = {"rule": {"factor": 0.0}, "watch_motion": False}


def ways(streaming: Mapping[str, Any]) -> list[Way]:
    """Every picture whole, change detection alone (STTF), with the learned router (ANC), and with fixed thresholds."""
    routed = {**streaming, "route_from_ratio": 0.0}
    return [
        Way(DENSE, WHOLE),
        Way("STTF", {**streaming, "router": "none"}),
        Way(STREAMED, routed),
        Way("STTF, fixed thresholds", {**routed, "router": "threshold"}),
        Way("STTF and ANC, motion not looked for", {**routed, "watch_motion": False}, gyro=False),
    ]


class Captions:
    """Sentences of windows, and how good they are, on one set of drives."""

    def __init__(self, speaker: Speaker, frozen: FrozenModel, examples: CaptionExamples):
        self.speaker, self.frozen, self.examples = speaker, frozen, examples
        names = frozen.config.names
        self.states = dict.fromkeys(names, USED)
        self.part = whole_stems(frozen.config, (True,) * len(names), 0.0)
        rng = np.random.default_rng(0)
        self.truths = [truth.with_sensors(self.states) for truth in examples.truths]
        self.references = {
            kind: [[compose(truth.facts, rng, wordings) for _ in range(REFERENCES)] for truth in self.truths]
            for kind, wordings in (("held_out", HELD_OUT), ("learned", LEARNED))
        }

    def said(self, windows: WindowTokens) -> tuple[list[str], np.ndarray]:
        """Sentences (n) and class probabilities (n, C) of windows that lie at the same moments as the examples."""
        fused = list(self.frozen.fused_windows(windows, self.part))
        return [self.speaker.say(w, self.states).words for w in fused], np.stack([w.probabilities for w in fused])

    def measure(self, windows: WindowTokens, chosen: np.ndarray, dense: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Figures of the ``chosen`` windows (bool). ``dense``: CIDEr of each sentence and classes with every picture whole, empty
        where these are those."""
        index = np.flatnonzero(chosen)
        sentences, probabilities = self.said(windows.select(index))
        truths = [self.truths[i] for i in index]
        bags = windows.bag[index]
        found: dict[str, Any] = {"windows": len(index), "drives": len(np.unique(bags))}
        for kind, rows in self.references.items():
            each = cider_of_each(sentences, [rows[i] for i in index])
            found[f"cider_{kind}"] = float(each.mean())
            before = dense.get(kind)
            if before is not None:
                found[f"cider_{kind}_kept"] = float(each.mean() / before.mean())
                found[f"cider_{kind}_kept_interval"] = kept_interval(each, before, bags)
            found[f"_{kind}"] = each
        facts = score_facts(sentences, truths)
        grounds = [self.frozen.config.classes[k] in truth.grounds for k, truth in zip(probabilities.argmax(1), truths)]
        found |= {"facts_true": facts.true, "facts": asdict(facts), "accuracy": float(np.mean(grounds))}
        found |= {"_classes": probabilities.argmax(1), "_sentences": np.array(sentences)}
        if dense:
            found["same_class"] = float((found["_classes"] == dense["classes"]).mean())
            found["same_sentence"] = float((found["_sentences"] == dense["sentences"]).mean())
        return found


def kept_interval(each: np.ndarray, before: np.ndarray, bags: np.ndarray) -> list[float]:
    """95 % interval of the ratio of two means over windows, by resampling drives."""
    drives = np.unique(bags)
    sums = np.array([[each[bags == d].sum(), before[bags == d].sum()] for d in drives])
    draws = sums[np.random.default_rng(1).integers(len(drives), size=(RESAMPLES, len(drives)))].sum(1)
    return [float(x) for x in np.percentile(draws[:, 0] / draws[:, 1], [2.5, 97.5])]


def stream_figures(played: Played, chosen: np.ndarray) -> dict[str, float]:
    """What was done with the ``chosen`` pictures (bool)."""
    branch = branch_share(played.branch[chosen], CAMERA_HZ)
    return {
        "pictures": int(chosen.sum()),
        "windows_encoded": float(played.encoded[chosen].mean()),
        "flops": float(played.flops[chosen].mean()),
        "whole_pictures": float(played.whole[chosen].mean()),
        "camera_moves": float(played.moving[chosen].mean()),
        "reuse": branch.reuse,
        "light": float(((played.branch == Branch.LIGHT) & chosen).sum() / chosen.sum()),
        "full": branch.full,
        "switches_per_s": branch.switches_per_s,
    }


def measure_drives(captions: Captions, drives: Drives, checkpoint: Checkpoint, chosen_ways: Sequence[Way]) -> dict[str, Any]:
    """All ways on one set of drives: by whether the robot stood, and all windows together."""
    encoder = WindowEncoder(checkpoint, CAMERA)
    standing = drives.windows_standing()
    stretches = {"all": np.ones(len(standing), bool), "standing": standing, "driving": ~standing}
    dense: dict[str, dict[str, np.ndarray]] = {name: {} for name in stretches}
    found: dict[str, Any] = {}
    for way in chosen_ways:
        played = drives.play(checkpoint, way, encoder)
        pictures = {"all": np.ones(len(played.standing), bool), "standing": played.standing, "driving": ~played.standing}
        found[way.name] = {}
        for name, windows in stretches.items():
            if not windows.any():
                continue
            figures = captions.measure(played.windows, windows, dense[name])
            own = {key[1:]: figures.pop(key) for key in list(figures) if key.startswith("_")}
            dense[name] = dense[name] or own
            found[way.name][name] = {**figures, "stream": stream_figures(played, pictures[name])}
            short = {k: v for k, v in figures.items() if k != "facts"} | found[way.name][name]["stream"]
            print(
                f"{way.name}, {name}: " + ", ".join(f"{k} {v:.3f}" for k, v in short.items() if isinstance(v, float)), flush=True
            )
    return found


def measure_convolutions(captions: Captions, standing: np.ndarray) -> dict[str, Any]:
    """The old network on the windows as they were extracted: what the head was trained for."""
    found: dict[str, Any] = {}
    for name, windows in {"all": np.ones(len(standing), bool), "standing": standing, "driving": ~standing}.items():
        if windows.any():
            figures = captions.measure(captions.examples.windows, windows, {})
            found[name] = {key: value for key, value in figures.items() if not key.startswith("_")}
            print(f"{CONVOLUTIONS}, {name}: " + ", ".join(f"{k} {v:.3f}" for k, v in found[name].items() if isinstance(v, float)))
    return {CONVOLUTIONS: found}


def accuracies(parent: FrozenModel, frozen: FrozenModel, windows: Windows, steady: np.ndarray) -> dict[str, Any]:
    """Of the old network, the new one, and this with the light branch, on the same windows: with all sensors, with one missing,
    and the camera alone; of the steady windows, and of all."""
    place, names = frozen.config.names.index(CAMERA), frozen.config.names
    light = {**windows.new.tokens, (place, 0): windows.new.tokens[place, len(frozen.config.tokenizer[CAMERA].sizes)]}
    networks = {
        "convolutions": (parent, windows.old),
        "patches": (frozen, windows.new),
        "light branch": (frozen, replace(windows.new, tokens=light)),
    }
    masks = {"all sensors": (True,) * len(names)}
    masks |= {f"no {other}": tuple(n != other for n in names) for other in names}
    masks |= {"camera alone": tuple(n == CAMERA for n in names)}
    found: dict[str, Any] = {}
    for name, (network, tokens) in networks.items():
        for case, mask in masks.items():
            part = whole_stems(network.config, mask, 0.0)
            answers = np.stack([w.probabilities for w in network.fused_windows(tokens, part)])
            right = answers.argmax(1) == windows.labels
            found.setdefault(case, {})[name] = {"steady": float(right[steady].mean()), "all": float(right.mean())}
    return found


class Windows:
    """All windows of one split, as tokens of the old network and of the new one, which differ in the camera's only."""

    def __init__(self, args: argparse.Namespace, folder: Path, parent: FrozenModel, frozen: FrozenModel):
        dataset = WindowFolder(folder)
        self.set = dataset.load(frozen.config.modalities, [args.group])
        stamps_ns = dataset.stamps_ns()
        stamps_ns = stamps_ns if self.set.place is None else stamps_ns[self.set.place]
        path = None if args.keep is None else args.keep / f"{model_digest(args.parent)[:12]}_{folder.name}_{args.group}.npz"
        if path is not None and path.is_file():
            self.old = WindowTokens.read(path)
        else:
            self.old = parent.stem_tokens(self.set, stamps_ns)
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                self.old.save(path)
        place = frozen.config.names.index(CAMERA)
        others = {stem: rows for stem, rows in self.old.tokens.items() if stem[0] != place}
        self.new = replace(self.old, tokens={**others, **camera_tokens(frozen, self.set, place)})
        live = self.old.live.all(1)
        self.index = np.flatnonzero(live)  # every sensor serves

    @property
    def labels(self) -> np.ndarray:
        """Class of each window."""
        return self.set.labels


@torch.inference_mode()
def camera_tokens(frozen: FrozenModel, windows: WindowSet, place: int) -> dict[tuple[int, int], np.ndarray]:
    """Tokens of the camera by each size of its stem."""
    spec = frozen.config.modalities[place]
    found: dict[tuple[int, int], list[np.ndarray]] = {}
    for index in np.array_split(np.arange(len(windows)), max(1, len(windows) // 128)):
        x = torch.from_numpy(normalise(spec, windows.rows(spec.name, index)))
        for size in range(1 + len(frozen.config.tokenizer[spec.name].sizes)):
            rows, _ = frozen.model.tokens_of(place, x, size)
            found.setdefault((place, size), []).append(rows.numpy().astype(np.float16))
    return {stem: np.concatenate(parts) for stem, parts in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--model", type=Path, required=True, help="network with a patch encoder and a caption head")
    parser.add_argument("--parent", type=Path, default=Path("models/ground_robot"), help="the network whose stem it replaces")
    parser.add_argument("--dataset", type=Path, help="windows of the drives")
    parser.add_argument("--drives", type=Path, nargs="+", action="extend", default=[], help="folders of the drives")
    parser.add_argument("--standing-dataset", type=Path, help="windows of drives in which the robot stands")
    parser.add_argument("--standing-drives", type=Path, nargs="+", action="extend", default=[], help="folders of these drives")
    parser.add_argument(
        "--head", type=Path, metavar="FILE", help="caption head to use instead of the model's own, for instance the parent's"
    )
    parser.add_argument("--group", default="test", help="split (default: %(default)s)")
    parser.add_argument("--every", type=int, default=3, help="describe every so many-th window (default: %(default)s)")
    parser.add_argument("--streaming", type=Path, metavar="JSON", help="section `streaming` to use instead of the model's")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep tokens and pictures there for another run")
    parser.add_argument("--time-only", action="store_true", help="measure the times only, and renew them in --json")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/streamed_captions.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    model, info = load_checkpoint(args.model)
    if args.streaming:
        info["streaming"] = json.loads(args.streaming.read_text())
    if "streaming" not in info:
        parser.error(
            f"--model {args.model} is no network of sentryfuse train-stem: it has no section streaming; give --streaming"
        )
    if not args.time_only and args.dataset is None and args.standing_dataset is None:
        parser.error("--dataset or --standing-dataset is needed: without windows there is nothing to describe")
    if not args.time_only and find_spec("pycocoevalcap") is None:
        parser.error("no package pycocoevalcap, which scores captions; install it with .venv/bin/pip install pycocoevalcap==1.2")
    checkpoint, frozen = checkpoint_of(model, info), FrozenModel(model, info)
    report: dict[str, Any] = json.loads(args.json.read_text()) if args.json.is_file() else {}
    parent = load_checkpoint(args.parent)
    if args.time_only:
        folders = args.standing_drives, args.drives
        report["times"] = stem_times(checkpoint, checkpoint_of(*parent), info["streaming"], *folders, _pictures(args))
        report["timed_on"] = machine(1)
    else:
        report |= {"model_sha256": model_digest(args.model), "streaming": info["streaming"], "group": args.group}
        report |= measure(args, FrozenModel(*parent), frozen, checkpoint)
        report["summary"] = summary(report)
    write_atomically(args.json, json.dumps(_rounded(report), indent=1) + "\n")


def measure(args: argparse.Namespace, parent: FrozenModel, frozen: FrozenModel, checkpoint: Checkpoint) -> dict[str, Any]:
    """Everything but the times."""
    speaker = Speaker(read_captions(args.head)) if args.head else Speaker.load(args.model, model_digest(args.model))
    found: dict[str, Any] = {"head": speaker.info}
    sets = {"standing": (args.standing_dataset, args.standing_drives, 1), "drives": (args.dataset, args.drives, args.every)}
    for name, (dataset, folders, every) in sets.items():
        if dataset is None:
            continue
        windows = Windows(args, dataset, parent, frozen)
        if name == "drives":
            steady = np.ones(len(windows.set), bool) if windows.set.steady is None else windows.set.steady
            found["accuracy"] = accuracies(parent, frozen, windows, steady)
            print(json.dumps(found["accuracy"]), flush=True)
        examples = with_truth(windows.new.select(windows.index[::every]), folders)
        drives = Drives(frozen, examples.windows, folders, _pictures(args))
        old = with_truth(windows.old.select(windows.index[::every]), folders)
        before = measure_convolutions(Captions(speaker, parent, old), drives.windows_standing())
        found[name] = before | measure_drives(
            Captions(speaker, frozen, examples), drives, checkpoint, ways(checkpoint.info["streaming"])
        )
    return found


def summary(report: Mapping[str, Any]) -> dict[str, float]:
    """What `sentryfuse bench streaming` repeats, as far as it was measured."""
    places = {"caption_cider_kept": ("drives", "all"), "caption_cider_kept_standing": ("standing", "standing")}
    found = {key: report.get(name, {}).get(STREAMED, {}).get(stretch) for key, (name, stretch) in places.items()}
    return {key: figures["cider_held_out_kept"] for key, figures in found.items() if figures}


def _pictures(args: argparse.Namespace) -> Path | None:
    return None if args.keep is None else args.keep / "pictures"


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(v) for v in value]
    return round(value, 4) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
