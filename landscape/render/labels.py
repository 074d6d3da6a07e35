"""Text of axis labels and legends: names of directions and of optimizers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from landscape.geometry.recipe import DirectionRecipe, describe_patterns

if TYPE_CHECKING:
    from landscape.surface.surface import Surface

_METHODS = {
    "sgd": "SGD", "adagrad": "AdaGrad", "rmsprop": "RMSprop", "adam": "Adam", "amsgrad": "AMSGrad", "adamw": "AdamW",
    "radam": "RAdam", "nadam": "NAdam", "adamax": "AdaMax", "adadelta": "AdaDelta", "sadam": "SAdam",
    "samsgrad": "SAMSGrad", "lbfgs": "L-BFGS", "asgd": "ASGD",
}  # fmt: skip


_USUAL_FILES = ("model.safetensors", "pytorch_model.bin", "adapter_model.", "diffusion_pytorch_model.")
_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".tar", ".h5", ".t7")
_FUNCTIONS, _LONGEST_FORMULA = "sin|cos|tan|exp|log|sinh|cosh|tanh", 40
_FILTER_NORMALIZED, _OF_VARIANCE = "filter-normalized ", " of the variance"


def short_axis_labels(surfaces: Sequence[Surface]) -> tuple[tuple[str, str], str]:
    """Return labels of the x and y axes of a few characters, and a note with what they leave out; it may be empty."""
    x, y = axis_labels(surfaces)
    note = ""
    if x.startswith(_FILTER_NORMALIZED) and y.startswith(_FILTER_NORMALIZED):
        x, y = x.removeprefix(_FILTER_NORMALIZED), y.removeprefix(_FILTER_NORMALIZED)
        note = f"{_FILTER_NORMALIZED.strip()} directions"
    elif _OF_VARIANCE in x + y:
        x, y = x.replace(_OF_VARIANCE, ""), y.replace(_OF_VARIANCE, "")
        note = "PC: principal component (% of the variance)"
    return (x, y), note


def short_depth_label(surfaces: Sequence[Surface]) -> str:
    """Return the label of the third axis of volumes, of a few characters; ``direction 3`` where they differ."""
    for with_variance in (True, False):
        labels = {_axis_label(surface, 2, with_variance) for surface in surfaces}
        if len(labels) == 1:
            return labels.pop().removeprefix(_FILTER_NORMALIZED).replace(_OF_VARIANCE, "")
    return "direction 3"


def axis_labels(surfaces: Sequence[Surface]) -> tuple[str, str]:
    """Return labels of the x and y axes from the directions' recipes.

    Where the surfaces differ in the variance that their principal components hold, the labels leave it out; where they
    differ in more than that, the labels are ``direction 1`` and ``direction 2``.
    """
    for with_variance in (True, False):
        labels = {
            (_axis_label(surface, 0, with_variance), _axis_label(surface, 1, with_variance)) for surface in surfaces
        }
        if len(labels) == 1:
            return labels.pop()
    return "direction 1", "direction 2"


def _axis_label(surface: Surface, axis: int, with_variance: bool) -> str:
    recipes = surface.metadata.recipes
    recipe = recipes[axis] if axis < len(recipes) else DirectionRecipe()
    if len(surface.coordinates) == 1 and recipe.axis is not None:
        axis = recipe.axis  # a curve may be a column of a plane
    if recipe.kind == "pca" or recipe.explained_variance_ratio is not None:
        ratio = recipe.explained_variance_ratio if with_variance else None
        return f"PC {axis + 1}" + (f" ({ratio:.0%}{_OF_VARIANCE})" if ratio else "")
    if recipe.kind == "hessian" and recipe.eigenvalue is not None:
        return rf"eigenvector {_signed(recipe.eigenvector)} ($\lambda$ = {_signed(float(f'{recipe.eigenvalue:.3g}'))})"
    if recipe.kind == "difference":
        ends = end_names(surface, axis)
        return f"from {ends[0]} (0) to {ends[1]} (1)" if ends else f"difference {axis + 1}"
    if recipe.kind == "merged":
        return f"merged update of {source_name(recipe.to)}" if recipe.to else "merged update"
    if recipe.kind == "random" and recipe.normalization == "filter":
        return f"{_FILTER_NORMALIZED}direction {axis + 1}"
    return f"direction {axis + 1}"


def source_name(path: str) -> str:
    """Return a short name of a run, or of a checkpoint of any program: a file of a usual name has that of its folder.

    The weights under a key of a checkpoint (``last.ckpt::ema``) have the key in parentheses.
    """
    file, _, key = path.partition("::")
    named = Path(file)
    if named.name.startswith(_USUAL_FILES):
        named = named.parent
    if named.parent.name == "checkpoints":  # of a run
        named = named.parent.parent
    name = named.stem if named.suffix in _SUFFIXES else named.name
    return f"{run_label(name)} ({key})" if key else run_label(name)


def plane_notes(surface: Surface) -> tuple[str, ...]:
    """Return notes on what moves in a surface's plane, if only part of it does, and on what is where in it.

    The ends of lines are named at their axis.
    """
    metadata, notes = surface.metadata, []
    patterns = describe_patterns(metadata.recipes)
    if patterns:
        notes.append(f"moving {patterns}" if metadata.moving is None else f"moving {metadata.moving}: {patterns}")
    if len(surface.coordinates) == 1:
        return tuple(notes)
    kinds = [recipe.kind for recipe in metadata.recipes]
    name = source_name(metadata.checkpoint.path) if metadata.checkpoint is not None else ""
    if "merged" in kinds and metadata.recipes[kinds.index("merged")].to is None:
        notes.append(f"origin: without adapters, {'xyz'[kinds.index('merged')]} = 1: {name or 'adapter'} merged")
    elif name and ("merged" in kinds or "difference" in kinds):
        notes.append(f"origin: {name}")
    return tuple(notes)


def end_names(surface: Surface, axis: int = 0) -> tuple[str, str] | None:
    """Return the names of the checkpoints at 0 and 1 of an axis between two; None for another direction.

    Args:
        surface: the surface.
        axis: number of the axis, 0 for x.
    """
    recipes, origin = surface.metadata.recipes, surface.metadata.checkpoint
    recipe = recipes[axis] if axis < len(recipes) else DirectionRecipe()
    start = "origin" if origin is None else source_name(origin.path)
    if recipe.kind == "merged":
        if not recipe.to:  # the adapter of the network itself
            return "without adapters", f"{'adapter' if origin is None else start} merged"
        return start, f"{source_name(recipe.to)} merged"
    if recipe.kind != "difference" or not recipe.to:
        return None
    if origin is None:
        return start, source_name(recipe.to)
    # A run is named like its directory, two checkpoints of one run by their steps, equal files by their directories.
    paths = Path(origin.path), Path(recipe.to)
    candidates = (
        (start, source_name(recipe.to)),
        (paths[0].stem, paths[1].stem),
        (f"{paths[0].parent.name}/{paths[0].stem}", f"{paths[1].parent.name}/{paths[1].stem}"),
    )
    return next((names for names in candidates if names[0] != names[1]), ("origin", candidates[0][1]))


def run_label(name: str) -> str:
    """Return the name of a run as figures write it: that of an optimizer in its usual spelling, any other as it is."""
    return _METHODS.get(name, name)


def _signed(number: float | None) -> str:
    """Return a number with a minus sign instead of a hyphen."""
    return f"{number:g}".replace("-", "\N{MINUS SIGN}")


def formula_title(surface: Surface) -> str:
    """Return the formula of a function as mathematics; empty if it is unknown or too long for a title."""
    formula = str((surface.metadata.other or {}).get("formula", ""))
    if not formula or len(formula) > _LONGEST_FORMULA or ":" in formula:
        return ""
    text = re.sub(rf"\b({_FUNCTIONS})\(([a-z])\)", r"\\\1 \2", formula.replace("**", "^"))
    text = re.sub(rf"(?<!\\)\b({_FUNCTIONS})\b", r"\\\1", text)
    text = re.sub(r"\^(\w+)", r"^{\1}", text).replace("*", r"\,")
    return f"{surface.metrics[0].rstrip('$')} = {text}$"


class _Optimizer(Protocol):
    """An optimizer by name, with its arguments."""

    @property
    def name(self) -> str: ...

    @property
    def arguments(self) -> Mapping[str, Any]: ...


def optimizer_labels(optimizers: Sequence[_Optimizer]) -> list[str]:
    """Return a legend entry for each optimizer: the usual name, the learning rate, and what else tells them apart.

    Args:
        optimizers: name and arguments of each, as returned by ``landscape.training.optimizers.describe``.
    """
    labels = [_optimizer_label(optimizer.name, optimizer.arguments) for optimizer in optimizers]
    entries = []
    for label, optimizer in zip(labels, optimizers, strict=True):
        same = [other.arguments for other, its in zip(optimizers, labels, strict=True) if its == label]
        arguments = optimizer.arguments
        telling = [key for key in arguments if any(other.get(key) != arguments[key] for other in same)]
        entries.append(", ".join([label, *(f"{key} {_short(arguments[key])}" for key in telling)]))
    return entries


def _optimizer_label(name: str, arguments: Mapping[str, Any]) -> str:
    method = _METHODS.get(name, name.rpartition(":")[2])
    if name == "sgd" and arguments.get("momentum"):
        method = "Nesterov" if arguments.get("nesterov") else "momentum"
    rate = arguments.get("lr")
    return f"{method}, lr {rate:g}" if isinstance(rate, int | float) else method


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
