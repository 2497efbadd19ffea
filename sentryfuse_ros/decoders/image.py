"""sensor_msgs/Image -> rows (k, C, H, W) of `preprocessing.camera.camera_frame`, and whether the camera sees anything.

Encodings: rgb8, bgr8, rgba8, bgra8, mono8, mono16, 16UC1 and 32FC1, and 8UC1, 8UC3 and 8UC4, which are cv_bridge's names of
mono8, bgr8 and bgra8. Any step and either byte order is read. Pixels are a view on the message until the frame is made.

Faults: BLACK, all pixels dark, or for depth no return at all; SATURATED, all pixels at full scale; NAN, a float image without
any number; EMPTY, no pixels; UNSUPPORTED, another encoding, or one that cannot be converted to the model's input. The model's
``encoding`` decides whether an image is depth; without a model, 16UC1 and 32FC1 images are depth (REP 118).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from ..errors import DecodeError
from ..preprocessing.camera import camera_frame
from ..preprocessing.spec import ModalitySpec
from .batch import PayloadFault
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
}
_TO_RGB = {"rgba": cv2.COLOR_RGBA2RGB, "bgra": cv2.COLOR_BGRA2RGB}
_TO_GRAY = {"bgr": cv2.COLOR_BGR2GRAY, "rgba": cv2.COLOR_RGBA2GRAY, "bgra": cv2.COLOR_BGRA2GRAY}
# Cameras of 10, 12 and 14 bits in 16-bit samples saturate at their own full scale.
_FULL_SCALES = (255, 1023, 4095, 16383, 65535)
# Fingerprint and brightness are taken from every k-th row, about this many bytes in all: that takes 10 us, and is 17 rows of
# a 640x480 rgb8 image.
SAMPLE_BYTES = 32768


@dataclass
class Picture:
    """One image: pixels (H, W) or (H, W, 3|4) as they were sent, and the order of their samples."""

    stamp_ns: int
    pixels: np.ndarray
    order: str  # rgb, bgr, rgba, bgra, mono or depth
    encoding: str
    fingerprint: int | None = None  # of the compressed bytes; None for an image that was sent uncompressed


class CameraDecoder(MessageDecoder[Picture]):
    """Decoder of sensor_msgs/Image."""

    kind = "camera"
    msg_types = ("sensor_msgs/msg/Image",)
    default_limits = {
        # Level up to which a sample is dark: of 255 for 8-bit images, scaled to 1023 for 16-bit and to 1.0 for float images.
        "black_level": 2.0,
        "black_share": 0.995,  # share of dark samples from which the image is BLACK
        "saturated_share": 0.995,  # share of samples at full scale from which it is SATURATED
    }

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
                "one of " + " ".join(ENCODINGS),
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
        return fingerprint_bytes(sampled_rows(picture.pixels), picture.pixels.nbytes)

    def check(self, picture: Picture) -> None:
        depth = self._is_depth(picture)
        # The whole image is looked at only if the sampled rows look faulty.
        if (self._depth_fault if depth else self._light_fault)(sampled_rows(picture.pixels), picture):
            problem = (self._depth_fault if depth else self._light_fault)(picture.pixels, picture)
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
            returns = np.isfinite(pixels) & (pixels > 0)
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
            dark = limits["black_level"] * (1 if pixels.dtype.itemsize == 1 else 1023 / 255)
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
        if encoding == "depth_m" and (pixels.ndim != 2 or pixels.dtype == np.uint8):
            raise Rejected(
                PayloadFault.UNSUPPORTED,
                f"{self.msg_type} encoding for depth input {spec.name!r}",
                repr(picture.encoding),
                "16UC1 (mm), 32FC1 (m) or mono16 (mm)",
                "remap to a depth topic",
            )
        if not pixels.flags.aligned:
            pixels = pixels.copy()
        if encoding == "mono" and order in _TO_GRAY:
            pixels, order = cv2.cvtColor(pixels, _TO_GRAY[order]), "mono"
        elif order in _TO_RGB:
            pixels, order = cv2.cvtColor(pixels, _TO_RGB[order]), "rgb"
        frame = camera_frame(pixels, spec)
        if order == "bgr":
            frame = frame[::-1]  # swapping after the image was shrunk is cheaper and gives the same numbers
        if pixels.dtype.kind == "f" and not np.isfinite(frame).all():
            raise self._fault(PayloadFault.NAN, picture, "NaN or inf in some pixels", "finite numbers")
        return np.array([picture.stamp_ns], np.int64), frame[None]


def sampled_rows(pixels: np.ndarray) -> np.ndarray:
    """Every k-th row of (H, W[, C]), about SAMPLE_BYTES in all, as a contiguous array without the padding of the rows."""
    step = min(max(1, pixels.nbytes // SAMPLE_BYTES), pixels.shape[0])
    return np.ascontiguousarray(pixels[step // 2 :: step])


def fingerprint_bytes(sample: np.ndarray, size: int) -> int:
    """64 bits of a contiguous sample of a payload and of the payload's size."""
    return zlib.crc32(sample.data) | (size & 0xFFFFFFFF) << 32
