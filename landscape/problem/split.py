"""A split: one part of a data set, as tensors."""

from __future__ import annotations

import hashlib
from collections import UserDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from landscape._utils.text import counted
from landscape._utils.torch_compat import tree_leaves, tree_map
from landscape._utils.torch_state import converted_dtype
from landscape.problem.tensors import PACKED

NO_TARGETS = (
    "Where inputs are their own targets, as for an autoencoder: Split(x, x); where the loss needs none: "
    "Split(x, torch.zeros(len(x)))"
)
"""Advice for data without targets."""


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set, as tensors.

    Samples are in memory, unless :meth:`of` leaves them where they are and reads them when they are needed.

    Attributes:
        inputs: tensor ``(n, ...)``, or a tuple, list or dict of such tensors, passed to the model as they are.
        targets: tensor ``(n, ...)``, or nested tensors as for ``inputs``, passed to the loss as they are.

    Raises:
        TypeError: a leaf of ``inputs`` or ``targets`` is not a tensor.
        ValueError: the tensors differ in length, or are scalars.
    """

    inputs: Any
    targets: Any = None  # only for the message; a data set given as the inputs has its own

    def __post_init__(self) -> None:
        for name, given in (("inputs", self.inputs), ("targets", self.targets)):
            if isinstance(given, UserDict):  # as the encodings of tokenizers, which torch doesn't look into
                object.__setattr__(self, name, dict(given))
        leaves = tree_leaves((self.inputs, self.targets))
        if isinstance(self.inputs, PackedSequence):
            raise TypeError(f"expected samples along the first axis, got a PackedSequence: {PACKED}")
        for leaf in leaves:
            if not isinstance(leaf, Tensor):
                kind = "None" if leaf is None else type(leaf).__name__
                advice = "converts arrays, data sets and loaders"
                if leaf is None and self.targets is not None:
                    advice = "leaves entries that are None out"
                elif leaf is None and all(isinstance(each, Tensor) for each in tree_leaves(self.inputs)):
                    raise TypeError(f"expected inputs and targets as tensors, got no targets. {NO_TARGETS}")
                raise TypeError(f"expected inputs and targets as tensors, got {kind}; Split.of {advice}")
            if leaf.layout is not torch.strided:
                raise TypeError(
                    f"expected dense inputs and targets, got a tensor of layout {leaf.layout}: use to_dense(), or make "
                    "a sparse matrix that belongs to the network, such as a graph, one of its buffers"
                )
        lengths = {len(leaf) if leaf.dim() else "none (a scalar)" for leaf in leaves}
        if len(lengths) != 1 or not all(leaf.dim() for leaf in leaves):
            raise ValueError(
                "expected inputs and targets of the same length, got lengths "
                f"{', '.join(map(str, sorted(lengths, key=lambda length: (isinstance(length, str), length))))}"
                + (
                    "; a list of samples of different sizes goes through Split.of(inputs, targets, collate=pad), "
                    "where pad makes a batch of a list of samples (input, target)"
                    if isinstance(self.inputs, list)
                    else "; what all samples share, such as the edges of a graph, belongs in the function: "
                    "Split(nodes, labels) with forward=lambda model, nodes: model(features, edges)[nodes]"
                    if isinstance(self.inputs, Mapping)
                    else ""
                )
            )

    @classmethod
    def of(
        cls,
        data: Any,
        targets: Any = None,
        *,
        limit: int | None = None,
        collate: Callable[[list[Any]], Any] | None = None,
        cache: int | str | None = None,
    ) -> Split:
        """Return a split made of a data set, a loader or arrays.

        Samples come in the order of the data set, also from a loader that shuffles. Random transformations are drawn
        once for each sample, from a seed of its own, with a warning.

        A data set of at most 256 MiB is copied into memory. A larger one is read batch by batch at each point, by the
        worker processes of a loader if it has some; batches are kept as long as half of the free memory is left. If
        that isn't enough for all, several points are computed in one pass, if reading takes much of the time. Values
        are those of a copy in memory with the same batch size, bit for bit, and only the digest is one of 256 samples.
        By default, a batch takes at most 64 MiB. A memory map of numpy stays one. A stream is copied.

        Args:
            data: a data set or ``DataLoader`` of torch, or any sequence of samples ``(inputs, targets)`` or dicts; with
                ``targets``, the inputs as arrays of numpy, memory maps, tables of pandas, or nested ones, or with
                ``collate`` a sequence of any inputs.
            targets: arrays as for the inputs; or the name of the column of a table, or of the entry that is the target,
                for samples that are dicts (``labels``, ``label``, ``targets`` or ``target`` by default).
            limit: number of samples to take, the first ones; all by default. Needed for an endless stream.
            collate: function of a list of samples that returns a batch, for samples of different sizes; by default that
                of the loader, or ``torch.utils.data.default_collate`` with lists of numbers as vectors. Batches that
                are read when they are needed may differ in length, each padded to its longest sample.
            cache: memory for batches of this split, on each rank, as bytes or text (``"4 GiB"``); the data are then
                read when they are needed, whatever their size. With 0, they are read at each point.

        Raises:
            TypeError: samples that don't become tensors, or have no targets.
            ValueError: no samples, samples of different sizes, or samples that differ each time they are read.
        """
        from landscape.problem.sources import read_split

        return read_split(data, targets, limit, collate, cache)

    def read(self) -> Split:
        """Return the split in memory: itself, unless its samples are read when they are needed."""
        return self

    def __repr__(self) -> str:
        return f"<Split: {counted(len(self), 'sample')}, inputs {_form(self.inputs)}, targets {_form(self.targets)}>"

    def __len__(self) -> int:
        return len(tree_leaves(self.inputs)[0])

    @property
    def device(self) -> torch.device:
        """Device of the inputs; of nested ones, that of the first tensor."""
        device: torch.device = tree_leaves(self.inputs)[0].device
        return device

    def take(self, index: Tensor | slice) -> Split:
        """Return the samples at ``index`` as a new split."""
        return Split(*tree_map(lambda leaf: leaf[index], (self.inputs, self.targets)))

    def batches(self, size: int) -> Iterator[Split]:
        """Yield the samples in order, ``size`` at a time; the last batch may be shorter."""
        if size < 1:
            raise ValueError(f"expected a batch size of at least 1, got {size}")
        for start in range(0, len(self), size):
            yield self.take(slice(start, start + size))

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Split:
        """Return a copy on ``device``.

        Floating-point tensors become ``dtype`` if it is given, and complex ones the type that belongs to it; integers
        keep theirs.
        """

        def move(leaf: Tensor) -> Tensor:
            return leaf.to(device=device, dtype=None if dtype is None else converted_dtype(leaf, dtype))

        return Split(*tree_map(move, (self.inputs, self.targets)))

    def digest(self) -> str:
        """Return the SHA-256 of shapes, dtypes and bytes in hexadecimal, which identifies the data.

        For nested inputs or targets a suffix identifies the structure, so that tensors under other names differ.
        """
        digest = hashlib.sha256()
        for leaf in tree_leaves((self.inputs, self.targets)):
            digest.update(f"{leaf.dtype}{tuple(leaf.shape)}".encode())
            digest.update(leaf.detach().cpu().contiguous().view(torch.uint8).numpy().reshape(-1))
        if isinstance(self.inputs, Tensor) and isinstance(self.targets, Tensor):
            return digest.hexdigest()
        structure = hashlib.sha256(_structure((self.inputs, self.targets)).encode()).hexdigest()
        return f"{digest.hexdigest()}-{structure[:8]}"


def _form(tree: Any) -> str:
    """Describe tensors by the shape of a sample and the dtype, nested ones by their number."""
    if isinstance(tree, Tensor):
        return f"{tuple(tree.shape[1:])} {str(tree.dtype).removeprefix('torch.')}"
    return f"{type(tree).__name__} of {counted(len(tree_leaves(tree)), 'tensor')}"


def _structure(tree: Any) -> str:
    """Describe the nesting of tensors, independently of the version of torch."""
    if isinstance(tree, Tensor):
        return "*"
    if isinstance(tree, Mapping):
        return "{" + ",".join(f"{key!r}:{_structure(value)}" for key, value in tree.items()) + "}"
    if isinstance(tree, tuple | list):
        return f"{type(tree).__name__}({','.join(map(_structure, tree))})"
    return type(tree).__qualname__
