"""How well a caption head says what is true, beside two controls, and how long a sentence takes (docs/CAPTIONS.md).

    .venv/bin/python -m benchmarks.captions --dataset runs/ground/windows --drives runs/ground/worlds

Every window of the test drives is described with all sensors, and with each one missing in turn. References are composed in
wordings that no training has seen. The controls are a template that is filled from the classifier's answer, and the sentence of
the training window with the most similar fused tokens; both know the states of the sensors. Needs pycocoevalcap and, for METEOR,
Java. --coco ANNOTATIONS RESULTS scores captions in COCO's layout instead.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sentryfuse_ros.datasets.window_folder import WindowFolder
from sentryfuse_ros.files import write_atomically
from sentryfuse_ros.language.checkpoint import model_digest
from sentryfuse_ros.language.coco import read_annotations, read_results
from sentryfuse_ros.language.controls import NearestSentence, template_sentence
from sentryfuse_ros.language.examples import CaptionExamples, tokens_of_folder, with_truth
from sentryfuse_ros.language.facts import SENSOR_STATES, USED, Truth
from sentryfuse_ros.language.grammar import compose
from sentryfuse_ros.language.sentence_scores import score_facts, score_wording
from sentryfuse_ros.language.speaker import FusedWindow, Speaker
from sentryfuse_ros.language.window_tokens import FrozenModel
from sentryfuse_ros.language.wordings import HELD_OUT, LEARNED
from sentryfuse_ros.machine import machine
from sentryfuse_ros.model.saved import load_checkpoint
from sentryfuse_ros.model.subnetwork import Subnetwork, whole_stems
from sentryfuse_ros.runtime.engine import Engine

REFERENCES = 5  # per window
RESAMPLES = 1000  # of the drives, for an interval
FAULTS = SENSOR_STATES[2:]
SENTENCES_TIMED, INFERENCES_TIMED = 200, 500
PERCEIVED = ("ground", "change", "ahead", "speed", "turn", "condition")  # kinds of facts that no liveness tells


@dataclass(frozen=True)
class Case:
    """A way in which the windows are described: the subnetwork and the share of the head that is left out."""

    name: str
    part: Subnetwork
    ratio: float = 0.0


class Bench:
    """One head on test windows, with the training windows that the second control looks among."""

    def __init__(self, model: Path, test: CaptionExamples, known: CaptionExamples, frozen: FrozenModel):
        self.frozen, self.test, self.known = frozen, test, known
        self.speaker = Speaker.load(model, model_digest(model))
        self.names = frozen.config.names

    def measure(self, case: Case) -> dict[str, object]:
        """Head and controls on all test windows."""
        rng = np.random.default_rng(0)
        windows = list(self.frozen.fused_windows(self.test.windows, case.part))
        states = [self._states(case.part, rng) for _ in windows]
        truths = [truth.with_sensors(row) for truth, row in zip(self.test.truths, states)]
        known = list(self.frozen.fused_windows(self.known.windows, case.part))
        nearest = NearestSentence(self.frozen.lengths, known, self.known.facts)
        classes = self.frozen.config.classes
        ways: dict[str, Callable[[FusedWindow, Mapping[str, str]], str]] = {
            "head": lambda window, row: self.speaker.say(window, row, case.ratio).words,
            "template": lambda window, row: template_sentence(classes[int(window.probabilities.argmax())], row, rng),
            "nearest": lambda window, row: nearest.say(window, row, rng),
        }
        references = {
            kind: [[compose(truth.facts, rng, wordings) for _ in range(REFERENCES)] for truth in truths]
            for kind, wordings in (("held_out", HELD_OUT), ("learned", LEARNED))
        }
        found: dict[str, object] = {"case": case.name, "windows": len(windows)}
        for way, say in ways.items():
            sentences = [say(window, row) for window, row in zip(windows, states)]
            found[way] = self._scores(sentences, truths, references)
            if way == "head":
                found["examples"] = [
                    {"said": said, "one reference": row[0]}
                    for said, row in zip(
                        sentences[:: max(1, len(sentences) // 6)], references["learned"][:: max(1, len(sentences) // 6)]
                    )
                ]
        return found

    def _states(self, part: Subnetwork, rng: np.random.Generator) -> dict[str, str]:
        used = zip(self.names, part.used)
        return {name: USED if here else FAULTS[int(rng.integers(len(FAULTS)))] for name, here in used}

    def _scores(
        self, sentences: Sequence[str], truths: Sequence[Truth], references: Mapping[str, Sequence[Sequence[str]]]
    ) -> dict[str, object]:
        facts = score_facts(sentences, truths)
        stated = sum(facts.by_kind.get(kind, (0, 0))[0] for kind in (*PERCEIVED, "strange word"))
        true = sum(facts.by_kind.get(kind, (0, 0))[1] for kind in PERCEIVED)
        return {
            "facts": asdict(facts),
            "facts_true_interval": self._interval(sentences, truths),
            "perceived_facts_true": true / max(1, stated),
            "held_out": score_wording(sentences, references["held_out"]),
            "learned": score_wording(sentences, references["learned"], with_meteor=False),  # which takes longest
        }

    def _interval(self, sentences: Sequence[str], truths: Sequence[Truth]) -> list[float]:
        """95 % interval of the share of true statements, by resampling drives: windows of one drive are alike."""
        scores = [score_facts([said], [truth]) for said, truth in zip(sentences, truths)]
        stated = np.array([score.statements for score in scores])
        true = np.array([round(score.true * score.statements) if score.statements else 0 for score in scores])
        drives = np.unique(self.test.windows.bag)
        per_drive = np.array([[true[self.test.windows.bag == d].sum(), stated[self.test.windows.bag == d].sum()] for d in drives])
        rng = np.random.default_rng(1)
        draws = per_drive[rng.integers(len(drives), size=(RESAMPLES, len(drives)))].sum(1)
        return [round(float(x), 4) for x in np.percentile(draws[:, 0] / draws[:, 1], [2.5, 97.5])]

    def time_ms(self) -> dict[str, float]:
        """What a sentence takes on one thread, by the head's level, all sensors in use: median and 99th percentile [ms]."""
        part = whole_stems(self.frozen.config, (True,) * len(self.names), 0.0)
        chosen = self.test.windows.select(np.arange(min(SENTENCES_TIMED, len(self.test))))
        windows = list(self.frozen.fused_windows(chosen, part))
        states = dict.fromkeys(self.names, USED)
        self.speaker.warm()
        taken: dict[float, list[float]] = {level: [] for level in self.speaker.config.ratio_levels}
        words: list[int] = []
        for window in windows:
            for level, times in taken.items():
                began = time.perf_counter()
                caption = self.speaker.say(window, states, level)
                times.append((time.perf_counter() - began) * 1e3)
                words.append(len(caption.words.split()))
        found = {f"median_at_{level:g}": float(np.median(times)) for level, times in taken.items()}
        found |= {f"p99_at_{level:g}": float(np.percentile(times, 99)) for level, times in taken.items()}
        return {**found, "words": float(np.mean(words))}


def inference_ms(model: Path) -> dict[str, float]:
    """Median time of an inference with all sensors, without a caption head and with one (which needs tokens), in turns [ms]."""
    engines = {name: Engine.load(model, gives_tokens=gives) for name, gives in (("without_head", False), ("with_head", True))}
    rng = np.random.default_rng(0)
    taken: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(INFERENCES_TIMED):
        for name, engine in engines.items():
            window = {spec.name: rng.standard_normal(spec.shape).astype(np.float32) for spec in engine.specs}
            engine.prime(window)
            taken[name].append(engine.infer(window, np.ones(len(engine.specs), bool), 0.0).duration_s * 1e3)
    return {name: float(np.median(times)) for name, times in taken.items()}


def cases(frozen: FrozenModel) -> list[Case]:
    """All sensors, each one missing, and two pruned plans."""
    config, count = frozen.config, len(frozen.config.names)
    everyone = (True,) * count
    found = [Case("all sensors", whole_stems(config, everyone, 0.0))]
    for i, name in enumerate(config.names):
        found.append(Case(f"no {name}", whole_stems(config, tuple(j != i for j in range(count)), 0.0)))
    small = tuple(len(config.tokenizer[name].sizes) for name in config.names)
    middle = tuple(min(1, size) for size in small)
    found.append(Case("pruned: smaller stems, 2 layers, head at 0.5", Subnetwork(everyone, middle, 2, 0.5), 0.5))
    found.append(Case("pruned: smallest stems, 1 layer, head at 0.75", Subnetwork(everyone, small, 1, 0.5), 0.75))
    return found


def load(frozen: FrozenModel, dataset: Path, drives: Sequence[Path], group: str, count: int) -> CaptionExamples:
    """At most ``count`` windows of a split, evenly spread."""
    folder = WindowFolder(dataset)
    total = len(folder.load(frozen.config.modalities, [group]))
    return with_truth(tokens_of_folder(frozen, folder, group, max(2, -(-total // count))), drives)


def summary(results: Sequence[Mapping[str, object]], times: Mapping[str, float]) -> dict[str, float]:
    """The figures that matter most: of all sensors, and the mean of those with one missing."""

    def head(case: str) -> Any:
        return next(r["head"] for r in results if r["case"] == case)

    missing = [str(r["case"]) for r in results if str(r["case"]).startswith("no ")]
    found = {
        "caption_cider": head("all sensors")["held_out"]["cider"],
        "caption_facts_true": head("all sensors")["facts"]["true"],
        "caption_facts_true_one_missing": float(np.mean([head(case)["facts"]["true"] for case in missing])),
        "caption_ms": times["median_at_0"],
    }
    return {name: round(value, 4) for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--model", type=Path, default=Path("models/ground_robot"))
    parser.add_argument("--dataset", type=Path, help="windows of the test drives")
    parser.add_argument("--known", type=Path, help="windows of the training drives (default: --dataset)")
    parser.add_argument("--drives", type=Path, nargs="+", action="extend", default=[], help="folders of the drives")
    parser.add_argument("--windows", type=int, default=2000, help="test windows (default: %(default)s)")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/captions.json"))
    parser.add_argument("--time-only", action="store_true", help="measure the time only, and renew it in --json")
    parser.add_argument("--coco", type=Path, nargs=2, metavar=("ANNOTATIONS", "RESULTS"), help="score these captions instead")
    args = parser.parse_args()
    if args.coco:
        images = read_annotations(args.coco[0])
        print(json.dumps(score_wording(read_results(args.coco[1], images), [image.captions for image in images]), indent=1))
        return
    if args.dataset is None or not args.drives:
        parser.error("--dataset and --drives are needed: the windows of the drives, and the drives with their truth")
    if args.time_only and not args.json.is_file():
        parser.error(f"--json {args.json}: no such file; --time-only renews the times in one that a run without it wrote")
    if not args.time_only and find_spec("pycocoevalcap") is None:
        parser.error("no package pycocoevalcap, which scores captions; install it with .venv/bin/pip install pycocoevalcap==1.2")
    torch.set_num_threads(1)
    frozen = FrozenModel(*load_checkpoint(args.model))
    count = SENTENCES_TIMED if args.time_only else args.windows
    test = load(frozen, args.dataset, args.drives, "test", count)
    known = test if args.time_only else load(frozen, args.known or args.dataset, args.drives, "train", 4000)
    bench = Bench(args.model, test, known, frozen)
    if args.time_only:
        report = json.loads(args.json.read_text())
        report |= {"times": bench.time_ms(), "inference_ms": inference_ms(args.model), "timed_on": machine(1)}
        report["summary"] = summary(report["cases"], report["times"])
    else:
        results = []
        for case in cases(frozen):
            results.append(bench.measure(case))
            print(json.dumps({k: v for k, v in results[-1].items() if k != "examples"}), flush=True)
        times = bench.time_ms()
        report = {
            "model_sha256": model_digest(args.model),
            "head": bench.speaker.info,
            "test_windows": len(test),
            "known_windows": len(known),
            "cases": results,
            "times": times,
            "inference_ms": inference_ms(args.model),
            "timed_on": machine(1),
            "summary": summary(results, times),
        }
    write_atomically(args.json, json.dumps(report, indent=1) + "\n")
    print(json.dumps(report["summary"], indent=1))


if __name__ == "__main__":
    main()
