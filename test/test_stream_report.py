"""What a run's report says of a camera's stream: figures by what was to be seen, sentences, panels, page and table."""

import csv
import math
from dataclasses import replace

import pytest
from matplotlib.figure import Figure
from run_record_maker import result_of

from sentryfuse_ros.bags.labels import Labels
from sentryfuse_ros.replay.faults import FaultScript
from sentryfuse_ros.replay.run_record import ModelFacts, PowerRow, PredictionRow, RunRecord, SensorStatus, StatusRow, StreamRow
from sentryfuse_ros.replay.stream_scores import score_stream
from sentryfuse_ros.reporting.run_page import page
from sentryfuse_ros.reporting.run_plots import cost_panel, draw_run
from sentryfuse_ros.reporting.run_timeline import write_timeline
from sentryfuse_ros.reporting.stream_words import sentence, sentences


def visit(streamed=True):
    """Six seconds: nobody, somebody from 2 to 4 s, nobody. The router reuses while nobody moves."""
    labels = Labels.of_seconds([(0.0, 2.0, "nobody"), (2.0, 4.0, "wave"), (4.0, 6.0, "nobody")])
    predictions, statuses, streams, power = [], [], [], []
    for i in range(60):
        t = i / 10
        there = 2.0 <= t < 4.0
        took_ms = 0.9 if there else 0.4
        predictions.append(PredictionRow(t, t, True, "", "wave", 0.8, (True,), 0.2, took_ms, 12.0, 2.0, i + 1))
        statuses.append(StatusRow(t, {"camera": SensorStatus("OK", 10.0, "")}))
        power.append(PowerRow(t, 60.0, 0.2, 10_000, 20_000))
        if i == 0:
            streams.append(StreamRow(t, "full", 1.0, math.nan, 1.0, False))
        elif there or i in (1, 40):  # a state is published when it changes
            streams.append(StreamRow(t, *(("light", 0.1, 9.0, 0.05) if there else ("reuse", 0.0, 1.1, 0.0)), False))
    model = ModelFacts("watcher", ("camera",), ("wave", "swipe_left"), 3.2, 300_000, "", "0" * 64)
    return RunRecord(
        "visit", predictions, statuses, FaultScript(), 6.0, power, labels, model, streams=streams if streamed else ()
    )


def test_the_figures_follow_the_scene():
    summary = score_stream(visit())
    nobody, wave = summary.parts
    assert (nobody.label, wave.label) == ("nobody", "wave") and (nobody.predictions, wave.predictions) == (40, 20)
    assert nobody.tokens == pytest.approx(1 / 40) and wave.tokens == pytest.approx(0.1) and nobody.full == pytest.approx(1 / 40)
    assert (wave.reuse, wave.light, wave.full) == (0, 1, 0) and (nobody.inference_ms_p50, wave.inference_ms_p50) == (0.4, 0.9)
    assert summary.switches_per_s == pytest.approx(3 / 5.9, abs=1e-3)
    assert summary.tokens == pytest.approx((1 + 20 * 0.1) / 60, abs=1e-4)
    assert score_stream(visit(streamed=False)) is None


def test_a_sentence_says_what_moves_and_what_it_is_taken_for():
    said = sentences(visit())
    assert [round(s.t_s, 1) for s in said] == [0.7, 2.6, 4.7]
    assert said[0].text == "Nothing moves. Nothing is encoded; what was known of the scene still stands."
    assert said[1].text == (
        "Something moves. What changed is encoded by the light branch; "
        "of the 2 classes that the model knows, it looks like wave (80 %)."
    )
    assert "perhaps like swipe left (30 %)" in sentence(StreamRow(0, "full", 0.5, 20.0, 0.5, False), ("swipe_left", 0.3), 27)
    assert (
        sentence(StreamRow(0, "full", 0.02, 1.5, 0.05, False), ("wave", 0.9), 27)
        == "Nothing moves. What noise has changed, and a few windows in turn, are encoded by the full branch."
    )
    assert sentence(StreamRow(0, "full", 1.0, math.nan, 1.0, True), ("wave", 0.9), 27).startswith("The camera moves")


def test_page_drawing_and_table_show_it(tmp_path):
    record = visit()
    result = result_of(record)
    text = page(result, draw_run(record, tmp_path / "run.png"))
    assert "The camera as a stream" in text and "Something moves." in text and "A camera that watches" in text
    assert (tmp_path / "run.png").stat().st_size > 10_000
    write_timeline(tmp_path / "run.csv", record)
    rows = list(csv.DictReader((tmp_path / "run.csv").open()))
    assert [rows[k]["stream_branch"] for k in (0, 5, 25)] == ["full", "reuse", "light"] and rows[25]["stream_tokens"] == "0.1000"
    assert result.to_dict()["stream"]["parts"][1]["label"] == "wave"


def test_what_the_dense_model_would_cost_is_told_with_the_pictures_that_were_taken():
    """At first nothing is predicted, then several pictures are taken at once, and then one at a time."""
    counts = [(0, 1_446_000_000), (59_700_000, 94_100_000), (10_000_000, 49_000_000), (2_900_000, 49_000_000)]
    power = [PowerRow(t, 60.0, 0.0, *flops) for t, flops in enumerate(counts)]
    record = replace(visit(), power=power)
    axis = Figure().subplots()
    cost_panel(axis, record)
    dense, spent = (line.get_ydata().tolist() for line in axis.get_lines())
    assert math.isnan(dense[0]) and dense[1:] == [94.1, 49.0, 49.0, 49.0] and spent == [0.0, 59.7, 10.0, 2.9, 2.9]
    assert axis.get_ylim()[1] == pytest.approx(59.7 * 1.12)  # what was spent fills the panel
    text = page(result_of(record), draw_run(record))
    assert "2.9 to 59.7" in text and "49.0 to 94.1 with all sensors and nothing pruned" in text
    assert "49.0 with all sensors" in page(result_of(replace(record, power=power[2:])), draw_run(record))


def test_without_a_stream_the_report_is_as_before(tmp_path):
    record = visit(streamed=False)
    text = page(result_of(record), draw_run(record))
    assert "as a stream" not in text and "Something moves" not in text
    write_timeline(tmp_path / "run.csv", record)
    assert "stream_branch" not in (tmp_path / "run.csv").read_text()
    assert result_of(record).to_dict()["stream"] is None
