"""Learning-rate schedules, compared with the published one and with torch."""

from __future__ import annotations

import pytest
import torch

from landscape.training.settings import SCHEDULES, find_schedule


@pytest.mark.parametrize("epochs", [300, 60, 12])
def test_step_as_published(epochs):
    # Li et al. multiply by 0.1 after epochs 150, 225 and 275 of 300, counted from 1.
    rate, expected = 1.0, []
    for epoch in range(1, epochs + 1):
        expected.append(rate)
        if epoch * 300 in (150 * epochs, 225 * epochs, 275 * epochs):
            rate *= 0.1
    got = [find_schedule("step").at(epoch * 7 + 6, 7, epochs) for epoch in range(epochs)]
    assert got == pytest.approx(expected, rel=1e-12)


def test_step_is_constant_within_an_epoch():
    # With 5 epochs half of them are over in the middle of one: the change waits for its end.
    got = [find_schedule("step").at(step, 10, 5) for step in range(50)]
    assert got == pytest.approx([1.0] * 30 + [0.1] * 10 + [0.01] * 10)


def test_cosine_equals_torch():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    annealing = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=12)
    for step in range(12):
        assert find_schedule("cosine").at(step, 4, 3) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        annealing.step()


def test_constant():
    assert {find_schedule("constant").at(step, 3, 4) for step in range(12)} == {1.0}


def test_first_factor_is_one():
    assert all(found.at(0, 5, 7) == 1 for found in SCHEDULES.values())


def test_unknown_name():
    with pytest.raises(ValueError, match="unknown schedule 'cosin'; did you mean 'cosine'"):
        find_schedule("cosin")
