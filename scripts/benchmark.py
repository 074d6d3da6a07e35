"""Time per point of a surface, compared with the published loop and a simple resident loop: interleaved, medians."""

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
    """Return the GFLOP/s of a product of two float32 matrices of 1024 x 1024: the peak of this machine right now."""
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    begin = time.perf_counter()
    for _ in range(3):
        a @ b
    return 3 * 2 * 1024**3 / (time.perf_counter() - begin) / 1e9


def measure(name: str, case: Case, options: argparse.Namespace) -> dict[str, Any]:
    """Return the time per point of each loop, measured in turn, point by point."""
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
        for loop, engine, dtype in (("eager", "eager", "float32"), ("ours", options.engine, options.dtype)):
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
                # Short points are repeated: the clock and other processes are too coarse for a single one.
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
    fraction = statistics.median(flops / s / 1e9 / p for s, p in zip(seconds["ours"], peaks[1:], strict=True))
    return {
        "case": name, "engine": chosen, "batch": batch, "samples": len(split), "median": median, "ratio": ratio,
        "per_second": len(split) / median["ours"], "gflops": flops / median["ours"] / 1e9,
        "peak": statistics.median(peaks), "fraction": fraction, "worst": worst,
    }  # fmt: skip


def table(options: argparse.Namespace) -> None:
    """Print the table in Markdown."""
    print(
        f"{date.today()}, {processor()}, torch {torch.__version__}, {options.threads} thread(s), loader with "
        f"{options.workers} workers, {options.rounds} rounds, medians\n"
    )
    print(
        "| case | samples | published, ms | resident, ms | ours eager, ms | ours, ms | engine, batch | samples/s "
        "| x published | x resident | x ours eager | GFLOP/s | matrix peak | fraction | largest relative difference |"
    )
    print("|---|" + "---:|" * 5 + "---|" + "---:|" * 8)
    for name in options.cases.split(","):
        row = measure(name, CASES[name], options)
        ms = {loop: f"{1e3 * s:.3g}" for loop, s in row["median"].items()}
        median = " | ".join(ms.get(loop, "") for loop in ("published", "resident", "eager", "ours"))
        times = {loop: f"{r:.2f}" for loop, r in row["ratio"].items()}
        print(
            f"| {name} | {row['samples']} | {median} "
            f"| {row['engine']}, {row['batch']} | {row['per_second']:.4g} | {times.get('published', '')} "
            f"| {times['resident']} | {times['eager']} | {row['gflops']:.3g} | {row['peak']:.3g} "
            f"| {row['fraction']:.0%} | {row['worst']:.1e} |",
            flush=True,
        )


def processor() -> str:
    """Return the name of the processor."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", help="Cases, separated by commas; all by default.")
    parser.add_argument("--device", default="cpu", help="cuda: the table of a GPU, with training (six minutes).")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads.")
    parser.add_argument("--rounds", type=int, default=7, help="Number of rounds.")
    parser.add_argument("--workers", type=int, default=0, help="Workers of the loader of the published loop.")
    parser.add_argument("--repeat", type=float, default=0.05, help="Seconds for which a short point is repeated.")
    parser.add_argument("--memory", action="store_true", help="Measure peak memory instead of time.")
    parser.add_argument("--linear", action="store_true", help="Measure time over points and samples instead.")
    parser.add_argument("--dtype", default="float32", help="Precision of our evaluation.")
    parser.add_argument(
        "--engine", default="auto", help="Our engine: auto, eager, bn_folded, mlp, batched_mlp, compiled."
    )
    on_gpu = parser.add_argument_group("on a GPU (with --scale also on a CPU, to rehearse: --device cpu --scale 0.002)")
    on_gpu.add_argument("--scale", type=float, help="Fraction of each case's samples.  [default: 1]")
    on_gpu.add_argument("--seconds", type=float, default=1.0, help="Seconds for which a loop is repeated.")
    on_gpu.add_argument("--minutes", type=float, default=5.5, help="Minutes for all cases.")
    on_gpu.add_argument("--quick", action="store_true", help="Leave the published loop out.")
    on_gpu.add_argument("--out", type=Path, help="Also write the table to this file.")
    options = parser.parse_args()
    if options.device != "cpu" or options.scale is not None:
        from benchmark_gpu import run

        options.scale = options.scale or 1.0
        run(options)
        return
    options.cases = options.cases or ",".join(CASES)
    if unknown := set(options.cases.split(",")) - set(CASES):
        sys.exit(f"unknown cases {', '.join(unknown)}; known: {', '.join(CASES)}")
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
