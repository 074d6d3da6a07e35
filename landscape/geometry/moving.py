"""The parameters that a plane moves: their number, and those that it cannot move since they are zero."""

from __future__ import annotations

from collections.abc import Sequence

from landscape.geometry.direction import matching_names
from landscape.geometry.normalization import ignored_names
from landscape.geometry.plane import Plane
from landscape.geometry.recipe import TRAINABLE, MovingCount

_TO_SIZE_OF_WEIGHTS = ("filter", "layer", "weight")
"""Normalizations with which a tensor of zeros gets a direction of zeros."""
_FACTOR = "lora_"
"""Beginning of the names of LoRA's factors, one of each pair being zero before training."""
_LISTED = 3


def count_moving(plane: Plane) -> MovingCount:
    """Return the number of parameters in the tensors that any direction of a plane moves."""
    moving = parameters = 0
    for name, tensor in plane.origin:
        if name in plane.origin.buffers:
            continue
        parameters += tensor.numel()
        if any(bool(direction.weights.tensors[name].any()) for direction in plane.directions):
            moving += tensor.numel()
    return MovingCount(moving, parameters)


def unmoved_zeros(plane: Plane) -> tuple[str, ...]:
    """Return the names of tensors that could move, but stay, since they are zero throughout at the origin.

    A random direction that is normalized to the size of the weights is zero there. Tensors that another direction of
    the plane moves are left out, and so are those that patterns and ``ignore`` exclude.
    """
    found: set[str] = set()
    for direction in plane.directions:
        recipe = direction.recipe
        if recipe.kind != "random" or recipe.normalization not in _TO_SIZE_OF_WEIGHTS:
            continue
        patterns = recipe.only or (), recipe.freeze or ()
        if plane.origin.trainable is None and any(TRAINABLE in each for each in patterns):
            continue  # a plane that doesn't say which parameters these were
        moving = matching_names(plane.origin, *patterns)
        found |= moving - ignored_names(plane.origin, recipe.ignore or "none") - plane.origin.buffers
    return tuple(
        name
        for name, tensor in plane.origin
        if name in found
        and tensor.numel()
        and not tensor.any()
        and not any(direction.weights.tensors[name].any() for direction in plane.directions)
    )


def zeros_remark(names: Sequence[str]) -> str:
    """Return what it means that these tensors stay at zero, and what to do; empty if there are none.

    Args:
        names: tensors, as :func:`unmoved_zeros` returns them.
    """
    if not names:
        return ""
    those = "1 tensor that is" if len(names) == 1 else f"{len(names)} tensors that are"
    listed = ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
    text = (
        f"{those} zero at the origin cannot move, since random directions are scaled to the size of the weights "
        f"({listed})"
    )
    if all(any(part.startswith(_FACTOR) for part in name.split(".")) for name in names):
        text += (
            ". The product of LoRA's factors is then zero everywhere: the adapter, as it is before training, has no "
            "effect on the surface. Train it first, or use the normalization 'unit-layer' or 'none'; a plane of merged "
            "weights moves what the factors cannot"
        )
    else:
        text += ". The normalization 'unit-layer' or 'none' moves them, too"
    return text
