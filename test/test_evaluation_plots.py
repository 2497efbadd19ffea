"""Labels in the figures of an evaluation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentryfuse_ros.reporting.evaluation_plots import spread


@pytest.mark.parametrize(
    ("places", "moved"),
    [
        ([], []),
        ([50.0, 10.0], [50.0, 10.0]),
        ([10.0, 12.0], [6.0, 16.0]),
        ([12.0, 10.0, 60.0], [16.0, 6.0, 60.0]),
        ([10.0, 10.0, 10.0], [0.0, 10.0, 20.0]),
        ([10.0, 12.0, 21.0], [13 / 3, 43 / 3, 73 / 3]),  # the third is pushed by the first two, and they by it
    ],
)
def test_labels_that_would_touch_are_moved_apart(places, moved):
    assert spread(places, 10.0) == pytest.approx(moved)


@given(st.lists(st.floats(0, 100), min_size=2, max_size=8))
def test_labels_keep_their_order_and_their_distance(places):
    moved = spread(places, 10.0)
    order = np.argsort(places, kind="stable")
    assert np.all(np.diff(np.array(moved)[order]) >= 10.0 - 1e-6)
    assert np.mean(moved) == pytest.approx(np.mean(places))
