"""How a process keeps its memory: the heap in large pages."""

import subprocess
import sys
from pathlib import Path

import pytest

from sentryfuse_ros.runtime import process_memory
from sentryfuse_ros.runtime.process_memory import LargePages

# Prints, of a process with a large heap: large pages and resident memory before and after [kB], and whether what it holds is the
# same as before.
PROGRAM = """
from pathlib import Path
from sentryfuse_ros.runtime.process_memory import BLOCKS_AT_ONCE, LargePages, keep_large_buffers, use_large_pages

def kb(name):
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(name + ":")))

keep_large_buffers()
held = [bytes([i % 256]) * 1000 for i in range(30000)]
before = kb("AnonHugePages"), kb("Rss")
pages = LargePages()
more = pages.step()
once = kb("AnonHugePages")
use_large_pages()
same = all(part == bytes([i % 256]) * 1000 for i, part in enumerate(held))
print(*before, once, kb("AnonHugePages"), kb("Rss"), more, same, BLOCKS_AT_ONCE)
"""

# Prints how much of its heap a process has asked an older kernel to move, once and after it has grown and asks again [kB].
ASKS_TWICE = """
from pathlib import Path
from sentryfuse_ros.runtime import process_memory

def asked_kb():
    found, size_kb = 0, 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if line.startswith("Size:"):
            size_kb = int(line.split()[1])
        elif line.startswith("VmFlags:") and "hg" in line.split():
            found += size_kb
    return found

process_memory._COLLAPSE = 9999  # which this kernel does not know either
process_memory.keep_large_buffers()
held = [bytes(1000) for _ in range(30000)]
process_memory.use_large_pages()
once = asked_kb()
held += [bytes(1000) for _ in range(30000)]
process_memory.use_large_pages()
print(once, asked_kb())
"""


def collapses() -> bool:
    """Whether this kernel moves memory into large pages at once."""
    try:
        enabled = Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
        version = tuple(int(part) for part in Path("/proc/sys/kernel/osrelease").read_text().split(".")[:2])
    except (OSError, ValueError):
        return False
    return "[never]" not in enabled and version >= (6, 1)


@pytest.mark.skipif(not collapses(), reason="needs Linux 6.1 with large pages switched on")
def test_the_heap_moves_into_large_pages_without_growing_or_changing():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    *numbers, more, same, at_once = done.stdout.split()
    before_kb, resident_kb, once_kb, after_kb, resident_after_kb = map(int, numbers)
    assert same == "True"
    assert resident_after_kb < resident_kb + 4096
    if after_kb == before_kb:
        pytest.skip("this machine has no large page to give")
    assert more == "True" and once_kb - before_kb <= int(at_once) * 2048 * 2  # a step moves some blocks only
    assert after_kb > before_kb + 16384 > once_kb


@pytest.mark.skipif(not collapses(), reason="needs Linux with large pages switched on")
def test_an_older_kernel_is_asked_for_what_the_heap_has_grown_by_too():
    done = subprocess.run([sys.executable, "-c", ASKS_TWICE], capture_output=True, text=True, check=True)
    once_kb, again_kb = map(int, done.stdout.split())
    assert once_kb > 16384 and again_kb > once_kb + 16384


@pytest.mark.skipif(not collapses(), reason="needs Linux 6.1 with large pages switched on")
def test_the_heap_of_an_active_node_moves_into_large_pages(probe, start):
    if not large_pages_to_be_had():
        pytest.skip("this machine has no large page to give")
    node = start()
    probe.wait_log(node, "active at")
    smaps = Path(f"/proc/{node.process.pid}/smaps_rollup")

    def large_kb():
        return next(int(line.split()[1]) for line in smaps.read_text().splitlines() if line.startswith("AnonHugePages:"))

    probe.wait("the heap in large pages", lambda: large_kb() > 16384)


def large_pages_to_be_had():
    """Whether the kernel gives large pages to a process that has enough to move into them."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    before_kb, _, _, after_kb, *_ = done.stdout.split()
    return int(after_kb) > int(before_kb) + 16384


@pytest.mark.parametrize(
    "settings",
    [
        {"enabled": "always madvise [never]", "hpage_pmd_size": "2097152"},  # switched off by the administrator
        {"enabled": "[always] madvise never", "hpage_pmd_size": "536870912"},  # more than any node fills
        {"enabled": "[always] madvise never", "hpage_pmd_size": "many"},
        {},  # a kernel without large pages
    ],
)
def test_nothing_is_moved_where_large_pages_are_not_to_be_had(settings, tmp_path, monkeypatch):
    for name, text in settings.items():
        (tmp_path / name).write_text(text + "\n")
    monkeypatch.setattr(process_memory, "_SETTINGS", tmp_path)
    assert not LargePages().step()
