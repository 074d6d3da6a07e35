"""Pictures without a screen: the check that a library to draw with is there, a window, and the image it holds."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import numpy as np
from PIL import Image

from landscape.errors import MissingLibraryError
from landscape.render.scenes.vtk_modules import (
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
_MOST, _LONGEST = 100e6, 16384
"""Samples, and samples along a side, beyond which Mesa's framebuffers stay black without a word."""
_KERNEL = 32
"""Directions in which each sample looks for what hems it in, turned from sample to sample and averaged over 4 x 4."""


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


class Screen:
    """A window to draw pictures of one size in, one after the other; to be closed, or used as a context.

    Args:
        size: width and height of the pictures in pixels.
        supersampling: samples to a pixel along each axis, averaged; by default three, fewer above 1.3 megapixels.
        occlusion: darken what is hemmed in (ambient occlusion); the camera must not be far away, VTK keeps depths in
            16 bits for it.

    Raises:
        ValueError: more samples than can be drawn.
        MissingLibraryError: there is no library to draw with.
    """

    def __init__(self, size: tuple[int, int], supersampling: float | None = None, *, occlusion: bool = True) -> None:
        width, height = size
        factor = supersampling or max(1.0, min(3.0, (_SAMPLES / (width * height)) ** 0.5))
        if width * height * factor**2 > _MOST or max(size) * factor > _LONGEST:
            raise ValueError(
                f"a scene of {width} x {height} pixels with {factor**2:.3g} samples each cannot be drawn: at most "
                f"{_MOST / 1e6:.0f} million samples, {_LONGEST} along a side; ask for a smaller size, fewer dots per "
                "inch or less supersampling"
            )
        self._size = size
        self._window = new_window()
        self._window.SetSize(round(width * factor), round(height * factor))
        self._steps, self._ambient = vtkRenderStepsPass(), vtkSSAOPass()
        self._ambient.SetDelegatePass(self._steps)
        self._ambient.SetRadius(0.22)
        self._ambient.SetBias(0.004)
        self._ambient.SetKernelSize(_KERNEL)
        self._ambient.BlurOn()
        self._pass = self._ambient if occlusion else self._steps
        self._renderer: vtkRenderer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def picture(self, renderer: vtkRenderer) -> np.ndarray:
        """Draw what ``renderer`` holds.

        Args:
            renderer: with its actors, lights, camera and background (alpha included). It is kept, with what was made
                for it, until another one comes or the screen is closed.

        Returns:
            ``(height, width, 4)`` uint8 RGBA, first row at the top, alpha not premultiplied.
        """
        if renderer is not self._renderer:
            self._let_go()
            renderer.SetPass(self._pass)
            self._window.AddRenderer(renderer)
            self._renderer = renderer
        with quiet():
            self._window.Render()
        grab = vtkWindowToImageFilter()
        try:
            grab.SetInput(self._window)
            grab.SetInputBufferTypeToRGBA()
            grab.ReadFrontBufferOff()
            grab.ShouldRerenderOff()
            grab.Update()
            image = grab.GetOutput()
            columns, rows, _ = image.GetDimensions()
            pixels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, 4)[::-1].copy()
        finally:
            grab.SetInput(None)
        return _reduced(pixels, self._size)

    def close(self) -> None:
        """Let go of everything that was made for the pictures."""
        self._let_go()
        self._ambient.ReleaseGraphicsResources(self._window)
        self._steps.ReleaseGraphicsResources(self._window)
        self._window.Finalize()

    def _let_go(self) -> None:
        if self._renderer is not None:
            self._renderer.SetPass(None)
            self._window.RemoveRenderer(self._renderer)
            self._renderer = None


def picture(
    renderer: vtkRenderer, size: tuple[int, int], supersampling: float | None = None, *, occlusion: bool = True
) -> np.ndarray:
    """Draw what ``renderer`` holds once, and let go of everything that was made for it; as of :class:`Screen`."""
    with Screen(size, supersampling, occlusion=occlusion) as screen:
        return screen.picture(renderer)


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
