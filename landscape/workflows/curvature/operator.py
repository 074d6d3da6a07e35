"""Products with a curvature matrix, with the data split over the ranks of a job."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from landscape._utils.names import split_patterns
from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.derivatives.derivatives import LossDerivatives
from landscape.parallel.ranks import RankError, Ranks, mark_collective
from landscape.problem.problem import Problem
from landscape.training.checkpoint import load_checkpoint, load_into


@dataclass(frozen=True)
class _Command:
    """A request of the root to the other ranks.

    Attributes:
        kind: ``open``, ``product``, ``close`` or ``end``.
        only: with ``open``, patterns of parameters.
        freeze: with ``open``, patterns of parameters.
        checkpoint: with ``open``, the weights to load.
        matrix: with ``product``, the matrix.
        vectors: with ``product``, the vectors.
    """

    kind: str
    only: tuple[str, ...] = ()
    freeze: tuple[str, ...] = ()
    checkpoint: Path | None = None
    matrix: str = ""
    vectors: Tensor | None = None


class CurvatureOperator:
    """Products with a curvature matrix of the mean loss; each rank passes its part of the batches.

    The root opens, multiplies and ends; all other ranks call :meth:`serve`. Parts are added in the order of the ranks,
    so a result is the same each time for one number of ranks; for another number it differs by the rounding of the sum.

    Args:
        problem: the problem, built on each rank.
        evaluation: device, dtype, batch size and so on.
        split: name of the split.
        device: device of this rank.
        ranks: the ranks of the job.
    """

    def __init__(self, problem: Problem, evaluation: EvaluationConfig, split: str, device: str, ranks: Ranks) -> None:
        self._problem, self._evaluation, self._split = problem, evaluation, split
        self._device, self._ranks = device, ranks
        self._open: LossDerivatives | None = None
        self._parts = ranks.size  # into which the data are divided
        self._failed = False  # all ranks have left, because of an error

    @contextmanager
    def open(
        self, only: str | Sequence[str] = (), freeze: str | Sequence[str] = (), checkpoint: Path | None = None
    ) -> Iterator[LossDerivatives]:
        """Prepare the model on all ranks; called on the root.

        Args:
            only: patterns of the names of parameters that move.
            freeze: patterns of the names of parameters that don't move.
            checkpoint: file whose weights to load first; the model keeps them.

        Yields:
            The derivatives of the root's own part of the data.
        """
        self._do(_Command("open", split_patterns(only), split_patterns(freeze), checkpoint))
        assert self._open is not None
        try:
            yield self._open
        finally:
            if self._failed:
                self._leave()
            else:
                self._do(_Command("close"))

    def product(self, vectors: Tensor, matrix: str) -> Tensor:
        """Return the products with vectors ``(n,)`` or ``(k, n)`` over all data, float64; called on the root."""
        found = self._do(_Command("product", matrix=matrix, vectors=vectors))
        assert found is not None
        return found

    def end(self) -> None:
        """Let the other ranks return from :meth:`serve`; called on the root."""
        if not self._failed:
            self._ranks.share(_Command("end"))

    def serve(self) -> None:
        """Follow the root until it ends; called on the other ranks."""
        while (command := self._ranks.share(_Command("end"))).kind != "end":
            self._carry_out(command)

    def _do(self, command: _Command) -> Tensor | None:
        """Carry out a command on all ranks."""
        if self._ranks.comm is not None and command.vectors is not None:
            self._ranks.share(_Command(command.kind, matrix=command.matrix, vectors=command.vectors.cpu()))
        else:
            self._ranks.share(command)
        return self._carry_out(command)

    def _carry_out(self, command: _Command) -> Tensor | None:
        work: dict[str, Callable[[], Tensor | None]] = {
            "open": lambda: self._enter(command),
            "close": self._leave,
            "product": lambda: self._own_product(command),
        }
        try:
            found = self._ranks.collective(work[command.kind])
            if command.kind != "close" and self._ranks.size != self._parts:
                raise mark_collective(RankError("a rank died, and its part of the data is missing; repeat the call"))
        except Exception:
            self._failed = True
            raise
        return None if found is None else self._sum(found)

    def _enter(self, command: _Command) -> None:
        if command.checkpoint is not None:
            load_into(self._problem.model, load_checkpoint(command.checkpoint))
        self._parts = self._ranks.size
        derivatives = LossDerivatives(
            self._problem, self._evaluation, split=self._split, only=command.only, freeze=command.freeze,
            device=self._device, part=(self._ranks.rank, self._parts),
        )  # fmt: skip
        self._open = derivatives.__enter__()

    def _leave(self) -> None:
        derivatives, self._open = self._open, None
        if derivatives is not None:
            derivatives.__exit__(None, None, None)

    def _own_product(self, command: _Command) -> Tensor:
        assert self._open is not None
        assert command.vectors is not None
        return self._open.product(command.vectors, matrix=command.matrix)

    def _sum(self, part: Tensor) -> Tensor | None:
        """Return the sum of the parts of all ranks on the root, in the order of the ranks; None elsewhere."""
        comm = self._ranks.comm
        if comm is None:
            return part
        own = np.ascontiguousarray(part.cpu().numpy())
        if not self._ranks.is_root:
            comm.Send(own, dest=0)
            return None
        received = np.empty_like(own)
        for rank in range(1, self._ranks.size):
            comm.Recv(received, source=rank)
            own += received
        return torch.from_numpy(own).to(part.device)
