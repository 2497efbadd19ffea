"""Unpacking zstd and lz4, also data that end too early. The libraries are those that the installed `rosbags` depends on."""

from __future__ import annotations

from importlib import import_module
from typing import IO, Any

BLOCK_BYTES = 1 << 20
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
ZSTD_MODULES = ("compression.zstd", "backports.zstd", "zstandard")  # of Python 3.14, of rosbags since 0.11.1, and before


def _zstd_unpacker() -> Any:
    """A new object with ``decompress(data) -> bytes`` for data that come in pieces."""
    for name in ZSTD_MODULES:
        try:
            unpacker = import_module(name).ZstdDecompressor()
        except ImportError:
            continue
        return unpacker.decompressobj() if name == "zstandard" else unpacker
    raise ValueError("no package for zstd is installed")


def _lz4_unpacker() -> Any:
    try:
        return import_module("lz4.frame").LZ4FrameDecompressor()
    except ImportError as error:
        raise ValueError("no package for lz4 is installed") from error


def decompress_zstd(data: bytes) -> bytes:
    """The content of a whole zstd frame. Raises ValueError if it is damaged or cut off."""
    unpacker = _zstd_unpacker()
    content = _unpack(unpacker, data)
    if not getattr(unpacker, "eof", True):
        raise ValueError("the data end too early")
    return content


def unpack_start(packed: IO[bytes], out: IO[bytes]) -> None:
    """Unpack a zstd file of one or several frames, up to the place where it is cut off or damaged."""
    try:
        unpacker = _zstd_unpacker()
        while data := packed.read(BLOCK_BYTES):
            while data:
                if getattr(unpacker, "eof", False):
                    unpacker = _zstd_unpacker()
                out.write(_unpack(unpacker, data))
                data = unpacker.unused_data if getattr(unpacker, "eof", False) else b""
    except ValueError:
        return


def decompress_start(data: bytes, compression: str) -> bytes:
    """What can be unpacked of data that may end too early, by the name that mcap gives the compression: "", zstd or lz4.

    Raises ValueError for another name, and for damaged data.
    """
    if not compression:
        return data
    if compression == "zstd":
        return _unpack(_zstd_unpacker(), data)
    if compression == "lz4":
        return _unpack(_lz4_unpacker(), data)
    raise ValueError(f"compression {compression!r} is not known")


def _unpack(unpacker: Any, data: bytes) -> bytes:
    try:
        return bytes(unpacker.decompress(data))
    except Exception as error:  # each library has errors of its own
        raise ValueError(str(error)) from error
