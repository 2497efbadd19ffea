"""Show the result of a replay, an mcap file, in the Rerun viewer (package rerun-sdk, which this package does not install)."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..bags.bag import Bag
from ..bags.message_types import deserialiser
from ..errors import BagError, SentryFuseError
from ..files import check_writable
from ..nanoseconds import NS_PER_S
from ..replay.frames import shows_pictures, small_picture
from ..replay.result_bag import TRUTH_TOPIC
from ..sensing.liveness import State

PREDICTION, MASK, PRUNING = "/fuse_node/prediction", "/fuse_node/mask", "/fuse_node/pruning"


def load_rerun() -> Any:
    """The module `rerun`. Raises SentryFuseError with the command that installs it."""
    try:
        return importlib.import_module("rerun")
    except ImportError as error:
        raise SentryFuseError(
            "the Rerun viewer",
            f"no package {error.name}",
            "rerun-sdk",
            "install it with: pip install rerun-sdk; or open the file in Foxglove",
        ) from error


def show(path: Path, save: Path | None = None) -> int:
    """Open the viewer with a result, or ``save`` what it would show as a .rrd file; returns the number of messages shown.

    Raises BagError if the file is not the result of a replay, and SentryFuseError without Rerun, or where ``save`` cannot be
    written.
    """
    rerun = load_rerun()
    if save is not None:
        if save.resolve() == path.resolve():  # Rerun would empty it before it is read
            raise SentryFuseError("--save", save, "another file than the one that is shown", "choose a name that ends in .rrd")
        check_writable(save)
    with Bag(path) as bag:
        if PREDICTION not in bag.topics:
            raise BagError(
                f"file {path}",
                "no topic " + PREDICTION,
                "the result of a replay",
                "write one with: sentryfuse replay --mcap FILE",
            )
        # The viewer begins when the recording is made, so what can be refused has been refused before.
        _begin(rerun, spawn=save is None)
        if save is not None:
            rerun.save(str(save))
        rerun.send_blueprint(_layout(rerun))
        shown = _log(rerun, bag)
        rerun.disconnect()
    return shown


def _begin(rerun: Any, spawn: bool) -> None:
    """Begin a recording; ``spawn``: with the viewer, which pip puts beside the interpreter, where PATH need not lead."""
    places = (str(Path(sys.executable).parent), os.environ.get("PATH", ""))
    os.environ["PATH"] = os.pathsep.join(filter(None, places))  # an empty place would be the current folder
    try:
        rerun.init("sentryfuse", spawn=spawn)
    except RuntimeError as error:
        raise SentryFuseError(
            "the Rerun viewer",
            str(error).partition("\n")[0],
            "the program rerun",
            "write a file for it with --save FILE.rrd, or open the result in Foxglove",
        ) from error


def _layout(rerun: Any) -> Any:
    """Camera and events beside the curves."""
    views = importlib.import_module("rerun.blueprint")
    return views.Blueprint(
        views.Horizontal(
            views.Vertical(views.Spatial2DView(origin="camera"), views.TextLogView(origin="events")),
            views.Vertical(
                views.TimeSeriesView(origin="prediction", name="confidence, and whether it is correct"),
                views.TimeSeriesView(origin="sensors", name="sensors that are OK"),
                views.TimeSeriesView(origin="power", name="battery and pruning ratio"),
                views.TimeSeriesView(origin="time", name="inference and latency [ms]"),
            ),
        )
    )


def _log(rerun: Any, bag: Bag) -> int:
    """Log every message that is known; returns how many."""
    log = _Log(rerun)
    readers: dict[str, Callable[[bytes], None]] = {}
    for topic, write in ((PREDICTION, log.prediction), (MASK, log.mask), (PRUNING, log.pruning), (TRUTH_TOPIC, log.truth)):
        if topic in bag.topics:
            readers[topic] = _joined(deserialiser(bag, topic), write)
    camera = next((t for t in bag.topics.values() if shows_pictures(t.msg_type)), None)
    if camera is not None:
        readers[camera.name] = lambda raw: log.picture(small_picture(camera.msg_type, raw))
    count = 0
    for topic, time_ns, raw in bag.messages(list(readers)):
        rerun.set_time("recording", duration=(time_ns - bag.start_ns) / NS_PER_S)
        readers[topic](raw)
        count += 1
    return count


def _joined(read: Callable[[bytes], Any], write: Callable[[Any], None]) -> Callable[[bytes], None]:
    """A reader of serialised messages that passes them on."""
    return lambda raw: write(read(raw))


class _Log:
    """Logs messages as curves, pictures and events; an event is logged when something changes."""

    def __init__(self, rerun: Any):
        self._rerun = rerun
        self._last: dict[str, str] = {}
        self._truth = ""

    def prediction(self, message: Any) -> None:
        self._curve("prediction/confidence", message.confidence)
        if self._truth:
            self._curve("prediction/correct", float(message.valid and message.class_name == self._truth))
        self._curve("time/inference", message.inference_ms)
        self._curve("time/latency", message.latency_ms)
        self._event("events/prediction", message.class_name if message.valid else message.reason)

    def mask(self, message: Any) -> None:
        for sensor in message.sensors:
            self._curve(f"sensors/{sensor.name}", float(sensor.state == State.OK))
            state = State(sensor.state).name
            self._event(f"events/{sensor.name}", state, f"{state} {sensor.reason}")

    def pruning(self, message: Any) -> None:
        self._curve("power/battery", message.battery_percentage)
        self._curve("power/ratio", message.ratio)

    def truth(self, message: Any) -> None:
        self._truth = message.data
        self._event("events/truth", message.data)

    def picture(self, pixels: Any) -> None:
        if pixels is not None:
            self._rerun.log("camera", self._rerun.Image((pixels * 255).astype("uint8")))

    def _curve(self, name: str, value: float) -> None:
        if value == value:  # NaN: unknown
            self._rerun.log(name, self._rerun.Scalars(value))

    def _event(self, name: str, value: str, text: str = "") -> None:
        if self._last.get(name) != value:
            self._last[name] = value
            self._rerun.log(name, self._rerun.TextLog(text or value or "none"))
