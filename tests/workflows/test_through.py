"""The landscape through training: a surface per checkpoint in one file, each that of a call of its own."""

from __future__ import annotations

import itertools
import shutil

import h5py
import numpy as np
import pytest
import torch

from landscape.errors import CheckpointError, StoreError
from landscape.evaluation.config import EvaluationConfig
from landscape.geometry.plane import Plane
from landscape.geometry.weights import Weights
from landscape.problem.spec import ProblemSpec
from landscape.surface.plane_files import read_plane
from landscape.surface.reading import read_surface
from landscape.sweep.config import SweepConfig
from landscape.sweep.grid import Grid
from landscape.training.checkpoint import load_checkpoint
from landscape.training.run import Run
from landscape.training.settings import TrainingSettings
from landscape.workflows.planes import PlaneConfig
from landscape.workflows.sources import open_source
from landscape.workflows.step_choice import evenly_chosen
from landscape.workflows.surface import compute_surface
from landscape.workflows.train import train

GRID = Grid.parse("-1:0.5:4", "0:1:3")
SMALL = """
import torch
from torch import nn
from landscape.problem import Problem, Split, cross_entropy

def problem():
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4))
    drawn = torch.Generator().manual_seed(5)
    data = torch.randn(20, 1, 6, 6, generator=drawn), torch.randint(4, (20,), generator=drawn)
    return Problem(model, {"train": Split(*data)}, cross_entropy)
"""


@pytest.fixture(scope="module")
def normed(tmp_path_factory):
    """A run of a network with batch norm, whose statistics belong to each checkpoint."""
    folder = tmp_path_factory.mktemp("through")
    (folder / "small.py").write_text(SMALL)
    settings = TrainingSettings(epochs=2, batch_size=10, checkpoint_steps=1)
    return train(ProblemSpec(factory=f"{folder / 'small.py'}:problem"), "adam:lr=0.01", settings, folder / "run")


def same(one, other):
    return one.values.keys() == other.values.keys() and all(
        np.array_equal(one.values[name], other.values[name], equal_nan=True) for name in one.values
    )


def alone(run, step, evaluation=None, **choice):
    """Return the surface of one checkpoint by another route: its plane made by hand, without the axis of steps."""
    end = open_source(run).problem
    directions = PlaneConfig(**choice).make_plane(end.model).directions
    origin = Weights.from_model(
        open_source(run.checkpoint_path(step)).problem.model, bool(directions[0].weights.buffers)
    )
    return compute_surface(run.checkpoint_path(step), Plane(origin, directions), GRID, evaluation=evaluation).surface


def test_each_checkpoint_is_bit_equal_to_its_own_surface(normed, tmp_path):
    out = tmp_path / "through.h5"
    surface = compute_surface(normed, PlaneConfig(checkpoints="all"), GRID, SweepConfig(out=out)).surface
    read = read_surface(out)
    assert read.steps == tuple(normed.saved_steps) == (0, 1, 2, 3, 4)
    assert read.shape == (5, 3, 4)
    for step in read.steps:
        single = alone(normed, step)
        assert same(read.for_step(step), single)
        assert same(surface.for_step(step), single)
    assert not np.array_equal(read.for_step(0).metric(), read.for_step(4).metric())
    assert same(read.for_step(4), compute_surface(normed, grid=GRID).surface)
    found = [(one.step, one.epoch) for one in read.metadata.checkpoints]
    assert found == [(step, step / 2) for step in range(5)]
    assert read.for_step(1).metadata.checkpoint.path == str(normed.checkpoint_path(1))


def test_statistics_and_settings_belong_to_each_checkpoint(normed):
    for changed in ({"bn": "recalibrate"}, {"paired": True}, {"dtype": "float64"}):
        evaluation = EvaluationConfig(**changed)
        surface = compute_surface(normed, PlaneConfig(checkpoints=(1, 4)), GRID, evaluation=evaluation).surface
        assert same(surface.for_step(1), alone(normed, 1, evaluation))
        assert not np.isnan(surface.metric()).any()
    moved = compute_surface(normed, PlaneConfig(checkpoints=(1, 4), to=normed.checkpoint_path(0)), GRID).surface
    assert same(moved.for_step(1), alone(normed, 1, to=normed.checkpoint_path(0)))


def test_directions_are_those_of_the_reference(normed, tmp_path):
    last, first = tmp_path / "last.h5", tmp_path / "first.h5"
    compute_surface(normed, PlaneConfig(checkpoints=(0, 2)), ["0:1:2"], SweepConfig(out=last))
    compute_surface(normed.checkpoint_path(0), PlaneConfig(checkpoints=(0, 2)), ["0:1:2"], SweepConfig(out=first))
    for file, step in ((last, 4), (first, 0)):
        model = open_source(normed.checkpoint_path(step)).problem.model
        assert read_plane(file).digests() == PlaneConfig().make_plane(model, 1).digests()
        assert read_surface(file).metadata.checkpoint.step == step
    assert read_plane(first).digests() != read_plane(last).digests()


def test_a_line_through_training(normed):
    surface = compute_surface(normed, PlaneConfig(checkpoints=2), ["-1:1:3"]).surface
    assert surface.steps == (0, 4)
    assert surface.for_step(4).shape == (3,)


def test_model_in_memory_is_restored(run):
    problem = open_source(run).problem
    before = {name: value.clone() for name, value in problem.model.state_dict().items()}
    from landscape.parallel.ranks import Ranks
    from landscape.workflows.checkpoint_planes import choose_checkpoints, planes_through

    reference = PlaneConfig().make_plane(problem.model)
    planes = planes_through(problem, choose_checkpoints(run, "all"), reference, Ranks())
    compute_surface(problem, planes, GRID)
    assert all(torch.equal(value, before[name]) for name, value in problem.model.state_dict().items())


@pytest.mark.mpi
def test_two_ranks(normed, tmp_path):
    one, two = tmp_path / "one.h5", tmp_path / "two.h5"
    for file, ranks in ((one, 1), (two, 2)):
        compute_surface(normed, PlaneConfig(checkpoints=3), GRID, SweepConfig(out=file), ranks=ranks)
    assert same(read_surface(one), read_surface(two))
    assert read_surface(one).metadata.settings == read_surface(two).metadata.settings


def test_stopped_and_resumed(normed, tmp_path):
    out, count = tmp_path / "through.h5", itertools.count()
    choice, whole = (
        PlaneConfig(checkpoints="all"),
        compute_surface(normed, PlaneConfig(checkpoints="all"), GRID).surface,
    )
    stopped = compute_surface(normed, choice, GRID, SweepConfig(out=out), stop=lambda: next(count) > 20)
    assert 0 < stopped.pending < whole.status.size
    resumed = compute_surface(normed, choice, GRID, SweepConfig(out=out))
    assert resumed.computed == stopped.pending
    assert same(read_surface(out), whole)


def copied(run, steps, folder):
    """Return a copy of a run that has some of the checkpoints only."""
    shutil.copytree(run.path, folder)
    for step in run.saved_steps:
        if step not in steps:
            (folder / run.checkpoint_path(step).relative_to(run.path)).unlink()
    return Run.open(folder)


def test_checkpoints_are_added_to_a_file(normed, tmp_path):
    """A run that goes on: what is measured stays, directions too, and only the new checkpoints are computed."""
    out, young = tmp_path / "through.h5", copied(normed, (0, 2), tmp_path / "run")
    choice = PlaneConfig(checkpoints="all")
    compute_surface(young, choice, GRID, SweepConfig(out=out))
    before, started = read_surface(out), read_surface(out).metadata.started
    with h5py.File(out, "r+") as file:  # what another command has put into the file stays there
        file.create_group("trajectories").attrs["mark"] = 1
    for step in (1, 3):
        shutil.copy(normed.checkpoint_path(step), young.checkpoint_path(step))
    result = compute_surface(young, choice, GRID, SweepConfig(out=out))
    assert result.computed == 2 * len(GRID)
    after = read_surface(out)
    assert after.steps == (0, 1, 2, 3)
    assert after.metadata.checkpoint.step == 2, "the directions stay those of the first call"
    assert after.metadata.started == started
    assert after.metadata.finished
    for step in (0, 2):
        assert same(after.for_step(step), before.for_step(step))
    whole = compute_surface(young.checkpoint_path(2), choice, GRID).surface
    assert same(after, whole)
    with h5py.File(out) as file:
        assert file["trajectories"].attrs["mark"] == 1
        assert [len(dim) for dim in file["train_loss"].dims] == [1, 1, 1]
        assert file["VTKHDF/surface"].attrs["WholeExtent"].tolist() == [0, 3, 0, 2, 0, 3]
        assert file["VTKHDF/surface/PointData/train_loss"][3, 2, 1] == after.metric()[3, 2, 1]


def test_failures_keep_their_points(normed, tmp_path, monkeypatch):
    from landscape.sweep.prepared import PreparedSweep

    out, young = tmp_path / "through.h5", copied(normed, (0, 2), tmp_path / "run")
    compute, index = PreparedSweep.compute, 17  # a point of step 2

    def failing(self, point):
        if point == index:
            raise RuntimeError("no luck")
        return compute(self, point)

    monkeypatch.setattr(PreparedSweep, "compute", failing)
    monkeypatch.setattr(PreparedSweep, "batched", property(lambda self: None))
    choice = PlaneConfig(checkpoints="all")
    assert compute_surface(young, choice, GRID, SweepConfig(out=out)).failed == 1
    monkeypatch.setattr(PreparedSweep, "compute", compute)
    shutil.copy(normed.checkpoint_path(1), young.checkpoint_path(1))
    result = compute_surface(young, choice, GRID, SweepConfig(out=out))
    assert list(result.messages) == [index + len(GRID)]
    assert compute_surface(young, choice, GRID, SweepConfig(out=out, retry_failed=True)).computed == 1
    assert same(read_surface(out), compute_surface(young, choice, GRID).surface)


def test_what_differs_is_refused(normed, tmp_path):
    out, young = tmp_path / "through.h5", copied(normed, (0, 1, 2), tmp_path / "run")
    compute_surface(young, PlaneConfig(checkpoints=(0, 2)), ["0:1:2"], SweepConfig(out=out))
    contents = out.read_bytes()
    for choice, match in (
        (PlaneConfig(checkpoints=(0, 1)), "steps: the file has"),
        (PlaneConfig(checkpoints=(0, 1, 2), seed=1), "directions: the file has"),
        (PlaneConfig(), "steps: the file has"),
    ):
        with pytest.raises(StoreError, match=match):
            compute_surface(young, choice, ["0:1:2"], SweepConfig(out=out))
    shutil.copy(normed.checkpoint_path(4), young.checkpoint_path(0))
    with pytest.raises(StoreError, match="a checkpoint has changed since then"):
        compute_surface(young, PlaneConfig(checkpoints="all"), ["0:1:2"], SweepConfig(out=out))
    young.checkpoint_path(2).unlink()
    with pytest.raises(CheckpointError, match="of step 2, to which the directions"):
        compute_surface(young, PlaneConfig(checkpoints=(0, 1)), ["0:1:2"], SweepConfig(out=out))
    assert out.read_bytes() == contents


def test_a_number_of_checkpoints_keeps_those_of_the_file(normed, tmp_path):
    out, young = tmp_path / "through.h5", copied(normed, (0, 1, 2), tmp_path / "run")
    compute_surface(young, PlaneConfig(checkpoints=2), ["0:1:2"], SweepConfig(out=out))
    shutil.copy(normed.checkpoint_path(4), young.checkpoint_path(4))
    assert compute_surface(young, PlaneConfig(checkpoints=2), ["0:1:2"], SweepConfig(out=out)).computed == 0
    assert compute_surface(young, PlaneConfig(checkpoints=3), ["0:1:2"], SweepConfig(out=out)).computed == 2
    assert read_surface(out).steps == (0, 2, 4)


def test_evenly_chosen():
    assert evenly_chosen(range(0, 46), 8) == [0, 6, 13, 19, 26, 32, 39, 45]
    assert evenly_chosen([0, 5, 7], 8) == [0, 5, 7]
    assert evenly_chosen([0, 5, 7], 1) == [7]
    assert evenly_chosen([0, 4, 8, 12, 16], 3, kept=[0, 8]) == [0, 8, 16]
    assert evenly_chosen([0, 4, 8, 12, 16], 2, kept=[0, 8]) == [0, 8]
    assert evenly_chosen([4, 8, 12, 16], 3, kept=[0]) == [0, 4, 16]


def test_invalid_choices(run):
    for choice, match in ((-1, "positive number"), ((0, 3), "none of step 3; the nearest of 5 is that of step 2")):
        with pytest.raises(ValueError, match=match):
            compute_surface(run, PlaneConfig(checkpoints=choice), GRID)
    for choice in ("some", 0):
        with pytest.raises(ValueError, match="expected 'all', a positive number or steps"):
            PlaneConfig(checkpoints=choice)
    with pytest.raises(ValueError, match="seeds and checkpoints"):
        PlaneConfig(checkpoints="all", seeds=(0, 1))
    with pytest.raises(ValueError, match="expected one or two axes"):
        compute_surface(run, PlaneConfig(checkpoints="all"), ["0:1:2"] * 3)
    with pytest.raises(ValueError, match="got a problem in memory"):
        compute_surface(open_source(run).problem, PlaneConfig(checkpoints="all"), GRID)


def test_folder_of_checkpoint_files(normed, tmp_path):
    """Files of another program count by the number in their names."""
    for step in (0, 2, 4):
        state = load_checkpoint(normed.checkpoint_path(step)).state_dict
        torch.save(dict(state), tmp_path / f"epoch_{step // 2}.pt")
    surface = compute_surface(tmp_path, PlaneConfig(checkpoints="all"), GRID, problem=normed.spec()).surface
    assert surface.steps == (0, 1, 2)
    assert [one.epoch for one in surface.metadata.checkpoints] == [0, 1, 2]
    assert same(surface.for_step(1), alone(normed, 2))
    assert surface.for_step(1).name.endswith("epoch 1")
