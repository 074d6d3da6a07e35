"""Off-screen rendering: a check for an OpenGL library, a window without a display, and the image in it."""

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
from landscape.render.scenes.vtk_rendering import (
    vtkRenderer,
    vtkRenderStepsPass,
    vtkRenderWindow,
    vtkSSAOPass,
    vtkWindowToImageFilter,
)
from landscape.render.vtk_data import vtk_to_numpy, vtkLogger

_OSMESA = ("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so")
_INSTALL = (
    "VTK finds no OpenGL library to draw with (EGL with a Mesa driver, or OSMesa). Install one: "
    "Debian/Ubuntu `apt install libegl1 libgl1-mesa-dri`; Fedora `dnf install mesa-libEGL mesa-dri-drivers`; "
    "conda `conda install -c conda-forge libegl mesalib`"
)
_DEFAULT_SAMPLES = 12e6
"""Samples of a window by default, at about 100 bytes each: 2.5 x 2.5 per pixel of 1600 x 1200."""
_MAX_SAMPLES, _MAX_SIDE = 100e6, 16384
"""Samples of a window, and along one side, above which Mesa's framebuffers stay black without an error."""
_OCCLUSION_RADIUS, _OCCLUSION_BIAS = 0.22, 0.004
_PEELS = 24  # layers of translucent surfaces, one behind the other
_OCCLUSION_SAMPLES = 32
"""Directions in which ambient occlusion is sampled; they vary from pixel to pixel and are averaged over 4 x 4."""


def new_window() -> vtkRenderWindow:
    """Return an off-screen window in which rendering is safe.

    Without an OpenGL library VTK doesn't raise an error but crashes at the first ``Render``. What can be known before:
    with EGL preferred, VTK creates an EGL window only if one can be initialized, and otherwise falls back to OSMesa
    without checking that it is installed.

    Raises:
        MissingLibraryError: there is no OpenGL library; the message says what to install.
    """
    if sys.platform.startswith("linux"):
        os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
        os.environ.setdefault("EGL_LOG_LEVEL", "fatal")  # Mesa reports missing drivers on stderr; _INSTALL does so once
    with vtk_warnings_off():
        window = vtkRenderWindow()
    if window.GetClassName() == "vtkOSOpenGLRenderWindow" and not any(map(_is_loadable, _OSMESA)):
        raise MissingLibraryError(_INSTALL)
    window.SetOffScreenRendering(True)
    window.SetMultiSamples(0)  # has no effect with ambient occlusion; supersampling replaces it
    window.SetAlphaBitPlanes(True)
    return window


def can_draw() -> bool:
    """Return True if there is an OpenGL library."""
    try:
        new_window().Finalize()
    except MissingLibraryError:
        return False
    return True


class OffscreenWindow:
    """A window without a display, for images of one size; close it, or use it as a context manager.

    Args:
        size: width and height of the images in pixels.
        supersampling: samples per pixel along each axis, which are averaged; 3 by default, fewer above 1.3 megapixels.
        occlusion: True to use ambient occlusion. The camera must be near, because VTK stores 16-bit depths for it.
        translucent: True for translucent surfaces, blended in the right order and without ambient occlusion.

    Raises:
        ValueError: more samples than can be drawn.
        MissingLibraryError: there is no OpenGL library.
    """

    def __init__(
        self,
        size: tuple[int, int],
        supersampling: float | None = None,
        *,
        occlusion: bool = True,
        translucent: bool = False,
    ) -> None:
        width, height = size
        factor = supersampling or max(1.0, min(3.0, (_DEFAULT_SAMPLES / (width * height)) ** 0.5))
        if width * height * factor**2 > _MAX_SAMPLES or max(size) * factor > _MAX_SIDE:
            raise ValueError(
                f"expected at most {_MAX_SAMPLES / 1e6:.0f} million samples, {_MAX_SIDE} along a side, got {width} x "
                f"{height} pixels with {factor**2:.3g} samples each; choose a smaller size, a lower dpi or less "
                "supersampling"
            )
        self._size = size
        self._window = new_window()
        self._window.SetSize(round(width * factor), round(height * factor))
        self._steps, self._ambient = vtkRenderStepsPass(), vtkSSAOPass()
        self._ambient.SetDelegatePass(self._steps)
        self._ambient.SetRadius(_OCCLUSION_RADIUS)
        self._ambient.SetBias(_OCCLUSION_BIAS)
        self._ambient.SetKernelSize(_OCCLUSION_SAMPLES)
        self._ambient.BlurOn()
        # Without a pass of its own, the renderer peels layers off from front to back.
        self._pass = None if translucent else self._ambient if occlusion else self._steps
        self._renderer: vtkRenderer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def render(self, renderer: vtkRenderer) -> np.ndarray:
        """Render a scene.

        Args:
            renderer: renderer with actors, lights, camera and background (including alpha). It is kept, with its
                graphics resources, until another renderer is used or the window is closed.

        Returns:
            ``(height, width, 4)`` uint8 RGBA, top row first, alpha not premultiplied.
        """
        if renderer is not self._renderer:
            self._release()
            if self._pass is None:
                renderer.UseDepthPeelingOn()
                renderer.SetMaximumNumberOfPeels(_PEELS)
                renderer.SetOcclusionRatio(0.0)
            else:
                renderer.SetPass(self._pass)
            self._window.AddRenderer(renderer)
            self._renderer = renderer
        with vtk_warnings_off():
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
        return _downsampled(pixels, self._size)

    def close(self) -> None:
        """Release all graphics resources."""
        self._release()
        self._ambient.ReleaseGraphicsResources(self._window)
        self._steps.ReleaseGraphicsResources(self._window)
        self._window.Finalize()

    def _release(self) -> None:
        if self._renderer is not None:
            self._renderer.SetPass(None)  # type: ignore[arg-type]  # accepts None, unlike its annotation
            self._window.RemoveRenderer(self._renderer)
            self._renderer = None


def render_once(
    renderer: vtkRenderer,
    size: tuple[int, int],
    supersampling: float | None = None,
    *,
    occlusion: bool = True,
    translucent: bool = False,
) -> np.ndarray:
    """Render one image in a new :class:`OffscreenWindow`, and release its graphics resources."""
    with OffscreenWindow(size, supersampling, occlusion=occlusion, translucent=translucent) as window:
        return window.render(renderer)


def _downsampled(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if pixels.shape[1::-1] == tuple(size):
        return pixels
    # Pillow weights colours by alpha here, so that the background colour does not bleed into the edges.
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


@contextlib.contextmanager
def vtk_warnings_off() -> Iterator[None]:
    """Suppress VTK's warnings (no X server, no EGL device) on standard error; errors are still shown."""
    before = vtkLogger.GetCurrentVerbosityCutoff()
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_ERROR)
    try:
        yield
    finally:
        vtkLogger.SetStderrVerbosity(before)


def _is_loadable(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
