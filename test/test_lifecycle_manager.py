"""What nav2's lifecycle manager asks of the nodes that it manages, in its order (nav2_lifecycle_manager of Humble to Kilted).

It ignores whether a transition was answered with success and asks for the state instead. test_manager_bond.py has the bond.
"""

import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")

from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import GetState
from ros_harness import DEADLINE_S, QUICK

REACHED = {
    Transition.TRANSITION_CONFIGURE: State.PRIMARY_STATE_INACTIVE,
    Transition.TRANSITION_ACTIVATE: State.PRIMARY_STATE_ACTIVE,
    Transition.TRANSITION_DEACTIVATE: State.PRIMARY_STATE_INACTIVE,
    Transition.TRANSITION_CLEANUP: State.PRIMARY_STATE_UNCONFIGURED,
    Transition.TRANSITION_UNCONFIGURED_SHUTDOWN: State.PRIMARY_STATE_FINALIZED,
}
STARTUP = (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)
PAUSE, RESUME = (Transition.TRANSITION_DEACTIVATE,), (Transition.TRANSITION_ACTIVATE,)
RESET = (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP)
SHUTDOWN = (*RESET, Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)


class Manager:
    """The manager's side, through the services that it calls."""

    def __init__(self, probe, node):
        self._probe, self._node = probe, node

    def state(self) -> int:
        return self._probe.call(GetState, self._probe.base + "/get_state", GetState.Request(), self._node).current_state.id

    def ask(self, transitions) -> bool:
        """Ask for transitions until one does not lead where it should."""
        for transition in transitions:
            self._probe.change_state(transition, self._node, attempts_s=(10, DEADLINE_S))
            if self.state() != REACHED[transition]:
                return False
        return True


def test_every_command_of_the_manager_leads_where_it_expects(probe, start):
    node = start("-p", "autostart:=false", *QUICK, expect_end=True)
    manager = Manager(probe, node)
    probe.feed_imu()
    for command in (STARTUP, PAUSE, RESUME, RESET, STARTUP):
        assert manager.ask(command), node.log()
        if command[-1] == Transition.TRANSITION_ACTIVATE:
            probe.wait_new_prediction(lambda p: p.valid, "a prediction", node)
    assert manager.ask(SHUTDOWN), node.log()  # the state is asked for after it, so that the process must stay
    assert node.stop() == 0 and "[ERROR]" not in node.log() and "Traceback" not in node.log(), node.log()


def test_a_node_that_died_and_came_back_is_started_again(probe, start):
    """A node that is missed is reset, whatever its state is, and started as soon as its services answer."""
    first = start("-p", "autostart:=false", *QUICK, expect_end=True, shared_memory=False)
    assert Manager(probe, first).ask(STARTUP)
    first.process.kill()
    first.process.wait()
    second = start("-p", "autostart:=false", *QUICK)
    manager = Manager(probe, second)
    assert manager.state() == State.PRIMARY_STATE_UNCONFIGURED
    assert not manager.ask(RESET) and manager.state() == State.PRIMARY_STATE_UNCONFIGURED
    assert "transition deactivate refused: the node is unconfigured, where configure or shutdown is possible" in second.log()
    assert manager.ask(STARTUP), second.log()
    probe.feed_imu()
    probe.wait_new_prediction(lambda p: p.valid, "a prediction", second)


def test_a_node_that_starts_by_itself_says_what_to_change(probe, start):
    node = start(*QUICK)
    probe.wait("its own start", lambda: probe.predictions, node)
    assert not Manager(probe, node).ask(STARTUP)
    assert "set its parameter autostart to false where a lifecycle manager starts it" in node.log()
    assert node.alive()
