"""A sweep: the values of a problem at every point of a grid over a plane, on all ranks, resumed if interrupted.

:func:`run_sweep` prepares the sweep on each rank (:mod:`landscape.sweep.prepared`). Then the root opens the store,
hands out points and records results, while the other ranks compute; the root computes as well.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from landscape.evaluation.config import EvaluationConfig
from landscape.geometry.plane import Plane
from landscape.geometry.plane_sets import PlaneSet
from landscape.parallel.devices import oversubscription_warning
from landscape.parallel.executor import execute
from landscape.parallel.fault_tolerance import is_mpi_error
from landscape.parallel.messages import Result
from landscape.parallel.ranks import Ranks, mark_collective
from landscape.problem.problem import Problem
from landscape.surface.extension import extend_surface
from landscape.surface.metadata import SurfaceMetadata
from landscape.surface.store import FileStore, MemoryStore
from landscape.surface.surface import FAILED, PENDING, is_complete
from landscape.sweep.adaptive import Adaptive, Refinement, finish_round
from landscape.sweep.config import SweepConfig, SweepProgress, SweepResult
from landscape.sweep.grid import Grid
from landscape.sweep.prepared import PreparedSweep, SweepInputs, prepare, stored_settings

_log = logging.getLogger(__name__)


def run_sweep(
    problem: Problem,
    plane: Plane | PlaneSet,
    grid: Grid,
    config: SweepConfig | None = None,
    *,
    evaluation: EvaluationConfig | None = None,
    metadata: SurfaceMetadata | None = None,
    ranks: Ranks | None = None,
    device: str | None = None,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[SweepProgress], None] = lambda progress: None,
    on_warning: Callable[[str], None] | None = None,
) -> SweepResult:
    """Compute the losses and metrics of ``problem`` at every point of ``grid`` over ``plane``.

    Every rank of a job calls this function with equal arguments; values do not depend on the number of ranks. A file
    that exists is resumed.

    Args:
        problem: model, data, loss and metrics. The model is restored bit for bit.
        plane: origin and directions, as many as the grid has axes; or several planes, of seeds or checkpoints.
        grid: points to compute, on each plane.
        config: output, and choice of points.
        evaluation: device, dtype, batch size, threads. The dtype ``auto`` is that of a file to be resumed, otherwise
            that of the weights.
        metadata: further metadata to store. Of ``metadata.settings``, the fields ``problem``, ``split``, ``axes_are``
            and ``other`` are taken, and compared on resuming; the sweep fills in the other settings, and recipes,
            description of the problem and environment if they are missing.
        ranks: ranks of the job; by default a single process.
        device: device of this rank, if ``evaluation.device`` names only the kind.
        stop: polled between points; once true, points under way are finished and written.
        progress: called on the root after each point.
        on_warning: called on the root, before the first point, with a message on the cost of reduced precision or on
            measures of whole batches; by default the message is logged.

    Returns:
        The surface (None on ranks other than the root), and the number of points that are left or failed.

    Raises:
        ValueError: plane and grid have different numbers of axes, an adaptive sweep has several planes, or the device
            does not support the dtype.
        StoreError: the file cannot be created, resumed or written.
        RankError: the ranks would compute different things, or the root died.
    """
    ranks, given, config = ranks or Ranks(), evaluation or EvaluationConfig(), config or SweepConfig()
    if given.dtype == "auto":
        stored = ranks.from_root(lambda: stored_settings(config))
        given = given if stored is None else replace(given, dtype=stored.dtype)
    target = device or given.device
    on_device = ranks.collective(lambda: replace(given, device=target.partition(":")[0]).resolved(problem.model))
    inputs = SweepInputs(problem, plane, grid, config, on_device, target, metadata or SurfaceMetadata())
    crowded = oversubscription_warning(ranks, on_device.threads)
    if crowded and ranks.is_root:
        _log.warning(crowded)
    with prepare(inputs, ranks) as prepared:
        if not ranks.is_root:
            return _Worker(prepared, ranks, stop).run()
        return _Root(prepared, ranks, stop, progress, on_warning).run()


@dataclass
class _Worker:
    """A rank other than the root: computes points until the root has no more.

    Its collective operations are those of :class:`_Root`, in the same order.
    """

    prepared: PreparedSweep
    ranks: Ranks
    stop: Callable[[], bool]

    def run(self) -> SweepResult:
        """Compute points; the result has no surface."""
        self.ranks.collective(_nothing)  # the root opens the store
        is_adaptive = self.prepared.inputs.config.adaptive is not None
        while True:
            for _ in execute(self.ranks, self.prepared.compute, (), self.stop, self.prepared.batched):
                pass  # results go to the root
            if not is_adaptive or not self.ranks.share(self.ranks.collective(lambda: False)):
                break
        self.ranks.collective(_nothing)  # the root closes the store
        return SweepResult(None)


class _Root:
    """The root rank: opens the store, hands out points, records results, and computes as well."""

    def __init__(
        self,
        prepared: PreparedSweep,
        ranks: Ranks,
        stop: Callable[[], bool],
        progress: Callable[[SweepProgress], None],
        on_warning: Callable[[str], None] | None,
    ) -> None:
        self._prepared, self._config, self._ranks = prepared, prepared.inputs.config, ranks
        self._stop, self._progress, self._on_warning = stop, progress, on_warning
        self._computed = 0

    def run(self) -> SweepResult:
        """Compute all points, and return the surface."""
        store = self._ranks.collective(self._open_store)  # if it fails, all ranks end
        self._report()
        with store:
            adaptive = self._config.adaptive
            if not isinstance(adaptive, Adaptive):
                result = self._compute(store, self._config.mine(np.arange(len(self._prepared.inputs.grid))))
            else:
                result = self._refine(store, Refinement(self._prepared.header.shape, adaptive))
            self._ranks.collective(store.close)
        return result

    def _open_store(self) -> MemoryStore:
        if self._config.out is None:
            return MemoryStore(self._prepared.header)
        out, header = self._config.out, self._prepared.header
        if header.settings.steps and out.exists() and not self._config.overwrite:
            extend_surface(out, header)
        return FileStore.open(out, header, self._config.overwrite)

    def _report(self) -> None:
        """Tell the caller what there is to know about the measures, and what reduced precision costs."""
        for remark in self._prepared.remarks:
            tell = self._on_warning or (_log.warning if remark.startswith("warning") else _log.info)
            tell(remark)
        report = self._prepared.precision
        if report:
            tell = self._on_warning or (_log.warning if report.is_alarming else _log.info)
            tell(report.message())

    def _refine(self, store: MemoryStore, refinement: Refinement) -> SweepResult:
        """Compute rounds of points until the surface is resolved or the budget is spent."""
        while True:
            result = self._compute(store, refinement.requested)
            finish = partial(_finish_round, store, refinement, result)
            if not self._ranks.share(self._ranks.collective(finish)):
                break
        store.sweep_complete = result.complete
        return replace(result, surface=store.surface(self._name), error=refinement.error)

    def _compute(self, store: MemoryStore, requested: np.ndarray) -> SweepResult:
        """Compute those of the ``requested`` points (flat indices) that are pending, and record their results."""
        points = np.intersect1d(requested, store.pending(self._config.retry_failed))
        results = execute(
            self._ranks, self._prepared.compute, points, lambda: self._should_stop(store), self._prepared.batched
        )
        try:
            self._record(results, store, requested)
        except Exception as error:
            results.close()  # releases the workers, with an error of their own
            if not is_mpi_error(error):
                mark_collective(error)
            raise
        status = store.status.reshape(-1)[requested]
        return SweepResult(
            store.surface(self._name),
            pending=int((status == PENDING).sum()),
            failed=int((status == FAILED).sum()),
            messages=dict(store.messages),
            computed=self._computed,
        )

    def _record(self, results: Generator[Result], store: MemoryStore, requested: np.ndarray) -> None:
        """Write results to the store as they arrive, and report progress."""
        per_rank = dict.fromkeys(range(self._ranks.size), 0)
        done, seconds = int(is_complete(store.status.reshape(-1)[requested]).sum()), 0.0
        for result in results:
            if result.values is None:
                store.fail(result.point, result.message, result.seconds)
            else:
                store.record(result.point, result.values, result.seconds)
                per_rank[result.rank] += 1
                done += 1
                self._computed += 1
            seconds += result.seconds
            self._progress(SweepProgress(done, len(requested), len(store.messages), per_rank, seconds))

    def _should_stop(self, store: MemoryStore) -> bool:
        if self._stop():
            store.flush()  # a signal announces SIGKILL, which may come before the points under way are finished
            return True
        store.flush_if_due()
        return False

    @property
    def _name(self) -> str:
        return self._config.title or (self._config.out.stem if self._config.out else "")


def _finish_round(store: MemoryStore, refinement: Refinement, result: SweepResult) -> bool:
    """Finish a round of an adaptive sweep, and return True if another one follows; False if the sweep was stopped."""
    return not result.pending and finish_round(store, refinement)


def _nothing() -> None:
    """Take part in a collective operation in which only the root acts."""
