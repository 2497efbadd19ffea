"""A recipe to start from, which fits a data set: what `sentryfuse train --example` writes, with the reason for every choice."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from ..datasets.proposed_inputs import ProposedInput
from ..datasets.window_folder import WindowFolder
from ..model.tokenizer_config import TEXTURE_SCALES
from ..preprocessing import ModalitySpec
from ..sensor_kinds import sensor_kind

TOKENS = 20  # of a series; more cost time, fewer blur when something happened
STEPS = 4000  # of the training: enough for a network of this size, and minutes on one CPU core
FEW, MANY = 1500, 10_000  # windows
UNEVEN = 3.0  # times as many windows of one class as of another
SPECTRUM_HZ = 50.0  # slower series carry no vibration
Counts = Mapping[str, Mapping[str, int]]  # split -> label -> windows


def counts_of(folder: WindowFolder) -> Counts:
    """How many windows of each label the splits of a data set have, without those in which the label changes: the recipe leaves
    them out of training."""
    counts: dict[str, Counter[str]] = {bag.split: Counter() for bag in folder.description.bags}
    windows = folder.load(()).steady_only()
    for split, label in zip(windows.groups.tolist(), windows.labels.tolist()):
        counts[split][folder.CLASSES[label]] += 1
    return counts


def inputs_of_windows(folder: WindowFolder) -> list[ProposedInput]:
    """The inputs that the windows of a data set were cut for; a recipe for them must keep these."""
    return [ProposedInput(spec, "as in the data set") for spec in folder.specs]


def example_recipe(dataset: str, inputs: Sequence[ProposedInput], counts: Counts) -> str:
    """The text of a YAML file. ``counts`` is empty where the windows have not been cut yet."""
    windows = sum(counts.get("train", {}).values())
    specs = [proposed.spec for proposed in inputs]
    lines = [
        "# A recipe to start from, made by `sentryfuse train --example`. docs/RECIPE.md explains every key. What to try first:",
        "# a longer window_s where what is to be recognised takes longer, more or fewer epochs, and the strengths under augment.",
        "",
        f"dataset: {_yaml(dataset)}  # {_described(counts)}",
        *_groups(counts),
        "",
        "modalities:  # The order of the sensors is the order of the bits in a mask.",
        *(line for proposed in inputs for line in _modality(proposed)),
        "",
        "model:",
        *_network(windows),
        f"  # Each sensor gives about {TOKENS} tokens, or one per frame.",
        "  tokenizer:",
        *(f"    {_yaml(spec.name)}: {_yaml(_tokenizer(spec))}{_spectrum_text(spec)}" for spec in specs),
        "",
        *_length(windows),
        *_balance(counts),
        "",
        "elastic:",
        "  # The second stage, in which smaller stems (sizes in the tokenizer section) and fewer layers (fusion_sizes) learn to",
        "  # stand in for the whole network, so that a pruned robot saves more time. As many epochs as above; 0 leaves it out.",
        "  epochs: 0",
        "",
        "augment:  # Strengths that suit most robots; 0 switches a part off.",
        *_augment(specs),
    ]
    return "\n".join(lines) + "\n"


def _described(counts: Counts) -> str:
    if not counts:
        return "the folder that sentryfuse dataset will write"
    return ", ".join(f"{split}: {sum(of.values())} windows" for split, of in counts.items()) + " with one label throughout"


def _groups(counts: Counts) -> list[str]:
    has = {split for split, of in counts.items() if of} if counts else {"train", "val", "test"}
    lines = [
        f"train_groups: {_yaml(['train'] if 'train' in has else sorted(has))}",
        f"validation_groups: {_yaml(['val'] if 'val' in has else [])}  # held out of training, for the accuracies on the way",
        f"test_groups: {_yaml(['test'] if 'test' in has else [])}  # read by `sentryfuse evaluate` only",
    ]
    if "val" not in has:
        lines.append("# No recording is for validation: give some with --validate-on, or use --cross-validate.")
    return lines


def _modality(proposed: ProposedInput) -> list[str]:
    spec = proposed.spec
    entry: dict[str, Any] = {"name": spec.name, "kind": spec.kind, "window_s": spec.window_s, "shape": list(spec.shape)}
    if spec.encoding:
        entry["encoding"] = spec.encoding
    if spec.options:
        entry["options"] = {name: _short(value) for name, value in spec.options.items()}
    return [f"  # {proposed.reason}", f"  - {_yaml(entry)}"]


def _network(windows: int) -> list[str]:
    if windows > MANY:
        size, why = dict(d_model=96, layers=4, head_dim=12, ffn_dim=256), f"more than {MANY} training windows"
    else:
        size, why = (
            dict(d_model=64, layers=3, head_dim=8, ffn_dim=128),
            f"up to {MANY} training windows; a larger network would learn them by heart",
        )
    dropout = 0.2 if 0 < windows < FEW else 0.1
    return [f"  # A size for {why}.", *(f"  {key}: {value}" for key, value in size.items()), f"  dropout: {dropout}"]


def _tokenizer(spec: ModalitySpec) -> dict[str, Any]:
    if len(spec.shape) == 2:
        steps = spec.shape[0]
        divisors = [n for n in range(1, steps + 1) if steps % n == 0]
        per_token = min(divisors, key=lambda n: (abs(steps // n - TOKENS), n))
        options: dict[str, Any] = {"steps_per_token": per_token, "stem_channels": 32}
        if length := _spectrum_steps(spec, per_token):
            options["spectrum_steps"] = length
        return options
    rows, columns = spec.shape[2:]
    deep = 4 if min(rows, columns) >= 32 else 3 if min(rows, columns) >= 12 else 2
    options = {"frames_per_token": 1, "stem_channels": [16, 32, 48, 64][:deep], "grid": [min(2, rows), 2]}
    if sensor_kind(spec.kind).rows_adjoin and rows >= 24 and columns >= 3 * 2**TEXTURE_SCALES:
        options["statistics"] = [3, 3]
    return options


def _spectrum_steps(spec: ModalitySpec, per_token: int) -> int:
    """Length of the spectrum of a fast IMU or series: a power of two of about a quarter of the window; 0 for none."""
    if spec.kind == "audio" or spec.shape[0] / spec.window_s < SPECTRUM_HZ:
        return 0
    length = 2 ** max(0, (spec.shape[0] // 4).bit_length() - 1)
    return length if per_token <= length <= spec.shape[0] else 0


def _spectrum_text(spec: ModalitySpec) -> str:
    return "  # spectrum: vibration is known by its frequencies" if "spectrum_steps" in _tokenizer(spec) else ""


def _length(windows: int) -> list[str]:
    batch = 32 if windows < FEW else 64
    if not windows:
        return [f"epochs: 40  # passes over the training windows; aim at about {STEPS} steps", f"batch: {batch}"]
    epochs = max(10, min(200, round(STEPS * batch / windows)))
    steps = epochs * -(-windows // batch)
    return [f"epochs: {epochs}  # {steps} steps", f"batch: {batch}", f"validate_every: {max(1, epochs // 10)}"]


def _balance(counts: Counts) -> list[str]:
    of = [count for count in counts.get("train", {}).values() if count]
    if len(of) < 2 or max(of) / min(of) < UNEVEN:
        return []
    return [f"balance: 0.5  # the largest class has {max(of) / min(of):.0f} times as many windows as the smallest"]


def _augment(specs: Sequence[ModalitySpec]) -> list[str]:
    kinds, lines = {spec.kind for spec in specs}, []
    if "imu" in kinds:
        lines += [
            "  imu_rotation_deg: 5  # Mounting error of the IMU, standard deviation [deg].",
            "  imu_scale: 0.05",
            "  imu_jitter: 0.01  # More noise would drown vibration.",
        ]
    if "series" in kinds:
        names = [spec.name for spec in specs if spec.kind == "series"]
        lines += [
            "  # So that nobody's way of driving is learned by heart; 0 where the level itself tells something.",
            f"  series_scale: {_yaml(dict.fromkeys(names, 0.2))}",
            f"  series_shift: {_yaml(dict.fromkeys(names, 0.2))}",
        ]
    if "camera" in kinds:
        lines += ["  light: 0.3  # Brightness of a camera window.", "  mirror: 0.5  # 0 where left and right differ in meaning."]
    if "lidar" in kinds:
        lines.append("  lidar_drop: 0.05  # Largest share of cells that lose their return.")
    return lines or ["  erase: 0.3  # Chance that a stretch of a window is blanked out."]


def _short(value: float) -> float | int:
    return int(value) if float(value).is_integer() else value


def _yaml(value: Any) -> str:
    """A value on one line, as YAML reads it: JSON is YAML, but most keys and words need no quotes here."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_yaml(key)}: {_yaml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    if isinstance(value, str):
        plain = value.replace("_", "").replace("/", "").replace(".", "").replace("-", "").isalnum()
        return value if plain and _is_text(value) else json.dumps(value)
    return json.dumps(value)


def _is_text(word: str) -> bool:
    """Whether YAML reads a word without quotes as text. It takes 2024_05_03 for a number and 2024-05-03 for a date."""
    try:
        return bool(yaml.safe_load(word) == word)
    except (yaml.YAMLError, ValueError):  # the second of a date that does not exist
        return False
