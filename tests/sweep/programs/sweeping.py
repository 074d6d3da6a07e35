"""Run sweeps over a small network, one after another; the root prints a JSON list of results or collective errors.

Options are a list of sweeps: ``out``, ``pause`` (seconds per point), ``until`` (file that ends the pauses), ``less``
(subtracted from losses), ``evaluation``, ``careless`` (each rank has another problem), ``full_disk`` (method of the
file store that fails), ``slow`` (samples are read again at each point, slowly).
"""

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

GRID = Grid.parse("-1:0.5:7", "0:1:5")


def refuse(*_):
    raise StoreError("the disk is full")


class SlowSamples:
    """Samples that take a while to read."""

    def __init__(self, inputs, targets):
        self.inputs, self.targets = inputs, targets

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, k):
        time.sleep(1e-3)
        return self.inputs[k], self.targets[k]


def make_problem(options, ranks):
    def loss(outputs, targets):
        if not Path(options.get("until", "")).is_file():
            time.sleep(options.get("pause", 0.0))
        return nn.functional.cross_entropy(outputs, targets, reduction="none") - options.get("less", 0.0)

    torch.manual_seed(ranks.rank if options.get("careless") else 0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    inputs, targets = torch.randn(60, 1, 8, 8), torch.randint(0, 3, (60,))
    metrics = {"acc": lambda outputs, targets: 100.0 * (outputs.argmax(1) == targets)}
    split = Split.of(SlowSamples(inputs, targets), cache=0) if options.get("slow") else Split(inputs, targets)
    return Problem(model, {"train": split}, loss, metrics)


def sweep(options, ranks):
    problem = make_problem(options, ranks)

    def make_plane():
        origin = Weights.from_model(problem.model)
        return Plane(origin, (random_direction(origin, 0, 0), random_direction(origin, 0, 1)))

    plane = make_plane() if options.get("careless") else share_plane(ranks, make_plane)
    with StopSignals() as stop:
        result = run_sweep(
            problem,
            plane,
            GRID,
            SweepConfig(Path(options["out"])),
            evaluation=EvaluationConfig.from_json(options.get("evaluation", {})),
            ranks=ranks,
            stop=stop,
        )
    return {"computed": result.computed, "pending": result.pending, "size": ranks.size}


def main():
    ranks, results, code = Ranks.join(), [], 0
    for options in json.loads(sys.argv[1]):
        name = options.get("full_disk")
        method = name and getattr(FileStore, name)
        if name:
            setattr(FileStore, name, refuse)
        try:
            results.append(sweep(options, ranks))
            code = ranks.share(3 if results[-1]["pending"] else 0)
        except Exception as error:
            if ranks.comm is not None and not is_collective(error):
                raise
            results.append({"error": f"{type(error).__name__}: {error}"})
            code = 1
        finally:
            if name:
                setattr(FileStore, name, method)
    if ranks.is_root:
        print(json.dumps(results), flush=True)
    return ranks.finalize(code)


if __name__ == "__main__":
    sys.exit(main())
