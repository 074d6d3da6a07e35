"""Volumes in VTK: nested translucent isosurfaces, and the lowest point inside of them."""

from __future__ import annotations

import numpy as np

from landscape.render.scenes import actors
from landscape.render.scenes.axes import AxisTicks
from landscape.render.scenes.camera import Camera
from landscape.render.scenes.composition import Composition
from landscape.render.scenes.panel import ScenePanel
from landscape.render.scenes.volume import MINIMUM_COLOUR, VolumePanel
from landscape.render.scenes.vtk_rendering import vtkActor
from landscape.render.scenes.vtk_scene import VTKScene, floor_colour
from landscape.render.vtk_data import to_array, vtkContourFilter, vtkImageData, vtkPolyData

_OPACITIES, _AROUND_PATHS = (0.08, 0.55), (0.06, 0.3)
"""Opacity of the outermost and of the innermost isosurface, and where paths go through them."""
_BALL = 0.02
"""Radius of the lowest point, over a base of 1 by 1."""


def new_scene(composition: Composition, panel: ScenePanel, ticks: AxisTicks, camera: Camera) -> VTKScene:
    """Return the scene of a panel: of a surface, or of a volume."""
    kind = VolumeScene if isinstance(panel, VolumePanel) else VTKScene
    return kind(composition, panel, ticks, camera)


def volume_image(panel: VolumePanel) -> vtkImageData:
    """Return the values of a volume on a regular grid in the scene."""
    nz, ny, nx = panel.values.shape
    image = vtkImageData()
    image.SetDimensions(nx, ny, nz)
    image.SetOrigin(-0.5, -0.5, 0.0)
    image.SetSpacing(1 / (nx - 1), 1 / (ny - 1), panel.height / (nz - 1))
    image.GetPointData().SetScalars(to_array("height", np.ascontiguousarray(panel.values, np.float64).ravel()))
    return image


def isosurface(image: vtkImageData, height: float) -> vtkPolyData:
    """Return the surface of one height, with normals along the gradient."""
    contour = vtkContourFilter()
    contour.SetInputData(image)
    contour.SetValue(0, height)
    contour.ComputeNormalsOn()
    contour.ComputeScalarsOff()
    contour.Update()
    mesh: vtkPolyData = contour.GetOutput()
    return mesh


class VolumeScene(VTKScene):
    """One volume of a scene without its text."""

    def _static_actors(self) -> list[vtkActor]:
        panel, composition = self._panel, self._composition
        assert isinstance(panel, VolumePanel)
        scale = composition.bar_scale or composition.scale
        low, high = map(float, scale.transform([scale.vmin, scale.vmax]))
        image = volume_image(panel)
        # Most volumes rise from the inside out: the innermost surface is the lowest.
        outer, inner = _AROUND_PATHS if panel.paths else _OPACITIES
        opacities = np.geomspace(inner, outer, len(panel.levels))
        drawn = []
        for height, opacity in zip(panel.levels.tolist(), opacities.tolist(), strict=True):
            mesh = isosurface(image, height)
            if mesh.GetNumberOfPoints():
                red, green, blue, _ = composition.colour_map((height - low) / (high - low))
                drawn.append(actors.translucent_actor(mesh, (red, green, blue), opacity))
        drawn.append(actors.ball_actor(panel.lowest, _BALL, MINIMUM_COLOUR))
        if not panel.gap:
            return drawn
        square = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
        plate = np.column_stack([square, np.full(4, -panel.gap - 0.002)])
        return [*drawn, actors.plate_actor(plate, floor_colour(composition.options.background))]
