from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from landscape.render.scenes.composition import compose
from landscape.render.scenes.offscreen import can_draw
from landscape.render.scenes.options import SceneOptions
from landscape.surface.reading import read_surface
from landscape.workflows.functions import DescentOptions, save_study, study_function

SMALL = ("--size", "320x300", "--supersampling", 1, "--fps", 4)

pytestmark = [
    pytest.mark.rendering,
    pytest.mark.skipif(not can_draw(), reason="no OpenGL library (EGL or OSMesa) to draw with"),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return the words for a surface and for its trajectory."""
    study = study_function("bowl", options=DescentOptions(steps=6), x=9, y=7)
    surface, path = save_study(study, tmp_path_factory.mktemp("files"))
    return surface, "--trajectory", path


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_descent_as_a_folder_of_frames(program, files, tmp_path):
    words = ("animate", *files, *SMALL, "--seconds", 1, "--hold", 0.5, "--out", "frames")
    code, err, out = program(*words)
    assert code == 0, err
    assert "drawing: 4 of 4 frames" in err
    assert f"frames: 1 s, 4 frames, from {files[0]}" in err
    assert out == ""
    shown = [np.asarray(Image.open(tmp_path / "frames" / f"frame-{k:05}.png").convert("RGB")) for k in range(4)]
    assert {image.shape for image in shown} == {(300, 320, 3)}
    np.testing.assert_array_equal(shown[2], shown[3])
    assert (shown[0] != shown[2]).any()
    code, err, _ = program(*words)
    assert code == 1
    assert "--overwrite" in err
    assert program(*words, "--overwrite")[0] == 0


def test_orbit_as_a_gif(program, files, tmp_path):
    code, err, _ = program("animate", files[0], *SMALL, "--seconds", 1, "--out", "turn.gif")
    assert code == 0, err
    assert "turn.gif: 1 s" in err
    with Image.open(tmp_path / "turn.gif") as moving:
        assert moving.n_frames == 4


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--out", "f.avi"), 2, "without a suffix"),
        (("--out", "g.gif", "--fps", 60), 2, "at most 50"),
        (("--out", "g.gif", "--descent"), 2, "a descent needs paths"),
        (("--out", "g.gif", "--size", "1600x1200", "--dpi", 300, "--style", "page"), 2, "leave out the size"),
        (("--out", "g.mp4"), 1, "pip install imageio-ffmpeg"),
    ],
)
def test_wrong_usage(program, files, tmp_path, monkeypatch, words, code, message):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    found, err, _ = program("animate", files[0], *words)
    assert (found, err.count("\n")) == (code, 1), err
    assert message in err
    assert not list(tmp_path.glob("g.*"))


def composed_height(file, words):
    """Return the height in pixels of the same scene from Python, without drawing it."""
    given = dict(zip(words[::2], words[1::2], strict=True))
    options = SceneOptions(size=given.get("--size"), dpi=given["--dpi"])
    return compose(read_surface(file), (), options).layout.size[1]


@pytest.mark.parametrize(
    ("words", "width", "height", "dpi"),
    [
        (("--size", "column", "--dpi", 200), 650, None, 200),
        (("--size", "4x3in", "--dpi", 150), 600, 450, 150),
        (("--dpi", 100), 675, None, 100),
        (("--size", "600x450"), 600, 450, 600 / 6.75),
    ],
)
def test_size_of_a_still(program, files, tmp_path, words, width, height, dpi):
    """The height follows the scene if only the width is given."""
    code, err, _ = program("render", files[0], *words, "--out", "s.png")
    assert code == 0, err
    with Image.open(tmp_path / "s.png") as picture:
        assert picture.size == (width, height or composed_height(files[0], words))
        assert 0.5 * width < picture.height < width
        assert picture.info["dpi"] == pytest.approx((dpi, dpi), abs=0.1)
