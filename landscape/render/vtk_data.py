"""VTK's data sets, filters and writers, and NumPy arrays as VTK data; nothing here loads OpenGL.

The classes come from VTK's leaf modules, which takes a third of the time and half the memory of ``import vtk``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from vtkmodules.util import numpy_support
from vtkmodules.vtkCommonCore import vtkDataArray, vtkIdTypeArray, vtkLogger, vtkLookupTable, vtkPoints, vtkStringArray
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
    vtkStripper,
    vtkTriangleFilter,
    vtkTubeFilter,
)
from vtkmodules.vtkFiltersSources import vtkSphereSource
from vtkmodules.vtkIOGeometry import vtkGLTFWriter, vtkOBJWriter, vtkSTLWriter
from vtkmodules.vtkIOXML import (
    vtkXMLImageDataWriter,
    vtkXMLPolyDataWriter,
    vtkXMLStructuredGridWriter,
)

__all__ = [
    "add_field_data",
    "add_point_arrays",
    "numpy_to_vtk",
    "to_array",
    "to_cells",
    "to_points",
    "vtkAppendPolyData",
    "vtkCellArray",
    "vtkClipPolyData",
    "vtkContourFilter",
    "vtkDataArray",
    "vtkDataObject",
    "vtkDataSet",
    "vtkDataSetAttributes",
    "vtkDecimatePro",
    "vtkErrorCode",
    "vtkFeatureEdges",
    "vtkGLTFWriter",
    "vtkImageData",
    "vtkLogger",
    "vtkLookupTable",
    "vtkMultiBlockDataSet",
    "vtkOBJWriter",
    "vtkPoints",
    "vtkPolyData",
    "vtkSTLWriter",
    "vtkSphereSource",
    "vtkStringArray",
    "vtkStripper",
    "vtkStructuredGrid",
    "vtkTriangleFilter",
    "vtkTubeFilter",
    "vtkXMLImageDataWriter",
    "vtkXMLPolyDataWriter",
    "vtkXMLStructuredGridWriter",
    "vtk_to_numpy",
]

# VTK's own functions have no annotations.
numpy_to_vtk: Callable[..., vtkDataArray] = numpy_support.numpy_to_vtk
numpy_to_vtk_ids: Callable[..., vtkIdTypeArray] = numpy_support.numpy_to_vtkIdTypeArray
vtk_to_numpy: Callable[[vtkDataArray], np.ndarray] = numpy_support.vtk_to_numpy


def to_points(positions: np.ndarray) -> vtkPoints:
    """Return positions ``(m, 3)`` as float64 points."""
    points = vtkPoints()
    points.SetDataTypeToDouble()
    points.SetData(numpy_to_vtk(np.ascontiguousarray(positions, np.float64), deep=True))
    return points


def to_cells(connectivity: np.ndarray, offsets: np.ndarray) -> vtkCellArray:
    """Return cells from the point indices of all of them, and the offset of each and of the end."""
    cells = vtkCellArray()
    cells.SetData(
        numpy_to_vtk_ids(np.ascontiguousarray(offsets, np.int64), deep=True),
        numpy_to_vtk_ids(np.ascontiguousarray(connectivity, np.int64), deep=True),
    )
    return cells


def to_array(name: str, values: np.ndarray) -> vtkDataArray:
    """Return a named array of values ``(m,)`` or ``(m, k)``."""
    array = numpy_to_vtk(np.ascontiguousarray(values), deep=True)
    array.SetName(name)
    return array


def add_point_arrays(data: vtkDataSet, arrays: Mapping[str, np.ndarray]) -> None:
    """Attach arrays with one value per point to a data set."""
    for name, values in arrays.items():
        data.GetPointData().AddArray(to_array(name, values))


def add_field_data(data: vtkDataObject, fields: Mapping[str, str | float | Sequence[float]]) -> None:
    """Attach strings and numbers to a data set as a whole."""
    for name, value in fields.items():
        if isinstance(value, str):
            text = vtkStringArray()
            text.SetName(name)
            text.InsertNextValue(value)
            data.GetFieldData().AddArray(text)
        else:
            data.GetFieldData().AddArray(to_array(name, np.atleast_1d(np.asarray(value, np.float64))))
