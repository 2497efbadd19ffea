"""One sensor without ROS: its messages in, its liveness and its last seconds out; and the model inputs cut from several.

The node and the making of data sets from recordings use the same, so a model is trained on what it will see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..decoders import make_decoder
from ..preprocessing import ModalitySpec, model_input
from ..settings import SensorSettings
from .liveness import LivenessConfig, SensorLiveness, State, Status
from .snapshot import Snapshot, take_snapshot
from .window_buffer import WindowBuffer

LIVENESS_PARAMETERS = (
    "expected_rate_hz",
    "timeout_s",
    "max_latency_s",
    "future_tolerance_s",
    "backward_tolerance_s",
    "trust_stamps",
    "frozen_samples",
    "invalid_samples",
    "good_samples",
    "grace_s",
    "required",
)
WITHOUT_HEADER = ("audio_common_msgs/msg/AudioData",)


class Sensor:
    """One sensor instance: decoder, liveness, and the buffer where the model uses it."""

    def __init__(self, settings: SensorSettings, specs: Sequence[ModalitySpec], deserialize: Callable[[bytes], Any] | None):
        self.settings = settings
        self.name = settings.name
        self.spec = next((spec for spec in specs if spec.name == settings.model_input), None)
        # A zero stamp where there should be one is a fault; types without a header, and sensors whose stamps are
        # not to be trusted, take the time of arrival.
        limits = dict(settings.limits)
        if not settings.values["trust_stamps"]:
            limits["use_arrival_stamp"] = 1.0
        self.stamp_by_arrival = not settings.values["trust_stamps"] or settings.msg_type in WITHOUT_HEADER
        self.decoder = make_decoder(settings.kind, settings.msg_type, self.spec, limits, deserialize)
        self.liveness = SensorLiveness(LivenessConfig(**{name: settings.values[name] for name in LIVENESS_PARAMETERS}))
        self.buffer: WindowBuffer | None = None  # made with the first rows: their shape is the decoder's to say
        self.status: Status | None = None
        self.error = ""
        self.last_arrival_ns = 0

    def feed(self, messages: Sequence, arrival_ns: np.ndarray, now_node_ns: int, now_arrival_ns: int) -> None:
        """See `Pipeline.feed`."""
        self.last_arrival_ns = int(arrival_ns[-1])
        arrival_node_ns = now_node_ns - (now_arrival_ns - arrival_ns)
        batch = self.decoder.decode(messages, arrival_node_ns if self.stamp_by_arrival else None)
        if batch.error:
            self.error = batch.error
        self.liveness.observe(arrival_ns, int(arrival_node_ns[-1]), batch.stamp_ns, batch.fault, batch.fingerprint)
        if self.spec is None or not len(batch.rows):
            return
        if self.buffer is None:
            self.buffer = WindowBuffer(self.spec.window_s, self._row_rate_hz(), batch.rows.shape[1:], batch.rows.dtype)
        self.buffer.append(batch.row_stamp_ns, batch.rows)

    def check(self, now_node_ns: int, now_arrival_ns: int) -> Status:
        """Liveness now."""
        self.status = self.liveness.update(now_arrival_ns, now_node_ns)
        if self.buffer is not None and self.status.state in (State.FROZEN, State.INVALID):
            self.buffer.clear()  # what a broken sensor said must not be part of a later window
        if self.status.state == State.INVALID and self.error and self.status.reason.startswith("payload"):
            self.status = replace(self.status, reason=f"{self.status.reason}: {self.error}")
        return self.status

    def reset(self) -> None:
        self.liveness.reset()
        self.decoder.reset()
        if self.buffer is not None:
            self.buffer.clear()

    def _row_rate_hz(self) -> float:
        """Rows a second to make room for; the buffer grows where a sensor is faster."""
        if self.settings.kind == "audio":
            return float(self.spec.options.get("sample_rate_hz", 16000))
        expected = self.settings.values["expected_rate_hz"]
        return 2.0 * expected if expected else {"camera": 60.0, "imu": 1000.0, "lidar": 40.0}[self.settings.kind]


class Cut(NamedTuple):
    """Model inputs of one moment: the snapshot, the sensor that serves each input (or None), inputs by name."""

    snapshot: Snapshot
    serving: list[Sensor | None]
    inputs: dict[str, np.ndarray]


def slots_of(sensors: Iterable[Sensor], names: Sequence[str]) -> tuple[tuple[Sensor, ...], ...]:
    """For every model input the sensors that may serve it, in their order."""
    sensors = tuple(sensors)
    return tuple(tuple(s for s in sensors if s.settings.model_input == name) for name in names)


def cut_inputs(
    slots: Sequence[Sequence[Sensor]], specs: Sequence[ModalitySpec], statuses: Mapping[str, Status], now_node_ns: int
) -> Cut:
    """Cut what is live now, copied out of the buffers. ``slots`` and ``specs`` in mask order."""
    # Of several sensors for one input the first live one serves: the others are its spares.
    serving = [next((s for s in candidates if statuses[s.name].live and s.buffer is not None), None) for candidates in slots]
    buffers = {spec.name: s.buffer if s else None for spec, s in zip(specs, serving, strict=True)}
    # The window ends at the newest sample, not at the moment of the tick: the same recording then gives the
    # same inputs, whatever the timing of the machine.
    end_ns = min(now_node_ns, max((s.buffer.newest_ns for s in serving if s), default=now_node_ns))
    snapshot = take_snapshot(buffers, [s is not None for s in serving], end_ns)
    inputs = {
        spec.name: model_input(spec, *snapshot.windows[spec.name], snapshot.end_ns)
        for spec in specs
        if spec.name in snapshot.windows
    }
    return Cut(snapshot, serving, inputs)
