"""The one room that imports VTK, leaf by leaf: a third of the time and half the memory of ``import vtk``."""

from __future__ import annotations

import vtkmodules.vtkRenderingOpenGL2  # noqa: F401 - registers the OpenGL classes behind vtkRenderWindow and the mappers
from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray, vtk_to_numpy
from vtkmodules.vtkCommonCore import vtkLogger, vtkLookupTable, vtkPoints, vtkStringArray
from vtkmodules.vtkCommonDataModel import (
    vtkCellArray,
    vtkDataObject,
    vtkDataSet,
    vtkDataSetAttributes,
    vtkImageData,
    vtkMultiBlockDataSet,
    vtkPolyData,
    vtkStructuredGrid,
)
from vtkmodules.vtkCommonMisc import vtkErrorCode
from vtkmodules.vtkFiltersCore import (
    vtkAppendPolyData,
    vtkClipPolyData,
    vtkContourFilter,
    vtkDecimatePro,
    vtkFeatureEdges,
    vtkGlyph3D,
    vtkStripper,
    vtkTriangleFilter,
    vtkTubeFilter,
)
from vtkmodules.vtkFiltersSources import vtkSphereSource
from vtkmodules.vtkIOCore import vtkWriter
from vtkmodules.vtkIOGeometry import vtkGLTFWriter, vtkOBJWriter, vtkSTLWriter
from vtkmodules.vtkIOXML import (
    vtkXMLImageDataWriter,
    vtkXMLPolyDataWriter,
    vtkXMLStructuredGridWriter,
)
from vtkmodules.vtkRenderingCore import (
    vtkActor,
    vtkLight,
    vtkPolyDataMapper,
    vtkRenderer,
    vtkRenderWindow,
    vtkWindowToImageFilter,
)
from vtkmodules.vtkRenderingOpenGL2 import vtkRenderStepsPass, vtkSSAOPass

__all__ = [
    "numpy_to_vtk",
    "numpy_to_vtkIdTypeArray",
    "vtkActor",
    "vtkAppendPolyData",
    "vtkCellArray",
    "vtkClipPolyData",
    "vtkContourFilter",
    "vtkDataObject",
    "vtkDataSet",
    "vtkDataSetAttributes",
    "vtkDecimatePro",
    "vtkErrorCode",
    "vtkFeatureEdges",
    "vtkGLTFWriter",
    "vtkGlyph3D",
    "vtkImageData",
    "vtkLight",
    "vtkLogger",
    "vtkLookupTable",
    "vtkMultiBlockDataSet",
    "vtkOBJWriter",
    "vtkPoints",
    "vtkPolyData",
    "vtkPolyDataMapper",
    "vtkRenderStepsPass",
    "vtkRenderWindow",
    "vtkRenderer",
    "vtkSSAOPass",
    "vtkSTLWriter",
    "vtkSphereSource",
    "vtkStringArray",
    "vtkStripper",
    "vtkStructuredGrid",
    "vtkTriangleFilter",
    "vtkTubeFilter",
    "vtkWindowToImageFilter",
    "vtkWriter",
    "vtkXMLImageDataWriter",
    "vtkXMLPolyDataWriter",
    "vtkXMLStructuredGridWriter",
    "vtk_to_numpy",
]
