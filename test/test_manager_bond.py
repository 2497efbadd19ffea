"""The bond to nav2's lifecycle manager, with the real bondpy as the manager's side: skipped where that is not installed."""

import signal
import time

import pytest

pytest.importorskip("bondpy", reason="bondpy comes with a ROS 2 installation, it is not on PyPI")

from bond.msg import Status
from bondpy.bondpy import Bond
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from ros_harness import QUICK

from sentryfuse_ros.nodes.manager_bond import HEARTBEAT_PERIOD_S


@pytest.fixture
def manager(probe):
    """Makes the lifecycle manager's side of the bond of fuse_node."""
    bonds = []

    def bond():
        bonds.append(Bond(probe.node, "bond", "fuse_node"))
        bonds[-1].start()
        return bonds[-1]

    yield bond
    for made in bonds:
        made.shutdown()


def state(bond):
    return bond.sm.getState().getName()


def test_bond_is_formed_at_activation_and_broken_at_deactivation(probe, start, manager):
    node = start("-p", "autostart:=false", *QUICK)
    bond = manager()
    probe.bring_to("active", node)
    probe.wait("the bond", lambda: state(bond) == "SM.Alive", node)
    probe.bring_to("unconfigured", node)
    probe.wait("the end of the bond", lambda: state(bond) == "SM.Dead" and bond.sister_died_first, node)
    again = manager()
    probe.bring_to("active", node)
    probe.wait("the second bond", lambda: state(again) == "SM.Alive", node)
    assert "Traceback" not in node.log()


def test_a_broken_bond_leaves_nothing_behind(probe, start):
    node = start("-p", "autostart:=false", *QUICK)
    for _ in range(3):  # a third one would hear two others
        probe.bring_to("active", node)
        probe.wait("the bond", lambda: probe.node.count_subscribers("/bond") == 1, node)
        probe.bring_to("unconfigured", node)
        probe.wait("its end", lambda: probe.node.count_subscribers("/bond") + probe.node.count_publishers("/bond") == 0, node)
    assert "[ERROR]" not in node.log()


def test_bond_breaks_when_the_node_is_killed(probe, start, manager):
    node = start(*QUICK, expect_end=True, shared_memory=False)
    beats = probe.listen(Status, "/bond")
    bond = manager()
    probe.wait("the bond", lambda: state(bond) == "SM.Alive", node)
    heard = len(beats)
    probe.wait("more than the first heartbeat, from which on it is timed", lambda: len(beats) - heard > 20, node)
    node.process.kill()
    probe.wait("the end of the bond", lambda: state(bond) == "SM.Dead")
    assert not bond.sister_died_first  # by its timeout, and not by a farewell


def test_a_node_that_does_not_hear_its_manager_gives_the_bond_up(probe, start):
    """As one whose executor hangs: bondpy beats from a thread of its own, so that the manager would not miss it."""
    node = start("-p", "autostart:=false", *QUICK)
    beats = []  # when they came

    def hear(beat):
        if not beat.instance_id.startswith("manager"):
            beats.append(time.monotonic())

    def beats_stopped():
        return bool(beats) and time.monotonic() - beats[-1] > 20 * HEARTBEAT_PERIOD_S

    probe.node.create_subscription(Status, "/bond", hear, 10)
    for name in ("manager 1", "manager 2"):
        probe.bring_to("active", node)
        probe.feed("/bond", Status, lambda stamp, name=name: Status(id="fuse_node", instance_id=name, active=True), 10.0)
        enough = len(beats) + 60  # ten a second
        probe.wait("more of it than its timeout allows alone", lambda enough=enough: len(beats) > enough, node)
        probe.silence("/bond")
        probe.wait("the end of its heartbeat", beats_stopped, node)
        probe.bring_to("unconfigured", node)
    assert "Traceback" not in node.log(), node.log()


def test_a_node_that_is_ended_answers_the_manager_that_resets_it(probe, start, manager):
    """Else the manager would wait for the answer for ever, and leave the rest of the robot as it is."""
    # Not at real-time priority: on a busy machine the node would be gone before this process has its turn.
    node = start("-p", "autostart:=false", "-p", "cpu_priority:=ordinary", *QUICK, expect_end=True)
    bond = manager()
    client = probe.node.create_client(ChangeState, probe.base + "/change_state")
    answers = []

    def ask(transition, following=None):
        request = ChangeState.Request()
        request.transition.id = transition
        client.call_async(request).add_done_callback(lambda future: (answers.append(future.result()), following and following()))

    def reset():
        ask(Transition.TRANSITION_DEACTIVATE, lambda: ask(Transition.TRANSITION_CLEANUP))

    probe.bring_to("active", node)
    probe.wait("the bond", lambda: state(bond) == "SM.Alive", node)
    probe.wait("its service", client.service_is_ready, node)
    bond.set_broken_callback(reset)
    node.process.send_signal(signal.SIGTERM)
    probe.wait("both answers", lambda: len(answers) == 2)
    assert all(answer.success for answer in answers), node.log()
    assert node.process.wait(180) == 0 and "Traceback" not in node.log(), node.log()
