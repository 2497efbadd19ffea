"""The runs of the pruning study: their order, their names, what each specifies, and how each is trained."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_up_task import installed
from model_family import FAMILY
from safetensors import safe_open
from safetensors.torch import save
from tiny_model import tiny_config

from benchmarks.pruning import runs, tasks
from benchmarks.pruning.archive import read_archive
from benchmarks.pruning.examples import load_examples
from benchmarks.pruning.runs import Run
from benchmarks.pruning.tasks import ordinary_attention
from benchmarks.pruning.training import StudyRecipe, StudyTrainer, recipe_of
from benchmarks.pruning.variants import GROUPS, VARIANTS
from sentryfuse_ros.errors import CheckpointError, ParameterError
from sentryfuse_ros.masks import all_masks
from sentryfuse_ros.model.config import FuseConfig
from sentryfuse_ros.model.fuse import SentryFuse
from sentryfuse_ros.model.sites import all_sites, live_sites
from sentryfuse_ros.training.state import STATE_FILE, load_state, save_state

ARCHIVE = Path(__file__).parents[1] / "benchmarks" / "results" / "pruning_nets.jsonl"


@pytest.fixture
def made_up(monkeypatch):
    """The made-up set as one more task."""
    yield from installed(monkeypatch)


# runs


def test_committed_results_are_those_of_todays_runs():
    """Otherwise the page could not be rebuilt from them: a run's name changes with what the study specifies of it."""
    archive = read_archive(ARCHIVE)
    asked = runs.all_runs(tuple(tasks.TASKS), ("early", "bottleneck", "cross_modal"), (0, 1, 2), tuple(VARIANTS))
    assert len(asked) == 228 and {run.name for run in asked} == set(archive)


def test_the_runs_that_say_most_come_first():
    order = runs.all_runs(("utd_mhad", "borealtc", "borealtc_fold_0"), ("early", "bottleneck"), (0, 1), tuple(VARIANTS))
    explaining = [v for v in VARIANTS if VARIANTS[v].explains]
    everywhere = len(VARIANTS) - len(GROUPS) - len(explaining)
    others = 2 * 2 * (len(explaining) + len(GROUPS))
    assert len(order) == len(set(order)) == 2 * 2 * 2 * everywhere + others + 2
    assert all(n.backbone == "early" for n in order if n.variant in explaining)
    assert all(n.backbone == "bottleneck" for n in order if n.variant in GROUPS)
    assert {(n.variant, n.seed) for n in order[:8]} == {("joint", 0), ("normal", 0)}
    assert order[8] == Run("borealtc_fold_0", "early", "joint", 0)
    figures = order[:-others]
    assert not any(n.variant in (*GROUPS, *explaining) for n in figures)
    assert [n.seed for n in figures] == sorted(n.seed for n in figures)


def test_names_of_runs_differ_where_their_specification_does_and_nowhere_else(monkeypatch):
    one = Run("borealtc", "early", "joint", 0)
    names = {run.name for run in (one, one._replace(variant="normal"), one._replace(quick=True), one._replace(seed=1))}
    assert len(names) == 4
    before, normal = one.name, one._replace(variant="normal").name
    with monkeypatch.context() as patch:
        patch.setitem(VARIANTS, "normal", replace(VARIANTS["normal"], recipe={"second_pass": "none", "weight_decay": 0.1}))
        assert one.name == before and one._replace(variant="normal").name != normal
    monkeypatch.setitem(tasks.NETWORK, "layers", 3)
    assert one.name != before


def test_dense_attention_is_the_same_recipe_except_for_attention():
    pair = [Run("borealtc", "early", v, 0) for v in ("joint", "dense_attention")]
    ours, dense = map(recipe_of, pair)
    assert dense.model["num_kv_heads"] == 8 and dense.model["kv_stride"] == {} and ours.model["num_kv_heads"] == 4
    assert {**ours.to_dict(), "model": 0} == {**dense.to_dict(), "model": 0}


def test_groups_of_a_sensor_leave_the_query_heads_alone():
    for name in GROUPS:
        recipe = recipe_of(Run("borealtc", "bottleneck", name, 0))
        config = FuseConfig.from_dict({**recipe.model, "modalities": [s.to_dict() for s in recipe.specs], "classes": ("a", "b")})
        assert config.heads == 8
    worst = recipe_of(Run("borealtc", "bottleneck", "groups_worst", 0)).model
    assert worst["num_kv_heads"] == {"gyroscope": 1, "accelerometer": 1, "wheel_velocity": 4, "motor_current": 1}


@pytest.mark.parametrize("change", ({"second_pass": "some"}, {"gate": "open"}))
def test_recipe_names_the_switch_that_is_wrong(change):
    with pytest.raises(ParameterError, match=f"{next(iter(change))}.*, "):
        StudyRecipe.from_dict({"dataset": "x", "modalities": [{}], **change})


def trainer_of(variant, **changes):
    examples, classes = load_examples("made_up", "train")
    trainer = StudyTrainer(replace(recipe_of(Run("made_up", "cross_modal", variant, 0)), **changes), examples, classes)
    before = {n: p.detach().clone() for n, p in trainer.ema_model.gate.named_parameters()}
    losses = [step for _ in range(trainer.recipe.epochs) for step in trainer.run_epoch()]
    return trainer, before, losses


def gate_scores(trainer):
    return [torch.cat([s.flatten() for s in trainer.ema_model.gate(torch.tensor(m))]) for m in all_masks(3)]


def test_controls_train_as_they_are_described(made_up):
    joint, before, losses = trainer_of("joint")
    scores = gate_scores(joint)
    assert not torch.equal(scores[0], scores[1]) and all(step.pruned > 0 for step in losses)

    blind, before, losses = trainer_of("mask_blind")
    scores = gate_scores(blind)
    assert all(torch.equal(scores[0], s) for s in scores) and not torch.equal(blind.ema_model.gate.static, before["static"])
    assert set(blind.teacher.state_dict()) == {"111.heads", "111.channels"}
    assert (blind.teacher.target((True,) * 3)[0].sum(1) > 0).all()  # those of streams that were absent last, too

    fixed, before, losses = trainer_of("fixed_order")
    assert all(torch.equal(p, before[n]) for n, p in fixed.ema_model.gate.named_parameters())
    scores = gate_scores(fixed)
    assert torch.equal(scores[0], scores[1]) and len(scores[0].unique()) == len(scores[0])

    for variant in ("normal", "self_distilled"):
        plain, before, losses = trainer_of(variant)
        assert (
            all(torch.equal(p, before[n]) for n, p in plain.ema_model.gate.named_parameters()) and not plain.teacher.state_dict()
        )
        assert all((step.pruned > 0 and step.distill > 0) == (variant == "self_distilled") for step in losses)


def test_second_pass_of_full_width_is_the_first_one_except_for_dropout(made_up):
    examples, classes = load_examples("made_up", "train")
    recipe = recipe_of(Run("made_up", "early", "self_distilled", 0))
    quiet = StudyRecipe.from_dict({**recipe.to_dict(), "model": {**recipe.model, "dropout": 0.0}})
    step = next(StudyTrainer(quiet, examples, classes).run_epoch())
    assert step.pruned == step.full and step.distill == pytest.approx(0, abs=1e-6)


def test_training_that_began_before_a_recipe_key_existed_can_be_resumed(made_up, tmp_path):
    trainer, _, _ = trainer_of("joint", epochs=1)
    save_state(trainer, tmp_path)
    file = tmp_path / STATE_FILE
    with safe_open(file, framework="pt") as saved:
        metadata, tensors = saved.metadata(), {n: saved.get_tensor(n) for n in saved.keys()}
    old = {k: v for k, v in json.loads(metadata["recipe"]).items() if k not in ("second_pass", "ema_decay", "spend_freed")}
    file.write_bytes(save(tensors, {**metadata, "recipe": json.dumps(old)}))
    fresh = StudyTrainer(trainer.recipe, trainer.examples, trainer.model.config.classes)
    load_state(fresh, tmp_path)
    assert fresh.epoch == 1
    with pytest.raises(CheckpointError, match="second_pass"):
        load_state(
            StudyTrainer(replace(trainer.recipe, second_pass="none"), trainer.examples, trainer.model.config.classes), tmp_path
        )


# ordinary attention


@pytest.mark.parametrize("name", FAMILY)
def test_dense_attention_is_the_same_network_with_all_keys_and_a_kv_head_per_head(name):
    no_camera = (False, True, True)
    config = tiny_config(**FAMILY[name])
    dense = ordinary_attention(config)
    assert dense.heads == config.heads and {s.num_kv_heads for s in all_sites(dense)} == {config.heads}
    lengths = SentryFuse(dense).lengths
    live = live_sites(dense, lengths, no_camera)
    extra = 0 if name == "early" else {"bottleneck": 2, "cross_modal": lengths[1]}[name]
    assert live[-1].keys == lengths[2] + (lengths[1] if name == "early" else extra)
