"""Values of each sample at reference points, with which those at other points are compared sample by sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


class PairedBaseline:
    """The loss of each sample at the origin, with which the losses at other points are compared.

    The standard error of the difference of two means over the same samples is that of the mean of the differences:
    whatever the samples have in common at both points, which is most of it, cancels.

    Args:
        counts: number of samples of each split.
    """

    def __init__(self, counts: Mapping[str, int]) -> None:
        self._counts = dict(counts)
        self._values: dict[tuple[str, str], Tensor] = {}
        self._recording = False

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record the losses of the points that are computed in this context, which must be the origin."""
        self._recording = True
        try:
            yield
        finally:
            self._recording = False

    def differences(self, split: str, first: int, rows: Tensor, samples: int, kind: str = "loss") -> Tensor:
        """Return values minus those at the origin, ``(points, rows)``; only ``samples`` of each row are valid.

        Args:
            split: name of the split.
            first: index of the first sample of the batch.
            rows: values ``(points, rows)``, each row with its padding.
            samples: number of samples of the batch, without padding.
            kind: name of the values: the losses, or their weights.
        """
        batch = slice(first, first + samples)
        if self._recording:
            recorded = self._values.setdefault((split, kind), rows.new_empty(self._counts[split]))
            recorded[batch] = rows[0, :samples]
        differences = torch.empty_like(rows)
        torch.sub(rows[:, :samples], self._values[split, kind][batch], out=differences[:, :samples])
        return differences


class Chord:
    """The values of each sample at both ends of a line, and what other points exceed their interpolation by.

    The excess of a sample at coordinate ``t`` is its value there minus ``(1 - t)`` times that at 0 and ``t`` times that
    at 1. Its mean over the samples is the barrier at ``t``, and its standard error that of paired differences.

    Args:
        counts: number of samples of each split.
    """

    def __init__(self, counts: Mapping[str, int]) -> None:
        self._counts = dict(counts)
        self._ends: tuple[dict[str, Tensor], dict[str, Tensor]] = ({}, {})
        self._recording: int | None = None
        self._positions: Sequence[float] = ()

    @contextmanager
    def recording(self, end: int) -> Iterator[None]:
        """Record the values of the point that is computed in this context: the end at coordinate 0 or 1."""
        self._recording = end
        try:
            yield
        finally:
            self._recording = None

    def place(self, points: Sequence[Sequence[float]]) -> None:
        """Note the coordinates of the points of a launch."""
        self._positions = [point[0] for point in points]

    def excess(self, split: str, key: str, first: int, rows: Tensor, samples: int) -> Tensor:
        """Return the excess over the chord, ``(points, samples)``.

        Args:
            split: name of the split.
            key: split and measure, as ``train_loss``.
            first: index of the first sample of the batch.
            rows: values ``(points, rows)``, each row with its padding.
            samples: number of samples of the batch, without padding.
        """
        batch = slice(first, first + samples)
        if self._recording is not None:
            recorded = self._ends[self._recording].setdefault(key, rows.new_empty(self._counts[split]))
            recorded[batch] = rows[0, :samples]
            return torch.zeros_like(rows[:, :samples])
        start, end = (values[key][batch] for values in self._ends)
        # At the ends themselves, an infinite value at the other one has no weight.
        chords = [start if t == 0 else end if t == 1 else (1 - t) * start + t * end for t in self._positions]
        return rows[:, :samples] - torch.stack(chords)
