"""VTK actors of a scene (surface, contour lines, floor, walls, paths), their materials, and the lights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import Colormap, to_rgb

from landscape.render.scenes.camera import Camera
from landscape.render.scenes.mesh import contour_lines, edge_lines, polylines, tapered_tubes, tubes
from landscape.render.scenes.options import Light
from landscape.render.scenes.panel import TUBE_RADIUS
from landscape.render.scenes.path_names import MARKER_RADIUS, STAR_RADIUS
from landscape.render.scenes.vtk_rendering import vtkActor, vtkLight, vtkPolyDataMapper, vtkProperty, vtkRenderer
from landscape.render.style import REC_601, luminance
from landscape.render.vtk_data import (
    to_cells,
    to_points,
    vtk_to_numpy,
    vtkLookupTable,
    vtkPolyData,
    vtkSphereSource,
)

_STAR_INNER, _RIM = 0.42, 0.24 * MARKER_RADIUS
"""Inner radius of the star as a fraction of the outer one, and the width of a marker's rim."""
_RING_RADIUS = 2.0 * TUBE_RADIUS
_FINE, _BOLD, _EDGE = 0.0010, 0.0019, 0.0016
"""Radii of contour lines and edge lines."""
_MIN_WIDTH = 1.1
"""Width in pixels below which lines would be lost between the samples of an image."""
_INK, _WALL = "#16181d", "#b9bec8"
# Position (right, up, towards the camera), colour and intensity: a warm key light, a cool fill, and a back light.
_STUDIO = (
    ((-0.85, 0.75, 0.55), (1.0, 0.98, 0.94), 1.0),
    ((0.95, 0.15, 0.75), (0.92, 0.95, 1.0), 0.47),
    ((0.25, 0.90, -0.80), (1.0, 1.0, 1.0), 0.3),
)
_SIDE = (((-1.0, 0.35, 0.15), (1.0, 0.97, 0.90), 1.0), ((0.9, 0.6, 0.5), (0.85, 0.90, 1.0), 0.12))
_RIGS = {"studio": _STUDIO, "side": _SIDE, "flat": _STUDIO}


@dataclass(frozen=True)
class Material:
    """Reflection coefficients: ambient, diffuse and specular, and the exponent of the specular highlight."""

    ambient: float
    diffuse: float
    specular: float
    power: float


MATTE = Material(0.18, 0.86, 0.10, 18)
GLOSSY = Material(0.22, 0.80, 0.35, 40)
UNLIT = Material(1.0, 0.0, 0.0, 1)
_UNDERSIDE = Material(0.72, 0.22, 0.0, 1)
"""Undersides get no light from above: without ambient light they would be black."""
_VEIL = Material(0.45, 0.6, 0.2, 40)
"""Translucent surfaces are seen from inside, too, where little light comes from."""
_MUTED = 0.45
"""Share of grey in the colours of undersides, which tells them from the surface seen from above."""


def min_line_radius(camera: Camera, size: tuple[int, int]) -> float:
    """Return the smallest radius of lines that stay visible in an image of ``size`` pixels."""
    return _MIN_WIDTH / 2 / camera.pixels_per_unit(size)


def lookup_table(colour_map: Colormap, low: float, high: float, grey: float = 0.0) -> vtkLookupTable:
    """Return a lookup table that spreads a colour map over heights from ``low`` to ``high``, like the colour bar.

    Args:
        colour_map: colour map.
        low: height of the lowest colour.
        high: height of the highest colour.
        grey: share of grey that is mixed into the colours.
    """
    table = vtkLookupTable()
    samples = (1 - grey) * colour_map(np.linspace(0, 1, 256)) + grey * 0.5
    table.SetNumberOfTableValues(len(samples))
    for k, (red, green, blue, _) in enumerate(samples.tolist()):
        table.SetTableValue(k, red, green, blue, 1.0)
    table.SetRange(low, high)
    table.SetNanColor(0.5, 0.5, 0.5, 1.0)  # with alpha < 1 VTK would draw the whole actor translucent
    table.Build()
    return table


def surface_actors(mesh: vtkPolyData, colour_map: Colormap, low: float, high: float) -> tuple[vtkActor, vtkActor]:
    """Return the upper and the lower side of the surface, smoothly shaded and coloured by height.

    Args:
        mesh: the surface.
        colour_map: colour map over the heights.
        low: height of the lowest colour.
        high: height of the highest colour.
    """
    sides = []
    for grey, material in ((0.0, MATTE), (_MUTED, _UNDERSIDE)):
        mapper = vtkPolyDataMapper()
        mapper.SetInputData(mesh)
        mapper.SetLookupTable(lookup_table(colour_map, low, high, grey))
        mapper.UseLookupTableScalarRangeOn()
        mapper.InterpolateScalarsBeforeMappingOn()
        sides.append(_actor(mapper, material))
    upper, lower = sides
    upper.GetProperty().BackfaceCullingOn()
    lower.GetProperty().FrontfaceCullingOn()
    return upper, lower


def set_lit(upper: vtkActor, lit: bool) -> None:
    """Shade the upper side of a surface, or give it the very colours of the colour bar."""
    _apply(upper.GetProperty(), MATTE if lit else UNLIT)


def contour_actors(mesh: vtkPolyData, levels: np.ndarray, bold: np.ndarray, min_radius: float = 0.0) -> list[vtkActor]:
    """Return contour lines of at least ``min_radius``: thin dark ones at ``levels``, thicker white ones at ``bold``."""
    fine = [level for level in levels if not np.isclose(level, bold, rtol=0, atol=1e-9).any()]
    actors = []
    for heights, radius, colour in (
        (fine, max(_FINE, min_radius), _INK),
        (bold, max(_BOLD, 1.3 * min_radius), "#ffffff"),
    ):
        if len(heights):
            actors.append(_tube(contour_lines(mesh, heights), radius, colour, UNLIT, sides=6))
    return actors


def edge_actor(mesh: vtkPolyData, min_radius: float = 0.0) -> vtkActor:
    """Return a dark line along every edge of the surface: those of the grid, of holes and of the cut."""
    return _tube(edge_lines(mesh), max(_EDGE, min_radius), _INK, UNLIT, sides=6)


def floor_actors(
    mesh: vtkPolyData, floor: float, levels: np.ndarray, table: vtkLookupTable, min_radius: float = 0.0
) -> list[vtkActor]:
    """Return the contour lines in their own colours, projected onto the plane ``z = floor``."""
    if not len(levels):
        return []
    lines = contour_lines(mesh, levels)
    vtk_to_numpy(lines.GetPoints().GetData())[:, 2] = floor
    mapper = vtkPolyDataMapper()
    mapper.SetInputData(tubes(lines, max(1.6 * _FINE, min_radius), sides=6))
    mapper.SetLookupTable(table)
    mapper.UseLookupTableScalarRangeOn()
    return [_actor(mapper, UNLIT)]


def line_actor(
    lines: Sequence[np.ndarray], width: float = 1.0, colour: str = _WALL, min_radius: float = 0.0
) -> vtkActor:
    """Return unlit polylines through positions ``(m, 3)``; ``width`` is a multiple of the thinnest contour line."""
    return _tube(polylines(lines), max(width * _FINE, min_radius), colour, UNLIT, sides=6)


def plate_actor(corners: np.ndarray, colour: str) -> vtkActor:
    """Return an unlit quadrilateral with the corners ``(4, 3)``."""
    plate = polylines([corners])
    plate.SetPolys(plate.GetLines())
    plate.SetLines(None)  # type: ignore[arg-type]  # accepts None, unlike its annotation
    mapper = vtkPolyDataMapper()
    mapper.SetInputData(plate)
    return _coloured(_actor(mapper, UNLIT), colour)


def path_actors(
    parts: Sequence[tuple[np.ndarray, np.ndarray]], rings: Sequence[np.ndarray], colour: str
) -> list[vtkActor]:
    """Return a path as tubes, with thin rings at checkpoints.

    Args:
        parts: positions ``(m, 3)`` and radii ``(m,)`` of each contiguous part.
        rings: axis ``(2, 3)`` of each ring.
        colour: colour of tubes and rings.
    """
    drawn = []
    if parts:
        mesh = tapered_tubes(polylines([line for line, _ in parts]), np.concatenate([r for _, r in parts]), sides=20)
        drawn.append(_plain(mesh, colour, GLOSSY))
    if rings:
        drawn.append(_tube(polylines(rings), _RING_RADIUS, colour, GLOSSY, sides=20))
    return drawn


def sphere_actor(position: np.ndarray, radius: float, colour: str) -> vtkActor:
    """Return a sphere around a position ``(3,)``."""
    source = vtkSphereSource()
    source.SetRadius(radius)
    source.SetCenter(*position)
    source.SetThetaResolution(32)
    source.SetPhiResolution(24)
    source.Update()
    return _plain(source.GetOutput(), colour, GLOSSY)


def marker_actors(position: np.ndarray, end: bool, colour: str, camera: Camera) -> list[vtkActor]:
    """Return the marker of the start (a white disc) or the end (a star) of a path, flat and facing the camera.

    They look like those of plots: a start has a rim in the colour of its path, and an end has its colour.

    Args:
        position: position ``(3,)`` of the marker's centre.
        end: True for the end of the path.
        colour: colour of the path.
        camera: camera that the marker faces.
    """
    rim = rim_colour(colour)
    right, up, back = camera.axes
    angles = np.pi / 2 + np.linspace(0, 2 * np.pi, 10 if end else 40, endpoint=False)
    radii = np.where(np.arange(10) % 2, _STAR_INNER, 1.0) * STAR_RADIUS if end else np.full(40, MARKER_RADIUS)
    # A rim of equal width: the corners of a star are farther out than its sides.
    wider = 1 + _RIM * (2.0 if end else 1.0) / radii.max()
    actors = []
    # In front of the surface that the path lies on, or half of the marker would be inside a slope.
    for scale, shade, lift in ((wider, rim if end else colour, 1.0), (1.0, colour if end else rim, 1.1)):
        around = np.cos(angles)[:, None] * right + np.sin(angles)[:, None] * up
        corners = position + lift * MARKER_RADIUS * back + scale * radii[:, None] * around
        actors.append(_fan(position + lift * MARKER_RADIUS * back, corners, shade))
    return actors


def rim_colour(colour: str) -> str:
    """Return the colour of the rim around a marker or a name: white, or dark around a light colour."""
    return _INK if luminance(np.array(to_rgb(colour)), REC_601) > 0.9 else "#ffffff"


def add_lights(renderer: vtkRenderer, camera: Camera, light: Light = "studio") -> None:
    """Add lights that move with the camera: a warm key light from the upper left, a cool fill, and a back light.

    Their intensities are normalized so that level ground has the colours of the colour bar, whatever the view.
    """
    right, up, back = camera.axes
    level = np.array([right[2], up[2], back[2]])
    on_level_ground = [
        strength * max(0.0, float(level @ np.array(at) / np.linalg.norm(at))) for at, _, strength in _RIGS[light]
    ]
    renderer.AutomaticLightCreationOff()
    for position, colour, strength in _RIGS[light]:
        lamp = vtkLight()
        lamp.SetLightTypeToCameraLight()
        lamp.SetPosition(position)
        lamp.SetFocalPoint(0, 0, 0)
        lamp.SetColor(colour)
        lamp.SetIntensity(strength / max(sum(on_level_ground), 0.25))
        renderer.AddLight(lamp)


def translucent_actor(mesh: vtkPolyData, colour: tuple[float, float, float], opacity: float) -> vtkActor:
    """Return a shaded, translucent surface of one colour, lit from both sides."""
    mapper = vtkPolyDataMapper()
    mapper.SetInputData(mesh)
    mapper.ScalarVisibilityOff()
    actor = _actor(mapper, _VEIL)
    actor.GetProperty().SetColor(*colour)
    actor.GetProperty().SetOpacity(opacity)
    return actor


def ball_actor(position: np.ndarray, radius: float, colour: str) -> vtkActor:
    """Return a ball at a position ``(3,)``."""
    source = vtkSphereSource()
    source.SetCenter(*map(float, position))
    source.SetRadius(radius)
    source.SetThetaResolution(32)
    source.SetPhiResolution(24)
    mapper = vtkPolyDataMapper()
    mapper.SetInputConnection(source.GetOutputPort())
    return _coloured(_actor(mapper, GLOSSY), colour)


def _fan(centre: np.ndarray, corners: np.ndarray, colour: str) -> vtkActor:
    """Return an unlit polygon with corners ``(n, 3)``, each of which is visible from its centre."""
    number = np.arange(1, len(corners) + 1)
    triangles = np.stack([np.zeros_like(number), number, np.roll(number, -1)], -1)
    mesh = vtkPolyData()
    mesh.SetPoints(to_points(np.vstack([centre, corners])))
    mesh.SetPolys(to_cells(triangles.ravel(), np.arange(0, triangles.size + 1, 3)))
    mapper = vtkPolyDataMapper()
    mapper.SetInputData(mesh)
    return _coloured(_actor(mapper, UNLIT), colour)


def _tube(lines: vtkPolyData, radius: float, colour: str, material: Material, sides: int) -> vtkActor:
    return _plain(tubes(lines, radius, sides), colour, material)


def _plain(mesh: vtkPolyData, colour: str, material: Material) -> vtkActor:
    """Return a mesh in one colour."""
    mapper = vtkPolyDataMapper()
    mapper.SetInputData(mesh)
    mapper.ScalarVisibilityOff()
    return _coloured(_actor(mapper, material), colour)


def _coloured(actor: vtkActor, colour: str) -> vtkActor:
    actor.GetProperty().SetColor(*to_rgb(colour))
    return actor


def _actor(mapper: vtkPolyDataMapper, material: Material) -> vtkActor:
    actor = vtkActor()
    actor.SetMapper(mapper)
    actor.GetProperty().SetInterpolationToPhong()
    _apply(actor.GetProperty(), material)
    return actor


def _apply(look: vtkProperty, material: Material) -> None:
    look.SetAmbient(material.ambient)
    look.SetDiffuse(material.diffuse)
    look.SetSpecular(material.specular)
    look.SetSpecularPower(material.power)
    look.SetLighting(material is not UNLIT)
