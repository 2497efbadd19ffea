"""How often pictures are judged, that a lie of a LiDAR is noticed in time, held or not, and that a camera out of focus is."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from cdr_messages import cloud, raw
from test_rest import PolledRobot
from virtual_robot import ALL, CLOUD, FOUR, tiny_engine

from sentryfuse_ros.model.checkpoint import read_checkpoint
from sentryfuse_ros.model.subnetwork import whole_stems
from sentryfuse_ros.paths import model_path
from sentryfuse_ros.pruning.planner import PlanChoice
from sentryfuse_ros.runtime.engine import Engine
from sentryfuse_ros.sensing.liveness import State
from sentryfuse_ros.sensing.quantities import quantities
from sentryfuse_ros.sensing.trust_table import Plausibility, trust_record
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


def test_a_picture_slightly_out_of_focus_is_a_lie_by_degree():
    camera = next(s for s in read_checkpoint(model_path("ground_robot")).config.modalities if s.name == "camera")
    spec, random = replace(camera, mean=(), std=()), np.random.default_rng(0)
    frames, channels, height, width = spec.shape

    def pictures(count, sigma=0.0):
        """Coarse and fine texture of many strengths, (count, *spec.shape)."""
        coarse = np.stack([cv2.resize(c, (width, height)) for c in random.uniform(0.2, 0.8, (count, 4, 4, channels))])
        x = coarse + random.uniform(0.04, 0.12, (count, 1, 1, 1)) * random.normal(0, 1, coarse.shape)
        x = np.stack([cv2.GaussianBlur(p, (0, 0), sigma) for p in x]) if sigma else x
        x = np.rint(np.clip(x, 0, 1) * 255).astype(np.float32) / 255
        return np.repeat(x.transpose(0, 3, 1, 2)[:, None], frames, axis=1)

    x = pictures(300)
    table = fit_table(Windows(spec, len(x), lambda at: x[at], np.arange(len(x)) % 4 == 3, {}))
    assert next(lie for lie in table.suspicions if lie.name == "soft").by_degree
    honest = [table.judge(quantities(spec, one)) for one in pictures(60)]
    assert not any(j.verdict == Plausibility.IMPLAUSIBLE or "soft" in j.possible for j in honest)
    blurred = [table.judge(quantities(spec, one)) for one in pictures(60, 0.9)]
    assert all(j.verdict == Plausibility.IMPLAUSIBLE for j in blurred) and sum(j.lie == "soft" for j in blurred) > 30
