from __future__ import annotations

import pytest

SMALL = ("--x", "auto:11", "--dpi", "50")


def test_list(program):
    code, _, out = program("functions", "--list")
    assert code == 0
    assert len(out.splitlines()) == 16


def test_figure_files_and_summaries(program, tmp_path):
    words = ("sine-hills", "--optimizer", "sgd:lr=0.02", "--steps", 4, *SMALL, "--files", tmp_path / "kept")
    code, err, out = program("functions", *words, "--out", tmp_path / "f.png")
    assert code == 0, err
    assert err.splitlines()[0].startswith("SGD, lr 0.02: 4 steps from -1 to")
    assert out == ""
    assert (tmp_path / "f.png").stat().st_size > 2000
    plot = ("plot", tmp_path / "kept" / "surface.h5", "--trajectory", tmp_path / "kept" / "trajectory.h5")
    assert program(*plot, "--out", tmp_path / "again.png")[0] == 0


def test_search_and_animation(program, tmp_path):
    words = ("parabola", "--tune", 2, "--tune-range", "0.01:0.1", "--steps", 3, *SMALL)
    code, err, _ = program("functions", *words, "--out", tmp_path / "a.gif")
    assert code == 0, err
    assert (tmp_path / "a.gif").stat().st_size > 2000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "expected the name of a function"),
        (("x^2", "--out", "f.jpg"), "a name that ends in"),
        (("bowl", "--draw", "field", "--out", "f.gif"), "no paths to animate"),
        (("x^2", "--draw", "field"), "needs a function of two variables"),
        (("bowl", "--start", "1,b"), "one number, or two"),
        (("bowl", "--tune-range", "1"), "expected low:high"),
        (("parabola", "--y", "0:1:5"), "a function of x alone"),
    ],
)
def test_wrong_usage(program, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    code, err, _ = program("functions", *words, *SMALL, *(("--y", "auto:9") if "bowl" in words else ()))
    assert code == 2
    assert message in " ".join(err.split())
    assert not list(tmp_path.glob("f*"))
