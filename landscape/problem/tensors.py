"""Nested arrays as nested tensors: those of NumPy, memory maps, tables of pandas, encodings of tokenizers."""

from __future__ import annotations

import mmap
import warnings
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

PACKED = (
    "pad the sequences, give their lengths as a second input, and pack them in forward (pack_padded_sequence with "
    "enforce_sorted=False)"
)
"""Advice for packed sequences."""


def to_tensors(tree: Any) -> Any:
    """Return nested arrays as nested tensors; entries of mappings that are None are left out.

    Raises:
        TypeError: something else than numbers.
    """
    if isinstance(tree, np.ndarray) and tree.dtype.names:  # a structured array
        return {name: to_tensors(tree[name]) for name in tree.dtype.names}
    if isinstance(tree, PackedSequence):
        raise TypeError(f"expected samples along the first axis, got a PackedSequence: {PACKED}")
    if isinstance(tree, Mapping):
        return {key: _entry(key, value) for key, value in tree.items() if value is not None}
    if isinstance(tree, list) and tree and isinstance(tree[0], list):
        return to_tensor(_matrix(tree))
    text = isinstance(tree, tuple | list) and any(isinstance(value, str) for value in tree)
    if isinstance(tree, tuple | list) and not text and not all(isinstance(value, int | float) for value in tree):
        entries = [_entry(f"entry {k}", value) for k, value in enumerate(tree)]
        return entries if type(tree) is list else tuple(entries)
    return to_tensor(tree)


def _entry(key: Any, value: Any) -> Any:
    try:
        return to_tensors(value)
    except TypeError as error:
        raise TypeError(f"{key}: {error}, or leave this entry out") from error


def _matrix(rows: list[Any]) -> Any:
    """Return lists of numbers as an array."""
    try:
        return np.asarray(rows)
    except ValueError as error:
        raise ValueError(
            "expected lists of numbers of one length: pad them (tokenizer(..., padding=True)), or give samples and "
            "Split.of(samples, collate=pad)"
        ) from error


def to_tensor(value: Any) -> Tensor:
    """Return an array as a tensor, without a copy where that is possible."""
    if isinstance(value, Tensor):
        return value
    array = value.to_numpy() if hasattr(value, "to_numpy") else value  # a table or column of pandas, for instance
    if hasattr(array, "toarray"):  # of scipy
        raise TypeError(f"expected a dense array, got {kind_of(value)}: use toarray()")
    array = np.asanyarray(array)
    if array.dtype.kind not in "biufc":
        kinds = value.dtypes if hasattr(value, "columns") else {}  # of the columns of a table
        columns = [str(name) for name, kind in kinds.items() if getattr(kind, "kind", "O") not in "biufc"]
        where = f" in {', '.join(columns)}" if columns else ""
        advice = "encode text and categories first"
        if isinstance(value, np.ndarray) and array.dtype.kind == "O":
            advice += ", and stack arrays of one size (np.stack)"
        raise TypeError(f"expected numbers{where}, got {kind_of(value)} of type {array.dtype}: {advice}")
    base: object = array.base
    if isinstance(array, np.memmap) and not array.flags.writeable and isinstance(base, mmap.mmap):
        # Private: a network that writes into its inputs would crash the process in a map that is read only.
        order: Literal["C", "F"] = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
        array = np.memmap(str(array.filename), array.dtype, "c", array.offset, array.shape, order)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if any(stride < 0 or stride % array.itemsize for stride in array.strides):  # reversed; a field of a record
        array = array.copy()
    with warnings.catch_warnings(action="ignore"):  # of arrays that are read only
        return torch.from_numpy(np.asarray(array)) if array.ndim else torch.as_tensor(array.item())


def kind_of(value: Any) -> str:
    """Return the name of the type of a value, for messages."""
    return type(value).__name__
