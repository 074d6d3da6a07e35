"""Pictures without a screen: the check that a library to draw with is there, a window, and the image it holds."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator

import numpy as np
from PIL import Image

from landscape.errors import MissingLibraryError
from landscape.render.vtk import (
    vtk_to_numpy,
    vtkLogger,
    vtkRenderer,
    vtkRenderStepsPass,
    vtkRenderWindow,
    vtkSSAOPass,
    vtkWindowToImageFilter,
)

_OSMESA = ("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so")
_INSTALL = (
    "VTK finds no library to draw with (EGL with a Mesa driver, or OSMesa). Install one: "
    "Debian/Ubuntu `apt install libegl1 libgl1-mesa-dri`; Fedora `dnf install mesa-libEGL mesa-dri-drivers`; "
    "conda `conda install -c conda-forge libegl mesalib`"
)
_SAMPLES = 12e6
"""Samples a window may hold: 2.5 x 2.5 to the pixel of 1600 by 1200, some 100 bytes each."""


def new_window() -> vtkRenderWindow:
    """An off-screen window, once it is sure that rendering in it will not crash.

    Without a library to draw with VTK does not raise, it crashes at the first ``Render``. What can be known before:
    asked for EGL, VTK makes an EGL window only where one can be initialized, and else falls back to OSMesa, of which
    it does not check whether it is there.

    Raises:
        MissingLibraryError: there is none; the message says what to install.
    """
    if sys.platform.startswith("linux"):
        os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
        os.environ.setdefault("EGL_LOG_LEVEL", "fatal")  # what Mesa cannot load is said by us, once
    with quiet():
        window = vtkRenderWindow()
    if window.GetClassName() == "vtkOSOpenGLRenderWindow" and not any(map(_loads, _OSMESA)):
        raise MissingLibraryError(_INSTALL)
    window.SetOffScreenRendering(True)
    window.SetMultiSamples(0)  # lost with ambient occlusion; supersampling takes its place
    window.SetAlphaBitPlanes(True)
    return window


def can_draw() -> bool:
    """Whether there is a library to draw with."""
    try:
        new_window().Finalize()
    except MissingLibraryError:
        return False
    return True


def picture(
    renderer: vtkRenderer, size: tuple[int, int], supersampling: float | None = None, *, occlusion: bool = True
) -> np.ndarray:
    """Draw what ``renderer`` holds, and let go of everything that was made for it.

    Args:
        renderer: with its actors, lights, camera and background (alpha included).
        size: width and height of the picture in pixels.
        supersampling: samples to a pixel along each axis, averaged; by default three, fewer above 1.3 megapixels.
        occlusion: darken what is hemmed in (ambient occlusion); the camera must not be far away, VTK keeps depths in
            16 bits for it.

    Returns:
        ``(height, width, 4)`` uint8 RGBA, first row at the top, alpha not premultiplied.

    Raises:
        MissingLibraryError: there is no library to draw with.
    """
    width, height = size
    factor = supersampling or max(1.0, min(3.0, (_SAMPLES / (width * height)) ** 0.5))
    window = new_window()
    ambient = vtkSSAOPass()
    steps = vtkRenderStepsPass()
    ambient.SetDelegatePass(steps)
    ambient.SetRadius(0.22)
    ambient.SetBias(0.004)
    ambient.SetKernelSize(96)
    ambient.BlurOn()
    grab = vtkWindowToImageFilter()
    try:
        window.SetSize(round(width * factor), round(height * factor))
        renderer.SetPass(ambient if occlusion else steps)
        window.AddRenderer(renderer)
        with quiet():
            window.Render()
        grab.SetInput(window)
        grab.SetInputBufferTypeToRGBA()
        grab.ReadFrontBufferOff()
        grab.ShouldRerenderOff()
        grab.Update()
        image = grab.GetOutput()
        columns, rows, _ = image.GetDimensions()
        pixels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, 4)[::-1].copy()
    finally:
        grab.SetInput(None)
        renderer.SetPass(None)
        ambient.ReleaseGraphicsResources(window)
        steps.ReleaseGraphicsResources(window)
        window.RemoveRenderer(renderer)
        window.Finalize()
    return _reduced(pixels, size)


def _reduced(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if pixels.shape[1::-1] == tuple(size):
        return pixels
    # Pillow weighs colours by their alpha here, so that the background's do not get into the rims.
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep VTK's warnings (no X server, no EGL device) off the standard error; errors still come through."""
    before = vtkLogger.GetCurrentVerbosityCutoff()
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_ERROR)
    try:
        yield
    finally:
        vtkLogger.SetStderrVerbosity(before)


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
