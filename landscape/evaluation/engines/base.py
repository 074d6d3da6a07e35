"""What an engine is, a way to a network's outputs at a point, and the first of them: the module itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from landscape.geometry.plane import Plane
from landscape.problem.problem import Split


class EngineNotApplicable(Exception):
    """This engine does not understand the network; the message says what stands in the way."""


@dataclass(frozen=True)
class EngineContext:
    """What an engine is built for.

    Attributes:
        model: the network, in evaluation mode, on the device.
        device: where the model and the data are.
        move: puts coordinates' weights into ``model``.
        plane: origin and directions, on the device, in the dtype that is added in.
        batches: by split, its samples batch by batch; ``inputs`` are what the network is given.
    """

    model: nn.Module
    device: torch.device
    move: Callable[[Sequence[float]], None]
    plane: Plane
    batches: Mapping[str, Sequence[Split]]


class Engine(Protocol):
    """One way to the outputs; used as ``move``, ``prepare``, then ``outputs`` for every batch.

    Attributes:
        name: what ``--engine`` and the file call it.
        points: how many points it computes at once.
        fill: each point's rows of outputs are filled up to a multiple of it, with copies of the last sample's.
    """

    name: str
    points: int
    fill: int

    def move(self, *points: Sequence[float]) -> None:
        """Go to as many points as it takes at once."""

    def prepare(self) -> None:
        """What has to be done once per point when weights and statistics are what they will be."""

    def outputs(self, split: str, number: int) -> Any:
        """The network's outputs for batch ``number`` of ``split``; valid until the next call.

        Of several points, those of one behind those of the other along the first axis.
        """


class EagerEngine:
    """The module as it is: understands everything, and is what the others are compared with."""

    name, points, fill = "eager", 1, 1

    def __init__(self, setting: EngineContext) -> None:
        self._model, self._batches = setting.model, setting.batches
        self.move, self.network = setting.move, setting.model

    def prepare(self) -> None:
        self._model.eval()

    def outputs(self, split: str, number: int) -> Any:
        return self.network(self._batches[split][number].inputs)


def filled(rows: int, fill: int) -> int:
    """``rows`` as a multiple of ``fill``."""
    return -(-rows // fill) * fill


def filled_up(rows: Tensor, fill: int) -> Tensor:
    """``rows`` (n, ...) filled up with copies of the last to a multiple of ``fill``."""
    more = filled(len(rows), fill) - len(rows)
    return torch.cat([rows, rows[-1:].expand(more, *rows.shape[1:])]) if more else rows
