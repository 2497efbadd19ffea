"""How many lies are noticed, what they cost, and how often a sensor that tells the truth is not believed.

    python -m benchmarks.trust collect --model MODEL --worlds DRIVES --windows WINDOWS --cache DIR
    python -m benchmarks.trust judge --model MODEL --windows WINDOWS --training WINDOWS --cache DIR --json FILE --page PAGE

DRIVES are the test drives of `sentryfuse simulate`, and WINDOWS what `sentryfuse dataset` made of them. `collect` takes minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

from sentryfuse_ros.model.saved import load_checkpoint

from .collect import collect, windows_of
from .lies import LIES

BEGIN, END = "<!-- benchmarks.trust judge --page writes from here -->", "<!-- to here -->"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trust", description=__doc__)
    steps = parser.add_subparsers(dest="step", required=True)
    for name in ("collect", "judge"):
        step = steps.add_parser(name)
        step.add_argument("--model", required=True, type=Path)
        step.add_argument("--windows", required=True, help="data set of the test drives")
        step.add_argument("--cache", required=True, type=Path, help="what collect writes")
    steps.choices["collect"].add_argument("--worlds", required=True, type=Path, help="folder of the test drives")
    steps.choices["collect"].add_argument("--sensors", nargs="+", default=["camera", "imu", "audio", "lidar"])
    steps.choices["collect"].add_argument("--drives", type=int, default=36)
    steps.choices["collect"].add_argument("--stride", type=int, default=2, help="take every n-th window of a drive")
    steps.choices["judge"].add_argument("--training", required=True, help="data set that the model was trained on")
    steps.choices["judge"].add_argument("--json", type=Path)
    steps.choices["judge"].add_argument("--page", type=Path, help="write the tables into this page, between its marks")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    torch.set_num_threads(1)
    if args.step == "collect":
        network, _ = load_checkpoint(args.model)
        windows = windows_of(args.windows, args.drives, args.stride)
        args.cache.mkdir(parents=True, exist_ok=True)
        np.savez(args.cache / "windows.npz", labels=windows.labels, drives=np.array(windows.drives))
        for sensor in args.sensors:
            found = collect(network, windows, args.worlds, [lie for lie in LIES if lie.sensor == sensor], sensor)
            arrays = {f"{name}/{what}": values for name, own in found.items() for what, values in own.items()}
            np.savez_compressed(args.cache / f"{sensor}.npz", **arrays)  # type: ignore[arg-type]
            print(f"{sensor}: {len(found) - 1} lies in {len(windows.index)} windows", flush=True)
        return 0
    from .judge import judge, markdown

    result = judge(args.model, args.windows, args.training, args.cache)
    result["command"] = "python -m benchmarks.trust judge"
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")
    text = markdown(result)
    if args.page:
        before, _, rest = args.page.read_text().partition(BEGIN)
        args.page.write_text(before + BEGIN + "\n" + text + END + rest.partition(END)[2])
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
