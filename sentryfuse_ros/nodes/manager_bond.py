"""The bond to nav2's lifecycle manager, which deactivates the whole robot when the heartbeat of one of its nodes stops.

nav2's own nodes form it at activation and break it at deactivation, on the topic `bond` and with their name as its id. It needs
the package bondpy; without it the manager must not wait for a bond (docs/ROBOT.md).
"""

from __future__ import annotations

from typing import Any

from rclpy.duration import Duration
from rclpy.node import Node

HEARTBEAT_PERIOD_S = 0.1  # as nav2's own nodes send it
HEARTBEAT_TIMEOUT_S = 4.0
FAREWELL_S = 0.15  # the manager hears from a broken bond several times in this time


class ManagerBond:
    """Formed by `start` and broken by `stop`; both do nothing where bondpy is not installed."""

    def __init__(self, node: Node):
        self._node = node
        self._bond: Any = None

    def start(self) -> None:
        try:
            from bondpy.bondpy import Bond
        except ImportError:
            return
        self._bond = Bond(self._node, "bond", self._node.get_name())
        self._bond.set_heartbeat_period(HEARTBEAT_PERIOD_S)
        self._bond.set_heartbeat_timeout(HEARTBEAT_TIMEOUT_S)
        self._bond.start()

    def stop(self) -> None:
        """Tell the manager that this end of the bond is deliberate."""
        if self._bond is None:
            return
        bond, self._bond = self._bond, None
        bond.break_bond()
        # Its answer could only be received by this very thread, so that waiting for it is waiting for the timeout.
        bond.wait_until_broken(Duration(seconds=FAREWELL_S))
        bond.shutdown()
