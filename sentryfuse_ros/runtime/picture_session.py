"""The tokens of pictures, made one by one and kept for later windows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..model.tokenizer_config import TokenizerConfig
from .backend import PictureTokens

WINDOW, TOKENS = "window", "tokens"  # input and output of a session for pictures
RUNS_KEPT = 64  # for which a token is kept at most; a window of 2 s at 10 predictions a second has 20
_PROBE_STRIDE = 997  # every so many-th number of a picture makes the key under which its token is looked up


def with_valid_pixels(pictures: np.ndarray, valid: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    """Pictures (n, C, H, W) and which of their pixels are valid (n, H, W), as one array (n, C + 1, H, W). A graph would need
    three operations over the whole picture for the mask, which take three times as long. ``out`` is used if it fits."""
    count, channels, height, width = pictures.shape
    shape = (count, channels + 1, height, width)
    if out is None or out.shape != shape:
        out = np.empty(shape, np.float32)
    out[:, :-1], out[:, -1] = pictures, valid
    return out


@dataclass(frozen=True, slots=True)
class _KeptToken:
    picture: np.ndarray
    token: np.ndarray
    seen: np.ndarray
    run: int  # in which it was made


class PictureSession:
    """Tokens of pictures that each make a token of their own. The older pictures of a window were the newest of an earlier
    one, so their tokens are kept instead of made again. The result is the same to the last bit."""

    def __init__(self, make_session: Callable[[], Any], options: TokenizerConfig, whole: Any | None = None):
        """``make_session``: for any picture. ``whole``: a faster session for pictures in which every pixel is valid, that is, not
        zero in all channels. With it, the session for any picture is made when the first comes that needs it.
        """
        self._make_session, self._options, self._whole = make_session, options, whole
        if whole is None:
            self._session = make_session()
        self._sees_valid = options.sees_valid_pixels
        self._given: np.ndarray | None = None  # where the valid pixels are put beside the pictures
        self._kept: dict[bytes, _KeptToken] = {}  # in the order in which they were made
        self._newest: tuple[np.ndarray, PictureTokens] | None = None  # the newest window, and what was made of it
        self._runs = 0
        self._longest = 0  # runs after which a token was used again, at most

    @cached_property
    def _session(self) -> Any:
        return self._make_session()

    def run(self, window: np.ndarray) -> PictureTokens:
        """Pictures (K, C, H, W), oldest first -> their tokens. The same object again for a window that was given last and that
        nobody can write to."""
        newest = self._newest  # another thread may `forget` it at any time
        if newest is not None and window is newest[0] and not window.flags.writeable:
            return newest[1]  # a window that serves several predictions
        if len(window) == 1:
            return self._remember(window, self._tokens(window))
        self._runs += 1
        entries = [self._find(picture) or self._make(picture) for picture in window]
        self._longest = max(self._longest, *(self._runs - kept.run for kept in entries))
        # In a steady stream a picture comes back after always as many runs; until that is known, none is dropped early.
        kept_for = min(2 * self._longest, RUNS_KEPT) if self._longest > 1 else RUNS_KEPT
        for key in [key for key, kept in list(self._kept.items()) if self._runs - kept.run > kept_for]:
            self._kept.pop(key, None)
        seen = np.array([kept.seen for kept in entries], np.float32)
        return self._remember(window, PictureTokens(np.stack([kept.token for kept in entries]), seen))

    def _remember(self, window: np.ndarray, tokens: PictureTokens) -> PictureTokens:
        self._newest = window, tokens
        return tokens

    def forget(self) -> None:
        """Drop all tokens."""
        self._kept.clear()
        self._newest = None

    def prime(self, window: np.ndarray) -> None:
        """Make and keep the tokens of all pictures but the newest."""
        for picture in window[:-1]:
            self._make(picture)

    def _tokens(self, pictures: np.ndarray) -> PictureTokens:
        valid = np.asarray(pictures.any(1)) if self._whole is not None or self._sees_valid else None
        if self._whole is not None and valid is not None and valid.all():
            (tokens,) = self._whole.run([TOKENS], {WINDOW: pictures})
            return PictureTokens(tokens, np.ones(len(tokens), np.float32))
        given = pictures
        if valid is not None and self._sees_valid:
            given = self._given = with_valid_pixels(pictures, valid, self._given)
        (tokens,) = self._session.run([TOKENS], {WINDOW: given})
        seen = self._options.seen(pictures if valid is None else valid, len(pictures))
        return PictureTokens(tokens, seen.astype(np.float32))

    def _find(self, picture: np.ndarray) -> _KeptToken | None:
        # The probe finds the only candidate; whether it is the same picture is decided by all of it.
        kept = self._kept.get(self._probe(picture))
        return kept if kept is not None and np.array_equal(kept.picture, picture) else None

    def _make(self, picture: np.ndarray) -> _KeptToken:
        # One picture at a time: in a batch of two the last bits of the sums differ, and a kept token would not be the same.
        tokens, seen = self._tokens(picture[np.newaxis])
        entry, key = _KeptToken(picture.copy(), tokens[0], seen[0], self._runs), self._probe(picture)
        self._kept.pop(key, None)  # so that the new one is behind all others
        self._kept[key] = entry
        return entry

    @staticmethod
    def _probe(picture: np.ndarray) -> bytes:
        return picture.reshape(-1)[::_PROBE_STRIDE].tobytes()
