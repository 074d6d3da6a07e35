"""Memory of this process as Linux counts it, and the peak memory of making a plane and of a sweep over it."""

from __future__ import annotations

import ctypes
import gc

import torch
from baselines import Case, data_of

from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.evaluator import open_evaluator
from landscape.geometry import Weights
from landscape.geometry.plane import random_plane
from landscape.models import registry
from landscape.problem.measures import cross_entropy
from landscape.problem.problem import Problem


def mib(key: str) -> float:
    """Return ``VmRSS``, the resident memory, or ``VmHWM``, its peak, in MiB."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(f"{key}:")) / 1024


def reset_peak() -> None:
    """Reset the peak of the resident memory, after returning freed memory to the system."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def run(engine: str, points: int) -> None:
    """Print the peak memory of a sweep above model, data and a forward pass, in units of the size of the parameters."""
    case = Case("resnet50", {}, "images", (8, 8, 3), 32)
    _, split = data_of(case)
    torch.manual_seed(0)
    model = registry.build(case.model, **case.arguments).eval()
    size = sum(p.numel() * p.element_size() for p in model.parameters()) / 2**20
    with torch.inference_mode():
        model(split.inputs)  # libraries and activations do not count
    bare = mib("VmRSS")
    origin = Weights.from_model(model)
    plane = random_plane(origin)
    making = mib("VmHWM")
    reset_peak()
    problem = Problem(model, {"train": split}, cross_entropy)
    with open_evaluator(problem, plane, EvaluationConfig(engine=engine)) as evaluate:
        for step in range(points):
            evaluate((0.01 * step, 0.0))
        sweeping = mib("VmHWM")
        print(f"{case.model}, {size:.0f} MiB of parameters, engine {evaluate.engine}, {points} points")
    print(f"peak while directions are made: {(making - bare) / size:.2f} times the size of the parameters")
    print(f"peak of the sweep: {(sweeping - bare) / size:.2f} times that size, 3 of them for origin and two directions")
