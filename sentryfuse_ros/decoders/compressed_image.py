"""sensor_msgs/CompressedImage -> rows as those of `image`, from JPEG, PNG (8 and 16 bit) and compressed depth.

A JPEG is decoded at 1/2, 1/4 or 1/8 of its size if the model's input is that much smaller, which saves the codec most of the
work. Compressed depth (compressed_depth_image_transport) is a 12-byte header and a PNG; 32FC1 in it is stored as inverse
depth, depth = A / (value - B).

`format` is read as sensor_msgs/CompressedImage describes it: "ORIGINAL; CODEC compressed PIXELS". Where PIXELS is not bgr8, the
codec was given red in the place of blue, so the decoded image is turned around; a mosaic that was compressed as it was (ORIGINAL
bayer_*, one channel) is read like a raw one. Any other text means an ordinary JPEG or PNG.

What decoding may cost is estimated from the headers before anything is decoded: a file of some kilobytes can hold a thousand
scans, or 64 million pixels.

Faults beside those of `image`: MALFORMED, a truncated or undecodable image; OUT_OF_RANGE, more pixels than ``max_pixels``, or a
decoding time of more than ``max_decode_ms``; UNSUPPORTED, another format.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from ..errors import DecodeError
from .batch import PayloadFault
from .bayer import PATTERNS
from .cdr import CdrReader, field_array, message_stamp_ns
from .decoder import Rejected
from .image import ENCODINGS, SAMPLE_BYTES, CameraDecoder, Picture, fingerprint_bytes

_JPEG, _JPEG_END, _JPEG_SCAN = b"\xff\xd8", b"\xff\xd9", b"\xff\xda"
_PNG = b"\x89PNG\r\n\x1a\n"
_DEPTH_HEADER = struct.Struct("<iff")  # format, quantisation A and B
_MAX_PIXELS_PER_BYTE = 1100  # deflate packs at most 1032 pixels into a byte, and JPEG no more
_MAX_CHUNKS = 16384  # writers split the data of a PNG into chunks of 8 kB or more
_TAIL_BYTES = 4096  # where the end mark of a JPEG is looked for first; only zeros may follow it farther ahead
# Decoding times as measured on one core of a 2020s x86 server, the slowest picture of each kind; other machines differ by a few
# times either way, a bomb by hundreds.
_JPEG_NS_PER_BYTE, _PROGRESSIVE_NS_PER_BYTE, _JPEG_NS_PER_PIXEL, _SCAN_NS_PER_PIXEL = 8.0, 26.0, 1.0, 0.6
_PNG_NS_PER_RAW_BYTE = 5.5
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # by colour type; a palette is expanded to colours
_WATCHED_SIZE = 48, 64  # height and width that suffice to check brightness if the model has no input for the image
_SMALLER = {1: (cv2.IMREAD_COLOR, cv2.IMREAD_GRAYSCALE)} | {
    k: (getattr(cv2, f"IMREAD_REDUCED_COLOR_{k}"), getattr(cv2, f"IMREAD_REDUCED_GRAYSCALE_{k}")) for k in (2, 4, 8)
}


@dataclass
class CodedPicture(Picture):
    """A compressed image. ``pixels`` is empty until the image is decompressed by the check."""

    data: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint8))  # (n,) uint8


class CompressedCameraDecoder(CameraDecoder):
    """Decoder of sensor_msgs/CompressedImage."""

    msg_types = ("sensor_msgs/msg/CompressedImage",)
    default_limits = {
        **CameraDecoder.default_limits,
        "max_pixels": 64e6,  # no robot's camera has more; a corrupt header may claim any size
        "max_decode_ms": 100.0,  # estimated; one period of the default fuse rate
    }

    def read_raw(self, reader: CdrReader) -> CodedPicture:
        stamp_ns, coding = reader.header(), reader.string()
        return self._coded(stamp_ns, coding, reader.array(np.uint8))

    def read_object(self, message: Any) -> CodedPicture:
        return self._coded(message_stamp_ns(message), message.format, field_array(message.data, np.uint8))

    def _coded(self, stamp_ns: int, coding: str, data: np.ndarray) -> CodedPicture:
        # Compressed bytes depend on all bytes before them, so the beginning and the end identify the image.
        half = SAMPLE_BYTES // 2
        sample = data if data.size <= SAMPLE_BYTES else np.concatenate((data[:half], data[-half:]))
        return CodedPicture(stamp_ns, np.empty(0, np.uint8), "", coding, fingerprint_bytes(sample, data.size), data)

    def check(self, picture: Picture) -> None:
        if isinstance(picture, CodedPicture):
            picture.pixels, picture.order = self._decompress(picture)
        super().check(picture)

    def whole(self, picture: CodedPicture) -> tuple[np.ndarray, str]:
        """Pixels (H, W) or (H, W, 3) of the whole image and their order, for people. Raises DecodeError or Rejected."""
        return self._decompress(picture, whole=True)

    def _decompress(self, picture: CodedPicture, whole: bool = False) -> tuple[np.ndarray, str]:
        """Pixels (H, W) or (H, W, 3) and their order; unless ``whole``, of an image as small and grey as the model allows."""
        data, coding = picture.data, picture.encoding
        what = f"{self.msg_type} format {coding[:60]!r}"
        if data.size == 0:
            raise Rejected(PayloadFault.EMPTY, what, "0 bytes", "an image", "check the camera driver")
        depth_header = None
        if "compressedDepth" in coding:
            if data.size < _DEPTH_HEADER.size:
                raise DecodeError(what, f"{data.size} bytes", f"a header of {_DEPTH_HEADER.size} bytes and a PNG")
            depth_header, data = _DEPTH_HEADER.unpack_from(data.data), data[_DEPTH_HEADER.size :]
        start = data[:8].tobytes()
        png = start == _PNG
        if png:
            size = png_size(data)
        elif start.startswith(_JPEG) and depth_header is None:
            size = jpeg_size(data) if _jpeg_ends(data) else None
        else:
            raise Rejected(
                PayloadFault.UNSUPPORTED,
                what,
                f"data starting with 0x{start[:4].hex()}",
                "JPEG, PNG or compressed depth as PNG",
                "set the transport's format to jpeg or png",
            )
        if size is None or size[0] * size[1] > _MAX_PIXELS_PER_BYTE * data.size:
            raise DecodeError(
                what, f"{data.size} bytes that are cut off or corrupt", "a whole image", "check the transport for lost data"
            )
        if not 0 < size[0] * size[1] <= self.limits["max_pixels"]:
            raise Rejected(
                PayloadFault.OUT_OF_RANGE,
                what,
                f"{size[0]} x {size[1]} pixels",
                f"1 to {self.limits['max_pixels']:g} pixels",
                "check the driver, or raise max_pixels",
            )
        cost_ms = (_png_cost_ns(data, size) if png else _jpeg_cost_ns(data, size)) / 1e6
        if cost_ms > self.limits["max_decode_ms"]:
            raise Rejected(
                PayloadFault.OUT_OF_RANGE,
                what,
                f"{size[0]} x {size[1]} pixels in {data.size} bytes, which take about {cost_ms:.0f} ms to decode",
                f"at most {self.limits['max_decode_ms']:g} ms",
                "send smaller images or baseline JPEG, or raise max_decode_ms",
            )
        original, pixel_order = coding_parts(coding)
        mosaic = original in ENCODINGS and ENCODINGS[original][2] in PATTERNS
        flags = cv2.IMREAD_UNCHANGED if mosaic else self._read_flags(data, size, png, depth_header is not None, whole)
        pixels = cv2.imdecode(data, flags)
        if pixels is None:
            raise DecodeError(what, f"{data.size} bytes that do not decode", "a whole image", "check the camera driver")
        if depth_header is not None and coding.startswith("32FC1"):
            return _inverse_depth(pixels, *depth_header[1:]), "depth"
        if pixels.ndim == 3:
            return pixels, pixel_order
        if mosaic:
            return pixels, ENCODINGS[original][2]
        return pixels, "depth" if depth_header is not None or coding.startswith("16UC1") else "mono"

    def _read_flags(self, data: np.ndarray, size: tuple[int, int], png: bool, depth: bool, whole: bool) -> int:
        """Flags for the codec: a 16-bit PNG as it is, others in colour or grey at the smallest scale that is large enough."""
        if depth or (png and data[24] == 16 and data[25] == 0):  # bit depth and colour type of the IHDR chunk
            return cv2.IMREAD_UNCHANGED
        if whole:
            return cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        height, width = self.spec.shape[2:] if self.spec is not None else _WATCHED_SIZE
        factor = 1 if png else max((k for k in _SMALLER if size[0] >= k * width and size[1] >= k * height), default=1)
        grey = self.spec is None or self.spec.encoding == "mono"
        return _SMALLER[factor][grey] | cv2.IMREAD_IGNORE_ORIENTATION


def coding_parts(coding: str) -> tuple[str, str]:
    """Encoding of the original image ("" where it is not said) and order of a colour image's decoded samples, bgr or rgb.

    sensor_msgs/CompressedImage: "ORIGINAL; CODEC compressed [PIXELS]"; anything else is treated as bgr8 or mono8.
    """
    original, _, rest = coding.partition(";")
    codec, _, pixel_format = rest.partition("compressed")
    if not codec.strip() or "compressed" not in rest or not original.strip():
        return "", "bgr"
    return original.strip(), "bgr" if pixel_format.strip().startswith("bgr") else "rgb"


def original_encoding(coding: str) -> str:
    """Encoding of the image before the codec: "16UC1" of "16UC1; compressedDepth png"; the format itself if it has no parts."""
    return coding.partition(";")[0].strip()


def _jpeg_ends(data: np.ndarray) -> bool:
    """Whether a JPEG has its end mark, followed by anything near the end, or by any number of zeros."""
    if _JPEG_END in data[-_TAIL_BYTES:].tobytes():
        return True
    return bool(data[-1] == 0) and data.tobytes().rstrip(b"\0").endswith(_JPEG_END)  # a capture buffer that was sent whole


def _jpeg_cost_ns(data: np.ndarray, size: tuple[int, int]) -> float:
    """Estimated time to decode a JPEG [ns]; each scan of a progressive one (ITU-T T.81 G) goes over all pixels."""
    scans = data.tobytes().count(_JPEG_SCAN)
    pixels, per_byte = size[0] * size[1], _JPEG_NS_PER_BYTE if scans <= 1 else _PROGRESSIVE_NS_PER_BYTE
    return data.size * per_byte + pixels * (_JPEG_NS_PER_PIXEL + (_SCAN_NS_PER_PIXEL * scans if scans > 1 else 0.0))


def _png_cost_ns(data: np.ndarray, size: tuple[int, int]) -> float:
    """Estimated time to decode a PNG [ns], by the bytes that it unpacks to."""
    bits, colour_type, interlaced = int(data[24]), int(data[25]), int(data[28])
    raw_bytes = size[0] * size[1] * _PNG_CHANNELS.get(colour_type, 4) * max(1, bits // 8)
    return raw_bytes * _PNG_NS_PER_RAW_BYTE * (2 if interlaced else 1)


def png_size(data: np.ndarray) -> tuple[int, int] | None:
    """(width, height) of a PNG whose chunks are complete (PNG specification, 5.3), else None.

    The chunks are checked before decoding because the codec trusts the length of a chunk, and one flipped bit can make it
    allocate 2 GB.
    """
    view, at = data.data, len(_PNG)
    size: tuple[int, int] | None = None
    for _ in range(_MAX_CHUNKS):
        if at + 12 > len(view):
            return None
        length, name = struct.unpack_from(">I4s", view, at)
        if at + 12 + length > len(view):
            return None
        if size is None:
            if name != b"IHDR" or length != 13:
                return None
            width, height = struct.unpack_from(">II", view, at + 8)
            size = width, height
        if name == b"IEND":
            return size
        at += 12 + length
    return None


def jpeg_size(data: np.ndarray) -> tuple[int, int] | None:
    """(width, height) from the frame header of a JPEG (ITU-T T.81 B.2.2), None if it has no frame header."""
    at = 2
    for _ in range(256):  # segments before the frame header; a real file has about ten
        if at + 9 > data.size or data[at] != 0xFF:
            break
        marker = int(data[at + 1])
        if marker == 0xFF:  # a fill byte before the marker
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9].tobytes())
            return width, height
        at += 2 + max(2, int(data[at + 2]) << 8 | int(data[at + 3]))
    return None


def _inverse_depth(pixels: np.ndarray, quant_a: float, quant_b: float) -> np.ndarray:
    """Quantised inverse depth (H, W) -> metres float32, 0 where there was no return."""
    with np.errstate(all="ignore"):  # header values come from the wire
        metres = np.float32(quant_a) / (pixels.astype(np.float32) - np.float32(quant_b))
    return np.where((pixels > 0) & np.isfinite(metres), metres, np.float32(0))
