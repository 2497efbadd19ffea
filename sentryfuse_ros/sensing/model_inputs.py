"""The model inputs of one moment, extracted from the buffers of several sensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..preprocessing import ModalitySpec, model_input
from .liveness import Status
from .sensor import Sensor
from .snapshot import Snapshot, take_snapshot


class ModelInputs(NamedTuple):
    """Everything that the model sees at one moment."""

    snapshot: Snapshot  # its newest_ns is that of the inputs below
    serving: list[Sensor | None]  # per model input the sensor that serves it, None where there is no live one
    used: tuple[bool, ...]  # which inputs of the mask are below
    inputs: dict[str, np.ndarray]  # name -> float32 spec.shape, copied out of the buffers


def slots_of(sensors: Iterable[Sensor], names: Sequence[str]) -> tuple[tuple[Sensor, ...], ...]:
    """For every model input the sensors that may serve it, in the order of ``sensors``."""
    sensors = tuple(sensors)
    return tuple(tuple(s for s in sensors if s.settings.model_input == name) for name in names)


def extract_inputs(
    slots: Sequence[Sequence[Sensor]],
    specs: Sequence[ModalitySpec],
    statuses: Mapping[str, Status],
    now_node_ns: int,
    choose: Callable[[Sequence[bool]], Sequence[bool]] | None = None,
    make_rows: bool = True,
) -> ModelInputs:
    """Model inputs of the sensors that are live now.

    slots: see `slots_of`; specs: the model's inputs in the same order, which is that of the mask; statuses: by sensor name;
    choose: from the mask (M,) of the inputs with data to those that are wanted, without which all of them are. make_rows: whether
    rows are made of the newest pictures, which may take long and must not be done while another thread feeds a sensor.
    """
    # The first live sensor of an input serves it; the others are its spares.
    serving = [next((s for s in candidates if statuses[s.name].live and s.buffer is not None), None) for candidates in slots]
    for sensor in serving:
        if sensor is not None and not sensor.asleep and make_rows:
            sensor.make_rows()
    taken = _take(serving, specs, now_node_ns, choose)
    woken = [s for s, here in zip(serving, taken.used, strict=True) if s is not None and here and s.asleep]
    if not woken or not make_rows:
        return taken
    for sensor in woken:
        sensor.make_rows()
    return _take(serving, specs, now_node_ns, choose)


def _take(
    serving: list[Sensor | None],
    specs: Sequence[ModalitySpec],
    now_node_ns: int,
    choose: Callable[[Sequence[bool]], Sequence[bool]] | None,
) -> ModelInputs:
    """Model inputs from the rows that there are."""
    buffers = {spec.name: s.buffer if s else None for spec, s in zip(specs, serving, strict=True)}
    # The window ends at the newest sample and not at the moment of the tick: the same recording then gives the same
    # inputs, whatever the timing of the machine.
    end_ns = min(now_node_ns, max((s.newest_ns for s in serving if s), default=now_node_ns))
    snapshot = take_snapshot(buffers, [s is not None for s in serving], end_ns)
    mask = snapshot.mask.tolist()
    used = tuple(choose(mask)) if choose is not None and any(mask) else tuple(mask)
    inputs = {
        spec.name: model_input(spec, *snapshot.windows[spec.name], snapshot.end_ns) for spec, here in zip(specs, used) if here
    }
    if used != tuple(mask):
        snapshot = replace(snapshot, newest_ns=max(int(snapshot.windows[name][0][-1]) for name in inputs))
    return ModelInputs(snapshot, serving, used, inputs)
