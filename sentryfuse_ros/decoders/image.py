"""sensor_msgs/Image -> rows (k, C, H, W) of `preprocessing.camera.camera_frame`, and whether the camera sees anything.

Encodings: rgb8, bgr8, rgba8, bgra8, mono8, mono16, 16UC1 and 32FC1; 8UC1, 8UC3 and 8UC4, which are cv_bridge's names of
mono8, bgr8 and bgra8; and the Bayer patterns of 8 and 16 bits (`bayer`). Any step and either byte order is read. Pixels are a
view on the message until the frame is made. Of a very large image only every k-th row and column is used, so that its size does
not decide how long a tick takes.

Faults: BLACK, all pixels dark, or for depth no return at all; SATURATED, all pixels at full scale; NAN, a float image without
any number; OUT_OF_RANGE, distances farther than ``max_depth_m``; EMPTY, no pixels; UNSUPPORTED, another encoding, or one that
cannot be converted to the model's input: colours on a depth input, distances on an rgb input. A mono input takes 16UC1 and 32FC1
as brightness, which is what thermal cameras send. The model's ``encoding`` decides whether such an image is depth; without a
model it is (REP 118).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isqrt
from typing import Any

import cv2
import numpy as np

from ..errors import DecodeError
from ..preprocessing.camera import camera_frame
from ..preprocessing.spec import ModalitySpec
from .batch import PayloadFault
from .bayer import PATTERNS, bayer_encodings, mosaic_to_rgb
from .cdr import CdrReader, field_array, message_stamp_ns
from .decoder import MessageDecoder, Rejected

# encoding -> sample type, samples per pixel, their order
ENCODINGS = {
    "rgb8": ("u1", 3, "rgb"),
    "bgr8": ("u1", 3, "bgr"),
    "8UC3": ("u1", 3, "bgr"),
    "rgba8": ("u1", 4, "rgba"),
    "bgra8": ("u1", 4, "bgra"),
    "8UC4": ("u1", 4, "bgra"),
    "mono8": ("u1", 1, "mono"),
    "8UC1": ("u1", 1, "mono"),
    "mono16": ("u2", 1, "mono"),
    "16UC1": ("u2", 1, "depth"),
    "32FC1": ("f4", 1, "depth"),
    **bayer_encodings(),
}
_TO_RGB = {"rgba": cv2.COLOR_RGBA2RGB, "bgra": cv2.COLOR_BGRA2RGB}
_TO_GRAY = {"bgr": cv2.COLOR_BGR2GRAY, "rgba": cv2.COLOR_RGBA2GRAY, "bgra": cv2.COLOR_BGRA2GRAY}
# Cameras of 10, 12 and 14 bits in 16-bit samples saturate at their own full scale.
_FULL_SCALES = (255, 1023, 4095, 16383, 65535)
# Fingerprint and brightness are taken from every k-th row, about this many bytes in all: that takes 10 us, and is 17 rows of
# a 640x480 rgb8 image.
SAMPLE_BYTES = 32768
_ENOUGH_PIXELS = 4_000_000  # at least so many are left of a larger image; shrinking 64 million pixels would take 0.14 s


@dataclass
class Picture:
    """One image: pixels (H, W) or (H, W, 3|4) as they were sent, and the order of their samples."""

    stamp_ns: int
    pixels: np.ndarray
    order: str  # rgb, bgr, rgba, bgra, mono, depth, or the pattern of a mosaic
    encoding: str
    fingerprint: int | None = None  # of the compressed bytes; None for an image that was sent uncompressed

    @cached_property
    def sample(self) -> np.ndarray:
        """`sampled_rows` of the pixels that it has when it is asked for the first time."""
        return sampled_rows(self.pixels)


class CameraDecoder(MessageDecoder[Picture]):
    """Decoder of sensor_msgs/Image."""

    kind = "camera"
    msg_types = ("sensor_msgs/msg/Image",)
    default_limits = {
        # Level up to which a sample is dark: of 255 for 8-bit images, scaled to 1023 for 16-bit and to 1.0 for float images.
        "black_level": 2.0,
        "black_share": 0.995,  # share of dark samples from which the image is BLACK
        "saturated_share": 0.995,  # share of samples at full scale from which it is SATURATED
        # What counts as 1 in 16-bit images that are not depth, for example 4095. 0: recognised from the samples seen so far.
        "full_scale": 0.0,
        "max_depth_m": 1000.0,  # no depth camera sees farther; an image mostly beyond it is OUT_OF_RANGE
    }

    def __init__(
        self,
        msg_type: str = "",
        spec: ModalitySpec | None = None,
        limits: Mapping[str, float] | None = None,
        deserialize: Callable[[bytes], Any] | None = None,
    ) -> None:
        super().__init__(msg_type, spec, limits, deserialize)
        self._full_scale = _FULL_SCALES[1]  # of 16-bit samples, as far as is known

    def read_raw(self, reader: CdrReader) -> Picture:
        stamp_ns = reader.header()
        height, width, encoding = reader.uint32(), reader.uint32(), reader.string()
        big_endian, step = reader.uint8(), reader.uint32()
        return self._picture(stamp_ns, height, width, encoding, big_endian, step, reader.array(np.uint8))

    def read_object(self, message: Any) -> Picture:
        return self._picture(
            message_stamp_ns(message),
            int(message.height),
            int(message.width),
            message.encoding,
            message.is_bigendian,
            int(message.step),
            field_array(message.data, np.uint8),
        )

    def _picture(
        self, stamp_ns: int, height: int, width: int, encoding: str, big_endian: int, step: int, data: np.ndarray
    ) -> Picture:
        if encoding not in ENCODINGS:
            raise Rejected(
                PayloadFault.UNSUPPORTED,
                f"{self.msg_type} encoding",
                repr(encoding[:40]),
                "one of " + " ".join(name for name in ENCODINGS if not name.startswith("bayer")) + " bayer_*",
                "convert the topic, e.g. with image_proc",
            )
        sample, samples, order = ENCODINGS[encoding]
        dtype = np.dtype(sample).newbyteorder(">" if big_endian else "<")
        if height == 0 or width == 0:
            raise Rejected(
                PayloadFault.EMPTY,
                f"{self.msg_type} size",
                f"{width} x {height}",
                "at least one pixel",
                "check the camera driver",
            )
        row_bytes = width * samples * dtype.itemsize
        if step < row_bytes or data.size < step * (height - 1) + row_bytes:
            raise DecodeError(
                f"{self.msg_type} {encoding} {width} x {height}",
                f"step {step}, {data.size} bytes",
                f"step of at least {row_bytes} and step x height bytes",
                "check the camera driver",
            )
        shape = (height, width, samples) if samples > 1 else (height, width)
        strides = (step, samples * dtype.itemsize, dtype.itemsize)[: len(shape)]
        pixels = np.ndarray(shape, dtype, data, 0, strides)
        if not dtype.isnative:
            pixels = pixels.astype(dtype.newbyteorder("="))
        return Picture(stamp_ns, pixels, order, encoding)

    def fingerprint(self, picture: Picture) -> int:
        if picture.fingerprint is not None:
            return picture.fingerprint
        return fingerprint_bytes(picture.sample, picture.pixels.nbytes)

    def check(self, picture: Picture) -> None:
        depth = self._is_depth(picture)
        # The whole image is looked at only if the sampled rows look faulty.
        if (self._depth_fault if depth else self._light_fault)(picture.sample, picture):
            every = _surplus(picture.pixels)
            problem = (self._depth_fault if depth else self._light_fault)(picture.pixels[::every, ::every], picture)
            if problem:
                raise problem

    def _is_depth(self, picture: Picture) -> bool:
        if self.spec is None:
            return picture.order == "depth"
        return self.spec.encoding == "depth_m" and picture.pixels.ndim == 2

    def _depth_fault(self, pixels: np.ndarray, picture: Picture) -> Rejected | None:
        # One return is enough: where the background was removed, only a few per cent of the pixels have one.
        if pixels.dtype.kind == "f":
            if np.isnan(pixels).all():
                return self._fault(PayloadFault.NAN, picture, "NaN in every pixel", "distances, or 0 for no return")
            far = np.isfinite(pixels) & (pixels > self.limits["max_depth_m"])
            returns = np.isfinite(pixels) & (pixels > 0)
            if 2 * np.count_nonzero(far) > np.count_nonzero(returns):
                return self._fault(
                    PayloadFault.OUT_OF_RANGE,
                    picture,
                    f"up to {pixels[far].max():g} m",
                    f"distances of at most {self.limits['max_depth_m']:g} m",
                    "max_depth_m",
                )
        else:
            returns = pixels
            if pixels.min() == np.iinfo(pixels.dtype).max:
                return self._fault(PayloadFault.SATURATED, picture, f"{pixels.max()} in every pixel", "distances")
        return None if returns.any() else self._fault(PayloadFault.BLACK, picture, "no return", "at least one return")

    def _light_fault(self, pixels: np.ndarray, picture: Picture) -> Rejected | None:
        if picture.order in ("rgba", "bgra"):
            pixels = pixels[..., :3]  # alpha says nothing about brightness
        limits = self.limits
        if pixels.dtype.kind == "f":
            if np.isnan(pixels).all():
                return self._fault(PayloadFault.NAN, picture, "NaN in every pixel", "numbers")
            dark, full = limits["black_level"] / 255, None
        else:
            # 16-bit samples mostly come from cameras of 10 to 12 bits; the dark level is scaled as for 10.
            # As a whole number, because numpy compares integers with it four times as fast.
            dark = int(limits["black_level"] * (1 if pixels.dtype.itemsize == 1 else 1023 / 255))
            brightest = int(pixels.max())
            full = brightest if brightest in _FULL_SCALES else None
        share = np.count_nonzero(pixels <= dark) / pixels.size
        if share >= limits["black_share"]:
            return self._fault(
                PayloadFault.BLACK,
                picture,
                f"{share:.1%} of the samples at most {dark:g}",
                f"less than {limits['black_share']:.1%}",
                "black_level or black_share",
            )
        if full is not None and (share := np.count_nonzero(pixels == full) / pixels.size) >= limits["saturated_share"]:
            return self._fault(
                PayloadFault.SATURATED,
                picture,
                f"{share:.1%} of the samples at {full}",
                f"less than {limits['saturated_share']:.1%}",
                "saturated_share",
            )
        return None

    def _fault(self, fault: PayloadFault, picture: Picture, seen: str, expected: str, limit: str = "") -> Rejected:
        return Rejected(
            fault,
            f"{self.msg_type} {picture.encoding}",
            seen,
            expected,
            "check lens, light and driver" + (f", or change its parameter limits.{limit}" if limit else ""),
        )

    def rows(self, picture: Picture, spec: ModalitySpec) -> tuple[np.ndarray, np.ndarray]:
        """Stamps (1,) and the frame (1, C, H, W)."""
        encoding, pixels, order = spec.encoding, picture.pixels, picture.order
        if encoding == "depth_m" and (pixels.ndim != 2 or pixels.dtype == np.uint8 or order in PATTERNS):
            raise self._unsuitable(picture, spec, "16UC1 (mm), 32FC1 (m) or mono16 (mm)", "remap to a depth topic")
        if encoding == "rgb" and order == "depth":
            raise self._unsuitable(picture, spec, "a colour or grey encoding", "remap to the topic of the colour or grey image")
        full_scale = self._scale_of(pixels) if pixels.dtype == np.uint16 and encoding != "depth_m" else None
        every = _surplus(pixels)
        if order in PATTERNS:
            pixels, order = mosaic_to_rgb(pixels, order, every), "rgb"
        elif every > 1:
            pixels = np.ascontiguousarray(pixels[::every, ::every])
        if not pixels.flags.aligned:
            pixels = pixels.copy()
        if encoding == "mono" and order in _TO_GRAY:
            pixels, order = cv2.cvtColor(pixels, _TO_GRAY[order]), "mono"
        elif order in _TO_RGB:
            pixels, order = cv2.cvtColor(pixels, _TO_RGB[order]), "rgb"
        if encoding == "depth_m" and pixels.dtype.kind == "f":
            pixels = np.where(pixels <= self.limits["max_depth_m"], pixels, np.float32(0))  # NaN and beyond: no return
        frame = camera_frame(pixels, spec, full_scale)
        if order == "bgr":
            frame = frame[::-1]  # swapping after the image was shrunk is cheaper and gives the same numbers
        if pixels.dtype.kind == "f" and not np.isfinite(frame).all():
            raise self._fault(PayloadFault.NAN, picture, "NaN or inf in some pixels", "finite numbers")
        self.picture_size = picture.pixels.shape[0], picture.pixels.shape[1]
        return np.array([picture.stamp_ns], np.int64), frame[None]

    def _unsuitable(self, picture: Picture, spec: ModalitySpec, expected: str, remedy: str) -> Rejected:
        what = f"{self.msg_type} encoding for {'depth' if spec.encoding == 'depth_m' else spec.encoding} input {spec.name!r}"
        return Rejected(PayloadFault.UNSUPPORTED, what, repr(picture.encoding), expected, remedy)

    def _scale_of(self, pixels: np.ndarray) -> float:
        """Full scale of 16-bit samples: the limit, or what the samples seen so far need.

        Cameras of 10, 12 and 14 bits write either the low bits of a sample, so that none exceeds their own full scale, or the
        high ones, so that the low four are 0. The scale only grows: one dark picture does not change what the next one means.
        """
        if self.limits["full_scale"] > 0:
            return self.limits["full_scale"]
        sample = sampled_rows(pixels)
        if not (sample & 15).any() and sample.any():
            self._full_scale = _FULL_SCALES[-1]
        brightest = int(sample.max())
        self._full_scale = max(self._full_scale, next(full for full in _FULL_SCALES if full >= brightest))
        return float(self._full_scale)


def sampled_rows(pixels: np.ndarray) -> np.ndarray:
    """Every k-th row of (H, W[, C]), about SAMPLE_BYTES in all, as a contiguous array without the padding of the rows.

    Of rows that are longer than that, only every m-th pixel.
    """
    step = min(max(1, pixels.nbytes // SAMPLE_BYTES), pixels.shape[0])
    across = max(1, pixels[:1].nbytes // SAMPLE_BYTES)
    return np.ascontiguousarray(pixels[step // 2 :: step, ::across])


def _surplus(pixels: np.ndarray) -> int:
    """k such that every k-th row and column of an image (H, W[, C]) leave enough pixels, and not many more."""
    return max(1, isqrt(pixels.shape[0] * pixels.shape[1] // _ENOUGH_PIXELS))


def fingerprint_bytes(sample: np.ndarray, size: int) -> int:
    """64 bits of a contiguous sample of a payload and of the payload's size."""
    return zlib.crc32(sample.data) | (size & 0xFFFFFFFF) << 32
