"""Tests of the precision of an evaluation by default: that of the weights, recorded and said."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from landscape.cli.main import main
from landscape.errors import StoreError
from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.evaluator import open_evaluator
from landscape.geometry.plane import random_plane
from landscape.problem import Problem, Split
from landscape.problem.measures import mean_squared_error
from landscape.problem.spec import ProblemSpec
from landscape.surface import read_surface
from landscape.sweep.config import SweepConfig
from landscape.sweep.grid import Axis, Grid
from landscape.sweep.sweep import run_sweep
from landscape.training.run import Run
from landscape.workflows import surface_task
from landscape.workflows.check import check
from landscape.workflows.planes import PlaneConfig
from landscape.workflows.surface import compute_surface
from landscape.workflows.trajectory import principal_plane_of, project


def problem_of(dtype, data=torch.float64):
    """A regression whose loss is 1e-12 at the origin: single precision cannot see it."""
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8, dtype=torch.float64), nn.Tanh(), nn.Linear(8, 2, dtype=torch.float64))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        inputs = torch.randn(20, 3, generator=generator, dtype=torch.float64)
        targets = model(inputs) + 1e-6
    return Problem(model.to(dtype), {"train": Split(inputs.to(data), targets.to(data))}, mean_squared_error)


PROBLEM = """
import torch
from torch import nn
from landscape.problem import Problem, Split, mean_squared_error

def problem():
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)).to({weights})
    draw = torch.Generator().manual_seed(0)
    inputs, targets = (torch.randn(20, n, generator=draw).to({data}) for n in (3, 2))
    return Problem(model, {{"train": Split(inputs, targets)}}, mean_squared_error)
"""


@pytest.mark.parametrize("engine", ["auto", "eager"])
def test_double_precision_network_is_measured_in_double_precision(engine):
    problem = problem_of(torch.float64)
    plane = random_plane(problem.model)
    with open_evaluator(problem, plane, EvaluationConfig(engine=engine)) as evaluate:
        assert evaluate((0.0, 0.0))[0] == pytest.approx(1e-12, rel=1e-6, abs=0)
    with open_evaluator(problem, plane, EvaluationConfig(engine=engine, dtype="float32")) as evaluate:
        assert evaluate((0.0, 0.0))[0] != pytest.approx(1e-12, rel=1e-2, abs=0)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (torch.float32, "float32"),
        (torch.float64, "float64"),
        (torch.float16, "float32"),
        (torch.bfloat16, "float32"),
    ],
)
def test_precision_is_recorded_and_said(weights, expected, tmp_path):
    said = []
    for data in (torch.float32, torch.float64):
        out = tmp_path / f"{data}.h5"
        surface = compute_surface(
            problem_of(weights, data), grid=["-1:1:3"], config=SweepConfig(out=out), on_message=said.append
        ).surface
        assert surface.metadata.settings.dtype == expected
        assert f" parameters in {expected}" in said[0]
        said.clear()
    direct = run_sweep(problem_of(weights), random_plane(problem_of(weights).model, axes=1), Grid((Axis(0, 1, 2),)))
    assert direct.surface.metadata.settings.dtype == expected
    assert EvaluationConfig().resolved(nn.Flatten()).dtype == "float32"


def test_one_double_precision_weight_decides():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2, dtype=torch.float64)

        def forward(self, x):
            return self.last(self.first(x.to(self.first.weight.dtype)).double())

    assert EvaluationConfig().resolved(Mixed()).dtype == "float64"
    assert EvaluationConfig(dtype="bfloat16").resolved(Mixed()).dtype == "bfloat16"


def test_file_in_another_precision_is_resumed_in_it(tmp_path):
    """Version 0.1 measured networks in double precision in single precision by default."""
    problem, out, left = problem_of(torch.float64), tmp_path / "s.h5", [3]

    def stop():
        left[0] -= 1
        return left[0] < 0

    def sweep(dtype, stop=None):
        config = SweepConfig(out=out)
        return compute_surface(
            problem, None, ["-1:1:7"], config, evaluation=EvaluationConfig(dtype=dtype, device="cpu"), stop=stop
        )

    assert not sweep("float32", stop).complete
    assert sweep("auto").complete
    whole = compute_surface(problem, None, ["-1:1:7"], evaluation=EvaluationConfig(dtype="float32")).surface
    assert read_surface(out).metric().tobytes() == whole.metric().tobytes()
    with pytest.raises(StoreError, match="dtype: the file has 'float32', this sweep uses 'float64'"):
        sweep("float64")


def test_sweep_resumes_a_file_in_its_precision(tmp_path):
    problem, left = problem_of(torch.float64), [3]
    plane, grid, config = random_plane(problem.model, axes=1), Grid((Axis(-1, 1, 7),)), SweepConfig(tmp_path / "s.h5")

    def stop():
        left[0] -= 1
        return left[0] < 0

    single = EvaluationConfig(dtype="float32")
    assert not run_sweep(problem, plane, grid, config, evaluation=single, stop=stop).complete
    assert run_sweep(problem, plane, grid, config).complete
    whole = run_sweep(problem, plane, grid, evaluation=single).surface
    assert read_surface(tmp_path / "s.h5").metric().tobytes() == whole.metric().tobytes()


def test_run_in_double_precision(tmp_path, capsys):
    """The checkpoint keeps its digits although the network is built in single precision; so does its line."""
    words = ["--model", "mlp", "--model-arg", "widths=(4,)", "--samples", "40", "--epochs", "2", "--batch-size", "10"]
    run, out = tmp_path / "run", tmp_path / "s.h5"
    assert main(["train", *words, "--dtype", "float64", "--out", str(run)]) == 0
    first = run / "checkpoints" / "step-00000000.pt"
    capsys.readouterr()
    assert main(["surface", str(run), "--to", str(first), "--x", "0:1:3", "--out", str(out)]) == 0
    assert " parameters in float64" in capsys.readouterr().err
    found = read_surface(out)
    assert found.metadata.settings.dtype == "float64"
    assert found.metric()[0] == pytest.approx(Run.open(run).load().metrics["train_loss"], rel=1e-13)
    assert found.metric()[2] == pytest.approx(Run.open(run).load(0).metrics["train_loss"], rel=1e-13)
    assert main(["check", str(out)]) == 0

    # Version 0.1 rounded the weights first, and measured in double precision on request.
    single = compute_surface(
        run, PlaneConfig(to=first), ["0:1:3"], evaluation=EvaluationConfig(dtype="float32")
    ).surface
    assert not np.array_equal(single.metric(), found.metric())


def test_path_and_checks_of_a_run_in_double_precision(tmp_path):
    """Coordinates, losses measured afterwards and findings have the digits of the checkpoints."""
    words = ["--model", "mlp", "--model-arg", "widths=(4,)", "--samples", "40", "--epochs", "3", "--batch-size", "10"]
    out = tmp_path / "run"
    assert main(["train", *words, "--dtype", "float64", "--checkpoint-steps", "3", "--out", str(out)]) == 0
    run = Run.open(out)
    plane = principal_plane_of(run)
    rows = []
    for step in run.saved_steps:
        rows.append(np.concatenate([t.numpy().reshape(-1) for t in run.load(step).state_dict.values()]))
        assert rows[-1].dtype == np.float64
    rows = np.array(rows)
    (path,) = project(run, plane, measure=True)
    _, _, vectors = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    expected = (rows - rows[-1]) @ vectors[:2].T
    np.testing.assert_allclose(np.abs(path.coordinates), np.abs(expected), rtol=1e-9, atol=1e-12)

    problem = run.build_problem(("train",))
    for step, loss in zip(run.saved_steps, path.loss, strict=True):
        model = run.build_problem(("train",)).model.double()
        model.load_state_dict(run.load(step).state_dict)
        split = problem.splits["train"].to("cpu", torch.float64)
        with torch.no_grad():
            logits = model(split.inputs)
        exact = float(-torch.log_softmax(logits, 1).gather(1, split.targets[:, None]).mean())
        assert loss == pytest.approx(exact, rel=1e-13)
    (finding,) = [finding for finding in check(run) if finding.name == "origin"]
    assert finding.value < 1e-13

    surface = tmp_path / "s.h5"
    compute_surface(run, None, ["-1:1:3"], SweepConfig(out=surface))
    (finding,) = [finding for finding in check(surface) if finding.name == "origin"]
    assert finding.value < 1e-13


def test_check_of_a_problem_in_another_precision(tmp_path):
    """The data of a problem made in Python need not have the precision of its weights."""
    for weights, data in ((torch.float64, torch.float32), (torch.float16, torch.float32)):
        source = tmp_path / f"{weights}.py"
        source.write_text(PROBLEM.format(weights=weights, data=data))
        out = tmp_path / f"{weights}.h5"
        problem = ProblemSpec(factory=f"{source}:problem").build()
        compute_surface(problem, None, ["-1:1:3"], SweepConfig(out=out))
        found = {finding.name: finding for finding in check(out)}
        assert "network" not in found
        assert found["origin"].value < (1e-13 if weights == torch.float64 else 5e-3)


def test_unfinished_file_of_rounded_weights_is_resumed(tmp_path, monkeypatch):
    words = ["--model", "mlp", "--model-arg", "widths=(4,)", "--samples", "40", "--epochs", "1", "--batch-size", "10"]
    run, out = tmp_path / "run", tmp_path / "s.h5"
    assert main(["train", *words, "--dtype", "float64", "--out", str(run)]) == 0
    open_source = surface_task.open_source
    with monkeypatch.context() as patch:
        patch.setattr(surface_task, "open_source", lambda *a, **k: open_source(*a, **{**k, "double_precision": False}))
        double = EvaluationConfig(dtype="float64", device="cpu")
        rounded = compute_surface(run, None, ["0:1:3"], SweepConfig(out=out), evaluation=double).surface
    with h5py.File(out, "r+") as file:
        file["status"][1] = 0
        file["train_loss"][1] = np.nan
        file.attrs["finished"] = np.bytes_("")
        assert json.loads(file.attrs["settings"])["dtype"] == "float64"
    assert compute_surface(run, None, ["0:1:3"], SweepConfig(out=out), evaluation=double).complete
    assert read_surface(out).metric().tobytes() == rounded.metric().tobytes()
