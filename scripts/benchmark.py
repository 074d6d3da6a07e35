"""What a point of a surface costs: ours against the published loop and a plain resident loop, interleaved, medians."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from baselines import BATCH, CASES, Case, data_of, problem_of, published, repeated, resident, twin
from torch.utils.flop_counter import FlopCounterMode

from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.evaluator import open_evaluator


def matrix_peak() -> float:
    """GFLOP/s of a product of two matrices of 1024 x 1024, float32: the most that this machine gives right now."""
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    begin = time.perf_counter()
    for _ in range(3):
        a @ b
    return 3 * 2 * 1024**3 / (time.perf_counter() - begin) / 1e9


def measure(name: str, case: Case, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds per point of each loop, one point after the other in turn."""
    dataset, split = data_of(case)
    problem, plane = problem_of(case, split)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        problem.model(split.inputs[:1])
    flops = counter.get_total_flops() * len(split)
    points = [(0.01 * i, -0.02 * i) for i in range(1, options.rounds + 1)]
    repeat = options.repeat
    loops: dict[str, Callable[[tuple, int], float]] = {}
    folder = TemporaryDirectory()
    if case.published:
        tool = published(twin(case, problem), plane, dataset, options.workers, Path(folder.name))
        loops["published"] = repeated(tool)
    loops["resident"] = repeated(resident(twin(case, problem), plane, split, len(split) if case.whole else BATCH))
    with ExitStack() as stack:
        stack.enter_context(folder)
        for loop, engine, dtype in (("plain", "plain", "float32"), ("ours", options.engine, options.dtype)):
            own, where = problem_of(case, split)
            evaluation = EvaluationConfig(engine=engine, dtype=dtype, threads=options.threads)
            evaluate = stack.enter_context(open_evaluator(own, where, evaluation))
            loops[loop] = lambda step, count, evaluate=evaluate: float(evaluate.evaluate_many([step] * count)[-1, 0])
        chosen, batch = evaluate.engine, evaluate.batch_size
        seconds: dict[str, list[float]] = {loop: [] for loop in loops}
        peaks, worst = [], 0.0
        for warm_up, point in enumerate([points[0], *points]):
            peaks.append(matrix_peak())
            values = {}
            for loop, run in loops.items():
                # Short points are repeated: a single one is lost in the clock and in whoever else computes.
                count = 1 if not warm_up or not seconds[loop] else max(1, int(repeat / max(seconds[loop][0], 1e-9)))
                count = (
                    -(-count // evaluate.points_per_launch) * evaluate.points_per_launch if loop == "ours" else count
                )
                begin = time.perf_counter()
                values[loop] = run(point, count)
                took = (time.perf_counter() - begin) / count
                if warm_up:
                    seconds[loop].append(took)
            worst = max(worst, *(abs(v / values["resident"] - 1) for v in values.values()))
    median = {loop: statistics.median(s) for loop, s in seconds.items()}
    ratio = {
        loop: statistics.median(a / b for a, b in zip(s, seconds["ours"], strict=True)) for loop, s in seconds.items()
    }
    share = statistics.median(flops / s / 1e9 / p for s, p in zip(seconds["ours"], peaks[1:], strict=True))
    return {
        "case": name, "engine": chosen, "batch": batch, "samples": len(split), "median": median, "ratio": ratio,
        "per_second": len(split) / median["ours"], "gflops": flops / median["ours"] / 1e9,
        "peak": statistics.median(peaks), "share": share, "worst": worst,
    }  # fmt: skip


def table(options: argparse.Namespace) -> None:
    print(
        f"{date.today()}, {processor()}, torch {torch.__version__}, {options.threads} thread(s), loader with "
        f"{options.workers} workers, {options.rounds} rounds, medians\n"
    )
    print(
        "| case | samples | published, ms | resident, ms | ours plain, ms | ours, ms | engine, batch | samples/s "
        "| x published | x resident | x ours plain | GFLOP/s | matrix peak | share | largest relative difference |"
    )
    print("|---|" + "---:|" * 5 + "---|" + "---:|" * 8)
    for name in options.cases.split(","):
        row = measure(name, CASES[name], options)
        ms = {loop: f"{1e3 * s:.3g}" for loop, s in row["median"].items()}
        median = " | ".join(ms.get(loop, "") for loop in ("published", "resident", "plain", "ours"))
        times = {loop: f"{r:.2f}" for loop, r in row["ratio"].items()}
        print(
            f"| {name} | {row['samples']} | {median} "
            f"| {row['engine']}, {row['batch']} | {row['per_second']:.4g} | {times.get('published', '')} "
            f"| {times['resident']} | {times['plain']} | {row['gflops']:.3g} | {row['peak']:.3g} | {row['share']:.0%} "
            f"| {row['worst']:.1e} |",
            flush=True,
        )


def processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", default=",".join(CASES), help="Comma-separated; all by default.")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", type=int, default=0, help="Of the published loop's loader.")
    parser.add_argument("--repeat", type=float, default=0.05, help="Seconds that a short point is repeated for.")
    parser.add_argument("--memory", action="store_true", help="Measure peak memory instead of time.")
    parser.add_argument("--linear", action="store_true", help="Measure time over points and samples instead.")
    parser.add_argument("--dtype", default="float32", help="Ours.")
    parser.add_argument("--engine", default="auto", help="Ours: auto, eager, bn_folded, mlp, batched_mlp, compiled.")
    options = parser.parse_args()
    if unknown := set(options.cases.split(",")) - set(CASES):
        sys.exit(f"unknown cases {', '.join(unknown)}; there are {', '.join(CASES)}")
    torch.set_num_threads(options.threads)
    if options.linear:
        from linearity import run

        run(options.threads, options.rounds)
    elif options.memory:
        from footprint import run

        run(options.engine, options.rounds)
    else:
        table(options)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
