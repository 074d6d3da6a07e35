"""A plug-in as the README describes it: a tiny convolutional network with batch norm, on data that are exact."""

import os

import torch
from torch import nn

from landscape import Problem, Split


def problem():
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)
    )  # fmt: skip
    # Multiples of 1/64: the same bits, and so the same digest, on every machine.
    inputs = ((torch.arange(60 * 16) * 7919) % 101).float().reshape(60, 1, 4, 4) / 64 - 0.75
    targets = torch.arange(60) % 3
    splits = {"train": Split(inputs[:40], targets[:40]), "test": Split(inputs[40:], targets[40:])}
    return Problem(model, splits, _loss, {"acc": _accuracy})


def _loss(outputs, targets):
    if os.environ.get("GOLDEN_FAIL") and outputs.abs().max() > float(os.environ["GOLDEN_FAIL"]):
        raise RuntimeError("asked to fail far from the origin")
    return nn.functional.cross_entropy(outputs, targets, reduction="none")


def _accuracy(outputs, targets):
    return (outputs.argmax(dim=1) == targets).float() * 100
