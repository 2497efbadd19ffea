"""The study with the budget over the whole network: stages, parts, criteria for stems, plans, figures, command."""

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from made_up_task import calibration, installed
from model_family import ELASTIC
from tiny_model import tiny_batch, tiny_model
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.pruning.__main__ import main
from benchmarks.pruning.archive import read_archive
from benchmarks.pruning.criteria import Calibration
from benchmarks.pruning.examples import held_examples, load_examples
from benchmarks.pruning.plans import Ranking
from benchmarks.pruning.run_result import PlanResults, RunResult
from benchmarks.pruning.runs import NETWORK, Run, network_runs, specification
from benchmarks.pruning.store import run_or_read
from benchmarks.pruning.study import report
from benchmarks.pruning.tasks import TASKS
from benchmarks.pruning.training import StudyElasticTrainer, StudyTrainer, recipe_of, trained
from benchmarks.pruning.variants import GATE, GATE_BLIND
from benchmarks.pruning.whole import summary
from benchmarks.pruning.whole.measurement import (
    NETWORK_VARIANTS,
    blind_to_mask,
    cut_by,
    kept_importance,
    network_plan_names,
    part_accuracies,
    part_name,
)
from benchmarks.pruning.whole.parts import PartUnits, all_parts, layer_worth, part_codes, part_flops
from benchmarks.pruning.whole.stages import RATIOS, fusion_sizes, stem_sizes
from benchmarks.pruning.whole.stem_scores import STEM_CRITERIA, stem_scores
from benchmarks.pruning.whole.tables import network_tables
from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.masks import all_masks
from sentryfuse_ros.model.config import FusionSize
from sentryfuse_ros.model.subnetwork import of_code, whole_stems
from sentryfuse_ros.pruning.slicing import as_arrays, gate_scores, slice_weights
from sentryfuse_ros.pruning.units import subnetwork_units
from sentryfuse_ros.reporting.page_parts import insert
from sentryfuse_ros.training.logits import predict_subnetworks
from sentryfuse_ros.training.trainer import Trainer

ALL = (True, True, True)
PAGE = Path(summary.__file__).parent
RESULTS = summary.FIRST_STUDY.parent


@pytest.fixture
def made_up(monkeypatch):
    """The made-up set as one more task."""
    yield from installed(monkeypatch)


def network_run(variant="joint", seed=0):
    return Run("made_up", "early", variant, seed, budget=NETWORK)


# what a run states


def test_both_sides_train_for_the_epochs_of_the_first_study_on_the_same_network():
    first = specification(Run("utd_mhad", "early", "joint", 0))
    ours, normal = (specification(Run("utd_mhad", "early", v, 0, budget=NETWORK)) for v in ("joint", "normal"))
    assert ours["epochs"] + ours["elastic"]["epochs"] == normal["epochs"] == first["epochs"] == 150
    assert ours["elastic"]["epochs"] == 60 and normal["elastic"]["epochs"] == 0
    assert ours["model"] == normal["model"] and ours["schedule"]["ratio_max"] == 0.9
    new = ("tokenizer", "fusion_sizes", "ratio_levels")
    assert {k: v for k, v in ours["model"].items() if k not in new} == {
        k: v for k, v in first["model"].items() if k != "tokenizer"
    }
    assert ours["model"]["ratio_levels"] == [0.0, 0.25, 0.5, 0.7, 0.8, 0.9]


def test_small_stems_have_one_smaller_size_and_larger_ones_two():
    assert stem_sizes({"stem_channels": [4, 8, 16]}) == [{"channels": 0.5}]
    assert stem_sizes({"stem_channels": 12}) == [{"channels": 0.5}, {"channels": 0.25, "features": False}]
    assert fusion_sizes(4)[0] == [4, 0.0] and [1, 0.9] in fusion_sizes(4) and [2, 0.8] in fusion_sizes(4)
    assert fusion_sizes(2) == [list(s) for s in dict.fromkeys(map(tuple, fusion_sizes(2)))]


def test_the_comparison_comes_first_and_its_controls_before_the_other_seeds():
    order = network_runs(("utd_mhad", "borealtc_fold_0", "av_digits"), (0, 1, 2), NETWORK_VARIANTS)
    assert len(order) == len({run.name for run in order}) == 2 * 3 * len(NETWORK_VARIANTS)
    assert [(r.task, r.variant) for r in order[:4]] == [(t, v) for t in ("utd_mhad", "av_digits") for v in ("joint", "normal")]
    assert [r.seed for r in order] == sorted(r.seed for r in order)
    assert not {run.name for run in order} & {Run(r.task, "early", r.variant, r.seed).name for r in order}


# parts, their units and their cost


def test_parts_have_stems_of_one_size_and_each_set_of_sensors():
    config = tiny_model(**ELASTIC).config  # the camera has two smaller sizes, the IMU one, the wheels none
    codes = part_codes(config)
    assert len(codes) == len(set(codes)) and {"111", "221", "321", "001", "200", "300"} <= set(codes)
    assert "121" not in codes and "002" not in codes
    assert {part.used for row in all_parts(config).values() for part in row} == set(all_masks(3))


def test_units_of_a_part_are_those_of_the_product_and_cost_what_runs():
    model = tiny_model(**ELASTIC)
    cut = PartUnits(model)
    for row in all_parts(model.config).values():
        for part in row:
            scores = as_arrays(gate_scores(model, part.used))
            expected = subnetwork_units(model.config, model.lengths, part, scores)
            assert [(k.site, k.heads.tolist(), k.channels.tolist()) for k in cut(part)] == [
                (k.site, k.heads.tolist(), k.channels.tolist()) for k in expected
            ]
    whole = whole_stems(model.config, ALL, 0.0)
    less = [of_code(c, FusionSize(*s)) for c, s in (("221", (2, 0.0)), ("111", (1, 0.0)), ("111", (2, 0.5)), ("011", (2, 0.0)))]
    dense = part_flops(model.config, whole, cut(whole))
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        model({n: x[:1] for n, x in tiny_batch().items()})
    assert dense == counted.get_total_flops()
    for part in less:
        assert part_flops(model.config, part, cut(part)) < dense


def test_a_criterion_may_keep_other_layers_than_the_first():
    model = tiny_model(layers=3, fusion_sizes=[[3, 0.0], [1, 0.0]])
    heads, channels = gate_scores(model, ALL)
    heads, channels = torch.ones_like(heads), torch.ones_like(channels)
    heads[2] = 3
    assert layer_worth(model.config, (heads, channels)).tolist() == [2.0, 2.0, 4.0]
    cut = PartUnits(model, lambda used: (heads, channels), layer_mode="ranked")
    part = of_code("111", model.config.fusion_sizes[1])
    (keep,) = cut(part)
    assert keep.site == 2 and [k.site for k in PartUnits(model)(part)] == [0]
    with torch.no_grad():
        found = model(tiny_batch(), ALL, slice_weights(model, [keep])).logits
        model.backbone.blocks[0].load_state_dict(model.backbone.blocks[2].state_dict())
        alone = model(tiny_batch(), ALL, slice_weights(model, PartUnits(model)(part))).logits
    torch.testing.assert_close(found, alone)


# criteria for the channels of stems


def by_hand(model, power):
    stem = model.stems[0]  # two convolutions and the layer that makes the tokens
    first, second, mix = (w.detach().abs() ** power for w in (stem.convs[0].weight, stem.convs[1].weight, stem.mix.weight))
    cells = mix.shape[1] // second.shape[0]
    return [
        torch.stack([first[c].sum() + second[:, c].sum() for c in range(len(first))]),
        torch.stack([second[c].sum() + mix[:, c * cells : (c + 1) * cells].sum() for c in range(len(second))]),
    ]


@pytest.mark.parametrize("power", [1, 2])
def test_magnitude_of_a_stem_channel_is_its_row_and_what_reads_it(power):
    model = tiny_model(**ELASTIC)
    for found, expected in zip(stem_scores(f"l{power}", model, calibration())[0], by_hand(model, power)):
        torch.testing.assert_close(found, expected)


def test_taylor_of_a_stem_channel_is_the_slope_of_a_multiplier():
    model, data = tiny_model(**ELASTIC), calibration(3)
    found = stem_scores("taylor", model, data)

    def losses(m):
        model64 = tiny_model(**ELASTIC).double()
        scale = [torch.ones(3, n, dtype=torch.float64) for n in (8, 8)]
        scale[1][:, 2] = m
        inputs = {n: x.double() for n, x in data.inputs.items()}
        made = [model64.tokens_of(i, inputs[n], 0, scale if i == 0 else None) for i, n in enumerate(model64.config.names)]
        tokens = model64.tokens(inputs, ALL)._replace(x=torch.cat([x for x, _ in made], 1))
        return F.cross_entropy(model64.fuse(tokens).logits, data.labels, reduction="none").detach()

    slope = (losses(1 + 1e-4) - losses(1 - 1e-4)) / 2e-4
    assert found[0][1][2].item() == pytest.approx(slope.abs().mean().item(), rel=1e-3)


def test_snip_and_wanda_of_a_stem_channel():
    model, data = tiny_model(**ELASTIC), calibration()
    stem = model.stems[1]  # of the IMU: one convolution
    snip, wanda = (stem_scores(c, model, data)[1][0] for c in ("snip", "wanda"))
    x = data.inputs["imu"]
    seen = (x != 0).any(-1, keepdim=True).float()
    with torch.no_grad():
        hidden = F.gelu(stem.norm(stem.conv(torch.cat([x, seen], -1).transpose(1, 2))))  # (B, C, T)
        expected = stem.mix.weight.abs().sum((0, 2)) * hidden.square().sum((0, 2)).sqrt()
    torch.testing.assert_close(wanda, expected)
    model.requires_grad_(True)
    F.cross_entropy(model(data.inputs).logits, data.labels).backward()
    own, reading = ((w * w.grad).abs().detach() for w in (stem.conv.weight, stem.mix.weight))
    torch.testing.assert_close(snip, own.sum((1, 2)) + reading.sum((0, 2)), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("criterion", STEM_CRITERIA)
def test_scores_sort_stems_and_leave_the_network_as_it_was(criterion):
    model = tiny_model(**ELASTIC)
    before = model(tiny_batch()).logits
    found = stem_scores(criterion, model, calibration(), seed=3)
    again = stem_scores(criterion, model, calibration(), seed=3)
    assert all(torch.equal(a, b) for x, y in zip(found, again) for a, b in zip(x, y))
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())
    for stem, scores in zip(model.stems, found):
        assert [len(s) for s in scores] == [conv.out_channels for conv, _ in stem.convolutions()]
        assert all(torch.isfinite(s).all() and (s >= 0).all() for s in scores)
        stem.sort_channels(scores)
    torch.testing.assert_close(model(tiny_batch()).logits, before)
    with pytest.raises(ParameterError, match="hessian.*wanda"):
        stem_scores("hessian", model, calibration())


# training and plans


def test_the_second_stage_is_the_products_with_the_switches_of_the_controls(made_up):
    examples, classes = load_examples("made_up", "train")
    for variant in ("joint", "fixed_order", "mask_blind"):
        recipe = recipe_of(network_run(variant))
        whole = StudyTrainer(recipe, examples, classes).model
        trainer = StudyElasticTrainer(recipe, examples, classes, whole)
        assert trainer.recipe.epochs == recipe.elastic.epochs == 1
        part = whole_stems(whole.config, (True, False, False), 0.5)
        kept = trainer.units(part)
        spent = PartUnits(trainer.model)(part)
        # With two of three sensors left out there is nothing more to prune, unless what they free is wasted.
        assert all(k.whole for k in spent) and all(k.whole for k in kept) == (variant != "mask_blind")
        assert all(step.pruned > 0 and step.full > 0 for step in trainer.run_epoch())
    one, other = (
        StudyElasticTrainer(replace(recipe_of(network_run("fixed_order")), seed=s), examples, classes, whole) for s in (0, 1)
    )
    orders = [t.channel_saliency(t.model)[0][0] for t in (one, one, other)]
    assert torch.equal(orders[0], orders[1]) and not torch.equal(orders[0], orders[2])


def test_a_result_is_what_its_plans_give_on_the_test_split(made_up, tmp_path):
    run = network_run("normal")
    found = run_or_read(run, tmp_path)
    assert set(found.plans.test) == set(network_plan_names("normal"))
    assert found.plans.dense["111"] == pytest.approx(found.accuracy, abs=1e-4)
    model = trained(run, tmp_path)
    train, _ = load_examples("made_up", "train")
    rank = Ranking(model, Calibration.draw(train, model.config.modalities, 256), 0)
    validation, test = (held_examples("made_up", split, model.config.modalities) for split in ("validation", "test"))
    cut = cut_by("l2", rank, validation)
    dense = part_flops(model.config, whole_stems(model.config, ALL, 0.0), PartUnits(model)(whole_stems(model.config, ALL, 0.0)))
    for ratio, bits in product(("0.5", "0.9"), ("111", "010")):
        name = found.plans.parts["l2"][ratio][bits]
        code, layers, level = name.split("/")
        part = of_code(code, FusionSize(int(layers), float(level)))
        assert part_name(part) == name and all(mark == "0" or live == "1" for mark, live in zip(code, bits))
        assert part_accuracies(cut.model, test, {part: cut.units(part)})[part] == found.plans.test["l2"][ratio][bits]
        if ratio == "0.5":
            assert part_flops(model.config, part, cut.units(part)) <= 0.5 * dense
    assert all(found.plans.spent[name]["0.5"] <= 0.5 for name in ("l2", "l2_alone"))
    assert RunResult.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_accuracies_of_parts_are_those_of_the_product(made_up, tmp_path):
    model = trained(network_run("joint"), tmp_path)
    examples, _ = load_examples("made_up", "test")
    held = held_examples("made_up", "test", model.config.modalities)
    parts = [p for row in all_parts(model.config).values() for p in row][:9]
    cut = PartUnits(model)
    expected = predict_subnetworks(model, examples, parts)
    for part, right in part_accuracies(model, held, {p: cut(p) for p in parts}).items():
        assert right == pytest.approx((expected[part].argmax(1) == examples.labels).mean(), abs=1e-5)


def test_a_plan_blind_to_the_mask_is_the_plan_for_all_of_which_the_rest_runs():
    model = tiny_model(**ELASTIC)
    plan = of_code("220", model.config.fusion_sizes[1])
    blind = blind_to_mask(model, {(mask, 0.5): plan for mask in all_masks(3)})
    assert blind[(True, True, True), 0.5] == plan
    assert blind[(True, False, True), 0.5].code == "200" and blind[(False, False, True), 0.5].code == "001"
    assert {part.fusion_size for part in blind.values()} == {plan.fusion_size}


def test_the_importance_that_is_kept_falls_with_what_goes(made_up, tmp_path):
    model = trained(network_run("normal"), tmp_path)
    train, _ = load_examples("made_up", "train")
    rank = Ranking(model, Calibration.draw(train, model.config.modalities, 64), 0)
    cut = cut_by("taylor", rank, held_examples("made_up", "validation", model.config.modalities))
    sizes = model.config.fusion_sizes
    whole, fewer, shallow = (of_code(c, s) for c, s in (("111", sizes[0]), ("110", sizes[0]), ("111", FusionSize(1, 0.0))))
    kept = [kept_importance(cut, part, cut.units(part)) for part in (whole, fewer, shallow)]
    assert kept[0] == pytest.approx(1.0) and kept[1] < 1 and kept[2] < 1


# figures


def result(variant, seed, plans, dense):
    bits = ("11", "10", "01")
    names = {p: {str(r): dict(zip(bits, a)) for r in RATIOS} for p, a in plans.items()}
    parts = {p: {str(r): dict.fromkeys(bits, "12/2/0.5") for r in RATIOS} for p in plans}
    spent = {p: {str(r): 1 - r for r in RATIOS} for p in plans}
    whole = {str(r): [] for r in RATIOS}
    found = PlanResults(1, {}, dict(zip(bits, dense)), whole, names, spent, parts)
    return RunResult(Run("app", "early", variant, seed, budget=NETWORK), "", 1.0, 0.0, 2, 1, 70, 100, 1, dense[0], found)


def test_gains_by_hand():
    flat = {c: (0.2, 0.2, 0.2) for c in network_plan_names("normal")}
    normal = flat | {
        "taylor": (0.4, 0.4, 0.4),
        "l1": (0.5, 0.1, 0.1),
        "l2_alone": (0.25, 0.25, 0.25),
        "snip_units": (0.5, 0.5, 0.5),
    }
    ours = {c: (0.2, 0.2, 0.2) for c in STEM_CRITERIA} | {
        GATE: (0.8, 0.6, 0.4),
        GATE_BLIND: (0.8, 0.5, 0.3),
        "gate_units": (0.6, 0.6, 0.6),
    }
    found = summary.summarise_network(
        [
            result("joint", 0, ours, (0.9, 0.6, 0.5)),
            result("normal", 0, normal, (0.95, 0.6, 0.5)),
            result("one_order", 0, {GATE: (0.8, 0.6, 0.6)}, (0.9, 0.6, 0.5)),
        ]
    )
    gains = found["gains"]
    assert [gains[s]["strongest"] for s in ("network", "alone", "units")] == ["taylor", "l2_alone", "snip_units"]
    drop = {p: ((1 - p) ** 2 * 0.8 + p * (1 - p) * (0.6 + 0.4)) / (1 - p * p) for p in (0.3, 0.5)}
    ours_at = [0.8, 0.5, drop[0.3], drop[0.5]]
    assert gains["network"]["all"]["value"] == pytest.approx(np.mean(ours_at) / 0.4 - 1, abs=1e-4)
    assert gains["network"]["dropout"]["value"] == pytest.approx(np.mean(ours_at[1:]) / 0.4 - 1, abs=1e-4)
    assert gains["network"]["dropout"]["combinations"] == 3 * 4 and gains["network"]["r0.9"]["combinations"] == 4
    assert gains["alone"]["all"]["value"] == pytest.approx(np.mean(ours_at) / 0.25 - 1, abs=1e-4)
    assert gains["units"]["all"]["value"] == pytest.approx(0.2, abs=1e-4)
    # The first study's figure comes from its committed results.
    first = json.loads((RESULTS / "pruning.json").read_text())["summary"]["gain_mean_rel_early"]
    assert gains["first"]["all"]["value"] == pytest.approx(first, abs=0.002)
    rows = {(row["variant"], row["plan"]): row for row in found["plans"]}
    assert rows["one_order", GATE]["by_ratio"]["0.9"]["points"] < 0 < rows["joint", GATE_BLIND]["points"]
    assert {row["sensors"] for row in found["kept"]} == {1.0} and {row["whole_stems"] for row in found["kept"]} == {0.5}
    shown = network_tables(found | {"finished": 3, "asked": 45, "command": "x"})
    assert "| taylor" in shown["criteria"] and f"{100 * gains['network']['all']['value']:.1f} %" in shown["gains"]


def test_the_committed_page_shows_what_the_committed_results_give(tmp_path):
    """The whole page, except for the command that filled it; and every committed result is of a run that would be done today."""
    archive = read_archive(RESULTS / "pruning_network_nets.jsonl")
    runs = network_runs(tuple(TASKS), (0, 1, 2), NETWORK_VARIANTS)
    assert set(archive) <= {run.name for run in runs}
    found = report(runs, {run: archive[run.name] for run in runs if run.name in archive}, "", {}, summary.summarise_network)
    committed = (PAGE / "README.md").read_text()
    (tmp_path / "README.md").write_text(committed)
    parts = network_tables(found)
    del parts["progress"]
    insert(tmp_path / "README.md", parts)
    assert (tmp_path / "README.md").read_text() == committed


# command line


def test_command_runs_resumes_and_writes(made_up, tmp_path, monkeypatch, capsys):
    page = tmp_path / "README.md"
    names = ("progress", "gains", "gains_by_ratio", "gains_by_task", "criteria", "controls", "kept", "combinations")
    page.write_text("".join(f"<!-- {n} -->\n<!-- end {n} -->\n" for n in names))
    arguments = ["--budget", "network", "--quick", "--tasks", "made_up", "--cache", str(tmp_path / "cache")]
    arguments += ["--json", str(tmp_path / "out.json"), "--archive", str(tmp_path / "nets.jsonl"), "--docs", str(tmp_path)]
    assert main([*arguments, "--no-run"]) == 0 and "0 of 2" in capsys.readouterr().out
    assert main(arguments) == 0
    assert "2 of 2 runs finished" in capsys.readouterr().out
    assert "2 of 2 runs" in page.read_text() and (tmp_path / "network_budget.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr(Trainer, "run_epoch", lambda self: pytest.fail("trained again"))
    assert main([*arguments[:-2], "--cache", str(tmp_path / "none")]) == 0  # from the archive
    assert json.loads((tmp_path / "out.json").read_text())["finished"] == 2
    assert main(["--budget", "network", "--backbones", "bottleneck"]) == 2 and "--backbones" in capsys.readouterr().err
