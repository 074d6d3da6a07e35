from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from landscape.functions.catalogue import FUNCTIONS
from landscape.functions.descent import RateSearch
from landscape.surface.reading import read_surface
from landscape.surface.trajectory_files import read_trajectories
from landscape.sweep.grid import Axis
from landscape.workflows import function_figures
from landscape.workflows.figures import save_figure
from landscape.workflows.function_figures import FunctionFigureOptions, animate_study, draw_study
from landscape.workflows.functions import DescentOptions, list_functions, save_study, study_function

SHORT = DescentOptions(steps=5)


@pytest.fixture(scope="module")
def peaks():
    return study_function("peaks", ["adam:lr=0.1"], SHORT, x=21, y=17)


@pytest.fixture(scope="module")
def hills():
    """A function of one variable, to be maximized."""
    return study_function("sine-hills", ["sgd:lr=0.02"], DescentOptions(steps=7), x=21)


def test_list_names_each_function_with_its_best_point():
    lines = list_functions()
    assert len(lines) == 16
    (line,) = [line for line in lines if line.startswith("himmelblau")]
    assert "minimum 0 at (3, 2)" in line


def test_three_learning_rates():
    study = study_function("sine-bowl", [f"sgd:lr={lr}" for lr in (1, 0.1, 0.01)], DescentOptions(steps=60), x=11)
    large, right, small = study.summaries()
    assert "lr 1: 60 steps from 2.5 to 1.571" in large
    assert "from the minimum at -0.4502" in right
    assert float(right.split(", ")[3].split()[0]) < 1e-6
    assert "to 0.66" in small


@pytest.mark.parametrize("kind", ["paths", "steps", "both", "field", "tangent", "steepest"])
def test_figure_of_two_variables(peaks, kind, tmp_path):
    options = FunctionFigureOptions(points=((0.5, 0.5),) if kind in ("tangent", "steepest") else ())
    assert save_figure(draw_study(peaks, kind, options), tmp_path / "f.svg").stat().st_size > 2000


@pytest.mark.parametrize("kind", ["paths", "steps", "both", "tangent"])
def test_figure_of_one_variable(hills, kind):
    options = FunctionFigureOptions(points=((-1.0,), (1.4541965749766172,)) if kind == "tangent" else ())
    assert draw_study(hills, kind, options).axes


@pytest.mark.rendering
def test_relief(peaks, monkeypatch):
    from landscape.render.scenes.offscreen import can_draw

    if not can_draw():
        pytest.skip("no OpenGL library (EGL or OSMesa) to draw with")
    monkeypatch.setattr(function_figures, "RELIEF_PIXELS", (480, 360))
    assert draw_study(peaks, "relief").get_size_inches()[0] > 1


def test_lbfgs():
    study = study_function("rosenbrock", ["lbfgs:lr=0.1"], DescentOptions(steps=2, start=(-1, 1)), x=5, y=5)
    assert study.start == (-1, 1)
    assert len(study.paths[0].descent) == 3


def test_saved_study(hills, tmp_path):
    files = save_study(hills, tmp_path / "kept")
    assert [file.name for file in files] == ["surface.h5", "trajectory.h5"]
    surface, (path,) = read_surface(files[0]), read_trajectories(files[1])
    function = FUNCTIONS["sine-hills"]
    np.testing.assert_allclose(surface.metric(), function.values(surface.x), rtol=1e-15)
    # The function itself is stored, not its negative, which the optimizer minimizes.
    np.testing.assert_allclose(path.loss, function.values(path.coordinates[:, 0]), rtol=1e-15)
    assert path.loss[-1] > path.loss[0]
    assert not path.distance.any()


def test_search_is_reproducible_and_noted(tmp_path):
    options = DescentOptions(steps=6, search=RateSearch(3))
    steps, pages = [], []
    for k in range(2):
        study = study_function("booth", ["sgd", "adam"], options, x=11, y=9, progress=steps.append)
        assert "best of 3 for each optimizer" in study.notes[0]
        assert all("lr=" in path.optimizer for path in study.paths)
        pages.append(save_figure(draw_study(study), tmp_path / f"{k}.svg").read_bytes())
    assert pages[0] == pages[1]
    assert [(step.done, step.total) for step in steps[:2]] == [(3, 6), (6, 6)]


def test_noise_depends_on_the_seed():
    ends = []
    for seed in (0, 0, 1):
        study = study_function("bowl", options=DescentOptions(steps=4, noise=4, seed=seed), x=3, y=3)
        assert "variance 4" in study.notes[0]
        ends.append(tuple(study.paths[0].descent.points[-1]))
    assert ends[0] == ends[1] != ends[2]


def test_divergence_is_noted():
    study = study_function("rosenbrock", ["sgd:lr=1"], x=5, y=5)
    assert study.summaries()[0].endswith("then it diverges")
    assert "diverges after step" in study.notes[0]


def test_animation_has_a_frame_per_step(hills, tmp_path):
    from landscape.render.plots.animation import HOLD_FRAMES

    animate_study(hills, tmp_path / "a.gif", dpi=50)
    # Pillow merges the equal frames at the end.
    with Image.open(tmp_path / "a.gif") as animation:
        assert 8 <= animation.n_frames <= 8 + HOLD_FRAMES


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"function": "rosenbrok"}, "did you mean 'rosenbrock'"),
        ({"function": "bowl", "options": DescentOptions(start=(1.0,))}, "coordinates"),
        ({"function": "parabola", "y": Axis(0, 1, 5)}, "a function of x alone"),
        ({"function": "parabola", "x": 3, "optimizers": ["sdg"]}, "did you mean 'sgd'"),
        ({"function": "bowl", "optimizers": ["sgd:lr=0.1"] * 7}, "expected at most 6 optimizers"),
    ],
)
def test_wrong_study(arguments, message):
    with pytest.raises(ValueError, match=message):
        study_function(**arguments)


@pytest.mark.parametrize(
    ("kind", "points", "message"),
    [
        ("tangent", ((1.0,),), "coordinates"),
        ("tangent", ((99.0, 0.0),), "inside the plotted range"),
        ("tangent", ((0.0, 0.0), (1.0, 1.0)), "takes one point, got 2"),
        ("steepest", ((0.0, 0.0),), "gradient is not zero"),
        ("arrows", (), "unknown kind of figure"),
    ],
)
def test_wrong_figure(kind, points, message):
    bowl = study_function("bowl", (), x=5, y=5)
    with pytest.raises(ValueError, match=message):
        draw_study(bowl, kind, FunctionFigureOptions(points=points))


def test_figure_that_needs_two_variables(hills):
    with pytest.raises(ValueError, match="needs a function of two variables"):
        draw_study(hills, "field")
