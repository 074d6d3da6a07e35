"""Tests of several seeds in one file: each is the surface of a sweep of its own."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from landscape.errors import StoreError
from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.multi_plane import open_multi_plane_evaluator
from landscape.geometry import Weights
from landscape.geometry.plane import random_plane
from landscape.geometry.plane_sets import PlaneFamily
from landscape.problem import Problem, Split, accuracy, cross_entropy
from landscape.surface import read_surface
from landscape.surface.plane_files import read_plane
from landscape.sweep import Grid, run_sweep
from landscape.sweep.config import SweepConfig


@pytest.fixture
def problem():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 4))
        inputs, targets = torch.randn(40, 1, 8, 8), torch.randint(4, (40,))
    return Problem(model, {"train": Split(inputs, targets)}, cross_entropy, {"acc": accuracy})


def family(problem, seeds, axes=2):
    origin = Weights.from_model(problem.model)
    return PlaneFamily(origin, seeds, lambda seed: random_plane(origin, seed, axes), axes)


@pytest.mark.parametrize("axes", [1, 2])
def test_each_seed_is_bit_equal_to_its_own_sweep(problem, tmp_path, axes):
    grid = Grid.parse(*("-1:0.5:4", "0:1:3")[:axes])
    together = run_sweep(problem, family(problem, (2, 3, 4), axes), grid, SweepConfig(tmp_path / "s.h5")).surface
    read = read_surface(tmp_path / "s.h5")
    assert read.seeds == (2, 3, 4)
    for seed in read.seeds:
        plane = random_plane(problem.model, seed, axes)
        alone = run_sweep(problem, plane, grid).surface
        for name, values in alone.values.items():
            assert np.array_equal(values, read.for_seed(seed).values[name])
            assert np.array_equal(values, together.for_seed(seed).values[name])
        stored = read_plane(tmp_path / "s.h5", seed)
        assert stored.digests() == plane.digests()
        assert stored.origin.digest() == plane.origin.digest()
    assert not np.array_equal(read.for_seed(2).metric(), read.for_seed(3).metric())


def test_resume_with_other_seeds_is_refused(problem, tmp_path):
    grid = Grid.parse("0:1:2")
    run_sweep(problem, family(problem, (0, 1), 1), grid, SweepConfig(tmp_path / "s.h5"))
    with pytest.raises(StoreError, match="seeds: the file has"):
        run_sweep(problem, family(problem, (1, 2), 1), grid, SweepConfig(tmp_path / "s.h5"))
    with pytest.raises(StoreError, match="one of 0, 1"):
        read_plane(tmp_path / "s.h5")
    with pytest.raises(ValueError, match="it has 0, 1"):
        read_surface(tmp_path / "s.h5").for_seed(7)


def test_invalid_seeds(problem):
    with pytest.raises(ValueError, match="distinct seeds"):
        family(problem, (1, 1))
    with pytest.raises(ValueError, match="distinct seeds"):
        family(problem, ())
    with pytest.raises(ValueError, match="consecutive"):
        run_sweep(problem, family(problem, (1, 3), 1), Grid.parse("0:1:2"))
    with pytest.raises(ValueError, match="one or two axes"):
        family(problem, (1, 2), 3)


def test_multi_seed_restores_model(problem):
    before = {name: value.clone() for name, value in problem.model.state_dict().items()}
    run_sweep(problem, family(problem, (0, 1), 1), Grid.parse("0:1:2"))
    assert all(torch.equal(value, before[name]) for name, value in problem.model.state_dict().items())


def test_one_plane_in_memory_at_a_time(problem):
    origin = Weights.from_model(problem.model)
    made: list[weakref.ref] = []

    def make(seed):
        gc.collect()
        assert not any(ref() for ref in made), "the previous plane is still in memory"
        plane = random_plane(origin, seed)
        made.append(weakref.ref(plane.directions[0].weights.tensors["0.weight"]))
        return plane

    where = PlaneFamily(origin, (0, 1, 2), make)
    with open_multi_plane_evaluator(problem, where, EvaluationConfig(), "cpu") as evaluate:
        for seed in (0, 1, 2):
            evaluate((0.5, 0.5, seed))
    assert len(made) == 3
