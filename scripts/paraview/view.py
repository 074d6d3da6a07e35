"""Open an exported surface in ParaView as a finished view: raised, coloured, with contour lines, paths and a camera.

    pvpython scripts/paraview/view.py surface.vts             shows it and saves surface.png and surface.pvsm
    pvbatch scripts/paraview/view.py surface.vtm --out figure.png --size 1600x1200 --scale linear
    xvfb-run -a -s -noreset pvpython scripts/paraview/view.py surface.xdmf          without a display

The file is any output of `landscape export` (.vts .vtp .vti .vtm .pvd .xdmf .obj .stl .glb .csv) or, in a ParaView
that reads VTKHDF collections, the surface file itself. Paths in files beside it (surface_NAME.vtp) are added.
ParaView's script menu passes no arguments: set the environment variable, LANDSCAPE_FILE=/folder/surface.vts paraview,
or open and select the file before running this script.
"""

import argparse
import builtins
import glob
import math
import os
import sys

import numpy as np
from paraview import servermanager, simple
from paraview.vtk.util.numpy_support import vtk_to_numpy

PATH_COLOURS = [(0.89, 0.10, 0.11), (0.07, 0.07, 0.07), (1.0, 0.61, 0.11), (0.95, 0.35, 0.78), (0.48, 0.27, 0.10)]
NOT_METRICS = {"status", "seconds", "height", "vtkGhostType", "x", "y", "z"}
ANGLE = 27.0  # of the camera, in degrees
RELIEF_HEIGHT = 0.6  # in units of the longer axis, as in raised files

# Runs in this script and, as text, in ParaView's pipeline, so that a saved state contains all of its code.
LEAVES = """
def leaves(data):
    if data is None:
        return []
    for count, get in (("GetNumberOfBlocks", "GetBlock"), ("GetNumberOfPartitionedDataSets", "GetPartitionedDataSet"),
                       ("GetNumberOfPartitions", "GetPartition"), ("GetNumberOfPieces", "GetPiece")):
        if hasattr(data, count) and not data.IsA("vtkDataSet"):
            return [leaf for k in range(getattr(data, count)()) for leaf in leaves(getattr(data, get)(k))]
    return [data]
"""
PICK = """
from vtkmodules.vtkFiltersGeometry import vtkDataSetSurfaceFilter
found = leaves(self.GetInputDataObject(0, 0))
leaf = found[{index}] if {index} < len(found) else None
if leaf is not None and leaf.IsA("vtkPolyData"):
    self.GetOutputDataObject(0).ShallowCopy(leaf)
elif leaf is not None:
    skin = vtkDataSetSurfaceFilter()
    skin.SetInputData(leaf)
    skin.Update()
    self.GetOutputDataObject(0).ShallowCopy(skin.GetOutput())
"""
# A programmable filter adds NumPy's max and other names to the globals of this script: hence builtins.max below.
_namespace = {}
exec(LEAVES, _namespace)
leaves = _namespace["leaves"]


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", default=os.environ.get("LANDSCAPE_FILE"))
    parser.add_argument("--metric", help="array for heights and colours; by default the metric of the file, or a loss")
    parser.add_argument("--scale", choices=["auto", "log", "linear"], default="auto")
    parser.add_argument("--levels", type=int, default=14, help="approximate number of contour lines")
    parser.add_argument("--out", help="image to save; by default FILE.png, with the state in FILE.pvsm")
    parser.add_argument("--size", default="1600x1200")
    # From the script menu there are no arguments, or those of ParaView itself.
    return parser.parse_args(sys.argv[1:] if "__file__" in globals() else [])


def arrays(data):
    """Return the names of the point arrays with one component."""
    points = data.GetPointData()
    found = [points.GetArray(k) for k in range(points.GetNumberOfArrays())]
    return [array.GetName() for array in found if array is not None and array.GetNumberOfComponents() == 1]


def field_value(data, name):
    """Return a string or number from the field data; None if it is missing."""
    array = data.GetFieldData().GetAbstractArray(name)
    return array.GetValue(0) if array is not None and array.GetNumberOfValues() else None


def extract_leaf(source, index, name):
    """Return a filter with one leaf of a source, as polygons or lines."""
    pick = simple.ProgrammableFilter(registrationName=name, Input=source)
    pick.OutputDataSetType = "vtkPolyData"
    pick.Script = LEAVES + PICK.format(index=index)
    pick.UpdatePipeline()
    return pick


def open_file(file):
    """Return the reader of a file, at its last time step."""
    source = simple.OpenDataFile(file)
    if source is None:
        raise SystemExit(f"{file}: this ParaView has no reader for it (docs/paraview.md)")
    times = getattr(source, "TimestepValues", None) or []
    times = [times] if isinstance(times, float) else list(times)
    if times:
        simple.GetAnimationScene().UpdateAnimationUsingDataTimeSteps()
        simple.GetAnimationScene().AnimationTime = times[-1]
    source.UpdatePipeline(*times[-1:])
    return source


def choose_metric(surface, requested):
    names = [name for name in arrays(surface) if name not in NOT_METRICS and not name.endswith("_stderr")]
    if requested and requested not in names:
        raise SystemExit(f"unknown array {requested!r}: expected one of {', '.join(names)}")
    losses = [name for name in names if name.endswith("_loss")]
    return requested or field_value(surface, "metric") or next(iter(losses + names), None)


def finite(data, name):
    """Return the finite values of a point array at points that are done."""
    values = vtk_to_numpy(data.GetPointData().GetArray(name)).astype(float)
    status = data.GetPointData().GetArray("status")
    known = np.isfinite(values) & (vtk_to_numpy(status) == 1 if status is not None else True)
    return values[known]


def choose_scale(values, requested):
    """Choose a scale like the library: log if all values are positive and span more than a factor of ten."""
    positive = values.min() > 0
    if requested == "log" and not positive:
        raise SystemExit(f"a log scale needs positive values, the smallest is {values.min():g}")
    return requested if requested != "auto" else "log" if positive and values.max() > 10 * values.min() else "linear"


def rounded_levels(low, high, count, logarithmic):
    """Return round values between the ends: 1, 2, 5 (or decades) on a log scale, even steps on a linear one."""
    if logarithmic:
        decades = math.log10(high / low)
        per_decade = [1.0] if decades >= count else [1.0, 3.0] if 2 * decades >= count else [1.0, 2.0, 5.0]
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        values = [m * 10.0**k for k in range(first, last + 1) for m in per_decade]
        if len([v for v in values if low < v < high]) >= 4:
            return [v for v in values if low < v < high]
    step = 10.0 ** math.floor(math.log10((high - low) / count))
    step *= next(m for m in (1, 2, 5, 10) if m * step * count >= high - low)
    return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1) if low < k * step < high]


class HeightMap:
    """The map from values to heights: ``z = factor * (s - origin)``, where ``s`` is the value on the scale."""

    def __init__(self, data, metric, scale, low, high):
        self.metric, self.kind = metric, field_value(data, "scale") or scale
        self.linthresh = field_value(data, "linthresh") or 1.0
        self.factor, self.origin = field_value(data, "height_factor"), field_value(data, "height_origin")
        x0, x1, y0, y1, z0, z1 = data.GetBounds()
        self.is_raised = z1 > z0
        if not self.is_raised:
            self.kind = scale
            bottom, top = self.transform(low), self.transform(high)
            self.factor = RELIEF_HEIGHT * builtins.max(x1 - x0, y1 - y0) / ((top - bottom) or 1.0)
            self.origin = bottom

    def transform(self, value):
        if self.kind == "log":
            return math.log10(value)
        return math.asinh(value / self.linthresh) / math.log(10) if self.kind == "symlog" else value

    def z(self, value):
        return self.factor * (self.transform(value) - self.origin)

    @property
    def expression(self):
        scaled = f"log10({self.metric})" if self.kind == "log" else self.metric
        return f"{self.factor!r}*({scaled}-({self.origin!r}))"


def raise_surface(source, heights, low, high, status):
    """Return the raised surface, and the flat surface with heights (None if the file is already raised)."""
    # Cells without four known corners are holes and are removed here, because not every filter respects blanking.
    known = between(source, heights.metric, low, high)
    if status:
        known = between(known, "status", 1, 1)
    if heights.is_raised:
        return known, None
    calculator = simple.Calculator(registrationName="heights", Input=known)
    calculator.ResultArrayName, calculator.Function = "height", heights.expression
    return warp(calculator, "raised"), calculator


def warp(source, name):
    warped = simple.WarpByScalar(registrationName=name, Input=source)
    warped.Scalars = ["POINTS", "height"]
    warped.Normal, warped.UseNormal = [0.0, 0.0, 1.0], 1
    return warped


def between(source, name, low, high):
    """Return the cells whose points are all between two values, NaN excluded. ParaView 5.10 renamed the properties."""
    threshold = simple.Threshold(registrationName=f"known {name}", Input=source)
    threshold.Scalars = ["POINTS", name]
    if hasattr(threshold, "LowerThreshold"):
        threshold.LowerThreshold, threshold.UpperThreshold = low, high
        threshold.ThresholdMethod = "Between"
    else:
        threshold.ThresholdRange = [low, high]
    threshold.AllScalars = 1
    return threshold


def colour_by(display, metric, scale, low, high, view):
    simple.ColorBy(display, ("POINTS", metric))
    table = simple.GetColorTransferFunction(metric)
    table.ApplyPreset("Viridis (matplotlib)", True)
    table.RescaleTransferFunction(low, high)
    if scale == "log":
        table.MapControlPointsToLogSpace()
        table.UseLogScale = 1
    bar = simple.GetScalarBar(table, view)
    bar.Title, bar.ComponentTitle = metric.replace("_", " "), ""
    bar.TitleColor = bar.LabelColor = [0.1, 0.1, 0.1]
    display.SetScalarBarVisibility(view, True)


def show_plain(source, colour, view):
    """Show a source in one colour; return its display."""
    display = simple.Show(source, view)
    display.ColorArrayName = ["POINTS", ""]
    display.AmbientColor = display.DiffuseColor = colour
    return display


def add_path(source, flat, colour, size, view):
    """Draw a path as a tube on the surface; a flat path takes the heights of the flat surface below it."""
    if flat is not None:
        source = simple.ResampleWithDataset(SourceDataArrays=flat, DestinationMesh=source)
        source = warp(source, None)
    up = simple.Transform(Input=source)
    up.Transform.Translate = [0.0, 0.0, size]
    tube = simple.Tube(Input=up)  # around the lines only; checkpoints are vertices
    tube.Radius, tube.NumberofSides = size, 16
    show_plain(tube, colour, view)


def place_camera(view, points, bounds):
    """Look down from one side, with high ground behind and everything in view."""
    middle = [(bounds[2 * k] + bounds[2 * k + 1]) / 2 for k in range(3)]
    around = points - points.mean(axis=0)

    def height_in_front(azimuth):
        x, y = math.cos(math.radians(azimuth)), math.sin(math.radians(azimuth))
        return float((around[:, 2] * (x * around[:, 0] + y * around[:, 1])).sum())

    azimuth, elevation = math.radians(sorted((-60, 30, 120, -150), key=height_in_front)[0]), math.radians(38)
    cosine, sine = math.cos(azimuth), math.sin(azimuth)
    back = np.array([cosine * math.cos(elevation), sine * math.cos(elevation), math.sin(elevation)])
    right = np.array([-sine, cosine, 0.0])
    across, along, up = (points - middle) @ right, (points - middle) @ back, (points - middle) @ np.cross(back, right)
    # ResetCamera fits a bounding sphere, which leaves wide margins: the nearest camera that sees every point is taken.
    width, height = view.ViewSize
    half = 0.93 * math.tan(math.radians(ANGLE / 2))
    distance = float((along + np.maximum(np.abs(up), np.abs(across) * height / width) / half).max())
    view.CameraFocalPoint = middle
    view.CameraPosition = [float(m + distance * b) for m, b in zip(middle, back)]  # noqa: B905 - older Pythons
    view.CameraViewUp, view.CameraViewAngle = [0.0, 0.0, 1.0], ANGLE


def table_as_mesh(source):
    """Return the points of a table (.csv), triangulated in the plane."""
    points = simple.TableToPoints(registrationName="points", Input=source)
    points.XColumn, points.YColumn, points.a2DPoints, points.KeepAllDataArrays = "x", "y", 1, 1
    return simple.Delaunay2D(registrationName="grid", Input=points)


def surfaces_and_paths(source):
    """Yield each surface and path of a source: its data, a filter with it alone, and whether it is a path."""
    if servermanager.Fetch(source).IsA("vtkTable"):
        source = table_as_mesh(source)
    for index, data in enumerate(leaves(servermanager.Fetch(source))):
        if data.GetNumberOfPoints():
            path = "step" in arrays(data)
            yield data, extract_leaf(source, index, f"path {index}" if path else "surface"), path


def add_contours(shell, heights, levels, above, view):
    """Draw contour lines, above the surface by a little, so that it does not hide them."""
    # Contours are computed from the drawn height, which is linear on the scale between points, not in the values.
    calculator = simple.Calculator(registrationName="height of lines", Input=shell)
    calculator.ResultArrayName, calculator.Function = "z", "coordsZ"
    lines = simple.Contour(registrationName="contours", Input=calculator)
    lines.ContourBy = ["POINTS", "z"]
    lines.Isosurfaces = [heights.z(level) for level in levels]
    raised = simple.Transform(Input=lines)
    raised.Transform.Translate = [0.0, 0.0, above]
    show_plain(raised, [0.05, 0.05, 0.05], view).LineWidth = 2.0


def show_surface(data, source, options, view):
    """Draw a surface, raised and coloured, with contour lines; return it, and the flat surface with heights."""
    metric = choose_metric(data, options.metric)
    if metric is None:  # a mesh without arrays: .obj, .stl, .glb
        if data.GetPointData().HasArray("COLOR_0"):  # in glTF y points up, and points have colours
            source = simple.Transform(Input=source)
            source.Transform.Rotate = [90.0, 0.0, 0.0]
            display = simple.Show(source, view)
            display.ColorArrayName, display.MapScalars = ["POINTS", "COLOR_0"], 0
        else:
            simple.Show(source, view)
        return source, None
    values = finite(data, metric)
    low, high = float(values.min()), float(values.max())
    scale = choose_scale(values, options.scale)
    heights = HeightMap(data, metric, scale, low, high)
    mesh, flat = raise_surface(source, heights, low, high, "status" in arrays(data))
    surface = simple.ExtractSurface(registrationName="shell", Input=mesh)
    shell = simple.GenerateSurfaceNormals(registrationName="smooth", Input=surface)
    colour_by(simple.Show(shell, view), metric, scale, low, high, view)
    if heights.factor is not None and metric == (field_value(data, "metric") or metric):
        levels = rounded_levels(low, high, options.levels, heights.kind == "log")
        add_contours(shell, heights, levels, 0.002 * builtins.max(*map(math.fabs, data.GetBounds()[:4])), view)
    return shell, flat


def main():
    options = parse_options()
    source = simple.GetActiveSource()
    if options.file:
        source = open_file(os.path.abspath(options.file))
        stem = os.path.splitext(os.path.abspath(options.file))[0]
    elif source is None:
        raise SystemExit("expected a file: name one, open and select one, or set LANDSCAPE_FILE")
    else:
        stem = os.path.join(os.path.expanduser("~"), "surface")
    view = simple.GetActiveViewOrCreate("RenderView")
    width, height = (int(part) for part in options.size.lower().split("x"))
    view.ViewSize = [width, height]
    view.UseColorPaletteForBackground = 0
    view.Background = [1.0, 1.0, 1.0]
    view.OrientationAxesVisibility = 0

    found = list(surfaces_and_paths(source))
    if not [path for _, _, path in found if path]:
        for file in sorted(glob.glob(glob.escape(stem) + "_*.vtp")):
            found += [piece for piece in surfaces_and_paths(open_file(file)) if piece[2]]
    if not found:
        raise SystemExit("expected a surface or a path in the file, found neither")
    shown = [show_surface(data, pick, options, view) for data, pick, path in found if not path]
    ground, flat = shown[0] if shown else (found[0][1], None)
    ground.UpdatePipeline()
    mesh = servermanager.Fetch(ground)
    bounds = mesh.GetBounds()
    size = 0.006 * builtins.max(bounds[1] - bounds[0], bounds[3] - bounds[2])
    for k, (_, pick, _) in enumerate(piece for piece in found if piece[2]):
        add_path(pick, flat, PATH_COLOURS[k % len(PATH_COLOURS)], size, view)
    simple.Hide(source, view)
    place_camera(view, vtk_to_numpy(mesh.GetPoints().GetData()), bounds)
    simple.Render(view)
    out = options.out or stem + ".png"
    simple.SaveScreenshot(out, view, ImageResolution=[width, height])
    state = os.path.splitext(out)[0] + ".pvsm"
    simple.SaveState(state)
    print(f"{out}, {state}: saved")


main()
