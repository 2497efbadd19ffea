"""The bond to nav2's lifecycle manager, with the real bondpy as the manager's side: skipped where that is not installed."""

import pytest

pytest.importorskip("bondpy", reason="bondpy comes with a ROS 2 installation, it is not on PyPI")

from bondpy.bondpy import Bond
from ros_harness import QUICK


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


def test_bond_breaks_when_the_node_is_killed(probe, start, manager):
    node = start(*QUICK, expect_end=True)
    bond = manager()
    probe.wait("the bond", lambda: state(bond) == "SM.Alive", node)
    node.process.kill()
    probe.wait("the end of the bond", lambda: state(bond) == "SM.Dead")
    assert not bond.sister_died_first  # by its timeout, and not by a farewell
