"""The larger network of the benchmarks: the products that its plans are compared with are those of the plans."""

import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: make setup brings it")

from benchmarks.larger_network import SENSORS, larger_network, matrix_products  # noqa: E402
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
