"""Data sets by name or by reference."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from landscape._utils.names import unknown
from landscape.problem.data import cifar10, digits, text
from landscape.problem.data.subset import check_samples, subset
from landscape.problem.problem import NO_DATA, Dataset, Split
from landscape.problem.references import accepts, call, resolve

_LOADERS: Mapping[str, Callable[..., Dataset]] = {
    "cifar10": cifar10.load,
    "digits": digits.load,
    "text": text.load,
}


def names() -> list[str]:
    """Return the names that :func:`load` knows, sorted."""
    return sorted(_LOADERS)


def load(
    name: str,
    /,
    *,
    data: str | os.PathLike[str] | None = None,
    splits: Sequence[str] | None = None,
    samples: int | None = None,
    **arguments: Any,
) -> Dataset:
    """Load a data set by name, or by ``pkg.mod:function`` or ``file.py:function`` that returns a ``Dataset``.

    Args:
        name: one of :func:`names`, or a reference. A user-defined function gets ``data``, ``splits`` and ``samples`` if
            it has arguments of these names.
        data: file or directory to read, for data sets on disk.
        splits: names of the splits to load; all by default.
        samples: number of samples in a fixed subset of each split, the same in every run and balanced over classes;
            a smaller split is taken whole. None for all samples.
        **arguments: arguments of the data set.

    Raises:
        ValueError: a data set, split or argument is unknown, or ``data`` is given for a data set that reads none.
        TypeError: a user-defined function returned an object of the wrong type.
        DataError: the data are missing or damaged.
    """
    check_samples(samples)
    if ":" not in name and name not in _LOADERS:
        raise unknown("data set", name, names())
    loader = _LOADERS[name] if name in _LOADERS else resolve(name)
    if data is not None and not accepts(loader, "data"):
        raise ValueError(f"data set {name!r} reads nothing from disk, but got data={os.fspath(data)}")
    injected = {"data": data, "splits": splits, "samples": samples}
    dataset = call(loader, arguments, name=f"data set {name!r}", injected=injected)
    if not isinstance(dataset, Dataset):
        raise TypeError(f"data set {name!r}: expected a landscape.problem.Dataset, got {type(dataset).__name__}")
    return replace(dataset, splits=select_splits(dataset.splits, splits, samples, f"data set {name!r}"))


def select_splits(
    available: Mapping[str, Split], names: Sequence[str] | None, samples: int | None, source: str
) -> dict[str, Split]:
    """Return the named splits (all by default), each with at most ``samples`` samples.

    Args:
        available: splits by name.
        names: names of the splits to return; None for all.
        samples: number of samples in a fixed subset of each split; None for all.
        source: origin of the splits in messages.

    Raises:
        ValueError: a split is not available.
    """
    if names and not available:
        raise ValueError(NO_DATA)
    for name in names or ():
        if name not in available:
            raise unknown(f"split of {source}:", name, available)
    return {
        name: subset(available[name], samples, f"{source}, split {name!r}")
        for name in (available if names is None else names)
    }
