"""The autograd mode of an evaluation: as little as the network can do without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from landscape._utils.torch_compat import tree_leaves
from landscape._utils.torch_state import clone_each, seed_random
from landscape.geometry.placement import SetCoordinates
from landscape.problem.problem import Measure, Split

GradMode = Callable[[], AbstractContextManager[object]]
"""``torch.inference_mode``, ``torch.no_grad`` or ``torch.enable_grad``."""
PROBE = (0.5, -0.25, 0.125)
"""Point at which modes and engines are compared: off the origin, so that anything that is frozen there shows."""
PROBE_SCALES = (1.0, 0.1, 0.01, 0.001)
"""Factors of :data:`PROBE`, tried in order until the outputs of the network are finite."""

_PART = 2**20
"""Number of values that are compared at a time: a comparison takes several copies."""


def choose_grad_mode(
    model: nn.Module,
    measures: Mapping[str, Measure],
    axes: int,
    set_coordinates: SetCoordinates,
    device: torch.device,
    batch: Split,
) -> GradMode | None:
    """Return the cheapest mode in which outputs and measures are the network's own; None if all modes fail.

    A network that differentiates in its forward pass (forces, residuals of differential equations, adversarial inputs)
    fails in inference mode, which ``enable_grad`` within it cannot undo, or gets derivatives of zero without a word.

    Args:
        model: the network, in evaluation mode.
        measures: loss and metrics by name.
        axes: number of axes of the plane.
        set_coordinates: function that writes the weights at a point into ``model``.
        device: device of the model and the data.
        batch: a few samples: with gradients, everything that the network computes is kept in memory.
    """

    def outcome(mode: GradMode, point: tuple[float, ...]) -> list[Tensor]:
        set_coordinates(point)
        seed_random(0, device)
        with mode():
            inputs, targets = clone_each((batch.inputs, batch.targets))  # they may be written to
            outputs = model(inputs)
            values = [measure(outputs, targets) for measure in measures.values()]
        return [leaf.detach().clone() for leaf in tree_leaves((outputs, values)) if isinstance(leaf, Tensor)]

    def tried(mode: GradMode, point: tuple[float, ...]) -> list[Tensor] | None:
        try:
            return outcome(mode, point)
        except Exception:  # a network is any callable
            return None

    for scale in PROBE_SCALES:
        point = tuple(scale * c for c in PROBE[:axes])
        expected = tried(torch.no_grad, point)
        if expected is None or all(bool(leaf.isfinite().all()) for leaf in expected):
            break
    if expected is None:
        # Gradients come last: a network that stores its activations could not be copied with them.
        modes: tuple[GradMode, ...] = (torch.inference_mode, torch.enable_grad)
        return next((mode for mode in modes if tried(mode, point) is not None), None)
    again = tried(torch.no_grad, point)
    random = again is None or not _close(again, expected)
    del again  # the outputs of a language model are large
    found = tried(torch.inference_mode, point)
    same = found is not None and (random or _close(found, expected))
    return torch.inference_mode if same else torch.no_grad


def _close(found: list[Tensor], expected: list[Tensor]) -> bool:
    """Return True if outcomes differ by rounding at most; some layers have other kernels without gradients."""
    if [leaf.shape for leaf in found] != [leaf.shape for leaf in expected]:
        return False
    for f, e in zip(found, expected, strict=True):
        if not (e.is_floating_point() or e.is_complex()):
            if not torch.equal(f, e):
                return False
            continue
        pairs = list(zip(torch.split(f.flatten(), _PART), torch.split(e.flatten(), _PART), strict=True))
        size = max(float(part.abs().nan_to_num(0, 0).max()) for _, part in pairs) if e.numel() else 0.0
        tolerance = torch.finfo(e.dtype).eps ** 0.5 * size
        if not all(torch.allclose(a, b, rtol=0, atol=tolerance, equal_nan=True) for a, b in pairs):
            return False
    return True
