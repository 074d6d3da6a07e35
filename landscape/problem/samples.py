"""Samples of a data set by number, collated into batches of tensors, with the same random numbers at each reading."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from landscape._utils.torch_compat import tree_leaves
from landscape._utils.torch_state import derive_seed, preserve_random_state, same_bits, seed_random
from landscape.problem.tensors import kind_of, to_tensors

Collate = Callable[[list[Any]], Any]
"""Function that makes one batch of a list of samples."""
_TRIED = 8
"""Samples that are read three times to notice random ones: a flip that is drawn for half of the samples escapes in one
of 256 data sets."""
_ADVICE = (
    "let the data set return tensors of one size (torchvision's ToTensor() for images), or pad them in "
    "collate=function of a list of samples"
)
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Workers:
    """Processes that read samples ahead, as those of a ``DataLoader``.

    Attributes:
        count: number of processes; 0 reads in this one.
        prefetch: batches that each process reads ahead; None for the default of torch.
        context: method that starts processes (``fork``, ``spawn``), or None for that of the platform.
        begin: function of a process's number that is called when it starts.
    """

    count: int = 0
    prefetch: int | None = None
    context: Any = None
    begin: Callable[[int], None] | None = None

    @classmethod
    def of(cls, loader: DataLoader[Any]) -> Workers:
        """Return the processes of a loader."""
        return cls(loader.num_workers, loader.prefetch_factor, loader.multiprocessing_context, loader.worker_init_fn)


@dataclass(frozen=True)
class Samples:
    """Samples of a data set by their numbers.

    Torch, NumPy and ``random`` are seeded for each sample, by its number, so that random transformations give the same
    sample at each reading, whichever samples are read before it and in whichever process.

    Attributes:
        data: data set with ``data[k]``.
        order: index into ``data`` of each sample.
        collate: function of a list of samples that returns a batch.
        workers: processes that read ahead, in passes over the data.
    """

    data: Any
    order: Sequence[int]
    collate: Collate
    workers: Workers = Workers()

    def __len__(self) -> int:
        return len(self.order)

    def read(self, numbers: Sequence[int], salt: str = "") -> Any:
        """Return some samples as one batch of nested tensors.

        Args:
            numbers: numbers of the samples.
            salt: text that gives other random numbers.

        Raises:
            ValueError: the batch has another number of samples along the first axis.
        """
        with _preserve_generators():
            samples = []
            for number in numbers:
                _seed(number, salt)
                try:
                    samples.append(self.data[self.order[number]])
                except Exception as error:
                    error.add_note(f"while sample {self.order[number]} of {kind_of(self.data)} was read")
                    raise
            _seed(-1, salt)
            batch = to_tensors(self.collate(samples))
        leaves = tree_leaves(batch)
        if any(not leaf.dim() or len(leaf) != len(numbers) for leaf in leaves):
            raise ValueError(
                f"expected batches of {len(numbers)} samples along the first axis, got shapes "
                f"{[tuple(leaf.shape) for leaf in leaves]}: what collates samples of several sizes has to pad them; "
                "for graphs, let a sample be the number of one: Split(torch.arange(len(graphs)), labels) with "
                "forward=lambda model, numbers: model(Batch.from_data_list([graphs[k] for k in numbers]))"
            )
        return batch

    def read_each(self, batches: Sequence[Sequence[int]]) -> Iterator[Any]:
        """Yield several batches in order, each given by the numbers of its samples, read ahead by the workers."""
        if not self.workers.count or len(batches) < 2:
            yield from (self.read(numbers) for numbers in batches)
            return
        workers = self.workers
        with warnings.catch_warnings(action="ignore"):  # the loader has said already that there are too many
            loader: DataLoader[Any] = DataLoader(
                _Batches(self, batches), batch_size=None, num_workers=workers.count, collate_fn=_unchanged,
                prefetch_factor=workers.prefetch, multiprocessing_context=workers.context, worker_init_fn=workers.begin,
                generator=torch.Generator(),  # the default one is that of the network at a point
            )  # fmt: skip
            batches_read = iter(loader)
        yield from batches_read

    def is_random(self) -> bool:
        """Return True if samples depend on the random numbers of torch, NumPy or ``random``.

        Raises:
            ValueError: a sample differs although it gets the same random numbers.
        """
        count = len(self)
        found = False
        for number in sorted({count * k // _TRIED for k in range(min(_TRIED, count))} | {count - 1}):
            first, again, other = (self.read([number], salt) for salt in ("", "", "other"))
            if not _same(first, again):
                raise ValueError(
                    f"sample {number} of {kind_of(self.data)} differs when it is read again: a landscape needs fixed "
                    "data. Take the random transformation out, or let it draw from the global generators of torch, "
                    "NumPy or random, which are seeded for each sample"
                )
            found = found or not _same(first, other)
        return found

    @property
    def draws_by_batch(self) -> bool:
        """True if the collation draws random numbers for a batch, so that a sample depends on those beside it."""
        if len(self) < 2:
            return False
        alone, both = self.read([1]), self.read([0, 1])
        pairs = zip(tree_leaves(alone), tree_leaves(both), strict=True)
        return any(a.shape[1:] == b.shape[1:] and not same_bits(a[0], b[1]) for a, b in pairs)


class _Batches(Dataset[Any]):
    """The batches of a pass as a data set of torch, for its worker processes."""

    def __init__(self, samples: Samples, batches: Sequence[Sequence[int]]) -> None:
        self._samples, self._batches = samples, batches

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> Any:
        return self._samples.read(self._batches[index])


def _unchanged(batch: Any) -> Any:
    return batch


def collate_samples(samples: list[Any]) -> Any:
    """Return samples as a batch as ``default_collate`` does, but lists of numbers in them as vectors."""
    try:
        return default_collate([_with_vectors(sample) for sample in samples])
    except KeyError as error:
        raise TypeError(f"samples don't make a batch: not all of them have the entry {error}") from error
    except (TypeError, RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        advice = "let the data set return dense tensors (to_dense())" if "sparse" in reason else _ADVICE
        raise TypeError(f"samples of type {kind_of(samples[0])} don't make a batch ({reason}): {advice}") from error


def _with_vectors(sample: Any) -> Any:
    """Return a sample whose lists of numbers are tensors; ``default_collate`` would transpose them."""
    if isinstance(sample, dict):
        return {name: _vector(value) for name, value in sample.items() if value is not None}
    if type(sample) in (tuple, list) and any(isinstance(value, list) for value in sample):
        return type(sample)(map(_vector, sample))
    return sample


def _vector(value: Any) -> Any:
    if isinstance(value, dict):
        return _with_vectors(value)
    if not isinstance(value, list) or not value or isinstance(value[0], str | Tensor | dict):
        return value
    array = np.asarray(value)
    return torch.as_tensor(array) if array.dtype.kind in "biuf" else value


def _same(a: Any, b: Any) -> bool:
    return all(map(same_bits, tree_leaves(a), tree_leaves(b)))


def _seed(number: int, salt: str) -> None:
    seed = derive_seed(0, f"sample{salt}", number)
    seed_random(seed, _CPU)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  # the generator that transformations of other people use


@contextmanager
def _preserve_generators() -> Iterator[None]:
    """Restore the generators of torch, NumPy and ``random`` after the block."""
    own, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with preserve_random_state():
            yield
    finally:
        random.setstate(own)
        np.random.set_state(legacy)  # noqa: NPY002
