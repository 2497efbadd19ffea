"""How many lies are noticed, what they cost, and how often a sensor that tells the truth is not believed.

    python -m benchmarks.trust collect --model MODEL --worlds DRIVES --windows WINDOWS --cache DIR
    python -m benchmarks.trust drives --model MODEL --worlds DRIVES --windows WINDOWS --cache DIR
    python -m benchmarks.trust judge --model MODEL --windows WINDOWS --training WINDOWS --cache DIR --json FILE --page PAGE --keep
    python -m benchmarks.trust cost --model MODEL --windows WINDOWS

DRIVES are the test drives of `sentryfuse simulate`, and WINDOWS what `sentryfuse dataset` made of them. `collect` takes minutes.
`drives`, which needs the table, plays whole drives of the lies that are noticed in some windows only.
With `--corruptions`, they do the same for corruptions of three severities, and give the accuracy as a share of that without them.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sentryfuse_ros.errors import SentryFuseError
from sentryfuse_ros.model.checkpoint import read_checkpoint, write_trust
from sentryfuse_ros.model.saved import load_checkpoint
from sentryfuse_ros.reporting.page_parts import insert
from sentryfuse_ros.sensing.trust_table import MEASURED, tables_of

from .collect import collect, windows_of
from .corruption_table import SUFFIX, corruption_markdown, judge_corruptions
from .corruptions import CORRUPTIONS
from .cost import judgement_ms
from .drives import masked_in_drives
from .judge import judge, partly_noticed
from .lie_table import markdown
from .lies import LIES

# Places in docs/TRUST.md (`reporting.page_parts`), with --corruptions and without.
MARKS = {False: "benchmarks.trust judge --page", True: "benchmarks.trust judge --corruptions --page"}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.trust", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    steps = parser.add_subparsers(dest="step", required=True)
    for name in ("collect", "drives", "judge", "cost"):
        step = steps.add_parser(name)
        step.add_argument("--model", required=True, type=Path)
        step.add_argument("--windows", required=True, help="data set of the test drives")
        if name == "cost":
            continue
        step.add_argument("--cache", required=True, type=Path, help="what collect writes")
        step.add_argument("--corruptions", action="store_true", help="corruptions of three severities in place of lies")
    of_judge = steps.choices["judge"]
    for step in (steps.choices["collect"], steps.choices["drives"]):
        step.add_argument("--worlds", required=True, type=Path, help="folder of the test drives")
        step.add_argument("--sensors", nargs="+", default=["camera", "imu", "audio", "lidar"])
        step.add_argument("--drives", type=int, default=72, help="how many")
        step.add_argument("--stride", type=int, default=2, help="take every n-th window of a drive")
    of_judge.add_argument("--training", help="data set that the model was trained on; not needed with --corruptions")
    of_judge.add_argument("--json", type=Path)
    of_judge.add_argument("--page", type=Path, help="write the tables into this page, between its marks")
    of_judge.add_argument("--keep", action="store_true", help="write the summary into the model's trust file")
    return parser.parse_args()


def run_collect(args: argparse.Namespace) -> None:
    network, _ = load_checkpoint(args.model)
    windows = windows_of(args.windows, args.drives, args.stride)
    args.cache.mkdir(parents=True, exist_ok=True)
    np.savez(args.cache / "windows.npz", labels=windows.labels, drives=np.array(windows.drives))
    for sensor in args.sensors:
        told = [lie for lie in (CORRUPTIONS if args.corruptions else LIES) if lie.sensor == sensor]
        found = collect(network, windows, args.worlds, told, sensor)
        arrays: dict[str, Any] = {f"{name}/{what}": values for name, own in found.items() for what, values in own.items()}
        np.savez_compressed(args.cache / f"{sensor}{SUFFIX if args.corruptions else ''}.npz", **arrays)
        print(f"{sensor}: {len(told)} kinds in {len(windows.index)} windows", flush=True)


def run_drives(args: argparse.Namespace) -> None:
    checkpoint = read_checkpoint(args.model)
    tables = tables_of(checkpoint.trust, f"trust file of {args.model}")
    windows = windows_of(args.windows, args.drives, args.stride)
    suffix = SUFFIX if args.corruptions else ""
    for spec in checkpoint.config.modalities:
        if spec.name not in args.sensors or spec.name not in tables:
            continue
        arrays = np.load(args.cache / f"{spec.name}{suffix}.npz")
        told = partly_noticed(spec.name, tables[spec.name], CORRUPTIONS if args.corruptions else LIES, arrays)
        found: dict[str, Any] = {**masked_in_drives(windows, args.worlds, told, spec, tables[spec.name])}
        if not args.corruptions:
            honest = windows_of(args.windows, steady=False)
            found |= masked_in_drives(honest, args.worlds, {0: None}, spec, tables[spec.name])
        np.savez_compressed(args.cache / f"{spec.name}{suffix}.drives.npz", **found)
        print(f"{spec.name}: " + ", ".join(f"{name} {flags.mean():.0%}" for name, flags in found.items()), flush=True)


def run_judge(args: argparse.Namespace) -> None:
    if args.corruptions:
        result = judge_corruptions(args.model, args.cache)
        text = corruption_markdown(result)
    else:
        result = judge(args.model, args.windows, args.training, args.cache)
        text = markdown(result)
        if args.keep:
            record = read_checkpoint(args.model).trust
            write_trust(args.model, {**record, "measured": {name: result[name] for name in MEASURED}})
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")
    if args.page:
        insert(args.page, {MARKS[args.corruptions]: text.rstrip("\n")})
    print(text)


def main() -> int:
    args = arguments()
    torch.set_num_threads(1)
    print("python -m benchmarks.trust " + shlex.join(sys.argv[1:]))
    try:
        if args.step == "cost":
            print("ms per judgement:", judgement_ms(args.model, args.windows))
        else:
            {"collect": run_collect, "drives": run_drives, "judge": run_judge}[args.step](args)
    except SentryFuseError as error:
        print(f"benchmarks.trust: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
