"""Choice of executor, spinning, and a quick clean exit: the same for every node of the package."""

from __future__ import annotations

import shlex
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import rclpy
from rclpy.context import Context
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from ..runtime.named_thread import named_thread
from ..runtime.process_memory import keep_large_buffers
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

    thread = named_thread(spin, "collect")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(2.0)


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
