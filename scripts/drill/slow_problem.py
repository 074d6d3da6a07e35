"""A small problem whose points take a while, for drills: each evaluation is noted in a file of its process.

LANDSCAPE_DRILL_PAUSE: seconds per point. LANDSCAPE_DRILL_NOTES: folder for the notes, one line per point evaluated.
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
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))


def make() -> Problem:
    model = network()
    inputs, targets = torch.randn(60, 1, 8, 8), torch.randint(0, 3, (60,))

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        values = nn.functional.cross_entropy(outputs, targets, reduction="none")
        time.sleep(PAUSE)
        if NOTES and len(targets) == len(inputs):  # not the probe before the first point
            with (Path(NOTES) / str(os.getpid())).open("a") as notes:
                notes.write(f"{time.time()}\n")
        return values

    return Problem(model, {"train": Split(inputs, targets)}, loss)
