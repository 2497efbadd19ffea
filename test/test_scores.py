"""Predictions compared with the labels of a recording."""

import pytest
from run_record_maker import CLASSES

from sentryfuse_ros.bags.labels import Labels
from sentryfuse_ros.errors import DataError
from sentryfuse_ros.replay.faults import FaultScript, InjectedFault
from sentryfuse_ros.replay.run_record import ModelFacts, PredictionRow, RunRecord
from sentryfuse_ros.replay.scores import labels_of_run, score_run, segments

NS = 10**9
LABELS = Labels.of_seconds(((0.0, 4.0, "sand"), (4.0, 6.0, "grass"), (7.0, 10.0, "sand")))
SCRIPT = FaultScript((InjectedFault("camera", "off", 2.0, 5.0), InjectedFault("imu", "slow", 4.0, 5.0, keep_every=8)))


def scored(predictions, labels, script, modalities, classes, window_s, end_s):
    model = ModelFacts(modalities=tuple(modalities), classes=tuple(classes), window_s=window_s)
    return score_run(RunRecord("run", predictions, [], script, end_s, labels=labels, model=model))


def counts(score):
    return score.judged, score.correct


def prediction(t_s, name, mask=(True, True), confidence=0.8, ratio=0.0):
    return PredictionRow(t_s, t_s, bool(name), "", name, confidence if name else 0.0, mask, ratio, 3.0, 9.0, 2.0, 1)


def test_labels_of_stamps_become_times_of_the_recording():
    labels = Labels.of([(5 * NS, 6 * NS, "sand"), (6 * NS, 7 * NS, "sand"), (7 * NS, 8 * NS, "grass")])
    found = labels_of_run(labels, "x", 4 * NS, 10.0)
    assert found.seconds() == [(1.0, 3.0, "sand"), (3.0, 4.0, "grass")]
    with pytest.raises(DataError, match="truth x.*-95.0 to -92.0 s.*0 to 10.0 s"):
        labels_of_run(labels, "x", 100 * NS, 10.0)
    with pytest.raises(DataError, match="no interval"):
        labels_of_run(Labels(), "x", 0, 10.0)


def test_predictions_are_judged_by_the_label_of_their_time():
    rows = [
        prediction(1.0, "sand"),  # right
        prediction(2.5, "grass", (False, True), 0.4, 0.3),  # wrong, camera missing
        prediction(3.5, "sand", (False, True), 0.6, 0.3),  # right, camera missing
        prediction(4.2, "grass", (False, True), 0.9, 0.3),  # right, just after a border
        prediction(4.5, "", (False, False)),  # nothing said
        prediction(6.5, "sand"),  # no label there
        prediction(8.5, "sand"),  # right
    ]
    found = scored(rows, LABELS, SCRIPT, ("camera", "imu"), CLASSES, 1.0, 10.0)
    assert (*counts(found.overall), found.overall.silent) == (5, 4, 1)
    assert found.overall.accuracy == 0.8
    assert counts(found.all_sensors) == (2, 2)
    assert (*counts(found.sensor_missing), found.sensor_missing.ticks) == (3, 2, 4)
    assert counts(found.steady) == (4, 3)
    assert {entry.missing: (entry.score.correct, entry.score.judged) for entry in found.by_missing} == {
        (): (2, 2),
        ("camera",): (2, 3),
        ("camera", "imu"): (0, 0),
    }
    second = found.segments[1]
    assert (second.from_s, second.to_s, second.faults, second.labels) == (2.0, 4.0, ("camera off",), ("sand",))
    assert second.predicted == {"grass": 1, "sand": 1} and second.ratios == (0.3,) and second.score.confidence_p50 == 0.5
    assert found.to_dict()["segments"][1]["said"] == {"grass": 1, "sand": 1} and found.to_dict()["overall"]["right"] == 4


def test_a_sensor_that_was_never_live_is_not_missing():
    rows = [prediction(1.0, "sand", (True, False)), prediction(2.0, "grass", (True, False))]
    found = scored(rows, LABELS, FaultScript(), ("camera", "imu"), CLASSES, 1.0, 10.0)
    assert found.all_sensors.judged == 2 and found.sensor_missing.ticks == 0


def test_labels_without_a_class_of_the_model_are_not_judged():
    found = scored(
        [prediction(1.0, "wave"), prediction(5.0, "grass")], LABELS, FaultScript(), ("a", "b"), ("wave", "grass"), 1.0, 10.0
    )
    assert found.labels_without_class == ("sand",) and found.overall.judged == found.overall.correct == 1


def test_without_truth_nothing_is_judged():
    found = scored([prediction(1.0, "sand")], None, SCRIPT, ("camera", "imu"), CLASSES, 1.0, 10.0)
    assert found.overall.accuracy is None and found.overall.confidence_p50 == 0.8
    assert scored([], None, SCRIPT, (), (), 1.0, 10.0).overall.ticks == 0


def test_segments_change_at_every_begin_and_end_of_a_fault():
    assert [(a, b, len(f)) for a, b, f in segments(SCRIPT, 9.0)] == [(0, 2, 0), (2, 4, 1), (4, 5, 2), (5, 9, 0)]
    assert segments(FaultScript(), 3.0) == [(0.0, 3.0, ())]
    assert [(a, b) for a, b, _ in segments(FaultScript((InjectedFault("imu", "off", 2.0, 99.0),)), 9.0)] == [(0, 2), (2, 9)]
