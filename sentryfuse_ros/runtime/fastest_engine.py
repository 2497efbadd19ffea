"""An engine on the backend that runs its model fastest on this machine (`backend: auto`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..errors import SentryFuseError
from .backend_times import fastest, kept_times, measure_times
from .backends import candidates
from .engine import Engine


def load_fastest(
    model_file: str | Path,
    device: str = "cpu",
    threads: int = 1,
    gives_tokens: bool = False,
    measures: bool = True,
    say: Callable[[str], None] = print,
) -> Engine:
    """Like `Engine.load`. Where several backends can run the model and none was timed here before, they are, if it ``measures``.

    ``say`` is told what takes some seconds, and why the backend was not chosen by time.
    """
    engine = Engine.load(model_file, device, threads, gives_tokens=gives_tokens)
    able, digest = candidates(engine.checkpoint), str(engine.info.get("sha256", ""))
    if len(able) < 2:
        return engine
    times = kept_times(digest, able, device, threads)
    if not times and measures:
        say(f"measuring {' and '.join(able)}, once for this model on this machine")
        try:
            times = measure_times(model_file, digest, able, device, threads)
        except SentryFuseError as error:
            say(f"the backend stays {engine.backend.name}: {error}")
    if times and fastest(times) != engine.backend.name:
        engine = Engine.load(model_file, device, threads, fastest(times), gives_tokens)
    engine.backend_ms = times
    return engine
