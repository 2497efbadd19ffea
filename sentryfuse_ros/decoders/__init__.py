"""Messages of a sensor in; stamps, faults, fingerprints and rows for the model out. One file per message type.

`make_decoder` asks the registry of sensor kinds for the class and imports its file when it is first needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import ParameterError
from ..preprocessing.spec import ModalitySpec
from ..sensor_kinds import sensor_kind, sensor_kinds
from .batch import Batch, PayloadFault
from .decoder import Decoder
from .series import FieldReading

__all__ = ["Batch", "Decoder", "FieldReading", "PayloadFault", "make_decoder"]


def make_decoder(
    kind: str,
    msg_type: str,
    spec: ModalitySpec | None = None,
    limits: Mapping[str, float] | None = None,
    deserialize: Callable[[bytes], Any] | None = None,
    reading: FieldReading | None = None,
) -> Decoder:
    """Decoder for one sensor.

    Without a ``spec`` messages are checked and, except those of an IMU, give no rows. ``limits`` override the decoder's
    ``default_limits``. ``deserialize(bytes)`` is the middleware's deserialiser of ``msg_type``, for encodings that are not
    read in place. ``reading`` says which fields are read, for a kind that reads any message type.
    Raises ParameterError for a kind, message type, limit, field or spec that does not fit.
    """
    record = sensor_kind(kind)
    decoder_class = record.decoder_class(msg_type)
    if spec is not None:
        if spec.kind != kind:
            raise ParameterError(
                f"model input {spec.name!r}",
                f"a sensor of kind {kind}",
                f"one of kind {spec.kind}",
                "set the sensor's model_input to an input of its own kind",
            )
        record.check_spec(spec)
    if record.field_decoder is not None:
        return decoder_class(msg_type, spec, limits, deserialize, reading or FieldReading((), (), (), None))
    if reading is not None and (reading.paths or any(map(math.isfinite, (*reading.low, *reading.high)))):
        raise ParameterError(
            "fields, field_min and field_max",
            ", ".join(reading.paths) or "limits",
            f"none: {kind} sensors are read as a whole",
            "remove them, or set kind to one of " + ", ".join(other.name for other in sensor_kinds() if other.field_decoder),
        )
    return decoder_class(msg_type, spec, limits, deserialize)
