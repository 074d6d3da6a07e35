"""Merging the shards of an array job into one surface file."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape._utils.files import require_writable
from landscape._utils.interpolation import Floats
from landscape.errors import StoreError
from landscape.surface.hdf5 import create_hdf5, open_hdf5, python_value, read_array
from landscape.surface.layout import read_failures, write_failures, write_finished
from landscape.surface.schema import read_status
from landscape.surface.settings import SweepSettings
from landscape.surface.store import read_settings
from landscape.surface.surface import FAILED, PENDING, is_complete

_PLANE_GROUPS = ("origin", "xdirection", "ydirection", "zdirection")


@dataclass(frozen=True)
class MergeReport:
    """Result of a merge.

    Attributes:
        total: number of points of the grid.
        done: number of points that a shard has computed or stopped.
        failed: number of points that failed in every shard that tried them.
        overlapping: number of points that several shards have computed, with equal values.
        per_shard: number of points taken from each shard, in the given order.
    """

    total: int
    done: int
    failed: int
    overlapping: int
    per_shard: tuple[int, ...]

    @property
    def pending(self) -> int:
        """Number of points that no shard has tried."""
        return self.total - self.done - self.failed


@dataclass(frozen=True)
class _Shard:
    path: Path
    settings: SweepSettings
    metrics: list[str]
    plane_digests: dict[str, str]
    values: Floats
    status: NDArray[np.uint8]
    seconds: NDArray[np.float32]
    messages: dict[int, str]


def merge(
    paths: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str], *, overwrite: bool = False
) -> MergeReport:
    """Merge surface files with equal settings into a new file; points that no file has stay pending.

    Everything else (plane, provenance) comes from the first file, bit for bit. Files may still be written by a running
    sweep: their present points are taken. The new file can be resumed like any other, without a shard.

    Args:
        paths: the shards, one file per task of an array job.
        out: the file to create.
        overwrite: replace an existing file.

    Returns:
        The numbers of points that were merged.

    Raises:
        StoreError: the settings of two shards differ (each is named with both values), two shards have different values
            at a point, a shard cannot be read, or ``out`` exists or cannot be written.
        ValueError: ``paths`` is empty.
    """
    files = [Path(path) for path in paths]
    if not files:
        raise ValueError("expected at least one shard, got none")
    out = Path(out)
    same = [path for path in files if out.exists() and path.exists() and path.samefile(out)]
    if same:
        raise StoreError(f"{same[0]} is both a shard and the output; choose another name for the output")
    require_writable(out, StoreError)
    merged = _read(files[0])
    per_shard, overlapping = [int(is_complete(merged.status).sum())], 0
    for path in files[1:]:
        shard = _read(path)
        _require_equal(merged, shard)
        added, common = _add(merged, shard)
        per_shard.append(added)
        overlapping += common
    done, failed = int(is_complete(merged.status).sum()), int((merged.status == FAILED).sum())
    with create_hdf5(out, overwrite, like=merged.path) as file:
        for name, values in zip(merged.metrics, merged.values, strict=True):
            file[name][...] = values
        file["seconds"][...] = merged.seconds
        file["status"][...] = merged.status
        write_failures(file, merged.messages)
        write_finished(file, done == merged.status.size)
        file.attrs["merged_from"] = json.dumps([path.name for path in files])
    return MergeReport(merged.status.size, done, failed, overlapping, tuple(per_shard))


def _read(path: Path) -> _Shard:
    with open_hdf5(path) as file:
        settings = read_settings(file, path)
        metrics: list[str] = json.loads(file.attrs["metrics"])
        digests = {name: python_value(file[name].attrs["digest"]) for name in _PLANE_GROUPS if name in file}
        # Status first: the values of a point are written before its status.
        status = read_status(file)
        values = np.stack([read_array(file[name]) for name in metrics])
        seconds = read_array(file["seconds"])
        return _Shard(path, settings, metrics, digests, values, status, seconds, read_failures(file))


_DIGESTS = ("origin", "directions", "plane", "fixed", "data", "states")
"""Settings that are digests, which say nothing to a reader."""


def _require_equal(first: _Shard, other: _Shard) -> None:
    differing = first.settings.differences(other.settings)
    fixed: list[tuple[str, Any, Any]] = [
        ("metrics", first.metrics, other.metrics),
        ("plane", first.plane_digests, other.plane_digests),
        ("shape", first.status.shape, other.status.shape),
    ]
    differing += [(name, one, two) for name, one, two in fixed if one != two]
    if differing:
        listed = "; ".join(
            f"{name}: others" if name in _DIGESTS else f"{name} is {one!r} in the first and {two!r} in the second"
            for name, one, two in differing
        )
        raise StoreError(
            f"{first.path} and {other.path} were made with different settings and cannot be merged: {listed}"
        )


def _add(merged: _Shard, shard: _Shard) -> tuple[int, int]:
    """Add the points of ``shard`` that ``merged`` lacks, in place; return the numbers of added and of common points."""
    common = is_complete(merged.status) & is_complete(shard.status)
    _require_same_values(merged, shard, common)
    new = is_complete(shard.status) & ~is_complete(merged.status)
    failed = (shard.status == FAILED) & (merged.status == PENDING)
    merged.values[:, new] = shard.values[:, new]
    merged.seconds[new | failed] = shard.seconds[new | failed]
    merged.status[new], merged.status[failed] = shard.status[new], FAILED
    for index in np.flatnonzero(new).tolist():
        merged.messages.pop(index, None)
    for index, message in shard.messages.items():
        if merged.status.flat[index] == FAILED:
            merged.messages.setdefault(index, message)
    return int(new.sum()), int(common.sum())


def _require_same_values(first: _Shard, other: _Shard, common: NDArray[np.bool_]) -> None:
    """Raise ``StoreError`` unless the values at common points are equal bit for bit, NaN included."""
    bits = [np.ascontiguousarray(shard.values[:, common]).view(np.int64) for shard in (first, other)]
    unequal = (bits[0] != bits[1]).any(axis=0)
    if not unequal.any():
        return
    index = tuple(np.argwhere(common)[unequal.argmax()].tolist())
    one, two = first.values[:, *index], other.values[:, *index]
    i = next(i for i in range(len(one)) if one[i].tobytes() != two[i].tobytes())
    raise StoreError(
        f"{first.path} and {other.path} disagree at {int(unequal.sum())} points, first at index {index}: "
        f"{first.metrics[i]} is {one[i]!r} and {two[i]!r}; they were not computed with the same program or hardware"
    )
