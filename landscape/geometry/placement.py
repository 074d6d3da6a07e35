"""Weight surgery that leaves no trace: a network is moved over a plane and comes back bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from landscape.geometry.plane import Plane, alike, place
from landscape.geometry.weights import Weights, movable, require_same_layout

Mover = Callable[[Sequence[float]], None]


@contextmanager
def placed(model: nn.Module, plane: Plane) -> Iterator[Mover]:
    """Let ``model`` move over ``plane``; on the way out everything is as it was, also after an exception.

    Restored bit for bit: parameters, buffers (also those no checkpoint holds), the training mode of every module,
    and torch's random state. A tensor that several modules share moves once. Tensors of lower precision than the
    plane's origin get the float32 sum, rounded once.

    Args:
        model: the network; its movable tensors must be those of the plane, by name and shape.
        plane: where to move. Its tensors are used where they lie: a device other than the model's costs a copy here.

    Yields:
        A function that takes coordinates and puts the weights there, in place.

    Raises:
        ValueError: the plane belongs to another network.
    """
    live = movable(model, states=bool(plane.origin.states))
    try:
        require_same_layout(plane.origin, Weights(live))
    except ValueError as error:
        raise ValueError(f"a plane of this network expected: {error}") from None
    tensors = [tensor.detach() for tensor in live.values()]
    devices = [tensor.device for tensor in tensors]
    origin = [tensor.to(device) for (_, tensor), device in zip(plane.origin, devices, strict=True)]
    directions = [alike(direction.weights, origin) for direction in plane.directions]
    same = all(t.dtype == o.dtype for t, o in zip(tensors, origin, strict=True))
    scratch = tensors if same else [torch.empty_like(o) for o in origin]

    def move(coordinates: Sequence[float]) -> None:
        place(scratch, origin, directions, coordinates)
        if not same:
            torch._foreach_copy_(tensors, scratch)

    moving = {id(tensor) for tensor in live.values()}
    others = [t.detach() for t in (*model.parameters(), *model.buffers()) if id(t) not in moving]
    saved, saved_others = [tensor.clone() for tensor in tensors], [other.clone() for other in others]
    modes = [(module, module.training) for module in model.modules()]
    cuda = sorted({device.index for device in devices if device.type == "cuda" and device.index is not None})
    with torch.random.fork_rng(devices=cuda):
        try:
            yield move
        finally:
            with torch.no_grad():
                torch._foreach_copy_(tensors, saved)
                for other, value in zip(others, saved_others, strict=True):
                    other.copy_(value)
            for module, mode in modes:
                module.training = mode
