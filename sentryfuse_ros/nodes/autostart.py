"""Starts the node by itself, and again while that fails."""

from __future__ import annotations

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn

from .stop_signals import STOP

_AT_ONCE_S = 0.001


class Autostart:
    """Configures and activates a node as soon as it spins, and again every ``retry_s`` while that fails; 0: only once.

    A node that somebody else has taken to another state in between is left alone from then on.
    """

    def __init__(self, node: LifecycleNode, retry_s: float):
        self._node, self._retry_s = node, retry_s
        self._left_in = "unconfigured"
        self.tries = 0
        self._clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(_AT_ONCE_S, self._try, clock=self._clock)

    def _try(self) -> None:
        self._node.destroy_timer(self._timer)
        if STOP.requested or self._state != self._left_in:
            return
        self.tries += 1
        succeeded = self._state == "inactive" or self._node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        if succeeded and not STOP.requested:
            succeeded = self._node.trigger_activate() == TransitionCallbackReturn.SUCCESS
        if succeeded or STOP.requested or self._retry_s <= 0:
            return
        self._left_in = self._state
        self._node.get_logger().info(f"tries again in {self._retry_s:g} s", once=True)
        self._timer = self._node.create_timer(self._retry_s, self._try, clock=self._clock)

    @property
    def _state(self) -> str:
        return str(self._node._state_machine.current_state[1])
