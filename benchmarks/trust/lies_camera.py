"""Lies of a camera, made in sensor_msgs/Image messages of encoding rgb8."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from sentryfuse_ros.decoders.cdr import CdrReader

from .lie import Lie

Pixels = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def on_pixels(change: Pixels, encoding: str = "rgb8") -> Callable:
    """A change of a picture (H, W, 3) uint8 as a change of messages, which are then sent with this encoding."""

    def messages(raw: Sequence[bytes], random: np.random.Generator) -> list[bytes]:
        return [_with_pixels(message, change(_pixels(message), random), encoding) for message in raw]

    return messages


def _head(raw: bytes) -> CdrReader:
    reader = CdrReader(raw, "Image")
    reader.header()
    return reader


def _pixels(raw: bytes) -> np.ndarray:
    reader = _head(raw)
    height, width, _ = reader.uint32(), reader.uint32(), reader.string()
    reader.uint8(), reader.uint32()
    return reader.array(np.uint8).reshape(height, width, 3)


def _with_pixels(raw: bytes, pixels: np.ndarray, encoding: str) -> bytes:
    """The message with another picture."""
    pixels = np.ascontiguousarray(pixels)
    out = bytearray(raw[: _head(raw).offset])

    def align() -> None:
        out.extend(bytes(-(len(out) - 4) % 4))

    align()
    out += struct.pack("<III", pixels.shape[0], pixels.shape[1], len(encoding) + 1) + encoding.encode() + b"\0\0"
    align()
    out += struct.pack("<II", pixels.nbytes // pixels.shape[0], pixels.nbytes) + pixels.tobytes()
    return bytes(out)


def _level(change: Callable[[np.ndarray], np.ndarray]) -> Callable:
    """A change of brightness, of numbers in 0..255."""
    return on_pixels(lambda p, _: np.clip(np.rint(change(p.astype(np.float32))), 0, 255).astype(np.uint8))


def _grey(p: np.ndarray, _: np.random.Generator) -> np.ndarray:
    return np.repeat(cv2.cvtColor(p, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)


def _part(rows: slice, columns: slice) -> Callable:
    """This part of the picture is black, but for noise."""

    def change(p: np.ndarray, random: np.random.Generator) -> np.ndarray:
        out = p.copy()
        out[rows, columns] = random.integers(0, 3, out[rows, columns].shape)
        return out

    return on_pixels(change)


def _sheared(p: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """Rows that are read with a length that is one pixel off."""
    flat = p.reshape(-1, 3)
    height, width = p.shape[:2]
    at = np.arange(height)[:, None] * (width - 1) + np.arange(width)
    return flat[at]


def _noise(p: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return np.clip(p + random.normal(0, 40, p.shape), 0, 255).astype(np.uint8)


def _random(p: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return random.integers(0, 256, p.shape).astype(np.uint8)


def _flat(p: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return np.clip(p.mean(axis=(0, 1)) + random.normal(0, 1.5, p.shape), 0, 255).astype(np.uint8)


def _bars(p: np.ndarray, random: np.random.Generator) -> np.ndarray:
    colours = np.array(
        [[235, 235, 235], [235, 235, 16], [16, 235, 235], [16, 235, 16], [235, 16, 235], [235, 16, 16], [16, 16, 235]]
    )
    bars = colours[np.arange(p.shape[1]) * 7 // p.shape[1]]
    return np.clip(np.broadcast_to(bars, p.shape) + random.normal(0, 1.5, p.shape), 0, 255).astype(np.uint8)


def _yuv(p: np.ndarray, _: np.random.Generator) -> np.ndarray:
    return cv2.cvtColor(p, cv2.COLOR_RGB2YUV)


def _crude(p: np.ndarray, _: np.random.Generator) -> np.ndarray:
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", p, (cv2.IMWRITE_JPEG_QUALITY, 3))[1], cv2.IMREAD_COLOR))


def _one_channel(p: np.ndarray, random: np.random.Generator) -> np.ndarray:
    out = p.copy()
    out[..., 2] = random.integers(0, 2, p.shape[:2])
    return out


LIES = (
    Lie("camera", "colours_swapped", "red and blue exchanged", on_pixels(lambda p, _: p[..., ::-1])),
    Lie("camera", "encoding_wrong", "the same bytes called bgr8", on_pixels(lambda p, _: p, "bgr8")),
    Lie("camera", "colours_rotated", "red sent as green, green as blue", on_pixels(lambda p, _: p[..., [2, 0, 1]])),
    Lie("camera", "yuv_as_rgb", "YUV samples called rgb8", on_pixels(_yuv)),
    Lie("camera", "no_blue", "the blue channel is dark", on_pixels(_one_channel)),
    Lie("camera", "grey", "grey, sent as colours", on_pixels(_grey)),
    Lie("camera", "upside_down", "turned by 180 degrees", on_pixels(lambda p, _: p[::-1, ::-1])),
    Lie("camera", "mirrored", "left and right exchanged", on_pixels(lambda p, _: p[:, ::-1])),
    Lie("camera", "on_its_side", "turned by 90 degrees", on_pixels(lambda p, _: p.swapaxes(0, 1)[::-1])),
    Lie("camera", "inverted", "a negative", _level(lambda p: 255 - p)),
    Lie("camera", "exposed_3", "exposed three times too long", _level(lambda p: 3 * p)),
    Lie("camera", "exposed_quarter", "exposed a quarter of the time", _level(lambda p: p / 4)),
    Lie("camera", "gamma", "a gamma of 2.2 too much", _level(lambda p: 255 * (p / 255) ** 2.2)),
    Lie("camera", "lower_half_dark", "the lower half is dark", _part(slice(27, None), slice(None))),
    Lie("camera", "left_half_dark", "the left half is dark", _part(slice(None), slice(0, 36))),
    Lie("camera", "row_length", "rows read one pixel too short", on_pixels(_sheared)),
    Lie("camera", "defocused", "out of focus", on_pixels(lambda p, _: cv2.GaussianBlur(p, (0, 0), 4))),
    Lie("camera", "noisy", "noise of 40 steps", on_pixels(_noise)),
    Lie("camera", "random", "random bytes", on_pixels(_random)),
    Lie("camera", "covered_white", "one colour all over", on_pixels(_flat)),
    Lie("camera", "test_bars", "a test picture", on_pixels(_bars)),
    Lie("camera", "blocks", "JPEG of quality 3, red and blue right", on_pixels(_crude)),
    Lie("camera", "posterised", "four levels of brightness", _level(lambda p: np.floor(p / 64) * 64 + 32)),
)
