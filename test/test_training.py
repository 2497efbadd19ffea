"""The trainer, class weights and calibration, on a small made-up set that is quick to learn."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_up_training import CLASSES, RECIPE, recipe, recordings, window_set

from sentryfuse_ros.datasets.windows import WindowSet
from sentryfuse_ros.errors import DataError, SentryFuseError
from sentryfuse_ros.masks import all_masks
from sentryfuse_ros.training.calibration import expected_calibration_error, fit_temperature
from sentryfuse_ros.training.checks import check_classes, check_modalities
from sentryfuse_ros.training.examples import RecordingExamples, WindowExamples
from sentryfuse_ros.training.logits import predict_logits
from sentryfuse_ros.training.trainer import Trainer, class_weights

# trainer


def test_training_teaches_pruned_widths_and_single_sensors_too():
    trainer = Trainer(recipe(epochs=60, learning_rate=3e-3, batch=6), RecordingExamples(recordings((1, 2))), CLASSES)
    while trainer.epoch < 60:
        list(trainer.run_epoch())
    held = RecordingExamples(recordings((3,), each=20))
    logits = predict_logits(trainer.ema_model, held, all_masks(2), (0.0, 0.5))
    right = {mask: [(z.argmax(1) == held.labels).mean() for z in rows] for mask, rows in logits.items()}
    assert min(min(row) for row in right.values()) > 0.8, right


def test_gate_learns_until_it_is_frozen():
    trainer = Trainer(recipe(epochs=10), RecordingExamples(recordings((1, 2))), CLASSES)
    seen = [trainer.model.gate.static.detach().clone()]
    while trainer.epoch < 10:
        list(trainer.run_epoch())
        seen.append(trainer.model.gate.static.detach().clone())
    assert not torch.equal(seen[0], seen[3]) and torch.equal(seen[4], seen[10])
    assert torch.equal(trainer.ema_model.gate.static, seen[10])  # ships the order it was trained with


def test_loss_that_is_not_finite_stops_the_training_with_an_explanation(made_up):
    bad = recordings((1, 2))
    bad[0].streams["imu"].rows[:] = np.nan
    specs = [{**m, "mean": [0] * n, "std": [1] * n} for m, n in zip(RECIPE["modalities"], (6, 2))]
    trainer = Trainer(recipe(modalities=specs, schedule={"drop_from": 0, "drop_to": 0}), RecordingExamples(bad), CLASSES)
    with pytest.raises(SentryFuseError, match="training loss in epoch 1, step 1.*1-0-0|training loss in epoch 1.*learning_rate"):
        list(trainer.run_epoch())


# calibration


def test_temperature_undoes_a_known_overconfidence():
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((20000, 5)) * 2
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = np.array([rng.choice(5, p=row) for row in p])
    assert fit_temperature(logits * 3, labels) == pytest.approx(3, rel=0.05)


def test_calibration_error_of_known_cases():
    sure = np.tile([0.8, 0.2], (100, 1))
    assert expected_calibration_error(sure, np.array([0] * 80 + [1] * 20)) == pytest.approx(0, abs=1e-9)
    assert expected_calibration_error(sure, np.zeros(100, int)) == pytest.approx(0.2)
    assert expected_calibration_error(np.tile([1.0, 0.0], (10, 1)), np.array([0] * 5 + [1] * 5)) == pytest.approx(0.5)


# classes


def test_rare_and_unvalidated_classes_are_reported_and_an_absent_one_is_refused():
    def of(labels):
        return WindowExamples(
            WindowSet(
                {}, np.array(labels), np.array(["train"] * len(labels)), np.zeros(len(labels), int), ("a",), np.zeros(len(labels))
            )
        )

    remarks = check_classes(CLASSES, of([0] * 60 + [1] * 10 + [2] * 30), of([0, 2]), recipe())
    assert "10 examples of fast, 60 of slow" in remarks[0] and "fast" in remarks[1] and "validation" in remarks[1]
    assert not check_classes(CLASSES, of([0, 1, 2]), of([0, 1, 2]), recipe())
    with pytest.raises(DataError, match="none of class fast.*border_windows: true"):
        check_classes(CLASSES, of([0, 2]), None, recipe())
    with pytest.raises(DataError, match="data set classes: saw slow, expected at least two"):
        check_classes(("slow",), of([0, 0]), None, recipe())


@pytest.mark.parametrize("classes", [["slow", "fast"], ["fast", "slow", "up"]])
def test_classes_of_a_recipe_that_are_not_those_of_the_data_set_are_refused(classes):
    with pytest.raises(DataError, match=f"saw slow, fast, up, expected {', '.join(classes)}, as the recipe lists them"):
        check_classes(CLASSES, WindowExamples(window_set()), None, recipe(classes=classes))
    check_classes(CLASSES, WindowExamples(window_set()), None, recipe(classes=CLASSES))


def test_modality_that_no_example_has_is_refused():
    windows = replace(window_set(), live={"imu": np.ones(24, bool), "wheel": np.zeros(24, bool)})
    with pytest.raises(DataError, match="no data at all of wheel"):
        check_modalities(WindowExamples(windows), recipe())
    check_modalities(RecordingExamples(recordings()), recipe())


def test_class_weights_are_of_mean_one_over_the_examples():
    labels = np.array([0] * 90 + [1] * 10)
    weights = class_weights(labels, 2, 1.0).numpy()
    assert weights[1] / weights[0] == pytest.approx(9) and weights[labels].mean() == pytest.approx(1)
    assert (class_weights(labels, 2, 0.0).numpy() == 1).all()
