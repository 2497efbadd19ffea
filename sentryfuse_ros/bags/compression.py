"""Unpacking zstd and lz4, also data that end too early. The libraries are those that `rosbags` depends on."""

from __future__ import annotations

import sys
from typing import IO

import lz4.frame

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BLOCK_BYTES = 1 << 20
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def decompress_zstd(data: bytes) -> bytes:
    """The content of a zstd frame. Raises ValueError if it is damaged."""
    try:
        return bytes(zstd.decompress(data))
    except zstd.ZstdError as error:
        raise ValueError(str(error)) from error


def unpack_start(packed: IO[bytes], out: IO[bytes]) -> None:
    """Unpack a zstd file, up to the place where it is cut off or damaged."""
    unpacker = zstd.ZstdDecompressor()
    try:
        while not unpacker.eof and (data := packed.read(BLOCK_BYTES)):
            out.write(unpacker.decompress(data))
    except zstd.ZstdError:
        return


def decompress_start(data: bytes, compression: str) -> bytes:
    """What can be unpacked of data that may end too early, by the name that mcap gives the compression: "", zstd or lz4.

    Raises ValueError for another name, and for damaged data.
    """
    if not compression:
        return data
    try:
        if compression == "zstd":
            return bytes(zstd.ZstdDecompressor().decompress(data))
        if compression == "lz4":
            return bytes(lz4.frame.LZ4FrameDecompressor().decompress(data))
    except (zstd.ZstdError, RuntimeError) as error:
        raise ValueError(str(error)) from error
    raise ValueError(f"compression {compression!r} is not known")
