"""The pruning benchmark: its figures on made-up cells by hand, and its trainings."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from made_up_application import installed
from safetensors import safe_open
from safetensors.torch import save

from benchmarks.pruning import applications, nets, summary, tables
from benchmarks.pruning.applications import APPLICATIONS, load_examples
from benchmarks.pruning.conditions import RATIOS, conditions
from benchmarks.pruning.nets import Net, recipe_of
from benchmarks.pruning.people import PeopleExamples, another
from benchmarks.pruning.variants import GROUPS, USUAL, VARIANTS
from sentryfuse_ros.datasets.recording import Recording, Stream
from sentryfuse_ros.errors import CheckpointError, DataError, ParameterError
from sentryfuse_ros.masks import all_masks
from sentryfuse_ros.model.config import FuseConfig
from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.training.examples import RecordingExamples
from sentryfuse_ros.training.recipe import Recipe
from sentryfuse_ros.training.state import STATE_FILE, load_state, save_state
from sentryfuse_ros.training.trainer import Trainer


@pytest.fixture
def made_up(monkeypatch):
    """The made-up set as one more application."""
    yield from installed(monkeypatch)


# conditions


def test_conditions_weigh_masks_as_chance_has_it():
    two = conditions(2)
    assert set(two) == {"all", "one_missing", "dropout_30", "dropout_50"} and two["one_missing"] == {"10": 0.5, "01": 0.5}
    assert two["dropout_30"] == pytest.approx({"11": 0.49 / 0.91, "10": 0.21 / 0.91, "01": 0.21 / 0.91})
    four = conditions(4)
    assert len(four["two_missing"]) == 6 and "0000" not in four["dropout_50"]
    assert all(sum(w.values()) == pytest.approx(1) for w in four.values())


def test_the_whole_comparison_has_enough_combinations():
    sensors = [len(a.names) for a in APPLICATIONS.values() if a.pruning]
    assert sum(len(conditions(m)) for m in sensors) * 3 * len(RATIOS) >= 144


def test_people_are_others_in_training_only():
    rng = np.random.default_rng(0)
    joints = rng.standard_normal((30, 20, 3)).astype(np.float32)
    streams = {
        "skeleton": Stream((np.arange(1, 31) * 10**9) // 30, joints.reshape(30, 60)),
        **{
            n: Stream((np.arange(1, 51) * 10**9) // 50, joints.reshape(-1, 3)[k : 50 + k])
            for k, n in enumerate(("gyroscope", "accelerometer"))
        },
    }
    one = Recording("one", 0, 1, streams)
    specs = [ModalitySpec(n, "series", 1.0, (10, c)) for n, c in (("skeleton", 60), ("gyroscope", 3))]
    other = another(one, specs, np.random.default_rng(1))
    assert other.streams["accelerometer"] is streams["accelerometer"]  # not asked for
    # A rotation and a scale: all lengths change by one factor.
    length = [np.linalg.norm(r.streams["gyroscope"].rows, axis=1) for r in (one, other)]
    assert np.ptp(length[1] / length[0]) < 1e-4 and not np.allclose(other.streams["gyroscope"].rows, streams["gyroscope"].rows)
    map_, residual, *_ = np.linalg.lstsq(joints.reshape(-1, 3), other.streams["skeleton"].rows.reshape(-1, 3), rcond=None)
    assert residual.max() < 1e-6 and np.allclose(map_[1, [0, 2]], 0, atol=1e-5) and np.allclose(map_[[0, 2], 1], 0, atol=1e-5)
    assert 0.6 < np.linalg.det(map_) < 1.6 and abs(map_[0, 2]) > 0.01
    examples, plain = PeopleExamples([one]), RecordingExamples([one])
    judged, as_ever = (e.inputs(np.array([0]), specs) for e in (examples, plain))
    assert all(np.array_equal(judged[n], as_ever[n]) for n in judged)
    seen = [e.inputs(np.array([0]), specs, np.random.default_rng(3))["skeleton"] for e in (examples, examples, plain)]
    assert np.array_equal(seen[0], seen[1]) and not np.array_equal(seen[0], seen[2])


# figures on made-up cells


def cell(variant, seed, plans, dense, application="app", backbone="early", **more):
    """A cell of two sensors; plans: name -> accuracy under (both, first only, second only), the same at every ratio."""
    bits = ("11", "10", "01")
    return {
        "net": dict(application=application, backbone=backbone, variant=variant, seed=seed, quick=False),
        "sensors": 2,
        "params": 1,
        "train_s": 1.0,
        "flops": 70,
        "flops_dense_attention": 100,
        "accuracy": dense[0],
        "dense": dict(zip(bits, dense)),
        "whole": {str(r): ["10", "01"] if r < 0.6 else [] for r in RATIOS},
        "test": {p: {str(r): dict(zip(bits, a)) for r in RATIOS} for p, a in plans.items()},
        **more,
    }


FLAT = {c: (0.2, 0.2, 0.2) for c in USUAL}
JOINT = {**FLAT, "gate": (0.8, 0.6, 0.4), "gate_blind": (0.8, 0.5, 0.3), "oracle": (0.8, 0.6, 0.4), "taylor": (0.7, 0.5, 0.3)}
NORMAL = {
    **FLAT,
    "taylor": (0.4, 0.4, 0.4),
    "l1": (0.5, 0.1, 0.1),
    "oracle": (0.4, 0.4, 0.4),
    "taylor_one_plan": (0.4, 0.3, 0.3),
    "l2_one_plan": (0.2, 0.2, 0.2),
    "snip_one_plan": (0.2, 0.2, 0.2),
}


def by_hand():
    return [
        cell("joint", 0, JOINT, (0.9, 0.6, 0.5)),
        cell("normal", 0, NORMAL, (0.95, 0.6, 0.5)),
        cell("mask_blind", 0, {"gate": (0.8, 0.6, 0.4), "gate_blind": (0.7, 0.4, 0.45)}, (0.9, 0.6, 0.5)),
        cell("dense_attention", 0, {"gate": (0.8, 0.6, 0.4)}, (0.92, 0.6, 0.5)),
        cell("groups_2", 0, {"gate": (0.7, 0.5, 0.3)}, (0.85, 0.6, 0.5), backbone="bottleneck", flops=63),
        cell("joint", 1, JOINT, (0.9, 0.6, 0.5)),
        cell("normal", 1, NORMAL, (0.93, 0.6, 0.5)),
        cell("joint", 0, JOINT, (0.9, 0.6, 0.5), backbone="bottleneck"),
        cell("self_distilled", 0, {**FLAT, "snip": (0.6, 0.6, 0.2)}, (0.93, 0.6, 0.5)),
    ]


def test_figures_by_hand():
    found = summary.summarise(by_hand())
    s, basis = found["summary"], found["basis"]
    # taylor: .4 everywhere; l1 is the better one with all sensors but not in the mean
    assert s["strongest_baseline"] == "taylor" and s["combinations"] == 16 and s["seeds"] == 2
    drop = {p: ((1 - p) ** 2 * 0.8 + p * (1 - p) * (0.6 + 0.4)) / (1 - p * p) / 0.4 - 1 for p in (0.3, 0.5)}
    gains = {"all": 0.8 / 0.4 - 1, "one_missing": 0.5 / 0.4 - 1, "dropout_30": drop[0.3], "dropout_50": drop[0.5]}
    assert s["gain_mean_rel"] == pytest.approx(np.mean(list(gains.values())), abs=1e-4)
    assert s["gain_dropout_rel"] == pytest.approx(np.mean([g for n, g in gains.items() if n != "all"]), abs=1e-4)
    assert (basis["gain_dropout_rel"]["combinations"], basis["gain_dropout_rel"]["seeds"]) == (9, 2)
    assert s["gain_missing_rel"] == pytest.approx(0.25) and basis["gain_missing_rel"]["combinations"] == 3
    assert s["gain_mean_rel_early"] == s["gain_mean_rel"] and s["gain_mean_rel_bottleneck"] is None
    # at r = .25 and .5 nothing is pruned where one sensor is missing
    pruned = [g for n, g in gains.items() for r in RATIOS if n != "one_missing" or r > 0.6]
    assert s["gain_mean_rel_where_pruned"] == pytest.approx(np.mean(pruned), abs=1e-4)
    # with all sensors l1 is the better one of the two
    each = [0.8 / 0.5 - 1 if n == "all" else g for n, g in gains.items()]
    assert s["gain_mean_rel_best_each"] == pytest.approx(np.mean(each), abs=1e-4)
    assert basis["gain_mean_rel"]["by_seed"] == {"0": s["gain_mean_rel"], "1": s["gain_mean_rel"]}
    static = {f"dropout_{100 * p:.0f}": ((1 - p) ** 2 * 0.4 + 2 * p * (1 - p) * 0.3) / (1 - p * p) for p in (0.3, 0.5)}
    static |= {"all": 0.4, "one_missing": 0.3}
    ours = {n: 0.4 * (1 + g) for n, g in gains.items()}
    assert s["gain_mean_rel_static"] == pytest.approx(np.mean([ours[n] / static[n] - 1 for n in ours]), abs=1e-4)
    assert s["strongest_static"] == "taylor_one_plan"
    passed = {f"dropout_{100 * p:.0f}": ((1 - p) ** 2 * 0.6 + p * (1 - p) * 0.8) / (1 - p * p) for p in (0.3, 0.5)}
    passed |= {"all": 0.6, "one_missing": 0.4}
    assert s["gain_mean_rel_self_distilled"] == pytest.approx(np.mean([ours[n] / passed[n] - 1 for n in ours]), abs=1e-4)
    assert s["dense_gap_self_distilled_points"] == pytest.approx(3.0)
    assert s["num_kv_heads"] == {
        "groups_2": {
            "flops_of_ours": 0.9,
            "points": pytest.approx(10.0),
            "points_r0": pytest.approx(5.0),
            "applications": 1,
            "seeds": 1,
            "points_r0_by_seed": {"0": pytest.approx(5.0)},
        }
    }
    # one missing: ours .5, trained blind .425, the joint net's blind plan .4; the stronger of the two counts, on seed 0 alone
    assert s["gain_vs_mask_blind_points"] == pytest.approx(7.5) and s["gain_vs_mask_blind_best"] == "mask_blind: gate_blind"
    assert basis["gain_vs_mask_blind_points"] == {"combinations": 3, "seeds": 1, "by_seed": {"0": pytest.approx(7.5)}}
    assert s["kept_r50"] == pytest.approx(0.8 / 0.9, abs=1e-4) and basis["kept_r50"]["combinations"] == 2
    assert s["kept_r70_of_normal"] == pytest.approx(0.8 / 0.94, abs=1e-4)
    assert s["dense_gap_points"] == pytest.approx(4.0) and s["attend_gap_points"] == {"early": pytest.approx(2.0)}
    # Seeds apart: .95 and .93 beside .9; ordinary attention has the first alone.
    assert basis["dense_gap_points"]["by_seed"] == pytest.approx({"0": 5.0, "1": 3.0})
    assert basis["attend_gap_points"]["by_seed"] == {"early": {"0": pytest.approx(2.0)}}
    assert s["flops_saving"] == {"early": 0.3, "bottleneck": 0.3} and s["accuracy_r0"] == {"app": 0.9}


def test_controls_are_compared_on_the_combinations_that_both_have():
    rows = {(r["variant"], r["plan"]): r for r in summary.summarise(by_hand())["plans"]}
    assert rows["joint", "oracle"]["points"] == 0 and rows["joint", "oracle"]["combinations"] == 16
    assert rows["mask_blind", "gate"]["combinations"] == 16 and ("fixed_order", "gate") not in rows
    assert rows["normal", "l1"]["by_ratio"]["0.5"]["ours"] == rows["normal", "taylor"]["by_ratio"]["0.5"]["ours"]


def test_controls_that_explain_stand_beside_the_others_on_the_same_nets():
    late = {name: tuple(x / 2 for x in row) for name, row in JOINT.items()}
    found = summary.summarise([*by_hand(), cell("normal", 0, late, (0.9, 0.6, 0.5), backbone="bottleneck")])
    everywhere, explained = ({(r["variant"], r["plan"]): r for r in found[part]} for part in ("plans", "plans_explained"))
    assert ("self_distilled", "snip") in explained and not any(v == "self_distilled" for v, _ in everywhere)
    # bottleneck counts in the one, early fusion alone in the other
    assert (everywhere["normal", "taylor"]["combinations"], explained["normal", "taylor"]["combinations"]) == (32, 16)
    assert explained["normal", "taylor"]["points"] < everywhere["normal", "taylor"]["points"]
    assert found["explained_on"] == "early"
    assert not summary.summarise(by_hand()[:2])["plans_explained"]


def test_nets_pruned_further_in_training_are_compared_with_the_same_baseline():
    further = cell("to_90", 1, {"gate": (0.8, 0.6, 0.6)}, (0.9, 0.6, 0.5))
    found = summary.summarise([*by_hand(), further])
    rel = {p: ((1 - p) ** 2 * 0.8 + 2 * p * (1 - p) * 0.6) / (1 - p * p) / 0.4 - 1 for p in (0.3, 0.5)}
    assert found["summary"]["gain_mean_rel_to_90"] == pytest.approx((1.0 + 0.5 + rel[0.3] + rel[0.5]) / 4, abs=1e-4)
    assert found["basis"]["gain_mean_rel_to_90"]["seeds"] == 1
    assert summary.summarise([further])["summary"]["gain_mean_rel_to_90"] is None


def test_ours_is_of_the_same_seeds_beside_every_plan():
    other = {name: tuple(x / 2 for x in row) for name, row in JOINT.items()}
    several = [
        cell("joint", 0, JOINT, (0.9, 0.6, 0.5)),
        cell("joint", 1, other, (0.5, 0.3, 0.2)),
        cell("normal", 0, NORMAL, (0.95, 0.6, 0.5)),
    ]
    found = summary.summarise(several)
    one = summary.summarise([several[0], several[2]])
    assert found["plans"] == one["plans"] and found["summary"]["gain_mean_rel"] == one["summary"]["gain_mean_rel"]
    # A seed that not all pairs of nets have is not compared with the others.
    more = [cell("joint", 0, JOINT, (0.9, 0.6, 0.5), "app", "late"), cell("normal", 0, NORMAL, (0.9, 0.6, 0.5), "app", "late")]
    both = summary.summarise([*several, cell("normal", 1, NORMAL, (0.95, 0.6, 0.5)), *more])
    assert list(both["basis"]["gain_mean_rel"]["by_seed"]) == ["0"]


def test_one_order_for_all_masks_is_compared_with_the_strongest_of_its_kind():
    blind = {"gate": (0.8, 0.4, 0.4), "gate_blind": (0.7, 0.3, 0.3)}
    found = summary.summarise(
        [
            cell("joint", 0, JOINT, (0.9, 0.6, 0.5)),
            cell("mask_blind", 0, blind, (0.9, 0.6, 0.5)),
            cell("one_order", 0, {"gate": (0.8, 0.5, 0.3)}, (0.9, 0.6, 0.5)),
            cell("fixed_order", 0, {"gate": (0.8, 0.5, 0.42)}, (0.9, 0.6, 0.5)),
        ]
    )["summary"]
    # ours .5 with one missing; mask_blind and the joint net's Taylor .4 each: the first of equals; fixed_order .46
    assert found["gain_vs_one_order_points"] == pytest.approx(10.0) and found["gain_vs_one_order_best"] == "mask_blind: gate"
    assert found["gain_vs_one_order_explained_points"] == pytest.approx(4.0)
    assert found["gain_vs_one_order_explained_best"] == "fixed_order: gate"
    assert found["gain_vs_mask_blind_points"] == pytest.approx(10.0) and found["gain_vs_mask_blind_best"] == "joint: gate_blind"


@pytest.mark.parametrize("some", ([], by_hand()[:1], by_hand()[1:2], by_hand()[3:4]))
def test_a_report_of_few_cells_says_what_is_not_run(some):
    found = summary.summarise(some)
    assert found["summary"]["gain_mean_rel"] is None and found["summary"]["combinations"] == 0
    parts = tables.tables({**found, "command": "x", "asked": 9, "finished": len(some)})
    assert "1" in parts["progress"] or not some
    assert tables.NOT_RUN in parts["figures"] and tables.NOT_RUN in parts["combinations"]


def test_tables_go_between_their_marks_and_a_missing_mark_is_named(tmp_path):
    page = tmp_path / "PRUNING.md"
    page.write_text("before\n<!-- figures -->\nold\n<!-- end figures -->\nafter\n")
    parts = tables.tables({**summary.summarise(by_hand()), "command": "x", "asked": 9, "finished": 7})
    for _ in range(2):
        tables.insert(page, {"figures": parts["figures"]})
    text = page.read_text()
    assert text.startswith("before\n<!-- figures -->\n| figure") and text.endswith("after\n") and "old" not in text
    assert "+7.5 | 3 combinations | 1 |" in text
    with pytest.raises(DataError, match="progress"):
        tables.insert(page, parts)
    with pytest.raises(DataError, match="nowhere.*--docs"):
        tables.insert(tmp_path / "nowhere" / "PRUNING.md", parts)


# nets


def test_the_most_telling_nets_come_first():
    order = nets.nets(("utd_mhad", "borealtc", "borealtc_fold_0"), ("early", "bottleneck"), (0, 1), tuple(VARIANTS))
    explaining = [v for v in VARIANTS if VARIANTS[v].explains]
    everywhere = len(VARIANTS) - len(GROUPS) - len(explaining)
    others = 2 * 2 * (len(explaining) + len(GROUPS))
    assert len(order) == len(set(order)) == 2 * 2 * 2 * everywhere + others + 2
    assert all(n.backbone == "early" for n in order if n.variant in explaining)
    assert all(n.backbone == "bottleneck" for n in order if n.variant in GROUPS)
    assert {(n.variant, n.seed) for n in order[:8]} == {("joint", 0), ("normal", 0)}
    assert order[8] == Net("borealtc_fold_0", "early", "joint", 0)
    figures = order[:-others]
    assert not any(n.variant in (*GROUPS, *explaining) for n in figures)
    assert [n.seed for n in figures] == sorted(n.seed for n in figures)


def test_folders_differ_where_the_recipe_does_and_nowhere_else(monkeypatch):
    one = Net("borealtc", "early", "joint", 0)
    names = {net.name for net in (one, one._replace(variant="normal"), one._replace(quick=True), one._replace(seed=1))}
    assert len(names) == 4
    before, normal = one.name, one._replace(variant="normal").name
    with monkeypatch.context() as patch:
        patch.setitem(VARIANTS, "normal", replace(VARIANTS["normal"], recipe={"second_pass": "none", "weight_decay": 0.1}))
        assert one.name == before and one._replace(variant="normal").name != normal
    monkeypatch.setitem(applications.NET, "layers", 3)
    assert one.name != before


def test_dense_attention_is_the_same_net_but_for_attention():
    pair = [Net("borealtc", "early", v, 0) for v in ("joint", "dense_attention")]
    ours, dense = map(recipe_of, pair)
    assert dense.model["num_kv_heads"] == 8 and dense.model["kv_stride"] == {} and ours.model["num_kv_heads"] == 4
    assert {**ours.to_dict(), "model": 0} == {**dense.to_dict(), "model": 0}


def test_groups_of_a_sensor_leave_the_query_heads_alone():
    for name in GROUPS:
        recipe = recipe_of(Net("borealtc", "bottleneck", name, 0))
        config = FuseConfig.from_dict({**recipe.model, "modalities": [s.to_dict() for s in recipe.specs], "classes": ("a", "b")})
        assert config.heads == 8
    worst = recipe_of(Net("borealtc", "bottleneck", "groups_worst", 0)).model
    assert worst["num_kv_heads"] == {"gyroscope": 1, "accelerometer": 1, "wheel_velocity": 4, "motor_current": 1}


@pytest.mark.parametrize("change", ({"second_pass": "some"}, {"gate": "open"}))
def test_recipe_names_the_switch_that_is_wrong(change):
    with pytest.raises(ParameterError, match=f"{next(iter(change))}.*, "):
        Recipe.from_dict({"dataset": "x", "modalities": [{}], **change})


def trainer_of(variant, **changes):
    examples, classes = load_examples("made_up", "train")
    trainer = Trainer(replace(recipe_of(Net("made_up", "cross_modal", variant, 0)), **changes), examples, classes)
    before = {n: p.detach().clone() for n, p in trainer.average.gate.named_parameters()}
    losses = [step for _ in range(trainer.recipe.epochs) for step in trainer.run_epoch()]
    return trainer, before, losses


def gate_scores(trainer):
    return [torch.cat([s.flatten() for s in trainer.average.gate(torch.tensor(m))]) for m in all_masks(3)]


def test_controls_train_what_they_say(made_up):
    joint, before, losses = trainer_of("joint")
    scores = gate_scores(joint)
    assert not torch.equal(scores[0], scores[1]) and all(step["pruned"] > 0 for step in losses)

    blind, before, losses = trainer_of("mask_blind")
    scores = gate_scores(blind)
    assert all(torch.equal(scores[0], s) for s in scores) and not torch.equal(blind.average.gate.static, before["static"])
    assert set(blind.teacher.state_dict()) == {"111.heads", "111.channels"}
    assert (blind.teacher.target((True,) * 3)[0].sum(1) > 0).all()  # those of streams that were absent last, too

    fixed, before, losses = trainer_of("fixed_order")
    assert all(torch.equal(p, before[n]) for n, p in fixed.average.gate.named_parameters())
    scores = gate_scores(fixed)
    assert torch.equal(scores[0], scores[1]) and len(scores[0].unique()) == len(scores[0])

    for variant in ("normal", "self_distilled"):
        plain, before, losses = trainer_of(variant)
        assert all(torch.equal(p, before[n]) for n, p in plain.average.gate.named_parameters()) and not plain.teacher.state_dict()
        assert all((step["pruned"] > 0 and step["distill"] > 0) == (variant == "self_distilled") for step in losses)


def test_second_pass_of_full_width_is_the_first_one_but_for_dropout(made_up):
    examples, classes = load_examples("made_up", "train")
    recipe = recipe_of(Net("made_up", "early", "self_distilled", 0))
    quiet = Recipe.from_dict({**recipe.to_dict(), "model": {**recipe.model, "dropout": 0.0}})
    step = next(Trainer(quiet, examples, classes).run_epoch())
    assert step["pruned"] == step["full"] and step["distill"] == pytest.approx(0, abs=1e-6)


def test_training_that_began_before_a_recipe_key_existed_goes_on(made_up, tmp_path):
    trainer, _, _ = trainer_of("joint", epochs=1)
    save_state(trainer, tmp_path)
    file = tmp_path / STATE_FILE
    with safe_open(file, framework="pt") as saved:
        metadata, tensors = saved.metadata(), {n: saved.get_tensor(n) for n in saved.keys()}
    old = {k: v for k, v in json.loads(metadata["recipe"]).items() if k not in ("second_pass", "dense_teachers", "spend_freed")}
    file.write_bytes(save(tensors, {**metadata, "recipe": json.dumps(old)}))
    fresh = Trainer(trainer.recipe, trainer.examples, trainer.model.config.classes)
    load_state(fresh, tmp_path)
    assert fresh.epoch == 1
    with pytest.raises(CheckpointError, match="second_pass"):
        load_state(Trainer(replace(trainer.recipe, second_pass="none"), trainer.examples, trainer.model.config.classes), tmp_path)
