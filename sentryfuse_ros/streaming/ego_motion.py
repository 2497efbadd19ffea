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

    turn_rad_s: Positive = 0.02  # rate of turn: half a pixel per picture at 10 Hz is twice this
    speed_m_s: Positive = 0.05
    most_shift: Count = 3  # largest shift that the vote tries, in pixels
    agreeing: Count = 4  # at least so many windows must agree that the picture moved,
    agreeing_share: Share = 0.4  # and this share of those that can tell
    least_contrast: Positive = 0.012  # a window can tell where its difference varies by at least this with the shift
    still_pictures: Count = 3  # pictures without a sign of motion until the camera counts as still
    vote_every: Count = 2  # pictures between two votes

    def __post_init__(self) -> None:
        check(self, "motion limits", "correct the streaming section")


class MotionVote:
    """Compares the profiles of windows with those of a key picture, at several shifts; the windows then vote.

    A profile is the mean over the rows of a window, or over its columns. One key picture is kept until motion is found, so that
    a slow pan adds up until it is seen.
    """

    def __init__(self, grid: tuple[int, int], scale: float, limits: MotionLimits | None = None):
        """grid: rows and columns of windows. scale: full scale of the values, 1 for metres and for shares."""
        self._grid, self._scale, self.limits = grid, scale, limits or MotionLimits()
        self._key: tuple[np.ndarray, np.ndarray] | None = None

    def reset(self) -> None:
        """Forget the key picture."""
        self._key = None

    def moved(self, picture: np.ndarray) -> bool:
        """Whether (H, W) has moved against the key picture. The picture becomes the key where it has, or where there is none."""
        now = self._profiles(picture)
        key, self._key = self._key, self._key or now
        if key is None:
            return False
        votes = np.zeros(5, np.int64)  # of windows that moved left, right, up, down; windows that could tell
        for axis, (profile, before) in enumerate(zip(now, key)):
            ways, told = self._votes(profile, before)
            votes[2 * axis : 2 * axis + 2] = ways
            votes[4] += told
        found = bool(votes[:4].max() >= max(self.limits.agreeing, self.limits.agreeing_share * votes[4] / 2))
        if found:
            self._key = now
        return found

    def _profiles(self, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Means over the rows of each row of windows (rows, W), and over the columns of each column of windows (columns, H)."""
        rows, columns = self._grid
        height, width = picture.shape
        valid = cv2.threshold(picture, 0, 1, cv2.THRESH_BINARY)[1]
        profiles = []
        for size in ((width, rows), (columns, height)):
            total, share = (cv2.resize(x, size, interpolation=cv2.INTER_AREA) for x in (picture, valid))
            profiles.append(total / np.maximum(share, np.float32(1e-3)))
        return profiles[0], np.ascontiguousarray(profiles[1].T)

    def _votes(self, now: np.ndarray, key: np.ndarray) -> tuple[tuple[int, int], int]:
        """How many windows of profiles (bands, length) moved down the axis, how many up, and how many could tell."""
        most, limits, scale = self.limits.most_shift, self.limits, self._scale
        length = now.shape[1]
        side = length // (self._grid[1] if len(now) == self._grid[0] else self._grid[0])
        inner = slice(most, length - most)
        shifted = np.lib.stride_tricks.sliding_window_view(now, length - 2 * most, axis=1)  # (bands, shifts, length - 2 most)
        off = np.abs(shifted - key[:, None, inner])
        np.minimum(off, _CONFLICT_M * scale, out=off)
        starts = np.arange(0, length - 2 * most - side // 2, side)
        cost = np.add.reduceat(off, starts, axis=2) / side  # (bands, shifts, windows)
        best, still = cost.min(1), cost[:, most]
        tells = cost.max(1) - best > limits.least_contrast * scale
        moved = tells & (still > 1.3 * best + 0.002 * scale)
        way = np.sign(cost.argmin(1) - most)
        return (int(np.count_nonzero(moved & (way < 0))), int(np.count_nonzero(moved & (way > 0)))), int(np.count_nonzero(tells))


class EgoMotion:
    """Says from picture to picture whether the camera moves. The first sign of motion counts at once; its end, after a while."""

    def __init__(self, vote: MotionVote):
        self._vote, self._limits = vote, vote.limits
        self.reset()

    def reset(self) -> None:
        """The camera counts as still, and nothing is known of what it saw."""
        self._vote.reset()
        self._since_motion, self._count = self._limits.still_pictures, 0

    def moving(self, picture: np.ndarray | None, turn_rad_s: float | None = None, speed_m_s: float | None = None) -> bool:
        """Whether the camera moves at this picture (H, W). A rate that is not measured is None; without any, the windows vote,
        and only then the picture is needed.
        """
        limits = self._limits
        if turn_rad_s is None and speed_m_s is None and picture is not None:
            sign = self._count % limits.vote_every == 0 and self._vote.moved(picture)
            self._count += 1
        else:
            sign = abs(turn_rad_s or 0.0) > limits.turn_rad_s or abs(speed_m_s or 0.0) > limits.speed_m_s
        self._since_motion = 0 if sign else self._since_motion + 1
        return self._since_motion < limits.still_pictures
