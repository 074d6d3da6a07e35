"""Time of a point and of a training step on a GPU, beside the loops that users write; called by ``benchmark``.

Loops: "published" evaluates as the code of Li et al. (2018), with a loader of two workers; "careful" is what a user
writes who cares: resident data, batch 2048, channels-last, bfloat16 autocast, weights in place, one wait a point.
Networks are untrained; errors are relative to the loss in float64 at the same point.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
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
from landscape.problem.data.cifar10 import CropAndFlip
from landscape.problem.problem import Problem, Split
from landscape.training import TrainingProgress, TrainingSettings
from landscape.training.training import train

SIZES = {
    "vgg9": 10_000, "transformer-4.8M": 1_024, "transformer-50257": 64, "resnet20": 10_000, "resnet20-1000": 1_000,
    "mlp-digits": 1_797, "tiny-64-32-10": 64, "resnet56": 50_000,
}  # fmt: skip
"""Samples of each case; the longest case comes last."""
PRECISIONS = ("float32", "tf32", "bfloat16")
COLUMNS = ("published", "plain float32", "careful", *PRECISIONS, "streamed")
ENGINES = ("eager", "captured", "compiled")
ROUNDS = 4
"""Epochs of training; the first one, which compiles and captures, does not count."""
LEAST_SECONDS = 20
"""Seconds that must be left for another row."""
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

    @torch.no_grad()
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


class Table:
    """The table of a run, printed row by row, and the seconds that are left for it.

    Args:
        device: device to measure.
        options: arguments of the command.
    """

    def __init__(self, device: torch.device, options: argparse.Namespace) -> None:
        self.device, self.options, self._lines = device, options, list[str]()
        self._end = time.perf_counter() + 60 * options.minutes

    @property
    def seconds_left(self) -> float:
        return self._end - time.perf_counter()

    def add(self, line: str, note: str = "") -> None:
        """Print a line, and write all lines so far to the file."""
        self._lines.append(line)
        print(line, note, flush=True)
        if self.options.out:
            self.options.out.write_text("\n".join(self._lines) + "\n")

    def sweep_row(self, name: str) -> str:
        """Return the row of a case: time of a point in each loop and precision, and the error of the loss."""
        device, options = self.device, self.options
        case = case_of(name, options.scale)
        dataset, split = data_of(case)
        problem, plane = problem_of(case, split)
        in_float64 = EvaluationConfig(device=device.type, dtype="float64", engine="eager")
        with open_evaluator(problem, plane, in_float64) as evaluate:
            reference = float(evaluate(POINT)[0])
        cells: dict[str, str] = {}

        def note(loop: str, seconds: float, loss: float, about: str = "") -> None:
            cells[loop] = f"{1e3 * seconds:.4g}, {abs(loss / reference - 1):.0e}{about}"

        here = split.to(device)
        for loop, half in (("plain float32", False), ("careful", True)):
            run = careful(twin(case, problem).to(device), plane, here, case, half)
            loss = run(1)
            note(loop, seconds_of(run, device, options.seconds), loss)
        del here
        loops = [(dtype, dtype, None) for dtype in PRECISIONS if device.type == "cuda" or dtype != "tf32"]
        for loop, dtype, data_bytes in [*loops, ("streamed", "bfloat16", 0)]:
            try:
                begin = time.perf_counter()
                config = EvaluationConfig(device=device.type, dtype=dtype)
                with open_evaluator(problem, plane, config, data_bytes=data_bytes) as evaluate:
                    ready = time.perf_counter() - begin
                    loss = float(evaluate(POINT)[0])
                    points = [POINT] * evaluate.points_per_launch
                    taken = seconds_of(lambda n, e=evaluate, p=points: e.evaluate_many(p * n), device, options.seconds)
                    about = f" ({evaluate.engine}, {evaluate.batch_size}; ready in {ready:.1f} s)"
                    note(loop, taken / len(points), loss, about)
            except Exception as error:
                cells[loop] = f"{type(error).__name__}: {str(error)[:80]}"
        # Last, and once: it takes seconds, and the others matter more if time runs out.
        slow = isinstance(dataset, Images) and name in ("resnet56", "resnet20-1000") and not options.quick
        if slow and self.seconds_left > 10:
            run = published(twin(case, problem).to(device), plane, dataset)
            begin = time.perf_counter()
            loss = run(1)
            note("published", time.perf_counter() - begin, loss)
        return f"| {name}, {case.samples:,} | " + " | ".join(cells.get(column, "") for column in COLUMNS) + " |"

    def training_row(self, engine: str) -> str:
        """Return a row on training resnet20 on images of 32x32 in batches of 128: steps a second, and the ratio."""
        case = case_of("resnet20", self.options.scale)
        _, split = data_of(case)
        problem, _ = problem_of(case, split)
        problem = replace(problem, metrics={}, augment=CropAndFlip(4, torch.full((3,), -2.0)))
        steps = len(split) // BATCH
        rates = {}
        for loop, run in (("careful", careful_training), ("ours", own_training)):
            rates[loop] = run(twin(case, problem).train(), problem, self.device, steps, engine)
        ratio = rates["ours"] / rates["careful"]
        return f"| {engine} | {rates['careful']:.4g} | {rates['ours']:.4g} | {ratio:.2f} |"


def careful_training(model: nn.Module, problem: Problem, device: torch.device, steps: int, engine: str) -> float:
    """Steps a second of a good plain loop: resident data, augmentation on the device, autocast, channels-last, fused.

    It waits for the device at its end only.
    """
    model = model.to(device, memory_format=torch.channels_last)
    split, border = problem.splits["train"].to(device), torch.full((1, 3, 1, 1), -2.0, device=device)
    fused = device.type == "cuda" or None
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, fused=fused)
    columns = torch.arange(32, device=device)
    order = torch.randperm(len(split), device=device)
    rates = []
    for _ in range(ROUNDS):
        synchronize(device)
        begin = time.perf_counter()
        for step in range(steps):
            index = order[step * BATCH : (step + 1) * BATCH]
            images, targets = split.inputs[index], split.targets[index]
            padded = border.expand(len(index), 3, 40, 40).clone()
            padded[:, :, 4:36, 4:36] = images
            top, left = (torch.randint(9, (len(index), 1), device=device) for _ in range(2))
            rows = (top + columns)[:, None, :, None]
            across = left + torch.where(torch.rand(len(index), 1, device=device) < 0.5, columns, 31 - columns)
            sample = torch.arange(len(index), device=device)[:, None, None, None]
            channel = torch.arange(3, device=device)[None, :, None, None]
            images = padded[sample, channel, rows, across[:, None, None, :]]
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device.type, torch.bfloat16):
                loss = losses(model(images.contiguous(memory_format=torch.channels_last)), targets)
            loss.backward()
            optimizer.step()
        synchronize(device)
        rates.append(steps / (time.perf_counter() - begin))
    return statistics.median(rates[1:])


def own_training(model: nn.Module, problem: Problem, device: torch.device, steps: int, engine: str) -> float:
    """Steps a second of our training within epochs, without the measurements at their ends."""
    begins: dict[int, float] = {}
    rates = []

    def report(progress: TrainingProgress) -> None:
        epoch, position = divmod(progress.step, steps)
        if position in (1, steps - 1):  # the last step of an epoch is followed by measurements
            synchronize(device)
            if position == 1:
                begins[epoch] = time.perf_counter()
            else:
                rates.append((steps - 2) / (time.perf_counter() - begins[epoch]))

    settings = TrainingSettings(epochs=ROUNDS, batch_size=BATCH, dtype="bfloat16", device=str(device), engine=engine)
    few = problem.splits["train"].take(slice(0, steps * BATCH))
    with tempfile.TemporaryDirectory() as folder:
        train(
            replace(problem, model=model, splits={"train": few}), "sgd:lr=0.1,momentum=0.9,weight_decay=5e-4", settings,
            Path(folder) / "run", progress=report,
        )  # fmt: skip
    return statistics.median(rates[1:])


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


def run(options: argparse.Namespace) -> None:
    """Print the tables in Markdown within ``options.minutes``; cases for which no time is left are named."""
    device = torch.device(options.device)
    table = Table(device, options)
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    table.add(f"{card}, torch {torch.__version__}, {date.today()}; milliseconds a point, relative error of the loss")
    if device.type == "cuda":
        table.add(floors(device))
    table.add("")
    table.add(
        "| case | published | plain float32 | careful, bf16 | ours float32 | ours tf32 | ours bf16 | bf16, streamed |"
    )
    table.add("|---|" + "---|" * len(COLUMNS))
    chosen = list(SIZES) if options.cases is None else options.cases.split(",")
    late = []
    for name in chosen:
        if table.seconds_left < LEAST_SECONDS:
            late.append(name)
            continue
        begin = time.perf_counter()
        table.add(table.sweep_row(name), f"<!-- {time.perf_counter() - begin:.0f} s -->")
    table.add("")
    table.add("| training resnet20, batch 128, bf16 autocast: engine | careful, steps a second | ours | ratio |")
    table.add("|---|---:|---:|---:|")
    for engine in ENGINES if device.type == "cuda" else ("eager",):
        if table.seconds_left < LEAST_SECONDS:
            late.append(f"training, {engine}")
            continue
        try:
            table.add(table.training_row(engine))
        except Exception as error:
            table.add(f"| {engine} | | {type(error).__name__}: {str(error)[:80]} | |")
    if late:
        table.add(f"\nNo time was left for: {', '.join(late)}. Repeat with --cases, or more --minutes.")
