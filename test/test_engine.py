"""What the engine promises: the dense model at ratio 0, exact restoration, no NaN, true costs, calibrated probabilities."""

import importlib.util
import threading

import numpy as np
import pytest
import torch
from tiny_model import tiny_batch, tiny_inputs, tiny_model
from torch.utils.flop_counter import FlopCounterMode

from sentryfuse_ros.errors import CheckpointError, ParameterError
from sentryfuse_ros.model.saved import save_checkpoint
from sentryfuse_ros.runtime.engine import Engine

ALL = np.array([True, True, True])


@pytest.fixture(scope="module")
def engine():
    return Engine.from_model(tiny_model())


def test_ratio_zero_with_all_sensors_is_the_dense_model_bit_for_bit(engine):
    out = engine.infer(tiny_inputs(), ALL, 0.0)
    with torch.inference_mode():
        dense = torch.softmax(tiny_model()(tiny_batch(1)).logits[0].double(), 0).float().numpy()
    np.testing.assert_array_equal(out.probabilities, dense)


def test_raising_and_lowering_the_ratio_restores_the_answers_exactly(engine):
    x = tiny_inputs()
    before = engine.infer(x, ALL, 0.0).probabilities
    pruned = engine.infer(x, ALL, 0.9).probabilities
    engine.infer(x, np.array([False, True, False]), 0.5)
    assert not np.array_equal(before, pruned)
    np.testing.assert_array_equal(engine.infer(x, ALL, 0.0).probabilities, before)
    np.testing.assert_array_equal(engine.infer(x, ALL, 0.9).probabilities, pruned)


def test_higher_ratio_costs_less_and_an_absent_sensor_costs_nothing(engine):
    flops = [engine.infer(tiny_inputs(), ALL, r).flops for r in engine.ratio_levels]
    params = [engine.infer(tiny_inputs(), ALL, r).params for r in engine.ratio_levels]
    assert flops[0] > flops[3] > flops[6] > flops[9] and params[0] > params[5] > params[9]
    assert flops == sorted(flops, reverse=True) and params == sorted(params, reverse=True)
    assert engine.infer(tiny_inputs(), np.array([False, True, True]), 0.0).flops < flops[0]


def test_flops_agree_with_the_counter_of_torch(engine):
    model = tiny_model()
    with FlopCounterMode(display=False) as counter:
        model(tiny_batch(1))
    assert engine.infer(tiny_inputs(), ALL, 0.0).flops == counter.get_total_flops()


def test_dense_params_are_all_but_the_gate(engine):
    model = tiny_model()
    total = sum(p.numel() for n, p in model.named_parameters() if not n.startswith("gate."))
    assert engine.infer(tiny_inputs(), ALL, 0.0).params == total


@pytest.mark.parametrize("mask", [(1, 1, 1), (1, 0, 1), (0, 0, 1)])
def test_probabilities_and_attention_shares_sum_to_one(engine, mask):
    out = engine.infer(tiny_inputs(), np.array(mask, bool), 0.3)
    assert out.probabilities.sum() == pytest.approx(1, abs=1e-5) and out.attention_share.sum() == pytest.approx(1, abs=1e-5)
    assert (out.attention_share[np.array(mask) == 0] == 0).all()
    assert out.class_name == engine.classes[out.class_id] and out.confidence == out.probabilities.max()
    assert out.probabilities.dtype == np.float32 and out.duration_s > 0


def test_inputs_of_absent_sensors_are_not_needed(engine):
    out = engine.infer({"imu": tiny_inputs()["imu"]}, np.array([False, True, False]), 0.0)
    assert out.attention_share.tolist() == [0, 1, 0]


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf, 1e38])
def test_bad_inputs_never_lead_to_nan(engine, poison):
    x = tiny_inputs()
    for value in x.values():
        value.flat[::3] = poison
    for ratio in (0.0, 0.5, 0.9):
        out = engine.infer(x, ALL, ratio)
        assert np.isfinite(out.probabilities).all() and np.isfinite(out.attention_share).all()


def test_a_network_that_overflows_gives_no_prediction_instead_of_nan():
    model = tiny_model()
    model.readout.classify.weight.fill_(3e38)
    out = Engine.from_model(model).infer(tiny_inputs(), ALL, 0.0)
    assert out.class_id == -1 and out.confidence == 0 and np.isfinite(out.probabilities).all()


def test_answers_are_the_same_from_another_thread(engine):
    expected, answers = engine.infer(tiny_inputs(), ALL, 0.3).probabilities, []
    worker = threading.Thread(target=lambda: answers.append(engine.infer(tiny_inputs(), ALL, 0.3).probabilities))
    worker.start()
    worker.join(timeout=900)
    np.testing.assert_array_equal(answers[0], expected)


def test_without_a_live_sensor_nothing_is_predicted(engine):
    out = engine.infer({}, np.zeros(3, bool), 0.0)
    assert out.class_id == -1 and out.class_name == "" and out.confidence == 0 and (out.attention_share == 0).all()
    assert out.probabilities.tolist() == [0.25] * 4


@pytest.mark.parametrize("ratio, level", [(0.0, 0.0), (0.1, 0.1), (0.11, 0.2), (0.3000001, 0.3), (0.9, 0.9), (1.0, 0.9)])
def test_ratio_is_rounded_up_to_a_level_so_that_the_budget_holds(engine, ratio, level):
    assert engine.quantise(ratio) == level and engine.infer(tiny_inputs(), ALL, ratio).ratio == level


@pytest.mark.parametrize("ratio", [-0.1, float("nan")])
def test_impossible_ratio_is_refused(engine, ratio):
    with pytest.raises(ParameterError, match="ratio"):
        engine.quantise(ratio)


def test_missing_or_misshapen_input_is_named(engine):
    with pytest.raises(ParameterError, match="camera"):
        engine.infer({"imu": tiny_inputs()["imu"], "wheel": tiny_inputs()["wheel"]}, ALL, 0.0)
    with pytest.raises(ParameterError, match="imu"):
        engine.infer({**tiny_inputs(), "imu": np.zeros((3, 6), np.float32)}, ALL, 0.0)


def counted_compiles(engine, monkeypatch) -> list:
    """The parts that the engine's backend compiles from now on."""
    built: list = []
    real = engine.backend.compile
    monkeypatch.setattr(engine.backend, "compile", lambda part, units: built.append(part) or real(part, units))
    return built


def test_a_warm_engine_compiles_nothing_at_the_next_change(monkeypatch):
    engine = Engine.from_model(tiny_model())
    assert engine.warm() > 0
    assert len(engine._plans) == 10 + 3  # of three sensors at every level, and of each two of them at the level in force
    built = counted_compiles(engine, monkeypatch)
    for level in engine.ratio_levels:
        engine.infer(tiny_inputs(), ALL, level)
    for lost in range(3):
        engine.infer(tiny_inputs(), np.arange(3) != lost, 0.0)
    assert not built


def test_after_a_change_the_plans_around_it_are_prepared_one_by_one(monkeypatch):
    engine = Engine.from_model(tiny_model())
    mask = (True, False, True)
    engine.warm(mask, 0.45)
    built = counted_compiles(engine, monkeypatch)
    assert not engine.prepare(mask, 0.5)
    while engine.prepare((True, True, True), 0.5):
        pass
    assert [part.units_level for part in built if all(part.used)] == [level for level in engine.ratio_levels if level != 0.5]
    assert [(part.used, part.units_level) for part in built if not all(part.used)] == [
        ((False, True, True), 0.5),
        ((True, True, False), 0.5),
    ]
    built.clear()
    for live in ((True, True, True), mask, (False, True, True)):
        engine.infer(tiny_inputs(), np.array(live), 0.5)
    assert not built


def test_preparing_changes_no_answer(tmp_path):
    folder = save_checkpoint(tiny_model(), tmp_path)
    prepared, plain, x = Engine.load(folder), Engine.load(folder), tiny_inputs()
    for ratio in (0.0, 0.9, 0.0):
        answers = [engine.infer(x, ALL, ratio).probabilities for engine in (prepared, plain)]
        np.testing.assert_array_equal(*answers)
        while prepared.prepare(ALL, ratio):
            pass


def test_plans_are_bounded_and_a_plan_that_was_dropped_comes_back_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("sentryfuse_ros.runtime.compiled_plans.PLANS_KEPT", 2)
    engine, x = Engine.load(save_checkpoint(tiny_model(), tmp_path)), tiny_inputs()
    first = engine.infer(x, ALL, 0.0)
    for ratio in (0.5, 0.9):
        engine.infer(x, ALL, ratio)
    assert [part.units_level for part in engine._plans] == [0.5, 0.9]
    again = engine.infer(x, ALL, 0.0)
    np.testing.assert_array_equal(again.probabilities, first.probabilities)
    np.testing.assert_array_equal(again.attention_share, first.attention_share)


def test_temperature_of_mask_and_level_softens_the_probabilities(tmp_path):
    temperatures = {"111": [1.0] * 5 + [4.0] + [1.0] * 4}
    engine = Engine.load(save_checkpoint(tiny_model(), tmp_path, {"temperatures": temperatures}))
    plain, x = Engine.from_model(tiny_model()), tiny_inputs()
    for ratio in (0.0, 0.5):
        expected = plain.infer(x, ALL, ratio).probabilities ** (1 / temperatures["111"][engine.ratio_levels.index(ratio)])
        np.testing.assert_allclose(engine.infer(x, ALL, ratio).probabilities, expected / expected.sum(), rtol=1e-4)


def test_unknown_backend_is_a_checkpoint_error(tmp_path):
    folder = save_checkpoint(tiny_model(), tmp_path)
    with pytest.raises(CheckpointError, match="warp_drive.*auto, onnxruntime, torch; correct the parameter backend"):
        Engine.load(folder, backend="warp_drive")


def hide(monkeypatch, package):
    """Make a package look as if it were not installed."""
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == package else real(name, *rest))


@pytest.mark.parametrize("backend", ("onnxruntime", "torch"))
def test_backend_that_is_not_installed_is_named_with_the_remedy(tmp_path, monkeypatch, backend):
    folder = save_checkpoint(tiny_model(), tmp_path)
    hide(monkeypatch, backend)
    with pytest.raises(CheckpointError, match=f"{backend}.*not installed.*pip install {backend}"):
        Engine.load(folder, backend=backend)


def test_auto_takes_torch_where_onnxruntime_is_not_installed(tmp_path, monkeypatch):
    folder = save_checkpoint(tiny_model(), tmp_path)
    hide(monkeypatch, "onnxruntime")
    assert Engine.load(folder).backend.name == "torch"


def test_unknown_device_is_a_checkpoint_error(tmp_path):
    folder = save_checkpoint(tiny_model(), tmp_path)
    with pytest.raises(CheckpointError, match="device"):
        Engine.load(folder, device="warp_drive")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_missing_cuda_is_named_and_auto_falls_back_to_the_cpu(tmp_path):
    save_checkpoint(tiny_model(), tmp_path)
    with pytest.raises(CheckpointError, match="device 'cuda'.*set device to cpu"):
        Engine.load(tmp_path, "cuda")
    assert Engine.load(tmp_path, "auto").backend.device == "cpu"
