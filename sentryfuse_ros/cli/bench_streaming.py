"""`sentryfuse bench streaming`: what a camera's stream saves, and what it costs in accuracy."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import DataError, ParameterError, reason_of
from ..files import check_writable
from ..model.checkpoint import read_checkpoint
from ..paths import model_path
from .arguments import refuse_beside

STREAMING = """\
Streams of a camera with patch tokens against the same model encoding every picture whole, at batch size 1: windows encoded
anew, accuracy on whole labelled recordings, latency with both sides in turns, and the branches of the router. Measures both
shipped models, one after the other, and ends with one table of what they have to reach. Needs the UTD-MHAD recordings under
SENTRYFUSE_DATA, and torch, which simulates the rooms around the recorded people.
"""
MODELS = ("utd_mhad_stream", "utd_mhad_stream_large")  # the summary's keys without a number of tokens are those of the first
CAPTIONS, STREAMED = Path("benchmarks/results/captions.json"), Path("benchmarks/results/streamed_captions.json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help=f"measure only this checkpoint, folder or name (default: {' and '.join(MODELS)})")
    parser.add_argument("--quick", action="store_true", help="few recordings and rounds, for a first impression")
    parser.add_argument(
        "--brief", action="store_true", help="only how the models stream: no other policies, no controls, no moving camera"
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
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the tables into this page, between its marks")
    parser.add_argument("--read", type=Path, metavar="FILE", help="show the numbers in this file and measure nothing")
    parser.add_argument(
        "--times", action="store_true", help="with --read: measure the times on this machine, and take the rest from the file"
    )


def measure(args: argparse.Namespace, say: Callable[[str], None]) -> tuple[str, Mapping[str, Any]]:
    """The table and the numbers. Raises SentryFuseError."""
    from ..reporting.streaming_page import check_streaming_page
    from ..reporting.streaming_table import streaming_table

    if args.times and not args.read:
        raise ParameterError("--times", "no --read", "the results that the times are to be added to", "give --read FILE")
    if args.read:
        unused = ("model", "brief", "captions", "streamed_captions", *(() if args.times else ("quick",)))
        refuse_beside("--read", {"--" + name.replace("_", "-"): getattr(args, name) for name in unused})
    if args.page:
        if args.model or args.brief:
            raise ParameterError("--page", "--model or --brief", "a run of all models with all parts", "leave them out")
        check_writable(args.page)
        check_streaming_page(args.page)
    result = _read(args.read) if args.read else _measure(args, say)
    with _as_read(args.read):
        table = streaming_table(result)
    if args.times:
        result = _with_times(result, args.quick, say)
        table = streaming_table(result)
    return table, result


def write_page(args: argparse.Namespace, result: Mapping[str, Any]) -> None:
    """Write the tables into the page that was asked for. Raises SentryFuseError."""
    from ..reporting.streaming_page import write_streaming_page

    with _as_read(args.read):
        write_streaming_page(result, args.page)


@contextmanager
def _as_read(path: Path | None) -> Iterator[None]:
    """Say of results that were read from ``path`` that they are not whole, where a part is missing; None: they were measured."""
    try:
        yield
    except (KeyError, TypeError, AttributeError) as error:
        if path is None:
            raise
        raise _unread(path, f"no {error}") from error


def _measure(args: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    from ..evaluation.caption_figures import read_caption_figures, read_streamed_captions
    from ..evaluation.streaming import measure_streaming
    from ..evaluation.streaming_model import QUICK, Effort
    from ..runtime.process_memory import keep_large_buffers

    file = args.captions or (CAPTIONS if CAPTIONS.exists() else None)
    captions = read_caption_figures(file) if file else None
    file = args.streamed_captions or (STREAMED if STREAMED.exists() else None)
    streamed = read_streamed_captions(file).summary if file else {}
    effort = replace(QUICK if args.quick else Effort(), brief=args.brief)
    keep_large_buffers()  # as a node does
    checkpoints = {Path(name).name: read_checkpoint(model_path(name)) for name in ([args.model] if args.model else MODELS)}
    report = measure_streaming(checkpoints, effort, say)
    report = replace(report, summary={**report.summary, **streamed})
    if captions is not None:
        report = replace(report, captions_of=captions.model_sha256, summary={**report.summary, **captions.summary})
    return report.to_dict()


def _with_times(result: Mapping[str, Any], quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    from ..evaluation.streaming import measure_times_again
    from ..evaluation.streaming_model import QUICK, Effort
    from ..runtime.process_memory import keep_large_buffers

    keep_large_buffers()  # as a node does
    checkpoints = {name: read_checkpoint(model_path(name)) for name in result["by_model"]}
    return measure_times_again(result, checkpoints, QUICK if quick else Effort(), say)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unread(path, reason_of(error)) from error
    if not isinstance(found, dict):
        raise _unread(path, type(found).__name__)
    return found


def _unread(path: Path, seen: str) -> DataError:
    return DataError(
        f"results {path}", seen, "the JSON of a whole run", f"write it with: sentryfuse bench streaming --json {path}"
    )
