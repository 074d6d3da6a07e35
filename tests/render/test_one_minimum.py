"""One surface, drawn and exported in every way: all show the same minimum, and the end of the path, at the same place.

Every entry of the table reads its result from the drawing or file, never from the surface that was drawn.
"""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from vtkmodules.vtkIOGeometry import vtkGLTFReader, vtkOBJReader, vtkSTLReader
from vtkmodules.vtkIOXdmf2 import vtkXdmfReader
from vtkmodules.vtkIOXML import (
    vtkXMLImageDataReader,
    vtkXMLMultiBlockDataReader,
    vtkXMLPolyDataReader,
    vtkXMLStructuredGridReader,
)

from landscape.render.exports.export import export
from landscape.render.exports.page import write_page
from landscape.render.exports.xdmf import write_xdmf
from landscape.render.plots.contour import plot_contour
from landscape.render.plots.options import ContourOptions
from landscape.render.scenes import scene
from landscape.render.scenes.mesh import HEIGHT
from landscape.render.scenes.options import SceneOptions
from landscape.render.style import TRAJECTORY_COLOURS
from landscape.render.vtk_data import vtk_to_numpy
from landscape.surface.metadata import Header
from landscape.surface.reading import read_surface
from landscape.surface.store import FileStore
from landscape.surface.trajectory_files import read_trajectories, write_trajectories

VIEW = Path(__file__).resolve().parents[2] / "scripts" / "paraview" / "view.py"
X, Y = np.linspace(-1.3, 2.1, 18), np.linspace(-0.2, 0.7, 10)
PLACE = (12, 3)
"""Column and row of the lowest point, neither at the centre nor on the diagonal."""
END = (0.75, 0.33)
"""End of the path, neither on a grid point nor at the minimum."""


class Found(NamedTuple):
    """Contents of a drawing or file: coordinates of the lowest value, the value, and the end of the path."""

    x: float
    y: float
    value: float | None
    end: tuple[float, float] | None = None


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return a directory with a surface file and a trajectory file."""
    from landscape.geometry.trajectory import Trajectory

    folder = tmp_path_factory.mktemp("minimum")
    i, j = PLACE
    loss = 0.0123 + (X[None, :] - X[i]) ** 2 + 7 * (Y[:, None] - Y[j]) ** 2 + 0.4 * (X[None, :] - X[i]) ** 4
    with FileStore.open(folder / "surface.h5", Header((X, Y), ("train_loss", "train_acc"))) as store:
        for index, value in enumerate(loss.ravel()):
            store.record(index, [value, 100 / (1 + value)], 0.0)
    points = np.array([(-1.0, 0.6), (0.2, 0.5), (0.9, 0.1), END])
    n, known = len(points), np.linspace(2, 1, len(points))
    path = Trajectory("sgd", 10 * np.arange(n), np.arange(n) / 2, points, known, known, known, known / 2, known / 10)
    write_trajectories(folder / "path.h5", [path])
    return folder


@pytest.fixture(scope="module")
def drawn(files):
    """Return the surface and its paths, read from the files."""
    return read_surface(files / "surface.h5"), read_trajectories(files / "path.h5")


@pytest.fixture(scope="module")
def expected(files):
    """Return the lowest value in the HDF5 file, and its coordinates there."""
    with h5py.File(files / "surface.h5", "r") as file:
        loss = file["train_loss"][()]
        j, i = np.unravel_index(np.argmin(loss), loss.shape)
        return Found(file["xcoordinates"][i], file["ycoordinates"][j], loss[j, i], END)


def test_case_is_asymmetric(expected):
    assert (expected.x, expected.y) == (X[PLACE[0]], Y[PLACE[1]])
    assert expected.value == 0.0123
    assert len(X) != len(Y)
    assert abs(np.ptp(X) / np.ptp(Y) - 1) > 1
    assert min(abs(expected.x - X.mean()), abs(expected.y - Y.mean())) > 0.1


def contour(request):
    surface, paths = request.getfixturevalue("drawn")
    levels = [0.012301, 0.1, 1, 3]
    artists = plot_contour(surface, paths, options=ContourOptions(levels=levels))
    (innermost,) = [path for path, at in zip(artists.lines.get_paths(), artists.lines.levels, strict=True) if at < -1.9]
    x, y = innermost.vertices[:-1].mean(0)
    (end,) = artists.paths[0].end.get_xydata()
    # The lines are those of the logarithm: the height of the innermost one is that of the minimum, all but a hair.
    return Found(x, y, 10 ** artists.lines.levels[0], tuple(end)), {"abs": 2e-3, "rel": 1e-3}


def bands(request):
    surface, paths = request.getfixturevalue("drawn")
    artists = plot_contour(surface, paths, options=ContourOptions(style="filled"))
    values = artists.filled.get_array()
    lowest = artists.filled.get_paths()[int(np.argmin(values))].vertices
    inside = lowest[np.isfinite(lowest).all(1)]
    (end,) = artists.paths[0].end.get_xydata()
    middle = (inside.min(0) + inside.max(0)) / 2
    # The lowest band lies around the minimum, and its lower border is the lowest value.
    return Found(*middle, 10 ** float(artists.filled.levels[0]), tuple(end)), {"abs": 0.1, "rel": 1e-9}


def heat(request):
    surface, paths = request.getfixturevalue("drawn")
    artists = plot_contour(surface, paths, options=ContourOptions(style="heat"))
    values, corners = artists.heat.get_array(), artists.heat.get_coordinates()
    j, i = np.unravel_index(np.argmin(values), values.shape)
    x, y = corners[j : j + 2, i : i + 2].reshape(4, 2).mean(0)
    (end,) = artists.paths[0].end.get_xydata()
    return Found(x, y, float(values[j, i]), tuple(end)), {}


def in_scene(request):
    request.getfixturevalue("needs_gl")
    surface, paths = request.getfixturevalue("drawn")
    found = {}

    def look(renderer, *args, **kwargs):
        actors = renderer.GetActors()
        for k in range(actors.GetNumberOfItems()):
            actor = actors.GetItemAsObject(k)
            actor.GetMapper().Update()
            data = actor.GetMapper().GetInput()
            heights = data.GetPointData().GetArray(HEIGHT)
            # Tubes of contour lines have heights, too, but never from the lowest to the highest.
            if heights is not None and np.ptp(vtk_to_numpy(heights)) > np.ptp(found.get("relief", ((), (0, 0)))[1]):
                found["relief"] = vtk_to_numpy(data.GetPoints().GetData()).copy(), vtk_to_numpy(heights).copy()
            if actor.GetProperty().GetColor() == pytest.approx(to_rgb(TRAJECTORY_COLOURS[0])):
                line = vtk_to_numpy(data.GetPoints().GetData()).copy()
                found["path"] = min(line, found.get("path", line), key=lambda points: points[:, 2].mean())
        return render_once(renderer, *args, **kwargs)

    render_once = scene.render_once
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scene, "render_once", look)
        scene.render_scene(surface, paths, SceneOptions(size=(400, 300), supersampling=1, floor=True))
    points, heights = found["relief"]
    lowest = int(np.argmin(heights))
    # The lowest line of the path's colour is that on the floor: a thin tube, whose last ring is around the end.
    ring = found["path"][-6:]
    assert found["path"][:, 2].max() < points[:, 2].min()
    assert np.ptp(ring, axis=0).max() < 0.02
    assert points[lowest, 2] == points[:, 2].min(), "what is coloured as the lowest lies lowest"

    def place(x, y):
        # The ground is a square from -0.5 to 0.5.
        return X[0] + (x + 0.5) * np.ptp(X), Y[0] + (y + 0.5) * np.ptp(Y)

    return Found(*place(*points[lowest, :2]), 10 ** heights[lowest], place(*ring[:, :2].mean(0))), {
        "abs": 1e-6,
        "end": 1e-5,
    }


def in_browser(request):
    surface, paths = request.getfixturevalue("drawn")
    open_page = request.getfixturevalue("open_page")
    browser = open_page(write_page(request.getfixturevalue("files") / "page.html", surface, paths, overwrite=True))
    x, y, heights = map(
        np.array,
        browser.run("(({ x, y, rows }) => [[...x], [...y], rows.map((row) => [...row])])(views[0].field().measured)"),
    )
    j, i = np.unravel_index(np.argmin(heights), heights.shape)
    end = browser.run("views[0].spots.at(-1).at")
    head = browser.run(f"views[0].unplace({end})")
    said = browser.run("({...views[0].legend.querySelector('.best').dataset})")
    assert [float(said[key]) for key in ("x", "y", "value")] == [x[i], y[j], pytest.approx(10 ** heights[j, i])]
    words = browser.run("views[0].legend.querySelector('.best').textContent").replace("\N{MINUS SIGN}", "-")
    numbers = [float(number) for number in re.findall(r"-?\d+\.?\d*", words)]
    assert numbers == pytest.approx([10 ** heights[j, i], x[i], y[j]], rel=5e-3)
    return Found(x[i], y[j], 10 ** heights[j, i], tuple(head)), {}


def written(request, suffix):
    """Export the surface to a directory of its own, and return the file."""
    files = request.getfixturevalue("files")
    target = files / suffix[1:] / f"surface{suffix}"
    if not target.exists():
        target.parent.mkdir(exist_ok=True)
        if suffix == ".xdmf":
            write_xdmf(target, files / "surface.h5", [files / "path.h5"])
        else:
            export(target, *request.getfixturevalue("drawn"))
    return target


def read(path, reader):
    reader = reader()
    reader.SetFileName(str(path))
    reader.Update()
    return reader.GetOutput()


def lowest_of(data):
    loss = vtk_to_numpy(data.GetPointData().GetArray("train_loss"))
    k = int(np.argmin(loss))
    return data.GetPoint(k), float(loss[k])


def end_of(data):
    step = vtk_to_numpy(data.GetPointData().GetArray("step"))
    return data.GetPoint(int(np.nanargmax(step)))[:2]


def raised_value(data, z):
    """Return the value at a height, from the field data of the file."""
    factor, origin = (data.GetFieldData().GetArray(f"height_{name}").GetValue(0) for name in ("factor", "origin"))
    return 10 ** (z / factor + origin)


def single(suffix, reader):
    def find(request):
        path = written(request, suffix)
        data = read(path, reader)
        (x, y, z), value = lowest_of(data)
        if suffix != ".vti":
            assert raised_value(data, z) == pytest.approx(value, rel=1e-6)
        return Found(x, y, value, end_of(read(path.with_name("surface_sgd.vtp"), vtkXMLPolyDataReader))), {}

    return find


def blocks(suffix, reader):
    def find(request):
        data = read(written(request, suffix), reader)
        ground, path = data.GetBlock(0), data.GetBlock(1)
        (x, y, _), value = lowest_of(ground)
        return Found(x, y, value, end_of(path)), {}

    return find


def series(request):
    path = written(request, ".pvd")
    parts = re.findall(r'timestep="(\d+)".*?file="([^"]+)"', path.read_text())
    last = [path.parent / file for step, file in parts if int(step) == max(int(step) for step, _ in parts)]
    grid, line = sorted(last, key=lambda file: file.suffix != ".vts")
    (x, y, _), value = lowest_of(read(grid, vtkXMLStructuredGridReader))
    return Found(x, y, value, end_of(read(line, vtkXMLPolyDataReader))), {}


def solid(suffix, reader):
    def find(request):
        target = request.getfixturevalue("files") / f"bare{suffix}"
        surface, _ = request.getfixturevalue("drawn")
        data = read(export(target, surface, overwrite=True)[0], reader)
        while not data.IsA("vtkPolyData"):
            data = data.GetBlock(0)
        points = vtk_to_numpy(data.GetPoints().GetData())
        if suffix == ".glb":  # y points up there
            points = points[:, [0, 2, 1]] * (1, -1, 1)
        x, y, z = points[int(np.argmin(points[:, 2]))]
        # A bare mesh says nothing of its heights: they are those of the other formats.
        value = raised_value(read(written(request, ".vts"), vtkXMLStructuredGridReader), float(z))
        return Found(x, y, value), {"abs": 1e-6, "rel": 1e-5}

    return find


def table(request):
    path = written(request, ".csv")
    with path.open(newline="") as file:
        row = min(csv.DictReader(file), key=lambda row: float(row["train_loss"]))
    with path.with_name("surface_sgd.csv").open(newline="") as file:
        last = max(csv.DictReader(file), key=lambda row: int(row["step"]))
    return Found(*(float(row[key]) for key in ("x", "y", "train_loss")), (float(last["x"]), float(last["y"]))), {}


# Opens a state like ParaView's "Load State", and prints data of the visible surface and path. All code is in a
# function, because programmable filters add NumPy's names to the global namespace of the script.
STATE = """
def tell(state):
    import json
    import numpy as np
    from paraview import servermanager, simple
    from paraview.vtk.util.numpy_support import vtk_to_numpy

    simple.LoadState(state)
    told = {}
    for (name, _), source in simple.GetSources().items():
        if name == "smooth" or name.startswith("path"):
            simple.UpdatePipeline(simple.GetAnimationScene().AnimationTime, source)
            data = servermanager.Fetch(source)
            key, pick = ("train_loss", np.argmin) if name == "smooth" else ("step", np.nanargmax)
            values = vtk_to_numpy(data.GetPointData().GetArray(key)).astype(float)
            k = int(pick(values))
            told[name.split()[0]] = [*data.GetPoint(k), values[k], data.GetBounds()[4]]
    table = simple.GetColorTransferFunction("train_loss")
    told["colours"] = [table.RGBPoints[0], table.UseLogScale]
    print(json.dumps(told))

import sys
tell(sys.argv[1])
"""


def in_paraview(suffix):
    def find(request):
        paraview, file = request.getfixturevalue("paraview"), written(request, suffix)
        paraview(VIEW, file, "--out", file.with_name("view.png"), "--size", "300x200", program="pvbatch")
        probe = file.with_name("probe.py")
        probe.write_text(STATE)
        told = json.loads(paraview(probe, file.with_name("view.pvsm")).splitlines()[-1])
        x, y, z, value, bottom = told["smooth"]
        assert z == pytest.approx(bottom, abs=1e-6), "the lowest value is drawn lowest"
        assert told["colours"] == [pytest.approx(value), 1], "and has the first colour of a logarithmic scale"
        end = tuple(told["path"][:2]) if "path" in told else None
        # ParaView raises flat files in single precision.
        return Found(x, y, value, end), {"abs": 1e-6, "rel": 1e-6}

    return find


WAYS = {
    "contour": contour,
    "bands": bands,
    "heat map": heat,
    "scene": in_scene,
    "page in a browser": in_browser,
    ".vts": single(".vts", vtkXMLStructuredGridReader),
    ".vtp": single(".vtp", vtkXMLPolyDataReader),
    ".vti": single(".vti", vtkXMLImageDataReader),
    ".vtm": blocks(".vtm", vtkXMLMultiBlockDataReader),
    ".xdmf": blocks(".xdmf", vtkXdmfReader),
    ".pvd": series,
    ".csv": table,
    ".obj": solid(".obj", vtkOBJReader),
    ".stl": solid(".stl", vtkSTLReader),
    ".glb": solid(".glb", vtkGLTFReader),
}
MARKS = {"scene": pytest.mark.rendering, "page in a browser": pytest.mark.browser}
PARAVIEW = {f"ParaView {suffix}": in_paraview(suffix) for suffix in (".vts", ".vtp", ".vti", ".vtm", ".pvd", ".xdmf")}


@pytest.mark.parametrize(
    "way",
    [
        *(pytest.param(way, marks=MARKS.get(way, ())) for way in WAYS),
        *(pytest.param(w, marks=pytest.mark.slow) for w in PARAVIEW),
    ],
    ids=lambda way: way,
)
def test_minimum_is_at_same_place(way, expected, request):
    found, tolerance = {**WAYS, **PARAVIEW}[way](request)
    place = {"abs": tolerance.get("abs", 1e-12)}
    assert (found.x, found.y) == pytest.approx((expected.x, expected.y), **place)
    assert found.value == pytest.approx(expected.value, rel=tolerance.get("rel", 1e-12))
    end = {"abs": tolerance.get("end", 1e-7)}
    assert found.end == pytest.approx(expected.end, **end) or (found.end is None and way in (".obj", ".stl", ".glb"))
