"""One rounding of a ratio to a level, the same in the engine and in the power governor."""

import numpy as np
import pytest

from sentryfuse_ros.pruning.levels import level_for, level_index

LEVELS = (0.0, 0.25, 0.5, 0.9)


@pytest.mark.parametrize(
    "ratio, index",
    [(-1.0, 0), (0.0, 0), (1e-7, 0), (0.01, 1), (0.25, 1), (0.2500005, 1), (0.26, 2), (0.9, 3), (0.95, 3), (float("inf"), 3)],
)
def test_ratio_is_rounded_up_and_kept_within_the_levels(ratio, index):
    assert level_index(ratio, LEVELS) == index and level_for(ratio, LEVELS) == LEVELS[index]


def test_a_level_as_float32_still_means_that_level():
    for level in LEVELS:
        assert level_for(float(np.float32(level)), LEVELS) == level


def test_the_lowest_level_need_not_be_zero():
    assert level_for(0.0, (0.3, 0.7)) == 0.3
