"""`sentryfuse evaluate` on a data set folder."""

import csv
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
from evaluation_maker import LEVELS, made_up_windows
from tiny_model import SPECS, tiny_model

from sentryfuse_ros.cli import main
from sentryfuse_ros.model.saved import save_checkpoint


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


def test_groups_that_were_trained_on_are_named(model, folder, tmp_path, capsys):
    path = tmp_path / "r.json"
    assert main(["evaluate", str(model), str(folder), "--groups", "train", "--latency-runs", "0", "--json", str(path)]) == 0
    assert "trained on train" in json.loads(path.read_text())["warnings"][0]
    assert "trained on train" in capsys.readouterr().out


@pytest.mark.parametrize("extra, judged", [([], ["train"]), (["--split", "test"], ["test"])])
def test_the_test_groups_of_the_recipe_are_judged_unless_others_are_named(model, folder, tmp_path, extra, judged):
    path = model / "model.json"
    info = json.loads(path.read_text())
    info["data"]["train_groups"], info["recipe"] = ["val"], {"test_groups": ["train"]}
    path.write_text(json.dumps(info))
    out = tmp_path / "r.json"
    command = ["evaluate", str(model), str(folder), "--latency-runs", "0", "--json", str(out)]
    assert main([*command, *extra]) == 0
    report = json.loads(out.read_text())
    assert report["groups"] == judged and report["split"] == ("test" if extra else None)
    info["data"]["dataset"] = str(tmp_path / "another")  # of which the groups of the recipe are
    path.write_text(json.dumps(info))
    assert main(command) == 0
    assert json.loads(out.read_text())["groups"] == ["test"]


def test_a_single_recording_can_be_judged(model, folder, tmp_path):
    path, bag = tmp_path / "r.json", json.loads((folder / "dataset.json").read_text())["bags"][0]["name"]
    with (folder / "windows.csv").open(newline="") as file:
        own = sum(row["bag"] == bag for row in csv.DictReader(file))
    assert main(["evaluate", str(model), str(folder), "--groups", bag, "--latency-runs", "0", "--json", str(path)]) == 0
    report = json.loads(path.read_text())
    assert (report["recordings"], report["windows"], report["groups"]) == (1, own, [bag]) and own


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


def test_a_folder_in_place_of_a_file_is_reported_before_the_evaluation(model, folder, tmp_path, capsys):
    assert main(["evaluate", str(model), str(folder), "--json", str(tmp_path)]) == 2
    assert f"file {tmp_path}" in capsys.readouterr().err


def test_a_shipped_model_is_known_by_its_name_and_others_are_listed(folder, capsys):
    assert main(["evaluate", "ground_robot", str(folder)]) == 2  # other inputs than the data set has
    assert "modality 'camera' of data set" in capsys.readouterr().err
    assert main(["evaluate", "no_such_model", str(folder)]) == 2
    assert "'no_such_model', expected a path, or one of ground_robot" in capsys.readouterr().err


def test_model_of_other_sensors_or_classes_is_refused(folder, tmp_path, capsys):
    other = save_checkpoint(tiny_model(ratio_levels=LEVELS, classes=("fall", "swim")), tmp_path / "other")
    assert main(["evaluate", str(other), str(folder), "--latency-runs", "0"]) == 2
    assert "data set classes" in capsys.readouterr().err
    spec = replace(SPECS[2], name="sonar")
    network = tiny_model(ratio_levels=LEVELS, modalities=(spec,), kv_stride={}, tokenizer={})
    assert main(["evaluate", str(save_checkpoint(network, tmp_path / "sonar")), str(folder)]) == 2
    assert "sonar" in capsys.readouterr().err


def rewritten(folder, change):
    """The table of a folder, every row changed by ``change(number, row)``."""
    with (folder / "windows.csv").open(newline="") as file:
        rows = [change(i, row) for i, row in enumerate(csv.DictReader(file))]
    with (folder / "windows.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def evaluated(model, folder, tmp_path):
    assert main(["evaluate", str(model), str(folder), "--latency-runs", "0", "--json", str(tmp_path / "r.json")]) == 0
    return json.loads((tmp_path / "r.json").read_text())


def test_the_files_are_written_where_the_console_takes_no_more(model, folder, tmp_path):
    target = tmp_path / "r.json"
    command = [sys.executable, "-u", "-m", "sentryfuse_ros.cli", "evaluate", str(model), str(folder), "--latency-runs", "0"]
    with open("/dev/full", "wb") as full:
        ended = subprocess.run([*command, "--json", str(target)], stdout=full, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 2 and "No space left on device" in ended.stderr
    assert json.loads(target.read_text())


def test_steady_and_all_moments_are_reported_apart(model, folder, tmp_path, capsys):
    before = evaluated(model, folder, tmp_path)
    assert before["moments"] is not None and before["moments"]["windows"] == before["moments"]["steady_windows"] == 9
    since = {0: "0.2", 1: "0.7", 4: "0.9", 5: "1.2"}
    rewritten(folder, lambda i, row: {**row, "steady": "0" if i in (0, 1) else "1", "since_change_s": since.get(i, "")})
    capsys.readouterr()
    report = evaluated(model, folder, tmp_path)
    met = report["moments"]
    assert (report["windows"], met["steady_windows"], met["windows"]) == (7, 7, 9)
    assert report["summary"]["accuracy_all"] == met["steady_accuracy"], "the tables are of steady windows"
    assert met["accuracy"] == before["summary"]["accuracy_all"]
    assert [(row["from_s"], row["to_s"], row["windows"]) for row in met["since_change"]] == [
        (0, 0.5, 1),
        (0.5, 1, 2),
        (1, 2, 1),
        (2, None, 0),
    ]
    shown = " ".join(capsys.readouterr().out.split())
    assert (
        f"steady {100 * met['steady_accuracy']:.1f} % of 7 windows, all moments" in shown
        and "0 s to 0.5 s after a change" in shown
    )
    page = tmp_path / "page.html"
    assert main(["evaluate", str(model), str(folder), "--latency-runs", "0", "--html", str(page)]) == 0
    assert "Accuracy at all moments" in page.read_text() and "2 s and later after a change" in page.read_text()


def test_a_set_without_a_sensor_gives_the_accuracy_of_the_mask_without_it(model, folder, tmp_path):
    """The same windows, once with a camera that is never live, and once in a set that has never heard of a camera."""
    rewritten(folder, lambda i, row: {**row, "live": "0" + row["live"][1:]})
    silent = evaluated(model, folder, tmp_path)
    description = json.loads((folder / "dataset.json").read_text())
    description["modalities"] = [spec for spec in description["modalities"] if spec["name"] != "camera"]
    (folder / "dataset.json").write_text(json.dumps(description))
    (folder / "camera.npy").unlink()
    rewritten(folder, lambda i, row: {**row, "live": row["live"][1:]})
    without = evaluated(model, folder, tmp_path)
    assert without["rows"] == silent["rows"] and without["present"]["camera"] == 0
    at = {(row["mask"], row["ratio"]): row["accuracy"] for row in without["rows"]}
    assert at["111", 0.0] == at["011", 0.0] == without["summary"]["accuracy_all"] and at["100", 0.0] is None
    assert any("camera had data in only 0.0 %" in text for text in without["warnings"])
