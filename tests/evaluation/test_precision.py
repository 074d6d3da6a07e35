"""Tests of the error of reduced precision: naive computation, storage, warnings."""

from __future__ import annotations

import copy
import logging

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from landscape.evaluation import precision as module
from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.device import reproducible_numerics
from landscape.evaluation.precision import PrecisionReport, probe_points
from landscape.geometry import Weights
from landscape.geometry.plane import random_plane
from landscape.geometry.plane_sets import PlaneFamily
from landscape.problem import Problem, Split, accuracy, cross_entropy
from landscape.surface import read_surface
from landscape.sweep import Grid, run_sweep
from landscape.sweep.config import SweepConfig

GRID = Grid.parse("-1:0.6:9", "-0.2:1:5")
BFLOAT = EvaluationConfig(dtype="bfloat16", batch_size=64)


@pytest.fixture
def problem():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = nn.Sequential(nn.Linear(12, 20), nn.Tanh(), nn.Linear(20, 4))
        splits = {name: Split(torch.randn(n, 12), torch.randint(4, (n,))) for name, n in (("train", 40), ("test", 9))}
    return Problem(model, splits, cross_entropy, {"acc": accuracy})


def test_probe_points():
    corners = [(-1.0, -0.2), (-1.0, 1.0), (0.6, -0.2), (0.6, 1.0)]
    assert probe_points(GRID.coordinates) == [(0.0, 0.0), *corners, (pytest.approx(-0.6), pytest.approx(0.1))]
    assert probe_points(Grid.parse("0:1:2").coordinates) == [(0.0,), (1.0,)]
    assert len(probe_points(Grid.parse("-1:1:9", "-1:1:9", "-1:1:9").coordinates)) == 10


def naive(problem, plane, at, dtype):
    """Mean losses of both splits: weights summed in float32, then everything but the loss in ``dtype``."""
    model = copy.deepcopy(problem.model)
    model.load_state_dict(dict(plane.at(at)))
    model.to(dtype)
    with torch.no_grad():
        return [
            float(functional.cross_entropy(model(split.inputs.to(dtype)).float(), split.targets).double())
            for split in problem.splits.values()
        ]


def test_precision_error_matches_naive_computation(problem):
    plane = random_plane(problem.model)
    report = run_sweep(problem, plane, GRID, evaluation=BFLOAT).surface.metadata.precision
    points = probe_points(GRID.coordinates)
    got = np.array([naive(problem, plane, at, torch.bfloat16) for at in points]).T
    want = np.array([naive(problem, plane, at, torch.float32) for at in points]).T
    relative = np.abs(got - want) / want
    assert 1e-5 < relative.max() < 0.1
    assert report["largest"] == pytest.approx(relative.max(), rel=1e-3)
    assert report["rms"] == pytest.approx(np.sqrt((relative**2).mean()), rel=1e-3)
    assert report["worst"] == list(points[int(np.unravel_index(relative.argmax(), relative.shape)[1])])
    assert report["largest_of_relief"] == pytest.approx(
        (np.abs(got - want).max(1) / np.ptp(want, axis=1)).max(), rel=1e-3
    )
    assert [tuple(point) for point in report["points"]] == points
    assert (report["dtype"], report["against"], report["not_finite"]) == ("bfloat16", "float32", 0)


def test_precision_is_measured_once_and_stored(problem, tmp_path, monkeypatch):
    plane, out, said = random_plane(problem.model), tmp_path / "s.h5", []
    seen = []
    first = run_sweep(
        problem, plane, GRID, SweepConfig(out), evaluation=BFLOAT, on_warning=said.append, stop=lambda: len(seen) > 3,
        progress=seen.append,
    )  # fmt: skip
    assert first.pending
    stored = read_surface(out).metadata.precision
    assert said == [PrecisionReport.from_json(stored).message()]
    monkeypatch.setattr(module.PrecisionProbe, "__init__", lambda *_: pytest.fail("measured again"))
    assert run_sweep(problem, plane, GRID, SweepConfig(out), evaluation=BFLOAT, on_warning=said.append).complete
    assert len(said) == 1
    assert read_surface(out).metadata.precision == stored


def test_precision_skips_stopped_points(problem):
    """The losses of stopped points are bounds and cannot be compared."""
    plane, grid = random_plane(problem.model), Grid.parse("-9:1:9", "-9:1:9")
    points = probe_points(grid.coordinates)
    want = np.array([naive(problem, plane, at, torch.float32) for at in points]).T
    limit = float(np.sort(want[0])[-2:].mean())  # the corner of the largest loss is beyond
    evaluation = EvaluationConfig(dtype="bfloat16", batch_size=8, stop_above=limit)
    surface = run_sweep(problem, plane, grid, evaluation=evaluation).surface
    assert surface.status.flat[int(np.argmax([p == points[int(want[0].argmax())] for p in grid]))] == 3
    report = surface.metadata.precision
    assert report["not_finite"] == 0
    assert report["largest"] < 0.1
    assert report["worst"] != list(points[int(want[0].argmax())])


def test_float32_has_no_precision_report(problem):
    assert run_sweep(problem, random_plane(problem.model), GRID).surface.metadata.precision is None


def test_precision_with_several_seeds(problem):
    origin = Weights.from_model(problem.model)
    family = PlaneFamily(origin, (3, 4), lambda seed: random_plane(origin, seed))
    found = [
        run_sweep(problem, where, GRID, evaluation=BFLOAT).surface.metadata.precision
        for where in (family, random_plane(origin, 3))
    ]
    assert found[0] == found[1]


def test_overflow_is_counted_and_warned_about(problem, caplog):
    with torch.no_grad():
        problem.model[2].weight.mul_(1e4)  # logits beyond 65,504, the largest of float16, away from the origin
    grid = Grid.parse("0:100:3")
    with caplog.at_level(logging.WARNING):
        surface = run_sweep(
            problem, random_plane(problem.model, 0, 1), grid, evaluation=EvaluationConfig(dtype="float16")
        ).surface
    report = surface.metadata.precision
    assert report["not_finite"] == 2
    assert np.isfinite(report["largest"])
    assert PrecisionReport.from_json(report).is_alarming
    assert "2 losses that are finite in float32 are not. Check that the figure can tolerate this" in caplog.text


@pytest.mark.parametrize(("largest", "warned"), [(0.0099, False), (0.0101, True)])
def test_precision_warning_above_one_percent(largest, warned):
    report = {
        "dtype": "bfloat16", "against": "float32", "points": [[0.0], [1.0]], "largest": largest, "rms": 0.004,
        "largest_of_relief": 0.002, "worst": [1.0], "not_finite": 0,
    }  # fmt: skip
    assert PrecisionReport.from_json(report).is_alarming is warned
    assert PrecisionReport.from_json(report).message().startswith("warning: ") is warned
    assert (
        PrecisionReport.from_json(report)
        .describe()
        .endswith("(RMS 0.4%) at 2 points, and by at most 0.2% of the relief between them")
    )
    nothing = {**report, "largest": None, "rms": None}
    assert PrecisionReport.from_json(nothing).is_alarming
    assert (
        PrecisionReport.from_json(nothing).describe()
        == "bfloat16 gives no finite loss at the 2 points where float32 was tried"
    )


def test_tf32_without_gpu_is_refused(problem):
    with pytest.raises(ValueError, match="tf32 is available on NVIDIA GPUs only, got device 'cpu'"):
        EvaluationConfig(dtype="tf32")
    evaluation = EvaluationConfig(dtype="tf32", device="auto")  # resolves to the CPU
    with pytest.raises(ValueError, match="got device 'cpu'"):
        run_sweep(problem, random_plane(problem.model), GRID, evaluation=evaluation, device="cpu")


def test_tf32_is_off_by_default():
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    with reproducible_numerics("cuda", tf32=True):
        assert torch.backends.cudnn.allow_tf32
        assert torch.backends.cuda.matmul.allow_tf32
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == before
