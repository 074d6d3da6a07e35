"""What is fixed about a surface before its first point is computed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.errors import StoreError

if TYPE_CHECKING:
    from landscape.geometry.plane import Plane, PlaneFamily


@dataclass(frozen=True)
class Header:
    """Grid, names, settings and plane of a surface.

    Attributes:
        coordinates: the axes' coordinates, x first, evenly spaced, each ``(n,)`` float64.
        metrics: names of the datasets, in the order in which points bring their values.
        settings: everything on which the values depend (model, digests, normalization, dtype ...), plain JSON values.
            A file made with other settings is not resumed.
        provenance: what else a reader may want to know (command line, versions, host), plain JSON values.
        plane: origin and directions, stored with the values; the planes of several seeds, whose last coordinate is the
            seed; None for values that come from elsewhere.
        interpolated: whether not all points are to be measured, so that there is room for interpolated values.
    """

    coordinates: tuple[np.ndarray, ...]
    metrics: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    plane: Plane | PlaneFamily | None = None
    interpolated: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of every grid dataset: ``(nx,)``, ``(ny, nx)`` or ``(nz, ny, nx)``."""
        return tuple(len(axis) for axis in reversed(self.coordinates))

    def require(self, stored: Mapping[str, Any], path: str) -> None:
        """Raise ``StoreError`` unless ``stored`` settings are these; the message names each that differs."""
        asked = json.loads(json.dumps(dict(self.settings)))
        differing = [key for key in {**stored, **asked} if stored.get(key) != asked.get(key)]
        if differing:
            raise StoreError(
                f"{path} was made with other settings: "
                + "; ".join(
                    f"{key} is {_brief(stored.get(key))} there, asked for {_brief(asked.get(key))}" for key in differing
                )
                + ". Name another --out, repeat the stored settings, or give --overwrite to start anew."
            )


def _brief(value: Any) -> str:
    """A setting's value in a message, with digests cut short."""
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1...", repr(value))
