"""Quantities of a camera's picture: brightness, colours, contrast, sharpness, noise, and how they are spread over the picture."""

from __future__ import annotations

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
    found = _light(part)
    if len(part) == 3:
        found |= _colour(part)
    return found


def _light(p: np.ndarray) -> Quantities:
    """Of all channels together."""
    grey = p.mean(axis=0) if len(p) > 1 else p[0]
    mean, size = float(grey.mean()), float(grey.std())
    flat = p.reshape(-1)
    thirds = [float(third.mean()) for third in np.array_split(grey, 3, axis=0)]
    quarters = [float(q.mean()) for q in np.array_split(grey, 4, axis=1)]
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
        f"{LOG}step at every eighth column": float(log((by_column[7::8].mean() + _FINE) / (by_column.mean() + _FINE))),
        "skewness of the brightness": (mean - float(median(grey))) / (size + _FLAT),
        f"{LOG}contrast of blocks over that of samples": float(log((blocks.std() + _FINE) / (size + _FLAT))),
        "correlation of brightness and fine detail": float(np.corrcoef(blocks, detail)[0, 1]),
    }
    for name, third in zip(_THIRDS, np.array_split(dx, 3, axis=0)):
        found[f"{LOG}step across in the {name} third"] = float(log((_rms(third) + _FINE) / (mean + _DIM)))
    return found


def _colour(p: np.ndarray) -> Quantities:
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
    for name, third in zip(_THIRDS, np.array_split(p, 3, axis=1)):
        level = third.mean(axis=(1, 2))
        found[f"{LOG}red over green in the {name} third"] = _ratio(level[0], level[1])
        found[f"{LOG}blue over green in the {name} third"] = _ratio(level[2], level[1])
    del found[f"{LOG}contrast of green over that of green"]
    # Of bright and of dark parts apart: light has one colour, shadow another.
    grey = p.mean(axis=0)
    bright = grey > median(grey)
    for name, part in (("bright", bright), ("dark", ~bright)):
        if part.any():
            level = p[:, part].mean(axis=1)
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


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values * values)))


def _ratio(a: float, b: float) -> float:
    return float(np.log((a + _DIM) / (b + _DIM)))


def _coarse(grey: np.ndarray, bend: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Brightness and size of the bends of the blocks of a picture, each (n,), with what keeps a flat picture defined."""
    rows, columns = grey.shape[0] // 6, grey.shape[1] // 6
    if rows < 2 or columns < 2:
        return np.array([0.0, 1.0]), np.array([0.0, 1.0])
    bright = grey[: rows * 6, : columns * 6].reshape(rows, 6, columns, 6).mean(axis=(1, 3)).ravel()
    padded = np.pad(np.abs(bend), ((0, 0), (1, 1)))
    fine = padded[: rows * 6, : columns * 6].reshape(rows, 6, columns, 6).mean(axis=(1, 3)).ravel()
    jitter = np.arange(len(bright)) * 1e-9
    return bright + jitter, fine + jitter
