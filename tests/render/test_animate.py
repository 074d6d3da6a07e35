from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from landscape.render.plots.animation import HOLD_FRAMES, _growing, _show, animate
from landscape.render.plots.descent import plot_descents
from landscape.render.plots.grid import OTHER_PATH
from landscape.render.plots.options import DescentPlotOptions
from landscape.surface.surface import DONE, Surface


@pytest.fixture
def drawn(walk):
    x = np.linspace(-2, 3, 21)
    surface = Surface((x,), {"$f(x)$": x**2}, np.full(21, DONE, np.uint8))
    at = np.array([2.5, 1.5, 0.9, 0.5])
    other = at[:2]
    return plot_descents(
        surface,
        [walk(at[:, None], "a", loss=at**2), walk(other[:, None], "b", loss=other**2)],
        options=DescentPlotOptions(steps=True, size="column"),
    )


def frames(path):
    with Image.open(path) as moving:
        found = []
        for i in range(moving.n_frames):
            moving.seek(i)
            found.append(np.asarray(moving.convert("L"), dtype=int))
    return found


def test_frames_grow_by_step(drawn, tmp_path):
    drawn.figure.savefig(tmp_path / "whole.png", dpi=60)
    animate(drawn, tmp_path / "a.gif", dpi=60)
    shown = frames(tmp_path / "a.gif")
    assert 4 <= len(shown) <= 4 + HOLD_FRAMES
    dark = [int((frame < 128).sum()) for frame in shown]
    assert dark[0] < dark[1] < dark[2] < dark[3]
    assert all(np.abs(frame - shown[-1]).max() < 40 for frame in shown[4:])


def test_figure_is_restored(drawn, tmp_path):
    before = [line.get_xydata().copy() for ax in drawn.axes for line in ax.lines]
    engine = drawn.figure.get_layout_engine()
    animate(drawn, tmp_path / "a.gif", dpi=40)
    after = [line.get_xydata() for ax in drawn.axes for line in ax.lines]
    assert all(np.array_equal(b, a) for b, a in zip(before, after, strict=True))
    assert drawn.figure.get_layout_engine() is engine
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.gif"]


def test_long_paths_are_thinned(walk, tmp_path):
    x = np.linspace(-2, 3, 21)
    surface = Surface((x,), {"$f(x)$": x**2}, np.full(21, DONE, np.uint8))
    at = 2.5 * 0.99 ** np.arange(400)
    long = plot_descents(surface, [walk(at[:, None], loss=at**2)], options=DescentPlotOptions(size="column"))
    animate(long, tmp_path / "a.gif", dpi=30, frames=6)
    assert 2 <= len(frames(tmp_path / "a.gif")) <= 6 + HOLD_FRAMES


def test_folder_of_frames(drawn, tmp_path):
    written = animate(drawn, tmp_path / "a", dpi=40)
    assert written == tmp_path / "a"
    assert sorted(path.name for path in written.iterdir()) == [f"frame-{i:05}.png" for i in range(4 + HOLD_FRAMES)]


@pytest.mark.parametrize(
    ("name", "more"), [("a.png", {}), ("a.gif", {"seconds": 0}), ("a.gif", {"frames": 1}), ("a.gif", {"dpi": 0})]
)
def test_wrong_arguments(drawn, tmp_path, name, more):
    with pytest.raises(ValueError, match="expected"):
        animate(drawn, tmp_path / name, **more)


def test_other_paths_grow_too_in_panels(walk):
    paths = [walk([(-2.0 + k, 2.0), (-1.0, 1.0), (0.0, 0.1 * k)], f"run {k}") for k in range(5)]
    x = np.linspace(-3, 3, 9)
    bowl = Surface((x, x), {"f": 1 + x[None, :] ** 2 + x[:, None] ** 2}, np.full((9, 9), DONE, np.uint8))
    drawn = plot_descents(bowl, paths)
    others = [line for ax in drawn.axes for line in ax.lines if line.get_gid() == OTHER_PATH]
    assert len(others) == 5 * 4
    growing = _growing(drawn)
    _show(growing, 1)
    assert {len(line.get_xdata()) for line in others} == {2}
    _show(growing, 2)
    assert {len(line.get_xdata()) for line in others} == {3}
