"""What a lie is: the messages of one sensor, changed so that they can still be read and say something wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

Change = Callable[[Sequence[bytes], np.random.Generator], list[bytes]]


class Lie(NamedTuple):
    """One kind of lie. ``change`` turns the serialised messages of a whole recording, in order, into those of the lying sensor;
    their number, order and stamps stay."""

    sensor: str
    name: str
    text: str
    change: Change
