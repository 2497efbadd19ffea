"""One sensor without ROS: messages in; its liveness and the rows of its last seconds out.

The node and the builder of data sets use the same class, so a model is trained on what it sees on the robot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from ..decoders import make_decoder
from ..nanoseconds import NS_PER_S
from ..preprocessing import ModalitySpec
from ..sensor_kinds import sensor_kind
from ..settings import SensorSettings
from .liveness import LivenessConfig, SensorLiveness, State, Status
from .window_buffer import WindowBuffer

LONGEST_REST_S = 0.5  # between the rows of a sensor that is asleep


class Sensor:
    """One sensor instance: its decoder, its liveness, and a buffer of rows if the model has an input for it.

    ``specs`` are the inputs of the model; a sensor whose `model_input` is not among them is watched but not used.
    ``deserialize(bytes)`` turns a serialised message of the sensor's type into an object, for encodings that the decoder
    does not read in place. Raises ParameterError for settings that do not fit together.
    """

    def __init__(self, settings: SensorSettings, specs: Sequence[ModalitySpec], deserialize: Callable[[bytes], Any] | None):
        self.settings = settings
        self.name = settings.name
        self.kind = sensor_kind(settings.kind)
        self.spec = next((spec for spec in specs if spec.name == settings.model_input), None)
        limits = dict(settings.limits)
        if not settings.trust_stamps:
            limits["use_arrival_stamp"] = 1.0
        # Elsewhere a stamp of zero is a fault of the driver and must not be replaced by the time of arrival.
        self.stamp_by_arrival = not settings.trust_stamps or settings.msg_type in self.kind.headerless_types
        self.decoder = make_decoder(settings.kind, settings.msg_type, self.spec, limits, deserialize)
        self.liveness = SensorLiveness(LivenessConfig(**{f.name: getattr(settings, f.name) for f in fields(LivenessConfig)}))
        self.buffer: WindowBuffer | None = None  # made with the first rows, whose shape and type the decoder decides
        self.status: Status | None = None  # as of the last `check`
        self.error = ""  # text of the decoder's last complaint
        self.last_arrival_ns = 0
        self.asleep = False
        self._rest_ns = 0  # while it is asleep, rows are made this often; 0: always
        if self.spec is not None and self.kind.made_of_frames:
            self._rest_ns = round(min(self.spec.window_s / self.spec.shape[0], LONGEST_REST_S) * NS_PER_S)
        self._last_rows_ns = 0
        self._future_ns = round(settings.future_tolerance_s * NS_PER_S)

    def sleep(self, asleep: bool) -> None:
        """Say whether the model has no use for the sensor at present.

        Every message is still checked, so liveness notices as much and as soon as ever. A camera or a LiDAR that is asleep
        makes rows, which costs most, only as often as a window has room for them: when it wakes, its window is whole.
        """
        self.asleep = asleep

    @property
    def newest_ns(self) -> int:
        """Stamp of the newest row in the buffer [ns], 0 without one."""
        return self.buffer.newest_ns if self.buffer is not None else 0

    def feed(self, messages: Sequence[Any], arrival_ns: np.ndarray, now_node_ns: int, now_arrival_ns: int) -> None:
        """Take messages (raw CDR bytes or objects, oldest first, at least one) that arrived at ``arrival_ns`` (n,) int64.

        ``now_node_ns`` and ``now_arrival_ns`` are the node clock and the arrival clock at this moment. Bad messages are
        counted, never raised.
        """
        self.last_arrival_ns = int(arrival_ns[-1])
        arrival_node_ns = now_node_ns - (now_arrival_ns - arrival_ns)
        self.decoder.rows_wanted = not self.asleep or self.last_arrival_ns - self._last_rows_ns >= self._rest_ns
        batch = self.decoder.decode(messages, arrival_node_ns if self.stamp_by_arrival else None)
        if batch.error:
            self.error = batch.error
        self.liveness.observe(arrival_ns, int(arrival_node_ns[-1]), batch.stamp_ns, batch.fault, batch.fingerprint)
        if self.spec is None or not len(batch.rows):
            return
        if self.buffer is None:
            rate_hz = self.kind.buffer_rate_hz(self.spec.options, self.settings.expected_rate_hz)
            self.buffer = WindowBuffer(self.spec.window_s, rate_hz, batch.rows.shape[1:], batch.rows.dtype)
        stamps, rows = batch.row_stamp_ns, batch.rows
        if self.settings.trust_stamps and now_node_ns > 0:
            # A row from the future would be the newest for as long as it takes, whatever comes after it.
            believable = (stamps > 0) & (stamps <= int(arrival_node_ns[-1]) + self._future_ns)
            if not believable.all():
                stamps, rows = stamps[believable], rows[believable]
        self.buffer.append(stamps, rows)
        self._last_rows_ns = self.last_arrival_ns

    def check(self, now_node_ns: int, now_arrival_ns: int) -> Status:
        """State of the sensor at this moment, also kept as `status`."""
        self.status = self.liveness.update(now_arrival_ns, now_node_ns)
        if self.buffer is not None and self.status.state in (State.FROZEN, State.INVALID):
            self.buffer.clear()  # rows from a broken sensor must not be part of a later window
        if self.status.state == State.INVALID and self.error and self.status.reason.startswith("payload"):
            self.status = replace(self.status, reason=f"{self.status.reason}: {self.error}")
        return self.status

    def without_rows(self, end_ns: int) -> Status:
        """Say that the sensor has nothing in the window that ends at ``end_ns``, although its messages are good.

        Its state is LATE if its rows are older than the window, else RECOVERING. Also kept as `status`.
        """
        assert self.status is not None and self.spec is not None, "called for a sensor of the model after its check"
        age_s = (end_ns - self.newest_ns) / NS_PER_S
        if self.newest_ns:
            state, reason = State.LATE, f"newest row {age_s:.2f} s before the end of the window of {self.spec.window_s:g} s"
        else:
            state, reason = State.RECOVERING, "no row for the model yet"
        self.status = replace(self.status, state=state, reason=reason)
        return self.status

    def reset(self) -> None:
        """Forget states, stamps and rows, as after a jump of the clock; message counts stay."""
        self.liveness.reset()
        self.decoder.reset()
        self._last_rows_ns = 0
        if self.buffer is not None:
            self.buffer.clear()
