"""Keep a managed node alive through an invalid transition request.

In rclpy such a request raises out of `spin` and ends the node (seen in 7.1.6). A lifecycle manager that asks twice must
not take the fuser down.
"""

from __future__ import annotations

from typing import Any

from rclpy.lifecycle import LifecycleNode


def guard_change_state(node: LifecycleNode) -> None:
    """Wrap the node's change_state service: an invalid request is logged and answered with success = false."""
    service = getattr(node, "_service_change_state", None)
    if service is None or not hasattr(service, "callback"):
        node.get_logger().warning("this rclpy hides the change_state service; an invalid request may end the node")
        return
    change_state = service.callback

    def guarded(request: Any, response: Any) -> Any:  # lifecycle_msgs/ChangeState: its Python halves carry no types
        try:
            return change_state(request, response)
        except Exception as error:
            wanted = request.transition.label or request.transition.id
            state = node._state_machine.current_state[1]
            node.get_logger().error(f"transition {wanted} refused in state {state}: {error}")
            response.success = False
            return response

    service.callback = guarded
