"""A surface as an ``xarray.Dataset``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from landscape.errors import MissingLibraryError
from landscape.geometry.recipe import DirectionRecipe
from landscape.surface.descriptions import (
    EPOCH_ATTRIBUTES,
    SEED_ATTRIBUTES,
    STEP_ATTRIBUTES,
    array_attributes,
    axis_attributes,
)

if TYPE_CHECKING:
    import xarray

    from landscape.surface.surface import Surface


def to_dataset(surface: Surface) -> xarray.Dataset:
    """Return a surface as a data set; see :meth:`landscape.Surface.to_xarray`."""
    try:
        import xarray
    except ImportError as error:
        raise MissingLibraryError("to_xarray needs xarray: pip install 'landscape[notebook]'") from error
    recipes = surface.metadata.recipes
    coordinates: dict[str, tuple[str, Any, dict[str, str]]] = {}
    for k, (axis, values) in enumerate(zip("xyz", surface.coordinates, strict=False)):
        recipe = recipes[k] if k < len(recipes) else DirectionRecipe()
        coordinates[axis] = (axis, values, axis_attributes(recipe, k))
    if surface.members:
        coordinates.popitem()
        member, attributes = ("seed", SEED_ATTRIBUTES) if surface.seeds else ("step", STEP_ATTRIBUTES)
        coordinates[member] = (member, list(surface.members), attributes)
    dims = tuple(reversed(coordinates))
    if surface.metadata.checkpoints:
        epochs = [math.nan if one.epoch is None else one.epoch for one in surface.metadata.checkpoints]
        coordinates["epoch"] = ("step", epochs, EPOCH_ATTRIBUTES)
    names = (*surface.values, "status")
    arrays = {name: (dims, surface.metric(name), array_attributes(name, names)) for name in surface.values}
    for name, values in surface.estimates.items():
        words = array_attributes(name, ())
        arrays[f"{name}_interpolated"] = (dims, values, {**words, "long_name": f"interpolated {words['long_name']}"})
    status = (dims, surface.status, array_attributes("status", names))
    metadata = surface.metadata.to_attributes()
    about = {"name": surface.name, **{key: value for key, value in metadata.items() if value is not None}}
    return xarray.Dataset({**arrays, "status": status}, coords=coordinates, attrs=about)
