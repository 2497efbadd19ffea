"""A whole evaluation, and what a reader must know before believing it."""

from dataclasses import replace

import numpy as np
import pytest
from evaluation_maker import engine, made_up_windows, recording

from sentryfuse_ros.errors import DataError
from sentryfuse_ros.evaluation.cautions import cautions
from sentryfuse_ros.evaluation.cost import costs
from sentryfuse_ros.evaluation.predictions import LastMoments, predict
from sentryfuse_ros.evaluation.report import evaluate
from sentryfuse_ros.training.examples import RecordingExamples, WindowExamples


def test_recordings_have_both_accuracies_and_windows_one():
    recordings = [recording(f"r{i}", i % 4, 10) for i in range(6)]
    one = engine()
    rows = evaluate(one, RecordingExamples(recordings), latency_runs=0).rows
    live = predict(one, LastMoments(recordings))
    assert [r.accuracy_live for r in rows] == [round(float(v), 4) for v in live.correct.mean(2).ravel()]
    assert all(0 <= r.ece_live <= 1 for r in rows) and "accuracy_live" in rows[0].to_dict()
    assert "accuracy_live" not in evaluate(one, WindowExamples(made_up_windows()), latency_runs=0).rows[0].to_dict()


def test_windows_in_which_the_label_changes_count_in_an_accuracy_of_their_own():
    one, windows = engine(), made_up_windows(count=40)
    steady = np.arange(40) % 3 > 0
    rows = evaluate(one, WindowExamples(replace(windows, steady=steady)), latency_runs=0).rows
    everything = evaluate(one, WindowExamples(windows), latency_runs=0).rows
    only_steady = evaluate(one, WindowExamples(windows.select(steady)), latency_runs=0).rows
    assert [row.accuracy_all_moments for row in rows] == [row.accuracy for row in everything]
    assert [row.accuracy for row in rows] == [row.accuracy for row in only_steady]
    assert "accuracy_all_moments" in rows[0].to_dict() and "accuracy_all_moments" not in everything[0].to_dict()


def test_steady_windows_without_a_live_sensor_are_named():
    steady = np.arange(12) < 3
    live = {name: ~steady for name in engine().modalities}
    examples = WindowExamples(made_up_windows(steady=steady, since_change_s=np.full(12, np.nan), live=live))
    with pytest.raises(DataError, match="data set: saw no live sensor of the model in any window throughout which one label"):
        evaluate(engine(), examples, latency_runs=0)


def test_a_reader_is_told_where_the_label_changes_in_every_window():
    def warnings(steady):
        examples = WindowExamples(made_up_windows(steady=steady, since_change_s=np.full(12, 0.1)))
        return [text for text in cautions(evaluate(engine(), examples, latency_runs=0)) if "label" in text]

    assert warnings(np.zeros(12, bool)) == ["The label changes in every window, so the numbers are of windows in which it does."]
    assert warnings(np.arange(12) < 6) == []


def test_costs_are_those_of_the_engine_and_latency_may_be_skipped():
    one, examples = engine(), WindowExamples(made_up_windows())
    timed, untimed = (costs(one, examples, [(True,) * 3, (False, True, False)], runs) for runs in (2, 0))
    assert len(timed) == 6 and timed[0].flops > timed[2].flops > timed[5].flops
    assert timed[0].params > timed[2].params
    assert all(row.latency_ms > 0 for row in timed) and all(row.latency_ms is None for row in untimed)
    assert [(r.flops, r.params) for r in timed] == [(r.flops, r.params) for r in untimed]


def test_a_report_is_consistent():
    one, windows = engine(), made_up_windows(count=40)
    report = evaluate(one, WindowExamples(windows), latency_runs=0)
    assert len(report.rows) == 21 and (report.windows, report.recordings) == (40, 4)
    assert report.summary.accuracy_all == report.rows[0].accuracy == report.conditions[0].accuracy["111"]
    assert report.reliability[0].ece == report.rows[0].ece
    correct = np.trace(np.array(report.confusion[0].counts)) / 40
    assert correct == pytest.approx(report.summary.accuracy_all)
    worst = min((r for r in report.rows if r.ratio == 0 and r.missing == 1), key=lambda r: r.accuracy)
    assert report.confusion[1].mask == worst.mask and report.live_share == {"camera": 1, "imu": 1, "wheel": 1}


def test_leaks_are_found_by_folder_by_group_and_by_recording(tmp_path, monkeypatch):
    from sentryfuse_ros.evaluation.cautions import leaks, recording_names

    (tmp_path / "windows").mkdir()
    (tmp_path / "link").symlink_to("windows")
    monkeypatch.chdir(tmp_path)
    trained = {
        "dataset": "windows",
        "train_groups": ["train"],
        "validation_groups": [5],
        "recordings": {"train": ["a", "b", "z"], "validation": ["c"]},
    }
    for path in ("windows", "./windows/", "link", str(tmp_path / "windows")):
        assert "trained on train" in leaks(trained, path, ("train",), [])[0], path
    assert leaks(trained, "windows", ("test",), ["x"]) == leaks({}, "x", ("a",), []) == []
    assert leaks(trained, "other", ("train", 5), []) == []
    (held,) = leaks(trained, "link", (5,), [])
    assert "validated on 5" in held and "temperatures and choices come from them" in held
    windows = made_up_windows().select(np.arange(3, 12))
    assert recording_names(WindowExamples(windows)) == ["b", "c", "d"] and recording_names(RecordingExamples([])) == []
    shared = leaks(trained, "copy", ("test",), recording_names(WindowExamples(windows)))
    assert len(shared) == 2 and "1 of the 3 recordings" in shared[0] and "(e.g. b)" in shared[0] and "(e.g. c)" in shared[1]
