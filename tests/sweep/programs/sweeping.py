"""A sweep over a small network whose points take a while, as the command does it; the root prints what came of it."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
from torch import nn

from landscape.errors import StoreError
from landscape.evaluation.config import EvaluationConfig
from landscape.geometry import Plane, Weights, random_direction
from landscape.parallel.ranks import Ranks, is_collective
from landscape.parallel.shared_plane import share_plane
from landscape.parallel.signals import StopSignals
from landscape.problem.problem import Problem, Split
from landscape.surface import FileStore
from landscape.sweep import Grid, run_sweep
from landscape.sweep.config import SweepConfig

options = json.loads(sys.argv[1])
ranks = Ranks.join()


def refuse(*_):
    raise StoreError("the disk is full")


if "full_disk" in options:  # at FileStore's method of that name
    setattr(FileStore, options["full_disk"], refuse)


def loss(outputs, targets):
    time.sleep(options.get("pause", 0.0))
    return nn.functional.cross_entropy(outputs, targets, reduction="none") - options.get("less", 0.0)


def problem():
    torch.manual_seed(ranks.rank if options.get("careless") else 0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    inputs, targets = torch.randn(60, 1, 8, 8), torch.randint(0, 3, (60,))
    metrics = {"acc": lambda outputs, targets: 100.0 * (outputs.argmax(1) == targets)}
    return Problem(model, {"train": Split(inputs, targets)}, loss, metrics)


def plane_of(measured):
    origin = Weights.from_model(measured.model)
    return Plane(origin, (random_direction(origin, 0, 0), random_direction(origin, 0, 1)))


def main():
    measured = problem()
    plane = share_plane(ranks, lambda: plane_of(measured)) if not options.get("careless") else plane_of(measured)
    plan = SweepConfig(Path(options["out"]), overwrite=options.get("overwrite", False))
    with StopSignals() as stop:
        outcome = run_sweep(
            measured,
            plane,
            Grid.parse("-1:0.5:7", "0:1:5"),
            plan,
            evaluation=EvaluationConfig(**options.get("evaluation", {})),
            ranks=ranks,
            stop=stop,
        )
    if ranks.is_root:
        print(json.dumps({"computed": outcome.computed, "pending": outcome.pending, "size": ranks.size}), flush=True)
    return ranks.share(0 if outcome.surface is None or outcome.complete else 3)


try:
    code = main()
except Exception as error:
    if ranks.comm is not None and not is_collective(error):
        raise
    code = 1
    if ranks.is_root:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
sys.exit(ranks.finalize(code))
