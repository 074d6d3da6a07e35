"""A stage built in VTK: filled once, then seen from any side, with its paths whole or as far as they have come."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import to_hex, to_rgb, to_rgba

from landscape.render.height_field import point_at, until
from landscape.render.scenes import actors, layout
from landscape.render.scenes.camera import Camera
from landscape.render.scenes.composition import Composition
from landscape.render.scenes.frame import Marks, frame_lines
from landscape.render.scenes.mesh import refinement, relief_mesh
from landscape.render.scenes.panel import GAP, ScenePanel, ScenePath
from landscape.render.scenes.vtk_modules import vtkActor, vtkRenderer


class VTKScene:
    """One panel of a scene without its texts.

    Attributes:
        renderer: what VTK draws.
    """

    def __init__(self, composition: Composition, stage: ScenePanel, marks: Marks, camera: Camera) -> None:
        self._composition, self._stage, self._marks = composition, stage, marks
        self._thinnest = actors.thinnest(camera, composition.plan.panel_size)
        self._frame: vtkActor | None = None
        self._paths: list[vtkActor] = []
        self._elevation: float | None = None
        self.renderer = vtkRenderer()
        self.renderer.SetBackground(to_rgba(composition.background)[:3])
        self.renderer.SetBackgroundAlpha(0.0 if composition.transparent else 1.0)
        for part in self._still_parts():
            self.renderer.AddActor(part)
        self.look(camera)

    def _still_parts(self) -> list[vtkActor]:
        """Whatever does not depend on camera and step."""
        stage, scale = self._stage, self._composition.scale
        low, high = map(float, scale.transform([scale.vmin, scale.vmax]))
        # A line at the very edge would fight with the rim for the same pixels.
        slack = 2e-3 * (high - low)
        heights = (scale.transform(values) for values in (self._composition.lines, self._marks.heights))
        fine, bold = (h[(h > low + slack) & (h < high - slack)] for h in heights)
        table = actors.lookup_table(self._composition.colours, low, high)
        mesh = relief_mesh(stage.relief, stage.box, refine=refinement(stage.relief))
        mesh = actors.clipped(mesh, stage.relief.cut)
        square = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
        plate = np.column_stack([square, np.full(4, -GAP - 0.002)])
        return [
            actors.relief_actor(mesh, table),
            actors.rim_actor(mesh, self._thinnest),
            *actors.contour_actors(mesh, fine, bold, self._thinnest),
            actors.plate_actor(plate, floor_colour(self._composition.background)),
            *actors.floor_actors(mesh, -GAP, np.union1d(fine, bold), table, self._thinnest),
        ]

    def look(self, camera: Camera) -> None:
        """See it with ``camera``: the walls are behind, and the light comes along."""
        if self._frame is not None:
            self.renderer.RemoveActor(self._frame)
        lines = frame_lines(self._stage, camera, self._composition.scale, self._marks)
        self._frame = actors.line_actor(lines, thinnest=self._thinnest)
        self.renderer.AddActor(self._frame)
        if camera.elevation != self._elevation:
            self.renderer.RemoveAllLights()
            actors.add_lights(self.renderer, camera)
            self._elevation = camera.elevation
        view = self.renderer.GetActiveCamera()
        view.SetPosition(*camera.position)
        view.SetFocalPoint(*camera.focal)
        view.SetViewUp(*camera.axes[1])
        view.SetViewAngle(camera.angle)
        self.renderer.ResetCameraClippingRange()

    def show_paths(self, moments: Sequence[float | None] | None = None) -> None:
        """Show the paths up to ``moments``, one for each (None: nothing of it yet); by default all of them whole."""
        for part in self._paths:
            self.renderer.RemoveActor(part)
        self._paths = []
        if moments is None:
            moments = [len(path.trajectory) - 1.0 for path in self._stage.paths]
        for path, t in zip(self._stage.paths, moments, strict=True):
            if t is not None:
                self._paths += _path_parts(self._stage, path, t, self._composition.end, self._thinnest)
        for part in self._paths:
            self.renderer.AddActor(part)
        self.renderer.ResetCameraClippingRange()


def floor_colour(background: str) -> str:
    """A shade off the background, towards that of the texts."""
    ground, ink = np.array(to_rgb(background)), np.array(to_rgb(layout.ink(background)))
    return to_hex(ground + 0.045 * (ink - ground))


def ball_at(stage: ScenePanel, path: ScenePath, t: float) -> np.ndarray | None:
    """Position ``(3,)`` of the sphere at the end of a path that has come to ``t``; None where it is not over ground."""
    point = point_at(path.pieces, t)
    return None if point is None else stage.positions(point[None], 0.6 * actors.END)[0]


def _path_parts(stage: ScenePanel, path: ScenePath, t: float, end: str, thinnest: float) -> list[vtkActor]:
    """A path up to ``t`` on its relief, and flat on the floor."""
    reached = [piece for piece in (until(piece, t) for piece in path.pieces) if piece is not None]
    pieces = [stage.positions(piece.points, actors.TUBE) for piece in reached]
    checkpoints = [p[piece.t == np.round(piece.t)] for p, piece in zip(pieces, reached, strict=True)]
    spheres = ((ball_at(stage, path, 0.0), actors.START_COLOUR), (ball_at(stage, path, t), end))
    marks = [(position, colour) for position, colour in spheres if position is not None]
    # Lifted along the normal it would lie beside its place where the ground is steep.
    flat = [stage.positions(piece.points, 0.0)[:, :2] for piece in reached if len(piece.points) > 1]
    shadow = [np.column_stack([line, np.full(len(line), -GAP)]) for line in flat]
    parts = actors.path_actors(pieces, np.concatenate([*checkpoints, np.empty((0, 3))]), marks, path.colour)
    return [*parts, actors.line_actor(shadow, 2.4, path.colour, thinnest)] if shadow else parts
