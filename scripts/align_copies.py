#!/usr/bin/env python
"""Align randomly permuted copies of networks, and count how many are recovered exactly.

Each case has new random weights and new permutations of all hidden units. A copy counts as recovered if every parameter
and buffer has the bits of the original after alignment. Also printed: the largest difference of the outputs of a copy,
relative to the largest output, in double precision.

    python scripts/align_copies.py --cases 100
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from landscape import Weights, models
from landscape.geometry.alignment.alignment import align_weights
from landscape.geometry.alignment.symmetry import find_symmetry

FAMILIES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...] | None]] = {
    "plain (mlp)": (lambda: models.build("mlp"), (64,)),
    "plain, batch norm (resnet20_noshort)": (lambda: models.build("resnet20_noshort"), (3, 8, 8)),
    "residual, batch norm (resnet20)": (lambda: models.build("resnet20"), (3, 8, 8)),
    "transformer": (lambda: models.build("transformer", vocabulary=16, context=8, width=32, depth=2), None),
}
"""Networks, and the shape of a sample; None for tokens."""


def main() -> None:
    """Print a line for each family."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=100, help="random cases of each family")
    cases = parser.parse_args().cases
    torch.set_num_threads(1)
    for name, (build, shape) in FAMILIES.items():
        begin, recovered, largest = time.monotonic(), 0, 0.0
        for seed in range(cases):
            model, inputs = random_network(build, shape, seed)
            symmetry = find_symmetry(model, inputs)
            weights = Weights.from_model(model, buffers=True)
            copied = symmetry.apply(weights, symmetry.random(1000 + seed))
            largest = max(largest, output_difference(model, weights, copied, inputs))
            back = symmetry.apply(copied, align_weights(symmetry, weights, copied).permutations)
            recovered += all(torch.equal(tensor, back.tensors[key]) for key, tensor in weights)
        seconds = (time.monotonic() - begin) / cases
        print(f"{name}: {recovered} of {cases} recovered; outputs {largest:.1e} apart; {seconds:.2f} s a case")


def random_network(
    build: Callable[[], nn.Module], shape: tuple[int, ...] | None, seed: int
) -> tuple[nn.Module, Tensor]:
    """Return a network with random entries in every tensor, as after training, and a few inputs."""
    torch.manual_seed(seed)
    model = build().eval()
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                noise = torch.rand_like(tensor) if tensor.dim() < 2 else torch.randn_like(tensor)
                tensor.mul_(0.5 + torch.rand_like(tensor)).add_(0.05 * noise)
    return model, torch.randint(0, 16, (2, 8)) if shape is None else torch.randn(2, *shape)


@torch.no_grad()
def output_difference(model: nn.Module, weights: Weights, copied: Weights, inputs: Tensor) -> float:
    """Return the largest difference of outputs in double precision, relative to the largest output."""
    wide = inputs.double() if inputs.is_floating_point() else inputs
    outputs = [
        torch.func.functional_call(model, dict(w.to(dtype=torch.float64).tensors), (wide,)) for w in (weights, copied)
    ]
    return float((outputs[0] - outputs[1]).abs().max() / outputs[0].abs().max())


if __name__ == "__main__":
    main()
