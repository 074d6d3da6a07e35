"""Checks: each one on a surface made to pass it, and on one made to fail it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from landscape.analysis.checks import (
    BAD,
    OK,
    WARN,
    Finding,
    _check_statistics,
    check_axes,
    check_evaluation,
    check_surface,
    worst,
)
from landscape.evaluation.config import EvaluationConfig
from landscape.geometry import Plane
from landscape.geometry.plane import random_plane
from landscape.problem.problem import Problem, Split
from landscape.surface.metadata import SurfaceMetadata
from landscape.surface.settings import SweepSettings
from landscape.surface.surface import DONE, PENDING, Surface


def surface(loss, x=None, y=None, stderr=None, status=None) -> Surface:
    x = np.linspace(-1, 1, 21) if x is None else x
    y = np.linspace(-1, 1, 21) if y is None else y
    values = loss(x[None, :], y[:, None]) + np.zeros((len(y), len(x))) if callable(loss) else loss
    found = {"train_loss": values}
    if stderr is not None:
        found["train_loss_stderr"] = np.full(values.shape, stderr)
    return Surface((x, y), found, np.full(values.shape, DONE, np.uint8) if status is None else status)


def bowl(x, y):
    return 0.05 + x**2 + 2 * y**2


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    named = {finding.name: finding for finding in findings}
    assert len(named) == len(findings)
    for finding in findings:
        assert bool(finding.advice) == (finding.verdict != OK), "advice if and only if there is something to do"
    return named


def test_good_surface_passes_all_checks():
    findings = check_surface(surface(bowl, stderr=0.005), expected=0.05)
    assert {f.name for f in findings} == {"complete", "origin", "finite", "relief", "valley", "lowest", "sampling"}
    assert worst(findings) == OK
    assert by_name(findings)["origin"].value < 1e-12


def test_origin_has_the_loss_of_the_checkpoint():
    wrong = by_name(check_surface(surface(bowl), expected=0.06))["origin"]
    assert wrong.verdict == BAD
    assert wrong.value == pytest.approx(1 / 6)
    assert "0.05" in wrong.text
    assert "0.06" in wrong.text
    even = by_name(check_surface(surface(bowl, x=np.linspace(-1, 1, 20)), expected=0.05))["origin"]
    assert even.verdict == WARN
    assert "no point at the origin" in even.text
    assert "origin" not in by_name(check_surface(surface(bowl)))


def test_missing_points():
    status = np.full((21, 21), DONE, np.uint8)
    status[10, 10] = PENDING
    found = by_name(check_surface(surface(bowl, status=status), expected=0.05))
    assert found["complete"].verdict == WARN
    assert found["complete"].text == "440 of 441 points are done"
    assert found["origin"].text == "the point at the origin is not done"
    nothing = check_surface(surface(bowl, status=np.zeros((21, 21), np.uint8)))
    assert [f.name for f in nothing] == ["complete"]


@pytest.mark.parametrize(("share", "verdict"), [(0.0, OK), (0.1, WARN), (0.6, BAD)])
def test_not_finite_values(share, verdict):
    values = bowl(np.linspace(-1, 1, 21)[None, :], np.linspace(-1, 1, 21)[:, None])
    values.ravel()[: round(share * values.size)] = np.nan
    found = by_name(check_surface(surface(values)))["finite"]
    assert found.verdict == verdict
    assert found.value == pytest.approx(share, abs=0.01)


def test_flat_surface():
    assert by_name(check_surface(surface(lambda x, y: 2 + 1e-4 * x * y)))["relief"].verdict == BAD
    noisy = by_name(check_surface(surface(bowl, stderr=2.0)))
    assert noisy["relief"].verdict == BAD
    assert "three standard errors" in noisy["relief"].text
    assert by_name(check_surface(surface(lambda x, y: x * 0)))["relief"].verdict == BAD


def test_surface_of_walls():
    found = by_name(check_surface(surface(lambda x, y: 0.01 + np.where(np.hypot(x, y) < 0.05, 0, 1e6))))["valley"]
    assert found.verdict == WARN
    assert "smaller range" in found.advice
    assert found.value == pytest.approx(1 / 441)


@pytest.mark.parametrize("count", [5, 7, 21, 51])
@pytest.mark.parametrize("centre", [1e-6, 0.05, 1.0])
def test_bowl_is_no_wall_on_any_grid(count, centre):
    axis = np.linspace(-1, 1, count)
    found = by_name(check_surface(surface(lambda x, y: centre + x**2 + y**2, x=axis, y=axis)))
    assert found["valley"].verdict == OK


def test_minimum_on_the_edge():
    found = by_name(check_surface(surface(lambda x, y: 5 + x + y**2)))["lowest"]
    assert found.verdict == WARN
    assert found.text == "the lowest loss is 4, at (-1, 0), on the edge of the grid"
    assert found.value == 1.0


@pytest.mark.parametrize(("stderr", "verdict"), [(0.01, OK), (0.3, WARN), (5.0, BAD)])
def test_sampling_error(stderr, verdict):
    found = by_name(check_surface(surface(bowl, stderr=stderr)))["sampling"]
    assert found.verdict == verdict
    assert found.value == pytest.approx(
        stderr / (np.quantile(bowl(*np.meshgrid(*[np.linspace(-1, 1, 21)] * 2)), 0.9) - 0.05)
    )


def test_sampling_error_prefers_paired_errors():
    whole = surface(bowl, stderr=0.3)
    assert "paired errors are those of differences" in by_name(check_surface(whole))["sampling"].advice
    paired = replace(whole, values={**whole.values, "train_loss_paired_stderr": np.full(whole.shape, 0.01)})
    found = by_name(check_surface(paired))["sampling"]
    assert found.verdict == OK
    assert found.text.startswith("the median paired standard error is 0.01,")


def test_one_and_three_axes():
    line = np.linspace(-1, 1, 11)
    curve = Surface((line,), {"train_loss": line**2 + 0.1}, np.ones(11, np.uint8))
    assert worst(check_surface(curve, expected=0.1)) == OK
    z, y, x = np.meshgrid(*[line] * 3, indexing="ij")
    volume = Surface((line,) * 3, {"train_loss": 0.1 + x**2 + y**2 + z**2}, np.ones((11,) * 3, np.uint8))
    assert worst(check_surface(volume, expected=0.1)) == OK


def test_seeds_are_no_coordinate():
    """The minimum of each seed is at the origin; taken as a coordinate, seed 0 would be the edge of the grid."""
    one, plane = surface(bowl), random_plane(nn.Linear(50, 50))
    values = np.stack([one.values["train_loss"] + 0.01 * seed for seed in range(3)])
    seeds = Surface(
        (*one.coordinates, np.arange(3.0)), {"train_loss": values}, np.full(values.shape, DONE, np.uint8),
        SurfaceMetadata(settings=SweepSettings(seeds=(0, 1, 2))),
    )  # fmt: skip
    planes = {0: plane, 1: Plane(plane.origin, (plane.directions[0],) * 2), 2: plane}
    found = by_name(check_surface(seeds, planes, expected=0.05))
    assert found["lowest"].verdict == OK
    assert found["lowest"].value < 1e-12
    assert found["cosine_xy"].verdict == BAD
    assert found["cosine_xy"].text.startswith("seed 1: ")
    assert found["origin"].text.startswith("seed 1: "), "the first of the worst"


def test_axes():
    plane = random_plane(nn.Linear(50, 50), axes=3)
    assert [f.name for f in check_axes(plane)] == ["cosine_xy", "cosine_xz", "cosine_yz"]
    assert worst(check_axes(plane)) == OK
    x, y, _ = plane.directions
    sheared = y.with_weights(y.weights.with_tensors({n: t + x.weights.tensors[n] for n, t in y.weights}))
    found = by_name(check_axes(Plane(plane.origin, (x, sheared))))["cosine_xy"]
    assert found.verdict == WARN
    assert found.value == pytest.approx(0.707, abs=0.05)
    assert by_name(check_axes(Plane(plane.origin, (x, x))))["cosine_xy"].verdict == BAD
    silent = x.with_weights(x.weights.with_tensors({n: 0 * t for n, t in x.weights}))
    assert by_name(check_axes(Plane(plane.origin, (x, silent))))["cosine_xy"].verdict == BAD
    assert "cosine_xy" in by_name(check_surface(surface(bowl), plane))


def problem(model: nn.Module, samples: int = 256) -> Problem:
    stream = torch.Generator().manual_seed(0)
    inputs = torch.randn(samples, 6, generator=stream)
    targets = (inputs[:, 0] > 0).long()
    return Problem(
        model, {"train": Split(inputs, targets)}, lambda o, t: nn.functional.cross_entropy(o, t, reduction="none")
    )


def small(*between: nn.Module) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 8), *between, nn.ReLU(), nn.Linear(8, 2))


def test_evaluation_of_a_good_network():
    subject = problem(small())
    with torch.no_grad():
        expected = float(
            subject.loss(subject.model(subject.splits["train"].inputs), subject.splits["train"].targets).mean()
        )
    before = {name: t.clone() for name, t in subject.model.state_dict().items()}
    findings = check_evaluation(subject, random_plane(subject.model), expected=expected)
    assert {f.name for f in findings} == {"repeats", "origin"}
    assert worst(findings) == OK
    assert by_name(findings)["repeats"].value == 0
    assert all(torch.equal(t, before[name]) for name, t in subject.model.state_dict().items())
    wrong = by_name(check_evaluation(subject, random_plane(subject.model), expected=2 * expected))["origin"]
    assert wrong.verdict == BAD


def test_network_with_a_state_does_not_repeat():
    class Drifting(nn.Module):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return x * (1 + 0.01 * self.calls)

    found = by_name(check_evaluation(problem(small(Drifting())), random_plane(small(Drifting()))))["repeats"]
    assert found.verdict == BAD
    assert found.value > 1e-4


def test_network_that_remembers_weights_does_not_repeat():
    class Remembering(nn.Linear):
        last: torch.Tensor | None = None

        def forward(self, x):
            before = self.weight if self.last is None else self.last
            self.last = self.weight.detach().clone()
            return nn.functional.linear(x, before, self.bias)

    with torch.random.fork_rng():  # weights outside `small` would depend on the tests that ran before
        torch.manual_seed(1)
        remembering = Remembering(8, 8)
    model = small(remembering)
    assert by_name(check_evaluation(problem(model), random_plane(model)))["repeats"].verdict == BAD


def test_stale_batch_norm_statistics():
    model = small(nn.BatchNorm1d(8))
    model.train()
    subject = problem(model)
    for _ in range(200):
        model(subject.splits["train"].inputs)
    plane = random_plane(model)
    fresh = by_name(check_evaluation(subject, plane))["batch-norm"]
    assert fresh.verdict == OK
    model[1].running_var.fill_(1e-3)
    stale = by_name(check_evaluation(subject, plane))["batch-norm"]
    assert stale.verdict in (WARN, BAD)
    assert stale.value > 0.1
    assert "recalibrate the statistics" in stale.advice
    turned = by_name(check_evaluation(subject, plane, EvaluationConfig(bn="recalibrate")))["batch-norm"]
    assert turned.text == stale.text, "for both settings of the surface"


@pytest.mark.parametrize(("error", "verdict"), [(0.0016, OK), (0.0008, WARN), (float("nan"), WARN)])
def test_difference_of_statistics_within_the_error_of_the_loss(error, verdict):
    found = _check_statistics("train_loss", 0.0085, 0.0103, error)
    assert found.verdict == verdict
    assert ("within two standard errors" in found.text) == (verdict == OK)


def test_no_check_of_statistics_without_any():
    model = small(nn.BatchNorm1d(8, track_running_stats=False))
    assert "batch-norm" not in by_name(check_evaluation(problem(model), random_plane(model)))


def test_worst():
    fine = Finding("a", 0.0, OK, "")
    assert worst([]) == OK
    assert worst([fine, replace(fine, verdict=WARN), fine]) == WARN
    assert worst([replace(fine, verdict=BAD), replace(fine, verdict=WARN)]) == BAD
