"""How many of the windows that changed are encoded anew, and when all of them are."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import Annotated

from ..validation import Count, Rule, Share, ShareAboveZero, check, one_of
from .change_detection import Change

POLICIES = ("threshold", "top_k", "budget")
_Refresh = Annotated[int, Rule(lambda v: v >= 0, "a whole number of 0 or more")]


@dataclass(frozen=True)
class StreamPolicy:
    """Which windows to encode, from how much each has changed.

    threshold: all that changed. top_k: of those at most ``most_windows``, the most changed first. budget: of those at most the
    share ``most_share`` of all windows at pruning ratio 0, and the less the higher the ratio, down to ``left_at_1`` of them.
    """

    kind: Annotated[str, one_of(POLICIES)] = "threshold"
    most_windows: Count = 6
    most_share: ShareAboveZero = 0.25
    left_at_1: Share = 0.75  # what is left of this share at a pruning ratio of 1
    # Every window is encoded once in so many pictures that are not reused, whatever its change; 0: never.
    refresh_pictures: _Refresh = 60
    dense_above: ShareAboveZero = 0.7  # where a larger share of the windows has changed, or is to be encoded, all are

    def __post_init__(self) -> None:
        check(self, "stream policy", "correct the streaming section")

    def limit(self, windows: int, ratio: float) -> int:
        """At most so many windows may be encoded because they changed, at a pruning ratio in force."""
        if self.kind == "threshold":
            return windows
        if self.kind == "top_k":
            return min(self.most_windows, windows)
        return max(1, int(windows * self.most_share * (1 - ratio * (1 - self.left_at_1))))

    def choose(self, change: Change, count: int, ratio: float = 0.0) -> list[int] | None:
        """Windows to encode (indices) of a picture; None stands for all of them.

        count: pictures since the last one that was encoded whole, without those that were reused; it decides whose turn the
        refresh is.
        """
        changed, windows = change.changed, len(change.scores)
        if len(changed) > self.dense_above * windows:
            # Whatever the limit: so much changes where the camera moves, and few new windows would not fit the old ones.
            return None
        most = self.limit(windows, ratio)
        if len(changed) > most:
            # Scores of pixels that lose their return come in steps, so that equal ones are common: these take turns.
            first = bisect_left(changed, count % windows)
            in_turn = changed[first:] + changed[:first]
            in_turn.sort(key=change.scores.__getitem__, reverse=True)
            chosen = in_turn[:most]
        else:
            chosen = changed.copy()
        refresh = self.refresh_pictures
        if refresh:
            turn = count % refresh * windows
            for k in range(-(-turn // refresh), -(-(turn + windows) // refresh)):
                if k not in chosen:
                    chosen.append(k)
        return None if len(chosen) > self.dense_above * windows else chosen
