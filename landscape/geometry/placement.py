"""Move a network over a plane and restore it afterwards, bit for bit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from landscape._utils.torch_compat import copy_each
from landscape._utils.torch_state import preserve_modes, preserve_random_state, same_bits
from landscape.geometry.plane import Plane, cast_like, write_point
from landscape.geometry.weights import Weights, movable_tensors, require_same_layout

SetCoordinates = Callable[[Sequence[float]], None]

_claims: WeakKeyDictionary[nn.Module, tuple[int, int]] = WeakKeyDictionary()  # thread and number of its claims
_claims_lock = threading.Lock()


def claim(model: nn.Module) -> Callable[[], None]:
    """Reserve a network whose weights will move for this thread, which may do so several times.

    Returns:
        A function that gives one reservation back.

    Raises:
        ValueError: another thread has reserved the network.
    """
    thread = threading.get_ident()
    with _claims_lock:
        owner, count = _claims.get(model, (thread, 0))
        if owner != thread:
            raise ValueError(
                f"this {type(model).__name__} is being evaluated in another thread, which moves its weights: evaluate "
                "a copy (copy.deepcopy), or one after the other"
            )
        _claims[model] = (thread, count + 1)

    def release() -> None:
        with _claims_lock:
            _, count = _claims[model]
            if count > 1:
                _claims[model] = (thread, count - 1)
            else:
                del _claims[model]

    return release


@contextmanager
def movable_on(model: nn.Module, plane: Plane) -> Iterator[SetCoordinates]:
    """Make ``model`` movable over ``plane`` within the context, and restore it on exit.

    Restored bit for bit, also after an exception: parameters, buffers (including those that no checkpoint holds), the
    training mode of every module, and torch's random state. A tensor that several modules share moves once. Tensors of
    lower precision than the plane's origin get the float32 sum, rounded once.

    Args:
        model: the network; its movable tensors must be those of the plane, by name and shape.
        plane: plane to move over. Its tensors are not copied unless they are on another device than the model's.

    Yields:
        A function that takes coordinates and writes the weights at that point into the model, in place.

    Raises:
        ValueError: the plane belongs to another network.
    """
    live = movable_tensors(model, buffers=bool(plane.origin.buffers))
    try:
        require_same_layout(plane.origin, Weights(live))
    except ValueError as error:
        raise ValueError(f"expected a plane of this network: {error}") from None
    tensors = [tensor.detach() for tensor in live.values()]
    devices = [tensor.device for tensor in tensors]
    written = {tensor.untyped_storage().data_ptr() for tensor in tensors}
    origin = _separate([tensor.to(device) for (_, tensor), device in zip(plane.origin, devices, strict=True)], written)
    directions = [_separate(cast_like(direction.weights, origin), written) for direction in plane.directions]
    same = all(t.dtype == o.dtype for t, o in zip(tensors, origin, strict=True))
    scratch = tensors if same else [torch.empty_like(o) for o in origin]

    def set_coordinates(coordinates: Sequence[float]) -> None:
        write_point(scratch, origin, directions, coordinates)
        if not same:
            copy_each(tensors, scratch)

    moving = {id(tensor) for tensor in live.values()}
    others = [t.detach() for t in (*model.parameters(), *model.buffers()) if id(t) not in moving]
    # Most networks are at the origin already: its tensors then serve as the backup, which saves a copy of the network.
    saved = [o if same_bits(t, o) else t.clone() for t, o in zip(tensors, origin, strict=True)]
    saved_others = [other.clone() for other in others]
    with preserve_random_state(*devices):
        try:
            with preserve_modes(model):
                yield set_coordinates
        finally:
            with torch.no_grad():
                copy_each(tensors, saved)
                for other, value in zip(others, saved_others, strict=True):
                    other.copy_(value)


def _separate(tensors: list[Tensor], written: set[int]) -> list[Tensor]:
    """Return the tensors, cloned if they share memory that is going to be written."""
    return [t.clone() if t.untyped_storage().data_ptr() in written else t for t in tensors]
