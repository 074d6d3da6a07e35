"""What stands in a scene: the relief, its contour lines, floor, walls and paths as VTK actors, and the lights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import Colormap, to_rgb

from landscape.render.scenes.camera import Camera
from landscape.render.scenes.mesh import HEIGHT, point_cloud, polylines
from landscape.render.scenes.vtk_modules import (
    vtk_to_numpy,
    vtkActor,
    vtkClipPolyData,
    vtkContourFilter,
    vtkFeatureEdges,
    vtkGlyph3D,
    vtkLight,
    vtkLookupTable,
    vtkPolyData,
    vtkPolyDataMapper,
    vtkRenderer,
    vtkSphereSource,
    vtkStripper,
    vtkTubeFilter,
)

TUBE = 0.0062
"""Radius of a path, where the base of the scene is 1 wide; the other radii are in proportion to it."""
END = 2.7 * TUBE
"""Radius of the spheres that mark start and end."""
_THINNEST = 1.1  # pixels
_CHECKPOINT = 1.55 * TUBE
_FINE, _BOLD, _RIM = 0.0010, 0.0019, 0.0016
_INK, _WALL = "#16181d", "#b9bec8"
START_COLOUR, END_COLOURS = "#ffffff", ("#ffd11a", "#35d6f0")
# Where from (right, up, towards the camera), colour and strength.
_LIGHTS = (
    ((-0.85, 0.75, 0.55), (1.0, 0.98, 0.94), 1.0),
    ((0.95, 0.15, 0.75), (0.92, 0.95, 1.0), 0.47),
    ((0.25, 0.90, -0.80), (1.0, 1.0, 1.0), 0.3),
)


@dataclass(frozen=True)
class Material:
    """How a surface answers light: portions of ambient, diffuse and specular, and the sharpness of the last."""

    ambient: float
    diffuse: float
    specular: float
    power: float


MATT = Material(0.18, 0.86, 0.10, 18)
GLOSSY = Material(0.22, 0.80, 0.35, 40)
FLAT = Material(1.0, 0.0, 0.0, 1)


def thinnest(camera: Camera, size: tuple[int, int]) -> float:
    """The radius of lines that are not lost between the pixels of a picture of ``size``."""
    return _THINNEST / 2 / camera.pixels_per_unit(size)


def clipped(mesh: vtkPolyData, cut: float) -> vtkPolyData:
    """The part of a relief's mesh up to the height ``cut``, with a clean edge there."""
    if not np.isfinite(cut):
        return mesh
    clip = vtkClipPolyData()
    clip.SetInputData(mesh)
    clip.SetValue(cut)
    clip.InsideOutOn()
    clip.Update()
    return clip.GetOutput()


def lookup_table(colours: Colormap, low: float, high: float) -> vtkLookupTable:
    """Colours evenly over heights from ``low`` to ``high``: what the colour bar shows over the scale."""
    table = vtkLookupTable()
    samples = colours(np.linspace(0, 1, 256))
    table.SetNumberOfTableValues(len(samples))
    for k, colour in enumerate(samples):
        table.SetTableValue(k, *map(float, colour[:3]), 1.0)
    table.SetRange(low, high)
    table.SetNanColor(0.5, 0.5, 0.5, 1.0)  # with alpha < 1 VTK would draw the whole actor as translucent
    table.Build()
    return table


def relief_actor(mesh: vtkPolyData, table: vtkLookupTable) -> vtkActor:
    """The relief, smoothly shaded and coloured by height."""
    mapper = vtkPolyDataMapper()
    mapper.SetInputData(mesh)
    mapper.SetLookupTable(table)
    mapper.UseLookupTableScalarRangeOn()
    mapper.InterpolateScalarsBeforeMappingOn()
    return _actor(mapper, MATT)


def contour_actors(mesh: vtkPolyData, levels: np.ndarray, bold: np.ndarray, thinnest: float = 0.0) -> list[vtkActor]:
    """Lines of equal height, of a radius of at least ``thinnest``: fine dark and, at ``bold``, bolder pale ones."""
    fine = [level for level in levels if not np.isclose(level, bold, rtol=0, atol=1e-9).any()]
    actors = []
    for heights, radius, colour in ((fine, max(_FINE, thinnest), _INK), (bold, max(_BOLD, 1.3 * thinnest), "#ffffff")):
        if len(heights):
            actors.append(_tube(contour_lines(mesh, heights), radius, colour, FLAT, sides=6))
    return actors


def contour_lines(mesh: vtkPolyData, heights: Sequence[float]) -> vtkPolyData:
    """Polylines of equal height on a relief's mesh, each point with its ``height``."""
    contour = vtkContourFilter()
    contour.SetInputData(mesh)
    contour.SetInputArrayToProcess(0, 0, 0, 0, HEIGHT)
    for k, height in enumerate(heights):
        contour.SetValue(k, float(height))
    strips = vtkStripper()
    strips.SetInputConnection(contour.GetOutputPort())
    strips.JoinContiguousSegmentsOn()
    strips.Update()
    return strips.GetOutput()


def rim_actor(mesh: vtkPolyData, thinnest: float = 0.0) -> vtkActor:
    """A dark line along every edge of the relief: the grid's, those of holes, and that of the cut."""
    edges = vtkFeatureEdges()
    edges.SetInputData(mesh)
    edges.BoundaryEdgesOn()
    edges.FeatureEdgesOff()
    edges.NonManifoldEdgesOff()
    edges.ManifoldEdgesOff()
    edges.ColoringOff()
    strips = vtkStripper()
    strips.SetInputConnection(edges.GetOutputPort())
    strips.JoinContiguousSegmentsOn()
    strips.Update()
    return _tube(strips.GetOutput(), max(_RIM, thinnest), _INK, FLAT, sides=6)


def floor_actors(
    mesh: vtkPolyData, floor: float, levels: np.ndarray, table: vtkLookupTable, thinnest: float = 0.0
) -> list[vtkActor]:
    """The contour lines once more, in their colours, on the plane ``z = floor``."""
    if not len(levels):
        return []
    lines = contour_lines(mesh, levels)
    vtk_to_numpy(lines.GetPoints().GetData())[:, 2] = floor
    mapper = vtkPolyDataMapper()
    mapper.SetInputData(tubes(lines, max(1.6 * _FINE, thinnest), sides=6))
    mapper.SetLookupTable(table)
    mapper.UseLookupTableScalarRangeOn()
    return [_actor(mapper, FLAT)]


def tubes(lines: vtkPolyData, radius: float, sides: int) -> vtkPolyData:
    """Closed tubes around polylines."""
    tube = vtkTubeFilter()
    tube.SetInputData(lines)
    tube.SetRadius(radius)
    tube.SetNumberOfSides(sides)
    tube.CappingOn()
    tube.Update()
    return tube.GetOutput()


def line_actor(lines: Sequence[np.ndarray], width: float = 1.0, colour: str = _WALL, thinnest: float = 0.0) -> vtkActor:
    """Unlit lines through the positions ``(m, 3)`` of each."""
    return _tube(polylines(lines), max(width * _FINE, thinnest), colour, FLAT, sides=6)


def plate_actor(corners: np.ndarray, colour: str) -> vtkActor:
    """An unlit plate with the corners ``(4, 3)``."""
    plate = polylines([corners])
    plate.SetPolys(plate.GetLines())
    plate.SetLines(None)
    mapper = vtkPolyDataMapper()
    mapper.SetInputData(plate)
    return _coloured(_actor(mapper, FLAT), colour)


def path_actors(
    pieces: Sequence[np.ndarray], checkpoints: np.ndarray, marks: Sequence[tuple[np.ndarray, str]], colour: str
) -> list[vtkActor]:
    """A path as tubes, its checkpoints as small spheres, and larger ones where it starts and ends.

    Args:
        pieces: positions ``(m, 3)`` of each stretch.
        checkpoints: positions ``(n, 3)``.
        marks: positions ``(3,)`` and colours of the larger spheres.
        colour: of tube and checkpoints.
    """
    lines = [piece for piece in pieces if len(piece) > 1]
    actors = [_tube(polylines(lines), TUBE, colour, GLOSSY, sides=20)] if lines else []
    if len(checkpoints):
        actors.append(_spheres(checkpoints, _CHECKPOINT, colour))
    return actors + [_spheres(position[None], END, mark) for position, mark in marks]


def end_colour(colours: Colormap, fractions: Sequence[float]) -> str:
    """The colour for ends that lie at these fractions of the colour map: gold, where that can be seen."""
    if not len(fractions):
        return END_COLOURS[0]
    ground = colours(np.asarray(fractions))[:, :3]
    return max(END_COLOURS, key=lambda name: float(np.linalg.norm(ground - to_rgb(name), axis=1).min()))


def add_lights(renderer: vtkRenderer, camera: Camera) -> None:
    """Three lights that move with the camera: a warm key from the upper left, a cool fill, and one from behind.

    They are as bright together as makes level ground show its colour as on the colour bar, from wherever it is seen.
    """
    right, up, back = camera.axes
    level = np.array([right[2], up[2], back[2]])
    shares = [strength * max(0.0, level @ np.array(at) / np.linalg.norm(at)) for at, _, strength in _LIGHTS]
    renderer.AutomaticLightCreationOff()
    for position, colour, strength in _LIGHTS:
        light = vtkLight()
        light.SetLightTypeToCameraLight()
        light.SetPosition(position)
        light.SetFocalPoint(0, 0, 0)
        light.SetColor(colour)
        light.SetIntensity(strength / sum(shares))
        renderer.AddLight(light)


def _spheres(positions: np.ndarray, radius: float, colour: str) -> vtkActor:
    source = vtkSphereSource()
    source.SetRadius(radius)
    source.SetThetaResolution(32)
    source.SetPhiResolution(24)
    glyph = vtkGlyph3D()
    glyph.SetInputData(point_cloud(positions))
    glyph.SetSourceConnection(source.GetOutputPort())
    glyph.ScalingOff()
    mapper = vtkPolyDataMapper()
    mapper.SetInputConnection(glyph.GetOutputPort())
    return _coloured(_actor(mapper, GLOSSY), colour)


def _tube(lines: vtkPolyData, radius: float, colour: str, material: Material, sides: int) -> vtkActor:
    mapper = vtkPolyDataMapper()
    mapper.SetInputData(tubes(lines, radius, sides))
    mapper.ScalarVisibilityOff()
    return _coloured(_actor(mapper, material), colour)


def _coloured(actor: vtkActor, colour: str) -> vtkActor:
    actor.GetProperty().SetColor(to_rgb(colour))
    return actor


def _actor(mapper: vtkPolyDataMapper, material: Material) -> vtkActor:
    actor = vtkActor()
    actor.SetMapper(mapper)
    look = actor.GetProperty()
    look.SetInterpolationToPhong()
    look.SetAmbient(material.ambient)
    look.SetDiffuse(material.diffuse)
    look.SetSpecular(material.specular)
    look.SetSpecularPower(material.power)
    if material is FLAT:
        look.LightingOff()
    return actor
