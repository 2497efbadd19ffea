"""Coverage-guided fuzzing of the parsers of message bytes, for a fixed time, with its corpus kept small.

    .venv/bin/pip install atheris==3.0.0
    .venv/bin/with-ros .venv/bin/python -m benchmarks.coverage_fuzz [--seconds 300] [--corpus test/fuzz_corpus.zip] [--json FILE]

The first byte of an input chooses the message type, the rest is the message. An exception that a decoder lets escape ends the run
with a report. In the end the inputs are reduced to the fewest that reach everything that was reached, and replace the corpus;
test/test_fuzz.py feeds it to the decoders. The fuzzer is libFuzzer (package atheris), which no other part of this project needs.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks.byte_parsers import FUZZED_TYPES, decode_one
from benchmarks.fuzz import real_messages
from sentryfuse_ros.cli.arguments import at_least_one
from sentryfuse_ros.machine import machine

MAX_BYTES = 4096  # parsers are about headers and lengths; pixels do not branch
RUNS_OF_A_PROCESS = 150_000  # the fuzzer keeps the results of numpy's comparisons, 6 kB a run; decoders on their own keep nothing
MEMORY_LIMIT_MB = 2048
KEPT_BYTES = 2048  # larger messages are cut to this as seeds: their headers are at the beginning
WORKER = """
import sys
import atheris
with atheris.instrument_imports(include=["sentryfuse_ros.decoders"]):
    from benchmarks.byte_parsers import FUZZED_TYPES, decode_one
    for index in range(len(FUZZED_TYPES)):
        decode_one(bytes([index]))  # imports its decoder
atheris.Setup(sys.argv, decode_one)
atheris.Fuzz()
"""


def libfuzzer(*arguments: str) -> str:
    """Run the fuzzer in a process of its own; returns its output. Raises SystemExit with the report if something escaped."""
    done = subprocess.run([sys.executable, "-c", WORKER, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stdout[-3000:] + done.stderr[-3000:])
    return done.stdout + done.stderr


def fuzz_for(seconds: float, seeds: Path) -> str:
    """Fuzz for a time, in one process after another; what was found is added to the folder of seeds. Returns the output."""
    end, text = time.monotonic() + seconds, ""
    while (left_s := int(end - time.monotonic())) > 0:
        text += libfuzzer(
            str(seeds),
            f"-max_total_time={left_s}",
            f"-runs={RUNS_OF_A_PROCESS}",
            f"-max_len={MAX_BYTES}",
            "-timeout=5",
            f"-rss_limit_mb={MEMORY_LIMIT_MB}",
        )
        print(f"{seconds - left_s:.0f} of {seconds:.0f} s", file=sys.stderr, flush=True)
    return text


def lines_of(data: bytes) -> set[tuple[str, int]]:
    """The lines of the decoders that one input reaches."""
    reached: set[tuple[str, int]] = set()

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        if "decoders" not in frame.f_code.co_filename:
            return None
        reached.add((frame.f_code.co_filename, frame.f_lineno))
        return trace

    sys.settrace(trace)
    try:
        decode_one(data)
    finally:
        sys.settrace(None)
    return reached


def reduced(inputs: Sequence[bytes]) -> tuple[list[bytes], int]:
    """Few of the inputs, the shortest first, that reach every line which all of them reach; and how many lines those are."""
    kept, covered = [], set[tuple[str, int]]()
    for data in sorted(inputs, key=lambda data: (len(data), data)):
        new = lines_of(data) - covered
        if new:
            kept.append(data)
            covered |= new
    return kept, len(covered)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=at_least_one, default=300, help="default: %(default)d")
    parser.add_argument("--corpus", type=Path, default=Path("test/fuzz_corpus.zip"), help="default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file")
    arguments = parser.parse_args()
    if find_spec("atheris") is None:
        parser.error("no package atheris, which nothing else here needs; install it with .venv/bin/pip install atheris==3.0.0")
    with tempfile.TemporaryDirectory() as folder:
        seeds = Path(folder, "seeds")
        seeds.mkdir()
        if arguments.corpus.exists():
            zipfile.ZipFile(arguments.corpus).extractall(seeds)
        for msg_type, raws in real_messages().items():
            if msg_type in FUZZED_TYPES:
                for index, raw in enumerate(raws):
                    name = f"{FUZZED_TYPES.index(msg_type)}_{index}"
                    (seeds / name).write_bytes(bytes([FUZZED_TYPES.index(msg_type)]) + raw[:KEPT_BYTES])
        text = fuzz_for(arguments.seconds, seeds)
        kept, lines = reduced([file.read_bytes() for file in sorted(seeds.iterdir())])
        with zipfile.ZipFile(arguments.corpus, "w", zipfile.ZIP_DEFLATED) as archive:
            for index, data in enumerate(kept):
                archive.writestr(zipfile.ZipInfo(f"{index:03}"), data, zipfile.ZIP_DEFLATED)
        reached = re.findall(r"cov: (\d+) ft: (\d+)", text)
        executions = re.findall(r"Done (\d+) runs", text)
        result = {
            "seconds": arguments.seconds,
            "executions": sum(map(int, executions)),
            "edges_first": int(reached[0][0]),
            "edges_last": int(reached[-1][0]),
            "escaped": 0,
            "lines_reached": lines,
            "corpus_inputs": len(kept),
            "corpus_bytes": sum(map(len, kept)),
            "machine": machine(1),
        }
    print(json.dumps(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
