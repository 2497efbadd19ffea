"""Lies that drivers are known to tell, made up from windows without mean and std, for the fitting of a trust table.

They are made at the level of model inputs, so that every data set will do. benchmarks/trust tells its lies in messages, and it
tells many that are not here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np

from ..preprocessing import ModalitySpec
from ..preprocessing.audio import band_edges_hz, log_mel, sample_rate_hz
from ..preprocessing.lidar import lidar_frame

LOGIT_MARGIN = 1.0
# Other places are quieter or darker, and lenses dirtier, by any degree, so that the windows of the training say little of it.
# White noise does not come from places: its margin is what windows that are held out need, if that is more than this.
DEGREE_MARGIN, HISS_MARGIN = 2.0, 0.5

Tell = Callable[[np.ndarray, np.random.Generator], np.ndarray]


class MadeUpLie(NamedTuple):
    """``tell``: window `spec.shape` -> the window of the lying sensor. ``text``: what it looks like, for a reason.

    by_degree: it differs only by degree from what an honest sensor meets in other places, such as quiet ones or dark ground.
    margin: between the two limits of its suspicion at least, a difference of logits.
    """

    name: str
    text: str
    tell: Tell
    by_degree: bool = False
    margin: float = LOGIT_MARGIN


# ---- camera -----------------------------------------------------------------------------------------------------------


def camera_lies(spec: ModalitySpec) -> tuple[MadeUpLie, ...]:
    """Of pictures in colour: colours in the wrong order or place. Of all: light, focus, noise and codes."""
    if spec.encoding == "depth_m":
        return (
            MadeUpLie(
                "depth_scaled", "distances in another unit", lambda x, r: x * np.float32(r.choice((0.001, 0.3048, 3.28, 10)))
            ),
        )
    common = (
        MadeUpLie("inverted", "a negative", lambda x, _: _where_filled(x, 1 - x)),
        MadeUpLie("over", "a picture exposed for far too long", lambda x, r: _levels(x * r.uniform(2.2, 4))),
        MadeUpLie("under", "a picture exposed for far too short", lambda x, r: _levels(x / r.uniform(3, 8))),
        MadeUpLie("blurred", "a picture out of focus", lambda x, r: _each(x, partial(_blur, r.uniform(2.5, 6)))),
        MadeUpLie(
            "soft",
            "a picture slightly out of focus",
            lambda x, r: _each(x, partial(_blur, r.uniform(0.6, 1.6))),
            True,
            DEGREE_MARGIN,
        ),
        MadeUpLie("random", "bytes that are no picture", lambda x, r: _where_filled(x, r.random(x.shape))),
        MadeUpLie("flat", "a covered lens", _flat),
        MadeUpLie("blocks", "a picture compressed to death", lambda x, r: _each(x, partial(_blocks, int(r.integers(2, 8))))),
    )
    if spec.channels != 3:
        return common
    return (
        MadeUpLie("swapped", "red and blue exchanged", lambda x, _: x[:, ::-1]),
        MadeUpLie("rotated", "colours in the wrong order", lambda x, r: x[:, [1, 2, 0]] if r.random() < 0.5 else x[:, [2, 0, 1]]),
        MadeUpLie(
            "grey", "grey in the place of colours", lambda x, _: _levels(np.repeat(x.mean(axis=1, keepdims=True), 3, axis=1))
        ),
        MadeUpLie("yuv", "YUV in the place of RGB", lambda x, _: _each(x, _yuv)),
        MadeUpLie("missing", "a colour that is missing", _one_colour_missing),
        *common,
    )


def _where_filled(x: np.ndarray, changed: np.ndarray) -> np.ndarray:
    """``changed`` in the slots that have a frame."""
    return np.where(x.any(axis=(1, 2, 3), keepdims=True), changed, 0).astype(np.float32)


def _levels(x: np.ndarray) -> np.ndarray:
    return (np.rint(np.clip(x, 0, 1) * 255) / 255).astype(np.float32)


def _each(x: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """A change of each picture (H, W, C) uint8."""
    pictures = [np.ascontiguousarray(np.rint(np.clip(f, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)) for f in x]
    changed = [change(p).reshape(p.shape).transpose(2, 0, 1) if p.any() else p.transpose(2, 0, 1) for p in pictures]
    return np.stack(changed).astype(np.float32) / np.float32(255)


def _blur(sigma: float, picture: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma))


def _blocks(quality: int, picture: np.ndarray) -> np.ndarray:
    code = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, quality))[1]
    return np.asarray(cv2.imdecode(code, cv2.IMREAD_UNCHANGED))


def _yuv(picture: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2YUV))


def _flat(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    level = x.mean(axis=(2, 3), keepdims=True) * random.uniform(0.5, 1.5)
    return _where_filled(x, _levels(level + random.normal(0, random.uniform(0.002, 0.01), x.shape)))


def _one_colour_missing(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    out = x.astype(np.float32)
    out[:, int(random.integers(3))] = random.uniform(0, 0.008, out[:, 0].shape)
    return out


# ---- IMU --------------------------------------------------------------------------------------------------------------


def imu_lies(spec: ModalitySpec) -> tuple[MadeUpLie, ...]:
    """Wrong units, wrong ranges, gravity, mountings, filters and dead parts."""
    degrees, g = 180 / np.pi, 9.80665

    def scaled(gyro: float, accel: float) -> Tell:
        return lambda x, _: x * np.repeat(np.array([gyro, accel], np.float32), 3)

    return (
        MadeUpLie("accel_in_g", "accelerations in g", scaled(1, 1 / g)),
        MadeUpLie("gyro_in_deg_s", "angular velocities in deg/s", scaled(degrees, 1)),
        MadeUpLie("gyro_in_rpm", "angular velocities in revolutions per minute", scaled(degrees / 6, 1)),
        MadeUpLie("smoothed", "a low-pass filter", _smoothed),
        MadeUpLie("clipped", "a range that is too small", lambda x, r: np.clip(x, -r.uniform(8, 11), r.uniform(8, 11))),
        MadeUpLie("gyro_biased", "a gyro with a bias", _gyro_biased),
        MadeUpLie("gyro_dead", "a gyro that does not move", lambda x, r: _dead(x, slice(0, 3), r)),
    )


def _smoothed(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    filled = x.any(axis=1)
    length = int(random.integers(6, 60))
    kernel = np.exp(-np.arange(4 * length) / length)
    kernel /= kernel.sum()
    out = x.astype(np.float32)
    steps = x[filled]
    if len(steps):
        padded = np.concatenate((np.repeat(steps[:1], len(kernel) - 1, axis=0), steps))
        out[filled] = np.stack([np.convolve(c, kernel, "valid") for c in padded.T], axis=1)
    return out


def _gyro_biased(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    out = x.astype(np.float32)
    filled = x.any(axis=1)
    out[filled, :3] += random.choice((-1, 1), 3) * np.exp(random.uniform(np.log(0.05), 0.0, 3))
    return out


def _dead(x: np.ndarray, channels: slice, random: np.random.Generator) -> np.ndarray:
    out = x.astype(np.float32)
    filled = x.any(axis=1)
    out[filled, channels] = random.normal(0, 1e-4, out[filled, channels].shape)
    return out


# ---- sound ------------------------------------------------------------------------------------------------------------


def audio_lies(spec: ModalitySpec) -> tuple[MadeUpLie, ...]:
    """Bytes that are no samples, other rates, channels sent as one, and wrong gains."""
    return (
        MadeUpLie("bytes", "bytes that are no samples", lambda x, r: _noise(spec, x, r.uniform(0.2, 0.6), r)),
        MadeUpLie("noise", "white noise", lambda x, r: _noise(spec, x, np.exp(r.uniform(np.log(0.003), np.log(0.2))), r)),
        MadeUpLie("hiss", "white noise on top of the sound", lambda x, r: _hiss(spec, x, r.uniform(-3, 6), r), True, HISS_MARGIN),
        # Half of the time is left over; were it left out, the stamps would tell the decoder.
        MadeUpLie(
            "fast",
            "sound at about twice its rate, repeated to fill the time",
            lambda x, r: _repeated(_at_rate(spec, x, r.uniform(1.7, 2.3)), r),
        ),
        MadeUpLie("slow", "sound at about half its rate", lambda x, r: _at_rate(spec, x, r.uniform(0.43, 0.58))),
        MadeUpLie("doubled", "each sample sent twice", lambda x, _: _mirrored(spec, x, True)),
        MadeUpLie(
            "interleaved",
            "samples with zeros or others between them",
            lambda x, r: _mirrored(spec, x, False, r.choice((0.25, 1.0))),
        ),
        MadeUpLie("quiet", "sound that is far too quiet", lambda x, r: _gain(spec, x, -r.uniform(20, 40)), True, DEGREE_MARGIN),
        MadeUpLie("loud", "sound that is far too loud", lambda x, r: _gain(spec, x, r.uniform(12, 26)), True, DEGREE_MARGIN),
        MadeUpLie("muffled", "sound without its upper half", lambda x, r: _cut(spec, x, r.uniform(150, 1500), True)),
        MadeUpLie("thin", "sound without its lower half", lambda x, r: _cut(spec, x, r.uniform(1500, 5000), False)),
    )


def _repeated(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Every second piece of 0.05 to 0.25 of the window is the piece before it, as of a driver that reads a buffer twice."""
    length = max(int(len(x) * random.uniform(0.05, 0.25)), 1)
    place = np.arange(len(x)) + int(random.integers(length * 2))
    source = np.arange(len(x)) - np.where(place // length % 2 == 1, length, 0)
    return np.asarray(x[np.where(source < 0, np.arange(len(x)), source)], np.float32)


def _floor(spec: ModalitySpec) -> float:
    return float(spec.options.get("log_floor", 1e-8))


def _filled(x: np.ndarray, changed: np.ndarray) -> np.ndarray:
    return np.where(x.any(axis=1, keepdims=True), changed, 0).astype(np.float32)


def _noise(spec: ModalitySpec, x: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    signal = (
        random.normal(0, level, round(spec.window_s * sample_rate_hz(spec)))
        if level < 0.2
        else random.uniform(-1, 1, round(spec.window_s * sample_rate_hz(spec)))
    )
    return _filled(x, log_mel(signal.astype(np.float32), spec))


def _hiss(spec: ModalitySpec, x: np.ndarray, decibel: float, random: np.random.Generator) -> np.ndarray:
    """White noise of a power so many decibels below that of the sound."""
    hiss = np.exp(_noise(spec, x, 0.01, random).astype(np.float64))
    sound = np.exp(x.astype(np.float64))
    filled = x.any(axis=1)
    if not filled.any():
        return x
    share = sound[filled].sum() / hiss[filled].sum() * 10 ** (-decibel / 10)
    return _filled(x, np.log(sound + share * hiss))


def _gain(spec: ModalitySpec, x: np.ndarray, decibel: float) -> np.ndarray:
    return _filled(x, np.log(np.maximum(np.exp(x) - _floor(spec), 0) * 10 ** (decibel / 10) + _floor(spec)))


def _bands(spec: ModalitySpec) -> tuple[np.ndarray, np.ndarray, float]:
    """Middle and width of the bands [Hz], and half the sample rate [Hz]."""
    edges = band_edges_hz(spec)
    return edges[1:-1], (edges[2:] - edges[:-2]) / 2, sample_rate_hz(spec) / 2


def _cut(spec: ModalitySpec, x: np.ndarray, at_hz: float, keep_low: bool) -> np.ndarray:
    middle, _, _ = _bands(spec)
    octaves = np.log2(middle / at_hz) * (1 if keep_low else -1)
    return _filled(x, np.log(np.exp(x) * 10 ** (-np.clip(octaves, 0, 6) * 1.8) + _floor(spec)))


def _at_rate(spec: ModalitySpec, x: np.ndarray, ratio: float) -> np.ndarray:
    """What was at f is at f times the ratio; its power is spread over a band that is as much wider."""
    middle, width, nyquist = _bands(spec)
    density = x - np.log(width)
    source = middle / ratio
    moved = np.stack([np.interp(source, middle, row) for row in density]) - np.log(ratio) + np.log(width)
    if ratio < 1:
        moved[:, source > nyquist] = np.log(_floor(spec))
    return _filled(x, moved)


def _mirrored(spec: ModalitySpec, x: np.ndarray, held: bool, share: float = 1.0) -> np.ndarray:
    """An upper half of the spectrum that mirrors the lower. ``held``: each sample is repeated, which damps high frequencies; else
    a ``share`` of the power stays at all of them."""
    middle, width, nyquist = _bands(spec)
    density = np.exp(x) / width
    image = np.stack([np.interp(nyquist - middle, middle, row) for row in np.log(density)])
    whole = np.where(middle < nyquist / 2, density, np.exp(image))
    shape = np.cos(np.pi * middle / (2 * nyquist)) ** 2 if held else np.full(len(middle), share)
    return _filled(x, np.log(whole * shape * width + _floor(spec)))


# ---- LiDAR ------------------------------------------------------------------------------------------------------------


def lidar_lies(spec: ModalitySpec) -> tuple[MadeUpLie, ...]:
    """Scales, mountings and offsets, made of the points behind the cells of a range image, and intensities."""
    intensities = (
        MadeUpLie("no_intensity", "no intensities", lambda x, _: _intensity(x, 0 * x[:, 3])),
        MadeUpLie("intensity_small", "intensities of another scale", lambda x, r: _intensity(x, x[:, 3] / r.uniform(60, 255))),
        MadeUpLie(
            "intensity_weak",
            "reflections that are too weak",
            lambda x, r: _intensity(x, x[:, 3] * r.uniform(0.1, 0.4)),
            True,
            DEGREE_MARGIN,
        ),
        MadeUpLie("intensity_large", "intensities of another scale", lambda x, r: _intensity(x, x[:, 3] * r.uniform(8, 256))),
        MadeUpLie("intensity_random", "intensities that are no reflections", lambda x, r: _intensity(x, r.random(x[:, 3].shape))),
    )
    points = (
        MadeUpLie(
            "scaled",
            "distances in another unit",
            lambda x, r: _points(spec, x, r.choice((0.3048, 0.5, 2, 3.2808)), np.eye(3), 0.0),
        ),
        MadeUpLie("tilted", "a mounting that is tilted", lambda x, r: _points(spec, x, 1.0, _tilt(r), 0.0)),
        MadeUpLie("raised", "a frame at another height", lambda x, r: _points(spec, x, 1.0, np.eye(3), r.uniform(0.3, 1))),
        MadeUpLie(
            "offset", "distances that are too long or short", lambda x, r: _offset(x, r.choice((-1, 1)) * r.uniform(0.3, 1))
        ),
    )
    return (*(() if spec.options.get("polar") else points), *(intensities if spec.channels > 3 else ()))


def _intensity(x: np.ndarray, values: np.ndarray) -> np.ndarray:
    out = x.astype(np.float32)
    out[:, 3] = np.where(x[:, 0] > 0, values, 0)
    return out


def _tilt(random: np.random.Generator) -> np.ndarray:
    """A turn by 12 to 30 degrees about a level axis."""
    about, angle = random.uniform(0, 2 * np.pi), np.radians(random.uniform(12, 30))
    axis = np.array([np.cos(about), np.sin(about), 0.0])
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


def _points(spec: ModalitySpec, x: np.ndarray, factor: float, turn: np.ndarray, up_m: float) -> np.ndarray:
    """Frames of the points behind the cells, scaled, turned and raised."""
    _, channels, height, width = spec.shape
    option = spec.options.get
    elevation = np.radians(
        np.linspace(option("max_elevation_deg", 30.0), option("min_elevation_deg", -30.0), 2 * height + 1)[1::2]
    )
    half = np.radians(option("azimuth_fov_deg", 360.0)) / 2
    azimuth = np.linspace(half, -half, 2 * width + 1)[1::2]
    beams = np.stack(
        (
            np.cos(elevation)[:, None] * np.cos(azimuth),
            np.cos(elevation)[:, None] * np.sin(azimuth),
            np.repeat(np.sin(elevation)[:, None], width, axis=1),
        ),
        axis=-1,
    )
    scale = float(option("intensity_scale", 1.0)) or 1.0
    frames = []
    for frame in x:
        seen = frame[0] > 0
        xyz = (beams[seen] * frame[0][seen][:, None] * factor) @ turn.T + (0, 0, up_m)
        rows = np.concatenate((xyz, frame[3][seen][:, None] / scale), axis=1) if channels > 3 else xyz
        frames.append(lidar_frame(rows, spec))
    return np.stack(frames).astype(np.float32)


def _offset(x: np.ndarray, metres: float) -> np.ndarray:
    """Distances that are longer along their beams; heights and reliefs grow with them."""
    out = x.astype(np.float32)
    seen = x[:, 0] > 0
    longer = np.where(seen, np.maximum(x[:, 0] + metres, 0.1) / np.maximum(x[:, 0], 1e-3), 1).astype(np.float32)
    for place in (0, 1):
        if place < x.shape[1]:
            out[:, place] *= longer
    return out
