"""On a GPU a plan is one captured graph, and it answers what torch answers on the CPU. Skipped where there is no GPU."""

import gc

import numpy as np
import pytest
import torch
from model_family import ELASTIC, FAMILY
from tiny_model import tiny_inputs, tiny_model

from sentryfuse_ros.model.subnetwork import all_codes, of_code
from sentryfuse_ros.pruning.planner import PlanChoice
from sentryfuse_ros.runtime.engine import Engine
from sentryfuse_ros.runtime.torch_backend import CudaGraphPlan

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU that torch can use")


@pytest.mark.parametrize("name", FAMILY)
def test_every_subnetwork_on_a_cuda_graph_answers_like_the_cpu(name):
    changes = {**FAMILY[name], **ELASTIC}
    if name == "bottleneck":
        changes |= dict(layers=4, fusion_sizes=[[4, 0.0], [3, 0.5], [4, 0.9]])
    cpu, gpu = (Engine.from_model(tiny_model(**changes), device=device) for device in ("cpu", "cuda"))
    assert gpu.backend.device == "cuda"
    config = cpu.checkpoint.config
    for i, code in enumerate(all_codes(config)):
        for size in config.fusion_sizes:
            choice, x = PlanChoice(of_code(code, size)), tiny_inputs(i)
            ours, expected = gpu.run(choice, x), cpu.run(choice, x)
            np.testing.assert_allclose(ours.probabilities, expected.probabilities, rtol=0, atol=1e-4)
            np.testing.assert_allclose(ours.attention_share, expected.attention_share, rtol=0, atol=1e-4)


def test_plans_are_graphs_and_switching_between_them_restores_the_answers_exactly():
    engine, everyone = Engine.from_model(tiny_model(**ELASTIC), device="cuda"), np.ones(3, bool)
    first, pruned = (engine.infer(tiny_inputs(), everyone, ratio) for ratio in (0.0, 0.9))
    assert all(isinstance(engine._plans.use(part).compiled, CudaGraphPlan) for part in list(engine._plans))
    engine.infer(tiny_inputs(1), everyone, 0.0)
    again = engine.infer(tiny_inputs(), everyone, 0.0)
    assert not np.array_equal(pruned.probabilities, first.probabilities)
    np.testing.assert_array_equal(again.probabilities, first.probabilities)
    np.testing.assert_array_equal(again.attention_share, first.attention_share)


def test_the_memory_of_a_plan_is_its_own_as_long_as_the_plan_lives():
    """A graph knows its weights by their addresses only, and would read whatever lies there later."""
    engine, everyone = Engine.from_model(tiny_model(**ELASTIC), device="cuda"), np.ones(3, bool)
    first = engine.infer(tiny_inputs(), everyone, 0.9)
    gc.collect()
    torch.cuda.empty_cache()
    others = [torch.full((size,), torch.nan, device="cuda") for size in (16, 256, 4096, 65536) for _ in range(200)]
    again = engine.infer(tiny_inputs(), everyone, 0.9)
    np.testing.assert_array_equal(again.probabilities, first.probabilities)
    assert len(others) == 800
