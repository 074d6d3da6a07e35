"""Code that files name: run only if the user gave the same reference, or trusts the file."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from landscape import (
    BasinConfig,
    CompareOptions,
    ConnectOptions,
    CurvatureConfig,
    EvaluationConfig,
    SharpnessConfig,
    SweepConfig,
    compare_runs,
    compute_surface,
    connect,
    curvature,
    hessian_plane,
    measure_basin,
    measure_sharpness,
    principal_plane_of,
    project,
    resume,
    train,
)
from landscape._utils import trust
from landscape.errors import DataError, UntrustedCodeError
from landscape.problem.spec import ProblemSpec
from landscape.training.run import Run
from landscape.training.settings import TrainingSettings
from landscape.workflows.check import check

MINE = """
from pathlib import Path
import torch
from landscape import Problem, Split

Path(__file__).with_name("ran").touch()

def problem(width=3):
    model = torch.nn.Linear(width, 1)
    x = torch.linspace(-1, 1, 30).reshape(-1, 3)
    return Problem(model, {"train": Split(x, x.sum(1, keepdim=True))}, lambda o, t: (o - t).square().mean(1))

def network(num_classes=10, in_features=64):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(in_features, num_classes))

class Optimizer(torch.optim.SGD):
    pass
"""


@pytest.fixture
def mine(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(trust, "_given", set())
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    return file


@pytest.fixture
def run(mine, monkeypatch) -> Run:
    """A run that this process has no part in."""
    found = train(
        ProblemSpec(factory=f"{mine}:problem"),
        "sgd:lr=0.1",
        TrainingSettings(epochs=1, batch_size=10),
        mine.parent / "run",
    )
    forget(monkeypatch, mine)
    return found


def forget(monkeypatch, mine: Path) -> None:
    monkeypatch.setattr(trust, "_given", set())
    mine.with_name("ran").unlink()
    mine.write_text(mine.read_text() + "\n")  # another file for Python, which runs it again


def _connect(run: Run, **options):
    return connect([run, run.checkpoints[0]], options=ConnectOptions(points=3), **options)


def _compare(run: Run, **options):
    small = CompareOptions(points=3, plane="random", scene=False)
    return compare_runs([run, run], run.path.parent / "out", small, ranks=1, **options)


def _sharpness(run: Run, **options):
    return measure_sharpness(run, SharpnessConfig(("average-filter",), directions=2), **options)


@pytest.mark.parametrize(
    "use",
    [
        _connect,
        _compare,
        _sharpness,
        Run.build_problem,
        compute_surface,
        check,
        partial(curvature, config=CurvatureConfig(k=1, trace_probes=0, density_probes=0)),
        partial(hessian_plane, which=(1,)),
        partial(measure_basin, config=BasinConfig(rays=2, special=())),
        partial(project, axes=1, measure=True),
        partial(principal_plane_of, axes=1),
    ],
    ids=lambda use: getattr(use, "func", use).__name__,
)
def test_every_function_asks(run, mine, use):
    with pytest.raises(UntrustedCodeError, match=r"run\.json names code to be run: .*mine\.py:problem"):
        use(run)
    assert not mine.with_name("ran").exists()
    use(run, trust=True)
    assert mine.with_name("ran").exists()


@pytest.mark.mpi
def test_given_reference_reaches_ranks(run, mine):
    ProblemSpec(factory=f"{mine}:problem")
    assert curvature(run, CurvatureConfig(k=1, trace_probes=0, density_probes=0), ranks=2).complete


def test_run_of_somebody_else(run, mine):
    for use in (Run.build_problem, compute_surface, check, lambda r: resume(_unfinished(r))):
        with pytest.raises(UntrustedCodeError, match=r"run\.json names code to be run: .*mine\.py:problem") as raised:
            use(Run.open(run.path))
        assert "pass trust=True" in str(raised.value)
    assert not mine.with_name("ran").exists()
    assert Run.open(run.path).build_problem(trust=True).model.in_features == 3
    assert mine.with_name("ran").exists()


def _unfinished(run: Run) -> Run:
    record = json.loads((run.path / "run.json").read_text())
    (run.path / "run.json").write_text(json.dumps({**record, "finished": None}))
    return Run.open(run.path)


def test_environment_variable(run, monkeypatch):
    monkeypatch.setenv("LANDSCAPE_TRUST", "1")
    assert run.build_problem().model.in_features == 3


def test_trust_ends_with_its_block(run):
    with trust.trusting():
        run.build_problem()
        with trust.trusting(False):
            run.build_problem()  # the outer block allows it
    with pytest.raises(UntrustedCodeError):
        run.build_problem()


def test_reference_given_in_this_process(run, mine, monkeypatch):
    monkeypatch.chdir(mine.parent)
    ProblemSpec(factory="mine.py:problem")  # the same file by another name; never built
    assert run.build_problem().model.in_features == 3


def test_another_function_of_a_given_file(run, mine):
    ProblemSpec(factory=f"{mine}:network")
    with pytest.raises(UntrustedCodeError, match=r"mine\.py:problem"):
        run.build_problem()


def test_surface_file(mine, monkeypatch):
    out = mine.parent / "surface.h5"
    problem = ProblemSpec(factory=f"{mine}:problem").build()
    compute_surface(problem, None, ["-1:1:3"], SweepConfig(out=out), evaluation=EvaluationConfig())
    forget(monkeypatch, mine)
    assert "names code to be run" in {finding.name: finding.text for finding in check(out)}["network"]
    assert not mine.with_name("ran").exists()
    assert "network" not in {finding.name for finding in check(out, trust=True)}
    assert mine.with_name("ran").exists()


@pytest.mark.parametrize(
    "problem",
    [
        {"factory": "os:system", "factory_args": {"command": "touch ran"}},
        {"factory": "subprocess:run", "factory_args": {"args": ["touch", "ran"]}},
        {"model": "os:system", "model_args": {"command": "touch ran"}, "dataset": "digits"},
        {"model": "mlp", "dataset": "os:system", "dataset_args": {"command": "touch ran"}},
        {"model": "FILE:network", "dataset": "digits"},
        {"factory": "landscape.functions.problem:problem", "factory_args": {"function": "FILE:problem"}},
        {"factory": "landscape.cli.main:main", "factory_args": {"argv": ["demo"]}},
        {"factory": " os:system", "factory_args": {"command": "touch ran"}},
        {"factory": "landscape.functions.problem:problem.__globals__.clear"},
    ],
)
def test_any_part_of_a_description(mine, monkeypatch, problem):
    monkeypatch.chdir(mine.parent)
    described = json.loads(json.dumps(problem).replace("FILE", str(mine)))
    with pytest.raises(UntrustedCodeError, match=r"^run\.json names code"):
        ProblemSpec.from_description(described, recorded_in="run.json").build()
    assert not mine.with_name("ran").exists()


def test_optimizer_of_an_unfinished_run(mine, monkeypatch):
    found = train(
        ProblemSpec(model="mlp", samples=20),
        f"{mine}:Optimizer:lr=0.1",
        TrainingSettings(epochs=1),
        mine.parent / "run",
    )
    forget(monkeypatch, mine)
    with pytest.raises(UntrustedCodeError, match=r"run\.json names code to be run: .*mine\.py:Optimizer"):
        resume(_unfinished(found))
    assert not mine.with_name("ran").exists()
    assert resume(_unfinished(found), trust=True).finished


def test_models_data_and_functions_of_this_package_need_no_trust(tmp_path):
    for problem in (
        {"model": "mlp", "dataset": "digits", "samples": 20},
        {"factory": "landscape.problem.analytic:problem", "factory_args": {"function": "x^2"}},
        {"factory": "landscape.functions.problem:problem", "factory_args": {"function": "beale"}},
    ):
        ProblemSpec.from_description(problem, recorded_in="run.json").build()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"widths": [10**7, 10**7]}, "has 100,"),
        ({"widths": [100] * 4_999}, "at most 4096 layers"),
        ({"widths": [1] * 20_000}, "too many, too long, or too large"),
        ({"widths": 10**30}, "too many, too long, or too large"),
        ({"activation": "r" * 20_000}, "too many, too long, or too large"),
    ],
)
def test_arguments_of_a_file_are_bounded(arguments, message):
    spec = ProblemSpec.from_description(
        {"model": "mlp", "dataset": "digits", "samples": 20, "model_args": arguments}, recorded_in="run.json"
    )
    with pytest.raises((DataError, ValueError), match=message):
        spec.build()


def test_large_model_has_the_same_weights_as_before():
    """Counting its parameters draws no random number."""
    import torch

    spec = ProblemSpec(model="mlp", samples=20, model_args={"widths": [4096]})
    with torch.random.fork_rng():
        torch.manual_seed(3)
        expected = torch.nn.Linear(64, 4096).weight
    assert torch.equal(spec.build(seed=3).model.layers[0].weight, expected)
