"""Quantities of a camera's picture: brightness, colours, contrast, sharpness, noise, and how they are spread over the picture."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from ..preprocessing import ModalitySpec
from .quantities import LOG, Quantities, log, median, quantiles

_DIM = 0.01  # of full scale; darker than this no ratio of brightnesses means anything
_FLAT = 0.005  # of full scale, the same for contrasts
_FINE = 1e-3
_COLOURS = ("red", "green", "blue")
_THIRDS = ("upper", "middle", "lower")


def camera_quantities(spec: ModalitySpec, part: np.ndarray) -> Quantities:
    """Of a picture (C, H, W), full scale 1; for depth, of distances [m] with 0 for no return."""
    if spec.encoding == "depth_m":
        return _depth(part)
    grey = part.mean(axis=0) if len(part) > 1 else part[0]
    middle = median(grey)
    found = _light(part, grey, float(middle))
    if len(part) == 3:
        found |= _colour(part, grey > middle)
    return found


def _light(p: np.ndarray, grey: np.ndarray, middle: float) -> Quantities:
    """Of all channels together. ``grey``: their mean (H, W). ``middle``: its median."""
    mean, size = float(grey.mean()), float(grey.std())
    flat = p.reshape(-1)
    thirds = [float(_mean(grey[third])) for third in _parts(len(grey), 3)]
    quarters = [float(_mean(grey[:, quarter])) for quarter in _parts(grey.shape[1], 4)]
    dx, dy = grey[:, 1:] - grey[:, :-1], grey[1:] - grey[:-1]
    across, down = _rms(dx), _rms(dy)
    bend = dx[:, 1:] - dx[:, :-1]
    by_column = np.abs(dx).mean(axis=0)
    blocks, detail = _coarse(grey, bend)
    found = {
        f"{LOG}brightness": float(log(mean + _DIM)),
        f"{LOG}contrast": float(log(size / (mean + 2 * _DIM) + _FINE)),
        "share of dark samples": float(np.count_nonzero(flat < 3 / 255) / flat.size),
        "share of bright samples": float(np.count_nonzero(flat > 252 / 255) / flat.size),
        f"{LOG}brightness of the upper over the middle third": _ratio(thirds[0], thirds[1]),
        f"{LOG}brightness of the lower over the middle third": _ratio(thirds[2], thirds[1]),
        f"{LOG}brightness of the left over the right": _ratio(quarters[0], quarters[3]),
        f"{LOG}brightness of the sides over the middle": _ratio(quarters[0] + quarters[3], quarters[1] + quarters[2]),
        f"{LOG}step across over contrast": float(log((across + _FINE) / (size + _FLAT))),
        f"{LOG}step down over contrast": float(log((down + _FINE) / (size + _FLAT))),
        f"{LOG}step across over brightness": float(log((across + _FINE) / (mean + _DIM))),
        f"{LOG}bend over step": float(log((_rms(bend) + _FINE) / (across + _FINE))),
        f"{LOG}step down over step across": float(log((down + _FINE) / (across + _FINE))),
        f"{LOG}step at every eighth column": float(log((_mean(by_column[7::8]) + _FINE) / (_mean(by_column) + _FINE))),
        "skewness of the brightness": (mean - middle) / (size + _FLAT),
        f"{LOG}contrast of blocks over that of samples": float(log((blocks.std() + _FINE) / (size + _FLAT))),
        "correlation of brightness and fine detail": _correlation(blocks, detail),
    }
    for name, third in zip(_THIRDS, _parts(len(dx), 3)):
        found[f"{LOG}step across in the {name} third"] = float(log((_rms(dx[third]) + _FINE) / (mean + _DIM)))
    return found


def _colour(p: np.ndarray, bright: np.ndarray) -> Quantities:
    """Of the channels apart. ``bright``: which pixels (H, W) are brighter than the median."""
    mean, size = p.mean(axis=(1, 2)), p.std(axis=(1, 2))
    around = (p - mean[:, None, None]).reshape(3, -1)
    together = around @ around.T / around.shape[1] / np.outer(size + _FLAT, size + _FLAT)
    dx = p[:, :, 1:] - p[:, :, :-1]
    bend = dx[:, :, 1:] - dx[:, :, :-1]
    red, blue = _rms(bend[0] - bend[1]), _rms(bend[2] - bend[1])
    green = _rms(bend[1])
    found = {
        f"{LOG}red over green": _ratio(mean[0], mean[1]),
        f"{LOG}blue over green": _ratio(mean[2], mean[1]),
        "correlation of red and green": float(together[0, 1]),
        "correlation of blue and green": float(together[1, 2]),
        "correlation of red and blue": float(together[0, 2]),
        f"{LOG}fine differences of red and green": float(log(red + _FINE)),
        f"{LOG}fine differences of blue and green": float(log(blue + _FINE)),
        f"{LOG}fine differences of red and green over bends": float(log((red + _FINE) / (green + _FINE))),
        f"{LOG}fine differences of blue and green over bends": float(log((blue + _FINE) / (green + _FINE))),
    }
    for i, name in enumerate(_COLOURS):
        found[f"{LOG}contrast of {name} over that of green"] = float(log((size[i] + _FLAT) / (size[1] + _FLAT)))
        found[f"{LOG}bend over step of {name}"] = float(log((_rms(bend[i]) + _FINE) / (_rms(dx[i]) + _FINE)))
    for name, third in zip(_THIRDS, _parts(p.shape[1], 3)):
        own = p[:, third]
        level = own.mean(axis=(1, 2)) if own.size else np.zeros(3)
        found[f"{LOG}red over green in the {name} third"] = _ratio(level[0], level[1])
        found[f"{LOG}blue over green in the {name} third"] = _ratio(level[2], level[1])
    del found[f"{LOG}contrast of green over that of green"]
    # Of bright and of dark parts apart: light has one colour, shadow another.
    pixels = np.ascontiguousarray(p.reshape(3, -1).T)
    for name, part in (("bright", np.flatnonzero(bright)), ("dark", np.flatnonzero(~bright))):
        if part.size:
            level = pixels.take(part, 0).mean(axis=0)
            found[f"{LOG}red over green in {name} parts"] = _ratio(level[0], level[1])
            found[f"{LOG}blue over green in {name} parts"] = _ratio(level[2], level[1])
        else:
            found[f"{LOG}red over green in {name} parts"] = found[f"{LOG}blue over green in {name} parts"] = 0.0
    return found


def _depth(p: np.ndarray) -> Quantities:
    """Of distances [m]."""
    image = p[0]
    seen = image > 0
    returns = image[seen] if seen.any() else np.zeros(1, np.float32)
    both = seen[:, 1:] & seen[:, :-1]
    step = np.abs(np.where(both, image[:, 1:] - image[:, :-1], np.float32(0)))[both]
    low, middle, high = quantiles(returns, (0.05, 0.5, 0.95))
    rows, columns = seen.mean(axis=1), seen.mean(axis=0)

    def centre(share: np.ndarray) -> float:
        return float((share * np.arange(len(share))).sum() / max(float(share.sum()), 1e-6) / len(share))

    return {
        "share of returns": float(seen.mean()),
        f"{LOG}near distance [m]": float(log(float(np.abs(low)) + _FINE)),
        f"{LOG}median distance [m]": float(log(float(np.abs(middle)) + _FINE)),
        f"{LOG}far distance [m]": float(log(float(np.abs(high)) + _FINE)),
        f"{LOG}spread of the distances [m]": float(log(float(high - low) + _FINE)),
        f"{LOG}step across, mean [m]": float(log((float(step.mean()) if len(step) else 0.0) + 1e-4)),
        f"{LOG}step across, median [m]": float(log((float(median(step)) if len(step) else 0.0) + 1e-4)),
        "centre of the returns, down": centre(rows),
        "centre of the returns, across": centre(columns),
        "share of rows with returns": float((rows > 0).mean()),
        "share of columns with returns": float((columns > 0).mean()),
    }


def _mean(values: np.ndarray) -> Any:
    """The mean in the type of the values, 0 where there are none: very narrow or low pictures lack some of their parts."""
    return values.mean() if values.size else 0.0


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(_mean(values * values)))


@lru_cache(maxsize=32)
def _parts(length: int, count: int) -> tuple[slice, ...]:
    """``length`` places in ``count`` parts, the first of which are longer by one where they cannot be equal, as by
    `numpy.array_split`, which takes ten times as long."""
    each, longer = divmod(length, count)
    ends = [part * each + min(part, longer) for part in range(count + 1)]
    return tuple(slice(begin, end) for begin, end in zip(ends, ends[1:]))


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """That of two series (n,), to the bit that of `numpy.corrcoef`, which takes twice as long."""
    both = np.stack((a, b), dtype=np.float64)
    both -= both.mean(axis=1)[:, None]
    together = both @ both.T * np.true_divide(1, len(a) - 1)
    size = np.sqrt(together.diagonal())
    return float(np.clip(together[0, 1] / size[0] / size[1], -1.0, 1.0))


def _ratio(a: float, b: float) -> float:
    return float(np.log((a + _DIM) / (b + _DIM)))


def _coarse(grey: np.ndarray, bend: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Brightness and size of the bends of the blocks of a picture, each (n,), with what keeps a flat picture defined."""
    rows, columns = grey.shape[0] // 6, grey.shape[1] // 6
    if rows < 2 or columns < 2:
        return np.array([0.0, 1.0]), np.array([0.0, 1.0])
    bright = grey[: rows * 6, : columns * 6].reshape(rows, 6, columns, 6).mean(axis=(1, 3)).ravel()
    sizes = np.zeros(grey.shape, bend.dtype)  # a bend is that of the pixel in its middle
    np.abs(bend, out=sizes[:, 1:-1])
    fine = sizes[: rows * 6, : columns * 6].reshape(rows, 6, columns, 6).mean(axis=(1, 3)).ravel()
    jitter = np.arange(len(bright)) * 1e-9
    return bright + jitter, fine + jitter
