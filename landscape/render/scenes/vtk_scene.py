"""One panel of a scene in VTK: built once, then seen from any side, with its paths complete or partly drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import to_hex, to_rgb, to_rgba

from landscape.render.scenes import actors
from landscape.render.scenes.axes import AxisTicks, box_lines
from landscape.render.scenes.camera import TOP_VIEW, Camera
from landscape.render.scenes.composition import Composition
from landscape.render.scenes.layout import ink
from landscape.render.scenes.mesh import clip_mesh, surface_mesh
from landscape.render.scenes.panel import ScenePanel
from landscape.render.scenes.paths import all_path_actors, marker_position
from landscape.render.scenes.vtk_rendering import vtkActor, vtkRenderer


class VTKScene:
    """One panel of a scene without its text.

    Args:
        composition: scene that the panel belongs to.
        panel: panel to build.
        ticks: ticks of the axes.
        camera: first camera.

    Attributes:
        renderer: VTK renderer with actors, lights and camera.
    """

    def __init__(self, composition: Composition, panel: ScenePanel, ticks: AxisTicks, camera: Camera) -> None:
        self._composition, self._panel, self._ticks = composition, panel, ticks
        self._min_radius = actors.min_line_radius(camera, composition.layout.panel_size)
        self._box: vtkActor | None = None
        self._upper: vtkActor | None = None
        self._paths: list[vtkActor] = []
        self._markers: list[tuple[np.ndarray, bool, str]] = []
        self._marker_actors: list[vtkActor] = []
        self._camera = camera
        self._elevation: float | None = None
        self.renderer = vtkRenderer()
        self.renderer.SetBackground(to_rgba(composition.options.background)[:3])
        self.renderer.SetBackgroundAlpha(0.0 if composition.options.transparent else 1.0)
        for actor in self._static_actors():
            self.renderer.AddActor(actor)
        self.set_camera(camera)

    def _static_actors(self) -> list[vtkActor]:
        """Return the actors that depend neither on the camera nor on the step."""
        panel, scale = self._panel, self._composition.scale
        low, high = map(float, scale.transform([scale.vmin, scale.vmax]))
        # A contour line at the very edge would compete with the dark edge line for the same pixels.
        slack = 2e-3 * (high - low)
        heights = (scale.transform(values) for values in (self._composition.contours, self._ticks.heights))
        fine, bold = (h[(h > low + slack) & (h < high - slack)] for h in heights)
        table = actors.lookup_table(self._composition.colour_map, low, high)
        mesh = clip_mesh(surface_mesh(panel.field, panel.box), panel.field.cut)
        upper, lower = actors.surface_actors(mesh, self._composition.colour_map, low, high)
        self._upper = upper
        drawn = [
            upper,
            lower,
            actors.edge_actor(mesh, self._min_radius),
            *actors.contour_actors(mesh, fine, bold, self._min_radius),
        ]
        if not panel.gap:
            return drawn
        square = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
        plate = np.column_stack([square, np.full(4, -panel.gap - 0.002)])
        return [
            *drawn,
            actors.plate_actor(plate, floor_colour(self._composition.options.background)),
            *actors.floor_actors(mesh, -panel.gap, np.union1d(fine, bold), table, self._min_radius),
        ]

    def set_camera(self, camera: Camera) -> None:
        """Show the panel from ``camera``; the walls stay behind the surface, and the lights follow the camera."""
        options = self._composition.options
        if self._box is not None:
            self.renderer.RemoveActor(self._box)
        if options.axes:
            lines = box_lines(self._panel, camera, self._composition.scale, self._ticks)
            self._box = actors.line_actor(lines, min_radius=self._min_radius)
            self.renderer.AddActor(self._box)
        if camera.elevation != self._elevation:
            # From above, shades would be taken for values: the colours are those of the colour bar.
            light = options.light if camera.elevation < TOP_VIEW else "flat"
            if self._upper is not None:
                actors.set_lit(self._upper, light != "flat")
            self.renderer.RemoveAllLights()
            actors.add_lights(self.renderer, camera, light)
            self._elevation = camera.elevation
        self._camera = camera
        self._face_camera()
        view = self.renderer.GetActiveCamera()
        view.SetPosition(*camera.position)
        view.SetFocalPoint(*camera.focal)
        view.SetViewUp(*camera.axes[1])
        view.SetViewAngle(camera.angle)
        view.SetWindowCenter(-camera.centre[0], -camera.centre[1])
        self.renderer.ResetCameraClippingRange()

    def show_paths(self, parameters: Sequence[float | None] | None = None) -> None:
        """Show the paths up to the given path parameters.

        Args:
            parameters: one parameter per path, None for a path that has not begun; by default all paths are complete.
        """
        for actor in self._paths:
            self.renderer.RemoveActor(actor)
        self._paths, self._markers = [], []
        if parameters is None:
            parameters = [len(path.trajectory) - 1.0 for path in self._panel.paths]
        options = self._composition.options
        self._paths = all_path_actors(
            self._panel, parameters, options.distance, self._min_radius, bool(self._panel.gap)
        )
        for path, t in zip(self._panel.paths, parameters, strict=True):
            if t is not None:
                ends = ((marker_position(self._panel, path, at), at > 0) for at in (0.0, t))
                self._markers += [(position, end, path.colour) for position, end in ends if position is not None]
        for actor in self._paths:
            self.renderer.AddActor(actor)
        self._face_camera()
        self.renderer.ResetCameraClippingRange()

    def _face_camera(self) -> None:
        """Turn the markers of starts and ends, which are flat, towards the camera."""
        for actor in self._marker_actors:
            self.renderer.RemoveActor(actor)
        self._marker_actors = [
            actor for marker in self._markers for actor in actors.marker_actors(*marker, camera=self._camera)
        ]
        for actor in self._marker_actors:
            self.renderer.AddActor(actor)


def floor_colour(background: str) -> str:
    """Return the colour of the floor: the background's, shifted slightly towards that of the text."""
    ground, text = np.array(to_rgb(background)), np.array(to_rgb(ink(background)))
    red, green, blue = ground + 0.045 * (text - ground)
    return to_hex((red, green, blue))
