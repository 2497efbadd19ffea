"""Measured costs of plans: every plan has one, they are kept, and an engine that goes by them prunes and comes back exactly."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from model_family import ELASTIC
from tiny_model import tiny_inputs, tiny_model

from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.masks import all_masks, mask_to_bits
from sentryfuse_ros.model.saved import checkpoint_of
from sentryfuse_ros.model.subnetwork import all_codes, whole_stems
from sentryfuse_ros.parameters import PARAMETERS
from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.pruning.planner import PlanChoice
from sentryfuse_ros.runtime import plan_costs as module
from sentryfuse_ros.runtime.engine import Engine
from sentryfuse_ros.runtime.onnx_backend import OnnxBackend, PictureSession
from sentryfuse_ros.runtime.plan_costs import choose_by_time, measure_plan_costs, noise_window, plan_costs

ALL = np.ones(3, bool)
LEVELS = 10


def info(**accuracy):
    """A checkpoint's, on whose validation recordings a set of sensors was right in ``accuracy[bits]`` of all cases, else 50 %."""
    rows = {mask_to_bits(m): [accuracy.get("s" + mask_to_bits(m), 0.5)] * LEVELS for m in all_masks(3)}
    return {"sha256": "0123", "metrics": {"validation_accuracy": rows}}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "sentryfuse_ros" / "plan_costs"


def test_what_is_chosen_without_a_node_is_what_its_parameters_choose_by_default():
    defaults = {parameter.name: parameter.default for parameter in PARAMETERS}
    assert module.RATE_HZ == defaults["fuse_rate_hz"]
    assert module.MOST_LOST == defaults["accuracy_loss_limit"]
    assert module.HOLD_FROM_RATIO == defaults["hold_pictures_from_ratio"]


def test_every_set_of_sensors_has_a_cost_that_falls_with_the_level():
    costs = measure_plan_costs(Engine.from_model(tiny_model()), rounds=2)
    assert set(costs.plan_ms) == {mask_to_bits(mask) for mask in all_masks(3)}
    for row in costs.plan_ms.values():
        assert len(row) == LEVELS and min(row) > 0 and row[0] == max(row)


def test_the_whole_backbone_costs_most_even_if_a_busy_machine_timed_it_as_the_fastest(monkeypatch):
    def timed(engine, windows, runs, rounds):
        whole = engine.checkpoint.config.fusion_sizes[0]
        return np.tile([1e-3 if plan.part.fusion_size == whole else 2e-3 for plan, _ in runs], (rounds, 1))

    monkeypatch.setattr(module, "time_runs", timed)
    costs = measure_plan_costs(Engine.from_model(tiny_model()))
    assert all(row[0] == max(row) for row in costs.plan_ms.values())


def test_every_subnetwork_of_an_elastic_model_has_a_cost_and_a_smaller_stem_never_costs_more(monkeypatch):
    """With the FLOPs of the parts in place of their times: a busy machine may time a smaller stem as the slower one."""

    def flops(engine, windows, runs, rounds):
        return np.tile([1e-9 * engine.flops(plan) for plan, _ in runs], (rounds, 1))

    monkeypatch.setattr(module, "time_runs", flops)
    engine = Engine.from_model(tiny_model(**ELASTIC))
    costs = measure_plan_costs(engine)
    assert list(costs.plan_ms) == list(all_codes(engine.checkpoint.config)) and len(costs.plan_ms) == 4 * 3 * 2 - 1
    for code, row in costs.plan_ms.items():
        assert len(row) == 3 and min(row) > 0
        whole = costs.plan_ms[code.translate(str.maketrans("23", "11"))]
        assert all(a <= b for a, b in zip(row, whole))


def test_costs_are_kept_and_measured_again_where_the_file_is_broken_or_another_machine_s(cache, monkeypatch):
    engine = Engine.from_model(tiny_model(), info())
    first, kept = plan_costs(engine, 1)
    assert not kept and plan_costs(engine, 1) == (first, True)
    (file,) = cache.iterdir()
    content = json.loads(file.read_text())
    rows = content["plan_ms"]
    plan = next(iter(rows))
    unusable = [{**rows, plan: bad} for bad in ([math.nan] * 3, [-1.0] * 3, [1.0])] + [{k: rows[k] for k in rows if k != plan}]
    broken = ["", "[1]", json.dumps({**content, "key": {}}), json.dumps({"key": content["key"]})]
    broken += [json.dumps({**content, "plan_ms": bad}) for bad in unusable] + [json.dumps({**content, "picture_ms": []})]
    for text in broken:
        file.write_text(text)
        assert plan_costs(engine, 1)[1] is False and plan_costs(engine, 1)[1] is True
    assert plan_costs(engine, 2)[1] is False  # another number of threads
    monkeypatch.setattr(module, "processor", lambda: "another")
    assert plan_costs(engine, 1)[1] is False


def test_what_a_new_picture_takes_is_measured_where_its_token_is_kept(monkeypatch):
    frames = tuple(ModalitySpec(f"camera{i}", "camera", 1.0, (2, 1, 12, 16), "mono") for i in range(2))
    tokenizer = {
        "camera0": {"frames_per_token": 1, "stem_channels": [4], "grid": [2, 2], "sizes": [{"channels": 0.5}]},
        "camera1": {"frames_per_token": 2, "stem_channels": [4], "grid": [2, 2]},
    }
    model = tiny_model(modalities=frames, kv_stride={}, tokenizer=tokenizer, fusion_sizes=[[2, 0.0], [1, 0.5]])
    engine = Engine(checkpoint_of(model), OnnxBackend(checkpoint_of(model)))

    def runs(engine, windows, runs, rounds):
        """What a run takes: 5 ms with a whole stem of a new picture, 3 ms with a smaller one, 1 ms with pictures it knows."""
        for plan, _ in runs:
            engine.run(plan, windows[0])
        seconds = [1e-3 * (1 if known else 3 if any(plan.part.stems) else 5) for plan, known in runs]
        return np.tile(seconds, (rounds, 1))

    monkeypatch.setattr(module, "time_runs", runs)
    costs = measure_plan_costs(engine, rounds=2)
    assert np.allclose(costs.picture_ms[0], (4.0, 2.0)) and costs.picture_ms[1] == ()
    assert costs.pictures_ms("11") == costs.pictures_ms("10") == costs.picture_ms[0][0]
    assert costs.pictures_ms("21") == costs.picture_ms[0][1] and costs.pictures_ms("01") == 0


def test_with_pictures_that_are_known_only_their_tokens_are_missing_from_the_work(monkeypatch):
    frames = (ModalitySpec("camera", "camera", 1.0, (2, 1, 12, 16), "mono"),)
    tokenizer = {"camera": {"frames_per_token": 1, "stem_channels": [4], "grid": [2, 2]}}
    checkpoint = checkpoint_of(tiny_model(modalities=frames, kv_stride={}, tokenizer=tokenizer))
    engine, made = Engine(checkpoint, OnnxBackend(checkpoint)), []
    make = PictureSession._make
    monkeypatch.setattr(PictureSession, "_make", lambda self, picture: made.append(1) or make(self, picture))
    plan, window = PlanChoice(whole_stems(checkpoint.config, (True,), 0.0)), noise_window(engine)
    answers = []
    for newest, expected in ((False, 1), (True, 0)):
        engine.run(plan, window)
        engine.prime(window, newest)
        made.clear()
        answers.append(engine.run(plan, window).probabilities)
        assert len(made) == expected
    np.testing.assert_array_equal(*answers)


def test_the_time_of_a_plan_that_holds_its_pictures_is_the_mean_over_those_that_share_one(monkeypatch):
    engine, plan = Engine.from_model(tiny_model()), PlanChoice(whole_stems(tiny_model().config, ALL, 0.0))
    held = replace(plan, hold_s=0.5, shared_by=5)

    def runs(engine, windows, runs, rounds, warm_up):
        assert runs == [(plan, False), (held, False), (held, True)]
        return np.tile([4.0, 4.0, 1.0], (rounds, 1))

    monkeypatch.setattr(module, "time_runs", runs)
    seconds = module.time_plans(engine, [tiny_inputs()], [plan, held], rounds=2)
    assert seconds.tolist() == [[4.0, (4.0 + 4 * 1.0) / 5]] * 2


def test_a_cache_that_cannot_be_written_is_no_error(cache):
    cache.parent.parent.mkdir(parents=True)
    cache.parent.write_text("a file where the folder should be")
    costs, kept = plan_costs(Engine.from_model(tiny_model(), info()), 1)
    assert costs.dense_ms > 0 and not kept


def test_an_engine_that_goes_by_time_leaves_sensors_out_and_comes_back_bit_for_bit():
    engine = Engine.from_model(tiny_model(), info(s111=0.9, s010=0.8))
    x = tiny_inputs()
    dense = engine.infer(x, ALL, 0.0)
    assert engine.budget == "flops" and engine.dense_ms is None
    costs = choose_by_time(engine, 1)
    assert engine.budget == "time" and engine.dense_ms == costs.dense_ms
    pruned = engine.infer(x, ALL, 0.9)
    assert 0 < pruned.used.sum() < 3 and pruned.flops < dense.flops and pruned.ratio == 0.9
    assert not pruned.attention_share[~pruned.used].any() and pruned.attention_share.sum() == pytest.approx(1)
    # What runs is exactly the network under the mask of the sensors that are used.
    choice = engine.choice(ALL.tolist(), 0.9)
    plain = Engine.from_model(tiny_model()).infer(x, pruned.used, choice.part.units_level)
    np.testing.assert_array_equal(pruned.probabilities, plain.probabilities)
    # An input that is not used need not be there.
    few = {name: v for name, v, used in zip(x, x.values(), pruned.used) if used}
    np.testing.assert_array_equal(engine.infer(few, ALL, 0.9).probabilities, pruned.probabilities)
    np.testing.assert_array_equal(engine.infer(x, ALL, 0.0).probabilities, dense.probabilities)
    whole = whole_stems(engine.checkpoint.config, ALL, 0.0)
    assert engine.choice(ALL.tolist(), 0.0) == PlanChoice(whole, costs.dense_ms, 0.9)


def test_models_that_cannot_be_planned_are_named():
    with pytest.raises(ParameterError, match="validation accuracies"):
        choose_by_time(Engine.from_model(tiny_model()), 1)
    seven = tuple(ModalitySpec(f"s{i}", "series", 1.0, (20, 2)) for i in range(7))
    model = tiny_model(modalities=seven, kv_stride={}, tokenizer={s.name: {"steps_per_token": 5} for s in seven})
    with pytest.raises(ParameterError, match="model inputs: saw 7"):
        measure_plan_costs(Engine.from_model(model))


def test_more_plans_than_are_kept_are_timed_without_building_any_in_a_round(monkeypatch):
    monkeypatch.setattr(module, "PLANS_KEPT", 4)
    monkeypatch.setattr("sentryfuse_ros.runtime.compiled_plans.PLANS_KEPT", 4)
    engine = Engine.from_model(tiny_model())
    built = []
    real = engine.backend.compile
    monkeypatch.setattr(engine.backend, "compile", lambda part, units: built.append(part) or real(part, units))
    plans = [engine.choice(ALL.tolist(), level) for level in engine.ratio_levels]
    seconds = module.time_plans(engine, [tiny_inputs()], plans, rounds=3)
    assert (seconds > 0).all() and built == [plan.part for plan in plans]
