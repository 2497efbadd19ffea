"""Whether the camera itself moves: from a rate of turn or a speed where there is one, else by a vote of the windows.

While the camera moves, everything in the picture changes a little, and windows left as they were would no longer fit together.
"""

from __future__ import annotations

import numpy as np

from .motion_vote import MotionVote


class EgoMotion:
    """Says from picture to picture whether the camera moves. The first sign of motion counts at once; its end, after a while."""

    def __init__(self, vote: MotionVote):
        self._vote, self._limits = vote, vote.limits
        self.reset()

    def reset(self) -> None:
        """The camera counts as still, and nothing is known of what it saw."""
        self._vote.reset()
        self._since_motion, self._count = self._limits.still_pictures, 0

    @property
    def votes_now(self) -> bool:
        """Whether, without a rate, the next picture is one at which the windows vote: every so many-th while the camera stands,
        and while it moves the first for which the last sign of motion no longer counts."""
        if self._since_motion < self._limits.still_pictures:
            return self._since_motion + 1 >= self._limits.still_pictures
        return self._count % self._limits.vote_every == 0

    def moving(
        self,
        pixels: np.ndarray | None,
        turn_rad_s: float | None = None,
        speed_m_s: float | None = None,
        changed: int | None = None,
    ) -> bool:
        """Whether the camera moves at this picture, window by window (`MotionVote.moved`).

        A rate that is not measured is None; without any, the windows vote, and only then the pixels are needed. changed: windows
        that differ from the picture that is held, None where there is none. While these are fewer than would have to agree, what
        is held fits whether the camera moves or not, and there is no vote.
        """
        limits = self._limits
        if turn_rad_s is None and speed_m_s is None:
            asked = self.votes_now and (changed is None or changed >= limits.agreeing)
            sign = asked and pixels is not None and self._vote.moved(pixels)
            self._count += 1
        else:
            sign = abs(turn_rad_s or 0.0) > limits.turn_rad_s or abs(speed_m_s or 0.0) > limits.speed_m_s
        self._since_motion = 0 if sign else self._since_motion + 1
        return self._since_motion < limits.still_pictures
