"""The data sets that have a name, and the way to those that have none."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from landscape._utils.names import unknown
from landscape.problem.data import cifar10, digits, text
from landscape.problem.data.subset import check_samples, subset
from landscape.problem.problem import Dataset, Split
from landscape.problem.references import accepts, call, resolve

_LOADERS: Mapping[str, Callable[..., Dataset]] = {
    "cifar10": cifar10.load,
    "digits": digits.load,
    "text": text.load,
}


def names() -> list[str]:
    """The names that :func:`load` knows, sorted."""
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
    """A data set by name, or by ``pkg.mod:function`` or ``file.py:function`` that returns a ``Dataset``.

    Args:
        name: one of :func:`names`, or a reference. A function of the user's is handed ``data``, ``splits`` and
            ``samples`` where it has arguments of these names.
        data: the folder or file to read, for data sets that lie on disk.
        splits: exactly these splits; all that there are by default.
        samples: a fixed subset of so many samples of each split, the same in every run, balanced over classes; all
            of a split that has fewer.
        arguments: the data set's own.

    Raises:
        ValueError: an unknown data set, split or argument, or ``data`` for a data set that reads none.
        TypeError: a function of the user's returned something else.
        DataError: the data are missing or damaged.
    """
    check_samples(samples)
    if ":" not in name and name not in _LOADERS:
        raise unknown("data set", name, names())
    loader = _LOADERS[name] if name in _LOADERS else resolve(name)
    if data is not None and not accepts(loader, "data"):
        raise ValueError(f"data set {name!r} reads nothing from disk, but was told to read {os.fspath(data)}")
    offered = {"data": data, "splits": splits, "samples": samples}
    dataset = call(loader, arguments, name=f"data set {name!r}", offered=offered)
    if not isinstance(dataset, Dataset):
        raise TypeError(f"data set {name!r}: a landscape.problem.Dataset expected, got {type(dataset).__name__}")
    return replace(dataset, splits=restrict(dataset.splits, splits, samples, f"data set {name!r}"))


def restrict(
    available: Mapping[str, Split], wanted: Sequence[str] | None, samples: int | None, name: str
) -> dict[str, Split]:
    """The splits that are wanted (all by default), each with at most ``samples`` samples.

    Raises:
        ValueError: a wanted split is not available, or none is wanted.
    """
    for split in wanted or ():
        if split not in available:
            raise unknown(f"split of {name}", split, available)
    return {
        split: subset(available[split], samples, f"{name}, split {split!r}")
        for split in (available if wanted is None else wanted)
    }
