"""Arguments of a wrong type: each message says what is expected."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

import landscape
from landscape import (
    EvaluationConfig,
    PlaneConfig,
    PlotOptions,
    Problem,
    ProblemSpec,
    SceneOptions,
    Split,
    SweepConfig,
    Weights,
    compute_surface,
    plane_through,
    principal_plane,
    random_direction,
    random_plane,
)
from landscape.errors import CheckpointError, StoreError
from landscape.sweep.adaptive import Adaptive

MODEL = nn.Linear(3, 2)
PROBLEM = Problem(MODEL, {"train": Split(torch.ones(4, 3), torch.ones(4).long())}, landscape.cross_entropy)
GRID = ["-1:1:3"]
PLANE_SURFACE = compute_surface(PROBLEM, grid=GRID * 2).surface


@pytest.mark.parametrize(
    ("grid", "written"),
    [
        ([(-1, 1, 3)], r"write '-1:1:3', or Axis\(-1, 1, 3\)"),
        ([np.linspace(-1, 0.5, 7)], "got 7 numbers; write '-1:0.5:7'"),
        (torch.linspace(-1, 1, 3), "got tensor"),
        ([[0, 1, 5, 7]], r"got \[0, 1, 5, 7\]; points are evenly spaced"),
        (5, r"expected a list of axes like \['-1:1:51', '-1:1:51'\], got 5"),
    ],
)
def test_grids(grid, written):
    with pytest.raises(TypeError, match=written):
        compute_surface(PROBLEM, grid=grid)


@pytest.mark.parametrize(
    ("call", "written"),
    [
        (lambda: compute_surface(PROBLEM, 0, GRID), "plane: expected a Plane or a PlaneConfig, got int"),
        (
            lambda: compute_surface(PROBLEM, None, GRID, "a.h5"),
            r"config: expected .* SweepConfig\(out=\.\.\.\), got str",
        ),
        (
            lambda: compute_surface(PROBLEM, evaluation={"dtype": "float64"}),
            r"evaluation: expected .* EvaluationConfig\(device=\.\.\.\), got dict",
        ),
        (lambda: landscape.plot("none.h5", options="train_loss"), r"options: expected .* PlotOptions\("),
        (lambda: landscape.export("a.csv", "none.h5", options="train_loss"), r"options: expected .* ExportOptions\("),
        (lambda: landscape.curvature(PROBLEM, 3), r"config: expected .* CurvatureConfig\(k="),
        (lambda: landscape.train(PROBLEM, "sgd", {"epochs": 1}, "run"), r"settings: expected .* TrainingSettings\("),
        (lambda: landscape.measure_sharpness(PROBLEM, "worst-l2"), r"config: expected .* SharpnessConfig\(measures="),
        (lambda: landscape.connect(["a", "b"], options=3), r"options: expected .* ConnectOptions\("),
        (lambda: landscape.animate_scene(PLANE_SURFACE, motion=3), r"motion: expected .* Motion\("),
        (lambda: landscape.info(PROBLEM), "expected the path of a checkpoint, run or file, got Problem"),
        (lambda: landscape.load_checkpoint(MODEL.state_dict()), "expected the path of a .* got OrderedDict"),
        (lambda: compute_surface(ProblemSpec(model="mlp")), r"got ProblemSpec; its build\(\)"),
        (lambda: compute_surface(MODEL.state_dict(), problem=PROBLEM), r"got OrderedDict; load .*load_state_dict"),
        (lambda: plane_through(MODEL, [MODEL.state_dict()]), r"got OrderedDict; of a state_dict, Weights\.from_model"),
    ],
)
def test_objects(call, written, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TypeError, match=written):
        call()
    assert not list(Path().iterdir())


def test_a_problem_in_the_place_of_weights():
    with pytest.raises(CheckpointError, match=r"beside its weights: 'weights\.pt' with problem='mine\.py:problem'"):
        compute_surface("mine.py:problem")


def test_types_and_devices_of_torch():
    given = EvaluationConfig(device=torch.device("cpu"), dtype=torch.float64)
    assert given == EvaluationConfig(device="cpu", dtype="float64")
    assert given.to_json() == EvaluationConfig(device="cpu", dtype="float64").to_json()


def test_networks_in_the_place_of_weights():
    weights, other = Weights.from_model(MODEL), nn.Linear(3, 2)
    assert random_direction(MODEL, seed=3).weights.digest() == random_direction(weights, seed=3).weights.digest()
    plane = plane_through(MODEL, [other])
    np.testing.assert_allclose(plane.project(Weights.from_model(other)).coordinates, [1.0])
    assert plane.digests() == plane_through(weights, [Weights.from_model(other)]).digests()
    along = random_direction(weights)
    assert landscape.Plane(MODEL, along).digests() == landscape.Plane(weights, (along,)).digests()
    steps = [lambda k=k: weights.with_tensors({n: t + k for n, t in weights}) for k in range(3)]
    assert principal_plane(MODEL, steps, 1).digests() == principal_plane(weights, steps, 1).digests()


def test_a_network_that_has_diverged():
    with torch.no_grad():
        (diverged := nn.Linear(3, 2)).weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="got NaN or infinity in weight: this network has diverged"):
        random_plane(diverged)


def test_patterns_as_text():
    moved = [Problem(nn.Sequential(MODEL, nn.Linear(2, 2)), PROBLEM.splits, PROBLEM.loss)]
    for only in ("0.*", ["0.*"]):
        plane = PlaneConfig(only=only).make(moved[0].model)
        assert plane.digests() == random_plane(moved[0].model, only=only).digests()


def test_figures_show_themselves_in_notebooks():
    png, size = landscape.plot(compute_surface(PROBLEM, grid=GRID).surface)._repr_png_()
    width = int.from_bytes(png[16:20], "big")  # of the header
    assert (png[1:4], size, width) == (b"PNG", {"width": 325}, 650)


def test_the_size_of_a_sweep_without_samples():
    said = []
    compute_surface(Problem(MODEL, evaluate=lambda model: {"a": 1.0}), grid=GRID, on_message=said.append)
    assert re.search(r"3 points \(-1:1:3\), moving", said[0])


@pytest.mark.parametrize(
    ("call", "written"),
    [
        (lambda: landscape.project([]), "expected at least one run, got none"),
        (lambda: landscape.plot([]), "expected at least one surface, got none"),
        (lambda: landscape.show([]), "expected at least one surface, got none"),
        (lambda: landscape.export("page.html", []), "expected at least one surface, got none"),
        (lambda: landscape.hessian_plane(PROBLEM, ()), "which: expected one to three numbers"),
        (lambda: PlotOptions(levels=0), "levels: expected 1 or more, got 0"),
        (lambda: SceneOptions(levels=0), "levels: expected 1 or more, got 0"),
        (lambda: landscape.render_scene(PLANE_SURFACE, options=SceneOptions(size="10x100")), "at least 32 pixels wide"),
        (lambda: SweepConfig(adaptive=2), "tolerance: expected a fraction"),
    ],
)
def test_nothing_and_too_little(call, written):
    with pytest.raises(ValueError, match=written):
        call()


def test_axes_of_a_figure():
    with pytest.raises(TypeError, match="ax: expected axes of matplotlib, got 3"):
        landscape.plot(PLANE_SURFACE, ax=3)
    figure = Figure()
    rows = figure.subplots(2, 2)
    assert landscape.plot([PLANE_SURFACE] * 4, ax=rows) is figure
    assert all(axes.collections for axes in rows.flat)


def test_tolerance_of_an_adaptive_sweep():
    assert SweepConfig(adaptive=0.02) == SweepConfig(adaptive=Adaptive(0.02))
    assert landscape.hessian_plane(PROBLEM, 1).digests() == landscape.hessian_plane(PROBLEM, (1,)).digests()


def test_a_table_without_its_targets():
    pandas = pytest.importorskip("pandas")
    with pytest.raises(TypeError, match=r"Split\.of\(table, targets='column'\), of a, label"):
        Split.of(pandas.DataFrame({"a": [1.0, 2.0], "label": [0, 1]}))


def test_a_run_in_the_place_of_trajectories(tmp_path):
    with landscape.record(tmp_path / "run", PROBLEM) as keep:
        keep(MODEL, step=0)
    for run in (keep.run, keep.run.path, str(keep.run.path), [keep.run]):
        with pytest.raises(StoreError, match=r"run is a run; project it onto the plane of the surface first"):
            landscape.plot(PLANE_SURFACE, run)


def test_a_file_without_the_name_of_its_function(tmp_path):
    (file := tmp_path / "mine.py").touch()
    with pytest.raises(ValueError, match=r"add the name of the function, .*mine\.py:name"):
        ProblemSpec(factory=str(file)).build()


@pytest.mark.filterwarnings("ignore:.*script_method.*:DeprecationWarning")
@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile])
def test_a_plane_of_the_network_without_its_wrapper(wrap):
    wrapped = Problem(wrap(MODEL), PROBLEM.splits, PROBLEM.loss)
    with pytest.raises(ValueError, match=r"one is wrapped .*: take both from the same object"):
        compute_surface(wrapped, random_plane(MODEL), GRID * 2)
