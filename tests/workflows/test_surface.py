"""Compute surfaces from Python: sources, planes, grids, and what the file records."""

from __future__ import annotations

import logging
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from landscape.analysis.curvature.curvature import CurvatureConfig
from landscape.errors import CheckpointError, StoreError
from landscape.evaluation.config import EvaluationConfig
from landscape.geometry.plane import random_plane
from landscape.parallel import devices
from landscape.parallel.ranks import Ranks
from landscape.problem.problem import Problem
from landscape.surface.plane_files import read_plane
from landscape.surface.reading import read_surface
from landscape.sweep.config import SweepConfig
from landscape.sweep.grid import AutoAxis, Axis, Grid, parse_axis
from landscape.training.checkpoint import load_into
from landscape.workflows import grids
from landscape.workflows.curvature.curvature import curvature
from landscape.workflows.grids import axes_of
from landscape.workflows.local_ranks import _Job, count_ranks
from landscape.workflows.planes import PlaneConfig
from landscape.workflows.sources import UnnamedProblemError, open_source
from landscape.workflows.surface import compute_surface
from landscape.workflows.surface_task import SurfaceTask
from landscape.workflows.trajectory import principal_plane_of

GRID = Grid.parse("-1:1:3", "0:1:2")
CURVATURE = CurvatureConfig(k=1, smallest=0, trace_probes=0, density_probes=0)


def same(one, other):
    return list(one.values) == list(other.values) and all(
        np.array_equal(one.values[name], other.values[name], equal_nan=True) for name in one.values
    )


def test_sources_are_equivalent(run, spec):
    """A run, its path, its last checkpoint, and a problem with these weights give the same values."""
    problem = spec.build(("train",))
    load_into(problem.model, run.load())
    surfaces = [
        compute_surface(source, grid=GRID).surface for source in (run, run.path, str(run.checkpoints[-1]), problem)
    ]
    plane = random_plane(problem.model, seed=0)
    surfaces.append(compute_surface(problem, plane, GRID).surface)
    assert all(same(surfaces[0], surface) for surface in surfaces[1:])
    assert all(surface.metadata.settings == surfaces[0].metadata.settings for surface in surfaces[1:])


def test_file_records_how_it_was_made(run, tmp_path):
    out = tmp_path / "surface.h5"
    result = compute_surface(run, grid=["-1:1:3"], config=SweepConfig(out=out), split="both", samples=50)
    metadata = read_surface(out).metadata
    assert result.complete
    assert metadata.title == "mlp"
    assert metadata.checkpoint.path == str(run.checkpoints[-1])
    assert metadata.checkpoint.step == 8
    assert metadata.problem["samples"] == 50
    assert metadata.recipes[0].normalization == "filter"
    assert metadata.environment.command
    assert (metadata.settings.split, metadata.settings.samples) == ("both", {"train": 50, "test": 50})
    with pytest.raises(StoreError, match="split"):
        compute_surface(run, grid=["-1:1:3"], config=SweepConfig(out=out), samples=50)


def compute_surface_file(run, folder):
    compute_surface(run, grid=["0:1:2"], config=SweepConfig(out=folder / "surface.h5"))
    return folder / "surface.h5"


def test_checkpoint_outside_a_run_needs_its_problem(run, spec, tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(run.load().state_dict, path)
    with pytest.raises(UnnamedProblemError, match="name the problem"):
        compute_surface(path)
    surface = compute_surface(path, grid=GRID, problem=spec).surface
    assert same(surface, compute_surface(run, grid=GRID).surface)
    with pytest.raises(CheckpointError, match="got an HDF5 file"):
        compute_surface(compute_surface_file(run, tmp_path))
    with pytest.raises(CheckpointError, match="no such run"):
        compute_surface(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="expected None with a source that is a Problem"):
        compute_surface(spec.build(), grid=GRID, problem=spec)
    with pytest.raises(ValueError, match="split: expected one of train, test, both"):
        open_source(run, split="validation")


def test_problem_in_memory_for_a_checkpoint(run, spec, tmp_path):
    """A problem that is at hand, as notebooks have it, and a reference: its own weights stay."""
    path = tmp_path / "weights.pt"
    torch.save(run.load().state_dict, path)
    given = spec.build(seed=3)
    before = {name: tensor.clone() for name, tensor in given.model.state_dict().items()}
    expected = compute_surface(run, grid=GRID, split="both").surface
    surface = compute_surface(path, grid=GRID, problem=given).surface
    assert same(surface, expected)
    assert surface.metadata.checkpoint.path == str(path)
    assert all(tensor.equal(before[name]) for name, tensor in given.model.state_dict().items())
    assert same(compute_surface(path, grid=GRID, problem=given, split="train").surface,
                compute_surface(run, grid=GRID, split="train").surface)  # fmt: skip
    config = SweepConfig(out=tmp_path / "surface.h5")
    assert [compute_surface(path, grid=GRID, config=config, problem=given).computed for _ in range(2)] == [6, 0]
    assert curvature(path, CURVATURE, problem=given).eigenvalues == curvature(run, CURVATURE).eigenvalues
    planes = [principal_plane_of(run.path / "checkpoints", problem=each) for each in (given, spec)]
    assert planes[0].origin.digest() == planes[1].origin.digest()
    with pytest.raises(ValueError, match="ranks=2: other processes cannot rebuild this problem"):
        compute_surface(path, grid=GRID, problem=given, ranks=2)
    with pytest.raises(TypeError, match=r"'mine\.py:problem', got function, which returns one if it is called"):
        compute_surface(path, grid=GRID, problem=same)
    (tmp_path / "mine.py").write_text(
        "from landscape import ProblemSpec\n"
        "def problem():\n    return ProblemSpec(model='mlp', model_args={'widths': (8,)}, samples=200).build()\n"
    )
    by_name = compute_surface(path, grid=GRID, problem=f"{tmp_path / 'mine.py'}:problem").surface
    assert same(by_name, compute_surface(run, grid=GRID).surface)


def test_problem_without_data_for_a_checkpoint(run, spec, tmp_path):
    torch.save(run.load().state_dict, tmp_path / "weights.pt")
    norm = Problem(spec.build().model, evaluate=lambda model: {"norm": sum(p.abs().sum() for p in model.parameters())})
    surface = compute_surface(tmp_path / "weights.pt", grid=["0:1:2"], problem=norm).surface
    assert surface["norm"][0] == pytest.approx(sum(t.abs().sum().item() for t in run.load().state_dict.values()))


def test_problem_keeps_its_splits(spec):
    problem = spec.build()
    assert set(compute_surface(problem, grid=["0:1:2"]).surface.metrics) >= {"train_loss", "test_loss"}
    assert "test_loss" not in compute_surface(problem, grid=["0:1:2"], split="train").surface.metrics
    assert open_source(problem, samples=10).problem.splits["test"].inputs.shape[0] == 10
    assert open_source(problem).split == "both"


def test_given_directions(run, tmp_path):
    first = run.checkpoints[0]
    result = compute_surface(run, PlaneConfig(to=first), ["0:1:2", "0:1:2"], SweepConfig(out=tmp_path / "to.h5"))
    assert result.surface.metric()[0, 1] == pytest.approx(run.load(0).loss, rel=1e-5)
    again = compute_surface(run, PlaneConfig(directions=tmp_path / "to.h5"), ["0:1:2", "0:1:2"])
    assert same(result.surface, again.surface)
    with pytest.raises(ValueError, match="at most one target per axis, got 2 for 1 axes"):
        compute_surface(run, PlaneConfig(to=[first, first]), ["0:1:2"])
    with pytest.raises(ValueError, match="expected directions for 3 axes, got 2"):
        compute_surface(run, PlaneConfig(directions=tmp_path / "to.h5"), ["0:1:2"] * 3)


def test_plane_config_refuses_contradictions():
    with pytest.raises(ValueError, match="directions and to"):
        PlaneConfig(to="a", directions="b")
    with pytest.raises(ValueError, match="orthogonal and same_direction"):
        PlaneConfig(orthogonal=True, same_direction=True)
    assert PlaneConfig(only="a,b").only == ("a", "b")


def test_seeds(run, tmp_path):
    out = tmp_path / "seeds.h5"
    surface = compute_surface(run, PlaneConfig(seeds=(1, 2)), ["-1:1:3"], SweepConfig(out=out)).surface
    assert same(surface.for_seed(2), compute_surface(run, PlaneConfig(seed=2), ["-1:1:3"]).surface)
    assert read_plane(out, 2).directions[0].recipe.seed == 2
    with pytest.raises(ValueError, match="at least one random axis"):
        compute_surface(run, PlaneConfig(seeds=(1, 2), to=run.path), ["-1:1:3"])


def test_ranges_by_rule(run, caplog):
    said = []
    with caplog.at_level(logging.INFO, "landscape"):
        by_rule = compute_surface(run, grid=("auto:3", "-1:1:2"), on_message=said.append).surface
    assert len(said) == 2
    assert said[0].startswith("1 rank with 1 thread on the CPU: 6 points")
    assert "smallest symmetric interval" in said[1]
    assert by_rule.x[0] == -by_rule.x[2]
    bounded = compute_surface(run, grid=("auto:3", "-1:1:2"), evaluation=EvaluationConfig(stop_above=1.0)).surface
    assert np.array_equal(by_rule.x, bounded.x)


def test_range_by_rule_is_taken_from_resumed_file(run, tmp_path, monkeypatch):
    out, points = tmp_path / "surface.h5", iter([False, False, True, True, True])
    grid = ("auto:3", "-1:1:2")
    stopped = compute_surface(run, grid=grid, config=SweepConfig(out=out), stop=lambda: next(points))
    assert stopped.pending
    monkeypatch.setattr(grids, "range_by_loss", None)
    resumed = compute_surface(run, grid=grid, config=SweepConfig(out=out))
    assert resumed.complete
    assert np.array_equal(resumed.surface.x, read_surface(out).x)


def test_device_by_default_is_recorded_as_what_it_became(run, tmp_path, monkeypatch):
    out = tmp_path / "surface.h5"
    monkeypatch.setattr(devices, "device_count", lambda kind: int(kind == "cpu"))
    compute_surface(run, grid=GRID, config=SweepConfig(out=out))
    assert read_surface(out).metadata.settings.device == "cpu"


def test_file_is_resumed_on_the_device_that_began_it(run, tmp_path, monkeypatch):
    out, said = tmp_path / "surface.h5", []
    points = iter([False, False, True, True, True])
    stopped = compute_surface(run, grid=GRID, config=SweepConfig(out=out), stop=lambda: next(points))
    assert stopped.pending
    # A machine with a GPU, where "auto" takes it for a new file.
    monkeypatch.setattr(devices, "device_count", lambda kind: 1)
    assert devices.choose_device("auto", Ranks()) == "cuda:0"
    assert compute_surface(run, grid=GRID, config=SweepConfig(out=out), on_message=said.append).complete
    assert "on the CPU" in said[0]


@pytest.mark.parametrize("ranks", [1, "auto"])
def test_file_begun_on_a_gpu_is_refused_without_one(run, tmp_path, monkeypatch, ranks):
    out = tmp_path / "surface.h5"
    compute_surface(run, grid=GRID, config=SweepConfig(out=out))
    with h5py.File(out, "r+") as file:
        file.attrs["settings"] = file.attrs["settings"].replace('"cpu"', '"cuda"')
    assert read_surface(out).metadata.settings.device == "cuda"
    monkeypatch.setattr("landscape.workflows.surface_task.device_count", lambda kind: int(kind == "cpu"))
    with pytest.raises(StoreError, match="was begun on cuda, and torch sees no cuda device here"):
        compute_surface(run, grid=GRID, config=SweepConfig(out=out), ranks=ranks)
    with pytest.raises(StoreError, match="device"):
        compute_surface(run, grid=GRID, config=SweepConfig(out=out), evaluation=EvaluationConfig(device="cpu"))
    overwriting = SweepConfig(out=out, overwrite=True)
    assert compute_surface(run, grid=GRID, config=overwriting).complete


def test_axes():
    assert axes_of(None) == (Axis(-1, 1, 51),) * 2
    assert axes_of("0:1:3") == (Axis(0, 1, 3),)
    assert axes_of(["auto", AutoAxis(5)]) == (AutoAxis(51), AutoAxis(5))
    assert str(parse_axis("auto:7")) == "auto:7"
    for wrong in ("auto:1", "auto:x", "1:2"):
        with pytest.raises(ValueError, match="like"):
            parse_axis(wrong)
    with pytest.raises(ValueError, match="one to three axes, got 4"):
        axes_of(["0:1:2"] * 4)
    with pytest.raises(TypeError, match="expected axes like '-1:1:51' or 'auto:51', got 5"):
        axes_of((5, 5))


def test_a_network_is_no_source(spec):
    with pytest.raises(TypeError, match=r"a run, or a path, got \w+; Problem\(model, .*\) makes one"):
        compute_surface(spec.build().model, grid=GRID)


def test_stop_and_resume(run, tmp_path):
    polls = iter([False] * 4 + [True] * 100)
    out = SweepConfig(out=tmp_path / "s.h5")
    evaluation = EvaluationConfig(engine="eager")
    stopped = compute_surface(run, grid=GRID, config=out, evaluation=evaluation, stop=lambda: next(polls))
    assert 0 < stopped.pending < 6
    seen = []
    done = compute_surface(run, grid=GRID, config=out, evaluation=evaluation, progress=lambda p: seen.append(p.done))
    assert done.complete
    assert done.computed == stopped.pending == len(seen)
    assert same(done.surface, compute_surface(run, grid=GRID, evaluation=evaluation).surface)


def task(source, **changes):
    return replace(SurfaceTask(source, PlaneConfig(), GRID.axes, SweepConfig(), EvaluationConfig()), **changes)


def test_number_of_ranks(run, spec, monkeypatch):
    monkeypatch.setenv("LANDSCAPE_RANKS", "5")
    large = axes_of(None)
    assert count_ranks(task(run), "auto") == 1, "done before other processes have started"
    assert count_ranks(task(run, axes=large * 1, plane=PlaneConfig(seeds=tuple(range(40)))), "auto") == 5
    assert count_ranks(task(run, axes=large, config=SweepConfig(shard=(0, 2))), "auto") == 1
    assert count_ranks(task(run), 3) == 3
    handmade = replace(spec.build(), description={})
    assert count_ranks(task(handmade, axes=large), "auto") == 1
    with pytest.raises(ValueError, match=r"pass a run directory, or a checkpoint with problem=.mine\.py:problem"):
        count_ranks(task(handmade), 2)
    family = PlaneConfig(seeds=(0, 1)).make(spec.build().model, 1)
    with pytest.raises(ValueError, match="pass a PlaneConfig with seeds"):
        count_ranks(task(run, plane=family), 2)
    for wrong in (0, -1, True, "two"):
        with pytest.raises(ValueError, match="expected a positive number or 'auto'"):
            count_ranks(task(run), wrong)


@pytest.mark.mpi
def test_problem_in_memory_on_two_ranks(spec):
    problem = spec.build()
    with torch.no_grad():
        for parameter in problem.model.parameters():
            parameter.mul_(1.5)
    plane = random_plane(problem.model, seed=0)
    together, alone = (compute_surface(problem, plane, GRID, ranks=ranks).surface for ranks in (2, 1))
    assert same(together, alone)
    assert together.metadata.settings == alone.metadata.settings
    assert together.metadata.checkpoint is alone.metadata.checkpoint is None


def test_problem_that_was_changed_after_it_was_built_is_refused_by_ranks(spec, tmp_path):
    problem = spec.build()
    assert _Job.pack(task(problem), tmp_path).unpack(tmp_path).source.metrics.keys() == problem.metrics.keys()
    job = _Job.pack(task(replace(problem, metrics={})), tmp_path)
    with pytest.raises(ValueError, match="changed after it was built, in its metrics"):
        job.unpack(tmp_path)
