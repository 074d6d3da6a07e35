"""Parts of pages: arrays, texts and provenance as JSON."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from landscape.surface.surface import DONE, Surface

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_BN = {"checkpoint": "statistics of the checkpoint", "recalibrate": "statistics re-estimated at each point"}
PATH_ARRAYS = ("step", "epoch", "loss", "surface_loss", "distance", "learning_rate")
"""Arrays of a trajectory that pages show."""


def plain_text(text: str) -> str:
    r"""Return a label with mathtext as plain text: ``$3\times10^{-5}$`` becomes ``3×10⁻⁵``."""
    if "$" not in text:
        return text
    for command, character in (
        (r"\times", "×"),
        (r"\lambda", "λ"),
        (r"\,", " "),
        (r"_{\min}", "ₘᵢₙ"),
        (r"_{\max}", "ₘₐₓ"),
    ):
        text = text.replace(command, character)
    parts = text.replace("$", "").split("^{")
    rest = (part.partition("}") for part in parts[1:])
    return parts[0] + "".join(power.translate(_SUPERSCRIPTS) + after for power, _, after in rest)


def provenance_rows(surface: Surface) -> list[tuple[str, str]]:
    """Return the origin of a surface in words: rows of a name and a text, without those that are unknown."""
    metadata = surface.metadata
    rows: list[tuple[str, object]] = []
    settings = metadata.settings
    problem: Mapping[str, Any] = metadata.problem or (settings.problem if settings else None) or metadata.other
    rows += [(name.capitalize(), problem.get(name)) for name in ("model", "dataset")]
    if settings:
        rows += [("Samples", ", ".join(f"{count:,} {split}" for split, count in settings.samples.items()))]
    if checkpoint := metadata.checkpoint:
        rows += [("Checkpoint", checkpoint.path), ("Step", checkpoint.step), ("Epoch", checkpoint.epoch)]
    if settings:
        rows += [(f"{axis} direction", text) for axis, text in zip("xyz", settings.axes_are, strict=False)]
        rows += [("Batch norm", _BN.get(settings.bn, settings.bn))]
        rows += [("Precision", f"{settings.dtype} on {settings.device}")]
    done = int((surface.status == DONE).sum())
    grid = " × ".join(str(len(axis)) for axis in surface.coordinates)
    rows += [("Grid", f"{grid} points, {done:,} measured")]
    times = [time[:16].replace("T", " ") for time in (metadata.started, metadata.finished) if time]
    rows += [("Computed", " to ".join(times) + " UTC" * bool(times))]
    if metadata.environment:
        packages = metadata.environment.packages
        rows += [("Command", metadata.environment.command)]
        rows += [("Versions", ", ".join(f"{name} {version}" for name, version in packages.items() if version))]
    return [
        (name, f"{value:g}" if isinstance(value, float) else str(value))
        for name, value in rows
        if value not in (None, "")
    ]


def pack(array: np.ndarray) -> dict[str, Any]:
    """Return an array as its type, shape and base64 of its little-endian bytes."""
    array = np.ascontiguousarray(array)
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    data = base64.b64encode(array.tobytes()).decode("ascii")
    return {"dtype": array.dtype.str[1:], "shape": list(array.shape), "data": data}


def to_json(value: object) -> object:
    """Return ``value`` without NaN and infinity, which JSON does not allow."""
    if isinstance(value, Mapping):
        return {str(key): to_json(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(part) for part in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
