from __future__ import annotations

import numpy as np
import pytest

from landscape.errors import NonFiniteLossError
from landscape.problem.spec import ProblemSpec
from landscape.surface.reading import read_surface
from landscape.surface.trajectory_files import read_trajectories
from landscape.training import Run, TrainingSettings
from landscape.workflows.compare import CompareOptions, compare, compare_runs
from landscape.workflows.train import train

pytestmark = pytest.mark.integration

PROBLEM = ProblemSpec(model="mlp", model_args={"widths": (8,)}, samples=100)
TRAINING = TrainingSettings(epochs=2, batch_size=50, checkpoint_steps=2)
OPTIONS = CompareOptions(TRAINING, points=7, scene=False)
OPTIMIZERS = ("sgd:lr=0.1", "adam:lr=0.01")


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    return compare(PROBLEM, OPTIMIZERS, tmp_path_factory.mktemp("compare") / "out", OPTIONS, ranks=1)


def test_runs_start_from_the_same_weights(compared):
    assert [run.path.name for run in compared.runs] == ["sgd-lr-0.1", "adam-lr-0.01"]
    first = [run.load(0).state_dict for run in compared.runs]
    for name, tensor in first[0].items():
        assert all(bool((other[name] == tensor).all()) for other in first[1:])
    last = [run.load().state_dict["layers.0.weight"] for run in compared.runs]
    assert not bool((last[0] == last[1]).all())


def test_paths_share_one_surface(compared):
    surface, paths = read_surface(compared.surface), read_trajectories(compared.trajectories)
    assert surface.shape == (7, 7)
    assert np.isfinite(surface.metric()).all()
    assert [path.name for path in paths] == ["SGD, lr 0.1", "Adam, lr 0.01"]
    assert len({tuple(np.round(path.coordinates[0], 9)) for path in paths}) == 1
    assert 0 < sum(recipe.explained_variance_ratio for recipe in surface.metadata.recipes) <= 1 + 1e-12
    # The end of the best run is the origin of the plane.
    best = min(paths, key=lambda path: path.loss[-1])
    np.testing.assert_allclose(best.coordinates[-1], 0, atol=1e-6)
    for path in paths:
        assert np.isfinite(path.surface_loss).all()


def test_figures(compared):
    assert [path.name for path in compared.figures] == ["compare.pdf", "compare.png"]
    assert all(path.stat().st_size > 5000 for path in compared.figures)


def test_existing_results_are_kept(compared):
    out, progress = compared.surface.parent, []
    finished = compared.runs[0].record.finished
    again = compare(PROBLEM, OPTIMIZERS, out, OPTIONS, ranks=1, progress=progress.append)
    assert Run.open(again.runs[0].path).record.finished == finished
    assert [step.done for step in progress if step.stage == "surface"] in ([], [49])


def test_finished_runs_on_a_random_plane(compared, tmp_path):
    options = CompareOptions(plane="random", points=5, scene=False)
    result = compare_runs([run.path for run in compared.runs], tmp_path, options, ranks=1)
    assert read_surface(result.surface).x[0] == -1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("optimizers", "message"),
    [
        (["sgd"], "expected 2 to 6 optimizers"),
        (["adam", "adam"], "differ from each other"),
        (["sgd", "adamm"], "did you mean 'adam'"),
    ],
)
def test_wrong_optimizers(tmp_path, optimizers, message):
    with pytest.raises(ValueError, match=message):
        compare(PROBLEM, optimizers, tmp_path, OPTIONS, ranks=1)


@pytest.mark.process
def test_error_of_a_run_in_another_process(tmp_path):
    with pytest.raises(NonFiniteLossError, match="training loss"):
        compare(PROBLEM, ["sgd:lr=0.1", "adam:lr=1e30"], tmp_path, OPTIONS, ranks=2)


def test_runs_of_two_networks(compared, tmp_path):
    other = ProblemSpec(model="mlp", model_args={"widths": (4,)}, samples=50)
    run = train(other, "sgd", TrainingSettings(epochs=0), tmp_path / "other")
    with pytest.raises(ValueError, match="expected runs of one network"):
        compare_runs([compared.runs[0], run], tmp_path / "out", OPTIONS)
