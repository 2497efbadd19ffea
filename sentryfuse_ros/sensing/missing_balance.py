"""How many messages are missing, by the steps between stamps, where a driver may stamp its messages unevenly."""

from __future__ import annotations

import math
from collections import deque

GAP = 1.5  # a step of this many periods is nearer to two periods than to one
SHORT = 0.6  # a step of fewer periods, which no loss can make, shows that the messages are stamped unevenly
OWED_STAMPS = 5  # what is owed at so many stamps in a row is missing, and what is owed at fewer was late; a burst counts as one
UNEVEN_STAMPS = 64  # stamps without a short step after which they count as even again
MOST_EARLY = 2.0  # messages by which a driver may be ahead of its period; more would hide as many lost ones
WHOLE = 0.2  # what is owed and no farther from a whole number is lost rather than late, where nothing later can tell
# Of each half message in the balance, this share is forgotten with every stamp: the period is never known exactly, and its
# error would add up.
FORGOTTEN = 1 / 16


class MissingBalance:
    """The messages that are owed by a sensor at its newest stamp, and those known to be missing.

    A message that is stamped late makes a long step and then shorter ones; a lost one makes a long step only. The balance of both
    tells them apart: messages are missing if they are still owed some stamps later. After regular steps the balance is 0, and as
    long as nothing but these follow it stays so.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Nothing is owed."""
        self._owed = 0.0  # messages that should have come by the newest stamp and have not; below 0 the sensor is ahead
        self._newest: deque[float] = deque([0.0] * OWED_STAMPS, maxlen=OWED_STAMPS)  # what was owed at the newest stamps
        self._open = 0  # regular steps until the balance is closed

    @property
    def closed(self) -> bool:
        """Whether nothing is owed, so that a regular step changes nothing."""
        return not self._open

    def add(self, step: float, filled: int = 0) -> int:
        """Messages that are known to be missing now that one has come ``step`` periods after the last; below 0 if out of order.

        ``filled`` messages came in between without a believable stamp; they are not missing.
        """
        owed = step - 1
        if step > GAP:
            owed = max(owed - filled, 0.0)
        elif step < 0:
            owed = -1.0
        elif step == 0:  # a copy of the last, unless something is owed
            owed = -1.0 if self._owed > 0 else 0.0
        regular = SHORT <= owed + 1 <= GAP
        if not regular:
            self._open = max(self._open, UNEVEN_STAMPS if 0 < step < SHORT else OWED_STAMPS)
        elif not self._open:
            return 0
        else:
            self._open -= 1
        # Towards a whole number of messages, or towards 0 where the stamps are so uneven that a whole number may be chance.
        error = self._owed - round(self._owed) if self._open <= OWED_STAMPS else min(max(self._owed, -0.5), 0.5)
        self._owed -= FORGOTTEN * error
        self._owed = max(self._owed + owed, -MOST_EARLY)
        if step < SHORT:  # as inside a burst, however long, which pays back what its first message seemed to owe
            self._newest[-1] = self._owed
        else:
            self._newest.append(self._owed)
        missing = math.floor(min(self._newest) + 0.5)
        if missing > 0:
            self._owed -= missing
            self._newest = deque((value - missing for value in self._newest), OWED_STAMPS)
        if not self._open:
            self.clear()
        return max(0, missing)

    def end(self) -> int:
        """Messages that are missing as far as can be told now, because what comes next follows nothing; nothing is owed then."""
        missing = round(self._owed)
        told = abs(self._owed - missing) <= WHOLE
        self.clear()
        return max(0, missing) if told else 0
