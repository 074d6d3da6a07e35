"""One operation of a traced network, with what most rules for the axes of its tensors have in common."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from landscape.errors import AlignmentError
from landscape.geometry.alignment.axes import Axis, atoms_of, is_free, new_axis, unify

TensorAxes = tuple[Axis, ...]
"""The axes of one tensor."""


class Operation:
    """One ATen operation with its arguments and their axes.

    Args:
        target: the operation.
        args: positional arguments.
        kwargs: arguments by name.
        arg_axes: axes of the tensors among ``args``.
        kwarg_axes: axes of the tensors among ``kwargs``.
        value: result.
        network: name of the network, for messages.

    Attributes:
        contracted: positions of the arguments that are hidden activations multiplied by something.
    """

    def __init__(
        self, target: torch._ops.OpOverload, args: Any, kwargs: Any, arg_axes: Any, kwarg_axes: Any, value: Any,
        network: str,
    ) -> None:  # fmt: skip
        self.name = target._schema.name.partition("::")[2]
        names = [argument.name for argument in target._schema.arguments]
        defaults = {a.name: a.default_value for a in target._schema.arguments if a.has_default_value()}
        self.values: dict[str, Any] = {**defaults, **dict(zip(names, args, strict=False)), **kwargs}
        self.axes: dict[str, Any] = {**dict(zip(names, arg_axes, strict=False)), **kwarg_axes}
        self.value, self.target, self.network = value, target, network
        self.contracted: tuple[int, ...] = ()

    def tensors(self) -> list[tuple[Tensor, TensorAxes]]:
        """Return the tensors among the arguments with their axes, in order."""
        found = []
        for name, value in self.values.items():
            values, axes = ([value], [self.axes.get(name)])
            if isinstance(value, (list, tuple)):
                values, axes = list(value), list(self.axes.get(name) or [None] * len(value))
            found += [(v, a) for v, a in zip(values, axes, strict=True) if isinstance(v, Tensor) and a is not None]
        return found

    def pointwise(self) -> TensorAxes:
        """Unify the axes of all arguments, aligned at the last one and broadcast."""
        found: list[Axis] = [None] * self.value.dim()
        for tensor, axes in self.tensors():
            for back in range(1, tensor.dim() + 1):
                if tensor.shape[-back] > 1:
                    found[-back] = unify(found[-back], axes[-back])
        return tuple(found)

    def unknown(self) -> Any:
        """Fix everything if only data pass through; refuse an operation on hidden units that has no rule."""
        for _, axes in self.tensors():
            for axis in axes:
                if is_free(axis):
                    unit = next((a.label for a in atoms_of(axis) if not a.fixed and a.label), "")
                    raise AlignmentError(
                        f"{self.network} cannot be aligned: operation {self.name!r} is applied to its hidden units"
                        + (f" (those of {unit})" if unit else "")
                        + ", and it is unknown which permutations it allows"
                    )
        return self.fixed()

    def fixed(self) -> Any:
        """Return fixed axes for every result."""
        if isinstance(self.value, Tensor):
            return tuple(new_axis(size, fixed=True) for size in self.value.shape)
        if isinstance(self.value, (list, tuple)):
            return [tuple(new_axis(size, fixed=True) for size in getattr(v, "shape", ())) for v in self.value]
        return ()

    def free(self) -> TensorAxes:
        """Return axes without constraints, for tensors of equal entries."""
        found: TensorAxes = (None,) * self.value.dim()
        return found

    def dims(self, key: str, rank: int) -> list[int]:
        """Return the non-negative dimensions that an argument lists; all of them by default."""
        given = self.values.get(key)
        if given is None or given == []:
            return list(range(rank))
        return [d % rank if rank else 0 for d in ([given] if isinstance(given, int) else given)]
