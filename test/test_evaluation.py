"""What `sentryfuse evaluate` measures: tables by hand, predictions against the engine's, the command on a written folder."""

import csv
import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
from tiny_model import SPECS, tiny_model

from sentryfuse_ros.cli import main
from sentryfuse_ros.datasets.recording import Recording, Stream
from sentryfuse_ros.datasets.windows import WindowSet
from sentryfuse_ros.errors import DataError
from sentryfuse_ros.evaluation.breakdown import condition_rows, confusion, confusions, reliability
from sentryfuse_ros.evaluation.cost import costs
from sentryfuse_ros.evaluation.predictions import LastMoments, Predictions, model_labels, predict, without_absent
from sentryfuse_ros.evaluation.report import evaluate
from sentryfuse_ros.evaluation.summary import summarise
from sentryfuse_ros.evaluation.table import accuracy_intervals, accuracy_rows, calibration_error
from sentryfuse_ros.masks import all_masks, mask_to_bits
from sentryfuse_ros.model.checkpoint import save_checkpoint
from sentryfuse_ros.runtime.engine import Engine
from sentryfuse_ros.training.calibration import expected_calibration_error
from sentryfuse_ros.training.examples import RecordingExamples, WindowExamples

LEVELS = (0.0, 0.5, 0.9)
CLASSES = ("rest", "turn", "jump", "fall")


def made_up_windows(count=12, seed=0, **changes):
    """Noise of the tiny model's three sensors: 4 recordings of 3 windows, one of them in fog, one in fog and wind."""
    rng = np.random.default_rng(seed)
    recording = np.repeat(np.arange(4), count // 4)
    values = dict(
        inputs={s.name: rng.standard_normal((count, *s.shape)).astype(np.float32) for s in SPECS},
        labels=rng.integers(0, 4, count),
        groups=np.full(count, "test"),
        recording=recording,
        recordings=("a", "b", "c", "d"),
        end_s=np.arange(count) * 0.5,
        conditions={"fog": recording <= 1, "wind": recording == 1, "mud": np.zeros(count, bool)},
    )
    return WindowSet(**{**values, **changes})


def engine(**info):
    return Engine(tiny_model(ratio_levels=LEVELS), info)


def two_sensors(predicted, confidence=None, labels=(0, 0, 1, 1, 1), recording=(0, 0, 1, 1, 2)):
    """Predictions by hand: masks 11, 10, 01 at one level of five examples, three classes."""
    predicted = np.array(predicted)[:, None, :]
    confidence = np.full(predicted.shape, 0.9) if confidence is None else np.array(confidence, float)[:, None, :]
    return Predictions(
        ("eye", "ear"),
        ("a", "b", "c"),
        ((True, True), (True, False), (False, True)),
        (0.0,),
        np.array(labels),
        np.array(recording),
        predicted,
        confidence,
    )


BY_HAND = two_sensors([[0, 0, 1, 1, 0], [0, 2, 1, -1, 0], [0, 0, 0, 1, 0]])


# breakdown


def test_confusion_counts_recall_and_precision_by_hand():
    all_sensors, eye = confusion(BY_HAND, 0), confusion(BY_HAND, 1)
    assert all_sensors["counts"] == [[2, 0, 0], [1, 2, 0], [0, 0, 0]]
    assert all_sensors["recall"] == [1.0, 0.6667, None] and all_sensors["precision"] == [0.6667, 1.0, None]
    assert eye["counts"] == [[1, 0, 1], [1, 1, 0], [0, 0, 0]] and eye["without_prediction"] == [0, 1, 0]
    assert eye["recall"] == [0.5, 0.5, None]  # of the windows with a prediction
    assert eye["live"] == ["eye"] and eye["ratio"] == 0.0


def test_second_matrix_is_of_the_loss_that_costs_most():
    assert [c["mask"] for c in confusions(BY_HAND)] == ["11", "10"]  # 4 of 5, then eye 2 of 4 and ear 3 of 5


def test_conditions_by_hand():
    fog, mud = np.array([True, False, True, False, False]), np.zeros(5, bool)
    rows = condition_rows(BY_HAND, {"fog": fog, "mud": mud})
    assert [(r["condition"], r["windows"], r["recordings"]) for r in rows] == [
        ("all", 5, 3),
        ("undisturbed", 3, 3),
        ("fog", 2, 2),
        ("mud", 0, 0),
    ]
    assert rows[0]["accuracy"] == {"11": 0.8, "10": 0.5, "01": 0.6}
    assert rows[1]["accuracy"] == {"11": 0.6667, "10": 0.0, "01": 0.6667}
    assert rows[2]["accuracy"] == {"11": 1.0, "10": 1.0, "01": 0.5}
    assert rows[3]["accuracy"] == {"11": None, "10": None, "01": None}
    assert [r["condition"] for r in condition_rows(BY_HAND, {})] == ["all"]  # nothing known is not undisturbed


def test_conditions_show_all_each_missing_and_each_single_sensor():
    found = predict(engine(), WindowExamples(made_up_windows()))
    assert list(condition_rows(found, {})[0]["accuracy"]) == ["111", "011", "101", "110", "100", "010", "001"]


def test_reliability_bins_make_the_calibration_error_and_confidence_falls():
    found = two_sensors(
        [[0, 0, 1, 1, 0], [0, 2, 1, 2, 0], [0, 0, 0, 1, 0]],
        [[0.95, 0.91, 0.97, 0.99, 0.7], [0.6, 0.5, 0.6, 0.5, 0.6], [0.5, 0.5, 0.55, 0.6, 0.4]],
    )
    full, single = reliability(found)
    assert (full["name"], single["name"]) == ("all sensors", "single sensor") and single["masks"] == ["10", "01"]
    assert full["confidence"] == 0.904 and full["accuracy"] == 0.8 and single["confidence"] < full["confidence"]
    assert [b["count"] for b in full["bins"]] == [1, 1, 3] and sum(b["count"] for b in single["bins"]) == 10
    for group in (full, single):
        gap = sum(b["count"] * abs(b["confidence"] - b["accuracy"]) for b in group["bins"])
        assert group["ece"] == pytest.approx(gap / sum(b["count"] for b in group["bins"]), abs=2e-4)


@pytest.mark.parametrize(
    "sensors, names",
    [
        (1, ["all sensors"]),
        (3, ["all sensors", "one missing", "single sensor"]),
        (6, ["all sensors", "one missing", "two missing", "three missing", "4 missing", "single sensor"]),
    ],
)
def test_names_by_number_of_sensors_missing(sensors, names):
    masks = tuple(all_masks(sensors))
    blank = np.zeros((len(masks), 1, 2))
    found = Predictions(
        tuple("abcdef"[:sensors]), ("x", "y"), masks, (0.0,), np.array([0, 1]), np.array([0, 1]), blank.astype(int), blank
    )
    assert [group["name"] for group in reliability(found)] == names


# table and summary


def test_rows_by_hand():
    rows = accuracy_rows(BY_HAND)
    assert [(r["mask"], r["live"], r["ratio"], r["accuracy"]) for r in rows] == [
        ("11", ["eye", "ear"], 0.0, 0.8),
        ("10", ["eye"], 0.0, 0.5),
        ("01", ["ear"], 0.0, 0.6),
    ]
    assert rows[0]["confidence"] == rows[1]["confidence"] == 0.9 and rows[0]["ece"] == 0.1 and rows[1]["ece"] == 0.4
    assert [r["judged"] for r in rows] == [5, 4, 5]


def test_windows_that_a_mask_cannot_see_are_not_judged():
    seen, sure = [0, 2, 1, 1, 0], [0.9, 0.8, 0.7, 0.6, 0.5]
    found = two_sensors([seen, [-1, -1, 1, 1, 0], [-1] * 5], [sure, [0, 0, 0.7, 0.6, 0.5], [0] * 5])
    full, eye, ear = accuracy_rows(found)
    alone = accuracy_rows(two_sensors([seen[2:]] * 3, [sure[2:]] * 3, (1, 1, 1), (1, 1, 2)))[0]
    assert {**eye, "mask": "11", "live": full["live"]} == alone and eye["judged"] == 3 and eye["ci95"] is not None
    assert ear == {
        "mask": "01",
        "live": ["ear"],
        "ratio": 0.0,
        "judged": 0,
        "accuracy": None,
        "ci95": None,
        "ece": None,
        "confidence": None,
    }
    single = reliability(found)[1]
    assert (single["judged"], single["accuracy"], single["confidence"], single["ece"]) == (
        3,
        alone["accuracy"],
        alone["confidence"],
        alone["ece"],
    ) and sum(b["count"] for b in single["bins"]) == 3
    assert condition_rows(found, {})[0]["accuracy"] == {"11": 0.6, "10": 0.6667, "01": None}
    assert [c["mask"] for c in confusions(found)] == ["11", "10"]
    summary = summarise([full, eye, ear], lambda ratio: 0.0)
    assert (summary["one_missing_worst_live"], summary["best_single_sensor"]["name"]) == (["eye"], "eye")
    assert summary["ece_mean"] == pytest.approx((full["ece"] + eye["ece"]) / 2, abs=1e-4) and summary["drop_r50_points"] == 0


def test_sensor_that_never_had_data_leaves_cells_empty_in_table_csv_and_page(tmp_path, capsys):
    from sentryfuse_ros.cli.evaluate import cautions, print_report
    from sentryfuse_ros.evaluation.report import write_csv
    from sentryfuse_ros.reporting.evaluation_page import page

    report = evaluate(engine(), WindowExamples(made_up_windows(present={"imu": np.zeros(12, bool)})), latency_runs=0)
    about = dict(
        model="[red]m[/red]",
        model_sha256="",
        dataset="d[/]",
        provenance="",
        groups=["test"],
        split="test",
        command="",
        machine={"threads": 1, "processor": "p", "torch": "t"},
        warnings=cautions(report),
        model_data={"recordings": {"train": ["zebra", "gnu"], "validation": ["emu"]}},
    )
    alone = next(row for row in report["rows"] if row["mask"] == "010")
    assert alone["judged"] == 0 and alone["accuracy"] is None and report["rows"][0]["judged"] == 12
    write_csv(tmp_path / "t.csv", report["rows"])
    with (tmp_path / "t.csv").open(newline="") as file:
        assert [(row["judged"], row["accuracy"]) for row in csv.DictReader(file) if row["live"] == "imu"] == [("0", "")] * 3
    html = page({**about, **report})
    assert "imu had data in only 0.0 %" in html and "train 2, validation 1" in html and "zebra" not in html
    print_report({**about, **report})
    shown = " ".join(capsys.readouterr().out.split())
    assert "[red]m[/red] on d[/]" in shown and "imu had data in only 0.0 %" in shown
    with pytest.raises(DataError, match="no window with a live sensor"):
        predict(engine(), WindowExamples(made_up_windows(present={s.name: np.zeros(12, bool) for s in SPECS})))


def test_interval_of_two_recordings_and_of_one():
    right = np.array([True, True, False, False])
    # Both drawn alike in half of the draws: the share is 0, 1/2 or 1 in 1/4, 1/2, 1/4 of them.
    np.testing.assert_array_equal(accuracy_intervals(right, np.array([7, 7, 9, 9])), [0, 1])
    assert np.isnan(accuracy_intervals(right, np.zeros(4, int))).all()


def test_interval_is_repeatable_and_knows_that_windows_of_a_recording_are_alike():
    rng = np.random.default_rng(0)
    alone = rng.random((2, 400)) < 0.8
    a, b, c = (accuracy_intervals(alone, np.arange(400), seed) for seed in (1, 1, 2))
    assert a.shape == (2, 2) and np.array_equal(a, b) and not np.array_equal(a, c)
    half = 1.96 * np.sqrt(alone.mean(1) * (1 - alone.mean(1)) / 400)  # of independent examples
    np.testing.assert_allclose(a, np.stack([alone.mean(1) - half, alone.mean(1) + half], 1), atol=0.006)
    alike = np.repeat(alone[0, :40], 10)
    together, apart = (np.diff(accuracy_intervals(alike, r))[0] for r in (np.repeat(np.arange(40), 10), np.arange(400)))
    assert 2 < together / apart < 5  # sqrt(10)


def rows_of(accuracy, ece, names):
    """accuracy: {mask bits: one per level of 0, 0.5, 0.9}."""
    return [
        {
            "mask": bits,
            "live": [n for n, b in zip(names, bits) if b == "1"],
            "ratio": level,
            "accuracy": a,
            "ece": ece + level,
            "ci95": [0.1, 0.2],
        }
        for bits, row in accuracy.items()
        for level, a in zip(LEVELS, row)
    ]


def test_summary_by_hand():
    rows = rows_of(
        {
            "111": [0.9, 0.8, 0.7],
            "110": [0.8, 0.8, 0.8],
            "101": [0.7, 0.6, 0.6],
            "011": [0.85, 0.85, 0.75],
            "100": [0.6, 0.5, 0.1],
            "010": [0.65, 0.6, 0.6],
            "001": [0.5, 0.5, 0.4],
        },
        0.02,
        ("eye", "ear", "nose"),
    )
    found = summarise(rows, lambda ratio: next(level for level in LEVELS if level >= ratio))
    assert found["accuracy_all"] == 0.9 and found["accuracy_all_ci95"] == [0.1, 0.2]
    assert (found["accuracy_one_missing_worst"], found["one_missing_worst_live"]) == (0.7, ["eye", "nose"])
    assert (found["accuracy_two_missing_worst"], found["two_missing_worst_live"]) == (0.5, ["nose"])
    assert found["best_single_sensor"] == {"name": "ear", "accuracy": 0.65}
    assert found["drop_r50_points"] == 5.0  # (10 + 0 + 10 + 0 + 10 + 5 + 0) / 7
    assert found["drop_r70_points"] == 15.0  # at 0.9, the next level: (20 + 0 + 10 + 10 + 50 + 5 + 10) / 7
    assert (found["level_r50"], found["level_r70"]) == (0.5, 0.9)
    assert found["ece_mean"] == 0.02 and found["ece_mean_all_ratios"] == pytest.approx(0.02 + 1.4 / 3, abs=1e-4)


@pytest.mark.parametrize(
    "accuracy, one, two", [({"1": [0.9, 0.9, 0.9]}, None, None), ({"11": [0.9] * 3, "10": [0.8] * 3, "01": [0.7] * 3}, 0.7, None)]
)
def test_summary_with_too_few_sensors_to_lose(accuracy, one, two):
    found = summarise(rows_of(accuracy, 0.0, ("eye", "ear")), lambda ratio: 0.5)
    assert (found["accuracy_one_missing_worst"], found["accuracy_two_missing_worst"]) == (one, two)


# predictions


def test_predictions_are_what_the_engine_says_of_each_window():
    temperatures = {mask_to_bits(mask): [0.5, 1.0, 3.0] for mask in all_masks(3)}
    live = np.ones(12, bool)
    live[[1, 5, 6]] = False
    windows = made_up_windows(present={"imu": live, "wheel": np.roll(live, 1)})
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
    said, sure = without_absent(masks, here, predicted, confidence)
    assert said[:, 0].tolist() == [[0, 1, 2, -1], [1, 1, -1, -1], [2, -1, 2, -1]]
    assert sure[:, 0].tolist() == [[0.5, 0.5, 0.5, 0], [0.5, 0.5, 0, 0], [0.5, 0, 0.5, 0]]


def test_labels_go_by_class_name():
    assert model_labels(CLASSES, ("fall", "rest"), np.array([0, 1, 1])).tolist() == [3, 0, 0]
    with pytest.raises(DataError, match="leave swim out"):
        model_labels(CLASSES, ("rest", "swim"), np.array([0]))


def test_no_example_is_an_error():
    with pytest.raises(DataError, match="no example"):
        predict(engine(), WindowExamples(made_up_windows().select(np.empty(0, int))))


def recording(name, label, wheel_rows=20):
    rng = np.random.default_rng(label)
    count = {"camera": 4, "imu": 40, "wheel": 20}
    rows = {"camera": rng.random((4, 1, 12, 16)), "imu": rng.standard_normal((40, 6)), "wheel": rng.standard_normal((20, 2))}
    streams = {n: Stream(np.arange(1, k + 1) * (1_000_000_000 // k), rows[n].astype(np.float32)) for n, k in count.items()}
    wheel = streams["wheel"]
    streams["wheel"] = Stream(wheel.stamp_ns[:wheel_rows], wheel.rows[:wheel_rows])
    return Recording(name, label, 1, streams)


def test_last_moment_is_that_of_the_sensor_that_stops_first():
    live = LastMoments([recording("x", 1, wheel_rows=10)]).inputs(np.array([0]), SPECS)
    assert (live["imu"][0][:20] == 0).all() and (live["imu"][0][20:] != 0).any(1).all()


def test_recordings_have_both_accuracies_and_windows_one():
    recordings = [recording(f"r{i}", i % 4, 10) for i in range(6)]
    one = engine()
    rows = evaluate(one, RecordingExamples(recordings), latency_runs=0)["rows"]
    live = predict(one, LastMoments(recordings))
    assert [r["accuracy_live"] for r in rows] == [round(float(v), 4) for v in live.right.mean(2).ravel()]
    assert all(0 <= r["ece_live"] <= 1 for r in rows)
    assert "accuracy_live" not in evaluate(one, WindowExamples(made_up_windows()), latency_runs=0)["rows"][0]


def test_costs_are_the_engine_s_and_latency_may_be_skipped():
    one, examples = engine(), WindowExamples(made_up_windows())
    timed, untimed = (costs(one, examples, [(True,) * 3, (False, True, False)], runs) for runs in (2, 0))
    assert len(timed) == 6 and timed[0].flops > timed[2].flops > timed[5].flops
    assert timed[0].params > timed[2].params
    assert all(row.latency_ms > 0 for row in timed) and all(row.latency_ms is None for row in untimed)
    assert [(r.flops, r.params) for r in timed] == [(r.flops, r.params) for r in untimed]


def test_whole_report_agrees_with_itself():
    one, windows = engine(), made_up_windows(count=40)
    report = evaluate(one, WindowExamples(windows), latency_runs=0)
    assert len(report["rows"]) == 21 and (report["windows"], report["recordings"]) == (40, 4)
    assert report["summary"]["accuracy_all"] == report["rows"][0]["accuracy"] == report["conditions"][0]["accuracy"]["111"]
    assert report["reliability"][0]["ece"] == report["rows"][0]["ece"]
    right = np.trace(np.array(report["confusion"][0]["counts"])) / 40
    assert right == pytest.approx(report["summary"]["accuracy_all"])
    worst = min((r for r in report["rows"] if r["ratio"] == 0 and r["mask"].count("0") == 1), key=lambda r: r["accuracy"])
    assert report["confusion"][1]["mask"] == worst["mask"] and report["present"] == {"camera": 1, "imu": 1, "wheel": 1}


def test_calibration_error_is_that_of_training():
    probabilities = np.random.default_rng(0).dirichlet([0.5] * 4, 200)
    labels = np.random.default_rng(1).integers(0, 4, 200)
    expected = expected_calibration_error(probabilities, labels)
    assert calibration_error(probabilities.max(1), probabilities.argmax(1) == labels) == pytest.approx(expected) != 0


# the command


@pytest.fixture
def model(tmp_path):
    """A model on disk, one of whose classes has an awkward name."""
    network = tiny_model(ratio_levels=LEVELS, classes=("rest", "turn & <b>$x$", "jump", "fall"))
    info = {"command": "sentryfuse train --config x", "data": {"dataset": str(tmp_path / "windows"), "train_groups": ["train"]}}
    return save_checkpoint(network, tmp_path / "model", info)


@pytest.fixture
def folder(tmp_path):
    """A folder as `sentryfuse dataset` writes it, with two of the model's classes in another order."""
    out, windows = tmp_path / "windows", made_up_windows()
    out.mkdir()
    classes = ["jump", "turn & <b>$x$"]
    with (out / "windows.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("bag", "end_s", "stamp_ns", "split", "label", "live"))
        for i, place in enumerate(windows.recording):
            table.writerow(("abcd"[place], i, i, "train" if place == 3 else "test", classes[i % 2], "101" if i == 0 else "111"))
    for name, x in windows.inputs.items():
        np.save(out / f"{name}.npy", x)
    bags = [{"name": n, "conditions": ["fog"] if n == "a" else []} for n in "abcd"]
    (out / "dataset.json").write_text(
        json.dumps(
            {
                "format": "sentryfuse windows",
                "format_version": 1,
                "command": "sentryfuse dataset here",
                "classes": classes,
                "windows": 12,
                "modalities": [s.to_dict() for s in SPECS],
                "bags": bags,
            }
        )
    )
    return out


def test_command_writes_report_table_and_page(model, folder, tmp_path, capsys):
    json_path, csv_path, html_path = (tmp_path / "out" / f"report.{kind}" for kind in ("json", "csv", "html"))
    status = main(
        [
            "evaluate",
            str(model),
            str(folder),
            "--latency-runs",
            "1",
            "--json",
            str(json_path),
            "--csv",
            str(csv_path),
            "--html",
            str(html_path),
        ]
    )
    assert status == 0
    report = json.loads(json_path.read_text())
    assert (report["windows"], report["recordings"], report["split"], report["groups"]) == (9, 3, "test", ["test"])
    assert [c["condition"] for c in report["conditions"]] == ["all", "undisturbed", "fog"]
    assert np.array(report["confusion"][0]["counts"]).sum(1).tolist() == [0, 4, 5, 0]  # by the model's classes
    assert report["present"]["imu"] == 0.8889 and report["machine"]["threads"] == 1
    assert len(report["warnings"]) == 2 and "imu had data in only 88.9 %" in report["warnings"][0]
    assert "Only 3 recordings" in report["warnings"][1]
    assert report["model_sha256"] == json.loads((model / "model.json").read_text())["sha256"]
    with csv_path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(report["rows"]) == 21 and rows[0]["live"] == "camera+imu+wheel"
    assert [float(rows[0][f"ci95_{end}"]) for end in ("low", "high")] == report["rows"][0]["ci95"]
    assert float(rows[5]["accuracy"]) == report["rows"][5]["accuracy"] and float(rows[5]["latency_ms"]) > 0
    assert report["confusion"][0]["counts"][2][2] / 9 == pytest.approx(report["summary"]["accuracy_all"], abs=1e-4) != 0
    shown = capsys.readouterr().out
    assert "camera+imu+wheel" in shown and "worst with two missing" in " ".join(shown.split()) and shown.count("\n") < 25
    check_page(html_path.read_text(), report)


def check_page(html, report):
    """Nothing outside of it, all parts there, names as text and not as markup."""
    assert "http://" not in html and "https://" not in html and "<script" not in html and "@import" not in html
    assert all(target.startswith(("#", "data:")) for target in re.findall(r'\b(?:src|href)="([^"]*)"', html))
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", html))
    pictures = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert len(pictures) == 5  # heat map, FLOPs, two matrices, calibration
    for picture in pictures:
        ElementTree.fromstring(f'<p xmlns:xlink="x">{picture}</p>')
    ids = re.findall(r'\bid="([^"]*)"', html)
    assert len(ids) == len(set(ids)) and set(re.findall(r'href="#([^"]*)"', html)) <= set(ids)
    assert "<b>$x$" not in html and "turn &amp; &lt;b&gt;$x$" in html
    for text in (report["model_sha256"], "fog", "undisturbed", "All 21 cells", "imu in 11.1 %", "not calibrated"):
        assert text in html, text


def test_one_sensor_makes_a_page_too(tmp_path):
    from sentryfuse_ros.reporting.evaluation_page import page

    spec = replace(SPECS[1], name="imu")
    one = Engine(tiny_model(modalities=(spec,), kv_stride={}, tokenizer={}, ratio_levels=LEVELS))
    report = evaluate(one, WindowExamples(made_up_windows()), latency_runs=0)
    about = dict(
        model="m",
        model_sha256="",
        dataset="d",
        provenance="",
        groups=["test"],
        split="test",
        command="",
        machine={"threads": 1, "processor": "p", "torch": "t"},
    )
    html = page({**about, **report})
    assert len(re.findall(r"<svg", html)) == 4 and "Latency was not measured" in html  # one matrix: nothing can be missing


def test_groups_that_were_trained_on_are_named(model, folder, tmp_path, capsys):
    path = tmp_path / "r.json"
    assert main(["evaluate", str(model), str(folder), "--groups", "train", "--latency-runs", "0", "--json", str(path)]) == 0
    assert "trained on train" in json.loads(path.read_text())["warnings"][0]
    assert "trained on train" in capsys.readouterr().out


def test_leaks_are_found_by_folder_by_group_and_by_recording(tmp_path, monkeypatch):
    from sentryfuse_ros.cli.evaluate import leaks, recording_names

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


@pytest.mark.parametrize(
    "extra, words",
    [
        (["--groups", "nowhere"], ("nowhere", "among test train val")),
        (["--split", "exam"], ("--split", "one of train, val, test")),
        (["--latency-runs", "-1"], ("--latency-runs",)),
        (["--json", "/proc/none/x.json"], ("file /proc/none/x.json",)),
    ],
)
def test_bad_arguments_say_what_is_possible(model, folder, capsys, extra, words):
    assert main(["evaluate", str(model), str(folder), *extra]) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words), said


def test_folder_in_place_of_a_file_is_told_before_the_work(model, folder, tmp_path, capsys):
    assert main(["evaluate", str(model), str(folder), "--json", str(tmp_path)]) == 2
    assert f"file {tmp_path}" in capsys.readouterr().err


def test_model_of_other_sensors_or_classes_is_refused(folder, tmp_path, capsys):
    other = save_checkpoint(tiny_model(ratio_levels=LEVELS, classes=("fall", "swim")), tmp_path / "other")
    assert main(["evaluate", str(other), str(folder), "--latency-runs", "0"]) == 2
    assert "data set classes" in capsys.readouterr().err
    spec = replace(SPECS[2], name="sonar")
    network = tiny_model(ratio_levels=LEVELS, modalities=(spec,), kv_stride={}, tokenizer={})
    assert main(["evaluate", str(save_checkpoint(network, tmp_path / "sonar")), str(folder)]) == 2
    assert "sonar" in capsys.readouterr().err
