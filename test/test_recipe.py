"""Training recipes and schedules: what is refused and what the errors say, and how a training changes in its course."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from made_up_training import RECIPE, recipe

from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.training.recipe import Recipe
from sentryfuse_ros.training.schedule import Schedule
from sentryfuse_ros.training.stem_recipe import StemTraining
from sentryfuse_ros.training.stream_recipe import StreamTraining


@pytest.mark.parametrize(
    "change, word",
    [
        ({"epochs": 0}, "epochs"),
        ({"learning_rte": 1}, "learning_rte"),
        ({"augment": {"wobble": 1}}, "wobble"),
        ({"schedule": 3}, "schedule"),
        ({"validation_groups": [1]}, "validation_groups"),
        ({"test_groups": [3]}, "test_groups"),
        ({"train_groups": []}, "train_groups"),
    ],
)
def test_recipe_names_the_key_that_is_wrong(change, word):
    with pytest.raises(ParameterError, match=word):
        recipe(**change)


@pytest.mark.parametrize(
    "line, key",
    [
        ("batch: 2.5", "batch"),
        ("batch: true", "batch"),
        ("seed: -1", "seed"),
        ("seed: abc", "seed"),
        ("seed:", "seed"),
        ("threads: 1.5", "threads"),
        ("learning_rate: fast", "learning_rate"),
        ("learning_rate: .inf", "learning_rate"),
        ("distill: nan", "distill"),
        ("weight_decay: -1e-2", "weight_decay"),
        ("label_smoothing: 2", "label_smoothing"),
        ("teacher_rate: 2", "teacher_rate"),
        ("max_grad_norm: 0", "max_grad_norm"),
        ("dataset: 3", "dataset"),
        ("modalities: 3", "modalities"),
        ("modalities: [3]", "modalities"),
        ("model: [1]", "model"),
        ("modalities: [{name: imu}, {name: imu}]", "modalities"),
        ("train_groups: train", "train_groups"),
        ("train_groups: [[1]]", "train_groups"),
        ("1: 2\na: 3", "keys"),
        ("schedule: []", "schedule keys"),
        ("schedule: {freeze_at: 0}", "schedule freeze_at"),
        ("schedule: {ratio_until: 1.1}", "schedule ratio_until"),
        ("schedule: {warmup: 1}", "schedule warmup"),
        ("schedule: {drop_to: 1.5}", "schedule drop_to"),
        ("schedule: {missing: 0.5}", "schedule missing"),
        ("schedule: {missing: []}", "schedule missing"),
        ("schedule: {missing: [a]}", "schedule missing"),
        ("augment: {imu_jitter: -1}", "augment imu_jitter"),
        ("augment: {erase: 1.5}", "augment erase"),
        ("augment: {speed: x}", "augment speed"),
        ("augment: {swapped_channels: {imu: [1, 2]}}", "augment swapped_channels imu"),
        ("augment: {swapped_channels: {wheel: [1, -1]}}", "augment swapped_channels wheel"),
        ("augment: {swapped_channels: {wheels: [2, 1]}}", "augment swapped_channels wheels"),
        ("augment: {series_scale: {wheels: 0.5}}", "augment series_scale"),
        ("augment: {series_shift: {imu: 0.5}}", "augment series_shift"),
    ],
)
def test_recipe_error_names_the_key_the_value_seen_and_what_is_expected(line, key):
    with pytest.raises(ParameterError, match=rf"^training recipe {key}(\[0\])?: saw .+, expected .+; correct the training YAML"):
        Recipe.from_dict({**RECIPE, **yaml.safe_load(line)})


@pytest.mark.parametrize("line", ["dataset: 2024_05_03", "dataset: off", "classes: [yes, no]", "train_groups: [2024-05-03]"])
def test_a_name_that_yaml_takes_for_something_else_is_to_be_put_in_quotes(line):
    with pytest.raises(ParameterError, match="text .*only in quotes"):
        Recipe.from_dict({**RECIPE, **yaml.safe_load(line)})


def test_a_section_of_which_every_key_is_commented_out_has_its_defaults():
    empty = Recipe.from_dict({**RECIPE, **yaml.safe_load("model:\naugment:\nschedule:\nelastic:\nclasses:")})
    assert empty == Recipe.from_dict({key: value for key, value in RECIPE.items() if key != "model"})


def test_recipe_takes_numbers_that_yaml_reads_as_text_and_keeps_whole_ones():
    text = "{learning_rate: 1e-3, weight_decay: 1e-2, distill: 1e-1, max_grad_norm: 2, augment: {imu_jitter: 1e-3}}"
    read = recipe(**yaml.safe_load(text), schedule={"missing": ["1e-1"]})
    assert (read.learning_rate, read.weight_decay, read.distill, read.augment.imu_jitter) == (1e-3, 1e-2, 0.1, 1e-3)
    assert read.schedule.missing == (0.1,) and type(read.max_grad_norm) is int  # a state compares the recipe's JSON
    assert Recipe.from_dict(read.to_dict()) == read


@pytest.mark.parametrize("name", ["train_ground", "train_husky", "train_utd_mhad"])
def test_shipped_recipes_are_read_as_they_are_written(name):
    path = Path(__file__).parents[1] / "config" / f"{name}.yaml"
    given, read = yaml.safe_load(path.read_text()), json.loads(json.dumps(Recipe.read(path).to_dict()))
    for key, value in given.items():
        assert read[key] == value or value.items() <= read[key].items()


@pytest.mark.parametrize(
    "kind, remedy",
    [(Recipe, "train --example"), (StreamTraining, r"config/train_\w+.yaml"), (StemTraining, r"config/train_\w+.yaml")],
)
def test_recipe_file_that_is_missing_or_no_yaml_or_no_mapping(tmp_path, kind, remedy):
    with pytest.raises(ParameterError, match=rf"none.yaml: saw No such file.*{remedy}"):
        kind.read(tmp_path / "none.yaml")
    for text, seen in (("a: [1", "while parsing"), ("- a", "list"), ("", "NoneType")):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(ParameterError, match=rf"(?s)bad.yaml: saw {seen}.*{remedy}"):
            kind.read(tmp_path / "bad.yaml")


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
    assert max(schedule.draw_ratio(0.0, rng) for _ in range(500)) <= 0.09
    late = [schedule.draw_ratio(1.0, rng) for _ in range(500)]
    assert 0.85 < max(late) <= 0.9 and min(late) < 0.05
    assert schedule.learning_rate(0) < 0.1 and schedule.learning_rate(0.05) == 1 and schedule.learning_rate(1) == pytest.approx(0)


def test_single_keys_are_changed_on_the_command_line(tmp_path):
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    changes = ["epochs=7", "elastic.epochs=2", "train_groups=[1]", "model.tokenizer.imu.stem_channels=4", "learning_rate=1e-4"]
    read = Recipe.read(tmp_path / "recipe.yaml", changes)
    assert (read.epochs, read.elastic.epochs, read.train_groups, read.learning_rate) == (7, 2, (1,), 1e-4)
    assert read.model["tokenizer"]["imu"]["stem_channels"] == 4 and read.batch == RECIPE["batch"]


@pytest.mark.parametrize(
    "change, words",
    [
        ("epochs", "KEY=VALUE"),
        ("=3", "KEY=VALUE"),
        ("epochs=[", "KEY=VALUE"),
        ("epochs.more=3", "a section called epochs"),
        ("epoch=3", "perhaps 'epochs'"),
        ("epochs=0", "epochs: saw 0"),
    ],
)
def test_a_change_on_the_command_line_that_cannot_be_made_is_named(tmp_path, change, words):
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    with pytest.raises(ParameterError, match=words):
        Recipe.read(tmp_path / "recipe.yaml", [change])
