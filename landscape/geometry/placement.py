"""Weight surgery that leaves no trace: a network is moved over a plane and comes back bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from landscape._utils.torch_compat import copy_each
from landscape._utils.torch_state import preserve_modes, preserve_random_state
from landscape.geometry.plane import Plane, alike, place
from landscape.geometry.weights import Weights, movable, require_same_layout

SetCoordinates = Callable[[Sequence[float]], None]


@contextmanager
def movable_on(model: nn.Module, plane: Plane) -> Iterator[SetCoordinates]:
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
    own = {tensor.untyped_storage().data_ptr() for tensor in tensors}
    origin = _apart([tensor.to(device) for (_, tensor), device in zip(plane.origin, devices, strict=True)], own)
    directions = [_apart(alike(direction.weights, origin), own) for direction in plane.directions]
    same = all(t.dtype == o.dtype for t, o in zip(tensors, origin, strict=True))
    scratch = tensors if same else [torch.empty_like(o) for o in origin]

    def move(coordinates: Sequence[float]) -> None:
        place(scratch, origin, directions, coordinates)
        if not same:
            copy_each(tensors, scratch)

    moving = {id(tensor) for tensor in live.values()}
    others = [t.detach() for t in (*model.parameters(), *model.buffers()) if id(t) not in moving]
    # A network that stands at the origin, as most do, finds its weights there again; a copy would be a copy too many.
    saved = [o if _same_bits(t, o) else t.clone() for t, o in zip(tensors, origin, strict=True)]
    saved_others = [other.clone() for other in others]
    with preserve_random_state(*devices):
        try:
            with preserve_modes(model):
                yield move
        finally:
            with torch.no_grad():
                copy_each(tensors, saved)
                for other, value in zip(others, saved_others, strict=True):
                    other.copy_(value)


def _apart(tensors: list[Tensor], taken: set[int]) -> list[Tensor]:
    """The tensors, copied where they lie in memory that is going to be written."""
    return [t.clone() if t.untyped_storage().data_ptr() in taken else t for t in tensors]


def _same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal bit for bit: zeros of one sign, and NaN like any number."""
    integer = {8: torch.int64, 4: torch.int32, 2: torch.int16}.get(a.element_size())
    return integer is not None and a.dtype == b.dtype and torch.equal(a.view(integer), b.view(integer))
