"""`sentryfuse view`: open the result of a replay in the Rerun viewer."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("file", type=Path, metavar="FILE", help="an mcap file written by sentryfuse replay --mcap")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write a .rrd file for Rerun and do not open the viewer")


def run(args: argparse.Namespace) -> int:
    """Open the viewer or write the file; returns 0. Raises SentryFuseError without rerun-sdk, or on another file."""
    from ..reporting.rerun_view import show

    count = show(args.file, args.save)
    print(f"{count} messages of {args.file}" + (f" written to {args.save}" if args.save else " sent to Rerun"))
    return 0
