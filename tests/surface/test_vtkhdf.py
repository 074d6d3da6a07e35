"""VTKHDF blocks as VTK's own reader sees them: links and spacing, without a copy of the values."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from landscape.surface.vtkhdf import write_image_block

pytest.importorskip("vtkmodules")


@pytest.mark.parametrize("counts", [(5,), (5, 3), (5, 3, 4), (1,), (1, 3)])
def test_image_block_links(tmp_path, counts):
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkIOHDF import vtkHDFReader

    if len(counts) == 1 and counts[0] == 1:
        coordinates = (np.array([0.5]),)
    else:
        coordinates = tuple(np.linspace(-1 - k, 2 + k, n) if n > 1 else np.array([0.5]) for k, n in enumerate(counts))
    shape = counts[::-1]
    values = np.arange(np.prod(shape), dtype=float).reshape(shape)
    values.flat[-1] = np.nan
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["train_loss"] = values
        write_image_block(file, coordinates, {"loss": "/train_loss"})
        assert isinstance(file.get("VTKHDF/surface/PointData/loss", getlink=True), h5py.SoftLink)
    reader = vtkHDFReader()
    reader.SetFileName(str(tmp_path / "s.h5"))
    reader.Update()
    image = reader.GetOutputDataObject(0).GetPartitionedDataSet(0).GetPartition(0)
    assert image.GetDimensions() == tuple([*counts, 1, 1][:3])
    np.testing.assert_array_equal(vtk_to_numpy(image.GetPointData().GetArray("loss")), values.ravel())
    for i in (0, image.GetNumberOfPoints() - 1):
        index = np.unravel_index(i, shape)[::-1]
        expected = [axis[j] for axis, j in zip(coordinates, index, strict=True)]
        np.testing.assert_allclose(image.GetPoint(i)[: len(counts)], expected)
