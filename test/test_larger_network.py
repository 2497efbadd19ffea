"""The larger network of the benchmarks: the products that its plans are compared with are those of the plans."""

import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: make setup brings it")

from benchmarks.larger_network import SENSORS, choose_by_time, larger_network, matrix_products  # noqa: E402
from sentryfuse_ros.model.saved import checkpoint_of  # noqa: E402
from sentryfuse_ros.runtime.engine import Engine  # noqa: E402
from sentryfuse_ros.runtime.onnx_backend import OnnxBackend  # noqa: E402


@pytest.mark.parametrize("ratio", (0.0, 0.5, 0.9))
def test_the_products_of_a_plan_have_its_flops_but_for_the_read_out(ratio):
    checkpoint = checkpoint_of(larger_network())
    engine = Engine(checkpoint, OnnxBackend(checkpoint))
    config, choice = checkpoint.config, engine.choice([True] * SENSORS, ratio)
    products = matrix_products(config, [keep.budget for keep in engine.units(choice)])
    tokens, d = 256, config.d_model
    readout = 2 * (tokens * d * (config.readout_heads + d) + d * len(config.classes))
    assert sum(2 * n * rows * inner * columns for n, rows, inner, columns in products) == engine.flops(choice) - readout


def test_a_ratio_runs_the_plan_with_most_flops_that_fits_into_its_share_of_the_measured_time():
    checkpoint = checkpoint_of(larger_network())
    engine, everyone = Engine(checkpoint, OnnxBackend(checkpoint)), [True] * SENSORS
    whole = engine.flops(engine.choice(everyone, 0.0))
    choose_by_time(engine, rounds=2)
    chosen = [engine.choice(everyone, ratio) for ratio in (0.0, 0.5, 0.7, 0.9)]
    assert engine.budget == "time" and engine.flops(chosen[0]) == whole
    for plan, ratio in zip(chosen[1:], (0.5, 0.7)):  # at 0.9, what fits is too near to the cheapest plan for a busy machine
        assert all(plan.used) and plan.cost_ms <= (1 - ratio) * engine.dense_ms
    flops = [engine.flops(plan) for plan in chosen]
    assert flops == sorted(flops, reverse=True) and flops[3] > 0.02 * whole
