"""Time of a sweep over points and samples, how well the first points predict it, and growth of memory."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace
from datetime import date
from pathlib import Path
from statistics import median

import numpy as np
from baselines import CASES, Case, data_of, problem_of
from footprint import mib

from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.evaluator import open_evaluator
from landscape.sweep import Grid, run_sweep
from landscape.sweep.config import SweepConfig, SweepProgress

TINY = CASES["tiny-2-16-16-2"]
CONVOLUTIONAL = Case("resnet20", {}, "images", (8, 8, 3), 200)
SIDES = {10: (5, 2), 100: (10, 10), 400: (20, 20), 1_000: (40, 25), 10_000: (100, 100)}
FRACTIONS = (0.01, 0.1)
"""Fractions of the points after which the total time is predicted."""


class Watch:
    """Records clock, processor time, memory and predicted time left of a sweep, point by point."""

    def __init__(self, points: int) -> None:
        self.begin = np.nan
        self.clock, self.cpu, self.left = np.zeros((3, points))  # allocated now, so that memory does not grow
        self.memory = {0: np.nan, points // 10: np.nan, points - 1: np.nan}
        self._count = 0

    def __call__(self, progress: SweepProgress) -> None:
        if self._count in self.memory:
            self.memory[self._count] = mib("VmRSS")
        now = time.perf_counter(), time.process_time(), progress.left
        self.clock[self._count], self.cpu[self._count], self.left[self._count] = now
        self._count += 1

    @property
    def seconds(self) -> float:
        """Time from before the first point to the end."""
        return self.clock[-1] - self.begin

    def predicted(self, fraction: float) -> tuple[float, float]:
        """Return the predicted total time, relative to the real one, after a fraction of the points (at least 3).

        The first value uses the predicted time left, the second processor time, which depends less on other work.
        """
        k = max(int(fraction * len(self.clock)), 3) - 1
        by_clock = (self.clock[k] - self.begin + self.left[k]) / self.seconds
        by_cpu = (self.cpu[k] - self.cpu[0]) / k * (len(self.cpu) - 1) / (self.cpu[-1] - self.cpu[0])
        return by_clock, by_cpu

    @property
    def growth(self) -> float:
        """Growth of memory from a tenth of the points to the end, in MiB."""
        _, early, late = self.memory.values() if len(self.memory) == 3 else (0, *self.memory.values())
        return late - early


def sweep(case: Case, points: int, threads: int, out: Path | None) -> Watch:
    """Run a sweep, and return its records."""
    _, split = data_of(case)
    problem, plane = problem_of(case, split)
    nx, ny = SIDES[points]
    watch = Watch(points)

    def stop() -> bool:  # called before each point, and so before the first
        if np.isnan(watch.begin):
            watch.begin = time.perf_counter()
        return False

    grid, config = Grid.parse(f"-1:1:{nx}", f"-1:1:{ny}"), SweepConfig(out, overwrite=True)
    run_sweep(problem, plane, grid, config, evaluation=EvaluationConfig(threads=threads), stop=stop, progress=watch)
    return watch


def over_points(name: str, case: Case, counts: list[int], threads: int, rounds: int, out: Path | None) -> None:
    """Print times over the number of points."""
    where = "into a file" if out else "in memory"
    print(f"{name}, {case.samples} samples, {where}; medians of {rounds} rounds, worst in brackets\n")
    print(
        "| points | seconds | ms per point | predicted after 1% | after 10% | by CPU time, 1% | 10% "
        "| memory growth from a tenth to the end |"
    )
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    for points in counts:
        watches = [sweep(case, points, threads, out) for _ in range(rounds)]
        seconds = median(watch.seconds for watch in watches)
        off = np.array([[watch.predicted(part) for part in FRACTIONS] for watch in watches]) - 1  # round, part, by
        said = [
            f"{median(x):+.1%} ({x[np.abs(x).argmax()]:+.1%})" for by in (0, 1) for x in (off[:, 0, by], off[:, 1, by])
        ]
        growth = 1024 * max(watch.growth for watch in watches)
        print(
            f"| {points:,} | {seconds:.3g} | {1e3 * seconds / points:.3g} | {' | '.join(said)} | {growth:+.0f} KiB |",
            flush=True,
        )
    print()


def over_samples(name: str, case: Case, counts: list[int], threads: int, rounds: int) -> None:
    """Print processor time per point over the number of samples: the minimum of several rounds."""
    batch = 64
    least = dict.fromkeys(counts, np.inf)
    for _ in range(rounds):
        for samples in counts:
            _, split = data_of(replace(case, samples=samples))
            problem, plane = problem_of(case, split)
            with open_evaluator(problem, plane, EvaluationConfig(threads=threads, batch_size=batch)) as evaluate:
                repeat = max(1, 1_000 // samples)
                evaluate((0.1, 0.1))
                begin = time.process_time()
                for i in range(repeat):
                    evaluate((0.01 * i, 0.1))
                least[samples] = min(least[samples], (time.process_time() - begin) / repeat)
    slope = (least[counts[-1]] - least[counts[0]]) / (counts[-1] - counts[0])
    start = least[counts[0]] - slope * counts[0]
    print(f"{name}, batch {batch}: {1e3 * start:.3g} ms per point and {1e6 * slope:.3g} us per sample\n")
    print("| samples | ms per point | us per sample | deviation from the line through both ends |")
    print("|---:|---:|---:|---:|")
    for samples, seconds in least.items():
        line = start + slope * samples
        print(f"| {samples:,} | {1e3 * seconds:.4g} | {1e6 * seconds / samples:.3g} | {seconds / line - 1:+.1%} |")
    print()


def run(threads: int, rounds: int) -> None:
    """Print all tables."""
    print(f"{date.today()}, load {os.getloadavg()[0]:.1f}\n")
    over_points("mlp 2-16-16-2", TINY, [10, 100, 1_000, 10_000], threads, rounds, None)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "s.h5"
        over_points("resnet20 on 8 x 8 images", CONVOLUTIONAL, [10, 100, 400], threads, rounds, out)
    over_samples("resnet20 on 8 x 8 images", CONVOLUTIONAL, [10, 100, 1_000, 10_000], threads, rounds)
    print(f"load at the end {os.getloadavg()[0]:.1f}")
