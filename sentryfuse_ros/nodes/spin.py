"""Choice of executor, spinning, and a quick clean exit: the same for every node of the package."""

from __future__ import annotations

import ctypes
import gc
import shlex
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import rclpy
from rclpy.context import Context
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from .parameter_files import mistakes_in_files
from .ros_start import start_ros
from .stop_signals import STOP


def make_executor(context: Context | None = None) -> Executor:
    """The events executor, which takes a third less CPU, or the single-threaded one if this rclpy has no other."""
    try:
        from rclpy.experimental import EventsExecutor
    except ImportError:
        return SingleThreadedExecutor(context=context)
    return EventsExecutor(context=context)


@contextmanager
def spinning(node: Node) -> Iterator[None]:
    """Run the node's callbacks in a thread of their own, while the block runs."""
    executor = make_executor()
    executor.add_node(node)
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set() and rclpy.ok():
            try:
                executor.spin_once(timeout_sec=0.2)
            except ExternalShutdownException:
                return

    thread = threading.Thread(target=spin, name="collect", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(2.0)


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


def run(make_node: Callable[[], Node], args: list[str] | None = None) -> int:
    """Initialise ROS, spin one node until SIGINT, SIGTERM, SIGHUP or shutdown, clean up; returns the exit status.

    The signals are handled here, because rclpy's own handlers take the context away while threads still publish.
    """
    STOP.install()
    keep_large_buffers()
    try:
        others = start_ros(sys.argv if args is None else args)
    except Exception as error:  # e.g. a malformed parameter file or an unknown ROS argument
        mistakes = mistakes_in_files(sys.argv if args is None else args)
        print(f"cannot start: {'; '.join(mistakes) or error}", file=sys.stderr)
        return 2
    node, executor = None, make_executor()
    try:
        node = make_node()
        if ignored := others[1:]:  # after the name of the program
            node.get_logger().warning(f"ignored: {shlex.join(ignored)}; parameters and remappings come after --ros-args")
        executor.add_node(node)
        while rclpy.ok() and not STOP.requested:
            executor.spin_once(timeout_sec=0.2)  # without a timeout the events executor would not see signals
    except ExternalShutdownException:
        pass
    finally:
        if node is not None:
            if hasattr(node, "leave"):
                node.leave(lambda: executor.spin_once(timeout_sec=0.05))
            node.destroy_node()
        rclpy.try_shutdown()
        STOP.ignore()
    return 0
