"""The model inputs of one moment, extracted from the buffers of several sensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from ..preprocessing import ModalitySpec
from ..preprocessing.picture_window import KnownPictures, PictureWindow
from ..settings import SensorSettings
from .held_pictures import HeldPictures
from .input_source import InputSource, candidates
from .liveness import Status
from .sensor import Sensor
from .snapshot import Snapshot, take_snapshot


class Hold(NamedTuple):
    """How windows of pictures serve more than one prediction."""

    pictures: HeldPictures
    seconds: Callable[[Sequence[bool]], float]  # from the mask (M,) of the inputs with data to the time for which one serves


class ModelInputs(NamedTuple):
    """Everything that the model sees at one moment."""

    snapshot: Snapshot  # its mask and newest_ns are those of the inputs below, its windows those of the sensors
    serving: list[InputSource | None]  # per model input what serves it, None where nothing live does
    used: tuple[bool, ...]  # which inputs of the mask are below
    inputs: dict[str, np.ndarray | PictureWindow]  # name -> float32 spec.shape, or new pictures; copied out of the buffers
    held: frozenset[str] = frozenset()  # those of the inputs that are windows of an earlier moment

    @property
    def windows(self) -> dict[str, np.ndarray]:
        """Those of the inputs that are whole windows."""
        return {name: x for name, x in self.inputs.items() if not isinstance(x, PictureWindow)}


def slots_of(
    sensors: Mapping[str, Sensor], specs: Sequence[ModalitySpec], settings: Iterable[SensorSettings]
) -> tuple[tuple[InputSource, ...], ...]:
    """For every model input what may serve it, in the order of ``settings``, those of all sensors.

    An input of which a part is not among ``sensors`` has no source. Raises ParameterError where parts do not fit their input.
    """
    settings = tuple(settings)
    return tuple(
        tuple(
            InputSource(spec, [sensors[part.name] for part in parts])
            for parts in candidates(settings, spec.name)
            if all(part.name in sensors for part in parts)
        )
        for spec in specs
    )


def extract_inputs(
    slots: Sequence[Sequence[InputSource]],
    statuses: Mapping[str, Status],
    now_node_ns: int,
    choose: Callable[[Sequence[bool]], Sequence[bool]] | None = None,
    make_rows: bool = True,
    known: KnownPictures = MappingProxyType({}),
    hold: Hold | None = None,
) -> ModelInputs:
    """Model inputs of the sensors that are live now.

    slots: see `slots_of`, in the order of the mask; statuses: by sensor name; choose: from the mask (M,) of the inputs with data
    to those that are wanted, without which all of them are. make_rows: whether rows are made of the newest pictures, which may
    take long and must not be done while another thread feeds a sensor. known: of the inputs in it only the pictures that are new
    to their streams are taken. hold: how windows of pictures serve more than one prediction.
    """
    # The first live source of an input serves it; the others are its spares.
    serving = [next((source for source in sources if source.live(statuses)), None) for sources in slots]
    for source in serving:
        if source is not None and not source.asleep and make_rows:
            source.make_rows()
    taken = _take(serving, now_node_ns, choose, known, hold, make_rows)
    woken = [
        source
        for source, here in zip(serving, taken.used, strict=True)
        if source is not None and here and source.asleep and source.spec.name not in taken.held
    ]
    if not woken or not make_rows:
        return taken
    for source in woken:
        source.make_rows()
    return _take(serving, now_node_ns, choose, known, hold, make_rows, woken=True)


def _take(
    serving: list[InputSource | None],
    now_node_ns: int,
    choose: Callable[[Sequence[bool]], Sequence[bool]] | None,
    known: KnownPictures,
    hold: Hold | None,
    rows_made: bool,
    woken: bool = False,
) -> ModelInputs:
    """Model inputs from the rows that there are. ``woken``: rows were made also of the pictures of sources that were asleep."""
    sources = [source for source in serving if source is not None]
    # The window ends at the newest sample and not at the moment of the tick: the same recording then gives the same
    # inputs, whatever the timing of the machine.
    end_ns = min(now_node_ns, max((source.newest_ns for source in sources), default=now_node_ns))
    buffers = {sensor.name: sensor.buffer for source in sources for sensor in source.sensors}
    snapshot = take_snapshot(buffers, [True] * len(buffers), end_ns)
    windows = snapshot.windows
    # Whether parts of an input meet shows only when they are joined; the others are made where they are wanted.
    inputs = {source.spec.name: source.input_of(windows, end_ns) for source in sources if source.joined}
    mask = [
        source is not None and source.newest_of(windows) > 0 and inputs.get(source.spec.name, ...) is not None
        for source in serving
    ]
    used = tuple(choose(mask)) if choose is not None and any(mask) else tuple(mask)
    found: dict[str, np.ndarray | PictureWindow] = {}
    newest_ns, held_names = 0, set()
    hold_s = hold.seconds(mask) if hold is not None and any(mask) else 0.0
    for place, (source, here) in enumerate(zip(serving, used)):
        if source is None or not here:
            continue
        name, row_ns = source.spec.name, source.newest_of(windows)
        fresh = rows_made and (woken or not source.asleep)  # a source that rests may have old rows only
        held = None
        if hold is not None and hold_s and name not in known:
            held = hold.pictures.window(place, source, now_node_ns, hold_s, row_ns if fresh else None, rows_made)
        x: np.ndarray | PictureWindow | None
        if name in known:
            x = source.new_pictures(windows, end_ns, known[name])
        elif held is not None:
            x, row_ns = held.x, held.newest_ns
            held_names.add(name)
        else:
            x = inputs[name] if source.joined else source.input_of(windows, end_ns)
            if hold is not None and hold_s and x is not None and fresh:
                hold.pictures.keep(place, source, now_node_ns, hold_s, x, row_ns)
        assert x is not None
        found[name], newest_ns = x, max(newest_ns, row_ns)
    snapshot = replace(snapshot, mask=np.array(mask, bool), newest_ns=newest_ns)
    return ModelInputs(snapshot, serving, used, found, frozenset(held_names))
