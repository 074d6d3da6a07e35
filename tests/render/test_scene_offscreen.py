from __future__ import annotations

import ctypes
import gc
import os
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from landscape.errors import MissingLibraryError
from landscape.render.scenes import offscreen
from landscape.render.scenes.vtk_rendering import vtkActor, vtkPolyDataMapper, vtkRenderer
from landscape.render.vtk_data import vtkSphereSource

PICTURE = """
    import sys
    from landscape.errors import MissingLibraryError
    from landscape.render.scenes.offscreen import render_once
    from landscape.render.scenes.vtk_rendering import vtkRenderer
    try:
        print(render_once(vtkRenderer(), (20, 10)).shape)
    except MissingLibraryError as error:
        print("MISSING", error)
"""


def run(code, *wrapper, **environment):
    return subprocess.run(
        [*wrapper, sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


class Fallback:
    """The window that VTK creates without EGL; its ``Render`` would crash without OSMesa."""

    def GetClassName(self):
        return "vtkOSOpenGLRenderWindow"

    def SetOffScreenRendering(self, on):
        pass

    SetMultiSamples = SetAlphaBitPlanes = SetOffScreenRendering

    def Finalize(self):
        pass


def nothing_loads(name, *args, **kwargs):
    raise OSError(name)


def test_missing_opengl_error(monkeypatch):
    monkeypatch.setattr(offscreen, "vtkRenderWindow", Fallback)
    monkeypatch.setattr(ctypes, "CDLL", nothing_loads)
    with pytest.raises(MissingLibraryError) as caught:
        offscreen.new_window()
    message = str(caught.value)
    assert "\n" not in message
    for words in ("apt install libegl1 libgl1-mesa-dri", "dnf install mesa-libEGL", "conda install"):
        assert words in message
    assert not offscreen.can_draw()


def test_osmesa_is_sufficient(monkeypatch):
    monkeypatch.setattr(offscreen, "vtkRenderWindow", Fallback)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: None if name == "libOSMesa.so.8" else nothing_loads(name))
    assert isinstance(offscreen.new_window(), Fallback)
    assert offscreen.can_draw()


def test_egl_is_sufficient(needs_gl, monkeypatch):
    if offscreen.new_window().GetClassName() != "vtkEGLRenderWindow":
        pytest.skip("no EGL here")
    monkeypatch.setattr(ctypes, "CDLL", nothing_loads)
    assert offscreen.new_window().GetOffScreenRendering()


@pytest.mark.process
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux namespaces")
@pytest.mark.parametrize("what", ["libraries", "drivers"])
def test_hidden_opengl_is_error_not_crash(what):
    unshare = shutil.which("unshare")
    names = ("libEGL.so.1", "libX11.so.6", "libGL.so.1", "libOSMesa.so.8", "libOSMesa.so.6")
    known = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    found = [line.split("=>")[1].strip() for line in known.splitlines() if line.split("(")[0].strip() in names]
    hidden = [f"mount --bind /dev/null {os.path.realpath(path)}" for path in found]
    if what == "drivers":
        folders = {os.path.join(os.path.dirname(path), "dri") for path in found}
        hidden = [f"mount -t tmpfs none {folder}" for folder in folders if os.path.isdir(folder)]
        hidden += [f"mount --bind /dev/null {os.path.realpath(path)}" for path in found if "OSMesa" in path]
    if not unshare or not hidden:
        pytest.skip("nothing to hide, or no way to")
    result = run(PICTURE, unshare, "-rm", "sh", "-c", f'{" && ".join(hidden)} || exit 77; exec "$@"', "sh")
    if result.returncode == 77 or "unshare" in result.stderr:
        pytest.skip(f"mounts are not allowed here: {result.stderr.strip()}")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("MISSING VTK finds no OpenGL library"), result.stdout
    assert result.stderr == ""


@pytest.mark.process
def test_rendering_is_silent(needs_gl):
    result = run(PICTURE, DISPLAY=":77")
    assert result.stdout == "(10, 20, 4)\n"
    assert result.stderr == ""


def ball(renderer, x, y, colour=(1, 0, 0), radius=0.3):
    source = vtkSphereSource()
    source.SetCenter(x, y, 0)
    source.SetRadius(radius)
    source.SetThetaResolution(40)
    source.SetPhiResolution(40)
    mapper = vtkPolyDataMapper()
    mapper.SetInputConnection(source.GetOutputPort())
    actor = vtkActor()
    actor.SetMapper(mapper)
    actor.GetProperty().SetColor(*colour)
    actor.GetProperty().LightingOff()
    renderer.AddActor(actor)


def view(renderer):
    camera = renderer.GetActiveCamera()
    camera.ParallelProjectionOn()
    camera.SetParallelScale(1.0)
    camera.SetPosition(0, 0, 3)
    camera.SetFocalPoint(0, 0, 0)
    renderer.ResetCameraClippingRange()
    renderer.SetBackgroundAlpha(0.0)


def test_image_orientation_and_alpha(needs_gl):
    renderer = vtkRenderer()
    ball(renderer, -0.5, 0.5)
    view(renderer)
    image = offscreen.render_once(renderer, (60, 40), occlusion=False)
    assert image.shape == (40, 60, 4)
    assert image.dtype == np.uint8
    rows, columns = np.nonzero(image[..., 3])
    assert abs(rows.mean() - 9.5) < 1
    assert abs(columns.mean() - 19.5) < 1
    assert image[10, 20].tolist() == [255, 0, 0, 255]
    assert image[30, 40, 3] == 0


@pytest.mark.parametrize("supersampling", [1.0, 1.5, 3.0])
def test_supersampled_edges_keep_colour(needs_gl, supersampling):
    renderer = vtkRenderer()
    ball(renderer, 0, 0, radius=0.8)
    view(renderer)
    image = offscreen.render_once(renderer, (50, 50), supersampling, occlusion=False).astype(int)
    covered = image[..., 3].sum() / 255 / 50**2
    assert abs(covered - np.pi * 0.16) < 0.01
    rim = (image[..., 3] > 20) & (image[..., 3] < 255)
    assert rim.any() == (supersampling > 1)
    assert (image[rim][:, 0] > 240).all(), "the background's colour must not bleed into the rim"


def test_offscreen_is_reproducible(needs_gl):
    images = []
    for _ in range(2):
        renderer = vtkRenderer()
        ball(renderer, 0.1, 0.2)
        ball(renderer, -0.3, 0.2, (0, 1, 0))
        view(renderer)
        images.append(offscreen.render_once(renderer, (80, 60)))
    np.testing.assert_array_equal(*images)
    assert len(np.unique(images[0].reshape(-1, 4), axis=0)) > 10


@pytest.mark.parametrize(("size", "supersampling"), [((16200, 12150), None), ((17000, 10), None), ((4000, 3000), 3.0)])
def test_too_many_samples(size, supersampling):
    with pytest.raises(ValueError, match="100 million samples"):
        offscreen.OffscreenWindow(size, supersampling)


def test_window_is_reusable(needs_gl):
    def scene(x):
        renderer = vtkRenderer()
        ball(renderer, x, 0.2)
        view(renderer)
        return renderer

    first, other = scene(-0.3), scene(0.4)
    with offscreen.OffscreenWindow((60, 40), 2.0) as window:
        shown = [window.render(renderer) for renderer in (first, first, other, first)]
    for image, x in zip(shown, (-0.3, -0.3, 0.4, -0.3), strict=True):
        np.testing.assert_array_equal(image, offscreen.render_once(scene(x), (60, 40), 2.0))


def test_renderer_is_released(needs_gl):
    def draw():
        renderer = vtkRenderer()
        ball(renderer, 0, 0)
        view(renderer)
        renderer.AddObserver("DeleteEvent", lambda *_: gone.append("renderer"))
        renderer.GetActors().GetLastActor().AddObserver("DeleteEvent", lambda *_: gone.append("actor"))
        offscreen.render_once(renderer, (20, 20))

    gone = []
    draw()
    gc.collect()
    assert sorted(gone) == ["actor", "renderer"]
