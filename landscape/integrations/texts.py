"""Texts and tokenized samples as people have them, read into samples of token ids and padded to one length."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from landscape._utils.reading import parse_json, read_text
from landscape.errors import DataError

MAX_BYTES = 2**30
"""Largest text file (1 GiB)."""
IDS, MASK = "input_ids", "attention_mask"
EXTRAS = ("token_type_ids", "position_ids")
"""Further inputs that samples may have, padded by zeros."""
LABELS = ("labels", "label")
"""Names of the labels of a sample that has none under the name that was given."""
Tokenizer = Callable[..., Mapping[str, Any]]
"""A tokenizer of transformers, or a function like one: a text, or two, in; a dict with ``input_ids`` out."""


@dataclass(frozen=True)
class TextOptions:
    """Choices of which samples are read, and how.

    Attributes:
        text: name of the text in a sample that is a dict, or of two texts that are read as a pair.
        label: name of the label.
        max_length: largest number of tokens of a sample; further ones are left out.
        limit: number of samples to read, the first ones.
        tokenizer: tokenizer of the texts; None for samples that are tokenized.
        by_line: True to take each line of a ``.txt`` file as a text, False to divide the whole file into sequences of
            ``max_length`` tokens.
    """

    text: str | Sequence[str] = "text"
    label: str = "label"
    max_length: int | None = None
    limit: int | None = None
    tokenizer: Tokenizer | None = None
    by_line: bool = True

    def __post_init__(self) -> None:
        for name in ("max_length", "limit"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ValueError(f"{name}: expected a positive number, got {value!r}")

    @property
    def texts(self) -> tuple[str, ...]:
        """Names of the text, or of both texts of a pair."""
        return (self.text,) if isinstance(self.text, str) else tuple(self.text)


Sample = dict[str, Any]
"""Token ids and further inputs of a sample as sequences of numbers, and its label if it has one."""


def read_samples(data: Any, options: TextOptions) -> list[Sample]:
    """Return the samples of a file, a list of texts, a data set of dicts, or of tensors.

    Args:
        data: path of a ``.jsonl``, ``.json``, ``.csv`` or ``.txt`` file; texts, or dicts with a text or with
            ``input_ids``; a data set or loader of such; a tensor of token ids ``(samples, length)``, or a dict of
            tensors.
        options: what to read.

    Raises:
        DataError: a file is missing, damaged or empty.
        TypeError: data of another kind.
        ValueError: a sample lacks its text, or texts without a tokenizer.
    """
    if isinstance(data, str | os.PathLike):
        path = Path(data).expanduser()
        rows, source = _rows(path, options), str(path)
    else:
        rows, source = _elements(data), "data"
    samples = [
        _sample(row, options, f"{source}, sample {number}") for number, row in enumerate(islice(rows, options.limit))
    ]
    if not samples:
        raise DataError(f"{source}: expected at least one sample, got none")
    return samples


def pad_samples(samples: Sequence[Sample], pad_id: int) -> dict[str, Tensor]:
    """Return the inputs of samples as tensors ``(samples, length)``, padded on the right to the longest.

    Args:
        samples: samples with token ids.
        pad_id: token that is put into the places that the attention mask leaves out.
    """
    length = max(len(sample[IDS]) for sample in samples)
    ids = torch.full((len(samples), length), pad_id)
    mask = torch.zeros_like(ids)
    extras = {name: torch.zeros_like(ids) for name in EXTRAS if all(name in sample for sample in samples)}
    for row, sample in enumerate(samples):
        own = torch.as_tensor(sample[IDS])
        ids[row, : len(own)] = own
        mask[row, : len(own)] = torch.as_tensor(sample.get(MASK, torch.ones_like(own)))
        for name, tensor in extras.items():
            tensor[row, : len(own)] = torch.as_tensor(sample[name])
    return {IDS: ids, MASK: mask, **extras}


def _rows(path: Path, options: TextOptions) -> Iterator[Any]:
    """Yield the samples of a file as texts or dicts."""
    suffix = path.suffix.lower()
    if suffix not in (".jsonl", ".ndjson", ".json", ".csv", ".txt"):
        raise DataError(f"{path}: expected a file of texts that ends in .jsonl, .json, .csv or .txt")
    text = read_text(path, DataError, max_bytes=MAX_BYTES)
    if suffix == ".txt":
        yield from (line for line in text.splitlines() if line.strip()) if options.by_line else _blocks(text, options)
    elif suffix == ".csv":
        yield from csv.DictReader(io.StringIO(text))
    elif suffix == ".json" and text.lstrip().startswith("["):
        yield from _parsed(text, f"{path}")
    else:
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip():
                yield _parsed(line, f"{path}, line {number}")


def _parsed(text: str, place: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise DataError(f'{place}: expected JSON, such as {{"text": "..."}}, got {text[:40]!r}: {error}') from error


def _blocks(text: str, options: TextOptions) -> Iterator[Sample]:
    """Yield the tokens of a long text in consecutive sequences of the largest length."""
    if options.tokenizer is None:
        raise ValueError(_NO_TOKENIZER.format("a text"))
    ids = options.tokenizer(text, verbose=False)[IDS]
    size = options.max_length or max(1, len(ids))
    for start in range(0, len(ids), size):
        yield {IDS: ids[start : start + size]}


def _elements(data: Any) -> Iterator[Any]:
    """Yield the samples of data in memory as texts or dicts."""
    if isinstance(data, DataLoader):
        data = data.dataset  # in its own order, whatever the loader shuffles and drops
    if isinstance(data, Tensor):
        data = {IDS: data}
    if isinstance(data, Mapping):
        if IDS not in data:
            raise TypeError(
                f"expected a dict of tensors with {IDS}, got one of {', '.join(map(str, data))}; of several data sets, "
                f"give one (data[{next(iter(data), 'train')!r}])"
            )
        for row in range(len(data[IDS])):
            yield {name: column[row] for name, column in data.items()}
    elif hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        yield from (data[number] for number in range(len(data)))
    elif isinstance(data, Iterable):
        yield from data
    else:
        raise TypeError(
            f"expected a file, texts, or samples that are dicts with a text or {IDS}, got {type(data).__name__}"
        )


_NO_TOKENIZER = (
    "{} needs a tokenizer: give the folder of one, or one of transformers (tokenizer=), or samples that are tokenized "
    "(with input_ids)"
)


def _sample(row: Any, options: TextOptions, place: str) -> Sample:
    """Return a text or dict as a sample."""
    fields = {options.texts[0]: row} if isinstance(row, str) else row
    if not isinstance(fields, Mapping):
        raise TypeError(f"{place}: expected a text, or a dict with a text or {IDS}, got {type(row).__name__}")
    label = next((fields[name] for name in (options.label, *LABELS) if fields.get(name) is not None), None)
    if IDS in fields:
        sample = {name: fields[name] for name in (IDS, MASK, *EXTRAS) if name in fields}
        lengths = {name: len(values) for name, values in sample.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"{place}: expected inputs of one length, got {lengths}")
        sample = {name: values[: options.max_length] for name, values in sample.items()}
    else:
        texts = [fields.get(name) for name in options.texts]
        if not all(isinstance(text, str) for text in texts):
            raise ValueError(
                f"{place}: expected a text called {' and '.join(map(repr, options.texts))}, got entries "
                f"{', '.join(map(str, fields))}; name the text (text=)"
            )
        if options.tokenizer is None:
            raise ValueError(_NO_TOKENIZER.format(f"{place}: a text"))
        shortened = {} if options.max_length is None else {"truncation": True, "max_length": options.max_length}
        encoded = options.tokenizer(*texts, **shortened)
        sample = {name: encoded[name] for name in (IDS, MASK, *EXTRAS) if name in encoded}
    if label is not None:
        sample[LABELS[0]] = label
    return sample
