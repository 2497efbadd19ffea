"""Schedules, windows, calibration and the trainer, on a small made-up set that is quick to learn."""

import csv
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from rich.console import Console

from sentryfuse_ros.checkpoint import load_checkpoint
from sentryfuse_ros.datasets.recording import Recording, Stream
from sentryfuse_ros.datasets.windows import WindowSet
from sentryfuse_ros.engine import Engine
from sentryfuse_ros.errors import CheckpointError, DataError, ParameterError, SentryFuseError
from sentryfuse_ros.modalities.inputs import ModalitySpec
from sentryfuse_ros.training import run as run_module
from sentryfuse_ros.training import windows as windows_module
from sentryfuse_ros.training.augment import Augment, augment_windows
from sentryfuse_ros.training.calibration import expected_calibration_error, fit_temperature
from sentryfuse_ros.training.evaluation import all_masks, predict_logits
from sentryfuse_ros.training.examples import RecordingExamples, WindowExamples
from sentryfuse_ros.training.metrics import METRICS_FILE, Metrics
from sentryfuse_ros.training.recipe import Recipe
from sentryfuse_ros.training.run import check_classes, check_modalities, train
from sentryfuse_ros.training.schedule import Schedule
from sentryfuse_ros.training.trainer import Trainer, class_weights
from sentryfuse_ros.training.windows import random_window, stack, whole_window

NS = 1_000_000_000
CLASSES = ("slow", "fast", "up")
QUIET = Console(quiet=True)
RECIPE = dict(
    dataset="made_up", train_groups=[1, 2], validation_groups=[3], epochs=3, batch=8, validate_every=1, seed=5,
    modalities=[{"name": "imu", "kind": "imu", "window_s": 1.0, "shape": [40, 6]},
                {"name": "wheel", "kind": "series", "window_s": 1.0, "shape": [20, 2]}],
    model=dict(d_model=16, layers=2, kv_groups=2, heads_per_group=2, head_dim=4, ffn_channels=32, channel_step=8,
               readout_heads=2, gate_hidden=4, ratio_levels=[0.0, 0.5, 0.9],
               tokenizer={"imu": {"stem_channels": 8}, "wheel": {"steps_per_token": 5, "stem_channels": 4}}))


def recordings(groups=(1, 2, 3), each=4):
    """Sine waves: the class is their frequency or their offset, every sensor sees it."""
    out = []
    for group in groups:
        rng = np.random.default_rng(group)
        for label in range(3):
            for i in range(each):
                at = (np.arange(1, 41) * NS) // 40
                phase = 2 * np.pi * ((2, 6, 2)[label] * at / NS + rng.random())
                wave = (np.sin(phase) + (0, 0, 2)[label])[:, None] + 0.1 * rng.standard_normal((40, 8))
                rows = wave.astype(np.float32)
                out.append(Recording(f"{group}-{label}-{i}", label, group,
                                     {"imu": Stream(at, rows[:, :6]), "wheel": Stream(at, rows[:, 6:])}))
    return out


@pytest.fixture
def made_up(monkeypatch):
    """The made-up set under the name the recipe asks for."""
    class Source:
        PROVENANCE = "made up"
    Source.CLASSES = CLASSES
    Source.load = staticmethod(lambda specs, groups: recordings(groups))
    monkeypatch.setattr(run_module, "dataset", lambda name: Source)


def recipe(**changes):
    return Recipe.from_dict({**RECIPE, **changes})


# recipe and schedule

@pytest.mark.parametrize("change, word", [
    ({"epochs": 0}, "epochs"), ({"learning_rte": 1}, "learning_rte"), ({"augment": {"wobble": 1}}, "wobble"),
    ({"schedule": 3}, "schedule"), ({"validation_groups": [1]}, "validation_groups"), ({"test_groups": [3]}, "test_groups"),
    ({"train_groups": []}, "train_groups")])
def test_recipe_names_the_key_that_is_wrong(change, word):
    with pytest.raises(ParameterError, match=word):
        recipe(**change)


@pytest.mark.parametrize("line, key", [
    ("batch: 2.5", "batch"), ("batch: true", "batch"), ("seed: -1", "seed"), ("seed: abc", "seed"), ("seed:", "seed"),
    ("threads: 1.5", "threads"), ("learning_rate: fast", "learning_rate"), ("learning_rate: .inf", "learning_rate"),
    ("distill: nan", "distill"), ("weight_decay: -1e-2", "weight_decay"), ("label_smoothing: 2", "label_smoothing"),
    ("teacher_rate: 2", "teacher_rate"), ("clip: 0", "clip"), ("spend_freed: 1", "spend_freed"), ("dataset: 3", "dataset"),
    ("modalities: 3", "modalities"), ("modalities: [3]", "modalities"), ("model: [1]", "model"),
    ("modalities: [{name: imu}, {name: imu}]", "modalities"), ("train_groups: train", "train_groups"),
    ("train_groups: [[1]]", "train_groups"), ("1: 2\na: 3", "keys"), ("schedule: []", "schedule keys"),
    ("schedule: {freeze_at: 0}", "schedule freeze_at"), ("schedule: {ratio_until: 1.1}", "schedule ratio_until"),
    ("schedule: {warmup: 1}", "schedule warmup"), ("schedule: {drop_to: 1.5}", "schedule drop_to"),
    ("schedule: {missing: 0.5}", "schedule missing"), ("schedule: {missing: []}", "schedule missing"),
    ("schedule: {missing: [a]}", "schedule missing"), ("augment: {imu_jitter: -1}", "augment imu_jitter"),
    ("dense_temperature: 0", "dense_temperature"),
    ("augment: {erase: 1.5}", "augment erase"), ("augment: {speed: x}", "augment speed")])
def test_recipe_refuses_a_value_by_key_what_was_seen_and_what_is_expected(line, key):
    with pytest.raises(ParameterError, match=rf"^training recipe {key}(\[0\])?: saw .+, expected .+; correct the training YAML"):
        Recipe.from_dict({**RECIPE, **yaml.safe_load(line)})


def test_recipe_takes_numbers_that_yaml_reads_as_text_and_keeps_whole_ones():
    text = "{learning_rate: 1e-3, weight_decay: 1e-2, distill: 1e-1, clip: 2, augment: {imu_jitter: 1e-3}}"
    read = recipe(**yaml.safe_load(text), schedule={"missing": ["1e-1"]})
    assert (read.learning_rate, read.weight_decay, read.distill, read.augment.imu_jitter) == (1e-3, 1e-2, 0.1, 1e-3)
    assert read.schedule.missing == (0.1,) and type(read.clip) is int  # a state compares the recipe's JSON
    assert Recipe.from_dict(read.to_dict()) == read


@pytest.mark.parametrize("name", ["train_ground", "train_utd_mhad"])
def test_shipped_recipes_keep_their_values(name):
    path = Path(__file__).parents[1] / "config" / f"{name}.yaml"
    given, read = yaml.safe_load(path.read_text()), Recipe.read(path).to_dict()
    for key, value in given.items():
        assert read[key] == tuple(value) if isinstance(value, list) else read[key] == value or value.items() <= read[key].items()


def test_recipe_file_that_is_missing_or_no_yaml(tmp_path):
    with pytest.raises(ParameterError, match="train_utd_mhad.yaml"):
        Recipe.read(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(ParameterError, match="bad.yaml"):
        Recipe.read(tmp_path / "bad.yaml")


def test_curriculum_rises_and_masks_keep_a_sensor():
    schedule, rng = Schedule(), np.random.default_rng(0)
    assert [schedule.drop_chance(t) for t in (0, 0.2, 0.4, 1)] == pytest.approx([0.2, 0.5, 0.8, 0.8])
    masks = [schedule.draw_mask(1.0, 4, rng) for _ in range(4000)]
    missing = np.bincount([4 - sum(m) for m in masks], minlength=5) / 4000
    np.testing.assert_allclose(missing, [0.2, 0.36, 0.32, 0.12, 0], atol=0.03)
    assert {schedule.draw_mask(1.0, 1, rng) for _ in range(50)} == {(True,)}


def test_noise_ends_when_the_gate_freezes_and_ratio_grows_to_its_maximum():
    schedule, rng = Schedule(), np.random.default_rng(0)
    assert schedule.tau(0) == 1 and schedule.tau(0.2) == pytest.approx(0.5) and schedule.tau(0.4) == schedule.tau(1) == 0
    assert max(schedule.draw_ratio(0.0, rng) for _ in range(500)) <= 0.08
    late = [schedule.draw_ratio(1.0, rng) for _ in range(500)]
    assert 0.75 < max(late) <= 0.8 and min(late) < 0.05
    assert schedule.learning_rate(0) < 0.1 and schedule.learning_rate(0.05) == 1 and schedule.learning_rate(1) == pytest.approx(0)


# windows

def test_windows_are_repeatable_and_augmented():
    specs, one = recipe().specs, recordings()[0]
    a, b, c = (random_window(one, specs, Augment(), np.random.default_rng(s)) for s in (1, 1, 2))
    assert all(np.array_equal(a[n], b[n]) for n in a) and not np.array_equal(a["imu"], c["imu"])


def test_no_augmentation_gives_the_window_that_is_judged():
    off = Augment(partial=0, lag_s=0, speed=0, imu_rotation_deg=0, imu_scale=0, imu_jitter=0, camera_shift=0,
                  camera_zoom=0, camera_depth_scale=0, erase=0)
    specs, one = recipe().specs, recordings()[0]
    x = random_window(one, specs, off, np.random.default_rng(0))
    for name, expected in whole_window(one, specs).items():
        np.testing.assert_allclose(x[name], expected, atol=1e-6)


def test_specs_are_measured_once_and_kept():
    specs = RecordingExamples(recordings()).measured(recipe().specs)
    rows = np.concatenate([r.streams["imu"].rows for r in recordings()])
    np.testing.assert_allclose(specs[0].mean, rows.mean(0), atol=1e-5)
    np.testing.assert_allclose(specs[0].std, rows.std(0), atol=1e-5)
    assert RecordingExamples(recordings(groups=(1,))).measured(specs) == specs


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


# trainer

def test_training_learns_and_pruned_widths_and_single_sensors_with_it():
    trainer = Trainer(recipe(epochs=60, learning_rate=3e-3, batch=6), RecordingExamples(recordings((1, 2))), CLASSES)
    while trainer.epoch < 60:
        list(trainer.run_epoch())
    held = RecordingExamples(recordings((3,), each=20))
    logits = predict_logits(trainer.average, held, all_masks(2), (0.0, 0.5))
    right = {mask: [(z.argmax(1) == held.labels).mean() for z in rows] for mask, rows in logits.items()}
    assert min(min(row) for row in right.values()) > 0.8, right


def learn(trainer):
    """All the epochs of a trainer."""
    while trainer.epoch < trainer.recipe.epochs:
        list(trainer.run_epoch())
    return trainer


def test_dense_teacher_draws_the_full_width_answer_to_its_own():
    """Towards one that has learnt other labels, in place of the examples' own."""
    examples = RecordingExamples(recordings(groups=(1, 2)))
    plain = {**RECIPE, "epochs": 40, "batch": 6, "learning_rate": 3e-3, "second_pass": "none"}
    teacher = Trainer(Recipe.from_dict(plain), examples, CLASSES)
    teacher.examples.labels = (examples.labels + 1) % 3
    learn(teacher)
    examples = RecordingExamples(recordings(groups=(1, 2)))
    answers = {}
    for weight in (0.0, 30.0):
        trainer = learn(Trainer(Recipe.from_dict({**plain, "dense_distill": weight}), examples, CLASSES,
                                dense_teachers=[teacher.average]))
        mask = (True, True)
        logits = predict_logits(trainer.average, examples, [mask], [0.0])["11"][0]
        answers[weight] = (logits.argmax(1) == examples.labels).mean()
    assert answers[0.0] > 0.8 and answers[30.0] < 0.2
    assert not any(p.requires_grad for p in trainer.dense_teachers[0].parameters())


def test_dense_teacher_of_other_data_is_refused_by_name(made_up, tmp_path):
    train(Recipe.from_dict({**RECIPE, "epochs": 1, "second_pass": "none"}), tmp_path / "dense", console=QUIET)
    taught = {**RECIPE, "epochs": 1, "dense_teachers": [str(tmp_path / "dense")]}
    train(Recipe.from_dict(taught), tmp_path / "taught", console=QUIET)
    assert (tmp_path / "taught" / "model.safetensors").exists()
    with pytest.raises(CheckpointError, match="dense teacher 1, modality 'imu' mean.*same data"):
        train(Recipe.from_dict({**taught, "train_groups": [1]}), tmp_path / "other", console=QUIET)
    with pytest.raises(CheckpointError, match="dense teacher 1, modalities"):
        train(Recipe.from_dict({**taught, "modalities": RECIPE["modalities"][:1], "model": {**RECIPE["model"], "tokenizer": {}}}),
              tmp_path / "fewer", console=QUIET)
    with pytest.raises(CheckpointError, match="nowhere"):
        train(Recipe.from_dict({**taught, "dense_teachers": ["nowhere"]}), tmp_path / "none", console=QUIET)


def test_moved_frames_are_those_of_an_affine_warp():
    rng = np.random.default_rng(0)
    frames = rng.random((3, 2, 24, 32)).astype(np.float32)
    augment = Augment(camera_shift=0.1, camera_zoom=0.2, camera_depth_scale=0.0)
    moved = windows_module._move(frames, augment, np.random.default_rng(4))
    rng = np.random.default_rng(4)
    zoom = 1 + rng.uniform(-0.2, 0.2)
    dx, dy = rng.uniform(-0.1, 0.1, 2) * (32, 24)
    matrix = np.array([[zoom, 0, (1 - zoom) * 16 + dx], [0, zoom, (1 - zoom) * 12 + dy]])
    warped = np.stack([cv2.warpAffine(f.transpose(1, 2, 0), matrix, (32, 24), flags=cv2.INTER_NEAREST) for f in frames])
    assert (moved == warped.transpose(0, 3, 1, 2)).mean() > 0.95  # the other rounds in steps of a 32nd


def test_gate_learns_until_it_is_frozen():
    trainer = Trainer(recipe(epochs=10), RecordingExamples(recordings((1, 2))), CLASSES)
    seen = [trainer.model.gate.static.detach().clone()]
    while trainer.epoch < 10:
        list(trainer.run_epoch())
        seen.append(trainer.model.gate.static.detach().clone())
    assert not torch.equal(seen[0], seen[3]) and torch.equal(seen[4], seen[10])
    assert torch.equal(trainer.average.gate.static, seen[10])  # ships the order it was trained with


def test_loss_that_is_no_number_stops_with_words(made_up):
    bad = recordings((1, 2))
    bad[0].streams["imu"].rows[:] = np.nan
    specs = [{**m, "mean": [0] * n, "std": [1] * n} for m, n in zip(RECIPE["modalities"], (6, 2))]
    trainer = Trainer(recipe(modalities=specs, schedule={"drop_from": 0, "drop_to": 0}), RecordingExamples(bad), CLASSES)
    with pytest.raises(SentryFuseError, match="training loss in epoch 1, step 1.*1-0-0|training loss in epoch 1.*learning_rate"):
        list(trainer.run_epoch())


# whole runs

def tensors(folder):
    return load_checkpoint(folder)[0].state_dict()


@pytest.mark.parametrize("taught", (False, True))
def test_resumed_run_ends_where_an_unbroken_one_does(made_up, tmp_path, monkeypatch, taught):
    teachers = ()
    if taught:
        teachers = (str(train(recipe(second_pass="none", epochs=1), tmp_path / "teacher", console=QUIET)),)
    ours = recipe(dense_teachers=teachers)
    whole = train(ours, tmp_path / "whole", console=QUIET)
    steps = Trainer.run_epoch

    def killed(self):
        for i, step in enumerate(steps(self)):
            if self.epoch == 1 and i == 1:
                raise KeyboardInterrupt  # in the middle of the second epoch
            yield step

    monkeypatch.setattr(Trainer, "run_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        train(ours, tmp_path / "broken", console=QUIET)
    monkeypatch.setattr(Trainer, "run_epoch", steps)
    broken = train(ours, tmp_path / "broken", resume=True, console=QUIET)
    a, b = tensors(whole), tensors(broken)
    assert all(torch.equal(a[n], b[n]) for n in a)
    read = [list(csv.DictReader((folder / "metrics.csv").open())) for folder in (whole, broken)]
    assert len(read[0]) == 3 and all(row.pop("seconds") for rows in read for row in rows)
    assert read[0] == read[1]
    assert all((float(row["dense_distill"]) > 0) == taught for row in read[0])


def test_metrics_of_a_run_from_before_a_column_existed_go_on_under_all(tmp_path):
    (tmp_path / METRICS_FILE).write_text("epoch,learning_rate,seconds,full,gate\n1,0.1,2.0,0.5,0.25\n2,0.1,2.0,0.4,0.2\n")
    metrics = Metrics(tmp_path, 1)
    metrics.write(2, {"full": 0.3, "dense_distill": 0.125})
    metrics.close()
    rows = list(csv.DictReader((tmp_path / METRICS_FILE).open()))
    assert [(r["epoch"], r["full"], r["gate"], r["dense_distill"]) for r in rows] == [("1", "0.5", "0.25", ""),
                                                                                     ("2", "0.3", "", "0.125")]


def test_seed_decides_the_result(made_up, tmp_path):
    a, b, c = (tensors(train(recipe(epochs=1, seed=seed), tmp_path / name, console=QUIET))
               for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    assert all(torch.equal(a[n], b[n]) for n in a) and not torch.equal(a["readout.value.weight"], c["readout.value.weight"])


def test_resume_with_another_recipe_is_refused_by_name(made_up, tmp_path):
    train(recipe(epochs=1), tmp_path, console=QUIET)
    with pytest.raises(CheckpointError, match="epochs, learning_rate"):
        train(recipe(epochs=2, learning_rate=1e-2), tmp_path, resume=True, console=QUIET)


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
    right = (predict_logits(engine.model, held, [(True, True)], [0.0])["11"][0].argmax(1) == held.labels).mean()
    assert right == pytest.approx(engine.info["metrics"]["validation_accuracy"]["11"][0], abs=1e-4)


def test_all_groups_trained_on_takes_temperatures_from_other_runs(made_up, tmp_path):
    folds = [train(recipe(epochs=1, train_groups=[g], validation_groups=[3 - g]), tmp_path / str(g), console=QUIET)
             for g in (1, 2)]
    both = recipe(epochs=1, train_groups=[1, 2], validation_groups=[])
    whole = train(both, tmp_path / "all", calibrate_from=folds, console=QUIET)
    info = load_checkpoint(whole)[1]
    pooled = [load_checkpoint(f)[1]["metrics"]["validation_accuracy"]["11"][0] for f in folds]
    assert info["metrics"]["cross_validation_accuracy"]["11"][0] == pytest.approx(np.mean(pooled), abs=1e-4)
    assert len(info["temperatures"]["11"]) == 3 and info["data"]["calibrated_on"] == ["1", "2"]
    with pytest.raises(DataError, match="calibrate-from"):
        train(recipe(), tmp_path / "x", calibrate_from=[tmp_path / "nowhere"], console=QUIET)


# windows cut beforehand

def window_set(groups=("train", "val"), each=4):
    """The made-up recordings as windows that were cut without mean and std."""
    specs, found = recipe().specs, recordings((1, 2) if len(groups) > 1 else (3,), each)
    inputs = stack([whole_window(r, specs) for r in found])
    return WindowSet(inputs, np.array([r.label for r in found]), np.array([groups[r.group % len(groups)] for r in found]),
                     np.arange(len(found)), tuple(r.name for r in found), np.ones(len(found)))


def test_window_set_trains_to_the_same_numbers_as_windows_of_specs_with_mean_and_std():
    windows = WindowExamples(window_set())
    specs = windows.measured(recipe().specs)
    given = windows.inputs(np.arange(len(windows)), specs)
    for i, one in enumerate(recordings((1, 2))):
        for name, expected in whole_window(one, specs).items():
            np.testing.assert_allclose(given[name][i], expected, atol=1e-5)
    assert all(abs(x.mean()) < 0.05 and abs(x.std() - 1) < 0.05 for x in given.values())


def test_augmented_windows_are_repeatable_and_keep_what_is_empty_empty():
    shapes = {"cam": ("camera", (2, 3, 6, 8), "rgb"), "imu": ("imu", (40, 6), ""), "mic": ("audio", (20, 10), ""),
              "lid": ("lidar", (2, 4, 6, 8), ""), "deep": ("camera", (2, 1, 6, 8), "depth_m")}
    specs = [ModalitySpec(n, kind, 1.0, shape, encoding) for n, (kind, shape, encoding) in shapes.items()]
    rng = np.random.default_rng(0)
    inputs = {s.name: rng.random((16, *s.shape), np.float32) + 0.5 for s in specs}
    for x in inputs.values():
        x[:, 0] = 0  # the first frame or step is empty
    before = {n: x.copy() for n, x in inputs.items()}
    a, b, c = (augment_windows(inputs, specs, Augment(turn=1.0), np.random.default_rng(s)) for s in (1, 1, 2))
    for name, x in inputs.items():
        assert np.array_equal(x, before[name]) and np.array_equal(a[name], b[name]) and not np.array_equal(a[name], c[name])
        assert not a[name][:, 0].any() and a[name].dtype == np.float32 and (a[name][:, 1:] != x[:, 1:]).any()
    off = Augment(mirror=0, light=0, contrast=0, colour=0, camera_noise=0, camera_depth_scale=0, imu_rotation_deg=0, imu_scale=0,
                  imu_jitter=0, loudness=0, bands_share=0, lidar_scale=0, lidar_noise=0, lidar_drop=0, erase=0)
    for name, x in augment_windows(inputs, specs, off, rng).items():
        np.testing.assert_allclose(x, inputs[name], atol=1e-6)


def test_mirrored_and_turned_windows_move_every_channel_and_frame_alike():
    spec = ModalitySpec("lid", "lidar", 1.0, (2, 4, 3, 8))
    x = np.zeros((32, 2, 4, 3, 8), np.float32)
    x[..., 2] = 1.0
    quiet = Augment(turn=1.0, mirror=0.5, lidar_scale=0, lidar_noise=0, lidar_drop=0, erase=0)
    out = augment_windows({"lid": x}, [spec], quiet, np.random.default_rng(0))["lid"]
    columns = out.any(axis=(1, 2, 3))
    assert (columns.sum(1) == 1).all() and len(set(columns.argmax(1).tolist())) > 4
    assert (out.sum(-1) == 1).all()


# classes

def test_rare_and_unvalidated_classes_are_said_and_an_absent_one_is_refused():
    def of(labels):
        return WindowExamples(WindowSet({}, np.array(labels), np.array(["train"] * len(labels)), np.zeros(len(labels), int),
                                        ("a",), np.zeros(len(labels))))
    remarks = check_classes(CLASSES, of([0] * 60 + [1] * 10 + [2] * 30), of([0, 2]), recipe())
    assert "10 examples of fast, 60 of slow" in remarks[0] and "fast" in remarks[1] and "validation" in remarks[1]
    assert not check_classes(CLASSES, of([0, 1, 2]), of([0, 1, 2]), recipe())
    with pytest.raises(DataError, match="none of class fast"):
        check_classes(CLASSES, of([0, 2]), None, recipe())


def test_modality_that_no_example_has_is_refused():
    windows = replace(window_set(), present={"imu": np.ones(24, bool), "wheel": np.zeros(24, bool)})
    with pytest.raises(DataError, match="no data at all of wheel"):
        check_modalities(WindowExamples(windows), recipe())
    check_modalities(RecordingExamples(recordings()), recipe())


def test_class_weights_are_of_mean_one_over_the_examples():
    labels = np.array([0] * 90 + [1] * 10)
    weights = class_weights(labels, 2, 1.0).numpy()
    assert weights[1] / weights[0] == pytest.approx(9) and weights[labels].mean() == pytest.approx(1)
    assert (class_weights(labels, 2, 0.0).numpy() == 1).all()


# several processes

def test_two_ranks_train_one_network(tmp_path):
    """torchrun's variables, two real processes, gloo: both end with the same weights, and only the first writes."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import test_training as t, torch\n"
        "from pathlib import Path\n"
        "from sentryfuse_ros.training import run\n"
        "class Source: PROVENANCE, CLASSES = 'made up', t.CLASSES\n"
        "Source.load = staticmethod(lambda specs, groups: t.recordings(groups))\n"
        "run.dataset = lambda name: Source\n"
        "trainers = []\n"
        "init = t.Trainer.__init__\n"
        "def keep(self, *a, **k): init(self, *a, **k); trainers.append(self)\n"
        "t.Trainer.__init__ = keep\n"
        "run.train(t.recipe(epochs=2, batch=6), Path(sys.argv[2]), console=t.QUIET)\n"
        "print(float(sum(p.double().abs().sum() for p in trainers[0].model.parameters())))\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    ranks = [subprocess.Popen([sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path / "out")], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env={**os.environ, "WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank),
                                   "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}) for rank in range(2)]
    said = [rank.communicate(timeout=120) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], said
    assert said[0][0].split()[-1] == said[1][0].split()[-1]
    assert load_checkpoint(tmp_path / "out") and len((tmp_path / "out" / "metrics.csv").read_text().splitlines()) == 3


# a run is not taken for another

def test_a_second_run_in_the_folder_of_a_first_is_refused_without_resume(made_up, tmp_path):
    train(recipe(epochs=1), tmp_path, console=QUIET)
    before = (tmp_path / "model.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match="a run that is there already.*--resume"):
        train(recipe(epochs=1, seed=9), tmp_path, console=QUIET)
    assert (tmp_path / "model.safetensors").read_bytes() == before


def test_resume_on_other_examples_is_refused_by_name(made_up, tmp_path, monkeypatch):
    train(recipe(epochs=1), tmp_path, console=QUIET)
    source = run_module.dataset("made_up")
    monkeypatch.setattr(source, "CLASSES", ("slow", "up", "fast"))
    monkeypatch.setattr(run_module, "dataset", lambda name: source)
    with pytest.raises(CheckpointError, match="another data set .differs in classes"):
        train(recipe(epochs=1), tmp_path, resume=True, console=QUIET)


def test_temperatures_rest_on_windows_that_have_the_sensors_of_their_mask():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 400)
    sure = 4.0 * np.eye(3)[labels] + rng.standard_normal((400, 3))
    blank = np.where(np.arange(400)[:, None] < 200, sure, 5 * rng.standard_normal((400, 3)))
    present = np.ones((400, 2), bool)
    present[200:, 1] = False
    given = {"labels": labels, "present": present, "10": sure[None], "01": blank[None]}
    only_seen = {"labels": labels[:200], "01": blank[None, :200]}
    assert run_module._temperatures(given)["01"] == run_module._temperatures(only_seen)["01"]
    assert run_module._accuracies(given)["01"] == run_module._accuracies(only_seen)["01"]
    present[:, 1] = False
    assert run_module._temperatures(given)["01"] == [1.0] and run_module._accuracies(given)["01"] == [None]
