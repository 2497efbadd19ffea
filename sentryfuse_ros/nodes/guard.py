"""Keep a managed node alive through an invalid transition request, and say what would have been possible.

In rclpy such a request raises out of `spin` and ends the node (seen in 7.1.6). A lifecycle manager that asks twice must
not take the fuser down.
"""

from __future__ import annotations

from typing import Any

from rclpy.lifecycle import LifecycleNode


def guard_change_state(node: LifecycleNode, hint: str = "") -> None:
    """Wrap the node's change_state service: an invalid request is logged and answered with success = false.

    hint: why a request to configure may come to a node that cannot be configured now; ends the line about it.
    """
    service = getattr(node, "_service_change_state", None)
    if service is None or not hasattr(service, "callback"):
        node.get_logger().warning("this rclpy hides the change_state service; an invalid request may end the node")
        return
    change_state = service.callback

    def guarded(request: Any, response: Any) -> Any:  # lifecycle_msgs/ChangeState: its Python halves carry no types
        try:
            if not (refusal := _refusal(node, request.transition, hint)):
                return change_state(request, response)
        except Exception as error:
            refusal = f"transition {request.transition.label or request.transition.id} failed: {type(error).__name__}: {error}"
        node.get_logger().error(refusal)
        response.success = False
        return response

    service.callback = guarded


def _refusal(node: LifecycleNode, transition: Any, hint: str) -> str:
    """Why the node cannot make a transition now, "" if it can. A request has a label, or else a number."""
    machine = node._state_machine
    possible = {number: label for number, label, *_ in machine.available_transitions}
    if transition.label in possible.values() if transition.label else transition.id in possible:
        return ""
    labels = {number: label for number, label, *_ in machine.transition_graph}
    wanted = transition.label or labels.get(transition.id, str(transition.id))
    ways = " or ".join(dict.fromkeys(possible.values())) or "nothing"
    text = f"transition {wanted} refused: the node is {machine.current_state[1]}, where {ways} is possible"
    return text + hint if wanted == "configure" else text
