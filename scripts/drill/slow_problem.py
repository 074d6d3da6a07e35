"""A small problem with slow points, for drills; each process writes a line per evaluated point to a file of its own.

Environment variables: LANDSCAPE_DRILL_PAUSE (seconds per point), LANDSCAPE_DRILL_NOTES (directory of those files).
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch
from torch import nn

from landscape.problem.problem import Problem, Split

PAUSE = float(os.environ.get("LANDSCAPE_DRILL_PAUSE", "0"))
NOTES = os.environ.get("LANDSCAPE_DRILL_NOTES", "")


def network() -> nn.Module:
    """Return the network, with fixed weights."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))


def make() -> Problem:
    """Return the problem."""
    model = network()
    inputs, targets = torch.randn(60, 1, 8, 8), torch.randint(0, 3, (60,))

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        values = nn.functional.cross_entropy(outputs, targets, reduction="none")
        time.sleep(PAUSE)
        if NOTES and len(targets) == len(inputs):  # not the samples that are tried before the first point
            with (Path(NOTES) / str(os.getpid())).open("a") as notes:
                notes.write(f"{time.time()}\n")
        return values

    return Problem(model, {"train": Split(inputs, targets)}, loss)
