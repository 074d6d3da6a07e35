"""Networks and data of the benchmarks, and the loops to compare with, as users write them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from landscape.geometry import Plane, Weights
from landscape.geometry.plane import random_plane
from landscape.models import registry
from landscape.problem.measures import accuracy, cross_entropy
from landscape.problem.problem import Problem, Split

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
BATCH = 128  # as in the published code


@dataclass(frozen=True)
class Case:
    """A network with data: images are uint8, features float32, tokens int64."""

    model: str
    arguments: dict[str, Any]
    kind: str
    shape: tuple[int, ...]
    samples: int
    published: bool = True
    whole: bool = False  # the resident loop takes all samples at once, which is best for perceptrons


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
    "transformer-50257": Case("transformer", {"vocabulary": 50257, "width": 256}, "tokens", (128,), 8),
}


class Images(Dataset):
    """Images converted as by the data sets of torchvision: array, PIL image, tensor, normalized."""

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
    """Return the same samples as a data set for a loader and as resident tensors."""
    generator = np.random.default_rng(0)
    if case.kind == "tokens":
        tokens = torch.from_numpy(
            generator.integers(0, case.arguments.get("vocabulary", 256), (case.samples, *case.shape))
        )
        return TensorDataset(tokens, tokens.roll(-1, 1)), Split(tokens, tokens.roll(-1, 1))
    targets = generator.integers(0, case.arguments.get("num_classes", 10), case.samples)
    if case.kind == "features":
        inputs = torch.from_numpy(generator.standard_normal((case.samples, *case.shape), dtype=np.float32))
        return TensorDataset(inputs, torch.from_numpy(targets)), Split(inputs, torch.from_numpy(targets))
    pixels = generator.integers(0, 256, (case.samples, *case.shape), dtype=np.uint8)
    images = Images(pixels, targets)
    resident = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().float().div(255)
    return images, Split(resident.sub_(images.mean).div_(images.std), torch.from_numpy(targets))


def losses(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross entropy."""
    return nn.functional.cross_entropy(outputs.flatten(0, -2), targets.flatten())


def published(model: nn.Module, plane: Plane, dataset: Dataset, workers: int, folder: Path) -> Callable[[tuple], float]:
    """Return the loop of the published tool: directions from a file, new tensors, a loader, two waits per batch."""
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
    """Return a careful loop: tensors in memory, weights updated in place, inference mode, one wait."""
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
    """Return a loop that evaluates a point several times."""

    def several(step: tuple, count: int) -> float:
        for _ in range(count):
            loss = evaluate(step)
        return loss

    return several


def problem_of(case: Case, split: Split) -> tuple[Problem, Plane]:
    """Return the problem of a case, and a plane around its network."""
    torch.manual_seed(0)
    model = registry.build(case.model, **case.arguments).eval()
    plane = random_plane(Weights.from_model(model))
    return Problem(model, {"train": split}, cross_entropy, {"acc": accuracy}), plane


def twin(case: Case, problem: Problem) -> nn.Module:
    """Return another network with the same weights."""
    model = registry.build(case.model, **case.arguments).eval()
    model.load_state_dict(problem.model.state_dict())
    return model
