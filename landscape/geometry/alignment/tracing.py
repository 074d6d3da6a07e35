"""Trace of a network as ATen operations, with the axes of its tensors under all constraints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from landscape._utils.torch_compat import trace_operations, tree_leaves
from landscape._utils.torch_state import evaluation_mode
from landscape.errors import AlignmentError
from landscape.geometry.alignment.axes import Axis, atoms_of, fix, new_axis
from landscape.geometry.alignment.operation_rules import derive
from landscape.geometry.alignment.operations import Operation, TensorAxes


def trace(model: nn.Module, tensors: Mapping[str, Tensor], inputs: Any) -> fx.GraphModule:
    """Return the operations of ``model`` in evaluation mode as a graph of ``(tensors, inputs)``.

    Shapes and everything that depends on them are those of ``inputs``, so networks that branch on shapes can be traced.

    Raises:
        AlignmentError: the network cannot be traced.
    """

    def forward(given: Mapping[str, Tensor], batch: Any) -> Any:
        return torch.func.functional_call(model, dict(given), (batch,))

    try:
        with evaluation_mode(model):
            return trace_operations(forward, dict(tensors), inputs)
    except Exception as error:  # a network is any callable
        raise AlignmentError(
            f"{type(model).__name__} cannot be aligned, since its operations cannot be traced: "
            f"{str(error).strip().partition(chr(10))[0]}"
        ) from error


class AxisInterpreter(fx.Interpreter):
    """Runs a traced network once and propagates the axes of its tensors.

    Args:
        graph: result of :func:`trace`.
        axes: axes of each parameter and buffer by name; refined, merged and fixed in place.
        name: name of the network, for messages.

    Attributes:
        contracted: names of the nodes that are multiplied by weights, with their axes: the hidden activations.
    """

    def __init__(self, graph: fx.GraphModule, axes: Mapping[str, TensorAxes], name: str) -> None:
        super().__init__(graph)
        self._of_tensors, self._name = axes, name
        self._axes: dict[fx.Node, Any] = {}
        self.contracted: dict[str, TensorAxes] = {}
        self._data: set[fx.Node] = set()

    def propagate(self, tensors: Mapping[str, Tensor], inputs: Any) -> None:
        """Run the graph and apply the rule of each operation."""
        flat = tree_leaves((dict(tensors), inputs))
        placeholders = [node for node in self.module.graph.nodes if node.op == "placeholder"]  # type: ignore[union-attr]
        names = [*sorted_names(tensors), *[None] * (len(flat) - len(tensors))]
        for node, name, value in zip(placeholders, names, flat, strict=True):
            fixed = tuple(new_axis(size, fixed=True) for size in getattr(value, "shape", ()))
            self._axes[node] = fixed if name is None else self._of_tensors[name]
            if name is None:
                self._data.add(node)
        try:
            with torch.no_grad():
                self.run(*flat)
        except AlignmentError as error:  # to which the interpreter has added its own state
            raise AlignmentError(str(error).partition("\n")[0]) from None

    def run_node(self, n: fx.Node) -> Any:
        """Run an operation, and derive the axes of its result."""
        value = super().run_node(n)
        if self._data.intersection(n.all_input_nodes):
            self._data.add(n)
        if n.op == "output":
            for node in n.all_input_nodes:
                for axis in _each_axis(self._axes.get(node)):
                    fix(axis)
        elif n.op == "get_attr":
            self._axes[n] = tuple(new_axis(size, fixed=True) for size in getattr(value, "shape", ()))
        elif n.op == "call_function":
            self._axes[n] = self._derive(n, value)
            _forget_outer(self._axes[n])
        return value

    def _derive(self, node: fx.Node, value: Any) -> Any:
        args, kwargs = self.fetch_args_kwargs_from_env(node)
        if not isinstance(node.target, torch._ops.OpOverload):  # getitem of a result of several tensors
            return self._axes[node.args[0]][args[1]] if node.args[0] in self._axes else None  # type: ignore[index]
        operation = Operation(
            node.target, args, kwargs, fx.node.map_arg(node.args, self._axes.get),
            fx.node.map_arg(node.kwargs, self._axes.get), value, self._name,
        )  # fmt: skip
        found = derive(operation)
        for argument in operation.contracted:
            source = node.args[argument] if argument < len(node.args) else None
            if isinstance(source, fx.Node) and source in self._data and source.op == "call_function":
                self.contracted[source.name] = self._axes[source]
        return found


def sorted_names(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return names in the order in which a mapping is flattened."""
    return [str(name) for name in tree_leaves({name: name for name in tensors})]


def _each_axis(axes: Any) -> list[Axis]:
    if axes is None:
        return []
    if isinstance(axes, list):
        return [axis for one in axes for axis in _each_axis(one)]
    return list(axes)


def _forget_outer(axes: Any) -> None:
    """Give an atom a single permutation where the atom that it is nested in is not on the same tensor."""
    for one in axes if isinstance(axes, list) else [axes]:
        present = {atom for axis in one or () for atom in atoms_of(axis)}
        for atom in present:
            if atom.outer is not None and atom.outer.root not in present:
                atom.outer = None


def constrain(
    model: nn.Module, tensors: Mapping[str, Tensor], inputs: Any
) -> tuple[fx.GraphModule, dict[str, TensorAxes], dict[str, TensorAxes]]:
    """Return the graph of a network, the axes of its tensors under all constraints, and those of hidden activations.

    Args:
        model: the network.
        tensors: its parameters and buffers by name.
        inputs: a few samples.

    Raises:
        AlignmentError: the network cannot be traced, or an operation on hidden units has no rule.
    """
    graph = trace(model, tensors, inputs)
    axes = {
        name: tuple(new_axis(size, name, fixed=not tensor.is_floating_point()) for size in tensor.shape)
        for name, tensor in tensors.items()
    }
    interpreter = AxisInterpreter(graph, axes, type(model).__name__)
    interpreter.propagate(tensors, inputs)
    names = sorted_names(tensors)
    placeholders = [node for node in graph.graph.nodes if node.op == "placeholder"]
    for name, node in zip(names, placeholders, strict=False):
        if not node.users:
            for axis in axes[name]:
                fix(axis)
    return graph, axes, interpreter.contracted
