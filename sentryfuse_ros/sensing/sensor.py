"""One sensor without ROS: messages in; its liveness and the rows of its last seconds out.

The node and the builder of data sets use the same class, so a model is trained on what it sees on the robot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, replace
from typing import Any, NamedTuple

import numpy as np

from ..decoders import FieldReading, make_decoder
from ..decoders.batch import Batch
from ..decoders.message_definition import Message
from ..nanoseconds import NS_PER_S
from ..preprocessing import ModalitySpec
from ..sensor_kinds import sensor_kind
from ..settings import SensorSettings
from .body_motion import BodyMotion
from .liveness import LivenessConfig, SensorLiveness, State, Status
from .rest import LONGEST_REST_S, looks_apart_ns
from .trust_table import TrustTable
from .trust_watch import MASK, OFF, TrustWatch
from .window_buffer import WindowBuffer

OTHER_CLOCK_S = 10.0  # a message that seems to be on the way for longer was stamped by another clock
# A picture makes a row at the latest when this share of a slot has passed since the last row. Awake: so that the picture of a
# slot is not much older than the newest one was at the slot's end. Asleep: so that no slot is left without one.
SLOT_SHARE, SLOT_SHARE_ASLEEP = 0.2, 0.7
USED_SHARE = 0.9  # windows per message from which every message is taken to be used


class _Picture(NamedTuple):
    """The newest message of a camera or LiDAR, of which no window has needed a row yet."""

    message: Any
    stamp_ns: int
    arrival_node_ns: int


class Sensor:
    """One sensor instance: its decoder, its liveness, and a buffer of rows if the model has an input for it.

    ``specs`` are the inputs of the model; a sensor whose `model_input` is not among them is watched but not used.
    ``deserialize(bytes)`` turns a serialised message of the sensor's type into an object, for encodings that the decoder
    does not read in place. Raises ParameterError for settings that do not fit together.

    ``window_rate_hz``: how often windows are taken. A camera or LiDAR then makes rows only of what a window will use: of the
    message that is likely to be the newest when the next window is taken (`expect_window`), of the newest if that was another
    one (`make_rows`), and of a few in each slot where windows are rarer. With 0, every message makes a row, as for building a
    data set.

    ``definition``: that of the message type, which a sensor with `fields` needs. ``table``: what the windows of its model input
    look like; without one, or with the parameter `trust` off, its data are not judged.

    Reading messages may take long, so `feed` and `make_rows` do it without ``lock``, and hold the lock while they change what
    `check` and the window depend on. Another thread that holds it may use both while a message is being read. Only one thread
    at a time may call `feed` and `make_rows`.
    """

    def __init__(
        self,
        settings: SensorSettings,
        specs: Sequence[ModalitySpec],
        deserialize: Callable[[bytes], Any] | None,
        window_rate_hz: float = 0.0,
        definition: Message | None = None,
        table: TrustTable | None = None,
        lock: AbstractContextManager[Any] | None = None,
    ):
        self.settings = settings
        self._lock = lock if lock is not None else nullcontext()
        self.name = settings.name
        self.kind = sensor_kind(settings.kind)
        self.spec = next((spec for spec in specs if spec.name == settings.model_input), None)
        limits = dict(settings.limits)
        if not settings.trust_stamps:
            limits["use_arrival_stamp"] = 1.0
        reading = FieldReading(settings.fields, settings.field_min, settings.field_max, definition)
        # A part has some of the input's channels only; `InputSource` checks that all parts have them together.
        whole_spec = None if settings.part else self.spec
        self.decoder = make_decoder(settings.kind, settings.msg_type, whole_spec, limits, deserialize, reading)
        headerless = self.decoder.headerless or settings.msg_type in self.kind.headerless_types
        # Elsewhere a stamp of zero is a fault of the driver and must not be replaced by the time of arrival.
        self.stamp_by_arrival = not settings.trust_stamps or headerless
        self.liveness = SensorLiveness(LivenessConfig(**{f.name: getattr(settings, f.name) for f in fields(LivenessConfig)}))
        self.trust: TrustWatch | None = None
        if self.spec is not None and table is not None and settings.trust != OFF:
            masks = settings.trust == MASK
            self.trust = TrustWatch(self.spec, table, masks, settings.invalid_samples, settings.good_samples)
        self.motion: BodyMotion | None = None  # of an IMU that a camera's stream asks
        self.buffer: WindowBuffer | None = None  # made with the first rows, whose shape and type the decoder decides
        # What makes its windows and keeps the parts that they have in common, where the kind has such a thing.
        self.input_stream = self.kind.make_input_stream(self.spec) if self.spec is not None and not settings.part else None
        self.status: Status | None = None  # as of the last `check`
        self.error = ""  # text of the decoder's last complaint
        self.last_arrival_ns = 0
        self.asleep = self.held = False
        self.returns = 0  # how often it has become live
        self.makes_frames = self.spec is not None and self.kind.made_of_frames
        self._slot_ns = round(self.spec.window_s / self.spec.shape[0] * NS_PER_S) if self.spec and self.makes_frames else 0
        self._window_rate_hz = window_rate_hz if self.makes_frames else 0.0
        self._window_period_ns = round(NS_PER_S / window_rate_hz) if window_rate_hz else 0
        self._looked_ns = 0  # arrival clock when the topic was last looked at
        self._rested = self._skipped = False  # whether a look was left out since, and messages may have been
        self._picture: _Picture | None = None
        self._window_due_ns: int | None = None
        self._future_ns = round(settings.future_tolerance_s * NS_PER_S)
        self._forget_rows()

    def _forget_rows(self) -> None:
        self._picture = None
        self._last_rows_ns = 0
        # Until a row was made without a fault, rows are made of every message: some faults show only then.
        self._rows_proven = False
        if self.buffer is not None:
            self.buffer.clear()

    @property
    def newest_ns(self) -> int:
        """Stamp of the newest row in the buffer [ns], 0 without one."""
        return self.buffer.newest_ns if self.buffer is not None else 0

    # ---- looking at the topic -----------------------------------------------------------------------------------------

    def sleep(self, asleep: bool, held: bool = False) -> None:
        """Say whether the model has no use for the sensor at present (docs/POWER.md).

        ``held``: it takes part, but a picture of it serves several windows. It is then awake only when the next one takes a new
        picture.
        """
        self.asleep, self.held = asleep, held

    def may_rest(self, hold_s: float) -> bool:
        """Whether a row every ``hold_s`` is enough, because no slot of a window is shorter."""
        return self.makes_frames and self._slot_ns >= hold_s * NS_PER_S

    def expect_window(self, due_arrival_ns: int | None) -> None:
        """Say when the next window that uses the sensor will be taken [ns, arrival clock]; None if none will, or nobody knows.

        The row of the last message before it is then made when that message comes, and the window need not wait for it. A wrong
        guess costs a row: `make_rows` makes the one that is missing.
        """
        self._window_due_ns = due_arrival_ns

    def look_due(self, now_arrival_ns: int, window_due: bool) -> bool:
        """Whether the topic should be looked at now, that is, its messages taken and fed, even if there are none.

        ``window_due``: a window is about to be taken. A sensor that is awake is then always looked at, a camera or LiDAR also in
        between, because several large messages at once would delay the window. A sensor that is asleep is looked at as often as
        `rest.looks_apart_ns` says; one with small messages at the last window before, so that no look is made for it alone.
        Nobody needs to ask; whoever does must `feed` what a look brings.
        """
        due = self._must_look(now_arrival_ns, window_due)
        self._rested |= not due
        self._skipped |= not due and self.skips_messages
        return due

    def look_due_by(self, arrival_ns: int) -> bool:
        """Whether the topic will have to be looked at by this time [arrival clock], even if no window is taken."""
        return self._must_look(arrival_ns, False)

    def _must_look(self, now_arrival_ns: int, window_due: bool) -> bool:
        if not self.asleep and (window_due or self.makes_frames and not self.held):
            return True
        if self.liveness.suspicious(self._looked_ns):
            return True
        if self.held:
            return now_arrival_ns - self._looked_ns >= LONGEST_REST_S * NS_PER_S
        apart_ns = looks_apart_ns(self.liveness.period_s, self.settings.queue_depth, self._slot_ns)
        early_ns = self._window_period_ns if window_due and not self.makes_frames else 0
        return now_arrival_ns + early_ns - self._looked_ns >= apart_ns

    @property
    def skips_messages(self) -> bool:
        """Whether only the newest messages need to be kept between two looks."""
        return (self.asleep or self.held) and self.makes_frames

    # ---- messages in, rows out ------------------------------------------------------------------------------------------

    def feed(
        self, messages: Sequence[Any], arrival_ns: np.ndarray, now_node_ns: int, now_arrival_ns: int, more_wait: bool = False
    ) -> None:
        """Take messages (raw CDR bytes or objects, oldest first) that arrived at ``arrival_ns`` (n,) int64.

        ``now_node_ns`` and ``now_arrival_ns`` are the node clock and the arrival clock at this moment. ``more_wait``: newer
        messages are here already and will be fed next. Bad messages are counted, never raised.
        """
        batch, arrival_node_ns = None, arrival_ns
        if len(messages):
            self.last_arrival_ns = int(arrival_ns[-1])
            arrival_node_ns = now_node_ns - (now_arrival_ns - arrival_ns)
            self.decoder.rows_from = self._rows_from(len(messages), more_wait)
            batch = self.decoder.decode(messages, arrival_node_ns if self.stamp_by_arrival else None)
        with self._lock:
            skipped, self._rested = self._skipped, False
            self._looked_ns = now_arrival_ns
            if batch is None:
                return
            self._skipped = False
            if batch.error:
                self.error = batch.error
            if self.motion is not None:
                self.motion.note(*self._believable(batch, int(arrival_node_ns[-1])))
            self.liveness.observe(arrival_ns, int(arrival_node_ns[-1]), batch.stamp_ns, batch.fault, batch.fingerprint, skipped)
            if self.spec is not None:
                self._keep(batch, messages, arrival_node_ns)

    def _rows_from(self, count: int, more_wait: bool) -> int:
        """Index of the first of ``count`` new messages that rows are made of, ``count`` for none."""
        if not self._window_rate_hz or not self._rows_proven:
            return 0
        if not self.asleep and not more_wait and self._last_before_window:
            return count - 1  # a window will use it: made at once, the row does not delay that window
        if self.held:
            return count
        share = SLOT_SHARE_ASLEEP if self.asleep else SLOT_SHARE
        return count - 1 if self.last_arrival_ns - self._last_rows_ns >= share * self._slot_ns else count

    @property
    def _last_before_window(self) -> bool:
        """Whether the next message is likely to come only after the next window was taken."""
        period_s = self.liveness.period_s
        if period_s * self._window_rate_hz >= USED_SHARE:
            return True
        due_ns = self._window_due_ns
        return due_ns is not None and period_s > 0 and self.last_arrival_ns + period_s * NS_PER_S >= due_ns

    def _keep(self, batch: Batch, messages: Sequence[Any], arrival_node_ns: np.ndarray) -> None:
        """Keep the rows of a batch, and its newest good message if no row was made of it."""
        if self._window_rate_hz:
            newest = max(np.flatnonzero(batch.fault == 0).tolist(), default=-1)
            if 0 <= newest < self.decoder.rows_from:
                self._picture = _Picture(messages[newest], int(batch.stamp_ns[newest]), int(arrival_node_ns[newest]))
        if len(batch.rows):
            self._append(batch, int(arrival_node_ns[-1]))
            self._last_rows_ns = self.last_arrival_ns

    def make_rows(self) -> None:
        """Make the row that a window which is about to be taken needs of the newest picture."""
        picture, self._picture = self._picture, None
        if picture is None or picture.stamp_ns <= self.newest_ns:
            return
        self.decoder.rows_from = 0
        batch = self.decoder.decode([picture.message], np.array([picture.arrival_node_ns]) if self.stamp_by_arrival else None)
        with self._lock:
            self._rows_proven = not batch.error
            if batch.error:
                self.error = batch.error
            if len(batch.rows):
                self._append(batch, picture.arrival_node_ns)
                self._last_rows_ns = self.last_arrival_ns

    def _append(self, batch: Batch, arrival_node_ns: int) -> None:
        if self.buffer is None:
            assert self.spec is not None
            rate_hz = self.kind.buffer_rate_hz(self.spec.options, self.settings.expected_rate_hz)
            if self._window_rate_hz:
                rate_hz = min(rate_hz, self._window_rate_hz + NS_PER_S / self._slot_ns)
            reach_s = self.spec.window_s + (self.input_stream.reach_ns / NS_PER_S if self.input_stream else 0.0)
            self.buffer = WindowBuffer(reach_s, rate_hz, batch.rows.shape[1:], batch.rows.dtype)
        self.buffer.append(*self._believable(batch, arrival_node_ns))
        self._rows_proven = not batch.error

    def _believable(self, batch: Batch, arrival_node_ns: int) -> tuple[np.ndarray, np.ndarray]:
        """Stamps and rows of a batch that arrived at this time, without those whose stamps are impossible.

        A row from the future would be the newest for as long as it takes, whatever comes after it.
        """
        stamps, rows = batch.row_stamp_ns, batch.rows
        if self.settings.trust_stamps and arrival_node_ns > 0:
            believable = (stamps > 0) & (stamps <= arrival_node_ns + self._future_ns)
            if not believable.all():
                return stamps[believable], rows[believable]
        return stamps, rows

    # ---- liveness -----------------------------------------------------------------------------------------------------

    def check(self, now_node_ns: int, now_arrival_ns: int) -> Status:
        """State of the sensor at this moment, also kept as `status`."""
        was_live = self.status is not None and self.status.live
        looked_ns = self._looked_ns if self._rested else None
        self.status = self.liveness.update(now_arrival_ns, now_node_ns, looked_ns)
        if self.status.state in (State.FROZEN, State.INVALID):
            self._forget_rows()  # rows from a broken sensor must not be part of a later window
        if self.status.state == State.INVALID and self.error and self.status.reason.startswith("payload"):
            self.status = replace(self.status, reason=f"{self.status.reason}: {self.error}")
        elif self._is_clock_trouble(self.status):
            remedy = f"set {self.name}.trust_stamps: false if its stamps are not of this clock"
            if self.status.state == State.LATE and now_arrival_ns != now_node_ns:  # the two are one in simulated time
                remedy += ", or use_sim_time: true if a recording is played (ros2 bag play --clock)"
            self.status = replace(self.status, reason=f"{self.status.reason}; {remedy}")
        if self.trust is not None:
            self.status = self.trust.apply(self.status)
        self.returns += self.status.live and not was_live
        return self.status

    @staticmethod
    def _is_clock_trouble(status: Status) -> bool:
        """Whether the stamps of a sensor cannot be of the node's clock, rather than that its messages are on the way for long."""
        if status.state == State.LATE:
            return status.latency_s > OTHER_CLOCK_S
        return status.state == State.INVALID and status.reason.startswith("stamp") and "behind" not in status.reason

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
        if self.motion is not None:
            self.motion.reset()
        if self.trust is not None:
            self.trust.reset()
        self._looked_ns, self._rested, self._skipped = 0, False, False
        self._window_due_ns = None
        self._forget_rows()
