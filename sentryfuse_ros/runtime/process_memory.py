"""How this process keeps its memory: buffers of large messages, garbage of set-up, and pages of 2 MB.

All of it belongs to glibc and Linux. Elsewhere nothing happens.
"""

from __future__ import annotations

import ctypes
import gc
import mmap
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_SETTINGS = Path("/sys/kernel/mm/transparent_hugepage")
_HUGEPAGE, _COLLAPSE = 14, 25  # advice of madvise(2); the second is of Linux 6.1
_LARGEST_PAGE = 4 << 20  # kernels with small pages of 64 KB have large ones of 512 MB, which no node fills
_LEAST_RESIDENT = 0.9  # of a block that is moved: the rest of it becomes resident, too
BLOCKS_AT_ONCE = 4  # some 3 ms; one by one they would take longer, because the kernel waits for all cores each time


def keep_large_buffers() -> bool:
    """Let glibc reuse the memory of images and clouds instead of mapping it anew for every message.

    Page faults of fresh mappings are a third of the receive path's CPU (docs/RECEIVE.md). Returns whether it took effect.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    m_trim_threshold, m_top_pad, m_mmap_threshold = -1, -2, -3  # malloc.h
    largest = 32 << 20  # the highest threshold that glibc accepts
    return bool(
        mallopt(m_mmap_threshold, largest) and mallopt(m_trim_threshold, 4 * largest) and mallopt(m_top_pad, largest // 4)
    )


def settle_garbage() -> None:
    """Collect the garbage of set-up, give its memory back, and exempt what stays from later collections: the longest pause falls
    to a sixteenth."""
    gc.collect()
    gc.freeze()
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def release_garbage() -> None:
    """Collect what `settle_garbage` has exempted as well, after a node has let go of its parts: they refer to each other."""
    gc.unfreeze()
    gc.collect()


class LargePages:
    """Moves the heap of this process into pages of 2 MB, some blocks at every step.

    The caches of a node are cold at every tick, and a good part of what it then waits for are the addresses of its many small
    pages (docs/PERFORMANCE.md). Only blocks that are resident anyway are moved: at once where the kernel can (Linux 6.1), while
    an older kernel is asked to do it in the background. Nothing is moved where the administrator has switched large pages off.
    """

    def __init__(self) -> None:
        self._runs: Iterator[tuple[int, int]] | None = None

    def step(self) -> bool:
        """Move the next blocks; returns whether there may be more. The first step decides what there is to be moved."""
        if self._runs is None:
            self._runs = _runs_of_heap()
        run = next(self._runs, None)
        if run is None:
            return False
        start, end = run
        block = ctypes.c_void_p(start), ctypes.c_size_t(end - start)
        madvise = ctypes.CDLL(None).madvise
        if madvise(*block, _COLLAPSE) != 0:  # the kernel is older, or has no large page left
            madvise(*block, _HUGEPAGE)
        return True


def use_large_pages() -> None:
    """Move all of the heap into large pages at once (`LargePages`)."""
    pages = LargePages()
    while pages.step():
        pass


def _runs_of_heap() -> Iterator[tuple[int, int]]:
    """Addresses (start, end) of the blocks of the heap that are to be moved at once."""
    try:
        if "[never]" in (_SETTINGS / "enabled").read_text():
            return
        size = int((_SETTINGS / "hpage_pmd_size").read_text())
        lines = Path("/proc/self/maps").read_text().splitlines()
        # Several parts in a row, once an older kernel has been asked for some of it.
        parts = [line.split()[0].split("-") for line in lines if line.endswith("[heap]")]
        first, stop = int(parts[0][0], 16), int(parts[-1][1], 16)
        mincore = ctypes.CDLL(None).mincore
    except (OSError, ValueError, AttributeError, IndexError):  # not Linux, or without large pages
        return
    if size > _LARGEST_PAGE:
        return
    pages = (ctypes.c_ubyte * (size // mmap.PAGESIZE))()
    start, end = None, 0
    for block in range(-(-first // size) * size, stop - size + 1, size):
        known = mincore(ctypes.c_void_p(block), ctypes.c_size_t(size), pages) == 0
        if known and bytes(pages).count(1) >= _LEAST_RESIDENT * len(pages):
            start, end = block if start is None else start, block + size
        if start is not None and (end <= block or end - start == BLOCKS_AT_ONCE * size):
            yield start, end
            start = None
    if start is not None:
        yield start, end
