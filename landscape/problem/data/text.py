"""A text file as data for a language model: characters in windows of equal length."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from landscape._utils.reading import read_text
from landscape.errors import DataError
from landscape.problem.measures import accuracy, cross_entropy
from landscape.problem.problem import Dataset, Split

MAX_BYTES = 2**30
"""Largest text file (1 GiB)."""


def load(*, data: str | os.PathLike[str] | None = None, context: int = 64) -> Dataset:
    """Load a text file for the prediction of each next character.

    A character is encoded by its position among the sorted distinct characters of the whole file. The last tenth of the
    file is the test split. Each split is cut into consecutive windows without overlap; a remainder is dropped.

    Args:
        data: text file, UTF-8.
        context: number of characters in a window.

    Returns:
        Splits ``train`` and ``test`` of inputs and targets ``(n, context)`` int64; the targets are the inputs one
        character later.

    Raises:
        DataError: the file is missing, is not UTF-8, or is too short for one window in each split.
        ValueError: ``context`` is below 1.
    """
    if not isinstance(context, int) or context < 1:
        raise ValueError(f"text: expected a context of at least 1 character, got {context!r}")
    if data is None:
        raise DataError("text needs a file to read; name it with data=FILE")
    path = Path(data).expanduser()
    codes, vocabulary = _read(path)
    cut = len(codes) - len(codes) // 10
    return Dataset(
        splits={
            "train": _windows(codes[:cut], context, f"{path}, training part"),
            "test": _windows(codes[cut:], context, f"{path}, last tenth"),
        },
        loss=cross_entropy,
        metrics={"acc": accuracy},
        model_hints={"vocabulary": vocabulary, "context": context},
        description={"source": path.name, "characters": len(codes), "vocabulary": vocabulary, "context": context},
    )


def _read(path: Path) -> tuple[npt.NDArray[np.int64], int]:
    """Return the code of each character ``(length,)`` and the number of distinct characters."""
    text = read_text(path, DataError, max_bytes=MAX_BYTES)
    points = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    characters, codes = np.unique(points, return_inverse=True)
    return codes.astype(np.int64), len(characters)


def _windows(codes: npt.NDArray[np.int64], context: int, name: str) -> Split:
    # One more character than the windows hold: the last target.
    n = (len(codes) - 1) // context
    if n < 1:
        raise DataError(
            f"{name}: expected at least {context + 1} characters for a context of {context}, got {len(codes)}"
        )
    inputs, targets = (torch.from_numpy(codes[k : k + n * context].reshape(n, context)) for k in (0, 1))
    return Split(inputs, targets)
