"""Words for the arrays of a surface and for a surface as a whole, as netCDF files and notebooks show them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape._utils.text import counted, printable
from landscape.geometry.recipe import DirectionRecipe

if TYPE_CHECKING:
    from landscape.surface.surface import Surface

_KINDS = ("line", "plane", "volume")
_SPLITS = {"train": "training", "val": "validation", "plane": "in-plane"}
_METRICS = {
    "acc": "accuracy", "top1": "top-1", "top5": "top-5", "f1": "F1", "r2": "R²", "iou": "IoU", "miou": "mIoU",
    "ap": "AP", "auc": "AUC", "auroc": "AUROC", "roc": "ROC", "mse": "MSE", "rmse": "RMSE", "mae": "MAE", "nll": "NLL",
    "kl": "KL", "ece": "ECE", "mcc": "MCC", "psnr": "PSNR", "ssim": "SSIM", "bleu": "BLEU", "wer": "WER", "cer": "CER",
}  # fmt: skip
"""Parts of a measure's name that are written otherwise in words."""
_FIXED = {
    "status": "status of the point",
    "seconds": "time spent on the point",
    "min_eig": "smallest Hessian eigenvalue",
    "max_eig": "largest Hessian eigenvalue",
    "eig_ratio": "absolute ratio of the smallest to the largest Hessian eigenvalue",
    "gradient_norm": "gradient norm",
    "gradient_share": "share of the gradient within the plane",
    "hessian_products": "products with the Hessian",
}
_STATISTICS = {
    "_paired_stderr": "paired standard error of",
    "_stderr": "standard error of",
    "_std": "standard deviation of",
    "_median": "median",
    "_min": "minimum",
    "_max": "maximum",
    "_residual": "residual of",
}
_ERRORS = ("_stderr", "_paired_stderr", "_residual")


def long_name(name: str) -> str:
    """Return a dataset's name in words: "training loss" for ``train_loss``."""
    if name in _FIXED:
        return _FIXED[name]
    for suffix, words in _STATISTICS.items():
        if name.endswith(suffix):
            return f"{words} {long_name(name.removesuffix(suffix))}"
    split, separator, measure = name.partition("_")
    if not separator:
        return _METRICS.get(name, name)
    return " ".join([_SPLITS.get(split, split), *(_METRICS.get(part, part) for part in measure.split("_"))])


def array_attributes(name: str, names: Collection[str]) -> dict[str, Any]:
    """Return attributes of a dataset by the CF conventions: name in words, unit, and the datasets with its errors.

    Args:
        name: name of the dataset.
        names: names of all datasets of the surface.
    """
    attributes: dict[str, Any] = {"long_name": long_name(name)}
    if name == "seconds":
        attributes["units"] = "s"
    elif "acc" in name.split("_"):
        attributes["units"] = "%"
    elif name == "status":
        attributes |= {"flag_values": np.arange(4, dtype=np.uint8), "flag_meanings": "pending done failed stopped"}
    errors = [name + suffix for suffix in _ERRORS if name + suffix in names]
    if errors:
        attributes["ancillary_variables"] = " ".join(errors)
    return attributes


def axis_attributes(recipe: DirectionRecipe, axis: int) -> dict[str, str]:
    """Return attributes of the coordinates along a direction, which are multiples of it."""
    number = axis + 1
    words = f"direction {number}"
    if recipe.kind == "random":
        scaled = f", {recipe.normalization}-normalized" if recipe.normalization not in (None, "none") else ""
        words = f"random direction {number}{scaled}"
    elif recipe.kind == "pca" or recipe.explained_variance_ratio is not None:
        ratio = recipe.explained_variance_ratio
        words = f"principal component {number}" + (f", {ratio:.1%} of the variance" if ratio is not None else "")
    elif recipe.kind == "hessian" and recipe.eigenvector is not None:
        words = f"eigenvector {recipe.eigenvector} of the Hessian"
    elif recipe.kind == "difference":
        words = f"direction to {printable(recipe.to)}" if recipe.to else f"difference {number}"
    return {"long_name": f"coordinate along {words}", "units": "1"}


SEED_ATTRIBUTES = {"long_name": "seed of the random directions"}
STEP_ATTRIBUTES = {"long_name": "optimizer step of the checkpoint at the centre"}
EPOCH_ATTRIBUTES = {"long_name": "epoch of the checkpoint at the centre"}


def describe_surface(surface: Surface) -> str:
    """Return a surface in one line: its kind and shape, metrics with the range of the loss, progress and origin."""
    axes = surface.coordinates[:-1] if surface.members else surface.coordinates
    grid = " x ".join(str(len(axis)) for axis in axes)
    ranges = ", ".join(f"{name} {axis[0]:g} to {axis[-1]:g}" for name, axis in zip("xyz", axes, strict=False))
    kind = _KINDS[len(axes) - 1] if axes else "point"
    members = counted(len(surface.members), "seed" if surface.seeds else "checkpoint")
    parts = [f"{kind} of {grid} points{f' for {members}' if surface.members else ''}, {ranges}"]
    if surface.metrics:
        values = surface.metric()
        known = values[np.isfinite(values)]
        first, *others = map(printable, surface.metrics)
        span = f" {known.min():.4g} to {known.max():.4g}" if known.size else ""
        parts.append(", ".join([first + span, *others]))
    done = int((surface.status == 1).sum())
    parts.append("complete" if done == surface.status.size else f"{done:,} of {surface.status.size:,} points done")
    parts += _origin(surface)
    name = f" {printable(surface.name)!r}" if surface.name else ""
    return f"<Surface{name}: {'; '.join(parts)}>"


def _origin(surface: Surface) -> list[str]:
    """Return where the weights at the origin come from, as far as it is known."""
    checkpoint, problem = surface.metadata.checkpoint, surface.metadata.problem or {}
    if checkpoint is not None and checkpoint.path:
        step = "" if checkpoint.step is None else f" (step {checkpoint.step})"
        # Paths are absolute in files; the name of the run is enough here.
        return [f"around {printable('/'.join(PurePath(checkpoint.path).parts[-3:]))}{step}"]
    model = problem.get("model") or problem.get("factory")
    return [f"of {printable(str(model))}"] if model else []
