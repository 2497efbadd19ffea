"""The page, the table and the terminal for models and data with little to show."""

import csv
import re
from dataclasses import replace

import numpy as np
import pytest
from evaluation_maker import LEVELS, engine, made_up_windows, report_of
from tiny_model import SPECS, tiny_model

from sentryfuse_ros.errors import DataError
from sentryfuse_ros.evaluation.predictions import predict
from sentryfuse_ros.evaluation.report import evaluate
from sentryfuse_ros.runtime.engine import Engine
from sentryfuse_ros.training.examples import WindowExamples


def test_sensor_that_never_had_data_leaves_cells_empty_in_table_csv_and_page(tmp_path, capsys):
    from sentryfuse_ros.evaluation.cautions import cautions
    from sentryfuse_ros.reporting.evaluation_console import print_report
    from sentryfuse_ros.reporting.evaluation_files import write_csv
    from sentryfuse_ros.reporting.evaluation_page import page

    measured = evaluate(engine(), WindowExamples(made_up_windows(live={"imu": np.zeros(12, bool)})), latency_runs=0)
    report = report_of(
        measured,
        model="[red]m[/red]",
        dataset="d[/]",
        warnings=tuple(cautions(measured)),
        model_data={"recordings": {"train": ["zebra", "gnu"], "validation": ["emu"]}},
    )
    alone = next(row for row in measured.rows if row.mask == "010")
    assert alone.judged == 0 and alone.accuracy is None and measured.rows[0].judged == 12
    write_csv(tmp_path / "t.csv", measured.rows)
    with (tmp_path / "t.csv").open(newline="") as file:
        assert [(row["judged"], row["accuracy"]) for row in csv.DictReader(file) if row["live"] == "imu"] == [("0", "")] * 3
    html = page(report)
    assert "imu had data in only 0.0 %" in html and "train 2, validation 1" in html and "zebra" not in html
    print_report(report)
    shown = " ".join(capsys.readouterr().out.split())
    assert "[red]m[/red] on d[/]" in shown and "imu had data in only 0.0 %" in shown
    with pytest.raises(DataError, match="no window with a live sensor"):
        predict(engine(), WindowExamples(made_up_windows(live={s.name: np.zeros(12, bool) for s in SPECS})))


def test_one_sensor_makes_a_page_too(tmp_path):
    from sentryfuse_ros.reporting.evaluation_page import page

    spec = replace(SPECS[1], name="imu")
    one = Engine.from_model(tiny_model(modalities=(spec,), kv_stride={}, tokenizer={}, ratio_levels=LEVELS))
    html = page(report_of(evaluate(one, WindowExamples(made_up_windows()), latency_runs=0)))
    assert len(re.findall(r"<svg", html)) == 4 and "Latency was not measured" in html  # one matrix: nothing can be missing
