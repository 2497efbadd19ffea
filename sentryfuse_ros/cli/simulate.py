"""`sentryfuse simulate`: labelled recordings of a simulated robot."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--seed", required=True, type=int, metavar="N", help="which world and drive, 0 to 999999")
    parser.add_argument("--duration", required=True, type=float, metavar="S", help="length of the recording [s], 1 to 3600")
    parser.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="DIR",
        help="bag to write (rosbag2 folder, mcap); with --count, the folder for bags that are named SPLIT_SEED",
    )
    parser.add_argument(
        "--count", type=int, metavar="K", help="record K bags, of the seeds N, N + 1, ...; existing bags are kept"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="J", help="processes to use with --count (default: %(default)s)")
    parser.add_argument(
        "--scheduler", default="", metavar="HOST:PORT", help="with --count: run on the Dask cluster of this scheduler instead"
    )
    parser.add_argument(
        "--split",
        default="train",
        choices=("train", "val", "test"),
        help="worlds of different splits are never the same (default: %(default)s)",
    )
    parser.add_argument(
        "--nuisance",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME[=LEVEL]",
        help="instead of the disturbances that the seed draws: none, or darkness, fog, mud, wind, dust, vibration "
        "and shadows in 0 to 1, speed_mps, payload_kg, stands_from_s and stands_until_s; "
        "`--nuisance none darkness=0.8` is darkness only",
    )
    parser.add_argument(
        "--battery-wh",
        type=float,
        default=20.0,
        metavar="WH",
        help="capacity of the battery; 1 Wh is used up in about a minute (default: %(default)s)",
    )
    parser.add_argument("--battery-start", type=float, metavar="FRACTION", help="charge at the start, 0 to 1 (default: by seed)")


def run(args: argparse.Namespace) -> int:
    """Simulate; returns 0. Raises SentryFuseError on a bad value, a folder in the way or a missing package."""
    from ..errors import ParameterError, SentryFuseError

    try:
        from ..simulation.series import SimulationTask, simulate_one, simulate_series
    except ImportError as error:
        raise SentryFuseError(
            "the simulation",
            f"no package {error.name}",
            "mujoco-core, rosbags, rich and opencv",
            "run make setup, or pip install mujoco-core rosbags rich opencv-python-headless",
        ) from error
    from ..reporting.progress import progress_bar
    from ..reporting.simulation_console import print_series, print_simulated

    task = SimulationTask(
        args.seed, args.duration, args.out, args.split, tuple(args.nuisance), args.battery_wh, args.battery_start
    )
    if args.count is None:
        for option, given in (("--jobs", args.jobs != 1), ("--scheduler", args.scheduler)):
            if given:
                raise ParameterError(option, "no --count", "--count K beside it: one recording is made by one process")
        with progress_bar("simulating", task.duration_s, "s") as update:
            description, taken = simulate_one(task, update)
        print_simulated(task, description, taken)
    else:
        with progress_bar("simulating", args.count, "bags") as update:
            result = simulate_series(task, args.count, args.jobs, update, args.scheduler)
        print_series(task, result)
    return 0
