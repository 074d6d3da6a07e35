"""Exported files in ParaView, on a virtual display. Takes minutes with a cold cache, so it is marked slow."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from landscape.render.exports.export import export
from landscape.render.exports.xdmf import write_xdmf
from landscape.surface.metadata import Header
from landscape.surface.reading import read_surface
from landscape.surface.store import FileStore
from landscape.surface.trajectory_files import write_trajectories

VIEW = Path(__file__).resolve().parents[2] / "scripts" / "paraview" / "view.py"
SUFFIXES = (".vts", ".vtp", ".vti", ".vtm", ".pvd", ".xdmf", ".csv", ".obj", ".stl", ".glb")
WITH_ARRAYS = SUFFIXES[:7]

# Opens files like a user, and prints as JSON for each data set its class, number of points, and for each array the
# number of finite values, minimum, maximum, and the coordinates of the minimum.
PROBE = """
import json, sys
import numpy as np
from paraview import servermanager, simple
from paraview.vtk.util.numpy_support import vtk_to_numpy

def leaves(data):
    for kind in ("Block", "Piece"):
        if hasattr(data, f"GetNumberOf{kind}s") and not data.IsA("vtkDataSet"):
            parts = [getattr(data, f"Get{kind}")(k) for k in range(getattr(data, f"GetNumberOf{kind}s")())]
            return [leaf for part in parts if part for leaf in leaves(part)]
    return [data]

def contents(data):
    table = data.IsA("vtkTable")
    attributes = data.GetRowData() if table else data.GetPointData()
    arrays = {}
    for k in range(attributes.GetNumberOfArrays()):
        array = attributes.GetArray(k)
        if array is None or array.GetNumberOfComponents() != 1:
            continue
        values = vtk_to_numpy(array).astype(float)
        known = np.isfinite(values)
        if known.any():
            lowest = int(np.argmin(np.where(known, values, np.inf)))
            if table:
                place = [attributes.GetArray(axis).GetValue(lowest) for axis in "xy"]
            else:
                place = data.GetPoint(lowest)[:2]
            arrays[array.GetName()] = [int(known.sum()), values[known].min(), values[known].max(), *place]
    return {"class": data.GetClassName(), "points": 0 if table else data.GetNumberOfPoints(), "arrays": arrays}

found = {}
for file in sys.argv[1:]:
    source = simple.OpenDataFile(file)
    times = list(getattr(source, "TimestepValues", []))
    source.UpdatePipeline(*times[-1:])
    found[file] = [contents(data) for data in leaves(servermanager.Fetch(source))]
print(json.dumps(found))
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a directory with every format of a surface (with an infinity and a pending point) and two paths."""
    from landscape.geometry.trajectory import Trajectory

    folder = tmp_path_factory.mktemp("exported")
    x, y = np.linspace(-1, 2, 13), np.linspace(0, 1, 9)
    loss = 0.01 + (x[None, :] - 1) ** 2 + 3 * (y[:, None] - 0.375) ** 2
    loss[0, 0] = np.inf
    with FileStore.open(folder / "surface.h5", Header((x, y), ("train_loss", "train_acc"))) as store:
        for index, value in enumerate(loss.ravel()[:-1]):
            store.record(index, [value, 100 / (1 + value)], 0.0)

    def path(name, points):
        n, points = len(points), np.array(points, np.float64)
        known = np.linspace(2, 1, n)
        return Trajectory(name, 10 * np.arange(n), np.arange(n) / 2, points, known, known, known, known / 2, known / 10)

    paths = [path("sgd", [(-0.9, 0.9), (0, 0.7), (0.9, 0.4)]), path("adam", [(1.5, 0.2), (1.25, 0.25), (1.1, 0.4)])]
    write_trajectories(folder / "path.h5", paths)
    surface = read_surface(folder / "surface.h5")
    for suffix in SUFFIXES:
        (folder / suffix[1:]).mkdir()
        target = folder / suffix[1:] / f"surface{suffix}"
        if suffix == ".xdmf":
            write_xdmf(target, folder / "surface.h5", [folder / "path.h5"])
        else:
            export(target, surface, paths)
    return folder


def of(folder, suffix):
    return folder / suffix[1:] / f"surface{suffix}"


@pytest.fixture(scope="module")
def contents(folder, paraview, tmp_path_factory):
    probe = tmp_path_factory.mktemp("probe") / "probe.py"
    probe.write_text(PROBE)
    output = paraview(probe, *(of(folder, suffix) for suffix in SUFFIXES))
    return {Path(name).suffix: parts for name, parts in json.loads(output.splitlines()[-1]).items()}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_paraview_opens_every_format(suffix, folder, contents):
    parts = contents[suffix]
    assert parts
    if suffix not in WITH_ARRAYS:
        assert parts[0]["points"] > 50
        return
    (ground,) = [part for part in parts if "train_loss" in part["arrays"]]
    with h5py.File(folder / "surface.h5", "r") as file:
        for name in ("train_loss", "train_acc"):
            values = file[name][()]
            # Polygons have no points in holes, so these do not count in the range.
            known = np.isfinite(values)
            if suffix == ".vtp":
                known &= np.isfinite(file["train_loss"][()])
            count, low, high, *place = ground["arrays"][name]
            assert (count, low, high) == (known.sum(), values[known].min(), values[known].max())
            if name == "train_loss":
                j, i = np.unravel_index(np.argmin(np.where(known, values, np.inf)), values.shape)
                assert place == pytest.approx((file["xcoordinates"][i], file["ycoordinates"][j]), abs=1e-12)
        if suffix != ".csv":
            assert ground["arrays"]["status"][2] == 1


@pytest.mark.parametrize("suffix", [".vtm", ".pvd", ".xdmf"])
def test_collections_contain_paths(suffix, contents):
    paths = [part for part in contents[suffix] if "step" in part["arrays"]]
    assert len(paths) == 2
    for path in paths:
        assert path["arrays"]["step"][1:3] == [0, 20]
        assert path["arrays"]["loss"][1:3] == [1, 2]


def coloured_fraction(path):
    from matplotlib.image import imread

    picture = imread(path)[..., :3]
    return (np.ptp(picture, axis=-1) > 0.1).mean()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_view_saves_picture_and_state(suffix, folder, paraview, tmp_path):
    out = tmp_path / "view.png"
    output = paraview(VIEW, of(folder, suffix), "--out", out, "--size", "500x400")
    assert output.strip() == f"{out}, {tmp_path / 'view.pvsm'}: saved"
    if suffix in (".obj", ".stl"):  # grey: they have no colours
        from matplotlib.image import imread

        assert (imread(out)[..., :3].min(axis=-1) < 0.95).mean() > 0.1
    else:
        assert coloured_fraction(out) > 0.1
    assert "ServerManagerState" in (tmp_path / "view.pvsm").read_text()


def test_state_reopens(folder, paraview, tmp_path):
    paraview(VIEW, of(folder, ".vtm"), "--out", tmp_path / "view.png", "--size", "500x400")
    again = tmp_path / "again.py"
    again.write_text(
        "import sys\nfrom paraview import simple\nsimple.LoadState(sys.argv[1])\n"
        # Not simple.Render: the first one of a session resets the camera.
        "view = simple.GetActiveViewOrCreate('RenderView')\n"
        "simple.SaveScreenshot(sys.argv[2], view, ImageResolution=[500, 400])\n"
    )
    paraview(again, tmp_path / "view.pvsm", tmp_path / "again.png")
    assert coloured_fraction(tmp_path / "again.png") == pytest.approx(
        coloured_fraction(tmp_path / "view.png"), abs=0.02
    )


def test_pvbatch_with_options(folder, paraview, tmp_path):
    out = tmp_path / "view.png"
    paraview(
        VIEW, of(folder, ".vts"), "--metric", "train_acc", "--scale", "linear", "--out", out, "--size", "500x400",
        program="pvbatch",
    )  # fmt: skip
    assert coloured_fraction(out) > 0.1


def test_view_from_script_menu(folder, paraview, tmp_path):
    """In the script menu, a script has neither ``__file__`` nor arguments."""
    copy = shutil.copytree(of(folder, ".vts").parent, tmp_path / "vts") / "surface.vts"
    menu = tmp_path / "menu.py"
    menu.write_text(f"import sys\nsys.argv = ['']\nexec(open({str(VIEW)!r}).read(), {{'__name__': '__main__'}})\n")
    paraview(menu, LANDSCAPE_FILE=str(copy))
    assert coloured_fraction(copy.with_suffix(".png")) > 0.1
    opened = tmp_path / "opened.py"
    opened.write_text(
        "import os, sys\nfrom paraview import simple\nsimple.OpenDataFile(sys.argv[1])\nsys.argv = ['']\n"
        f"exec(open({str(VIEW)!r}).read(), {{'__name__': '__main__'}})\n"
    )
    paraview(opened, copy, HOME=str(tmp_path))
    assert coloured_fraction(tmp_path / "surface.png") > 0.1


STEPS_PROBE = """
import json, sys
from paraview import servermanager, simple
from paraview.vtk.util.numpy_support import vtk_to_numpy

source = simple.OpenDataFile(sys.argv[1])
found = []
for time in source.TimestepValues:
    source.UpdatePipeline(time)
    grid = servermanager.Fetch(source)  # a single part is fetched as it is
    values = vtk_to_numpy(grid.GetPointData().GetArray("train_loss"))
    found.append([time, float(values.min()), float(values.sum()), grid.GetBounds()[4]])
print(json.dumps(found))
"""


def test_surface_through_training_plays(paraview, tmp_path):
    """ParaView finds a time for each checkpoint, and the surface of that checkpoint at it, all on one scale."""
    from landscape.surface.metadata import SurfaceMetadata, SweepSettings
    from landscape.surface.surface import DONE, Surface

    x, y, steps = np.linspace(-1, 1, 7), np.linspace(0, 1, 5), (0, 10, 40)
    loss = np.stack([10.0**-k * (1 + x[None, :] ** 2 + y[:, None]) for k in range(3)])
    metadata = SurfaceMetadata(settings=SweepSettings(steps=steps, states=("a", "b", "c")))
    status = np.full(loss.shape, DONE, np.uint8)
    surface = Surface((x, y, np.array(steps, float)), {"train_loss": loss}, status, metadata, "net")
    export(tmp_path / "through.pvd", surface)
    (tmp_path / "probe.py").write_text(STEPS_PROBE)
    found = json.loads(paraview(tmp_path / "probe.py", tmp_path / "through.pvd").splitlines()[-1])
    assert [row[0] for row in found] == list(steps)
    for row, values in zip(found, loss, strict=True):
        assert row[1:3] == pytest.approx([values.min(), values.sum()])
    heights = [row[3] for row in found]
    assert np.diff(heights) == pytest.approx([heights[1] - heights[0]] * 2)
    assert heights[0] > heights[2]
