from __future__ import annotations

import json

import numpy as np
import pytest

from landscape.surface.reading import read_surface
from landscape.surface.trajectory_files import read_trajectories
from landscape.training import Run

WORDS = (
    "compare", "--model", "mlp", "--model-arg", "widths=(8,)", "--samples", "100", "--epochs", "2",
    "--batch-size", "50", "--checkpoint-steps", "2", "--points", "7", "--ranks", "1", "--flat",
    "--optimizer", "sgd:lr=0.1", "--optimizer", "adam:lr=0.01",
)  # fmt: skip


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    from landscape.cli.main import main

    out = tmp_path_factory.mktemp("compare") / "out"
    assert main([*WORDS, "--out", str(out)]) == 0
    return out


def test_all_runs_start_from_the_same_weights(compared):
    runs = [Run.open(folder) for folder in sorted((compared / "runs").iterdir())]
    assert [run.path.name for run in runs] == ["adam-lr-0.01", "sgd-lr-0.1"]
    first = [run.load(0).state_dict for run in runs]
    for name, tensor in first[0].items():
        assert all(bool((other[name] == tensor).all()) for other in first[1:])
    last = [run.load().state_dict["layers.0.weight"] for run in runs]
    assert not bool((last[0] == last[1]).all())


def test_all_paths_lie_on_one_surface(compared):
    surface, paths = read_surface(compared / "surface.h5"), read_trajectories(compared / "paths.h5")
    assert surface.shape == (7, 7)
    assert np.isfinite(surface.metric()).all()
    assert [path.name for path in paths] == ["sgd-lr-0.1", "adam-lr-0.01"]
    assert len({tuple(np.round(path.coordinates[0], 9)) for path in paths}) == 1
    recipes = surface.metadata.recipes
    assert 0 < sum(recipe.explained_variance_ratio for recipe in recipes) <= 1 + 1e-12
    # The plane stands at the end of the best run.
    best = min(paths, key=lambda path: path.loss[-1])
    np.testing.assert_allclose(best.coordinates[-1], 0, atol=1e-6)
    for path in paths:
        assert np.isfinite(path.surface_loss).all()


def test_figures_are_there(compared):
    assert (compared / "compare.pdf").stat().st_size > 5000
    assert (compared / "compare.png").stat().st_size > 5000
    assert not (compared / "compare-3d.png").exists()


def test_again_nothing_is_computed_again(compared, program):
    before = json.loads((compared / "runs" / "sgd-lr-0.1" / "run.json").read_text())["finished"]
    stamp = (compared / "surface.h5").stat().st_mtime_ns
    code, err, _ = program(*WORDS, "--out", compared)
    assert code == 0, err
    assert json.loads((compared / "runs" / "sgd-lr-0.1" / "run.json").read_text())["finished"] == before
    assert read_surface(compared / "surface.h5").shape == (7, 7)
    assert stamp <= (compared / "surface.h5").stat().st_mtime_ns


def test_finished_runs_on_a_random_plane(compared, program, tmp_path):
    runs = sorted((compared / "runs").iterdir())[:2]
    code, err, _ = program(
        "compare", *runs, "--plane", "random", "--points", 5, "--ranks", 1, "--flat", "--out", tmp_path / "out"
    )
    assert code == 0, err
    assert read_surface(tmp_path / "out" / "surface.h5").x[0] == -1
    assert not list((tmp_path / "out" / "runs").iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "say what to train"),
        (("--model", "mlp", "--optimizer", "sgd"), "two to 6 optimizers"),
        (("--model", "mlp", *["--optimizer", "adam"] * 2), "that differ from each other"),
        (("--model", "mlp", "--optimizer", "sgd", "--optimizer", "adamm"), "did you mean 'adam'"),
    ],
)
def test_wrong_usage(program, tmp_path, words, said):
    code, err, _ = program("compare", *words, "--out", tmp_path / "out")
    assert code == 2
    assert said in " ".join(err.split())


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_failing_run_is_told_with_its_reason(program, tmp_path, ranks):
    """One at a time the runs are made in this process, two at a time in processes of their own."""
    words = [word if word != "adam:lr=0.01" else "adam:lr=1e30" for word in WORDS]
    code, err, _ = program(*words, "--ranks", ranks, "--out", tmp_path / "out")
    assert code == 1
    assert "training loss is" in err


def test_runs_of_two_networks(compared, program, tmp_path):
    other = tmp_path / "other"
    words = ("train", "--model", "mlp", "--model-arg", "widths=(4,)", "--samples", 50, "--epochs", 1, "--out", other)
    assert program(*words)[0] == 0
    code, err, _ = program("compare", compared / "runs" / "sgd-lr-0.1", other, "--out", tmp_path / "out")
    assert code == 2
    assert "runs of one network expected" in err
