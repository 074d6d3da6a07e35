"""Data as people have them, as tensors: data sets and loaders of torch, arrays of numpy, memory maps, tables."""

from __future__ import annotations

import mmap
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Literal

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

Collate = Callable[[list[Any]], Any]
"""Function that makes one batch of a list of samples."""
TARGETS = ("labels", "label", "targets", "target")
"""Entries of a sample that is a dict which are its targets, if there is only one of them."""
_CHUNK = 256  # samples that are collated at a time, so that they are in memory only once
_ADVICE = "give Split.of two arrays, or a data set with samples (inputs, targets)"


def read_data(data: Any, targets: Any, limit: int | None, collate: Collate | None) -> tuple[Any, Any]:
    """Return the inputs and targets of :meth:`landscape.Split.of` as tensors."""
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise ValueError(f"limit: expected a positive number of samples, got {limit!r}")
    name = targets if isinstance(targets, str) else None
    if targets is not None and name is None and collate is not None:
        if len(data) != len(targets):
            raise ValueError(f"expected one target for each of the {len(data)} inputs, got {len(targets)}")
        return _parted(read_batch(list(zip(data, targets, strict=True)), limit, collate), None)
    if targets is not None and name is None:
        return _arrays((data, targets), limit)
    if name is not None and isinstance(getattr(data, "columns", None), Iterable) and hasattr(data, "drop"):
        if name not in data.columns:  # of a table of pandas
            raise ValueError(f"targets: no column {name!r}; the table has {', '.join(map(str, data.columns))}")
        return _arrays((data.drop(columns=name), data[name]), limit)
    return _parted(read_batch(data, limit, collate), name)


def read_batch(data: Any, limit: int | None, collate: Collate | None = None) -> Any:
    """Return all samples of a data set or loader, or the first ones, as one batch of nested tensors."""
    if isinstance(data, TensorDataset) and collate is None:
        return data.tensors if limit is None else tuple(tensor[:limit] for tensor in data.tensors)
    with preserve_random_state():  # transformations of a data set may draw
        seed_random(0, torch.device("cpu"))
        return _collected(data, limit, collate)


def _collected(data: Any, limit: int | None, collate: Collate | None) -> Any:
    """Return all samples of a data set or loader as one batch."""
    if isinstance(data, DataLoader):
        # A sampler or batch sampler of the user's may choose samples; those of torch only order them.
        ordered = (
            isinstance(data.sampler, SequentialSampler | RandomSampler) and type(data.batch_sampler) is BatchSampler
        )
        if isinstance(data.dataset, IterableDataset) or not ordered or getattr(data.sampler, "replacement", False):
            if collate is not None:
                raise ValueError("collate: expected None with a loader that has an order of its own, which collates")
            return _joined(list(_limited(data, limit)), limit)
        # In the order of the data set, whatever the loader shuffles and drops: values must not depend on it.
        own = None if data.collate_fn is default_collate else data.collate_fn
        return _collected(data.dataset, limit, collate or own)
    sized = hasattr(data, "__len__") and not isinstance(data, IterableDataset)
    if isinstance(data, Tensor | np.ndarray | Mapping | str | bytes) or not hasattr(
        data, "__getitem__" if sized else "__iter__"
    ):
        raise TypeError(f"expected a data set or loader, or arrays with their targets, got {_kind(data)}; {_ADVICE}")
    if sized:
        count = len(data) if limit is None else min(limit, len(data))
        return _chunks(lambda part: [data[k] for k in part], count, collate or _collate)
    samples = list(islice(iter(data), limit))
    return _chunks(lambda part: samples[part.start : part.stop], len(samples), collate or _collate)


def _chunks(samples: Callable[[range], list[Any]], count: int, collate: Collate) -> Any:
    """Collate samples in parts, into tensors that are allocated once; all at once if the parts differ in shape."""
    if not count:
        raise ValueError("expected data with at least one sample, got none")
    whole: Any = None
    for start in range(0, count, _CHUNK):
        part = range(start, min(start + _CHUNK, count))
        batch = _tensors(collate(samples(part)))
        leaves = tree_leaves(batch)
        if any(not leaf.dim() or len(leaf) != len(part) for leaf in leaves):
            raise ValueError(
                f"expected batches of {len(part)} samples along the first axis, got shapes "
                f"{[tuple(leaf.shape) for leaf in leaves]}: what collates samples of several sizes has to pad them; "
                "for graphs, let a sample be the number of one: Split(torch.arange(len(graphs)), labels) with "
                "forward=lambda model, numbers: model(Batch.from_data_list([graphs[k] for k in numbers]))"
            )
        if whole is None:
            if len(part) == count:
                return batch
            whole = tree_map(lambda leaf: leaf.new_empty((count, *leaf.shape[1:])), batch)
        into = tree_leaves(whole)
        if [leaf.shape[1:] for leaf in leaves] != [leaf.shape[1:] for leaf in into]:  # padded to the longest of a part
            return _tensors(collate(samples(range(count))))
        for target, leaf in zip(into, leaves, strict=True):
            target[part.start : part.stop] = leaf
    return whole


def _collate(samples: list[Any]) -> Any:
    try:
        return default_collate(samples)
    except (TypeError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise TypeError(
            f"samples of type {_kind(samples[0])} don't make a batch ({reason}): let the data set return tensors of "
            "one size (torchvision's ToTensor() for images), or pad them in collate=function of a list of samples"
        ) from error


def _limited(batches: Iterable[Any], limit: int | None) -> Iterator[Any]:
    """Yield batches until they have as many samples as wanted."""
    count = 0
    for batch in batches:
        tensors = _tensors(batch)
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


def _parted(batch: Any, name: str | None) -> tuple[Any, Any]:
    """Return the inputs and targets of a batch."""
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
    raise TypeError(f"expected samples (inputs, targets), got {_kind(batch)}; {_ADVICE}")


def _arrays(pair: tuple[Any, Any], limit: int | None) -> tuple[Any, Any]:
    inputs, targets = map(_tensors, pair)
    return (inputs, targets) if limit is None else tuple(tree_map(lambda leaf: leaf[:limit], (inputs, targets)))


def _tensors(tree: Any) -> Any:
    """Return nested arrays as nested tensors."""
    if isinstance(tree, Mapping):
        return {key: _tensors(value) for key, value in tree.items()}
    if isinstance(tree, tuple | list) and not all(isinstance(value, int | float) for value in tree):
        return type(tree)(map(_tensors, tree)) if type(tree) in (tuple, list) else tuple(map(_tensors, tree))
    return _tensor(tree)


def _tensor(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value
    array = value.to_numpy() if hasattr(value, "to_numpy") else value  # a table or column of pandas, for instance
    array = np.asanyarray(array)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"expected numbers, got {_kind(value)} of type {array.dtype}: encode text and categories first")
    base: object = array.base
    if isinstance(array, np.memmap) and not array.flags.writeable and isinstance(base, mmap.mmap):
        # Private: a network that writes into its inputs would crash the process in a map that is read only.
        order: Literal["C", "F"] = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
        array = np.memmap(str(array.filename), array.dtype, "c", array.offset, array.shape, order)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if any(stride < 0 for stride in array.strides):
        array = array.copy()
    with warnings.catch_warnings(action="ignore"):  # of arrays that are read only
        return torch.from_numpy(np.asarray(array)) if array.ndim else torch.as_tensor(array.item())


def _kind(value: Any) -> str:
    return type(value).__name__
