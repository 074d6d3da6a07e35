"""Sweeps in one process: closed form, resuming, shards, failures, metadata, and refused files."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from landscape._utils.provenance import Environment
from landscape.errors import StoreError
from landscape.evaluation.config import EvaluationConfig
from landscape.geometry import Direction, Plane, Weights, random_direction
from landscape.problem.measures import accuracy, cross_entropy
from landscape.problem.problem import Problem, Split
from landscape.surface import read_surface
from landscape.surface.merge import merge
from landscape.surface.metadata import SurfaceMetadata
from landscape.surface.settings import SweepSettings
from landscape.surface.surface import DONE, FAILED
from landscape.sweep import Grid, run_sweep
from landscape.sweep import prepared as prepared_module
from landscape.sweep import sweep as module
from landscape.sweep.config import SweepConfig
from landscape.sweep.prepared import SweepInputs

GRID = Grid.parse("-1:0.5:7", "0:1:5")  # neither square nor symmetric, and it touches zero


class Accident:
    """A loss that fails at chosen calls."""

    def __init__(self):
        self.calls = 0
        self.failing = set()

    def __call__(self, outputs, targets):
        self.calls += 1
        if self.calls in self.failing:
            raise RuntimeError("an accident")
        return nn.functional.cross_entropy(outputs, targets, reduction="none")


@pytest.fixture
def problem():
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    inputs = torch.randn(50, 6, generator=generator)
    targets = torch.randint(0, 3, (50,), generator=generator)
    metrics = {"acc": lambda outputs, targets: 100.0 * (outputs.argmax(1) == targets)}
    splits = {"train": Split(inputs, targets), "test": Split(inputs[:20], targets[:20])}
    return Problem(model, splits, Accident(), metrics)


@pytest.fixture
def plane(problem):
    origin = Weights.from_model(problem.model)
    return Plane(origin, (random_direction(origin, 0, 0), random_direction(origin, 0, 1)))


def contents(path):
    found = {}
    with h5py.File(path, "r") as file:
        file.visititems(
            lambda name, node: found.update({name: node[()].tobytes()}) if isinstance(node, h5py.Dataset) else None
        )
    return {name: data for name, data in found.items() if name != "seconds"}


@pytest.fixture
def whole(problem, plane, tmp_path):
    """The file of an undisturbed run."""
    assert run_sweep(problem, plane, GRID, SweepConfig(tmp_path / "whole.h5")).complete
    return tmp_path / "whole.h5"


def test_quadratic_equals_closed_form():
    class Bowl(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))

        def forward(self, inputs):
            return inputs @ self.w

    bowl = Bowl()
    inputs = torch.tensor([[1.0, 0.0], [0.0, 3.0]], dtype=torch.float64)
    split = Split(inputs, torch.zeros(2, dtype=torch.float64))
    problem = Problem(bowl, {"train": split}, lambda outputs, targets: (outputs - targets) ** 2)
    origin = Weights.from_model(bowl)
    axes = tuple(Direction(Weights({"w": torch.eye(2, dtype=torch.float64)[i]})) for i in range(2))
    outcome = run_sweep(problem, Plane(origin, axes), GRID, evaluation=EvaluationConfig(dtype="float64"))
    x, y = np.meshgrid(*GRID.coordinates)
    expected = ((1 + x) ** 2 + 9 * (-2 + y) ** 2) / 2
    np.testing.assert_allclose(outcome.surface.metric("train_loss"), expected, rtol=1e-14)
    deviation = np.abs((1 + x) ** 2 - 9 * (-2 + y) ** 2) / 2  # of two samples: half their difference
    np.testing.assert_allclose(outcome.surface.metric("train_loss_stderr"), deviation, rtol=1e-10)


def test_memory_and_file_are_equal(problem, plane, whole):
    outcome = run_sweep(problem, plane, GRID)
    on_disk = read_surface(whole)
    assert outcome.computed == 35
    assert outcome.complete
    assert list(outcome.surface.values) == list(on_disk.values)
    assert list(on_disk.values)[:3] == ["train_loss", "train_loss_stderr", "train_acc"]
    for name, values in outcome.surface.values.items():
        assert values.tobytes() == on_disk.values[name].tobytes()


def test_surface_carries_recipes_problem_and_environment(problem, plane, tmp_path):
    described = replace(problem, description={"model": "mlp"})
    in_memory = run_sweep(described, plane, GRID).surface.metadata
    run_sweep(described, plane, GRID, SweepConfig(tmp_path / "s.h5"))
    for metadata in (in_memory, read_surface(tmp_path / "s.h5").metadata):
        assert metadata.recipes == tuple(direction.recipe for direction in plane.directions)
        assert metadata.problem == {"model": "mlp"}
        assert metadata.environment.packages["landscape"]
        assert metadata.environment.python
    given = SurfaceMetadata(environment=Environment(command="given"), problem={"model": "other"})
    kept = run_sweep(described, plane, GRID, metadata=given).surface.metadata
    assert (kept.environment.command, kept.problem) == ("given", {"model": "other"})


def test_only_the_root_collects_the_environment(problem, plane, monkeypatch):
    monkeypatch.setattr(Environment, "current", None)  # asking git on every rank would fork after MPI_Init
    inputs = SweepInputs(problem, plane, GRID, SweepConfig(), EvaluationConfig(), "cpu", SurfaceMetadata())
    with ExitStack() as stack:
        prepared = prepared_module._prepare(inputs, is_root=False, stack=stack)
    assert prepared.header.metadata.environment is None
    assert prepared.header.settings.axes == ("-1:0.5:7", "0:1:5")


@pytest.mark.parametrize("after", [0, 1, 17, 34])
def test_resume_after_stop_is_bit_equal(problem, plane, whole, tmp_path, after):
    plan = SweepConfig(tmp_path / "s.h5")
    seen = []
    outcome = run_sweep(problem, plane, GRID, plan, stop=lambda: len(seen) >= after, progress=seen.append)
    assert (outcome.computed, outcome.pending, outcome.complete) == (after, 35 - after, False)
    problem.loss.calls = 0
    outcome = run_sweep(problem, plane, GRID, plan)
    assert (outcome.computed, outcome.complete) == (35 - after, True)
    assert contents(tmp_path / "s.h5") == contents(whole)
    assert run_sweep(problem, plane, GRID, plan).computed == 0


@pytest.mark.parametrize("parts", [2, 3])
def test_merged_shards_are_bit_equal(problem, plane, whole, tmp_path, parts):
    paths = [tmp_path / f"{part}.h5" for part in range(parts)]
    for part, path in enumerate(paths):
        outcome = run_sweep(problem, plane, GRID, SweepConfig(path, shard=(part, parts)))
        assert outcome.complete, "a shard is complete when its own points are"
        assert outcome.computed == len(range(part, 35, parts))
        assert (read_surface(path).status == DONE).sum() == outcome.computed
    merge(paths, tmp_path / "merged.h5")
    assert contents(tmp_path / "merged.h5") == contents(whole)


def test_batched_points_equal_single_points():
    """By shards points share their launches with others than in one go."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 100), nn.Sigmoid(), nn.Linear(100, 10))
    split = Split(torch.randn(251, 64, generator=generator), torch.arange(251) % 10)
    problem = Problem(model, {"train": split}, cross_entropy, {"acc": accuracy})
    origin = Weights.from_model(model)
    plane = Plane(origin, (random_direction(origin, 0, 0), random_direction(origin, 0, 1)))
    grid = Grid.parse("-1:1:13", "0:1:11")
    whole = run_sweep(problem, plane, grid).surface
    assert whole.metadata.settings.engine == "batched_mlp"
    for part in range(3):
        share = run_sweep(problem, plane, grid, SweepConfig(shard=(part, 3))).surface
        there = share.status == DONE
        assert there.sum() in (47, 48)
        for name, values in whole.values.items():
            assert share.values[name][there].tobytes() == values[there].tobytes()


def test_failures_are_stored_and_retried_on_request(problem, plane, whole, tmp_path):
    plan, retry = SweepConfig(tmp_path / "s.h5"), SweepConfig(tmp_path / "s.h5", retry_failed=True)
    problem.loss.calls, problem.loss.failing = 0, set(range(20, 40))
    outcome = run_sweep(problem, plane, GRID, plan)
    assert outcome.failed > 0
    assert outcome.pending == 0
    assert not outcome.complete
    assert all("RuntimeError: an accident (" in message for message in outcome.messages.values())
    surface = read_surface(tmp_path / "s.h5")
    assert (surface.status == FAILED).sum() == outcome.failed == len(outcome.messages)
    assert np.isnan(surface.metric()[surface.status == FAILED]).all()
    assert run_sweep(problem, plane, GRID, plan).computed == 0
    again = run_sweep(problem, plane, GRID, retry)
    assert again.computed == outcome.failed
    assert again.complete
    assert again.messages == {}
    assert contents(tmp_path / "s.h5") == contents(whole)


def test_progress_counts_earlier_runs_and_failures(problem, plane, tmp_path):
    seen = []
    plan = SweepConfig(tmp_path / "s.h5")
    run_sweep(problem, plane, GRID, plan, stop=lambda: len(seen) >= 5, progress=seen.append)
    assert [progress.done for progress in seen] == [1, 2, 3, 4, 5]
    assert seen[-1].total == 35
    seen.clear()
    run_sweep(problem, plane, GRID, plan, progress=seen.append)
    assert seen[0].done == 6
    assert seen[-1].done == 35
    assert sum(seen[-1].per_rank.values()) == 30
    assert seen[-1].seconds > 0


OTHER_LOSS = SurfaceMetadata(SweepSettings(other={"loss": "other"}))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"evaluation": EvaluationConfig(dtype="float64")}, "dtype: the file has 'float32', this sweep uses 'float64'"),
        ({"evaluation": EvaluationConfig(batch_size=7)}, "batch_size: the file has .*, this sweep uses 7"),
        ({"metadata": OTHER_LOSS}, "loss: the file has None, this sweep uses 'other'"),
        ({"grid": Grid.parse("-1:0.5:7", "0:2:5")}, "axes: the file has .*'0:1:5'.*, this sweep uses .*'0:2:5'"),
    ],
)
def test_resume_with_other_settings_is_refused(problem, plane, whole, change, named):
    before = whole.read_bytes()
    grid = change.pop("grid", GRID)
    with pytest.raises(StoreError, match=named):
        run_sweep(problem, plane, grid, SweepConfig(whole), **change)
    assert whole.read_bytes() == before
    assert run_sweep(problem, plane, grid, SweepConfig(whole, overwrite=True), **change).complete


def test_resume_with_other_data_weights_or_statistics_is_refused(problem, plane, whole):
    other = Problem(problem.model, {**problem.splits, "test": problem.splits["test"].take(slice(0, 19))}, problem.loss)
    with pytest.raises(StoreError, match="samples: the file has"):
        run_sweep(other, plane, GRID, SweepConfig(whole))
    moved = Plane(plane.at((0.1, 0.0)), plane.directions)
    with pytest.raises(StoreError, match="origin: the file has"):
        run_sweep(problem, moved, GRID, SweepConfig(whole))
    problem.model[1].running_mean += 1.0  # no weight, and yet the loss depends on it
    with pytest.raises(StoreError, match="fixed: the file has"):
        run_sweep(problem, plane, GRID, SweepConfig(whole))


def test_model_is_restored_after_an_error(problem, plane, tmp_path, monkeypatch):
    before = {name: tensor.clone() for name, tensor in problem.model.state_dict().items()}
    monkeypatch.setattr(module.FileStore, "record", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        run_sweep(problem, plane, GRID, SweepConfig(tmp_path / "s.h5"))
    assert all(torch.equal(before[name], tensor) for name, tensor in problem.model.state_dict().items())


def test_stop_flushes_before_points_under_way(problem, plane, tmp_path):
    """A scheduler's SIGKILL may follow a signal at once: the flush must not wait for the points under way."""
    path, seen, written = tmp_path / "s.h5", [], []

    def stop():
        return len(seen) >= 3

    flush = module.FileStore.flush

    def flushing(store):
        flush(store)
        written.append(int((read_surface(path).status == DONE).sum()))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.FileStore, "flush", flushing)
        patch.setattr(module.FileStore, "flush_if_due", lambda store: None)
        run_sweep(problem, plane, GRID, SweepConfig(path), stop=stop, progress=seen.append)
    assert written == [3, 3], "once because of the stop, once on closing"


def test_wrong_arguments(problem, plane, tmp_path):
    with pytest.raises(ValueError, match="expected as many directions as axes, got 2 and 1"):
        run_sweep(problem, plane, Grid.parse("0:1:3"))
    for shard in ((3, 3), (-1, 2), (0, 0)):
        with pytest.raises(ValueError, match="a shard"):
            SweepConfig(shard=shard)


def test_output_as_text():
    assert SweepConfig(out="surface.h5").out.name == "surface.h5"
