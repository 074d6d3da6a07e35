"""An export: options, and the surface and paths as arrays. Neither VTK nor matplotlib is loaded."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from landscape.geometry.trajectory import Trajectory
from landscape.render.height_field import Box, HeightField
from landscape.render.scale import Scale
from landscape.render.scenes.panel import shared_scale
from landscape.surface.surface import Surface

RELIEF_HEIGHT = 0.6
"""Height of an exported surface in units of the longer axis of its grid."""
PATH_ARRAYS = ("step", "epoch", "loss", "surface_loss", "distance", "displacement", "learning_rate")
"""Arrays of a trajectory that become point arrays of a path."""


@dataclass(frozen=True)
class ExportOptions:
    """Options of an export.

    Attributes:
        metric: metric that gives the heights, and that a page shows first; by default the first loss.
        scale: ``auto``, ``log``, ``linear``, ``symlog``, or a :class:`~landscape.render.scale.Scale`; a page takes a
            name only.
        clip: value above which ``.glb``, ``.obj``, ``.stl`` and ``.html`` are cut off; other formats keep all values.
        reduction: fraction of the triangles to remove in ``.glb``, ``.obj`` and ``.stl``.
        axis_labels: labels of the x and y axes of a page; by default those of the surfaces' directions.
        title: title of a page; by default the names of the surfaces.
    """

    metric: str | None = None
    scale: str | Scale = "auto"
    clip: float | None = None
    reduction: float = 0.0
    axis_labels: tuple[str, str] | None = None
    title: str | None = None


@dataclass(frozen=True)
class ExportJob:
    """A surface and its paths, to be written to a file.

    Attributes:
        path: name of the file.
        surface: surface to write.
        trajectories: trajectories on the surface.
        options: options of the export.
    """

    path: Path
    surface: Surface
    trajectories: Sequence[Trajectory]
    options: ExportOptions

    @property
    def metric(self) -> str:
        """Metric that gives the heights."""
        return self.options.metric or self.surface.metrics[0]

    @property
    def scale(self) -> Scale:
        """Scale of the heights and colours."""
        return shared_scale([self.surface], self.metric, self.options.scale, self.options.clip)

    def raised(self) -> tuple[HeightField, Box]:
        """Return the height field, and a box with true coordinates and a height in proportion to the longer axis."""
        scale = self.scale
        field = HeightField.from_surface(self.surface, self.metric, scale, self.options.clip)
        low, high = map(float, scale.transform([scale.vmin, scale.vmax]))
        extent = float(max(np.ptp(field.x), np.ptp(field.y)))
        return field, Box((0.0, 0.0, low), (1.0, 1.0, RELIEF_HEIGHT * extent / (high - low)))

    def flat(self) -> tuple[HeightField, Box]:
        """Return the grid itself, with every point at height 0."""
        x, y = (np.sort(np.asarray(axis, np.float64)) for axis in self.surface.coordinates[:2])
        return HeightField(x, y, np.zeros((len(y), len(x)))), Box((0.0, 0.0, 0.0), (1.0, 1.0, 0.0))

    def field_data(self, box: Box | None) -> dict[str, str | float]:
        """Return field data: name and provenance and, with a ``box``, how the heights are computed."""
        provenance = json.dumps(self.surface.metadata.to_json(), default=str, sort_keys=True)
        fields: dict[str, str | float] = {"name": self.surface.name, "provenance": provenance}
        if box is not None:
            scale = self.scale
            fields |= {"metric": self.metric, "scale": scale.kind}
            fields |= {"height_factor": box.factor[2], "height_origin": box.origin[2]}
            if scale.linthresh:
                fields["linthresh"] = scale.linthresh
        return fields

    def path_names(self) -> list[str]:
        """Return distinct file names for the paths, without suffix, derived from their own names."""
        names: list[str] = []
        for trajectory in self.trajectories:
            base = re.sub(r"[^\w.-]+", "-", trajectory.name).strip("-.") or "path"
            candidates = itertools.chain([base], (f"{base}-{k}" for k in itertools.count(2)))
            names.append(next(name for name in candidates if name not in names))
        return names


def point_arrays(surface: Surface) -> dict[str, np.ndarray]:
    """Return all metrics by name, and the status, in the shape of the surface."""
    return {**surface.values, "status": np.asarray(surface.status, np.uint8)}
