"""Shards of an array job into one surface: equal settings, one plane, and each point from where it was done."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from landscape._utils.provenance import now
from landscape.errors import StoreError
from landscape.surface.hdf5 import attribute, created, reading
from landscape.surface.metadata import SweepSettings
from landscape.surface.store import failures_of, stored_settings, write_failures
from landscape.surface.surface import FAILED, PENDING, is_complete

_PLANE = ("origin", "xdirection", "ydirection", "zdirection")


@dataclass(frozen=True)
class MergeReport:
    """What a merge found.

    Attributes:
        total: points of the grid.
        done: points that a shard has computed, or stopped.
        failed: points that failed wherever they were tried.
        overlapping: points that several shards have computed, equally.
        per_shard: points taken from each shard, in the order given.
    """

    total: int
    done: int
    failed: int
    overlapping: int
    per_shard: tuple[int, ...]

    @property
    def pending(self) -> int:
        """Points that no shard has tried."""
        return self.total - self.done - self.failed


@dataclass(frozen=True)
class _Shard:
    path: Path
    settings: SweepSettings
    metrics: list[str]
    plane: dict[str, str]
    values: np.ndarray
    status: np.ndarray
    seconds: np.ndarray
    messages: dict[int, str]


def merge(paths: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str], overwrite: bool = False) -> MergeReport:
    """Join surface files of equal settings into the new file ``out``; points that none has stay pending.

    Everything else (plane, provenance) is that of the first shard, bit for bit. Shards may still be computed: what
    they have now is taken. The new file is continued like any other, by the same command without its shard.

    Args:
        paths: the shards; one file per task of an array job.
        out: the file to make.
        overwrite: replace a file of that name.

    Raises:
        StoreError: shards of different settings (each named with both values), a point that two shards computed
            differently, an unreadable shard, or ``out`` exists or cannot be written.
        ValueError: no shards.
    """
    files = [Path(path) for path in paths]
    if not files:
        raise ValueError("at least one shard expected, got none")
    out = Path(out)
    same = [path for path in files if out.exists() and path.exists() and path.samefile(out)]
    if same:
        raise StoreError(f"{same[0]} is both a shard and the file to make; name another --out")
    merged: _Shard | None = None
    per_shard, overlapping = [], 0
    for path in files:
        shard = _read(path)
        if merged is None:
            merged = shard
            per_shard.append(int(is_complete(shard.status).sum()))
        else:
            _require_equal(merged, shard)
            taken, both = _add(merged, shard)
            per_shard.append(taken)
            overlapping += both
    with created(out, overwrite, like=merged.path) as file:
        for name, values in zip(merged.metrics, merged.values, strict=True):
            file[name][...] = values
        file["seconds"][...] = merged.seconds
        file["status"][...] = merged.status
        write_failures(file, merged.messages)
        complete = bool(is_complete(merged.status).all())
        file.attrs.modify("finished", np.bytes_(now() if complete else ""))
        file.attrs["merged_from"] = json.dumps([path.name for path in files])
    done, failed = int(is_complete(merged.status).sum()), int((merged.status == FAILED).sum())
    return MergeReport(merged.status.size, done, failed, overlapping, tuple(per_shard))


def _read(path: Path) -> _Shard:
    with reading(path) as file:
        settings = stored_settings(file, path)
        metrics = json.loads(file.attrs["metrics"])
        plane = {name: attribute(file[name].attrs["digest"]) for name in _PLANE if name in file}
        # Status first: a value that is marked done was written before its mark.
        status = file["status"][()]
        values = np.stack([file[name][()] for name in metrics])
        return _Shard(path, settings, metrics, plane, values, status, file["seconds"][()], failures_of(file))


def _require_equal(first: _Shard, other: _Shard) -> None:
    differing = first.settings.differences(other.settings)
    for name, one, two in (
        ("metrics", first.metrics, other.metrics),
        ("plane", first.plane, other.plane),
        ("shape", first.status.shape, other.status.shape),
    ):
        if one != two:
            differing.append((name, one, two))
    if differing:
        raise StoreError(
            f"{first.path} and {other.path} were made with different settings and cannot be merged: "
            + "; ".join(f"{name} is {one!r} in the first and {two!r} in the second" for name, one, two in differing)
        )


def _add(merged: _Shard, shard: _Shard) -> tuple[int, int]:
    """Take from ``shard`` what ``merged`` lacks, in place; returns how much that was, and how much both had."""
    both = is_complete(merged.status) & is_complete(shard.status)
    bits = [array[:, both].view(np.int64) for array in (merged.values, shard.values)]
    unequal = (bits[0] != bits[1]).any(axis=0)
    if unequal.any():
        where = np.argwhere(both)[unequal.argmax()]
        old, new = (array[(slice(None), *where)] for array in (merged.values, shard.values))
        name = next(n for n, a, b in zip(merged.metrics, old, new, strict=True) if a.tobytes() != b.tobytes())
        i = merged.metrics.index(name)
        raise StoreError(
            f"{merged.path} and {shard.path} disagree at {int(unequal.sum())} points, first at index "
            f"{tuple(int(k) for k in where)}: {name} is {old[i]!r} and {new[i]!r}; they were not computed alike"
        )
    new = is_complete(shard.status) & ~is_complete(merged.status)
    failed = (shard.status == FAILED) & (merged.status == PENDING)
    merged.values[:, new] = shard.values[:, new]
    merged.seconds[new | failed] = shard.seconds[new | failed]
    merged.status[new], merged.status[failed] = shard.status[new], FAILED
    for index in np.flatnonzero(new):
        merged.messages.pop(int(index), None)
    for index, message in shard.messages.items():
        if merged.status.flat[index] == FAILED:
            merged.messages.setdefault(index, message)
    return int(new.sum()), int(both.sum())
