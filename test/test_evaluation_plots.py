"""Labels in the figures of an evaluation."""

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentryfuse_ros.evaluation.records import Confusion, MaskResult
from sentryfuse_ros.reporting.evaluation_plots import accuracy_heat_map, confusion_matrix, spread
from sentryfuse_ros.reporting.svg import svg_of


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


def test_the_names_of_eight_sensors_leave_room_for_their_cells():
    names = [f"sensor_{i}" for i in range(8)]
    masks = sorted((mask for mask in itertools.product((True, False), repeat=8) if sum(mask) > 6), key=lambda mask: -sum(mask))
    rows = [
        MaskResult("".join("01"[bit] for bit in mask), tuple(itertools.compress(names, mask)), level, 9, 0.5, None, 0.1, 0.9)
        for mask in masks
        for level in (0.0, 0.9)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib gives up its layout with a warning
        svg_of(accuracy_heat_map(rows, (0.0, 0.9)), "heat", "accuracy")


@pytest.mark.parametrize(
    "classes", [("wet asphalt with many leaves", "gravel"), ("sand", "wood"), tuple("class " * 5 + c for c in "abcd")]
)
def test_the_names_of_the_classes_leave_room_for_the_cells_of_a_confusion(classes):
    size = len(classes)
    one = Confusion("1", ("camera",), 0.0, [[5] * size] * size, [0] * size, [0.5] * size, [0.5] * size)
    figure = confusion_matrix(one, classes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of a layout that collapsed
        svg_of(figure, "confusion", "a confusion")
    assert figure.axes[0].get_window_extent().width / figure.dpi > 0.7 * 0.62 * size  # 0.62 in: counts and percentages fit in
