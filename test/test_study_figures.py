"""The pruning study's figures, compared with a calculation by hand on made-up results."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.pruning import summary, tables, validation_choices
from benchmarks.pruning.archive import read_archive
from benchmarks.pruning.conditions import RATIOS, conditions
from benchmarks.pruning.people import PeopleExamples, another
from benchmarks.pruning.run_result import PlanResults, RunResult
from benchmarks.pruning.runs import Run, all_runs
from benchmarks.pruning.study import report
from benchmarks.pruning.tasks import TASKS
from benchmarks.pruning.variants import USUAL, VARIANTS
from sentryfuse_ros.datasets.recording import Recording, Stream
from sentryfuse_ros.errors import DataError
from sentryfuse_ros.model.config import BACKBONES
from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.reporting.page_parts import insert
from sentryfuse_ros.training.examples import RecordingExamples

STUDY = Path(__file__).parents[1] / "benchmarks" / "pruning"


# conditions


def test_conditions_weigh_masks_as_chance_has_it():
    two = conditions(2)
    assert set(two) == {"all", "one_missing", "dropout_30", "dropout_50"} and two["one_missing"] == {"10": 0.5, "01": 0.5}
    assert two["dropout_30"] == pytest.approx({"11": 0.49 / 0.91, "10": 0.21 / 0.91, "01": 0.21 / 0.91})
    four = conditions(4)
    assert len(four["two_missing"]) == 6 and "0000" not in four["dropout_50"]
    assert all(sum(w.values()) == pytest.approx(1) for w in four.values())


def test_the_whole_comparison_has_enough_combinations():
    sensors = [len(a.names) for a in TASKS.values() if a.pruning]
    assert sum(len(conditions(m)) for m in sensors) * 3 * len(RATIOS) >= 144


def test_people_are_varied_in_training_only():
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


# figures on made-up results


def result(variant, seed, plans, dense, task="app", backbone="early", flops=70):
    """A result of two sensors; plans: name -> accuracy under (both, first only, second only), the same at every ratio."""
    bits = ("11", "10", "01")
    found = PlanResults(
        measured_on=1,
        modes={},
        dense=dict(zip(bits, dense)),
        whole={str(r): ["10", "01"] if r < 0.6 else [] for r in RATIOS},
        test={p: {str(r): dict(zip(bits, a)) for r in RATIOS} for p, a in plans.items()},
        spent={},
    )
    return RunResult(
        run=Run(task, backbone, variant, seed),
        evaluation="",
        train_s=1.0,
        measure_s=0.0,
        sensors=2,
        params=1,
        flops=flops,
        flops_dense_attention=100,
        test_examples=1,
        accuracy=dense[0],
        plans=found,
    )


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
        result("joint", 0, JOINT, (0.9, 0.6, 0.5)),
        result("normal", 0, NORMAL, (0.95, 0.6, 0.5)),
        result("mask_blind", 0, {"gate": (0.8, 0.6, 0.4), "gate_blind": (0.7, 0.4, 0.45)}, (0.9, 0.6, 0.5)),
        result("dense_attention", 0, {"gate": (0.8, 0.6, 0.4)}, (0.92, 0.6, 0.5)),
        result("groups_2", 0, {"gate": (0.7, 0.5, 0.3)}, (0.85, 0.6, 0.5), backbone="bottleneck", flops=63),
        result("joint", 1, JOINT, (0.9, 0.6, 0.5)),
        result("normal", 1, NORMAL, (0.93, 0.6, 0.5)),
        result("joint", 0, JOINT, (0.9, 0.6, 0.5), backbone="bottleneck"),
        result("self_distilled", 0, {**FLAT, "snip": (0.6, 0.6, 0.2)}, (0.93, 0.6, 0.5)),
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
            "tasks": 1,
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


def test_controls_that_explain_stand_beside_the_others_on_the_same_networks():
    late = {name: tuple(x / 2 for x in row) for name, row in JOINT.items()}
    found = summary.summarise([*by_hand(), result("normal", 0, late, (0.9, 0.6, 0.5), backbone="bottleneck")])
    everywhere, explained = ({(r["variant"], r["plan"]): r for r in found[part]} for part in ("plans", "plans_explained"))
    assert ("self_distilled", "snip") in explained and not any(v == "self_distilled" for v, _ in everywhere)
    # bottleneck counts in the one, early fusion alone in the other
    assert (everywhere["normal", "taylor"]["combinations"], explained["normal", "taylor"]["combinations"]) == (32, 16)
    assert explained["normal", "taylor"]["points"] < everywhere["normal", "taylor"]["points"]
    assert found["explained_on"] == "early"
    assert not summary.summarise(by_hand()[:2])["plans_explained"]


def test_networks_pruned_further_in_training_are_compared_with_the_same_baseline():
    further = result("to_90", 1, {"gate": (0.8, 0.6, 0.6)}, (0.9, 0.6, 0.5))
    found = summary.summarise([*by_hand(), further])
    rel = {p: ((1 - p) ** 2 * 0.8 + 2 * p * (1 - p) * 0.6) / (1 - p * p) / 0.4 - 1 for p in (0.3, 0.5)}
    assert found["summary"]["gain_mean_rel_to_90"] == pytest.approx((1.0 + 0.5 + rel[0.3] + rel[0.5]) / 4, abs=1e-4)
    assert found["basis"]["gain_mean_rel_to_90"]["seeds"] == 1
    assert summary.summarise([further])["summary"]["gain_mean_rel_to_90"] is None


def test_ours_is_of_the_same_seeds_beside_every_plan():
    other = {name: tuple(x / 2 for x in row) for name, row in JOINT.items()}
    several = [
        result("joint", 0, JOINT, (0.9, 0.6, 0.5)),
        result("joint", 1, other, (0.5, 0.3, 0.2)),
        result("normal", 0, NORMAL, (0.95, 0.6, 0.5)),
    ]
    found = summary.summarise(several)
    one = summary.summarise([several[0], several[2]])
    assert found["plans"] == one["plans"] and found["summary"]["gain_mean_rel"] == one["summary"]["gain_mean_rel"]
    # A seed that not all pairs of networks have is not compared with the others.
    more = [
        result("joint", 0, JOINT, (0.9, 0.6, 0.5), "app", "late"),
        result("normal", 0, NORMAL, (0.9, 0.6, 0.5), "app", "late"),
    ]
    both = summary.summarise([*several, result("normal", 1, NORMAL, (0.95, 0.6, 0.5)), *more])
    assert list(both["basis"]["gain_mean_rel"]["by_seed"]) == ["0"]


def test_one_order_for_all_masks_is_compared_with_the_strongest_of_its_kind():
    blind = {"gate": (0.8, 0.4, 0.4), "gate_blind": (0.7, 0.3, 0.3)}
    found = summary.summarise(
        [
            result("joint", 0, JOINT, (0.9, 0.6, 0.5)),
            result("mask_blind", 0, blind, (0.9, 0.6, 0.5)),
            result("one_order", 0, {"gate": (0.8, 0.5, 0.3)}, (0.9, 0.6, 0.5)),
            result("fixed_order", 0, {"gate": (0.8, 0.5, 0.42)}, (0.9, 0.6, 0.5)),
        ]
    )["summary"]
    # ours .5 with one missing; mask_blind and the joint net's Taylor .4 each: the first of equals; fixed_order .46
    assert found["gain_vs_one_order_points"] == pytest.approx(10.0) and found["gain_vs_one_order_best"] == "mask_blind: gate"
    assert found["gain_vs_one_order_explained_points"] == pytest.approx(4.0)
    assert found["gain_vs_one_order_explained_best"] == "fixed_order: gate"
    assert found["gain_vs_mask_blind_points"] == pytest.approx(10.0) and found["gain_vs_mask_blind_best"] == "joint: gate_blind"


@pytest.mark.parametrize("some", ([], by_hand()[:1], by_hand()[1:2], by_hand()[3:4]))
def test_a_report_of_few_results_says_what_is_not_run(some):
    found = summary.summarise(some)
    assert found["summary"]["gain_mean_rel"] is None and found["summary"]["combinations"] == 0
    parts = tables.tables({**found, "command": "x", "asked": 9, "finished": len(some)})
    assert "1" in parts["progress"] or not some
    assert tables.NOT_RUN in parts["figures"] and tables.NOT_RUN in parts["combinations"]


def test_tables_go_between_their_marks_and_a_missing_mark_is_named(tmp_path):
    page = tmp_path / "README.md"
    page.write_text("before\n<!-- figures -->\nold\n<!-- end figures -->\nafter\n")
    parts = tables.tables({**summary.summarise(by_hand()), "command": "x", "asked": 9, "finished": 7})
    for _ in range(2):
        insert(page, {"figures": parts["figures"]})
    text = page.read_text()
    assert text.startswith("before\n<!-- figures -->\n| figure") and text.endswith("after\n") and "old" not in text
    assert "+7.5 | 3 combinations | 1 |" in text
    with pytest.raises(DataError, match="progress"):
        insert(page, parts)
    with pytest.raises(DataError, match="nowhere"):
        insert(tmp_path / "nowhere" / "README.md", parts)


def test_the_committed_page_shows_what_the_committed_results_give(tmp_path):
    """The whole page, except for the command that filled it."""
    archive = read_archive(STUDY.parent / "results" / "pruning_nets.jsonl")
    runs = all_runs(tuple(TASKS), BACKBONES, (0, 1, 2), tuple(VARIANTS))
    found = report(runs, {run: archive[run.name] for run in runs}, "", {})
    committed = (STUDY / "README.md").read_text()
    (tmp_path / "README.md").write_text(committed)
    parts = tables.tables(found)
    del parts["progress"]
    choices = json.loads((STUDY.parent / "results" / "pruning_validation.json").read_text())
    insert(tmp_path / "README.md", parts | validation_choices.tables(choices))
    assert (tmp_path / "README.md").read_text() == committed
