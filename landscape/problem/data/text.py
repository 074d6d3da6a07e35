"""A text file as data for a language model: character by character, in windows of one length."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

from landscape.errors import DataError
from landscape.problem.measures import accuracy, cross_entropy
from landscape.problem.problem import Dataset, Split


def load(*, data: str | os.PathLike[str] | None = None, context: int = 64) -> Dataset:
    """Predicts each next character of a file.

    A character's number is its place among the sorted distinct characters of the whole file. The last tenth of the
    file is for testing. Each part is cut into windows that follow each other without overlap; what is left at its end
    is shorter than a window and dropped.

    Args:
        data: the file, UTF-8.
        context: characters in a window.

    Returns:
        Splits ``train`` and ``test`` of inputs and targets ``(n, context)`` int64; the targets are the inputs one
        character later.

    Raises:
        DataError: the file is missing, is no UTF-8, or is too short for one window in each part.
        ValueError: a context below 1.
    """
    if not isinstance(context, int) or context < 1:
        raise ValueError(f"text: a context of at least 1 character expected, got {context!r}")
    if data is None:
        raise DataError("text is read from a file of yours: name it by data=FILE (--data FILE)")
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
        facts={"vocabulary": vocabulary, "context": context},
        description={"source": path.name, "characters": len(codes), "vocabulary": vocabulary, "context": context},
    )


def _read(path: Path) -> tuple[np.ndarray, int]:
    """Each character's number ``(length,)`` int64, and how many distinct ones there are."""
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise DataError(f"{path}: a text file expected, but it cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: UTF-8 expected, but byte {error.start} is none. Convert the file first") from error
    points = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    characters, codes = np.unique(points, return_inverse=True)
    return codes.astype(np.int64), len(characters)


def _windows(codes: np.ndarray, context: int, name: str) -> Split:
    # One character more than the windows hold: the last target.
    n = (len(codes) - 1) // context
    if n < 1:
        raise DataError(
            f"{name}: at least {context + 1} characters expected for a context of {context}, got {len(codes)}"
        )
    inputs, targets = (torch.from_numpy(codes[k : k + n * context].reshape(n, context)) for k in (0, 1))
    return Split(inputs, targets)
