"""Curves over one direction, and the paths along them, as data of a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from landscape.geometry.trajectory import Trajectory
from landscape.render.exports.job import ExportOptions
from landscape.render.exports.page_parts import pack, plain_text, provenance_rows, to_json
from landscape.render.labels import axis_labels, end_names, plane_notes
from landscape.render.missing import stopped_note
from landscape.render.scale import SCALE_KINDS, Scale, metric_scale
from landscape.render.scenes.panel import Trajectories, path_colours, trajectories_per_panel
from landscape.render.style import CURVE_COLOURS, TRAJECTORY_COLOURS, path_indices
from landscape.render.ticks import metric_label
from landscape.surface.surface import DONE, FAILED, INTERPOLATED, PENDING, STOPPED, Surface

_ON_DARK = {"#0072b2": "#56a9e8", "#d55e00": "#f0803c", "#009e73": "#2cc79a", "#000000": "#ffffff"}
"""Lighter colours of curves, for a dark page."""
_PATH_ARRAYS = ("step", "epoch", "loss")


def is_curve(surface: Surface) -> bool:
    """Return True for a surface of one axis, also over several seeds."""
    return len(surface.coordinates) - bool(surface.seeds) == 1


def curves_data(surfaces: Sequence[Surface], trajectories: Trajectories, options: ExportOptions) -> dict[str, Any]:
    """Return the data of a page of curves, on common axes; each seed of a surface over several is a curve.

    Metrics are grouped by what they measure, so that training and test loss are shown together.

    Raises:
        ValueError: no surface has such a metric, or there is nothing to draw.
    """
    groups = trajectories_per_panel(trajectories, len(surfaces))
    curves, paths = [], []
    for surface, group in zip(surfaces, groups, strict=True):
        seeds = [replace(surface.for_seed(seed), name=f"seed {seed}") for seed in surface.seeds]
        curves += seeds or [surface]
        paths += [group] * len(seeds or [surface])
    names = list(dict.fromkeys(name for curve in curves for name in curve.metrics))
    first = options.metric or (names[0] if names else "")
    if first not in names:
        raise ValueError(f"expected a metric of the curves, got {first!r}; they have {', '.join(names) or 'none'}")
    measures: dict[str, list[str]] = {}
    for name in names:
        measures.setdefault(_measure(name), []).append(name)
    grouped: dict[str, Any] = {}
    for measure, members in measures.items():
        is_first = first in members
        scales = _scales(curves, members, options, is_first=is_first)
        if scales is not None:
            label = metric_label(members[0]) if len(members) == 1 else metric_label(measure)
            best = "highest" if "acc" in measure.split("_") else "lowest"
            about = {"label": plain_text(label), "names": members, "best": best, "isLoss": measure == "loss"}
            grouped[measure] = about | {"scale": scales[0], "scales": scales[1]}
    titles = list(dict.fromkeys(curve.name for curve in curves if curve.name))
    ends = {end_names(curve) for curve in curves}
    label = options.axis_labels[0] if options.axis_labels else axis_labels(curves)[0]
    common = ends.pop() if len(ends) == 1 else None
    return {
        "title": options.title or " · ".join(titles) or "curve",
        "heading": options.title or (curves[0].name if len(curves) == 1 else ""),
        "label": "interpolation coefficient" if common and not options.axis_labels else plain_text(label),
        "ends": common,
        "metric": _measure(first),
        "metrics": {name: _described(name) for name in names},
        "groups": grouped,
        "notes": _notes(curves),
        "panels": [_curve(k, *pair) for k, pair in enumerate(zip(curves, paths, strict=True))],
    }


def _measure(name: str) -> str:
    """Return what a metric measures, without the split: ``loss`` for ``train_loss``."""
    return name.partition("_")[2] or name


def _described(name: str) -> dict[str, str]:
    label = plain_text(metric_label(name))
    return {"label": label, "split": label.split(" ")[0]}


def _scales(
    curves: Sequence[Surface], names: Sequence[str], options: ExportOptions, *, is_first: bool
) -> tuple[str, dict[str, Any]] | None:
    """Return the default kind of scale of metrics on common axes, and each kind; None if there is nothing to draw.

    The options are for the metrics that are shown first.
    """
    requested, clip = (options.scale, options.clip) if is_first else ("auto", None)
    if isinstance(requested, Scale):
        raise TypeError(f"a page draws several kinds of scale: expected the name of the first one, got {requested}")
    values = [
        curve.metric(name)[np.isin(curve.status, (DONE, INTERPOLATED))]
        for curve in curves
        for name in names
        if name in curve.values
    ]
    try:
        default = metric_scale(names[0], values, requested, vmax=clip).kind
    except ValueError:
        if is_first:
            raise
        return None
    known = np.concatenate(values)
    positive = bool(np.all(known[np.isfinite(known)] > 0))
    kinds = {default, "linear", "log" if positive else "symlog"}
    label = metric_label(_measure(names[0])).removesuffix(" (%)")
    scales = {kind: metric_scale(names[0], values, kind, vmax=clip) for kind in SCALE_KINDS if kind in kinds}
    return default, {kind: _scale(scale, label) for kind, scale in scales.items()}


def _scale(scale: Scale, label: str) -> dict[str, Any]:
    ticks = scale.ticks(6)
    low, high = map(float, scale.transform([scale.vmin, scale.vmax]))
    return {
        "kind": scale.kind,
        "linthresh": scale.linthresh,
        "low": low,
        "high": high,
        "isCut": scale.vmax < scale.highest,
        "ticks": [float(height) for height in scale.transform(ticks)],
        "texts": [plain_text(text) for text in scale.labels(ticks)],
        "notes": [plain_text(note) for note in (scale.note(label),) if note],
    }


def _notes(curves: Sequence[Surface]) -> list[str]:
    """Return remarks on points without a value, and on what moves along the line."""
    notes = list(dict.fromkeys(note for curve in curves for note in plane_notes(curve)))
    notes += dict.fromkeys(stopped_note(curve) for curve in curves if (curve.status == STOPPED).any())
    status = np.concatenate([curve.status for curve in curves])
    for code, text in ((PENDING, "not computed"), (FAILED, "failed"), (INTERPOLATED, "interpolated")):
        if count := int((status == code).sum()):
            notes.append(f"{count} of {status.size} points {text}")
    first = curves[0].metrics[0]
    values = np.concatenate([curve.metric(first)[curve.status == DONE] for curve in curves if first in curve.values])
    if count := int((~np.isfinite(values)).sum()):
        notes.append(f"{count} of {status.size} points not finite")
    return [plain_text(note) for note in notes]


def _curve(number: int, curve: Surface, paths: Sequence[Trajectory]) -> dict[str, Any]:
    order = np.argsort(curve.x)
    known = np.isin(curve.status, (DONE, INTERPOLATED))
    names = [*curve.metrics, *(f"{name}_stderr" for name in curve.metrics if f"{name}_stderr" in curve.values)]
    colour = CURVE_COLOURS[number % len(CURVE_COLOURS)]
    dark = dict(zip(TRAJECTORY_COLOURS, path_colours(True), strict=True))
    inked = [TRAJECTORY_COLOURS[k] for k in path_indices([path.name for path in paths])]
    return {
        "name": curve.name or f"curve {number + 1}",
        "colours": [colour, _ON_DARK.get(colour, colour)],
        "x": pack(np.asarray(curve.x, np.float64)[order]),
        "values": {name: pack(np.where(known, curve.values[name], np.nan)[order]) for name in names},
        "status": pack(np.asarray(curve.status, np.uint8)[order]),
        "provenance": provenance_rows(curve),
        "metadata": to_json(curve.metadata.to_json()),
        "paths": [
            {
                "name": path.name,
                "colours": [ink if ink != "#ffffff" else "#111111", dark[ink]],
                "x": pack(np.asarray(path.coordinates[:, 0], np.float64)),
                **{name: pack(np.asarray(getattr(path, name), np.float64)) for name in _PATH_ARRAYS},
            }
            for path, ink in zip(paths, inked, strict=True)
        ],
    }
