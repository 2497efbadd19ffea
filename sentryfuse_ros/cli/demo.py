"""The main job in half a minute, on a recorded run."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ..errors import SentryFuseError
from ..resources import data_root, share_path
from . import replay

HELP = "the main job in half a minute: a recorded run, sensor losses, a draining battery, a live view"
BAG = ("bags", "converted_utd_mhad_depth_imu")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", default="out/demo", help="where timeline and picture go (default: %(default)s)")
    parser.add_argument("--headless", action="store_true", help="no live view")


def run(args: argparse.Namespace) -> int:
    bag = data_root().joinpath(*BAG)
    if not bag.exists():
        raise SentryFuseError(
            "the demo's recording",
            f"nothing at {bag}",
            "a rosbag2 of depth camera and IMU",
            "set SENTRYFUSE_DATA to the folder that holds bags/, or play one of yours: sentryfuse replay BAG",
        )
    parser = argparse.ArgumentParser()
    replay.add_arguments(parser)
    given = [str(bag), "--faults", str(share_path("config", "faults", "demo.yaml")), "--repeat", "2", "--out", args.out]
    summary = replay.replay(parser.parse_args(given + (["--headless"] if args.headless else [])))
    replay.print_summary(summary, Path(args.out))
    print(
        json.dumps(
            {k: summary[k] for k in ("predictions", "max_gap_s", "mask_clear_s", "mask_return_s", "ratios_seen", "late_ms_p99")}
        )
    )
    return 0 if summary["predictions"] else 1
