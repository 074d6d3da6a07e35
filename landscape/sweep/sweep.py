"""The whole of a sweep: a problem over a plane's grid into a store, on all ranks, taking up what is already there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.device import current_device
from landscape.evaluation.multi_seed import open_multi_seed_evaluator
from landscape.evaluation.precision import REDUCED, Comparison, alarming, remark_of
from landscape.geometry.plane import Plane, PlaneFamily
from landscape.geometry.weights import Weights
from landscape.parallel.devices import oversubscription_warning
from landscape.parallel.executor import Batched, execute
from landscape.parallel.fault_tolerance import is_mpi_error
from landscape.parallel.messages import Result
from landscape.parallel.ranks import Ranks, mark_collective
from landscape.problem.problem import Problem
from landscape.surface.metadata import Header, SurfaceMetadata, SweepSettings
from landscape.surface.store import FileStore, MemoryStore
from landscape.surface.surface import FAILED, PENDING, is_complete
from landscape.sweep.adaptive import Refinement, settle_round
from landscape.sweep.config import SweepConfig, SweepProgress, SweepResult
from landscape.sweep.grid import Grid

_log = logging.getLogger(__name__)


def run_sweep(
    problem: Problem,
    plane: Plane | PlaneFamily,
    grid: Grid,
    plan: SweepConfig | None = None,
    *,
    evaluation: EvaluationConfig | None = None,
    metadata: SurfaceMetadata | None = None,
    ranks: Ranks | None = None,
    device: str | None = None,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[SweepProgress], None] = lambda progress: None,
    on_warning: Callable[[str], None] | None = None,
) -> SweepResult:
    """Measure ``problem`` at every point of ``grid`` over ``plane``.

    Called by every rank of a job with equal arguments; values do not depend on how many there are.

    Args:
        problem: model, data, loss and metrics. The model is as before afterwards, bit for bit.
        plane: origin and directions, as many as the grid has axes; or the planes of several seeds.
        grid: where to measure, on each plane.
        plan: where the values go and which points are computed.
        evaluation: device, dtype, batch size, threads.
        metadata: further metadata to store: provenance, and in ``metadata.settings`` the fields ``problem``, ``split``,
            ``axes_are`` and ``other``, which are compared on resuming; the sweep fills in the rest.
        ranks: this process's place; alone by default.
        device: the very device of this rank, where ``evaluation.device`` names only the kind.
        stop: asked between points; once true, what is under way is finished and written.
        progress: called on the root after every point.
        on_warning: called on the root with what should be known before the first point (what reduced precision costs);
            by default it is logged.

    Raises:
        ValueError: plane and grid have different numbers of axes; or planes of several seeds, adaptively; or a dtype
            that the device does not have.
        StoreError: the file cannot be made, continued or written.
    """
    plan, evaluation, ranks = plan or SweepConfig(), evaluation or EvaluationConfig(), ranks or Ranks()
    if isinstance(plane, PlaneFamily):
        if plan.adaptive is not None:
            raise ValueError("an adaptive sweep is over one plane: between seeds there is nothing to interpolate")
        grid = grid.over(plane.seeds)
    if plane.ndim != len(grid.coordinates):
        raise ValueError(f"as many directions as axes expected, got {plane.ndim} and {len(grid.coordinates)}")
    metadata = metadata or SurfaceMetadata()
    given = metadata.settings or SweepSettings()
    target = device or evaluation.device
    evaluation = ranks.collective(lambda: replace(evaluation, device=target.partition(":")[0]))
    crowded = oversubscription_warning(ranks, evaluation.threads)
    if crowded and ranks.is_root:
        _log.warning(crowded)
    with ExitStack() as stack:
        # A file that is continued says already what reduced precision costs.
        fresh = ranks.is_root and (plan.out is None or plan.overwrite or not plan.out.exists())
        comparison = ranks.collective(
            lambda: (
                Comparison(problem, plane, grid.coordinates, evaluation, target, plan.data_bytes)
                if fresh and evaluation.dtype in REDUCED
                else None
            )
        )
        # Entered in agreement: a device that fails on one rank must not leave the others waiting for it.
        evaluate = ranks.collective(
            lambda: stack.enter_context(open_multi_seed_evaluator(problem, plane, evaluation, target, plan.data_bytes))
        )
        precision = ranks.collective(lambda: comparison and comparison.report(evaluate, evaluate.names))
        header = Header(
            coordinates=grid.coordinates,
            metrics=evaluate.names,
            metadata=replace(
                metadata,
                settings=SweepSettings(
                    axes=tuple(str(axis) for axis in grid.axes),
                    metrics=tuple(evaluate.names),
                    samples={name: len(split) for name, split in problem.splits.items()},
                    data={name: split.digest() for name, split in problem.splits.items()},
                    origin=plane.origin.digest(),
                    directions=_digests(plane),
                    seeds=plane.seeds if isinstance(plane, PlaneFamily) else (),
                    fixed=_fixed(problem, plane),
                    **{**evaluation.to_json(), "batch_size": evaluate.batch_size, "engine": evaluate.engine},
                    problem=given.problem,
                    split=given.split,
                    axes_are=given.axes_are,
                    other=given.other,
                ),
                title=plan.title or metadata.title,
                precision=precision or None,
                origin_values=evaluate.at_origin or None,
            ),
            plane=plane,
            interpolated=plan.adaptive is not None,
        )
        ranks.require_equal(header.settings.to_json())

        def compute(index: int) -> np.ndarray:
            with current_device(target):
                return evaluate(grid.point(index))

        def compute_many(indices: Sequence[int]) -> np.ndarray:
            with current_device(target):
                return evaluate.many([grid.point(index) for index in indices])

        batched = Batched(evaluate.points, compute_many) if evaluate.points > 1 else None

        # Only the root opens the file, but all ranks must hear of it if it cannot.
        store = ranks.collective(lambda: _open(header, plan) if ranks.is_root else None)
        if store is None:
            while True:
                for _ in execute(ranks, compute, (), stop, batched):
                    raise AssertionError("only the root is given results")
                if plan.adaptive is None or not ranks.share(ranks.collective(lambda: False)):
                    ranks.collective(lambda: None)  # the root closes the file
                    return SweepResult(None)

        if precision:
            (on_warning or (_log.warning if alarming(precision) else _log.info))(remark_of(precision))

        def stopping() -> bool:
            if stop():
                store.flush()  # what asked for the end may not wait for the points under way
                return True
            store.flush_if_due()
            return False

        refinement = None if plan.adaptive is None else Refinement(grid.shape, plan.adaptive)
        computed = 0
        with store:
            while True:
                asked = plan.mine(np.arange(len(grid))) if refinement is None else refinement.asked
                points = np.intersect1d(asked, store.pending(plan.retry_failed))
                results = execute(ranks, compute, points, stopping, batched)
                outcome = _gather(results, store, asked, ranks, plan, progress, computed)
                computed = outcome.computed
                if refinement is None:
                    break
                more = ranks.share(
                    ranks.collective(lambda o=outcome: not o.pending and settle_round(store, refinement))
                )
                if not more:
                    store.sweep_complete = outcome.complete
                    outcome = replace(outcome, surface=store.surface(outcome.surface.name), error=refinement.error)
                    break
            ranks.collective(store.close)
        return outcome


def _fixed(problem: Problem, plane: Plane | PlaneFamily) -> str:
    """Digest of the tensors of the model that the plane does not move: running statistics, frozen buffers."""
    kept = {k: v for k, v in problem.model.state_dict().items() if k not in plane.origin.tensors}
    return Weights({k: v.detach() for k, v in kept.items()}).digest()


def _digests(plane: Plane | PlaneFamily) -> tuple[str | tuple[str, ...], ...]:
    return tuple(tuple(d) if isinstance(d, list) else d for d in plane.digests())


def _open(header: Header, plan: SweepConfig) -> MemoryStore:
    return MemoryStore(header) if plan.out is None else FileStore.open(plan.out, header, plan.overwrite)


def _gather(
    results: Generator[Result],
    store: MemoryStore,
    asked: np.ndarray,
    ranks: Ranks,
    plan: SweepConfig,
    progress: Callable[[SweepProgress], None],
    computed: int = 0,
) -> SweepResult:
    """Record what comes in; of the points ``asked`` for, say what became of them."""
    per_rank = dict.fromkeys(range(ranks.size), 0)
    flat = store.status.reshape(-1)
    done, seconds = int(is_complete(flat[asked]).sum()), 0.0
    try:
        for result in results:
            if result.values is None:
                store.fail(result.point, result.message, result.seconds)
            else:
                store.record(result.point, result.values, result.seconds)
                per_rank[result.rank] += 1
                done, computed = done + 1, computed + 1
            seconds += result.seconds
            progress(SweepProgress(done, len(asked), len(store.messages), per_rank, seconds))
    except Exception as error:
        results.close()  # releases the workers, with an error of their own
        if not is_mpi_error(error):
            mark_collective(error)
        raise
    return SweepResult(
        store.surface(plan.title or (plan.out.stem if plan.out else "")),
        pending=int((flat[asked] == PENDING).sum()),
        failed=int((flat[asked] == FAILED).sum()),
        messages=dict(store.messages),
        computed=computed,
    )
