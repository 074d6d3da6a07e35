"""What a point of a surface costs: ours against the published loop and a plain resident loop, interleaved, medians."""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

from landscape.geometry import Plane, Weights, random_plane
from landscape.geometry.direction import finish, gaussian
from landscape.models import registry
from landscape.problem.measures import accuracy, cross_entropy
from landscape.problem.problem import Problem, Split
from landscape.sweep.evaluator import Numerics, evaluating

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
BATCH = 128  # that of the published code


@dataclass(frozen=True)
class Case:
    """A network and data of a shape: images are uint8, features float32, tokens int64."""

    model: str
    arguments: dict[str, Any]
    kind: str
    shape: tuple[int, ...]
    samples: int
    published: bool = True
    whole: bool = False  # the plain loop takes all samples at once, which is best for perceptrons


CASES = {
    "resnet20": Case("resnet20", {}, "images", (32, 32, 3), 320),
    "resnet56": Case("resnet56", {}, "images", (32, 32, 3), 128),
    "vgg9": Case("vgg9", {}, "images", (32, 32, 3), 128),
    "mlp-digits": Case("mlp", {"in_features": 64, "widths": (128, 64)}, "features", (64,), 1797, whole=True),
    "mlp-784": Case("mlp", {"in_features": 784, "widths": (300, 100)}, "features", (784,), 2000, whole=True),
    "mlp-3072": Case("mlp", {"in_features": 3072, "widths": (256,)}, "features", (3072,), 2000, whole=True),
    "tiny-2-16-16-2": Case(
        "mlp", {"in_features": 2, "widths": (16, 16), "num_classes": 2}, "features", (2,), 256, whole=True
    ),
    "tiny-64-32-10": Case("mlp", {"in_features": 64, "widths": (32,)}, "features", (64,), 64, whole=True),
    "transformer-0.8M": Case("transformer", {}, "tokens", (128,), 128),
    "transformer-4.8M": Case("transformer", {"width": 256, "depth": 6, "heads": 8}, "tokens", (128,), 128),
}


class Images(Dataset):
    """Images as torchvision's data sets hand them out: an array, a PIL image, a tensor, normalized."""

    def __init__(self, pixels: np.ndarray, targets: np.ndarray) -> None:
        self.pixels, self.targets = pixels, targets
        self.mean, self.std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = Image.fromarray(self.pixels[index])
        tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255)
        return tensor.sub_(self.mean).div_(self.std), int(self.targets[index])


def data_of(case: Case) -> tuple[Dataset, Split]:
    """The same samples as a data set for a loader and as resident tensors."""
    generator = np.random.default_rng(0)
    if case.kind == "tokens":
        tokens = torch.from_numpy(generator.integers(0, 256, (case.samples, *case.shape)))
        return TensorDataset(tokens, tokens.roll(-1, 1)), Split(tokens, tokens.roll(-1, 1))
    targets = generator.integers(0, case.arguments.get("num_classes", 10), case.samples)
    if case.kind == "features":
        inputs = torch.from_numpy(generator.standard_normal((case.samples, *case.shape), dtype=np.float32))
        return TensorDataset(inputs, torch.from_numpy(targets)), Split(inputs, torch.from_numpy(targets))
    pixels = generator.integers(0, 256, (case.samples, *case.shape), dtype=np.uint8)
    images = Images(pixels, targets)
    return images, Split(torch.stack([images[i][0] for i in range(len(images))]), torch.from_numpy(targets))


def losses(outputs: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(outputs.flatten(0, -2), targets.flatten())


def published(model: nn.Module, plane: Plane, dataset: Dataset, workers: int, folder: Path) -> Callable[[tuple], float]:
    """As the published tool: directions from their file, new tensors, a loader with transforms, two waits a batch."""
    loader = DataLoader(dataset, batch_size=BATCH, shuffle=False, num_workers=workers)
    weights = [t.clone() for _, t in plane.origin]
    path = folder / "directions.h5"
    with h5py.File(path, "w") as file:
        for name, direction in zip(("xdirection", "ydirection"), plane.directions, strict=True):
            for i, (_, tensor) in enumerate(direction.weights):
                file[f"{name}/{i}"] = tensor.numpy()

    def evaluate(step: tuple) -> float:
        with h5py.File(path, "r") as file:
            dx, dy = ([file[name][str(i)][:] for i in range(len(weights))] for name in ("xdirection", "ydirection"))
        changes = [d0 * step[0] + d1 * step[1] for d0, d1 in zip(dx, dy, strict=True)]
        for p, w, d in zip(model.parameters(), weights, changes, strict=True):
            p.data = w + torch.tensor(d)
        model.eval()
        total_loss, correct, total = 0.0, 0, 0
        with torch.no_grad():
            for inputs, targets in loader:
                total += targets.size(0)
                outputs = model(inputs)
                total_loss += losses(outputs, targets).item() * targets.size(0)
                correct += outputs.argmax(-1).eq(targets).sum().item()
        return total_loss / total

    return evaluate


def resident(model: nn.Module, plane: Plane, split: Split, batch: int) -> Callable[[tuple], float]:
    """What somebody writes who cares a little: tensors in memory, weights in place, inference mode, one wait."""
    weights = [t.clone() for _, t in plane.origin]
    directions = [[t for _, t in d.weights] for d in plane.directions]

    def evaluate(step: tuple) -> float:
        with torch.inference_mode():
            for p, w, d0, d1 in zip(model.parameters(), weights, *directions, strict=True):
                p.copy_(w).add_(d0, alpha=step[0]).add_(d1, alpha=step[1])
            model.eval()
            loss, correct = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.int64)
            for start in range(0, len(split), batch):
                targets = split.targets[start : start + batch]
                outputs = model(split.inputs[start : start + batch])
                loss += losses(outputs, targets).double() * len(targets)
                correct += outputs.argmax(-1).eq(targets).sum()
            return (loss / len(split)).item()

    return evaluate


def repeated(evaluate: Callable[[tuple], float]) -> Callable[[tuple, int], float]:
    """One point after the other, several times."""

    def several(step: tuple, count: int) -> float:
        for _ in range(count):
            loss = evaluate(step)
        return loss

    return several


def matrix_peak() -> float:
    """GFLOP/s of a product of two matrices of 1024 x 1024, float32: the most that this machine gives right now."""
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    begin = time.perf_counter()
    for _ in range(3):
        a @ b
    return 3 * 2 * 1024**3 / (time.perf_counter() - begin) / 1e9


def problem_of(case: Case, split: Split) -> tuple[Problem, Plane]:
    torch.manual_seed(0)
    model = registry.build(case.model, **case.arguments).eval()
    origin = Weights.of(model)
    plane = Plane(origin, tuple(finish(gaussian(origin, 0, axis), origin, "filter", "biasbn") for axis in range(2)))
    return Problem(model, {"train": split}, cross_entropy, {"acc": accuracy}), plane


def twin(case: Case, problem: Problem) -> nn.Module:
    model = registry.build(case.model, **case.arguments).eval()
    model.load_state_dict(problem.model.state_dict())
    return model


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
            numerics = Numerics(engine=engine, dtype=dtype, threads=options.threads)
            evaluate = stack.enter_context(evaluating(own, where, numerics))
            loops[loop] = lambda step, count, evaluate=evaluate: float(evaluate.many([step] * count)[-1, 0])
        chosen, batch = evaluate.engine, evaluate.batch_size
        seconds: dict[str, list[float]] = {loop: [] for loop in loops}
        peaks, worst = [], 0.0
        for warm_up, point in enumerate([points[0], *points]):
            peaks.append(matrix_peak())
            values = {}
            for loop, run in loops.items():
                # Short points are repeated: a single one is lost in the clock and in whoever else computes.
                count = 1 if not warm_up or not seconds[loop] else max(1, int(repeat / max(seconds[loop][0], 1e-9)))
                count = -(-count // evaluate.points) * evaluate.points if loop == "ours" else count
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


def memory(options: argparse.Namespace) -> None:
    """Peak memory of a sweep above model, data and a forward pass, in sizes of the parameters."""
    case = Case("resnet50", {}, "images", (8, 8, 3), 32)
    _, split = data_of(case)
    torch.manual_seed(0)
    model = registry.build(case.model, **case.arguments).eval()
    size = sum(p.numel() * p.element_size() for p in model.parameters()) / 2**20
    with torch.inference_mode():
        model(split.inputs)  # libraries and activations are there before it counts
    bare = resident_mib()
    origin = Weights.of(model)
    plane = random_plane(origin)
    making = peak_mib()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what the allocator keeps of freed tensors is nobody's
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak counts from here
    problem = Problem(model, {"train": split}, cross_entropy)
    with evaluating(problem, plane, Numerics(engine=options.engine)) as evaluate:
        for step in range(options.rounds):
            evaluate((0.01 * step, 0.0))
        sweeping = peak_mib()
        print(f"{case.model}, {size:.0f} MiB of parameters, engine {evaluate.engine}, {options.rounds} points")
    print(f"peak while directions are made: {(making - bare) / size:.2f} sizes of the parameters")
    print(f"peak of the sweep: {(sweeping - bare) / size:.2f} sizes, of which 3 are origin and two directions")


def peak_mib() -> float:
    return _status("VmHWM")


def resident_mib() -> float:
    return _status("VmRSS")


def _status(key: str) -> float:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(f"{key}:")) / 1024


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
    parser.add_argument("--engine", default="auto", help="Ours: auto, plain, folded, dense, grouped, compiled.")
    options = parser.parse_args()
    if unknown := set(options.cases.split(",")) - set(CASES):
        sys.exit(f"unknown cases {', '.join(unknown)}; there are {', '.join(CASES)}")
    torch.set_num_threads(options.threads)
    if options.linear:
        from linearity import run

        run(options.threads, options.rounds)
        return
    (memory if options.memory else table)(options)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
