"""`sentryfuse bench streaming`: what a camera's stream saves, and what it costs in accuracy."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..model.checkpoint import read_checkpoint
from ..paths import model_path

STREAMING = """\
Streams of a camera with patch tokens against the same model encoding every picture whole, at batch size 1: windows encoded
anew, accuracy on whole labelled recordings, latency with both sides in turns, and the branches of the router. Needs the
UTD-MHAD recordings under SENTRYFUSE_DATA, and torch, which simulates the rooms around the recorded people.
"""
MODEL = "utd_mhad_stream"
CAPTIONS, STREAMED = Path("benchmarks/results/captions.json"), Path("benchmarks/results/streamed_captions.json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default=MODEL, help="checkpoint folder or name (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="few recordings and rounds, for a first impression")
    parser.add_argument(
        "--brief", action="store_true", help="only how the model streams: no other policies, no controls, no moving camera"
    )
    parser.add_argument(
        "--captions",
        type=Path,
        metavar="FILE",
        help=f"results of benchmarks.captions, whose figures go into the summary (default: {CAPTIONS} where it is there)",
    )
    parser.add_argument(
        "--streamed-captions",
        type=Path,
        metavar="FILE",
        help=f"results of benchmarks.streamed_captions, likewise (default: {STREAMED} where it is there)",
    )
    parser.add_argument("--json", metavar="FILE", help="write the numbers to this file as well")


def measure(args: argparse.Namespace, say: Callable[[str], None]) -> tuple[str, Mapping[str, Any]]:
    """The table and the numbers. Raises SentryFuseError."""
    from ..evaluation.caption_figures import read_caption_figures, read_streamed_captions
    from ..evaluation.streaming import QUICK, Effort, measure_streaming
    from ..reporting.streaming_table import streaming_table

    file = args.captions or (CAPTIONS if CAPTIONS.exists() else None)
    captions = read_caption_figures(file) if file else None
    file = args.streamed_captions or (STREAMED if STREAMED.exists() else None)
    streamed = read_streamed_captions(file).summary if file else {}
    effort = replace(QUICK if args.quick else Effort(), brief=args.brief)
    report = measure_streaming(read_checkpoint(model_path(args.model)), effort, say)
    report = replace(report, summary={**report.summary, **streamed})
    if captions is not None:
        report = replace(report, captions_of=captions.model_sha256, summary={**report.summary, **captions.summary})
    return streaming_table(report), report.to_dict()
