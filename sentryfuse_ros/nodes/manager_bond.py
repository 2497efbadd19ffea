"""The bond to nav2's lifecycle manager, which deactivates the whole robot when the heartbeat of one of its nodes stops.

nav2's own nodes form it at activation and break it at deactivation, on the topic `bond` and with their name as its id. It needs
the package bondpy; without it the manager must not wait for a bond (docs/ROBOT.md).
"""

from __future__ import annotations

from typing import Any

from rclpy.duration import Duration
from rclpy.node import Node

HEARTBEAT_PERIOD_S = 0.1  # as nav2's own nodes send it
# bondpy beats from a thread of its own, even while the node's executor hangs. But then the node does not hear the manager either:
# after this time it gives the bond up, and the manager misses it.
HEARTBEAT_TIMEOUT_S = 4.0
FAREWELL_S = 0.15  # the manager hears from a broken bond several times in this time


class ManagerBond:
    """Formed by `start` and broken by `stop`; both do nothing where bondpy is not installed."""

    def __init__(self, node: Node):
        self._node = node
        self._bond: Any = None

    @property
    def formed(self) -> bool:
        """Whether there is a manager at the other end."""
        return self._bond is not None and self._bond.sister_instance_id is not None and not self._bond.is_broken()

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
        # `shutdown` destroys them behind the node's back: the executor would go on with the subscription.
        self._node.destroy_subscription(bond.sub)
        self._node.destroy_publisher(bond.pub)
        # bondpy declares this at every timeout, which fails the second time.
        from bond.msg import Constants

        if self._node.has_parameter(Constants.DISABLE_HEARTBEAT_TIMEOUT_PARAM):
            self._node.undeclare_parameter(Constants.DISABLE_HEARTBEAT_TIMEOUT_PARAM)
