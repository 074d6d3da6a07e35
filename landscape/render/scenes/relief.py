"""A panel of a film through training: its surface at every moment, interpolated between checkpoints. Arrays only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from landscape.geometry.trajectory import Trajectory
from landscape.render.height_field import HeightField, PathHeight, drape
from landscape.render.scale import Scale
from landscape.render.scenes.panel import ScenePanel, ScenePath
from landscape.render.through import paths_from
from landscape.surface.surface import Surface


@dataclass(frozen=True)
class Relief:
    """A surface that changes through training, in one box and on one scale.

    Attributes:
        surface: the surface through training.
        steps: steps of the checkpoints that are drawn, ascending.
        keyframes: panel of each of these checkpoints.
        trajectories: paths in the plane of the reference.
        scale: scale of the heights.
        interpolate: True for a surface between two checkpoints that is interpolated, linearly in the step and on the
            scale; otherwise each checkpoint stays until the next one.
    """

    surface: Surface
    steps: Sequence[int]
    keyframes: Sequence[ScenePanel]
    trajectories: Sequence[Trajectory]
    scale: Scale
    interpolate: bool = True

    def at(self, step: float) -> ScenePanel:
        """Return the panel at a step, with the paths up to there; before the first checkpoint, and after the last, its.

        A hole of either neighbour is a hole between them.
        """
        step = float(np.clip(step, self.steps[0], self.steps[-1]))
        k = int(np.searchsorted(self.steps, step, side="right")) - 1
        before = self.keyframes[k]
        if not self.interpolate or step == self.steps[k]:
            return before
        after, u = self.keyframes[k + 1], (step - self.steps[k]) / (self.steps[k + 1] - self.steps[k])
        field = replace(before.field, heights=(1 - u) * before.field.heights + u * after.field.heights)
        return replace(before, field=field, paths=self._paths(field, step))

    def _paths(self, field: HeightField, step: float) -> list[ScenePath]:
        colours = {path.trajectory.name: path.colour for panel in self.keyframes for path in panel.paths}
        height: PathHeight = "surface" if self.keyframes[0].draped else "loss"
        return [
            ScenePath(path, colours[path.name], drape(field, path, height, self.scale))
            for path in paths_from(self.surface, step, self.trajectories)
            if path.name in colours
        ]
