"""Compute the merge tree of a surface, with minima that are only noise marked as such, and export its basins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from landscape._utils.files import require_writable
from landscape._utils.text import counted
from landscape._utils.trust import trusting
from landscape.analysis.noise import STANDARD_ERRORS
from landscape.analysis.sharpness.numbers import Number
from landscape.analysis.topology.topology import MergeTree, Minimum, merge_tree
from landscape.errors import LandscapeError, StoreError
from landscape.evaluation.evaluator import open_evaluator
from landscape.geometry.plane import Plane
from landscape.geometry.weights import Weights
from landscape.render.through import nearest_step
from landscape.surface.measurements import MeasurementStore
from landscape.surface.plane_files import read_plane
from landscape.surface.reading import read_surface
from landscape.surface.surface import DONE, STOPPED, Surface
from landscape.workflows.check import rebuild_problem
from landscape.workflows.inputs import SurfaceSource
from landscape.workflows.sources import PathName

MEASURED = 100
"""Minima, those of the highest persistence, whose standard errors are measured."""
BARRIERS = 10
"""Minima between which barriers are among the numbers."""


@dataclass(frozen=True, eq=False)
class TopologyResult:
    """The merge tree of a surface.

    Attributes:
        surface: the surface, with interpolated points filled.
        tree: its merge tree.
        numbers: number of significant minima, persistence of each minimum, barriers between the significant ones.
        fields: files with the basins, if requested.
        out: file with the numbers; None if there is none.
    """

    surface: Surface
    tree: MergeTree
    numbers: tuple[Number, ...]
    fields: tuple[Path, ...] = ()
    out: Path | None = None

    def __repr__(self) -> str:
        return f"<TopologyResult: {self.tree!r} on {self.surface!r}, {counted(len(self.numbers), 'number')}>"


def compute_topology(
    surface: SurfaceSource,
    metric: str | None = None,
    *,
    seed: int | None = None,
    at: int | None = None,
    diagonals: bool = False,
    measure_errors: bool = False,
    out: PathName | None = None,
    fields: PathName | None = None,
    overwrite: bool = False,
    trust: bool = False,
) -> TopologyResult:
    """Compute the merge tree of a surface: its minima, the saddles between their basins, persistence and barriers.

    A minimum whose persistence is less than two standard errors is marked as noise. Errors in the file are those of
    single points; their sum bounds the error of a persistence. With ``measure_errors``, the network is rebuilt and
    evaluated at the minima and saddles, which gives the standard error of each persistence itself, paired over samples.

    Args:
        surface: a surface of one to three axes, or the path of its file.
        metric: name of the metric; by default the first loss.
        seed: the seed to select from a surface over several seeds.
        at: the checkpoint to select from a surface through training, the nearest to this step.
        diagonals: count points that share a corner as neighbours; by default only those along the axes.
        measure_errors: measure the standard errors of the persistences; needs the path of a file of this program.
        out: HDF5 file for the numbers, the minima and the field of basins, with provenance.
        fields: file for ParaView and its plugin TTK (``.vti``, ``.vts``) or ``.csv`` with the metrics, the basins and
            the persistence as point arrays.
        overwrite: replace ``out`` and ``fields`` if they exist.
        trust: True to run the code that the file names, where ``measure_errors`` needs it; see
            :func:`landscape.compute_surface`.

    Raises:
        ValueError: no such metric or seed, too few points, or ``measure_errors`` for a surface whose network cannot be
            rebuilt.
        StoreError: a file cannot be read or written.
    """
    source = surface.name if isinstance(surface, Surface) else Path(surface).name
    found = surface if isinstance(surface, Surface) else read_surface(surface)
    if seed is not None:
        found = found.for_seed(seed)
    elif at is not None:
        found = found.for_step(nearest_step(found, at))
    elif found.steps:
        raise ValueError(
            f"{found.name} holds several checkpoints (steps {', '.join(map(str, found.steps))}), each of which has a "
            "topology of its own: choose one of them with at"
        )
    elif found.seeds:
        raise ValueError(
            f"{found.name} holds several seeds ({', '.join(map(str, found.seeds))}), each of which has a topology of "
            "its own: choose one of them with seed"
        )
    found = found.with_interpolated()
    for path in (out, fields):
        if path is not None and Path(path).exists() and not overwrite:
            raise StoreError(f"{path} exists; choose another name, or overwrite it")
        if path is not None:
            require_writable(Path(path), StoreError)
    tree = merge_tree(found, metric, diagonals=diagonals)
    if measure_errors:
        if isinstance(surface, Surface):
            raise ValueError(
                "measure_errors: expected the path of a surface file, from which the network can be rebuilt"
            )
        with trusting(trust):
            tree = tree.with_errors(_measured_errors(found, tree, Path(surface), seed, at is not None))
    numbers = tuple(_numbers(source or "surface", found, tree))
    written = () if fields is None else tuple(_write_fields(Path(fields), found, tree, overwrite))
    if out is not None:
        _store(Path(out), source, found, tree, numbers)
    return TopologyResult(found, tree, numbers, written, None if out is None else Path(out))


def _measured_errors(
    surface: Surface, tree: MergeTree, path: Path, seed: int | None, of_checkpoint: bool
) -> dict[int, float]:
    """Return the standard error of the persistence of the first minima, paired over samples."""
    split, _, measure = tree.metric.rpartition("_")
    try:
        plane = read_plane(path, seed, mapped=True) if seed is not None else read_plane(path, mapped=True)
        problem, evaluation, _ = rebuild_problem(surface, plane, path)
        if of_checkpoint:  # the file holds the plane of the reference
            plane = Plane(Weights.from_model(problem.model, bool(plane.origin.buffers)), plane.directions)
        problem = replace(problem, splits={split: problem.splits[split]})
    except (LandscapeError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"measure_errors: the network of {path} cannot be rebuilt here ({error}); use the bounds in the file"
        ) from error
    pairs = [minimum for minimum in tree.minima if minimum.saddle and not minimum.at_least][:MEASURED]
    errors = {}
    with open_evaluator(problem, plane, evaluation, begun=True) as evaluate:
        for minimum in pairs:
            ends = [minimum.coordinates, _coordinates(surface, minimum.saddle or ())]
            low, high = evaluate.sample_values(ends, split, measure)
            if len(low) > 1:
                errors[minimum.number] = float((high - low).std(ddof=1)) / math.sqrt(len(low))
    return errors


def _coordinates(surface: Surface, index: Sequence[int]) -> tuple[float, ...]:
    return tuple(float(axis[i]) for axis, i in zip(surface.coordinates, reversed(index), strict=True))


def _numbers(source: str, surface: Surface, tree: MergeTree) -> list[Number]:
    unit = "%" if tree.metric.endswith("_acc") else "loss" if tree.metric.endswith("_loss") else tree.metric
    points = int((surface.status == DONE).sum())
    over = "data" if any(not math.isnan(m.error) for m in tree.minima) else ""
    found = [Number(source, "minima", None, len(tree.significant), n=points, unit="", over="")]
    for minimum in tree.minima:
        half = STANDARD_ERRORS * minimum.error
        low, high = minimum.persistence - half, minimum.persistence + half
        if not minimum.saddle:
            low = high = math.nan
        name = f"persistence-{minimum.number}"
        found.append(
            Number(source, name, None, minimum.persistence, low, high, minimum.points, 0, unit, over, _remark(minimum))
        )
    real = [minimum.number for minimum in tree.significant[:BARRIERS]]
    for i in real:
        for j in real:
            if i != j:
                found.append(Number(source, f"barrier-{i}-{j}", None, tree.barrier(i, j), n=points, unit=unit))
    return found


def _remark(minimum: Minimum) -> str:
    words = [f"minimum {minimum.value:.6g} at ({', '.join(f'{c:.4g}' for c in minimum.coordinates)})"]
    if minimum.is_noise:
        words.append("noise")
    if minimum.at_least:
        words.append("at least")
    if not minimum.saddle:
        words.append("deepest")
    return ", ".join(words)


def field_surface(surface: Surface, tree: MergeTree) -> Surface:
    """Return the surface with the topology as further values at every point.

    ``basin`` is the number of the basin with noise merged, ``basin_all`` without; -1 on walls. ``minimum`` is the
    number of the minimum at its own point, else -1. ``persistence`` is that of the basin in ``basin_all``.
    ``<metric>_filled`` has the highest finite value on walls, because TTK does not accept NaN.
    """
    values = surface.metric(tree.metric)
    finite = np.isfinite(values)
    filled = np.where(finite, values, values[finite].max())
    stopped = surface.status == STOPPED
    if stopped.any() and surface.stop_above is not None:
        filled[stopped] = max(surface.stop_above, float(filled.max()))
    at_minimum = np.full(surface.shape, -1.0)
    for minimum in tree.minima:
        at_minimum[minimum.index] = minimum.number
    height = np.array([math.nan, *(minimum.persistence for minimum in tree.minima)])
    added = {
        f"{tree.metric}_filled": filled,
        "basin": tree.basins().astype(np.float64),
        "basin_all": tree.labels.astype(np.float64),
        "minimum": at_minimum,
        "persistence": height[tree.labels + 1],
    }
    return replace(surface, values={**surface.values, **added})


def _write_fields(path: Path, surface: Surface, tree: MergeTree, overwrite: bool) -> list[Path]:
    from landscape.render.exports.export import export
    from landscape.render.exports.job import ExportOptions

    path.parent.mkdir(parents=True, exist_ok=True)
    return export(path, field_surface(surface, tree), options=ExportOptions(metric=tree.metric), overwrite=overwrite)


def _store(path: Path, source: str, surface: Surface, tree: MergeTree, numbers: Sequence[Number]) -> None:
    settings: dict[str, Any] = {"kind": "topology", "source": source, **tree.to_json()}
    if surface.metadata.settings is not None:
        settings["surface"] = surface.metadata.settings.to_json()
    store = MeasurementStore(path, settings, overwrite=True)
    store.put("basin_all", tree.labels.astype(np.float64))
    store.put("basin", tree.basins().astype(np.float64))
    store.finish([number.to_record() for number in numbers])
