#!/usr/bin/env python3
"""Time of a point on a GPU: our engines in each precision beside the loops that users write; prints Markdown.

    scripts/benchmark_cuda.py                      six minutes on a card of the H100 class
    scripts/benchmark_cuda.py --cases mlp-digits   one case
    scripts/benchmark_cuda.py --device cpu --scale 0.002    rehearse without a GPU

Loops: "published" evaluates as the code of Li et al. (2018), with a loader of two workers; "careful" is what a user
writes who cares: resident data, batch 2048, channels-last, bfloat16 autocast, weights in place, one wait a point.
Networks are untrained; errors are relative to the loss in float64 at the same point.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import date
from pathlib import Path

import torch
from baselines import BATCH, CASES, Case, Images, data_of, losses, problem_of, twin
from torch import nn
from torch.utils.data import DataLoader

from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.evaluator import open_evaluator
from landscape.geometry import Plane
from landscape.problem.problem import Split

SIZES = {
    "resnet56": 50_000, "vgg9": 10_000, "resnet20": 10_000, "resnet20-1000": 1_000, "transformer-4.8M": 1_024,
    "mlp-digits": 1_797, "tiny-64-32-10": 64,
}  # fmt: skip
PRECISIONS = ("float32", "tf32", "bfloat16")
POINT = (0.02, -0.03)


def case_of(name: str, scale: float) -> Case:
    return replace(CASES[name.removesuffix("-1000")], samples=max(32, int(SIZES[name] * scale)))


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(run: Callable[[int], object], device: torch.device, budget: float) -> float:
    """Median seconds of a point: `run(count)` computes `count` points; repeated for about `budget` seconds."""
    run(1)
    synchronize(device)
    begin = time.perf_counter()
    run(1)
    synchronize(device)
    once = time.perf_counter() - begin
    count = max(1, int(budget / 5 / max(once, 1e-6)))
    taken = []
    for _ in range(5):
        begin = time.perf_counter()
        run(count)
        synchronize(device)
        taken.append((time.perf_counter() - begin) / count)
    return statistics.median(taken)


def weights_at(model: nn.Module, plane: Plane, point: tuple[float, float]) -> Callable[[], None]:
    device = next(model.parameters()).device
    origin, dx, dy = (
        [t.to(device) for _, t in weights] for weights in (plane.origin, *(d.weights for d in plane.directions))
    )
    parameters = list(model.parameters())

    def move() -> None:
        torch._foreach_copy_(parameters, origin)
        torch._foreach_add_(parameters, dx, alpha=point[0])
        torch._foreach_add_(parameters, dy, alpha=point[1])

    return move


def careful(model: nn.Module, plane: Plane, split: Split, case: Case, half: bool) -> Callable[[int], float]:
    """Resident data, large batches, channels-last, autocast, one wait a point."""
    device = next(model.parameters()).device
    size = len(split) if case.whole else 128 if case.kind == "tokens" else 2048
    images = case.kind == "images" and half
    if images:
        model.to(memory_format=torch.channels_last)
    batches = [
        (b.inputs.contiguous(memory_format=torch.channels_last) if images else b.inputs, b.targets)
        for b in split.batches(size)
    ]
    move = weights_at(model, plane, POINT)

    def run(count: int) -> float:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16) if half else nullcontext():
            for _ in range(count):
                move()
                model.eval()
                loss = torch.zeros((), dtype=torch.float64, device=device)
                correct = torch.zeros((), dtype=torch.int64, device=device)
                for inputs, targets in batches:
                    outputs = model(inputs)
                    loss += losses(outputs, targets).double() * len(targets)
                    correct += outputs.argmax(-1).eq(targets).sum()
                value = (loss / len(split)).item()
        return value

    return run


def published(model: nn.Module, plane: Plane, dataset: Images) -> Callable[[int], float]:
    """A loader with two workers, batches of 128, two waits a batch."""
    device = next(model.parameters()).device
    loader = DataLoader(dataset, batch_size=BATCH, num_workers=2)
    move = weights_at(model, plane, POINT)

    def run(count: int) -> float:
        for _ in range(count):
            move()
            model.eval()
            total, samples = 0.0, 0
            with torch.no_grad():
                for inputs, targets in loader:
                    inputs, targets = inputs.to(device), targets.to(device)
                    outputs = model(inputs)
                    total += losses(outputs, targets).item() * len(targets)
                    outputs.argmax(-1).eq(targets).sum().item()
                    samples += len(targets)
        return total / samples

    return run


def row(name: str, device: torch.device, options: argparse.Namespace) -> str:
    case = case_of(name, options.scale)
    dataset, split = data_of(case)
    problem, plane = problem_of(case, split)
    in_float64 = EvaluationConfig(device=device.type, dtype="float64", engine="eager")
    with open_evaluator(problem, plane, in_float64) as evaluate:
        reference = float(evaluate(POINT)[0])
    cells: dict[str, str] = {}

    def note(loop: str, seconds: float, loss: float, about: str = "") -> None:
        cells[loop] = f"{1e3 * seconds:.4g}, {abs(loss / reference - 1):.0e}{about}"

    if isinstance(dataset, Images) and name in ("resnet56", "resnet20-1000") and not options.quick:
        run = published(twin(case, problem).to(device), plane, dataset)
        begin = time.perf_counter()
        loss = run(1)
        note("published", time.perf_counter() - begin, loss)
    here = split.to(device)
    for loop, half in (("plain float32", False), ("careful", True)):
        run = careful(twin(case, problem).to(device), plane, here, case, half)
        loss = run(1)
        note(loop, seconds_of(run, device, options.budget), loss)
    del here
    for dtype in PRECISIONS if device.type == "cuda" else ("float32", "bfloat16"):
        try:
            begin = time.perf_counter()
            with open_evaluator(problem, plane, EvaluationConfig(device=device.type, dtype=dtype)) as evaluate:
                ready = time.perf_counter() - begin
                loss = float(evaluate(POINT)[0])
                points = [POINT] * evaluate.points_per_launch
                taken = seconds_of(lambda n, e=evaluate, p=points: e.evaluate_many(p * n), device, options.budget)
                about = f" ({evaluate.engine}, {evaluate.batch_size}; ready in {ready:.1f} s)"
                note(dtype, taken / len(points), loss, about)
        except Exception as error:
            cells[dtype] = f"{type(error).__name__}: {str(error)[:80]}"
    columns = ("published", "plain float32", "careful", *PRECISIONS)
    return f"| {name}, {case.samples:,} | " + " | ".join(cells.get(column, "") for column in columns) + " |"


def floors(device: torch.device) -> str:
    """Current throughput of the GPU: matrix products and a copy."""
    found = []
    for dtype, tf32, label in (
        (torch.bfloat16, False, "bf16"),
        (torch.float32, True, "tf32"),
        (torch.float32, False, "float32"),
    ):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        a = torch.randn(8192, 8192, device=device, dtype=dtype)
        took = seconds_of(lambda count, a=a: [a @ a for _ in range(count)], device, 0.2)
        found.append(f"{label} matmul {2 * 8192**3 / took / 1e12:.0f} TFLOP/s")
    torch.backends.cuda.matmul.allow_tf32 = False
    a, b = (torch.empty(2**30, device=device, dtype=torch.uint8) for _ in range(2))
    took = seconds_of(lambda count: [b.copy_(a) for _ in range(count)], device, 0.2)
    return ", ".join([*found, f"copy {2 * 2**30 / took / 1e12:.2f} TB/s"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--cases", default=",".join(SIZES))
    parser.add_argument("--scale", type=float, default=1.0, help="Fraction of each case's samples.")
    parser.add_argument("--budget", type=float, default=1.5, help="Seconds for which a loop is repeated.")
    parser.add_argument("--quick", action="store_true", help="Leave the published loop out.")
    parser.add_argument("--out", type=Path, help="Also write the table to this file.")
    options = parser.parse_args()
    device = torch.device(options.device)
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    lines = [f"{card}, torch {torch.__version__}, {date.today()}; milliseconds a point, relative error of the loss"]
    if device.type == "cuda":
        lines.append(floors(device))
    lines += ["", "| case | published | plain float32 | careful, bf16 | ours float32 | ours tf32 | ours bf16 |"]
    lines.append("|---|" + "---|" * 6)
    print("\n".join(lines), flush=True)
    for name in options.cases.split(","):
        begin = time.perf_counter()
        lines.append(row(name, device, options))
        print(lines[-1], f"<!-- {time.perf_counter() - begin:.0f} s -->", flush=True)
        if options.out:
            options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
