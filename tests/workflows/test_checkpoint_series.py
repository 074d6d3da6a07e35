"""Checkpoint files of other programs as paths: series, order, steps, and projections by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from landscape.errors import CheckpointError
from landscape.geometry.plane import random_plane
from landscape.problem.spec import ProblemSpec
from landscape.training.checkpoint import save_checkpoint
from landscape.training.measure import measure
from landscape.training.run import Run
from landscape.workflows.checkpoint_series import CheckpointSeries, open_paths
from landscape.workflows.planes import PlaneConfig
from landscape.workflows.sources import UnnamedProblemError
from landscape.workflows.surface import compute_surface
from landscape.workflows.trajectory import fit_notes, principal_plane_of, project


@pytest.fixture
def write(spec, tmp_path):
    """``write(names...)``: weights that move along a straight line, one step for each name."""
    start = {name: tensor.clone() for name, tensor in spec.build().model.state_dict().items()}

    def call(*names):
        files = []
        for k, name in enumerate(names):
            file = tmp_path / name
            file.parent.mkdir(exist_ok=True)
            torch.save({"module." + n: t + 0.125 * k * (1 + k) for n, t in start.items()}, file)
            files.append(file)
        return files

    return call


@pytest.mark.parametrize(
    ("names", "steps", "epochs"),
    [
        (["model_0.pt", "model_2.pt", "model_10.pt"], [0, 2, 10], [math.nan] * 3),
        (["epoch=0-step=90-loss=0.9.ckpt", "epoch=9-step=100-loss=0.5.ckpt"], [90, 100], [math.nan] * 2),
        (["loss0.9_epoch09.pth", "loss0.10_epoch10.pth"], [9, 10], [9.0, 10.0]),
        (["resnet20_3.t7", "resnet20_12.t7"], [3, 12], [math.nan] * 2),
        (["v2-ckpt100.bin"], [2], [math.nan]),
        (["it-5.pt", "it-40.pt"], [5, 40], [math.nan] * 2),
    ],
)
def test_order_and_steps(names, steps, epochs, write, tmp_path):
    files = write(*names)
    (series,) = open_paths(files[::-1])
    assert isinstance(series, CheckpointSeries)
    assert series.checkpoints == files
    assert series.steps == series.saved_steps == steps
    assert np.array_equal(series.epochs, epochs, equal_nan=True)
    assert series.path == tmp_path
    (folder,) = open_paths([tmp_path])
    assert folder.checkpoints == files


def test_series_by_folder_and_pattern(write, run, tmp_path):
    files = write("a_1.pt", "b_1.pt", "a_2.pt", "b_2.pt", "other/a_1.pt")
    opened = open_paths([files[4], run, *files[:4]])
    assert [type(each) for each in opened] == [CheckpointSeries, Run, CheckpointSeries, CheckpointSeries]
    assert [each.path for each in opened] == [tmp_path / "other", run.path, tmp_path / "a", tmp_path / "b"]
    assert open_paths(opened) == opened


def test_a_pattern_of_runs(run):
    pattern = str(run.path.parent / "ru[n]")
    assert [found.path for found in open_paths([pattern])] == [run.path]
    with pytest.raises(CheckpointError, match=r"nothing-\*: no such run or checkpoint"):
        open_paths([run.path.parent / "nothing-*"])


def test_files_of_a_run(run):
    (series,) = open_paths(run.checkpoints)
    assert (series.path.resolve(), series.steps) == (run.path.resolve(), run.saved_steps)
    (from_files,), (from_run,) = project(run.checkpoints), project(run)
    assert np.array_equal(from_files.coordinates, from_run.coordinates)
    assert np.array_equal(from_files.epoch, from_run.epoch)


def test_projection_by_hand(spec, write, tmp_path):
    """Least squares in float64, on weights that are stored as those of a ``DataParallel``."""
    files = write("model_9.pt", "model_10.pt", "model_100.pt")
    plane = random_plane(spec.build().model, seed=3)
    (path,) = project(files, plane, problem=spec, measure=True, out=tmp_path / "out.h5")
    axes = np.stack([np.concatenate([t.double().numpy().ravel() for _, t in d.weights]) for d in plane.directions], 1)
    for k in range(3):
        away = np.full(len(axes), 0.125 * k * (1 + k))
        expected = np.linalg.lstsq(axes, away, rcond=None)[0]
        assert path.coordinates[k] == pytest.approx(expected, abs=1e-5)
        assert path.displacement[k] == pytest.approx(np.linalg.norm(away), rel=1e-6)
        assert path.distance[k] == pytest.approx(np.linalg.norm(away - axes @ expected), rel=1e-5)
    assert path.step.tolist() == [9, 10, 100]
    problem = spec.build(("train",))
    expected = measure(problem.model, problem.splits["train"], problem.loss, {})["loss"]
    assert path.loss[0] == pytest.approx(expected, rel=1e-6)


def test_principal_components_of_files(spec, write):
    files = write("model_9.pt", "model_10.pt", "model_100.pt")  # on a line, at 0, 1 and 3
    plane = principal_plane_of(files, axes=1, problem=spec)
    (path,) = project(files, plane, problem=spec)
    assert path.distance == pytest.approx([0, 0, 0], abs=1e-4)
    assert path.displacement / path.displacement[0] == pytest.approx([1, 2 / 3, 0], rel=1e-5)


def test_problem_is_needed(write):
    with pytest.raises(UnnamedProblemError, match=r"model_2\.pt is a checkpoint outside a run directory"):
        project(write("model_1.pt", "model_2.pt"))


def test_problem_beside_a_run(spec, run):
    assert project(run, problem=spec)[0].displacement[-1] == 0
    with pytest.raises(CheckpointError, match="not fit the network"):
        project(run, problem=ProblemSpec(model="mlp", model_args={"widths": (9,)}, samples=200))


def test_file_without_a_number(write, tmp_path):
    files = write("model_1.pt", "best.pt")
    with pytest.raises(CheckpointError, match=r"best\.pt: expected a number in the name.*or leave it out"):
        open_paths(files)
    save_checkpoint(tmp_path / "best.pt", {"a": torch.ones(1)}, step=7, epoch=1)  # says itself where it belongs
    assert open_paths([tmp_path / "best.pt"])[0].steps == [7]


def test_two_files_of_one_number(write):
    with pytest.raises(CheckpointError, match=r"one checkpoint for each number, but .*1\.pt and .*1\.pt have 1"):
        open_paths(write("model_1.pt", "model_01.pt"))


@pytest.fixture
def folders(spec, tmp_path):
    """Folders as the ``Trainer`` of Hugging Face writes them, with weights that move along a straight line."""
    start = {name: tensor.clone() for name, tensor in spec.build().model.state_dict().items()}
    made = []
    for k, step in enumerate((20, 100)):
        folder = tmp_path / "out" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        torch.save({n: t + 0.125 * k for n, t in start.items()}, folder / "pytorch_model.bin")
        torch.save({"state": {}}, folder / "optimizer.pt")
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": step, "epoch": step / 40}))
        made.append(folder)
    return made


def test_folders_make_a_path(folders, spec, tmp_path):
    series = open_paths(folders[::-1])[0]
    assert (series.checkpoints, series.steps) == (folders, [20, 100])
    assert open_paths([tmp_path / "out"])[0].checkpoints == folders
    assert open_paths([tmp_path / "out" / "checkpoint-*"])[0].checkpoints == folders  # a pattern in quotes
    plane = random_plane(spec.build().model, seed=0)
    (path,) = project(folders, plane, problem=spec)
    assert (path.step.tolist(), path.epoch.tolist()) == ([20, 100], [0.5, 2.5])
    moved = math.sqrt(sum(t.numel() for t in spec.build().model.state_dict().values())) * 0.125
    assert path.displacement[0] == 0
    assert path.displacement[1] == pytest.approx(moved, rel=1e-5)


def test_a_folder_without_a_number(folders, tmp_path):
    folders[1].rename(tmp_path / "best")
    assert open_paths([tmp_path / "best"])[0].steps == [100]


def test_from_folder_to_folder(folders, spec):
    found = compute_surface(folders[0], PlaneConfig(to=folders[1]), grid="0:1:2", problem=spec).surface
    ends = [compute_surface(folder, grid="0:0:1", problem=spec).surface.metric()[0] for folder in folders]
    assert found.metric().tolist() == pytest.approx(ends, rel=1e-6)
    assert ends[0] != ends[1]


def test_series_of_averages(write, spec):
    files = write("model_1.pt", "model_2.pt")
    for file in files:
        torch.save({"model": {"x": torch.ones(1)}, "ema": {"module": torch.load(file)}}, file)
    series = open_paths([f"{file}::ema.module" for file in files])[0]
    assert series.steps == [1, 2]
    assert series.load().state_dict.keys() == spec.build().model.state_dict().keys()


def test_a_prefix_is_said(write, spec):
    files = write("model_1.pt", "model_2.pt")
    plain = project(files, random_plane(spec.build().model, seed=0), problem=spec)[0]
    for file in files:
        torch.save({n.replace("module.", "model."): t for n, t in torch.load(file).items()}, file)
    plane = random_plane(spec.build().model, seed=0)
    assert np.array_equal(project(files, plane, problem=spec)[0].coordinates, plain.coordinates)
    (note,) = fit_notes(open_paths(files), plane.origin)
    assert note.endswith("its weights fit with 'model.' removed from their names")


def test_adapters_make_a_path(tmp_path):
    """Only what the adapter holds moves; the base is that of the problem."""

    class Adapted(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.base_layer = torch.nn.Linear(4, 3)
            self.lora_A = torch.nn.ModuleDict({"default": torch.nn.Linear(4, 2, bias=False)})

        def forward(self, x):
            return self.base_layer(x) + self.lora_A["default"](x).sum(1, keepdim=True)

    torch.manual_seed(0)
    model = Adapted()
    for step in (5, 10):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        torch.save({"lora_A.weight": torch.full((2, 4), float(step))}, folder / "adapter_model.bin")
    plane = random_plane(model, seed=0)
    (path,) = project(tmp_path, plane)
    start = model.lora_A["default"].weight.detach()
    assert path.step.tolist() == [5, 10]
    expected = [float((torch.full((2, 4), float(step)) - start).norm()) for step in (5, 10)]
    assert path.displacement == pytest.approx(expected, rel=1e-6)
    assert fit_notes(open_paths([tmp_path]), plane.origin)[0].endswith("the other weights are those of the problem")
