"""Whether the camera itself moves: from a rate of turn or a speed where there is one, else by a vote of the windows.

While the camera moves, everything in the picture changes a little, and windows left as they were would no longer fit together.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..validation import Count, Positive, Share, check

_CONFLICT_M = 0.2  # a depth is compared up to this difference, so that an edge counts no more than a face


@dataclass(frozen=True)
class MotionLimits:
    """From when on the camera counts as moving, and for how long after that."""

    turn_rad_s: Positive = 0.05  # rate of turn
    speed_m_s: Positive = 0.05
    most_shift: Count = 2  # largest shift that the vote tries, in pixels of a picture of half the size
    agreeing: Count = 4  # at least so many windows must agree that the picture moved,
    agreeing_share: Share = 0.4  # and this share of those that can tell
    least_contrast: Positive = 0.012  # a window can tell where its difference varies by at least this with the shift
    still_pictures: Count = 3  # pictures without a sign of motion until the camera counts as still

    def __post_init__(self) -> None:
        check(self, "motion limits", "correct the streaming section")


class MotionVote:
    """Compares each window of a picture, shifted by some pixels, with a key picture; the windows then vote.

    One key picture is kept until motion is found, so that a slow pan adds up until it is seen.
    """

    def __init__(self, grid: tuple[int, int], scale: float, limits: MotionLimits | None = None):
        """grid: rows and columns of windows. scale: full scale of the values, 1 for metres and for shares."""
        self._grid, self._scale, self.limits = grid, scale, limits or MotionLimits()
        self._key: np.ndarray | None = None

    def reset(self) -> None:
        """Forget the key picture."""
        self._key = None

    def moved(self, picture: np.ndarray) -> bool:
        """Whether (H, W) has moved against the key picture. The picture becomes the key where it has, or where there is none."""
        small = np.ascontiguousarray(picture[::2, ::2])
        if self._key is None:
            self._key = small
            return False
        found = self._vote(small, self._key)
        if found:
            self._key = small
        return found

    def _vote(self, now: np.ndarray, key: np.ndarray) -> bool:
        most, limits = self.limits.most_shift, self.limits
        inner = key[most:-most, most:-most]
        known = cv2.threshold(inner, 0, 1, cv2.THRESH_BINARY)[1]
        shifts = [(0, 0)] + [(s, 0) for s in range(-most, most + 1) if s] + [(0, s) for s in range(-most, most + 1) if s]
        height, width = inner.shape
        costs, limit = [], _CONFLICT_M * self._scale
        for right, down in shifts:
            view = np.ascontiguousarray(now[most + down : most + down + height, most + right : most + right + width])
            off = cv2.absdiff(view, inner)
            off = cv2.multiply(cv2.threshold(off, limit, limit, cv2.THRESH_TRUNC)[1], known)
            off = cv2.multiply(off, cv2.threshold(view, 0, 1, cv2.THRESH_BINARY)[1])
            costs.append(cv2.resize(off, self._grid[::-1], interpolation=cv2.INTER_AREA).ravel())
        cost = np.stack(costs)  # (shifts, windows)
        best, still = cost.min(0), cost[0]
        tells = cost.max(0) - best > limits.least_contrast * self._scale
        moved = tells & (still > 1.15 * best + 0.001 * self._scale)
        direction = cost.argmin(0)
        # Windows that agree on the direction: left, right, up, down.
        way = (direction - 1) // most
        most_alike = max(int(np.count_nonzero(moved & (way == k))) for k in range(4))
        return most_alike >= max(limits.agreeing, limits.agreeing_share * np.count_nonzero(tells))


class EgoMotion:
    """Says from picture to picture whether the camera moves. The first sign of motion counts at once; its end, after a while."""

    def __init__(self, vote: MotionVote):
        self._vote, self._since_motion = vote, vote.limits.still_pictures

    def reset(self) -> None:
        """The camera counts as still, and nothing is known of what it saw."""
        self._vote.reset()
        self._since_motion = self._vote.limits.still_pictures

    def moving(self, picture: np.ndarray, turn_rad_s: float | None = None, speed_m_s: float | None = None) -> bool:
        """Whether the camera moves at this picture (H, W). A rate that is not measured is None; without any, the windows vote."""
        limits = self._vote.limits
        if turn_rad_s is None and speed_m_s is None:
            sign = self._vote.moved(picture)
        else:
            sign = abs(turn_rad_s or 0.0) > limits.turn_rad_s or abs(speed_m_s or 0.0) > limits.speed_m_s
        self._since_motion = 0 if sign else self._since_motion + 1
        return self._since_motion < limits.still_pictures
