"""What serves a model input: one sensor, or several whose fields are its channels together, each with a topic of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

import numpy as np

from ..errors import ParameterError
from ..preprocessing import ModalitySpec, model_input
from ..preprocessing.picture_window import Known, PictureWindow, Source, picture_window
from ..preprocessing.series import joined_input
from .liveness import Status
from .sensor import Sensor
from .snapshot import Window
from .trust_table import Judgement


class OfAnInput(Protocol):
    """The settings of a sensor, or the part of them that a data set keeps."""

    @property
    def name(self) -> str: ...
    @property
    def model_input(self) -> str: ...
    @property
    def part(self) -> int: ...


S = TypeVar("S", bound=OfAnInput)


def candidates(sensors: Iterable[S], model_input: str) -> list[tuple[S, ...]]:
    """What may serve a model input, the preferred first: each sensor alone, or, if they are parts of it, all of them in order."""
    own = [sensor for sensor in sensors if sensor.model_input == model_input]
    if any(sensor.part for sensor in own):
        return [tuple(sorted(own, key=lambda sensor: sensor.part))]
    return [(sensor,) for sensor in own]


class InputSource:
    """One sensor that serves a model input, or all of its parts. Raises ParameterError if they do not have its channels."""

    def __init__(self, spec: ModalitySpec, sensors: Sequence[Sensor]):
        self.spec, self.sensors = spec, tuple(sensors)
        self.name = "+".join(sensor.name for sensor in sensors)
        self.trust = self.sensors[0].trust
        if not self.sensors[0].settings.part:
            return
        names = [f"{sensor.name} {value}" for sensor in sensors for value in sensor.decoder.value_names]
        if spec.kind != self.sensors[0].kind.name or len(names) != spec.channels:
            raise ParameterError(
                f"model input {spec.name!r}",
                f"{len(names)} values of kind {self.sensors[0].kind.name}: {', '.join(names)}",
                f"{spec.channels} channels of kind {spec.kind}",
                "correct the parameters fields, part and model_input of these sensors",
            )
        for sensor in self.sensors:  # a lie is one of the whole input
            sensor.trust = self.trust

    @property
    def joined(self) -> bool:
        """Whether it is made up of several sensors."""
        return len(self.sensors) > 1

    def live(self, statuses: Mapping[str, Status]) -> bool:
        """Whether all of its sensors are live and have rows."""
        return all(statuses[sensor.name].live and sensor.buffer is not None for sensor in self.sensors)

    @property
    def newest_ns(self) -> int:
        """Stamp of its newest row [ns], up to which all of its sensors have rows; 0 without one."""
        return min(sensor.newest_ns for sensor in self.sensors)

    @property
    def asleep(self) -> bool:
        """Whether the model has no use for it at present."""
        return all(sensor.asleep for sensor in self.sensors)

    @property
    def holds_pictures(self) -> bool:
        """Whether its windows are of pictures, each of which may serve several predictions."""
        return all(sensor.makes_frames for sensor in self.sensors)

    @property
    def has_new_picture(self) -> bool:
        """Whether pictures of it that are held otherwise were taken for the window that is made now."""
        return all(sensor.held and not sensor.asleep for sensor in self.sensors)

    @property
    def returns(self) -> tuple[int, ...]:
        """How often each of its sensors has become live."""
        return tuple(sensor.returns for sensor in self.sensors)

    @property
    def in_doubt(self) -> bool:
        """Whether its next windows may change what is thought of it."""
        return self.trust is not None and self.trust.changing

    @property
    def distrusted(self) -> bool:
        """Whether it is not believed at present."""
        return self.trust is not None and self.trust.distrusted

    def make_rows(self) -> None:
        """See `Sensor.make_rows`."""
        for sensor in self.sensors:
            sensor.make_rows()

    def newest_of(self, windows: Mapping[str, Window]) -> int:
        """Stamp up to which all of its sensors have rows in these windows [ns], by sensor name; 0 if one has none."""
        if not all(sensor.name in windows for sensor in self.sensors):
            return 0
        return min(int(windows[sensor.name][0][-1]) for sensor in self.sensors)

    def input_of(self, windows: Mapping[str, Window], end_ns: int) -> np.ndarray | None:
        """The model input (`spec.shape`) of windows that end at ``end_ns``; None if a sensor has no row, or parts never meet."""
        if not self.newest_of(windows):
            return None
        own = [windows[sensor.name] for sensor in self.sensors]
        if not self.joined:
            (sensor,) = self.sensors
            if sensor.input_stream is not None and sensor.buffer is not None:
                return sensor.input_stream.window(*own[0], end_ns, sensor.buffer.rewrites)
            return model_input(self.spec, *own[0], end_ns)
        x = joined_input(own, end_ns, self.spec)
        return x if x.any() else None

    def new_pictures(self, windows: Mapping[str, Window], end_ns: int, known: Callable[[Source], Known]) -> PictureWindow:
        """What a stream needs of the window of a camera that ends at ``end_ns``."""
        (sensor,) = self.sensors
        source = Source(sensor.name, sensor.decoder.picture_size, sensor.returns)
        return picture_window(*windows[sensor.name], end_ns, self.spec, known(source), source)

    def window_while_distrusted(self, end_ns: int) -> np.ndarray | None:
        """The model input that ends at ``end_ns`` of a source that does not serve because it is not believed; None without it."""
        self.make_rows()
        buffers = {sensor.name: sensor.buffer for sensor in self.sensors if sensor.buffer is not None}
        windows = {name: buffer.window(end_ns) for name, buffer in buffers.items()}
        return self.input_of({name: window for name, window in windows.items() if len(window[0])}, end_ns)

    @property
    def judgement_due(self) -> bool:
        """Whether its newest window should be judged."""
        return self.trust is not None and self.newest_ns > 0 and self.trust.due(self.newest_ns)

    @property
    def has_holes(self) -> bool:
        """Whether its slowest sensor left holes in the part of its newest window that is judged."""
        slowest = max(self.sensors, key=lambda sensor: sensor.liveness.period_s)
        assert slowest.buffer is not None and self.trust is not None
        return self.trust.has_holes(slowest.buffer.window(self.newest_ns)[0])

    def conclude(self, newest_ns: int, judgement: Judgement | None) -> None:
        """Follow the judgement of a window whose newest row is at ``newest_ns``, None if there was too little data."""
        assert self.trust is not None
        before = self.trust.distrusted
        self.trust.follow(newest_ns, judgement)
        if before and not self.trust.distrusted:
            for sensor in self.sensors:  # rows of the time of the lie must not be part of a later window
                if sensor.buffer is not None:
                    sensor.buffer.forget_before(self.trust.good_from_ns)

    def note_absence(self, statuses: dict[str, Status], end_ns: int) -> None:
        """Say in the statuses why the input is not in the mask, although sensors of it are live.

        A part stays OK, because its own topic is well, and has the reason.
        """
        if not self.joined:
            statuses[self.name] = self.sensors[0].without_rows(end_ns)
            return
        failing = [f"{s.name} is {statuses[s.name].state.name}" for s in self.sensors if not statuses[s.name].live]
        why = f"because {' and '.join(failing)}" if failing else f"until {self.name} fill a step of it together"
        for sensor in self.sensors:
            status = statuses[sensor.name]
            if status.live:
                statuses[sensor.name] = sensor.status = replace(status, reason=f"the input {self.spec.name} is left out, {why}")
