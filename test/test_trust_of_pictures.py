"""How often the pictures of a LiDAR are judged, and that a lie of it is noticed in time, held or not."""

from dataclasses import replace

import numpy as np
import pytest
from cdr_messages import cloud, raw
from test_rest import PolledRobot
from virtual_robot import ALL, CLOUD, FOUR, tiny_engine

from sentryfuse_ros.model.subnetwork import whole_stems
from sentryfuse_ros.pruning.planner import PlanChoice
from sentryfuse_ros.runtime.engine import Engine
from sentryfuse_ros.sensing.liveness import State
from sentryfuse_ros.sensing.trust_table import trust_record
from sentryfuse_ros.training.trust import Windows, fit_table

LIDAR = next(spec for spec in FOUR if spec.name == "lidar")


@pytest.fixture(scope="module")
def engine():
    """Its table is of what the virtual robot sends. At a ratio of 0.9 a picture serves for half a second."""
    plain = tiny_engine()
    robot = PolledRobot(plain)
    robot.run(1.0)
    x = np.stack([p.tick.inputs["lidar"] for p in robot.run(25.0)])
    table = fit_table(Windows(LIDAR, len(x), lambda at: x[at], np.arange(len(x)) % 4 == 3, {}))
    engine = Engine(replace(plain.checkpoint, trust=trust_record({"lidar": table}, "")), plain.backend)
    engine.choose({(ALL, 0.9): PlanChoice(whole_stems(plain.checkpoint.config, ALL, 0.9), 1.0, 0.8, 0.5, 5)})
    return engine


@pytest.fixture(params=[0.0, 0.9])
def robot(engine, request):
    robot = PolledRobot(engine, dwell_s=0.0)
    robot.run(2.0)
    robot.pipeline.override(request.param)
    robot.run(2.0)
    return robot


def test_pictures_are_judged_twice_a_second_while_nothing_changes(robot):
    judged = [len(p.tick.hearings) for p in robot.run(6.0)]
    assert 10 <= sum(judged) <= 15
    assert all(state == State.OK for state in (p.tick.statuses["lidar"].state for p in robot.run(1.0)))


@pytest.mark.parametrize("phase", range(10))
def test_distances_in_another_unit_are_noticed_within_two_seconds_and_forgiven_as_soon(robot, phase):
    robot.run(0.1 * phase)
    honest, spread = robot.make["lidar"], robot.random.normal

    def in_another_unit(stamp):
        return raw(cloud(CLOUD, {k: spread(0, 50, 200).astype(np.float32) for k in "xyz"}, stamp_ns=stamp))

    robot.make["lidar"] = in_another_unit
    states = [p.tick.statuses["lidar"].state for p in robot.run(2.0)]
    assert states[-1] == State.IMPLAUSIBLE
    robot.make["lidar"] = honest
    assert robot.run(2.0)[-1].tick.mask[3]
