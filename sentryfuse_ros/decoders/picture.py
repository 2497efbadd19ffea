"""A camera's message as a picture for people: colours in the order of OpenCV, depth as colours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import cv2
import numpy as np

from ..errors import DecodeError
from ..sensor_kinds import sensor_kind
from .bayer import PATTERNS, mosaic_to_rgb
from .cdr import CdrReader
from .compressed_image import CodedPicture, CompressedCameraDecoder
from .image import CameraDecoder

FAR_M = 8.0  # Depth pictures are coloured up to this distance.
_TO_BGR = {"rgb": cv2.COLOR_RGB2BGR, "rgba": cv2.COLOR_RGBA2BGR, "bgra": cv2.COLOR_BGRA2BGR, "mono": cv2.COLOR_GRAY2BGR}


def read_picture(msg_type: str, raw: bytes, limits: Mapping[str, float] | None = None) -> np.ndarray | None:
    """The picture in a camera's serialised message, uint8 (H, W, 3), blue first; None where it cannot be read.

    ``limits``: those of the sensor's decoder. A picture that would take longer to decode than they allow is not read either.
    Raises ParameterError for a limit that the decoder does not have.
    """
    decoder = cast(CameraDecoder, sensor_kind("camera").decoder_class(msg_type)(msg_type, None, limits))
    try:
        picture = decoder.read_raw(CdrReader(raw, msg_type))
        if isinstance(picture, CodedPicture) and isinstance(decoder, CompressedCameraDecoder):
            return to_bgr(*decoder.whole(picture))
        return to_bgr(picture.pixels, picture.order)
    except (DecodeError, ValueError, cv2.error):
        return None  # what is wrong with it is the business of the camera's status


def to_bgr(pixels: np.ndarray, order: str) -> np.ndarray:
    """Pixels (H, W[, C]) in the order of a `decoders.image.Picture` as uint8 (H, W, 3), blue first. Depth is coloured."""
    if order in PATTERNS:
        pixels, order = mosaic_to_rgb(pixels, order), "rgb"
    pixels = np.ascontiguousarray(pixels)
    if order == "depth":
        metres = pixels * 1e-3 if pixels.dtype.kind == "u" else np.nan_to_num(pixels, nan=0.0, posinf=0.0, neginf=0.0)
        near = np.where(metres > 0, np.clip(1 - metres / FAR_M, 0.02, 1), 0)
        return cv2.applyColorMap((255 * near).astype(np.uint8), cv2.COLORMAP_INFERNO)
    if pixels.dtype == np.uint16:
        pixels = (pixels / max(int(pixels.max()), 1) * 255).astype(np.uint8)
    elif pixels.dtype.kind == "f":
        pixels = (np.clip(np.nan_to_num(pixels), 0, 1) * 255).astype(np.uint8)
    return pixels if order == "bgr" else cv2.cvtColor(pixels, _TO_BGR[order])
