"""Data as people have them, as splits: data sets and loaders of torch, arrays of numpy, memory maps, tables."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
    default_collate,
)

from landscape._utils.torch_compat import tree_leaves, tree_map
from landscape._utils.torch_state import preserve_random_state, seed_random
from landscape.problem.lazy import BatchMemory, LazySplit, Parting
from landscape.problem.samples import Collate, Samples, Workers, collate_samples
from landscape.problem.split import NO_TARGETS, Split
from landscape.problem.tensors import kind_of, to_tensors

TARGETS = ("labels", "label", "targets", "target")
"""Entries of a sample that is a dict which are its targets, if there is only one of them."""
_CHUNK = 256  # samples that are collated at a time, so that they are in memory only once
_ADVICE = "give Split.of two arrays, or a data set with samples (inputs, targets)"
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def read_split(
    data: Any, targets: Any, limit: int | None, collate: Collate | None, cache: int | str | None = None
) -> Split:
    """Return the split of :meth:`landscape.Split.of`."""
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise ValueError(f"limit: expected a positive number of samples, got {limit!r}")
    if targets is not None and not isinstance(targets, str) and collate is not None:
        if len(data) != len(targets):
            raise ValueError(f"expected one target for each of the {len(data)} inputs, got {len(targets)}")
        return split_of(list(zip(data, targets, strict=True)), limit, collate, cache=cache)
    name = targets if isinstance(targets, str) else None
    if targets is not None and name is None:
        return Split(*_arrays((data, targets), limit))
    if isinstance(data, np.ndarray) and data.dtype.names:
        return Split(*_parted(name, to_tensors(data if limit is None else data[:limit]), ()))
    if name is not None and isinstance(getattr(data, "columns", None), Iterable) and hasattr(data, "drop"):
        if name not in data.columns:  # of a table of pandas
            raise ValueError(f"targets: no column {name!r}; the table has {', '.join(map(str, data.columns))}")
        return Split(*_arrays((data.drop(columns=name), data[name]), limit))
    if hasattr(data, "columns") and hasattr(data, "to_numpy"):
        columns = ", ".join(map(str, data.columns))
        raise TypeError(f"expected a table with its targets: Split.of(table, targets='column'), of {columns}")
    return split_of(data, limit, collate, partial(_parted, name), cache)


def split_of(
    data: Any,
    limit: int | None = None,
    collate: Collate | None = None,
    part: Parting | None = None,
    cache: int | str | None = None,
) -> Split:
    """Return the split of a data set or loader: a copy in memory, or one whose samples are read when they are needed.

    Args:
        data: data set, loader or stream of samples.
        limit: number of samples to take, the first ones.
        collate: function of a list of samples that returns a batch.
        part: function of a batch and the numbers of its samples that returns inputs and targets.
        cache: memory for batches that are read, which are then not copied first; see :meth:`landscape.Split.of`.
    """
    part = part or partial(_parted, None)
    if isinstance(data, TensorDataset) and collate is None and cache is None:
        tensors = data.tensors if limit is None else tuple(tensor[:limit] for tensor in data.tensors)
        return Split(*part(tensors, range(len(tensors[0]))))
    samples = _samples(data, limit, collate)
    if samples is None:
        if cache is not None:
            raise ValueError(
                "cache: expected a data set with a length, or a loader of one; a stream is copied (limit=)"
            )
        with preserve_random_state():  # transformations may draw
            seed_random(0, torch.device("cpu"))
            batch = _streamed(data, limit, collate or collate_samples)
        return Split(*part(batch, range(len(tree_leaves(batch)[0]))))
    if not len(samples):
        raise ValueError("expected data with at least one sample, got none")
    random = samples.is_random()
    if random:
        warnings.warn(
            f"samples of {kind_of(samples.data)} are random: each is drawn once, with random numbers of its own, and "
            "the landscape is that of these samples. Take the random transformation out of the data set, or give it "
            "to Problem(..., augment=...), which is for training only",
            stacklevel=4,
        )
    lazy = LazySplit(samples, part, BatchMemory(None if cache is None else parse_bytes(cache)))
    if cache is not None or lazy.is_large:
        if random and samples.draws_by_batch:
            raise ValueError(
                "collate: it draws random numbers for a batch, so that a sample would depend on the batch size: draw "
                "them in the data set, where they belong to a sample"
            )
        return lazy
    return Split(*part(_copied(samples), range(len(samples))))


def parse_bytes(size: int | str) -> int:
    """Return a number of bytes from a number or a text such as ``4 GiB``.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(size, int) and not isinstance(size, bool) and size >= 0:
        return size
    found = (
        re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([KMGT]?)(?:i?B)?\s*", size, re.IGNORECASE)
        if isinstance(size, str)
        else None
    )
    if found is None:
        raise ValueError(f"cache: expected a size in bytes, or one like '4 GiB', got {size!r}")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def _samples(data: Any, limit: int | None, collate: Collate | None) -> Samples | None:
    """Return the samples of a data set or loader, in their order; None for a stream."""
    workers = Workers()
    order: Sequence[int] | None = None
    if isinstance(data, DataLoader):
        if isinstance(data.dataset, IterableDataset) or data.batch_sampler is None:
            return None
        order, workers = _order(data), Workers.of(data)
        own = None if data.collate_fn is default_collate else data.collate_fn
        data, collate = data.dataset, collate or own
    sized = hasattr(data, "__len__") and not isinstance(data, IterableDataset)
    if isinstance(data, Tensor | np.ndarray | Mapping | str | bytes) or not hasattr(
        data, "__getitem__" if sized else "__iter__"
    ):
        several = (
            f" or one of its parts, such as data[{next(iter(data))!r}]," if isinstance(data, Mapping) and data else ""
        )
        raise TypeError(
            f"expected a data set or loader,{several} or arrays with their targets, got {kind_of(data)}; {_ADVICE}"
            + (f". {NO_TARGETS}" if isinstance(data, np.ndarray | Tensor) else "")
        )
    if not sized:
        return None
    order = range(len(data)) if order is None else order
    return Samples(data, order[:limit], collate or collate_samples, workers)


def _order(loader: DataLoader[Any]) -> Sequence[int] | None:
    """Return the order of a loader's samples; None for that of the data set.

    Samplers of torch only order the samples, and values must not depend on it. One of the user's may choose them.
    """
    sampler: Any = loader.sampler
    standard = isinstance(sampler, SequentialSampler | RandomSampler) and type(loader.batch_sampler) is BatchSampler
    if standard and not getattr(sampler, "replacement", False):
        return None

    batches: Any = loader.batch_sampler

    def drawn() -> list[int]:
        with preserve_random_state():
            seed_random(0, torch.device("cpu"))
            return [int(index) for batch in batches for index in batch]

    order = drawn()
    if order != drawn():
        raise ValueError(
            f"the {kind_of(sampler)} of the loader gives another order each time: a landscape needs fixed data. Give "
            "the data set itself, or a sampler that draws from torch's default generator"
        )
    return order


def _copied(samples: Samples) -> Any:
    """Return all samples as one batch, collated in parts; all at once if the parts differ in shape."""
    count = len(samples)
    numbers = range(count)
    parts = [numbers[start : start + _CHUNK] for start in range(0, count, _CHUNK)]
    whole: Any = None
    for part, batch in zip(parts, samples.read_each(parts), strict=True):
        leaves = tree_leaves(batch)
        if whole is None:
            if len(part) == count:
                return batch
            whole = tree_map(lambda leaf: leaf.new_empty((count, *leaf.shape[1:])), batch)
        into = tree_leaves(whole)
        if [leaf.shape[1:] for leaf in leaves] != [leaf.shape[1:] for leaf in into]:  # padded to the longest of a part
            return samples.read(numbers)
        for target, leaf in zip(into, leaves, strict=True):
            target[part.start : part.stop] = leaf
    return whole


def _streamed(data: Any, limit: int | None, collate: Collate) -> Any:
    """Return the samples of a stream as one batch."""
    if isinstance(data, DataLoader):  # which collates
        return _joined(list(_limited(data, limit)), limit)
    samples = list(islice(iter(data), limit))
    if not samples:
        raise ValueError("expected data with at least one sample, got none")
    return _copied(Samples(samples, range(len(samples)), collate))


def _limited(batches: Iterable[Any], limit: int | None) -> Iterator[Any]:
    """Yield batches until they have as many samples as wanted."""
    count = 0
    for batch in batches:
        tensors = to_tensors(batch)
        yield tensors
        count += len(tree_leaves(tensors)[0])
        if limit is not None and count >= limit:
            return


def _joined(batches: Sequence[Any], limit: int | None) -> Any:
    if not batches:
        raise ValueError("expected data with at least one sample, got none")
    parts = [tree_leaves(batch) for batch in batches]
    try:
        leaves = iter([torch.cat(each)[:limit] for each in zip(*parts, strict=True)])
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"batches of the loader differ in shape ({error}); pad all samples to one length") from error
    return tree_map(lambda _: next(leaves), batches[0])


def _parted(name: str | None, batch: Any, numbers: Sequence[int]) -> tuple[Any, Any]:
    """Return the inputs and targets of a batch, whatever the numbers of its samples."""
    if isinstance(batch, Mapping):
        names = [key for key in ((name,) if name is not None else TARGETS) if key in batch]
        if len(names) != 1 or len(batch) < 2:
            raise TypeError(
                f"expected samples with one of {', '.join(TARGETS)}, got a dict of {', '.join(map(str, batch))}; say "
                "which one is the target: Split.of(data, targets='name')"
            )
        return {key: value for key, value in batch.items() if key != names[0]}, batch[names[0]]
    if isinstance(batch, tuple | list) and len(batch) >= 2:
        return (batch[0] if len(batch) == 2 else tuple(batch[:-1])), batch[-1]
    raise TypeError(
        f"expected samples (inputs, targets), got {kind_of(batch)}; {_ADVICE}. {NO_TARGETS}, or of samples that are "
        "read: collate=lambda samples: (torch.stack(samples), torch.stack(samples))"
    )


def _arrays(pair: tuple[Any, Any], limit: int | None) -> tuple[Any, Any]:
    inputs, targets = map(to_tensors, pair)
    return (inputs, targets) if limit is None else tuple(tree_map(lambda leaf: leaf[:limit], (inputs, targets)))
