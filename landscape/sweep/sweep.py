"""The whole of a sweep: a problem over a plane's grid into a store, on all ranks, taking up what is already there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from landscape.geometry.family import PlaneFamily
from landscape.geometry.plane import Plane
from landscape.geometry.weights import Weights
from landscape.problem.problem import Problem
from landscape.surface.header import Header
from landscape.surface.memory import MemoryStore
from landscape.surface.store import FileStore
from landscape.surface.surface import DONE, FAILED, PENDING, Surface
from landscape.sweep.devices import current, repeatable, warn_of_crowding
from landscape.sweep.evaluator import Numerics
from landscape.sweep.executor import execute
from landscape.sweep.grid import Grid
from landscape.sweep.members import evaluating_over
from landscape.sweep.ranks import Ranks, known_to_all

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """Where a sweep stands, for whoever shows it.

    Attributes:
        done: points computed, those of earlier runs included.
        total: points asked for.
        failed: points given up.
        per_rank: points each rank has computed in this run.
        seconds: time spent on the points of this run, over all ranks.
    """

    done: int
    total: int
    failed: int
    per_rank: Mapping[int, int]
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """What a sweep left behind.

    Attributes:
        surface: the values; on other ranks than the root, None.
        pending: points still to compute.
        failed: points that failed.
        messages: why points failed, by flat index.
        computed: points computed in this run.
    """

    surface: Surface | None
    pending: int = 0
    failed: int = 0
    messages: Mapping[int, str] | None = None
    computed: int = 0

    @property
    def complete(self) -> bool:
        """Whether every point is done."""
        return not self.pending and not self.failed


@dataclass(frozen=True)
class Plan:
    """How a sweep is carried out; nothing here changes a value.

    Attributes:
        out: the surface file; None keeps the values in memory.
        overwrite: replace a file of that name instead of continuing it.
        retry_failed: take up points that failed before.
        shard: ``(i, n)`` computes only every n-th point from the i-th on, for array jobs whose files are merged.
        title: what the surface is called on figures.
    """

    out: Path | None = None
    overwrite: bool = False
    retry_failed: bool = False
    shard: tuple[int, int] | None = None
    title: str = ""

    def __post_init__(self) -> None:
        if self.shard is not None:
            part, parts = self.shard
            if not 0 <= part < parts:
                raise ValueError(f"a shard (i, n) with i from 0 to n-1 expected, got {self.shard}")

    def mine(self, points: np.ndarray) -> np.ndarray:
        """Those of ``points`` (flat indices) that belong to the shard."""
        if self.shard is None:
            return points
        part, parts = self.shard
        return points[points % parts == part]


def compute_surface(
    problem: Problem,
    plane: Plane | PlaneFamily,
    grid: Grid,
    plan: Plan | None = None,
    *,
    numerics: Numerics | None = None,
    settings: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    ranks: Ranks | None = None,
    device: str | None = None,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[Progress], None] = lambda progress: None,
) -> Outcome:
    """Measure ``problem`` at every point of ``grid`` over ``plane``.

    Called by every rank of a job with equal arguments; values do not depend on how many there are.

    Args:
        problem: model, data, loss and metrics. The model is as before afterwards, bit for bit.
        plane: origin and directions, as many as the grid has axes; or the planes of several seeds.
        grid: where to measure, on each plane.
        plan: where the values go and which points are computed.
        numerics: device, dtype, batch size, threads.
        settings: further settings on which the values depend, to be stored and compared on resuming.
        provenance: what else the file should say.
        ranks: this process's place; alone by default.
        device: the very device of this rank, where ``numerics.device`` names only the kind.
        stop: asked between points; once true, what is under way is finished and written.
        progress: called on the root after every point.

    Raises:
        ValueError: plane and grid have different numbers of axes.
        StoreError: the file cannot be made, continued or written.
    """
    plan, numerics, ranks = plan or Plan(), numerics or Numerics(), ranks or Ranks()
    if isinstance(plane, PlaneFamily):
        grid = grid.over(plane.seeds)
    if plane.ndim != len(grid.coordinates):
        raise ValueError(f"as many directions as axes expected, got {plane.ndim} and {len(grid.coordinates)}")
    target = device or numerics.device
    numerics = replace(numerics, device=target.partition(":")[0])
    crowded = warn_of_crowding(ranks, numerics.threads)
    if crowded and ranks.is_root:
        log.warning(crowded)
    with ExitStack() as stack:
        stack.enter_context(repeatable(target))
        # Entered in agreement: a device that fails on one rank must not leave the others waiting for it.
        evaluate = ranks.agree(lambda: stack.enter_context(evaluating_over(problem, plane, numerics, target)))
        header = Header(
            coordinates=grid.coordinates,
            metrics=evaluate.names,
            settings={
                "axes": [str(axis) for axis in grid.axes],
                "metrics": list(evaluate.names),
                "samples": {name: len(split) for name, split in problem.splits.items()},
                "data": {name: split.digest() for name, split in problem.splits.items()},
                "origin": plane.origin.digest(),
                "directions": plane.digests(),
                **({"seeds": list(plane.seeds)} if isinstance(plane, PlaneFamily) else {}),
                "fixed": _fixed(problem, plane),
                **asdict(numerics),
                "batch_size": evaluate.batch_size,
                "engine": evaluate.engine,
                **(settings or {}),
            },
            provenance={**(provenance or {}), **({"title": plan.title} if plan.title else {})},
            plane=plane,
        )
        ranks.require_equal(header.settings)

        def compute(index: int) -> np.ndarray:
            with current(target):
                return evaluate(grid.point(index))

        # Only the root opens the file, but all ranks must hear of it if it cannot.
        store = ranks.agree(lambda: _open(header, plan) if ranks.is_root else None)
        if store is None:
            for _ in execute(ranks, compute, (), stop):
                raise AssertionError("only the root is given results")
            return Outcome(None)

        def stopping() -> bool:
            if stop():
                store.flush()  # what asked for the end may not wait for the points under way
                return True
            store.tick()
            return False

        try:
            results = execute(ranks, compute, plan.mine(store.pending(plan.retry_failed)), stopping)
            with store, closing(results):
                return _gather(results, store, plan, ranks, progress)
        except Exception as error:
            # Closing the results has released the workers, with an error of their own.
            known_to_all(error)
            raise


def _fixed(problem: Problem, plane: Plane | PlaneFamily) -> str:
    """Digest of the tensors of the model that the plane does not move: running statistics, frozen buffers."""
    kept = {k: v for k, v in problem.model.state_dict().items() if k not in plane.origin.tensors}
    return Weights({k: v.detach() for k, v in kept.items()}).digest()


def _open(header: Header, plan: Plan) -> MemoryStore:
    return MemoryStore(header) if plan.out is None else FileStore.open(plan.out, header, plan.overwrite)


def _gather(
    results: Any, store: MemoryStore, plan: Plan, ranks: Ranks, progress: Callable[[Progress], None]
) -> Outcome:
    per_rank = dict.fromkeys(range(ranks.size), 0)
    flat = store.status.reshape(-1)
    mine = plan.mine(np.arange(flat.size))
    done, computed, seconds = int((flat[mine] == DONE).sum()), 0, 0.0
    for result in results:
        if result.values is None:
            store.fail(result.index, result.message, result.seconds)
        else:
            store.record(result.index, result.values, result.seconds)
            per_rank[result.rank] += 1
            done, computed = done + 1, computed + 1
        seconds += result.seconds
        progress(Progress(done, len(mine), len(store.messages), per_rank, seconds))
    return Outcome(
        store.surface(plan.title or (plan.out.stem if plan.out else "")),
        pending=int((flat[mine] == PENDING).sum()),
        failed=int((flat[mine] == FAILED).sum()),
        messages=dict(store.messages),
        computed=computed,
    )
