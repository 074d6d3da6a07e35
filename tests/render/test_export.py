from __future__ import annotations

import csv
import json
import struct
import subprocess
import sys
import xml.etree.ElementTree as ET
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from vtkmodules.vtkIOGeometry import vtkGLTFReader, vtkOBJReader, vtkSTLReader
from vtkmodules.vtkIOXML import (
    vtkXMLImageDataReader,
    vtkXMLMultiBlockDataReader,
    vtkXMLPolyDataReader,
    vtkXMLStructuredGridReader,
)

from landscape.render.exports import export as export_module
from landscape.render.exports import vtk_files
from landscape.render.exports.job import RELIEF_HEIGHT, ExportOptions
from landscape.render.scale import Scale
from landscape.render.vtk_data import vtk_to_numpy
from landscape.surface.surface import PENDING, Surface

SUFFIXES = tuple(suffix for suffix in export_module.SUFFIXES if suffix != ".html")


def export(path, surface, trajectories=(), *, overwrite=False, **options):
    return export_module.export(path, surface, trajectories, ExportOptions(**options), overwrite=overwrite)


def read(path, reader):
    reader = reader()
    reader.SetFileName(str(path))
    reader.Update()
    return reader.GetOutput()


def array(data, name):
    return vtk_to_numpy(data.GetPointData().GetArray(name))


def points(data):
    return vtk_to_numpy(data.GetPoints().GetData())


def field(data, name):
    return data.GetFieldData().GetAbstractArray(name).GetValue(0)


@pytest.fixture
def holed(slope):
    """Return the inclined plane with a NaN, an infinity, and a pending point that has a value."""
    surface = slope()
    loss, status = surface.values["train_loss"].copy(), surface.status.copy()
    loss[1, 2], loss[4, 6], status[5, 0] = np.nan, np.inf, PENDING
    return replace(surface, values={**surface.values, "train_loss": loss}, status=status)


def expected_height(surface):
    """Return log10 of the loss above its lowest value, in proportion to the longer axis."""
    loss = np.where(surface.status == 1, surface.values["train_loss"], np.nan)
    heights = np.log10(np.where(np.isfinite(loss), loss, np.nan))
    low, high = np.nanmin(heights), np.nanmax(heights)
    return (heights - low) * RELIEF_HEIGHT * 2.0 / (high - low)


def test_vts(holed, walk, tmp_path):
    path = tmp_path / "surface.vts"
    written = export(path, holed, [walk([(0, 0), (1, 1)], "SGD / lr 0.1")])
    assert written == [path, tmp_path / "surface_SGD-lr-0.1.vtp"]
    data = read(path, vtkXMLStructuredGridReader)
    assert data.GetExtent() == (0, 8, 0, 5, 0, 0)
    height = expected_height(holed)
    at = points(data).reshape(6, 9, 3)
    for iy, ix in ((0, 0), (3, 7), (5, 8)):
        np.testing.assert_allclose(at[iy, ix], (holed.x[ix], holed.y[iy], height[iy, ix]), atol=1e-12)
    for name, values in holed.values.items():
        np.testing.assert_array_equal(array(data, name).reshape(6, 9), values)
    np.testing.assert_array_equal(array(data, "status").reshape(6, 9), holed.status)
    hidden = np.array([not data.IsPointVisible(k) for k in range(54)]).reshape(6, 9)
    np.testing.assert_array_equal(hidden, ~np.isfinite(height))
    assert (field(data, "metric"), field(data, "scale")) == ("train_loss", "log")
    back = 10 ** (at[3, 7, 2] / field(data, "height_factor") + field(data, "height_origin"))
    assert back == pytest.approx(holed.values["train_loss"][3, 7])
    assert json.loads(field(data, "provenance")) == {"model": "mlp"}


def test_vtp(holed, tmp_path):
    export(tmp_path / "surface.vtp", holed)
    data = read(tmp_path / "surface.vtp", vtkXMLPolyDataReader)
    assert data.GetNumberOfPolys() == 40 - 4 - 4 - 1
    x, y, z = points(data).T
    ix, iy = np.rint((x + 0.5) * 4).astype(int), np.rint(y * 5).astype(int)
    np.testing.assert_allclose(z, expected_height(holed)[iy, ix], atol=1e-12)
    for name, values in holed.values.items():
        np.testing.assert_array_equal(array(data, name), values[iy, ix])
    normals = vtk_to_numpy(data.GetPointData().GetNormals())
    factor = field(data, "height_factor")
    expected = np.array([-2 * factor, factor, 1.0])
    np.testing.assert_allclose(normals, np.tile(expected / np.linalg.norm(expected), (len(x), 1)), atol=1e-6)


def test_descending_axes(slope, tmp_path):
    surface = slope()
    turned = Surface(
        (surface.x[::-1], surface.y),
        {name: values[:, ::-1] for name, values in surface.values.items()},
        surface.status,
    )
    for suffix, reader in ((".vts", vtkXMLStructuredGridReader), (".vtp", vtkXMLPolyDataReader)):
        clouds = []
        for k, each in enumerate((surface, turned)):
            data = read(export(tmp_path / f"{k}{suffix}", each)[0], reader)
            cloud = np.column_stack([points(data), array(data, "train_acc")])
            clouds.append(cloud[np.lexsort(cloud.T)])
        np.testing.assert_allclose(*clouds, atol=1e-12)


def test_vti_keeps_nan_and_infinity(holed, walk, tmp_path):
    written = export(tmp_path / "surface.vti", holed, [walk([(0, 0), (1, 1)])])
    data = read(written[0], vtkXMLImageDataReader)
    assert data.GetDimensions() == (9, 6, 1)
    np.testing.assert_allclose(data.GetBounds(), (-0.5, 1.5, 0, 1, 0, 0), atol=1e-12)
    np.testing.assert_array_equal(array(data, "train_loss").reshape(6, 9), holed.values["train_loss"])
    path = read(written[1], vtkXMLPolyDataReader)
    assert np.ptp(points(path)[:, 2]) == 0


def test_volumes_and_lines(tmp_path):
    axes = np.array([0.0, 1, 2]), np.array([5.0, 7]), np.array([-1.0, 0, 1, 2])
    values = np.arange(24.0).reshape(4, 2, 3)
    cube = Surface(axes, {"train_loss": values}, np.ones((4, 2, 3), np.uint8))
    data = read(export(tmp_path / "a.vti", cube)[0], vtkXMLImageDataReader)
    np.testing.assert_array_equal(array(data, "train_loss"), values.ravel())
    data = read(export(tmp_path / "a.vts", cube)[0], vtkXMLStructuredGridReader)
    np.testing.assert_array_equal(points(data)[2 * 6 + 1 * 3 + 2], (2, 7, 1))
    line = Surface((axes[0],), {"train_loss": np.ones(3)}, np.ones(3, np.uint8))
    assert read(export(tmp_path / "b.vti", line)[0], vtkXMLImageDataReader).GetDimensions() == (3, 1, 1)
    for suffix in (".vtp", ".vtm", ".pvd", ".glb"):
        with pytest.raises(ValueError, match="two axes"):
            export(tmp_path / f"c{suffix}", cube)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.vti", "a.vts", "b.vti"]


def test_path_arrays_and_heights(slope, walk, tmp_path):
    surface = slope()
    path = walk([(0, 0), (1, 1), (0.5, 0.2)], "SGD")
    _, file = export(tmp_path / "surface.vts", surface, [path])
    data = read(file, vtkXMLPolyDataReader)
    number = array(data, "checkpoint")
    for name in ("step", "epoch", "loss", "distance", "learning_rate"):
        np.testing.assert_array_equal(array(data, name)[number >= 0], getattr(path, name).astype(float))
    x, y, z = points(data).T
    # log10 loss = 1 + 2 x - y runs from -1 to 4 over a height of 0.6 * 2.
    np.testing.assert_allclose(z, (1 + 2 * x - y + 1) * 1.2 / 5, atol=1e-9)
    assert field(data, "name") == "SGD"


def test_vtm(holed, walk, tmp_path):
    written = export(tmp_path / "all.vtm", holed, [walk([(0, 0), (1, 1)], "SGD"), walk([(0, 1), (1, 0)], "SGD")])
    assert written == [tmp_path / "all.vtm", tmp_path / "all"]
    data = read(written[0], vtkXMLMultiBlockDataReader)
    names = [data.GetMetaData(k).Get(data.NAME()) for k in range(data.GetNumberOfBlocks())]
    assert names == ["surface", "SGD", "SGD-2"]
    np.testing.assert_array_equal(array(data.GetBlock(0), "train_loss").reshape(6, 9), holed.values["train_loss"])
    assert data.GetBlock(2).GetNumberOfVerts() == 2


def test_path_names_are_distinct(slope, walk, tmp_path):
    paths = [walk([(0, 0), (1, 1)], name) for name in ("SGD-2", "SGD", "SGD", "", "../SGD")]
    written = export(tmp_path / "a.vts", slope(), paths)
    names = [path.name for path in written[1:]]
    assert sorted(names) == ["a_SGD-2.vtp", "a_SGD-3.vtp", "a_SGD-4.vtp", "a_SGD.vtp", "a_path.vtp"]


def test_pvd_path_grows(slope, walk, tmp_path):
    short = replace(walk([(0, 0), (1, 1)], "b"), step=np.array([5, 20]))
    export(tmp_path / "run.pvd", slope(), [walk([(0, 0), (1, 1), (0.5, 0.2)], "a"), short])
    entries = [entry.attrib for entry in ET.parse(tmp_path / "run.pvd").getroot().iter("DataSet")]
    assert sorted({int(entry["timestep"]) for entry in entries}) == [0, 5, 10, 20]
    assert all((tmp_path / entry["file"]).exists() for entry in entries)
    shown = {}
    for entry in entries:
        if entry["part"] != "0":
            data = read(tmp_path / entry["file"], vtkXMLPolyDataReader)
            shown[int(entry["timestep"]), entry["part"]] = data.GetNumberOfVerts()
    assert [shown[step, "1"] for step in (0, 5, 10, 20)] == [1, 1, 2, 3]
    assert [shown[step, "2"] for step in (0, 5, 10, 20)] == [0, 1, 1, 2], "not before its first checkpoint"
    assert sum(entry["part"] == "0" for entry in entries) == 4, "the surface is shown at every step"


@pytest.mark.parametrize("suffix", [".vts", ".vtp", ".vti", ".vtm", ".pvd"])
def test_xml_is_inline_binary_and_compressed(holed, walk, tmp_path, suffix):
    export(tmp_path / f"a{suffix}", holed, [walk([(0, 0), (1, 1)])])
    files = [file for file in tmp_path.rglob("*.vt?") if file.suffix != ".vtm"]
    assert files
    for file in files:
        text = file.read_text()
        assert "AppendedData" not in text
        assert 'format="appended"' not in text
        assert 'format="binary"' in text
        assert "vtkZLibDataCompressor" in text
        ET.fromstring(text)


@pytest.mark.parametrize(("suffix", "reader"), [(".obj", vtkOBJReader), (".stl", vtkSTLReader)])
def test_obj_and_stl(holed, walk, tmp_path, suffix, reader):
    bare = read(export(tmp_path / f"bare{suffix}", holed)[0], reader)
    assert bare.GetNumberOfCells() == 2 * (40 - 9)
    height = expected_height(holed)
    np.testing.assert_allclose(bare.GetBounds()[:4], (-0.5, 1.5, 0, 1), atol=1e-6)
    np.testing.assert_allclose(bare.GetBounds()[5], np.nanmax(height), atol=1e-5)
    path = read(export(tmp_path / f"path{suffix}", holed, [walk([(0, 0), (1, 1)])])[0], reader)
    assert path.GetNumberOfCells() > bare.GetNumberOfCells() + 100


def glb(path):
    """Return the JSON of a binary glTF, and a function that returns the array of an accessor."""
    data = path.read_bytes()
    magic, version, total, length, kind = struct.unpack("<IIIII", data[:20])
    assert (magic, version, total, kind) == (0x46546C67, 2, len(data), 0x4E4F534A)
    document = json.loads(data[20 : 20 + length])
    binary = data[20 + length + 8 :]

    def accessor(number):
        entry = document["accessors"][number]
        view = document["bufferViews"][entry["bufferView"]]
        start = view.get("byteOffset", 0) + entry.get("byteOffset", 0)
        kind = {5126: np.float32, 5125: np.uint32}[entry["componentType"]]
        wide = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[entry["type"]]
        return np.frombuffer(binary, kind, entry["count"] * wide, start).reshape(-1, wide)

    return document, accessor


def test_glb_colours_and_orientation(slope, walk, tmp_path):
    from matplotlib import colormaps

    surface = slope()
    (path,) = export(tmp_path / "a.glb", surface, [walk([(0, 0), (1, 1)])])
    document, accessor = glb(path)
    ground, tube = (mesh["primitives"][0] for mesh in document["meshes"])
    at, colour = accessor(ground["attributes"]["POSITION"]), accessor(ground["attributes"]["COLOR_0"])
    assert colour.dtype == np.float32
    assert len(accessor(ground["indices"])) == 3 * 2 * 40
    x, up, z = at.T
    y = -z
    share = (1 + 2 * x - y + 1) / 5
    np.testing.assert_allclose(up, share * 1.2, atol=1e-5)
    srgb = colormaps["viridis"](share)[:, :3]
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    np.testing.assert_allclose(colour[:, :3], linear, atol=0.02)
    assert (colour[:, 3] == 1).all()
    normals = accessor(ground["attributes"]["NORMAL"])
    assert (normals[:, 1] > 0).all()
    faces = accessor(ground["indices"]).reshape(-1, 3)
    turned = np.cross(at[faces[:, 1]] - at[faces[:, 0]], at[faces[:, 2]] - at[faces[:, 0]])
    assert (turned[:, 1] > 0).all(), "faces point up, too"
    assert len(np.unique(accessor(tube["attributes"]["COLOR_0"]), axis=0)) == 1
    read_back = read(path, vtkGLTFReader)
    assert read_back.GetNumberOfPoints() == len(at) + len(accessor(tube["attributes"]["POSITION"]))


def test_clip_and_reduction_of_solids(slope, tmp_path):
    surface = slope(41, 27)
    full = read(export(tmp_path / "full.stl", surface)[0], vtkSTLReader)
    cut = read(export(tmp_path / "cut.stl", surface, clip=10.0)[0], vtkSTLReader)
    x, y, z = points(cut).T
    assert (1 + 2 * x - y <= 1 + 1e-5).all(), "log10 of the clip value"
    assert np.isclose(1 + 2 * x - y, 1, atol=1e-5).sum() > 20, "a clean edge"
    assert cut.GetNumberOfCells() < full.GetNumberOfCells()
    assert z.max() == pytest.approx(1.2, abs=1e-5), "the remaining part has the full height"
    thin = read(export(tmp_path / "thin.stl", surface, reduction=0.8)[0], vtkSTLReader)
    assert thin.GetNumberOfCells() == pytest.approx(0.2 * full.GetNumberOfCells(), rel=0.2)
    np.testing.assert_allclose(thin.GetBounds(), full.GetBounds(), atol=1e-5)
    with pytest.raises(ValueError, match="keeps every measured value"):
        export(tmp_path / "a.vts", surface, clip=10.0)
    with pytest.raises(ValueError, match="reduction"):
        export(tmp_path / "a.stl", surface, reduction=1.0)


def test_csv_round_trip(holed, walk, tmp_path):
    path = walk([(0, 0), (9, 9)], "SGD", loss=[1 / 3, np.nan])
    written = export(tmp_path / "a.csv", holed, [path])
    assert written == [tmp_path / "a.csv", tmp_path / "a_SGD.csv"]
    with written[0].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["x", "y", "train_loss", "train_acc", "train_loss_stderr", "status"]
    assert len(rows) == 54
    row = rows[3 * 9 + 7]
    assert (float(row["x"]), float(row["y"])) == (holed.x[7], holed.y[3])
    for name, values in holed.values.items():
        np.testing.assert_array_equal([float(row[name]) for row in rows], values.ravel())
    assert [int(row["status"]) for row in rows] == holed.status.ravel().tolist()
    with written[1].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(float(row["x"]), float(row["y"])) for row in rows] == [(0, 0), (9, 9)], "off the grid, too"
    assert float(rows[0]["loss"]) == 1 / 3
    assert np.isnan(float(rows[1]["loss"]))


def test_metric_and_scale(slope, tmp_path):
    surface = slope()
    data = read(export(tmp_path / "a.vts", surface, metric="train_acc")[0], vtkXMLStructuredGridReader)
    assert (field(data, "metric"), field(data, "scale")) == ("train_acc", "linear")
    np.testing.assert_allclose(points(data)[:, 2], (surface.values["train_acc"].ravel() - 47) * 1.2 / 53, atol=1e-12)
    fixed = Scale("log", 1e-2, 1e2)
    data = read(export(tmp_path / "b.vts", surface, scale=fixed)[0], vtkXMLStructuredGridReader)
    assert field(data, "height_origin") == -2
    assert field(data, "height_factor") == pytest.approx(1.2 / 4)
    zero = replace(surface, values={"train_loss": surface.values["train_loss"] - 1.0})
    data = read(export(tmp_path / "c.vts", zero, scale="symlog")[0], vtkXMLStructuredGridReader)
    assert field(data, "linthresh") > 0


def test_export_does_not_change_surface(holed, walk, tmp_path):
    before = {name: values.copy() for name, values in holed.values.items()}
    path = walk([(0, 0), (1, 1)])
    for suffix in SUFFIXES:
        export(tmp_path / f"{suffix[1:]}{suffix}", holed, [path])
    for name, values in before.items():
        np.testing.assert_array_equal(holed.values[name], values)
    assert path.coordinates.tolist() == [[0, 0], [1, 1]]


def test_export_is_reproducible(holed, walk, tmp_path):
    for suffix in (".vts", ".vtp", ".vti", ".glb", ".obj", ".stl", ".csv"):
        first, second = (
            export(tmp_path / f"a{suffix}", holed, [walk([(0, 0), (1, 1)])], overwrite=True)[0].read_bytes()
            for _ in "ab"
        )
        assert first == second, suffix


def test_unknown_suffix(slope, tmp_path):
    with pytest.raises(ValueError, match=r"cannot export 'a\.ply'.*\.vts.*\.vtp.*\.vti.*\.csv"):
        export(tmp_path / "a.ply", slope())


def test_overwrite(slope, walk, tmp_path):
    for name in ("a.vts", "b_run.vtp"):
        (tmp_path / name).write_text("mine")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "precious.txt").write_text("mine")
    for name in ("a.vts", "b.vts", "c.vtm"):
        with pytest.raises(FileExistsError, match="exists"):
            export(tmp_path / name, slope(), [walk([(0, 0), (1, 1)])])
    listing = sorted(str(entry.relative_to(tmp_path)) for entry in tmp_path.rglob("*"))
    assert listing == ["a.vts", "b_run.vtp", "c", "c/precious.txt"], "no partial files remain"
    for name in ("a.vts", "b.vts", "c.vtm"):
        export(tmp_path / name, slope(), [walk([(0, 0), (1, 1)])], overwrite=True)
    assert (tmp_path / "c" / "precious.txt").read_text() == "mine"
    assert read(tmp_path / "c.vtm", vtkXMLMultiBlockDataReader).GetNumberOfBlocks() == 2


def test_failure_leaves_no_files(slope, walk, tmp_path, monkeypatch):
    write, calls = vtk_files.write_xml, []

    def failing(data, path):
        calls.append(path)
        if len(calls) == 2:
            raise OSError("no space left on device")
        write(data, path)

    monkeypatch.setattr(vtk_files, "write_xml", failing)
    with pytest.raises(OSError, match="no space"):
        export(tmp_path / "a.vts", slope(), [walk([(0, 0), (1, 1)])])
    assert len(calls) == 2
    assert list(tmp_path.iterdir()) == []


@contextmanager
def short_files():
    """Limit files to a few kilobytes, which has the same effect as a full disk.

    This is not a fixture, because the limit applies to the whole process, including pytest's own report file.
    """
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_full_disk(slope, walk, tmp_path, suffix):
    surface, paths = slope(61, 53), [walk([(0, 0), (1, 1)])]
    with short_files(), pytest.raises(OSError, match=r"cannot be written|too large"):
        export(tmp_path / f"a{suffix}", surface, paths)
    assert list(tmp_path.iterdir()) == []


def test_export_page(slope, walk, tmp_path):
    surfaces = [slope(name="one"), slope(7, 5, name="other")]
    path = tmp_path / "a.html"
    assert export(path, surfaces, [[walk([(0, 0), (1, 1)])], []], clip=100.0) == [path]
    assert "one · other" in path.read_text("utf-8")
    with pytest.raises(ValueError, match=r"several fit into one \.html only"):
        export(tmp_path / "a.vts", surfaces)


MODULES = """
import sys
from pathlib import Path
import numpy as np
from landscape.render.exports.export import export
from landscape.render.exports.xdmf import write_xdmf
from landscape.surface.metadata import Header
from landscape.surface.reading import read_surface
from landscape.surface.store import FileStore

axes, folder = (np.linspace(0, 1, 4), np.linspace(0, 1, 3)), Path(sys.argv[1])
with FileStore.open(folder / "surface.h5", Header(axes, ("train_loss",))) as store:
    for index in range(12):
        store.record(index, [1.0 + index], 0.0)
surface = read_surface(folder / "surface.h5")
if sys.argv[2] == ".xdmf":
    write_xdmf(folder / "a.xdmf", folder / "surface.h5")
else:
    export(folder / f"a{sys.argv[2]}", surface)
print(*{name.partition(".")[0] for name in sys.modules} & {"matplotlib", "vtkmodules", "mpi4py", "torch"})
print("vtkmodules.vtkRenderingOpenGL2" in sys.modules)
"""
LIBRARIES = {
    ".csv": set(),
    ".xdmf": set(),
    ".html": {"matplotlib"},
    **{suffix: {"vtkmodules"} for suffix in (".vts", ".vtp", ".vti", ".vtm", ".pvd")},
    **{suffix: {"matplotlib", "vtkmodules"} for suffix in (".glb", ".obj", ".stl")},
}


@pytest.mark.process
@pytest.mark.parametrize("suffix", LIBRARIES)
def test_export_loads_only_needed_libraries(suffix, tmp_path):
    command = [sys.executable, "-c", MODULES, str(tmp_path), suffix]
    loaded, opengl = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert set(loaded.split()) - {"torch"} == LIBRARIES[suffix]
    assert opengl == "False"


def test_export_opens_no_window(slope, tmp_path, monkeypatch):
    from landscape.render.scenes import offscreen

    monkeypatch.setattr(offscreen, "new_window", lambda: pytest.fail("a window was made"))
    for suffix in SUFFIXES:
        export(tmp_path / f"a{suffix}", slope())
