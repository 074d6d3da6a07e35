"""The interface of engines, which compute a network's outputs at a point, and the simplest one: the module itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from landscape._utils.torch_state import detach_each
from landscape.evaluation.grad_mode import GradMode
from landscape.geometry.placement import SetCoordinates
from landscape.geometry.plane import Plane
from landscape.problem.problem import Split

if TYPE_CHECKING:
    from landscape.evaluation.engines.chunked_loss import LinearHead


class EngineNotApplicable(Exception):
    """An engine does not support this network; the message is the reason, with "it" for the network."""


@dataclass(frozen=True)
class EngineContext:
    """The inputs from which engines are built.

    Attributes:
        model: the network, in evaluation mode, on the device.
        device: device of the model and the data.
        set_coordinates: function that writes the weights at a point into ``model``.
        plane: origin and directions, on the device, in the dtype in which points are summed.
        batches: batches of each split; their ``inputs`` are what the network takes.
        grad_mode: autograd mode that the network needs.
        head: last layer of a language model with a large vocabulary; None for other networks.
    """

    model: nn.Module
    device: torch.device
    set_coordinates: SetCoordinates
    plane: Plane
    batches: Mapping[str, Sequence[Split]]
    grad_mode: GradMode = torch.inference_mode
    head: LinearHead | None = None

    def first(self, samples: int) -> EngineContext:
        """Return a context with the first samples of the first and the last batch of each split."""
        few = {
            split: [part.take(slice(0, samples)) for part in (parts[0], parts[-1])]
            for split, parts in self.batches.items()
        }
        return replace(self, batches=few)


class Engine(Protocol):
    """A way to compute the outputs of a network.

    For each launch the caller runs ``set_points``, then ``prepare``, then ``outputs`` for every batch.

    Attributes:
        name: name of the engine in files and settings.
        points: number of points that one launch computes.
        row_multiple: the output rows of each point are padded to a multiple of this number, with copies of the last
            sample's.
    """

    name: str
    points: int
    row_multiple: int

    def set_points(self, *points: Sequence[float]) -> None:
        """Set the weights to those at ``points``, as many as a launch computes."""

    def prepare(self) -> None:
        """Do what is needed once per launch, after weights and running statistics have their values."""

    def outputs(self, split: str, number: int) -> Any:
        """Return the network's outputs for batch ``number`` of ``split``; valid until the next call.

        The outputs of several points follow one another along the first axis.
        """


class EagerEngine:
    """The module as it is: applicable to every network, and the reference for the other engines.

    Attributes:
        network: the callable that is evaluated.
    """

    name, points, row_multiple = "eager", 1, 1

    def __init__(self, context: EngineContext) -> None:
        self._model, self._batches, self._set_coordinates = context.model, context.batches, context.set_coordinates
        self.network: Any = context.model
        self._differentiates = context.grad_mode is not torch.inference_mode

    def set_points(self, *points: Sequence[float]) -> None:
        (point,) = points
        self._set_coordinates(point)

    def prepare(self) -> None:
        self._model.eval()

    def outputs(self, split: str, number: int) -> Any:
        inputs = self._batches[split][number].inputs
        return self.network(detach_each(inputs) if self._differentiates else inputs)


def round_up(count: int, multiple: int) -> int:
    """Return the smallest multiple of ``multiple`` that is at least ``count``."""
    return -(-count // multiple) * multiple


def pad_rows(rows: Tensor, multiple: int) -> Tensor:
    """Return ``rows`` (n, ...) padded to a multiple of ``multiple`` rows with copies of the last one."""
    missing = round_up(len(rows), multiple) - len(rows)
    return torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])]) if missing else rows
