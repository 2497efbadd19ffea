"""What passes from a tick to its prediction, and what is known of a sensor at a tick; without ROS."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..preprocessing.picture_window import PictureWindow
from ..sensing.liars import Hearing
from ..sensing.liveness import Status
from ..sensing.snapshot import Snapshot
from ..settings import SensorSettings
from .inference import Inference
from .power_governor import GovernorState


@dataclass(slots=True)
class Tick:
    """Everything one inference needs, copied out of the buffers: nothing in it is shared with them."""

    sequence: int
    node_ns: int
    snapshot: Snapshot
    inputs: dict[str, np.ndarray | PictureWindow]
    mask: np.ndarray  # bool (M,): the live inputs
    used: tuple[bool, ...]  # (M,): those of them that the ratio's plan uses
    serving: tuple[str, ...]  # the sensor of each model input, with + between those that make it up together; "" where none
    power: GovernorState
    statuses: dict[str, Status]
    newest_age_s: float  # time since the newest sample of the serving sensors arrived
    hearings: tuple[Hearing, ...]  # the windows that `Pipeline.judge` judges
    waiting_since_s: float = 0.0  # when this snapshot could have been taken first, on the caller's steady clock


@dataclass(frozen=True, slots=True)
class Prediction:
    """What `FusedPrediction` carries, without ROS."""

    tick: Tick
    valid: bool
    reason: str
    inference: Inference | None = None
    stamp_ns: int = 0


@dataclass(frozen=True, slots=True)
class SensorView:
    """What is known of one sensor, to be shown and published."""

    settings: SensorSettings
    status: Status | None  # as of the newest check, None before the first
    serves_model: bool  # False: the sensor is only watched
    asleep: bool  # live, but the plan in force has no use for it
    held: bool  # the plan in force takes a picture of it only now and then
    disabled: bool  # by an operator
    skips_messages: bool  # asleep or held, and only its newest messages are needed
    buffered_rows: int
    last_decode_error: str
