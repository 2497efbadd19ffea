"""How long a sensor's topic may be left alone, so that taking its messages costs little and nothing is noticed late."""

from __future__ import annotations

from math import ceil

from ..nanoseconds import NS_PER_S

LONGEST_REST_S = 0.5  # two looks a second at least, so that a failure is noticed at most this much later
QUEUE_SHARE = 0.65  # share of the queue that may fill meanwhile
LOOKS_PER_SLOT = 0.75  # of a slot is shared by a whole number of looks; the rest allows for a poll that comes late
FEWEST_MESSAGES = 3  # a rest in which fewer messages come saves nothing
RESTING_DEPTH = 2  # messages that the queue of a sensor keeps whose messages may be skipped: two in a row tell its rate


def looks_apart_ns(period_s: float, queue_depth: int, slot_ns: int = 0) -> int:
    """Time from one look at a topic to the next [ns]; 0 where every poll must look.

    period_s: time between messages, 0 where unknown. queue_depth: messages that the queue of the subscription holds. slot_ns:
    for cameras and LiDARs, whose messages may be skipped, the length of a slot of the window, of which each needs a picture; 0
    for sensors of which every message counts.
    """
    if period_s <= 0:
        return 0
    if slot_ns:
        slot_s = slot_ns / NS_PER_S
        rest_s = LOOKS_PER_SLOT * slot_s / ceil(slot_s / LONGEST_REST_S)
    else:
        rest_s = min(LONGEST_REST_S, QUEUE_SHARE * queue_depth * period_s)
    return round(rest_s * NS_PER_S) if rest_s >= FEWEST_MESSAGES * period_s else 0
