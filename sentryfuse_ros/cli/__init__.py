"""`sentryfuse VERB`: one verb per file of this folder; each has add_arguments(parser) and run(args) -> exit status."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType

from ..errors import InstallationError, SentryFuseError, reason_of

# Listed here and not discovered, so that `sentryfuse --help` imports nothing heavy.
VERBS = {
    "demo": "show a minute of a drive, simulated or real, with sensor losses and a draining battery, live and in a report",
    "replay": "play a rosbag into fuse_node over real topics, with scripted faults, and check its promises",
    "view": "open the file that replay --mcap wrote in the Rerun viewer",
    "doctor": "check this installation, and say what to do about what is missing or would lose messages",
    "policy": "write the access policy of SROS 2 for fuse_node with your parameters",
    "simulate": "record a simulated robot that drives over changing ground: its sensors, its battery and the true ground",
    "dataset": "extract labelled windows from recordings, to train and evaluate on",
    "train": "train a model by a recipe (a YAML file)",
    "train-captions": "train the caption head of a model, which says in sentences what it perceives, on simulated drives",
    "train-stream": "train a model that encodes only what changed in the pictures of a depth camera",
    "train-stem": "train a patch encoder in the place of a camera's stem, in a network that stays as it is otherwise",
    "trust": "let a model notice sensors that send plausible bytes with implausible content",
    "evaluate": "measure accuracy, calibration and cost of a model for every set of sensors and every pruning ratio",
    "bench": "measure what inference, the node, its memory, its receive path, faults and streams cost on this machine",
}


def main(arguments: list[str] | None = None) -> int:
    """Run a verb; returns the exit status. Errors of this package and of files are printed in one line, with status
    2."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # a path or a class name that the console cannot show ends no run
    wanted = next((a for a in arguments if not a.startswith("-")), "")
    try:
        with _terminable():
            status = _run(arguments, wanted)
            sys.stdout.flush()  # here, because a full disk or a closed pipe has no exit status of ours afterwards
            return status
    except SentryFuseError as error:
        told: SentryFuseError = error
    except ImportError as error:
        told = InstallationError.of(error)
    except Terminated as error:
        return 128 + error.number
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `sentryfuse doctor | head`
        sys.stderr.close()
        _drop_output()
        return 141
    except OSError as error:  # a full disk, a folder that went away meanwhile
        _drop_output()
        thing = f"file {error.filename}" if error.filename else "file or console"
        told = SentryFuseError(thing, reason_of(error), "a file that can be read or written")
    print(f"sentryfuse {wanted}: {told}", file=sys.stderr)
    return 2


def _drop_output() -> None:
    """Forget what the console did not take: Python would try to write it once more at the end, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP, which are handled like Ctrl-C."""

    def __init__(self, number: int):
        super().__init__()
        self.number = number


def _terminate(number: int, _: object) -> None:
    raise Terminated(number)


@contextmanager
def _terminable() -> Iterator[None]:
    """Let a command clean up after SIGTERM, as a service manager sends it, and after SIGHUP, as a lost connection does."""
    if threading.current_thread() is not threading.main_thread():  # only that one may set handlers, and receives signals
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:  # as nohup leaves it
            signal.signal(number, _terminate)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def _run(arguments: Sequence[str], wanted: str) -> int:
    """Run the verb ``wanted`` with all arguments of the command."""
    parser = argparse.ArgumentParser(
        prog="sentryfuse", description="Sensor fusion that keeps predicting through sensor dropout and on a draining battery."
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb, text in VERBS.items():
        sub = verbs.add_parser(verb, help=text, description=text)
        if verb == wanted:
            _module(verb).add_arguments(sub)
    args = parser.parse_args(arguments)
    return _module(args.verb).run(args) or 0


def _module(verb: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{verb.replace('-', '_')}")
