"""A camera input of a model as a stream: from the new pictures of a window to the tokens of the whole window.

A snapshot is taken in another thread than the one that encodes: `known` may be asked and `reset` called from any thread, `take`
from one only.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..nanoseconds import NS_PER_S
from ..preprocessing.frame_slots import slot_rows
from ..preprocessing.picture_window import Known, PictureWindow, Source
from ..preprocessing.series import DEFAULT_MAX_GAP_S
from ..preprocessing.spec import ModalitySpec
from .branches import Branch, BranchShare, branch_share
from .stream_config import StreamConfig
from .window_encoder import WindowEncoder

RECENT_S = 10.0  # what `StreamUse` tells of the pictures before the newest covers so long
_NOBODY = Source("")


class PictureUse(NamedTuple):
    """What was done with one picture."""

    stamp_ns: int
    branch: Branch
    change: float
    encoded: int
    whole: bool
    moving: bool
    flops_share: float


@dataclass(frozen=True)
class StreamUse:
    """What a stream did with the newest picture, and with those of the last RECENT_S. The latter is worked out when it is asked
    for, which is less often than there are predictions."""

    branch: Branch
    change: float  # see `StreamStep`
    windows: int  # of a picture
    encoded: int  # of them, encoded anew
    moving: bool  # whether the camera counts as moving
    flops_share: float  # of encoding the picture whole; 0 where nothing was encoded
    flops: float  # of all pictures that were new in this window
    window_flops: float  # of encoding all pictures of a window whole, at the size that the plan in force runs
    known_flops: float  # of encoding those whole that were known already, which no stream does
    done: tuple[PictureUse, ...]  # of the last RECENT_S, the newest last

    @property
    def tokens(self) -> float:
        """Share of the newest picture's tokens that were encoded anew."""
        return self.encoded / self.windows

    @cached_property
    def recent(self) -> BranchShare:
        """Share of each branch, and how often it changed."""
        span_s = (self.done[-1].stamp_ns - self.done[0].stamp_ns) / NS_PER_S
        rate_hz = (len(self.done) - 1) / span_s if span_s > 0 else 0.0
        return branch_share(np.array([picture.branch for picture in self.done]), rate_hz)

    @property
    def recent_whole(self) -> int:
        """Pictures that were encoded whole."""
        return sum(picture.whole for picture in self.done)

    @property
    def recent_encoded(self) -> float:
        """Mean share of the windows that were encoded anew."""
        return float(np.mean([picture.encoded for picture in self.done])) / self.windows

    @property
    def recent_flops(self) -> float:
        """Mean share of encoding every picture whole."""
        return float(np.mean([picture.flops_share for picture in self.done]))


class StreamedTokens(NamedTuple):
    """What is known of the pictures in the slots of a window: tokens (K, D), seen (K,), 0 where a slot is empty.

    use: what the stream did; None before its first picture.
    """

    tokens: np.ndarray
    seen: np.ndarray
    use: StreamUse | None


class StreamedInput:
    """The tokens of the pictures of one camera input, each made once, when its picture came."""

    def __init__(self, encoder: WindowEncoder, config: StreamConfig):
        self.spec: ModalitySpec = encoder.spec
        self._encoder, self._stream = encoder, config.make_stream(encoder)
        self._max_gap_ns = encoder.spec.options.get("max_gap_s", DEFAULT_MAX_GAP_S) * NS_PER_S
        self._dense_flops = encoder.flops(encoder.windows, 0)
        self._flops, self._taken = 0.0, 0  # of the pictures that were new in the newest window, and how many these were
        self._era = 0  # of the newest reset
        self._state = Known()  # how far the stream has come, and in which era
        self._source, self._size = _NOBODY, 0
        self._tokens: dict[int, tuple[np.ndarray, float]] = {}  # by stamp
        self._done: deque[PictureUse] = deque()

    def warm(self) -> None:
        """Run every session once, so that no later picture takes longer."""
        blank = np.zeros(self.spec.shape[1:], np.float32)
        for size in range(self._encoder.sizes):
            self._encoder.renew(self._encoder.encode(blank, size), blank, np.arange(1), size)
        for _ in range(2):  # compares with the first, and votes
            self._stream.update(blank)
        self._stream.reset()

    def reset(self) -> None:
        """Forget every picture; the next one is encoded whole. Takes effect with the next window."""
        self._era += 1

    def known(self, source: Source) -> Known:
        """How far the pictures of a source are known."""
        state, era = self._state, self._era
        return state if state.era == era and self._source.sensor == source.sensor else Known(-1, era)

    def take(self, window: PictureWindow, ratio: float = 0.0, confidence: float = 1.0, size: int = 0) -> StreamedTokens:
        """Encode what is new and gather the tokens of the window's slots.

        ratio: pruning ratio in force. confidence: of the prediction before. size: of the encoder, as the plan in force says.
        """
        slots = self.spec.shape[0]
        tokens, seen = np.zeros((slots, self._encoder.d_model), np.float32), np.zeros(slots, np.float32)
        if window.era < self._state.era:
            return StreamedTokens(tokens, seen, None)  # the window was taken before the stream was reset
        self._follow(window, size)
        self._flops, self._taken = 0.0, 0
        for stamp_ns, picture in zip(window.new_stamp_ns.tolist(), window.new):
            self._encode(stamp_ns, picture, ratio, confidence, window)
        # Pictures that have left the window, or were removed from it because their sensor failed, are never used again.
        self._tokens = {stamp_ns: self._tokens[stamp_ns] for stamp_ns in window.row_stamp_ns.tolist() if stamp_ns in self._tokens}
        if self._tokens:
            known, kept = np.fromiter(self._tokens, np.int64), list(self._tokens.values())
            for slot, i in enumerate(slot_rows(known, window.end_ns, self.spec)):
                if i >= 0:
                    tokens[slot], seen[slot] = kept[i]
        return StreamedTokens(tokens, seen, self._use())

    def _follow(self, window: PictureWindow, size: int) -> None:
        """Start anew where the pictures cannot be compared with those before."""
        if window.era != self._state.era or window.source.sensor != self._source.sensor:
            self._tokens.clear()
            self._done.clear()
            self._stream.reset()
            self._state = Known(-1, window.era)
        elif window.source != self._source or size < self._size:  # a larger encoder would leave the codes of a smaller
            self._stream.reset()
        self._source, self._size = window.source, size

    def _encode(self, stamp_ns: int, picture: np.ndarray, ratio: float, confidence: float, window: PictureWindow) -> None:
        before_ns = self._state.newest_ns
        if stamp_ns <= before_ns:
            return  # taken meanwhile, for a window that was replaced
        if before_ns >= 0 and stamp_ns - before_ns > self._max_gap_ns:
            self._stream.reset()  # the camera was away
        step = self._stream.update(
            picture,
            ratio=ratio,
            confidence=confidence,
            turn_rad_s=window.turn_rad_s,
            speed_m_s=window.speed_m_s,
            size=self._size,
        )
        seen = 1.0 if self.spec.encoding != "depth_m" or picture.any() else 0.0
        self._tokens[stamp_ns] = step.token, seen
        flops = self._encoder.flops(step.encoded, step.size)
        self._flops += flops
        self._taken += 1
        share = flops / self._dense_flops
        self._done.append(PictureUse(stamp_ns, step.branch, step.change, step.encoded, step.dense, step.moving, share))
        while self._done[0].stamp_ns < stamp_ns - RECENT_S * NS_PER_S:
            self._done.popleft()
        self._state = Known(stamp_ns, self._state.era)

    def _use(self) -> StreamUse | None:
        if not self._done:
            return None
        last = self._done[-1]
        return StreamUse(
            last.branch,
            last.change,
            self._encoder.windows,
            last.encoded,
            last.moving,
            last.flops_share,
            self._flops,
            self.spec.shape[0] * self._encoder.flops(self._encoder.windows, self._size),
            (self.spec.shape[0] - self._taken) * self._dense_flops,
            tuple(self._done),
        )
