"""Dropout that draws one random byte per number."""

import pytest
import torch

from sentryfuse_ros.model.dropout import Dropout, dropout


def test_share_that_is_dropped_and_scale_of_the_rest():
    torch.manual_seed(0)
    x = torch.full((64, 57, 63), 2.0)  # not a multiple of eight
    y = dropout(x, 0.1)
    share = 26 / 256  # .1 as a 256th
    assert (y == 0).float().mean().item() == pytest.approx(share, abs=0.002)
    assert y[y != 0].unique().tolist() == pytest.approx([2.0 / (1 - share)]) and y.mean().item() == pytest.approx(2.0, abs=0.005)
    # Neighbours and rows are dropped apart from each other.
    gone = (y == 0).float().flatten()
    assert all((gone[k:] * gone[:-k]).mean().item() == pytest.approx(share**2, abs=0.002) for k in (1, 2, 7, 8, 63))


def test_seed_decides_what_is_dropped_and_the_gradient_follows():
    x = torch.randn(8, 16, requires_grad=True)
    first, second = [], []
    for out in (first, second):
        torch.manual_seed(3)
        out += [dropout(x, 0.5), dropout(x, 0.5)]
    assert torch.equal(first[0], second[0]) and not torch.equal(first[0], first[1])
    first[0].sum().backward()
    assert torch.equal(x.grad == 0, first[0] == 0) and set(x.grad.unique().tolist()) == {0.0, 2.0}


def test_nothing_is_dropped_by_chance_0_or_outside_training():
    x = torch.randn(4, 4)
    assert dropout(x, 0.0) is x and Dropout(0.5).eval()(x) is x and not torch.equal(Dropout(0.5).train()(x), x)
