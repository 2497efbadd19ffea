"""Worlds of the simulation: the same number gives the same world, and splits never share one."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.simulation.footing import Footing, contact_parameters, wheel_stiffness
from sentryfuse_ros.simulation.ground import CLASSES, RANGES, Ground, draw_ground
from sentryfuse_ros.simulation.nuisances import Nuisances, choose_nuisances, draw_nuisances
from sentryfuse_ros.simulation.relief import CELL_M, height_field
from sentryfuse_ros.simulation.worlds import COLUMNS, PATCH_M, SEEDS_PER_SPLIT, SPLITS, build_world, generator, world_number


@pytest.fixture(scope="module")
def world():
    return build_world(5)


def test_splits_own_disjoint_worlds():
    ranges = [range(world_number(s, 0), world_number(s, SEEDS_PER_SPLIT - 1) + 1) for s in SPLITS]
    assert len({n for r in ranges for n in (r[0], r[-1])}) == 6
    assert all(a[-1] < b[0] for a, b in zip(ranges, ranges[1:]))


@pytest.mark.parametrize("split, seed", [("train", -1), ("train", SEEDS_PER_SPLIT), ("holdout", 0)])
def test_a_seed_outside_its_split_is_refused(split, seed):
    with pytest.raises(ParameterError, match="expected"):
        world_number(split, seed)


def test_a_number_gives_the_same_world_again_and_another_number_another(world):
    again, other = build_world(5), build_world(world_number("test", 5))
    assert [p.ground for p in world.patches] == [p.ground for p in again.patches]
    assert all((a.height_m == b.height_m).all() for a, b in zip(world.patches, again.patches))
    assert all((a == b).all() for a, b in zip(world.atlas, again.atlas))
    assert not set(p.ground for p in world.patches) & set(p.ground for p in other.patches)


def test_every_class_has_two_patches_within_its_ranges(world):
    assert sorted(p.name for p in world.patches) == sorted(CLASSES * 2)
    for patch in world.patches:
        for name, value in dataclasses.asdict(patch.ground).items():
            low, high = RANGES[patch.name][name]
            assert low <= value <= high or low == high == value


def test_patches_meet_without_a_step(world):
    for patch in world.patches:
        edges = np.concatenate([patch.height_m[0], patch.height_m[-1], patch.height_m[:, 0], patch.height_m[:, -1]])
        assert np.abs(edges).max() == 0
        assert patch.height_m.std() > 0


def test_patch_at_agrees_with_the_patches_centres(world):
    found = world.patch_at([p.x_m for p in world.patches], [p.y_m for p in world.patches])
    assert found.tolist() == list(range(len(world.patches)))
    assert world.patch_at(-3.0, 0.1) == 0 and world.patch_at(COLUMNS * PATCH_M + 3, 0.1) == COLUMNS - 1


def test_relief_is_as_rough_as_the_ground_says():
    ground = dataclasses.replace(draw_ground("asphalt", np.random.default_rng(0)), undulation_mm=0.0, ripple_mm=0.0)
    for millimetres in (0.5, 4.0):
        relief = height_field(dataclasses.replace(ground, roughness_mm=millimetres), PATCH_M, 0.0, np.random.default_rng(1))
        assert relief[10:-10, 10:-10].std() == pytest.approx(millimetres * 1e-3, rel=0.05)


def test_planks_leave_joints_at_their_pitch():
    wood = dataclasses.replace(
        draw_ground("wood", np.random.default_rng(0)),
        undulation_mm=0.0,
        roughness_mm=0.0,
        lippage_mm=0.0,
        joint_pitch_m=0.2,
        joint_depth_mm=1.0,
    )
    relief = height_field(wood, PATCH_M, 0.0, np.random.default_rng(1))[40]
    deep = np.flatnonzero(relief < -0.9e-3)
    assert set(np.diff(deep)) == {round(0.2 / CELL_M)}


def test_a_wheel_bridges_what_is_narrower_than_itself():
    """The felt relief never lies below the ground, and fills a joint nearly up."""
    world = build_world(5)
    heights = np.zeros_like(world.patches[0].height_m)
    heights[:, 80] = -0.01  # 1 cm deep, one cell wide
    heights[:, 120] = 0.01
    flat = dataclasses.replace(world, patches=tuple(dataclasses.replace(p, height_m=heights) for p in world.patches))
    footing = Footing(flat, 20.0)
    joint, ridge = footing.under(np.array([80, 120]) * CELL_M, np.array([2.0, 2.0]))[0]
    assert -0.004 < joint < -0.001 and ridge == pytest.approx(0.01, abs=5e-4)
    beside = footing.under(np.array([119 * CELL_M]), np.array([2.0]))
    assert 0.004 < beside[0][0] < 0.01 and beside[1][0] > 0.05  # the wheel climbs before its axle is above the ridge


def test_softer_ground_gives_a_slower_contact():
    sand, tiles = (draw_ground(n, np.random.default_rng(3)) for n in ("sand", "tiles"))
    assert wheel_stiffness(sand) < 0.6 * wheel_stiffness(tiles)
    light, heavy = (contact_parameters(tiles, m)[0] for m in (15.0, 30.0))
    assert heavy == pytest.approx(light * np.sqrt(2))


def test_a_random_run_never_disturbs_all_four_sensors():
    from sentryfuse_ros.simulation.nuisances import SENSOR_OF

    rng, seen = np.random.default_rng(0), set()
    for _ in range(300):
        disturbed = draw_nuisances(rng).disturbed()
        sensors = [SENSOR_OF[name] for name in disturbed]
        assert len(sensors) == len(set(sensors)) < 4
        seen.update(disturbed or ("none",))
    assert seen == {*SENSOR_OF, "none"}


def test_nuisances_as_given():
    chosen = choose_nuisances(["none", "darkness=0.9", "speed_mps=0.5"], np.random.default_rng(0))
    assert chosen == Nuisances(darkness=0.9, speed_mps=0.5)
    assert choose_nuisances([], generator(1, "nuisances")) == choose_nuisances(["random"], generator(1, "nuisances"))


def test_a_time_to_stand_has_a_begin_and_an_end():
    rng = np.random.default_rng(0)
    assert choose_nuisances(["none", "stands_from_s=3", "stands_until_s=9"], rng).stands(5.0)
    assert choose_nuisances(["none", "stands_until_s=9"], rng).stands(0.0)
    for given in (["stands_from_s=3"], ["stands_from_s=9", "stands_until_s=3"]):
        with pytest.raises(ParameterError, match=f"stands_until_s.*a time after stands_from_s, {given[0][-1]} s"):
            choose_nuisances(given, rng)


@pytest.mark.parametrize("entry", ["snow=1", "fog=2", "fog=thick", "none=1"])
def test_a_wrong_nuisance_names_the_right_ones(entry):
    with pytest.raises(ParameterError, match="expected"):
        choose_nuisances([entry], np.random.default_rng(0))


def test_the_documented_table_is_the_one_in_force():
    text = (Path(__file__).parent.parent / "docs" / "SIMULATION.md").read_text()
    for field in dataclasses.fields(Ground):
        cells = ["-" if RANGES[c][field.name] == (0, 0) else "{:g} to {:g}".format(*RANGES[c][field.name]) for c in CLASSES]
        assert f"| {field.name} | " + " | ".join(cells) + " |" in text
