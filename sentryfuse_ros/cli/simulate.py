"""`sentryfuse simulate`: a labelled recording of a simulated robot."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "record a simulated robot driving over changing ground: camera, IMU, sound, LiDAR, battery and the truth"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--seed", required=True, type=int, metavar="N", help="which world and drive, 0 to 999999")
    parser.add_argument("--duration", required=True, type=float, metavar="S", help="length of the recording [s], 1 to 3600")
    parser.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="DIR",
        help="bag to make (rosbag2 folder, mcap); with --count the folder that bags SPLIT_SEED are put in",
    )
    parser.add_argument("--count", type=int, metavar="K", help="K bags, of the seeds N, N + 1, ...; those there are kept")
    parser.add_argument("--jobs", type=int, default=1, metavar="J", help="with --count: processes (default: %(default)s)")
    parser.add_argument(
        "--split",
        default="train",
        choices=("train", "val", "test"),
        help="worlds of different splits are never the same (default: %(default)s)",
    )
    parser.add_argument(
        "--nuisance",
        nargs="+",
        default=[],
        metavar="NAME[=LEVEL]",
        help="instead of the seed's own disturbances: none, or darkness, fog, mud, wind, dust, vibration "
        "in 0 to 1, speed_mps, payload_kg; `--nuisance none darkness=0.8` is darkness only",
    )
    parser.add_argument(
        "--battery-wh",
        type=float,
        default=20.0,
        metavar="WH",
        help="capacity; 1 Wh is empty in about a minute (default: %(default)s)",
    )
    parser.add_argument("--battery-start", type=float, metavar="FRACTION", help="charge at the begin, 0 to 1 (default: by seed)")


def run(args: argparse.Namespace) -> int:
    """Simulate; returns 0. Raises SentryFuseError on a bad value, a folder in the way or a missing package."""
    import time

    from ..errors import SentryFuseError

    try:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        from ..simulation.run import simulate
    except ImportError as error:
        raise SentryFuseError(
            "the simulation",
            f"no package {error.name}",
            "mujoco-core, rosbags, rich and opencv",
            "run make setup, or pip install mujoco-core rosbags rich opencv-python-headless",
        ) from error

    if args.count is not None:
        return many(args)
    began, cpu = time.monotonic(), time.process_time()
    count = TextColumn("{task.completed:.0f} of {task.total:g} s")
    columns = (TextColumn("simulating"), BarColumn(), count, TimeRemainingColumn())
    with Progress(*columns) as bar:
        task = bar.add_task("", total=args.duration)
        about = simulate(
            args.seed,
            args.duration,
            args.out,
            args.split,
            args.nuisance,
            args.battery_wh,
            args.battery_start,
            lambda done_s: bar.update(task, completed=done_s),
        )
    wall, cpu = time.monotonic() - began, time.process_time() - cpu
    disturbed = ", ".join(f"{name} {about['nuisances'][name]:.2f}" for name in about["disturbed"]) or "nothing"
    speed, payload = about["nuisances"]["speed_mps"], about["nuisances"]["payload_kg"]
    print(
        f"{args.out}: world {about['world']} ({args.split}), {args.duration:g} s at {speed:.2f} m/s with {payload:.1f} kg; "
        f"disturbed by {disturbed}"
    )
    print(f"took {wall:.1f} s ({args.duration / wall:.1f}x real time), {cpu:.1f} s of CPU ({args.duration / cpu:.1f}x)")
    return 0


def many(args: argparse.Namespace) -> int:
    """Simulate a series of seeds; returns 0. Can be killed and started again: whole bags are kept, others made anew.

    Raises ParameterError where a seed is out of range, BagError where a bag there is not as long as asked.
    """
    import time
    from concurrent.futures import ProcessPoolExecutor
    from functools import partial

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from ..errors import ParameterError
    from ..simulation.worlds import SEEDS_PER_SPLIT

    for name, value in (("--count", args.count), ("--jobs", args.jobs)):
        if value < 1:
            raise ParameterError(name, value, "1 or more")
    seeds = range(args.seed, args.seed + args.count)
    if seeds[0] < 0 or seeds[-1] >= SEEDS_PER_SPLIT:
        raise ParameterError(
            "--seed and --count",
            f"seeds {seeds[0]} to {seeds[-1]}",
            f"seeds in 0 to {SEEDS_PER_SPLIT - 1}",
            "choose a lower --seed or --count",
        )
    began = time.monotonic()
    todo = [seed for seed in seeds if not is_made(args, seed)]
    columns = (TextColumn("simulating"), BarColumn(), MofNCompleteColumn(), TextColumn("bags"), TimeRemainingColumn())
    with Progress(*columns) as bar, ProcessPoolExecutor(args.jobs) as pool:
        task = bar.add_task("", total=args.count, completed=args.count - len(todo))
        for _ in pool.map(partial(one_of_many, args), todo):
            bar.update(task, advance=1)
    wall = time.monotonic() - began
    print(f"{args.out}: {args.count} bags of {args.duration:g} s ({args.split}), {len(todo)} of them made now in {wall:.0f} s")
    return 0


def is_made(args: argparse.Namespace, seed: int) -> bool:
    """Whether the series has this bag already; raises BagError where it is of another duration or its run.json is none."""
    import json

    from ..errors import BagError

    folder = args.out / f"{args.split}_{seed:06d}"
    try:
        duration_s = json.loads((folder / "run.json").read_text(encoding="utf-8"))["duration_s"]
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BagError(
            f"recording {folder}",
            f"an unreadable run.json ({error})",
            "one that `sentryfuse simulate` wrote",
            "remove the folder, or choose another --out",
        ) from error
    if duration_s != args.duration:
        raise BagError(
            f"recording {folder}",
            f"one of {duration_s} s there already",
            f"one of {args.duration:g} s",
            "give the same --duration, choose another --out, or remove it",
        )
    return True


def one_of_many(args: argparse.Namespace, seed: int) -> None:
    """One bag of a series, under its split and seed."""
    from ..simulation.run import simulate

    simulate(
        seed, args.duration, args.out / f"{args.split}_{seed:06d}", args.split, args.nuisance, args.battery_wh, args.battery_start
    )
