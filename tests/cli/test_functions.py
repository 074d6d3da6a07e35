from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

SMALL = ("--x", "auto:21", "--dpi", "50")
SMALL_2 = (*SMALL, "--y", "auto:17")


def test_the_list_names_each_function_with_its_best_point(program):
    code, _, out = program("functions", "--list")
    assert code == 0
    assert len(out.splitlines()) == 16
    (line,) = [line for line in out.splitlines() if line.startswith("himmelblau")]
    assert "minimum 0 at (3, 2)" in line


def test_three_learning_rates_in_numbers_and_in_one_figure(program, tmp_path):
    rates = [word for rate in ("1", "0.1", "0.01") for word in ("--optimizer", f"sgd:lr={rate}")]
    code, err, _ = program(
        "functions", "sine-bowl", *rates, "--steps", 60, *SMALL, "--draw", "both", "--out", tmp_path / "f.png"
    )
    assert code == 0
    lines = err.splitlines()
    assert "lr 1: 60 steps from 2.5 to 1.571" in lines[0]
    assert "from the minimum at -0.4502" in lines[1]
    assert float(lines[1].split(", ")[3].split()[0]) < 1e-6
    assert "to 0.66" in lines[2]
    with Image.open(tmp_path / "f.png") as picture:
        assert picture.size[0] > 200


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("peaks", "--optimizer", "adam:lr=0.1"), "paths.pdf"),
        (("peaks", "--draw", "steps"), "steps.svg"),
        (("parabola", "--draw", "both"), "both.png"),
        (("peaks", "--draw", "field"), "field.png"),
        (("peaks", "--draw", "tangent", "--at", "0.5,0.5"), "plane.png"),
        (("peaks", "--draw", "steepest"), "steepest.png"),
        (("rosenbrock", "--optimizer", "lbfgs:lr=0.1", "--start", "-1,1"), "lbfgs.png"),
    ],
)
def test_every_kind_of_figure(program, tmp_path, words, name):
    size = SMALL if words[0] == "parabola" else SMALL_2
    code, err, _ = program("functions", *words, *size, "--steps", 5, "--out", tmp_path / name)
    assert code == 0, err
    assert (tmp_path / name).stat().st_size > 2000


def test_tangents_of_a_formula_at_two_points(program, tmp_path):
    words = ("25*sin(x) - x^2", "--maximize", "--draw", "tangent", "--at", "-1", "--at", "1.4541965749766172")
    assert program("functions", *words, *SMALL, "--out", tmp_path / "t.svg")[0] == 0
    assert (tmp_path / "t.svg").exists()


def test_a_scene(program, tmp_path):
    from landscape.render.scenes.offscreen import can_draw

    if not can_draw():
        pytest.skip("no OpenGL library (EGL or OSMesa) to draw with")
    code, err, _ = program("functions", "bowl", "--draw", "relief", *SMALL_2, "--steps", 5, "--out", tmp_path / "r.png")
    assert code == 0, err


def test_files_are_surfaces_and_trajectories_of_the_usual_kind(program, tmp_path):
    words = ("sine-hills", "--steps", 7, *SMALL, "--files", tmp_path / "kept", "--out", tmp_path / "f.png")
    assert program("functions", *words)[0] == 0
    from landscape.functions.catalogue import FUNCTIONS
    from landscape.surface.reading import read_surface
    from landscape.surface.trajectory_files import read_trajectories

    surface = read_surface(tmp_path / "kept" / "surface.h5")
    (path,) = read_trajectories(tmp_path / "kept" / "trajectory.h5")
    np.testing.assert_allclose(surface.metric(), FUNCTIONS["sine-hills"].values(surface.x), rtol=1e-15)
    # To be climbed: what is kept is the function, and not the negative that the optimizer sees.
    np.testing.assert_allclose(path.loss, FUNCTIONS["sine-hills"].values(path.coordinates[:, 0]), rtol=1e-15)
    assert path.loss[-1] > path.loss[0]
    assert not path.distance.any()
    code, _, _ = program(
        "plot", tmp_path / "kept" / "surface.h5", "--trajectory", tmp_path / "kept" / "trajectory.h5", "--out",
        tmp_path / "again.png",
    )  # fmt: skip
    assert code == 0


def test_a_search_is_said_on_the_figure_and_repeats(program, tmp_path):
    words = ("functions", "booth", "--optimizer", "sgd", "--optimizer", "adam", "--tune", 4, "--steps", 8, *SMALL_2)
    one = program(*words, "--out", tmp_path / "1.svg")
    other = program(*words, "--out", tmp_path / "2.svg")
    assert one[0] == other[0] == 0
    assert [line for line in one[1].splitlines() if " lr " in line] == [
        line for line in other[1].splitlines() if " lr " in line
    ]
    assert (tmp_path / "1.svg").read_bytes() == (tmp_path / "2.svg").read_bytes()


def test_noise_changes_the_path_by_its_seed(program, tmp_path):
    ends = []
    for seed in (0, 0, 1):
        words = ("bowl", "--noise", 4, "--seed", seed, "--steps", 6, *SMALL_2, "--out", tmp_path / "n.png")
        code, err, _ = program("functions", *words, "--overwrite")
        assert code == 0
        ends.append(err.splitlines()[0])
    assert ends[0] == ends[1] != ends[2]


def test_a_divergence_is_said(program, tmp_path):
    words = ("rosenbrock", "--optimizer", "sgd:lr=1", *SMALL_2, "--out", tmp_path / "d.png")
    code, err, _ = program("functions", *words)
    assert code == 0
    assert "then it diverges" in err


def test_animations_have_a_frame_for_each_step(program, tmp_path):
    words = ("parabola", "--steps", 5, *SMALL, "--out", tmp_path / "a.gif")
    assert program("functions", *words)[0] == 0
    from landscape.render.plots.animation import HOLD_FRAMES

    # Pillow joins the frames of the end, which are alike, into a longer one.
    with Image.open(tmp_path / "a.gif") as moving:
        assert 6 <= moving.n_frames <= 6 + HOLD_FRAMES


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "say which function"),
        (("rosenbrok",), "did you mean 'rosenbrock'"),
        (("x^2", "--out", "f.jpg"), "a name that ends in"),
        (("bowl", "--draw", "field", "--out", "f.gif"), "no paths to animate"),
        (("x^2", "--draw", "field"), "needs a function of two variables"),
        (("bowl", "--start", "1"), "as many coordinates expected"),
        (("bowl", "--at", "1", "--draw", "tangent"), "as many coordinates expected"),
        (("bowl", "--at", "99,0", "--draw", "tangent"), "a point inside the drawn range"),
        (("bowl", "--draw", "steepest", "--at", "0,0"), "a point where the function has a slope"),
        (("parabola", "--y", "0:1:5"), "a function of x alone"),
        (("bowl", "--start", "1,b"), "one number, or two"),
        (("bowl", "--optimizer", "sdg"), "did you mean 'sgd'"),
        (("bowl", *["--optimizer", "sgd:lr=0.1"] * 7), "up to 6"),
        (("bowl", "--tune-range", "1"), "low:high expected"),
    ],
)
def test_wrong_usage_in_one_line(program, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    size = () if not words else SMALL_2 if words[0] == "bowl" else ("--x", "auto:11")
    code, err, _ = program("functions", *words, *size)
    assert code == 2
    assert said in " ".join(err.split())
    assert not list(tmp_path.glob("f*"))
