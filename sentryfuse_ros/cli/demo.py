"""`sentryfuse demo`: a simulated robot loses its sensors one by one while its battery drains, and a report shows the run."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from ..errors import SentryFuseError
from ..paths import model_path, share_path
from ..replay.recording_cache import Drive, cache_folder, find, make
from ..replay.session import ReplayTask
from ..reporting.run_console import print_summary
from ..reporting.run_files import RunFiles
from . import replay

MODEL = "ground_robot"
FAULTS = "ground_demo.yaml"
SEED = 3  # of the test split; the drive crosses all six grounds in a minute, in darkness and dust
DURATION_S = 60.0
BATTERY_WH = 1.0  # used up in about a minute
SHOWN = ("predictions", "max_gap_s", "mask_clear_s", "mask_return_s", "ratios_seen", "overhead_ms_p99")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/demo"),
        help="folder for the report, the timeline and the picture (default: %(default)s)",
    )
    parser.add_argument("--headless", action="store_true", help="print a line for every change instead of the live view")
    parser.add_argument("--seed", type=int, default=SEED, metavar="N", help="which drive, 0 to 999999 (default: %(default)s)")
    parser.add_argument("--duration", type=float, default=DURATION_S, metavar="S", help="length [s] (default: %(default)g)")
    parser.add_argument("--model", default=MODEL, help="checkpoint folder or name (default: %(default)s)")
    parser.add_argument("--params-file", type=Path, metavar="FILE", help="parameters of fuse_node (default: config/fuse.yaml)")
    parser.add_argument("--strict", action="store_true", help="exit with status 1 if a promise was broken")


def run(args: argparse.Namespace) -> int:
    """Run the demo; returns 0 if predictions were made. Raises SentryFuseError."""
    model_path(args.model)  # a wrong name is reported before the simulation, which takes time
    replay.require_ros()
    drive = Drive("test", args.seed, args.duration, BATTERY_WH, 1.0)
    task = ReplayTask(
        bag=recording(drive, [folder for folder in (cache_folder(), args.out / "recordings") if folder]),
        faults=share_path("config", "faults", FAULTS),
        params_file=args.params_file,
        model=args.model,
        to_s=args.duration,
    )
    report = args.out / "report.html"
    result = replay.replay(task, RunFiles(args.out, report), live_view=not args.headless and sys.stdout.isatty(), narrate=True)
    print_summary(result, args.out)
    values = result.to_dict()
    print(json.dumps({name: values[name] for name in SHOWN}))
    print(f"report: {report.absolute()}")
    return 0 if result.summary.valid_predictions and (result.summary.promises_kept or not args.strict) else 1


def recording(drive: Drive, folders: list[Path]) -> Path:
    """The simulated recording, from the cache or simulated now with a progress bar."""
    bag = find(drive, folders)
    if bag is not None:
        print(f"recording: {bag} (from the cache)")
        return bag
    try:
        import mujoco  # noqa: F401

        from ..reporting.progress import progress_bar
    except ImportError as error:
        raise SentryFuseError(
            "the simulation",
            f"no package {error.name}",
            "mujoco-core and rich",
            "run make setup, or pip install mujoco-core rich",
        ) from error
    print(f"simulating {drive.duration_s:g} s of a robot on changing ground; the recording is kept for the next time", flush=True)
    began = time.monotonic()
    with progress_bar("simulating", drive.duration_s, "s") as update:
        bag = make(drive, folders, update)
    print(f"recording: {bag} (simulated in {time.monotonic() - began:.1f} s)")
    return bag
