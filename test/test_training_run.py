"""Whole training runs: resumed, repeated, in several processes, and never mistaken for one another."""

import csv
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up_training import QUIET, recipe, recordings
from rich.console import Console

from sentryfuse_ros.cli import main
from sentryfuse_ros.errors import CheckpointError, DataError, ParameterError
from sentryfuse_ros.model.saved import load_checkpoint
from sentryfuse_ros.paths import share_path
from sentryfuse_ros.runtime.engine import Engine
from sentryfuse_ros.training import run as run_module
from sentryfuse_ros.training.examples import RecordingExamples
from sentryfuse_ros.training.logits import predict_logits
from sentryfuse_ros.training.metrics import METRICS_FILE, Metrics
from sentryfuse_ros.training.run import train
from sentryfuse_ros.training.trainer import Trainer
from sentryfuse_ros.training.validation_predictions import ValidationPredictions


def tensors(folder):
    return load_checkpoint(folder)[0].state_dict()


@contextmanager
def killed_in_the_second_epoch(monkeypatch):
    steps = Trainer.run_epoch

    def run_epoch(self):
        for i, step in enumerate(steps(self)):
            if self.epoch == 1 and i == 1:
                raise KeyboardInterrupt
            yield step

    monkeypatch.setattr(Trainer, "run_epoch", run_epoch)
    with pytest.raises(KeyboardInterrupt):
        yield
    monkeypatch.setattr(Trainer, "run_epoch", steps)


def test_resumed_run_ends_where_an_unbroken_one_does(made_up, tmp_path, monkeypatch):
    whole = train(recipe(), tmp_path / "whole", console=QUIET)
    with killed_in_the_second_epoch(monkeypatch):
        train(recipe(), tmp_path / "broken", console=QUIET)
    broken = train(recipe(), tmp_path / "broken", resume=True, console=QUIET)
    a, b = tensors(whole), tensors(broken)
    assert all(torch.equal(a[n], b[n]) for n in a)
    read = [list(csv.DictReader((folder / "metrics.csv").open())) for folder in (whole, broken)]
    assert len(read[0]) == 3 and all(row.pop("seconds") for rows in read for row in rows)
    assert read[0] == read[1]


def test_metrics_of_a_run_from_before_a_column_existed_continue_with_all_columns(tmp_path):
    (tmp_path / METRICS_FILE).write_text("epoch,learning_rate,seconds,full,gate\n1,0.1,2.0,0.5,0.25\n2,0.1,2.0,0.4,0.2\n")
    metrics = Metrics(tmp_path, 1)
    metrics.write(2, {"full": 0.3, "gradient": 0.125})
    metrics.close()
    rows = list(csv.DictReader((tmp_path / METRICS_FILE).open()))
    assert [(r["epoch"], r["full"], r["gate"], r["gradient"]) for r in rows] == [
        ("1", "0.5", "0.25", ""),
        ("2", "0.3", "", "0.125"),
    ]


def test_seed_decides_the_result(made_up, tmp_path):
    a, b, c = (
        tensors(train(recipe(epochs=1, seed=seed), tmp_path / name, console=QUIET))
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert all(torch.equal(a[n], b[n]) for n in a) and not torch.equal(a["readout.value.weight"], c["readout.value.weight"])


def test_resume_with_another_recipe_is_refused_by_name(made_up, tmp_path):
    train(recipe(epochs=1), tmp_path, console=QUIET)
    with pytest.raises(CheckpointError, match=r"another recipe \(differs in learning_rate\)"):
        train(recipe(epochs=2, learning_rate=1e-2), tmp_path, resume=True, console=QUIET)


def test_a_finished_run_can_be_made_longer_and_not_shorter(made_up, tmp_path):
    elastic = {"epochs": 1}
    before = tensors(train(recipe(epochs=2, elastic=elastic), tmp_path, console=QUIET))
    printed = StringIO()
    console = Console(file=printed, width=300)
    after = tensors(train(recipe(epochs=3, elastic=elastic), tmp_path, resume=True, console=console))
    with (tmp_path / METRICS_FILE).open(newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3"]
    assert "the run of 2 epochs goes on to 3: from epoch 3 on" in printed.getvalue()
    # The second stage has learned from the network as it is now: from the start, not from where the shorter run left it.
    alone = train(recipe(epochs=3, elastic=elastic), tmp_path / "alone", start_from=tmp_path / "whole", console=QUIET)
    assert all(torch.equal(after[n], t) for n, t in tensors(alone).items())
    assert not all(torch.equal(after[n], before[n]) for n in after)
    train(recipe(epochs=3, elastic={"epochs": 2}), tmp_path, resume=True, console=QUIET)
    with pytest.raises(CheckpointError, match=r"another recipe \(differs in epochs\)"):
        train(recipe(epochs=2, elastic=elastic), tmp_path, resume=True, console=QUIET)


def test_a_run_goes_on_where_its_folder_and_its_data_set_were_moved_to(made_up, tmp_path, monkeypatch):
    with killed_in_the_second_epoch(monkeypatch):
        train(recipe(), tmp_path / "here", console=QUIET)
    (tmp_path / "here").rename(tmp_path / "there")
    printed = StringIO()
    moved = train(recipe(dataset="elsewhere"), tmp_path / "there", resume=True, console=Console(file=printed, width=300))
    unbroken = train(recipe(), tmp_path / "unbroken", console=QUIET)
    assert all(torch.equal(a, b) for a, b in zip(tensors(moved).values(), tensors(unbroken).values()))
    assert "dataset is now elsewhere, it was made_up" in printed.getvalue()


def test_a_first_accuracy_is_shown_before_the_first_epoch_ends(made_up, tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "FIRST_LOOK_S", 0.0)
    printed = StringIO()
    shown = train(recipe(epochs=1), tmp_path / "a", console=Console(file=printed, width=300))
    assert "epoch 1, step 1: validation accuracy with all sensors" in printed.getvalue()
    quiet = train(recipe(epochs=1), tmp_path / "b", console=QUIET)  # looking changes nothing
    monkeypatch.setattr(run_module, "FIRST_LOOK_S", 1e9)
    unseen = train(recipe(epochs=1), tmp_path / "c", console=QUIET)
    assert all(torch.equal(a, b) for a, b in zip(tensors(shown).values(), tensors(unseen).values()))
    assert (quiet / "model.safetensors").read_bytes() == (unseen / "model.safetensors").read_bytes()


def test_a_full_disk_ends_the_run_with_one_line_and_nothing_finished_is_lost(made_up, tmp_path):
    """A limit on the size of files stands in for the disk: writing beyond it fails in the same call."""
    code = (
        "import resource, sys; sys.path.insert(0, sys.argv[1])\n"
        "import made_up_training as t\n"
        "from pathlib import Path\n"
        "from sentryfuse_ros.errors import CheckpointError\n"
        "from sentryfuse_ros.training import run\n"
        "run.dataset = lambda name: t.Source\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))\n"
        "try: run.train(t.recipe(), Path(sys.argv[2]), resume=True, console=t.QUIET)\n"
        "except CheckpointError as error: print(error); sys.exit(2)\n"
    )
    for name in ("disk", "room"):
        train(recipe(epochs=1), tmp_path / name, console=QUIET)
    limit = (tmp_path / "disk" / "state.safetensors").stat().st_size - 1
    full = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path / "disk"), str(limit)],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert full.returncode == 2 and "Traceback" not in full.stderr, full.stderr
    assert full.stdout.count("\n") == 1 and "room to write" in full.stdout and "--resume" in full.stdout
    after, unbroken = (tensors(train(recipe(), tmp_path / n, resume=True, console=QUIET)) for n in ("disk", "room"))
    assert all(torch.equal(a, b) for a, b in zip(after.values(), unbroken.values()))


def test_nothing_to_resume_and_a_damaged_state_are_named(made_up, tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        train(recipe(), tmp_path, resume=True, console=QUIET)
    (tmp_path / "state.safetensors").write_bytes(b"garbage")
    with pytest.raises(CheckpointError, match="state.safetensors"):
        train(recipe(), tmp_path, resume=True, console=QUIET)


def test_run_ships_a_calibrated_model_that_can_be_evaluated(made_up, tmp_path):
    engine = Engine.load(train(recipe(), tmp_path, command="sentryfuse train --config x", console=QUIET))
    assert engine.info["command"].startswith("sentryfuse train") and engine.info["data"]["train_groups"] == [1, 2]
    assert set(engine.info["temperatures"]) == {"11", "10", "01"} and all(s.std for s in engine.specs)
    held = RecordingExamples(recordings((3,)))
    right = (predict_logits(engine.network(), held, [(True, True)], [0.0])["11"][0].argmax(1) == held.labels).mean()
    assert right == pytest.approx(engine.info["metrics"]["validation_accuracy"]["11"][0], abs=1e-4)


def test_all_groups_trained_on_takes_temperatures_from_other_runs(made_up, tmp_path):
    folds = [
        train(recipe(epochs=1, train_groups=[g], validation_groups=[3 - g]), tmp_path / str(g), console=QUIET) for g in (1, 2)
    ]
    both = recipe(epochs=1, train_groups=[1, 2], validation_groups=[])
    whole = train(both, tmp_path / "all", calibrate_from=folds, console=QUIET)
    info = load_checkpoint(whole)[1]
    pooled = [load_checkpoint(f)[1]["metrics"]["validation_accuracy"]["11"][0] for f in folds]
    assert info["metrics"]["cross_validation_accuracy"]["11"][0] == pytest.approx(np.mean(pooled), abs=1e-4)
    assert len(info["temperatures"]["11"]) == 3 and info["data"]["calibrated_on"] == ["1", "2"]
    with pytest.raises(DataError, match="calibrate-from"):
        train(recipe(), tmp_path / "x", calibrate_from=[tmp_path / "nowhere"], console=QUIET)


def test_temperatures_rest_on_windows_that_have_the_sensors_of_their_mask():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 400)
    sure = 4.0 * np.eye(3)[labels] + rng.standard_normal((400, 3))
    blank = np.where(np.arange(400)[:, None] < 200, sure, 5 * rng.standard_normal((400, 3)))
    present = np.ones((400, 2), bool)
    present[200:, 1] = False
    given = ValidationPredictions(labels, {"10": sure[None], "01": blank[None]}, present)
    only_seen = ValidationPredictions(labels[:200], {"01": blank[None, :200]})
    assert given.temperatures()["01"] == only_seen.temperatures()["01"]
    assert given.accuracies()["01"] == only_seen.accuracies()["01"]
    present[:, 1] = False
    assert given.temperatures()["01"] == [1.0] and given.accuracies()["01"] == [None]


def test_standard_errors_count_recordings_not_windows():
    # Four recordings of two windows each, which are right or wrong together: shares of 1, 1, 0 and 0.
    labels, right = np.zeros(8, int), np.array([1, 1, 1, 1, 0, 0, 0, 0], bool)
    logits = {"1": np.where(right[:, None], [1.0, 0.0], [0.0, 1.0])[None]}
    by_window = ValidationPredictions(labels, logits).standard_errors()["1"]
    by_recording = ValidationPredictions(labels, logits, None, np.repeat([7, 3, 9, 5], 2)).standard_errors()["1"]
    assert by_window == [pytest.approx(np.sqrt(0.25 / 7), abs=1e-5)]
    assert by_recording == [pytest.approx(np.sqrt(0.25 / 3), abs=1e-5)]
    assert ValidationPredictions(labels, logits, None, np.zeros(8, int)).standard_errors()["1"] == [None]


def test_recordings_of_pooled_runs_stay_apart_and_survive_the_file(tmp_path):
    labels, logits = np.zeros(4, int), {"1": np.tile([1.0, 0.0], (4, 1))[None]}
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        ValidationPredictions(labels, logits, None, np.array([0, 0, 1, 1])).save(tmp_path / name)
    pooled = ValidationPredictions.pool([tmp_path / "a", tmp_path / "b"])
    assert pooled.recordings.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


# a run is not taken for another


def test_a_second_run_in_the_folder_of_a_first_is_refused_without_resume(made_up, tmp_path):
    train(recipe(epochs=1), tmp_path, console=QUIET)
    before = (tmp_path / "model.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match="a run that is there already.*--resume"):
        train(recipe(epochs=1, seed=9), tmp_path, console=QUIET)
    assert (tmp_path / "model.safetensors").read_bytes() == before


def test_a_model_of_another_origin_is_not_written_over(made_up, tmp_path):
    model = train(recipe(epochs=1), tmp_path / "run", console=QUIET)
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    for name in ("model.safetensors", "model.json"):
        (shipped / name).write_bytes((model / name).read_bytes())
    before = (shipped / "model.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match="a model that is there already.*another --out"):
        train(recipe(epochs=1, seed=9), shipped, console=QUIET)
    assert (shipped / "model.safetensors").read_bytes() == before


def test_resume_on_other_examples_is_refused_by_name(made_up, tmp_path, monkeypatch):
    train(recipe(epochs=1), tmp_path, console=QUIET)
    source = run_module.dataset("made_up")
    monkeypatch.setattr(source, "CLASSES", ("slow", "up", "fast"))
    monkeypatch.setattr(run_module, "dataset", lambda name: source)
    with pytest.raises(CheckpointError, match="another data set .differs in classes"):
        train(recipe(epochs=1), tmp_path, resume=True, console=QUIET)


# several processes


def run_ranks(code, *arguments):
    """Run the code in two processes with torchrun's variables, over gloo; returns what each of them printed."""
    reserved = socket.socket()  # which nobody is given meanwhile, but who asks for it may share: it does not listen
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    port = str(reserved.getsockname()[1])
    head = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import made_up_training as t\n"
        "from pathlib import Path\n"
        "from sentryfuse_ros.training import run\n"
        "run.dataset = lambda name: t.Source\n"
    )
    with ExitStack() as files:
        outs = [files.enter_context(tempfile.TemporaryFile("w+")) for _ in range(2)]
        ranks = [
            subprocess.Popen(
                [sys.executable, "-c", head + code, str(Path(__file__).parent), *arguments],
                text=True,
                stdout=outs[rank],
                stderr=subprocess.STDOUT,
                env={
                    **os.environ,
                    "WORLD_SIZE": "2",
                    "RANK": str(rank),
                    "LOCAL_RANK": str(rank),
                    "MASTER_ADDR": "127.0.0.1",
                    "MASTER_PORT": port,
                },
            )
            for rank in range(2)
        ]
        try:
            until_s = time.monotonic() + 900
            for rank in ranks:  # one that fails leaves the other waiting
                while rank.poll() is None and not any(other.poll() for other in ranks) and time.monotonic() < until_s:
                    with suppress(subprocess.TimeoutExpired):
                        rank.wait(0.5)
        finally:
            for rank in ranks:
                rank.kill()
                rank.wait()
            reserved.close()
        for out in outs:
            out.seek(0)
        said = [out.read() for out in outs]
    assert [rank.returncode for rank in ranks] == [0, 0], said
    return said


def test_two_ranks_train_one_network(tmp_path):
    """Both end with the same weights, and only the first writes."""
    code = (
        "from sentryfuse_ros.training.trainer import Trainer\n"
        "trainers = []\n"
        "init = Trainer.__init__\n"
        "def keep(self, *a, **k): init(self, *a, **k); trainers.append(self)\n"
        "Trainer.__init__ = keep\n"
        "run.train(t.recipe(epochs=2, batch=6), Path(sys.argv[2]), console=t.QUIET)\n"
        "print(float(sum(p.double().abs().sum() for p in trainers[0].model.parameters())))\n"
    )
    said = run_ranks(code, str(tmp_path / "out"))
    assert said[0].split()[-1] == said[1].split()[-1]
    assert load_checkpoint(tmp_path / "out") and len((tmp_path / "out" / "metrics.csv").read_text().splitlines()) == 3


def test_two_ranks_train_every_fold_of_a_cross_validation_together(tmp_path):
    """Both learn the result, and only the first writes and prints."""
    code = (
        "from sentryfuse_ros.training import cross_validation\n"
        "cross_validation.dataset = run.dataset\n"
        "made = cross_validation.cross_validate(t.recipe(epochs=1, batch=6), Path(sys.argv[2]), 3, resume=len(sys.argv) > 3)\n"
        "print('mean', made.mean['11'])\n"
    )
    first, second = run_ranks(code, str(tmp_path))
    mean = first.split()[-1]
    assert "fold 3 of 3" in first and "2 ranks" in first
    assert second.split()[-2:] == ["mean", mean] and "fold" not in second
    assert json.loads((tmp_path / "cross_validation.json").read_text())["mean"]["11"] == float(mean)
    (tmp_path / "fold2" / "model.json").unlink()
    first, second = run_ranks(code, str(tmp_path), "--resume")
    assert first.split()[-1] == second.split()[-1] == mean and first.count("2 ranks") == 1, "the last fold only"


@pytest.mark.parametrize("verb", ["train-stem", "train-stream", "train-captions"])
def test_trainings_that_do_not_divide_their_work_are_refused_in_several_processes(verb, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    names = ("--model", "--dataset", "--drives") if verb == "train-captions" else ("--config",)
    given = [text for name in names for text in (name, str(tmp_path))]
    assert main([verb, *given, "--out", str(tmp_path / "out")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"sentryfuse {verb}: saw one of 2 processes" in said and "start it without torchrun" in said
    assert not (tmp_path / "out").exists()


def test_a_training_that_is_stopped_says_how_it_goes_on(tmp_path, monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("sentryfuse_ros.training.run.train", stop)
    config = str(share_path("config", "train_ground.yaml"))
    assert main(["train", "--config", config, "--out", str(tmp_path / "model")]) == 130
    assert "--resume goes on from the last complete epoch" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04" + bytes(50), None])
def test_damaged_validation_predictions_are_named(content, tmp_path):
    if content is None:  # another kind of .npz
        np.savez(tmp_path / "validation_predictions.npz", other=np.zeros(3))
    else:
        (tmp_path / "validation_predictions.npz").write_bytes(content)
    with pytest.raises(DataError, match="validation_predictions.npz: saw .*; correct --calibrate-from"):
        ValidationPredictions.read(tmp_path)


def test_a_network_to_start_from_that_knows_the_validation_groups_is_remarked_on(made_up, tmp_path):
    elastic = {"epochs": 1}
    first = train(recipe(epochs=1, train_groups=[1, 2, 3], validation_groups=[]), tmp_path / "first", console=QUIET)
    for out, groups, knows in (("leaks", {}, True), ("apart", {"train_groups": [1, 2, 3], "validation_groups": []}, False)):
        printed = StringIO()
        console = Console(file=printed, width=300)
        train(recipe(elastic=elastic, **groups), tmp_path / out, start_from=first, console=console)
        assert ("the network of --start-from was trained on 3: the validation on it" in printed.getvalue()) == knows


def test_a_network_to_start_from_with_other_inputs_is_refused_by_their_names(made_up, tmp_path):
    first = train(recipe(epochs=1), tmp_path / "first", console=QUIET)
    imu, wheel = recipe().modalities
    for modalities, seen in (
        ([imu], r"modalities of the network of the first stage: saw \['imu', 'wheel'\], expected \['imu'\]"),
        ([imu, {**wheel, "options": {"max_gap_s": 0.3}}], "modality 'wheel' of the network of the first stage: saw"),
    ):
        own = recipe(elastic={"epochs": 1}, modalities=modalities)
        with pytest.raises(ParameterError, match=seen):
            train(own, tmp_path / "out", start_from=first, console=QUIET)


def test_a_second_stage_is_not_resumed_from_another_network(made_up, tmp_path):
    one, other = (train(recipe(epochs=1, seed=seed), tmp_path / str(seed), console=QUIET) for seed in (1, 2))
    train(recipe(elastic={"epochs": 1}), tmp_path / "out", start_from=one, console=QUIET)
    train(recipe(elastic={"epochs": 1}), tmp_path / "out", start_from=one, resume=True, console=QUIET)
    with pytest.raises(CheckpointError, match=r"another data set \(differs in network of the first stage\)"):
        train(recipe(elastic={"epochs": 1}), tmp_path / "out", start_from=other, resume=True, console=QUIET)


def test_the_metrics_of_a_resumed_run_are_replaced_as_a_whole(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("the disk is full")

    metrics = Metrics(tmp_path, 0)
    for epoch in (1, 2):
        metrics.write(epoch, {"full": 1.0})
    metrics.close()
    before = (tmp_path / METRICS_FILE).read_text()
    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="full"):
        Metrics(tmp_path, 1)
    assert (tmp_path / METRICS_FILE).read_text() == before
    monkeypatch.undo()
    Metrics(tmp_path, 1).close()
    assert (tmp_path / METRICS_FILE).read_text() == "".join(before.splitlines(keepends=True)[:2])
