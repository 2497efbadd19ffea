"""SentryGate, and the saliency that teaches it."""

import pytest
import torch
from tiny_model import tiny_batch, tiny_config, tiny_model

from sentryfuse_ros.model.gate import SentryGate
from sentryfuse_ros.pruning.saliency import SaliencyTeacher, alignment_loss, saliency, unit_scales


def test_scores_have_one_entry_per_unit_and_depend_on_the_mask():
    model = tiny_model()
    heads, channels = model.gate(torch.tensor([True, True, True]))
    assert heads.shape == (2, 4) and channels.shape == (2, 32)
    other, _ = model.gate(torch.tensor([True, False, True]))
    assert not torch.equal(heads, other)


def test_saliency_is_the_gradient_of_silencing_a_unit():
    """First order: a unit's |dL/dm| predicts the change of the loss when its multiplier moves a little."""
    model, batch = tiny_model(), {n: x[:1] for n, x in tiny_batch().items()}
    tokens, label = model.tokens(batch, (True, True, True)), torch.tensor([2])
    scales = unit_scales(model.config, 1)
    loss = torch.nn.functional.cross_entropy(model.fuse(tokens, scales=scales).logits, label)
    loss.backward()
    gradient = scales[1].channels.grad[0]
    unit = int(gradient.abs().argmax())
    moved = unit_scales(model.config, 1)
    with torch.no_grad():
        moved[1].channels[0, unit] -= 1e-2
        change = torch.nn.functional.cross_entropy(model.fuse(tokens, scales=moved).logits, label) - loss.detach()
    assert float(change) == pytest.approx(-1e-2 * float(gradient[unit]), rel=0.1)


def test_saliency_takes_the_absolute_value_per_sample():
    scales = unit_scales(tiny_config(), 2)
    for s in scales:
        s.heads.grad, s.channels.grad = torch.ones_like(s.heads), torch.ones_like(s.channels)
    scales[0].heads.grad[:, 0] = torch.tensor([3.0, -3.0])  # cancels if averaged first
    heads, channels = saliency(scales)
    assert heads.argmax() == 0 and float(heads.mean()) == pytest.approx(1) and float(channels.mean()) == pytest.approx(1)


def test_teacher_averages_per_mask_and_survives_saving():
    teacher = SaliencyTeacher(rate=0.5)
    assert teacher.target((True, False)) is None
    teacher.update((True, False), (torch.zeros(1), torch.zeros(2)))
    teacher.update((True, False), (torch.ones(1), torch.ones(2)))
    teacher.update((True, True), (torch.full((1,), 7.0), torch.ones(2)))
    assert teacher.target((True, False))[0] == 0.5 and teacher.target((True, True))[0] == 7
    again = SaliencyTeacher(rate=0.5)
    again.load_state_dict(teacher.state_dict())
    assert torch.equal(again.target((True, True))[0], teacher.target((True, True))[0])


def test_gate_learns_another_order_for_every_mask_from_its_teacher():
    torch.manual_seed(0)
    gate = SentryGate(2, sites=2, heads=4, channels=8, hidden=8)
    targets = {mask: (torch.rand(2, 4), torch.rand(2, 8)) for mask in ((True, True), (True, False), (False, True))}
    optimiser = torch.optim.Adam(gate.parameters(), lr=0.03)
    for _ in range(400):
        loss = sum(alignment_loss(gate(torch.tensor(m)), t) for m, t in targets.items())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 1e-3
    for mask, (heads, _) in targets.items():
        assert gate(torch.tensor(mask))[0].flatten().argsort().tolist() == heads.flatten().argsort().tolist()
