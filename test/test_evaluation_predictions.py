"""Predictions of an evaluation compared with the engine's."""

import numpy as np
import pytest
from evaluation_maker import CLASSES, LEVELS, engine, made_up_windows, recording
from tiny_model import SPECS

from sentryfuse_ros.errors import DataError
from sentryfuse_ros.evaluation.predictions import LastMoments, model_labels, predict, under_live_sensors
from sentryfuse_ros.masks import all_masks, mask_to_bits
from sentryfuse_ros.training.examples import WindowExamples


def test_predictions_are_what_the_engine_says_of_each_window():
    temperatures = {mask_to_bits(mask): [0.5, 1.0, 3.0] for mask in all_masks(3)}
    live = np.ones(12, bool)
    live[[1, 5, 6]] = False
    windows = made_up_windows(live={"imu": live, "wheel": np.roll(live, 1)})
    one, examples = engine(temperatures=temperatures), WindowExamples(windows)
    found = predict(one, examples)
    here = np.stack([np.ones(12, bool), live, np.roll(live, 1)], 1)
    for i, mask in enumerate(found.masks):
        for j, level in enumerate(LEVELS):
            for k in range(12):
                said = one.infer({s.name: windows.inputs[s.name][k] for s in SPECS}, np.array(mask) & here[k], level)
                assert found.predicted[i, j, k] == said.class_id
                assert found.confidence[i, j, k] == pytest.approx(said.confidence, abs=1e-5)
    assert (found.predicted[:, 0] == -1).sum() == 7  # imu alone 3, wheel alone 3, both of them silent at example 6


def test_example_without_a_sensor_is_judged_under_the_mask_without_it():
    masks = all_masks(2)
    predicted, confidence = np.array([[[0, 0, 0, 0]], [[1, 1, 1, 1]], [[2, 2, 2, 2]]]), np.full((3, 1, 4), 0.5)
    here = np.array([[True, True], [True, False], [False, True], [False, False]])
    said, sure = under_live_sensors(masks, here, predicted, confidence)
    assert said[:, 0].tolist() == [[0, 1, 2, -1], [1, 1, -1, -1], [2, -1, 2, -1]]
    assert sure[:, 0].tolist() == [[0.5, 0.5, 0.5, 0], [0.5, 0.5, 0, 0], [0.5, 0, 0.5, 0]]


def test_labels_go_by_class_name():
    assert model_labels(CLASSES, ("fall", "rest"), np.array([0, 1, 1])).tolist() == [3, 0, 0]
    with pytest.raises(DataError, match="leave swim out"):
        model_labels(CLASSES, ("rest", "swim"), np.array([0]))


def test_no_example_is_an_error():
    with pytest.raises(DataError, match="no example"):
        predict(engine(), WindowExamples(made_up_windows().select(np.empty(0, int))))


def test_last_moment_is_that_of_the_sensor_that_stops_first():
    live = LastMoments([recording("x", 1, wheel_rows=10)]).inputs(np.array([0]), SPECS)
    assert (live["imu"][0][:20] == 0).all() and (live["imu"][0][20:] != 0).any(1).all()
