"""VTK's classes for rendering. Importing this module loads OpenGL; ``landscape.render.vtk_data`` doesn't."""

from __future__ import annotations

import vtkmodules.vtkRenderingOpenGL2  # noqa: F401 - registers the OpenGL classes behind vtkRenderWindow and the mappers
from vtkmodules.vtkRenderingCore import (
    vtkActor,
    vtkLight,
    vtkPolyDataMapper,
    vtkProperty,
    vtkRenderer,
    vtkRenderWindow,
    vtkWindowToImageFilter,
)
from vtkmodules.vtkRenderingOpenGL2 import vtkRenderStepsPass, vtkSSAOPass

__all__ = [
    "vtkActor",
    "vtkLight",
    "vtkPolyDataMapper",
    "vtkProperty",
    "vtkRenderStepsPass",
    "vtkRenderWindow",
    "vtkRenderer",
    "vtkSSAOPass",
    "vtkWindowToImageFilter",
]
