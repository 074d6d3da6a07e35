"""Measurements of several networks, part by part, on the ranks of a job, continued from a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from landscape.analysis.sharpness import basin as basin_analysis
from landscape.analysis.sharpness import sharpness as sharpness_analysis
from landscape.analysis.sharpness.basin import BasinConfig
from landscape.analysis.sharpness.probe import Facts, Probe
from landscape.analysis.sharpness.sharpness import SharpnessConfig
from landscape.errors import LandscapeError
from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.device import current_device
from landscape.parallel.devices import choose_device
from landscape.parallel.executor import execute
from landscape.parallel.ranks import Ranks, mark_collective
from landscape.problem.problem import Problem
from landscape.problem.spec import ProblemSpec
from landscape.surface.measurements import MeasurementStore
from landscape.training.run import Run
from landscape.workflows.progress import Steps
from landscape.workflows.sources import SourceLike, SplitChoice, open_source

Array = NDArray[np.float64]
Config: TypeAlias = SharpnessConfig | BasinConfig


@dataclass(frozen=True)
class MeasureTask:
    """Everything that decides a measurement.

    Attributes:
        sources: problems, runs, or paths of run directories and checkpoints.
        config: what is measured.
        evaluation: device, dtype, batch size, threads, engine.
        problem: problem of checkpoints outside a run directory.
        split: splits to open; the first one is measured.
        samples: size of the subset of each split.
        out: file to create or continue.
        overwrite: replace an existing file.
    """

    sources: tuple[SourceLike, ...]
    config: Config
    evaluation: EvaluationConfig
    problem: ProblemSpec | None = None
    split: SplitChoice | None = None
    samples: int | None = None
    out: Path | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError("sources: expected one or more networks")
        files = self.config.curvature if isinstance(self.config, BasinConfig) else ()
        if files and len(files) != len(self.sources):
            raise ValueError(f"curvature: expected one file for each of {len(self.sources)} networks, got {len(files)}")

    @property
    def kind(self) -> str:
        """Kind of the numbers, which names the task in files and progress bars."""
        return "sharpness" if isinstance(self.config, SharpnessConfig) else "basin"


@dataclass(frozen=True, eq=False)
class Measured:
    """The parts of a measurement of one network.

    Attributes:
        name: name of the network.
        config: choice of what is measured, with the defaults that depend on the problem.
        facts: what must agree with other networks for a comparison.
        units: arrays by the name of the part; incomplete if the measurement was stopped.
    """

    name: str
    config: Config
    facts: Facts
    units: Mapping[str, Array] = field(default_factory=dict)

    @property
    def pending(self) -> int:
        """Number of parts that are left to compute."""
        return sum(name not in self.units for name in self.config.units)


def names_of(sources: tuple[SourceLike, ...]) -> list[str]:
    """Return distinct names of networks: the last parts of their paths, as many as it takes to tell them apart."""
    paths = [
        Path(f"network-{k + 1}") if isinstance(s, Problem) else s.path if isinstance(s, Run) else Path(s)
        for k, s in enumerate(sources)
    ]
    parts = [path.parts[-4:] or (str(path),) for path in paths]
    for depth in range(1, 5):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{name} ({k + 1})" for k, name in enumerate(names)]


def measure(
    task: MeasureTask,
    ranks: Ranks,
    report: Callable[[Steps], None],
    stop: Callable[[], bool],
    store: MeasurementStore | None,
) -> list[Measured]:
    """Measure all networks on the ranks of a job; every rank calls this with an equal task.

    Args:
        task: what to measure.
        ranks: this process's place among the ranks.
        report: called on the root after each part.
        stop: polled between parts.
        store: arrays by name, on the root; None on the other ranks.

    Returns:
        What has been measured; on ranks other than the root without arrays.

    Raises:
        LandscapeError: a part failed; what was computed is kept.
    """
    found, done = [], 0
    total = len(task.config.units) * len(task.sources)
    device = choose_device(task.evaluation.device, ranks)
    try:
        for number, name in enumerate(names_of(task.sources)):
            probe, config = ranks.collective(lambda number=number: _open(task, number, device))  # type: ignore[misc]
            facts = probe.facts
            ranks.require_equal(facts.to_json())

            identity = {"name": name, **facts.to_json()}

            def missing(number: int = number, identity: Any = identity, config: Config = config) -> list[int]:
                if store is None:
                    return []
                store.require(f"source-{number}", identity)
                return [k for k, unit in enumerate(config.units) if f"{number}/{unit}" not in store]

            pending = ranks.share(ranks.collective(missing))
            done += len(config.units) - len(pending)
            report(Steps(done, total, name))

            def compute(k: int, probe: Probe = probe, config: Config = config) -> Array:
                with current_device(device):
                    return _compute(probe, config, config.units[k])

            failure = ""
            for result in execute(ranks, compute, pending, stop):
                if result.values is None:
                    failure = failure or result.message
                    continue
                assert store is not None
                store.put(f"{number}/{config.units[result.point]}", result.values)
                done += 1
                report(Steps(done, total, name))
            failure = ranks.share(failure)
            if failure:
                raise mark_collective(LandscapeError(f"{name}: {failure}"))
            arrays = (
                {} if store is None else {u: store[f"{number}/{u}"] for u in config.units if f"{number}/{u}" in store}
            )
            found.append(Measured(name, config, facts, arrays))
    finally:
        if store is not None:
            store.flush()
    return found


def _open(task: MeasureTask, number: int, device: str) -> tuple[Probe, Config]:
    """Return the network of a number, and what is measured of it."""
    opened = open_source(
        task.sources[number], problem=task.problem, split=task.split, samples=task.samples,
        double_precision=task.evaluation.dtype in ("auto", "float64"),
    )  # fmt: skip
    evaluation = replace(task.evaluation, device=device.partition(":")[0]).resolved(opened.problem.model)
    config = task.config
    if isinstance(config, BasinConfig):
        config = replace(config, curvature=config.curvature[number : number + 1])
        config = config.resolved(tuple(opened.problem.metrics))
    probe = Probe(opened.problem, evaluation, device)
    if isinstance(config, SharpnessConfig) and "relative-critical" in config.measures:
        sharpness_analysis.second_split(probe)  # or raise what is wrong, before the first part
    return probe, config


def _compute(probe: Probe, config: Config, unit: str) -> Array:
    if isinstance(config, SharpnessConfig):
        return sharpness_analysis.compute_unit(probe, config, unit)
    return basin_analysis.compute_unit(probe, config, unit)


def open_store(task: MeasureTask) -> MeasurementStore:
    """Open the file of a task, or memory.

    Raises:
        StoreError: the file was made with other settings, or is none of measurements.
    """
    evaluation = {name: getattr(task.evaluation, name) for name in ("dtype", "batch_size", "threads", "engine")}
    settings = {
        "kind": task.kind, "config": task.config.to_json(), "evaluation": evaluation, "sources": len(task.sources),
    }  # fmt: skip
    return MeasurementStore(task.out, settings, task.overwrite, {"config": type(task.config)().to_json()})


def facts_of(task: MeasureTask) -> list[tuple[str, Facts]]:
    """Return the name of each network and what must agree for a comparison, without measuring anything."""
    found = []
    for number, name in enumerate(names_of(task.sources)):
        probe, _ = _open(task, number, "cpu")
        found.append((name, probe.facts))
    return found
