"""Preparation of a model for evaluation over a plane, and its restoration bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from landscape._utils.own_call import own_forward
from landscape._utils.torch_state import (
    clone_each,
    convert_tensors,
    converted_dtype,
    preserve_modes,
    sparse_buffers,
)
from landscape._utils.user_code import refuse_exit
from landscape.evaluation.config import DTYPES, DerivativeConfig, EvaluationConfig
from landscape.evaluation.derivatives.derivatives import LossDerivatives
from landscape.evaluation.derivatives.points import PointDerivatives
from landscape.evaluation.device import reproducible_numerics
from landscape.evaluation.functions import ModelFunction
from landscape.evaluation.point_evaluator import Evaluator, FunctionEvaluator
from landscape.geometry.placement import claim, movable_on
from landscape.geometry.plane import Plane
from landscape.geometry.weights import Weights, movable_tensors
from landscape.problem.failure import explain_failure
from landscape.problem.lazy import LazySplit
from landscape.problem.problem import Problem, Split
from landscape.problem.whole import batch_size_for

_TRIED = 64
"""Samples with which a failure is explained, of data that are read when they are needed."""


@contextmanager
def open_evaluator(
    problem: Problem,
    plane: Plane,
    config: EvaluationConfig | None = None,
    device: torch.device | str | None = None,
    data_bytes: int | None = None,
    begun: bool = False,
) -> Iterator[Evaluator]:
    """Prepare the problem's model for evaluation over ``plane``; on exit it is restored bit for bit.

    A model can be open in one evaluator at a time: its tensors are moved in place.

    Args:
        problem: model, data, loss and metrics.
        plane: plane of the points; its origin replaces the weights of the model.
        config: device, dtype, batch size, threads, engine.
        device: device of this process with its index; by default ``config.device``, which names only the type.
        data_bytes: maximum number of bytes for copies of the data, beyond which they are streamed batch by batch at
            each point. By default half of the free memory.
        begun: warn of a measure that depends on the batch size instead of refusing it, since a file holds such values.

    Raises:
        ValueError: another thread evaluates the model, the plane belongs to another network, a measure returns what
            ``Measure`` does not allow or depends on the batch size, or the requested engine is not applicable to the
            network.
        UnsoundError: a measure returns another number of values than the batch has samples.
        UserCodeError: the network or a measure ends the program.
    """
    config = (config or EvaluationConfig()).resolved(problem.model)
    config = replace(config, batch_size=batch_size_for({"loss": problem.loss, **problem.metrics}, config.batch_size))
    target, dtype = torch.device(device or config.device), DTYPES[config.dtype]
    model = problem.model
    release = claim(model)
    own_data = [(t, t.data) for t in (*model.parameters(), *model.buffers()) if t.layout is torch.strided]
    own_sparse = sparse_buffers(model)
    own_gradients = [(p, p.grad) for p in model.parameters()]
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        for parameter, _ in own_gradients:
            parameter.grad = None  # a network that differentiates might add to it
        with refuse_exit(), own_forward(model, problem.forward):

            def forward() -> object:
                return model(_first(problem, config.batch_size, target, dtype).inputs) if problem.splits else None

            convert_tensors(model, target, dtype, forward)
            # Points are summed in float32 at least, and rounded once to the dtype of the network.
            converted = _convert_plane(plane, model, target, torch.promote_types(dtype, torch.float32))
            with (
                preserve_modes(model),
                reproducible_numerics(target, tf32=config.dtype == "tf32"),
                movable_on(model, converted) as set_coordinates,
                ExitStack() as stack,
            ):
                set_coordinates((0.0,) * plane.ndim)
                evaluator: Evaluator
                try:
                    if problem.splits:
                        evaluator = Evaluator(problem, converted, set_coordinates, config, target, data_bytes, begun)
                    else:
                        evaluator = FunctionEvaluator(set_coordinates, config)
                except Exception as error:
                    if not problem.splits:
                        raise
                    split = next(iter(problem.splits.values()))
                    split = (split.take(slice(0, _TRIED)) if isinstance(split, LazySplit) else split).to(target, dtype)
                    measures = {"loss": problem.loss, **problem.metrics}
                    explained = explain_failure(model, split, config.batch_size or 2, error, measures)
                    if explained is None:
                        raise
                    raise explained from error
                if problem.evaluate is not None:
                    set_coordinates((0.0,) * plane.ndim)
                    evaluator.add_function(ModelFunction(problem, target, evaluator.names))
                if config.derivatives is not None:
                    evaluator.add_derivatives(
                        _open_derivatives(stack, problem, converted, config, config.derivatives, target, data_bytes)
                    )
                yield evaluator
    finally:
        torch.set_num_threads(threads)
        for tensor, data in own_data:
            tensor.data = data
        for module, name, buffer in own_sparse:
            setattr(module, name, buffer)
        for parameter, gradient in own_gradients:
            parameter.grad = gradient
        release()


def _open_derivatives(
    stack: ExitStack,
    problem: Problem,
    plane: Plane,
    config: EvaluationConfig,
    chosen: DerivativeConfig,
    device: torch.device,
    data_bytes: int | None,
) -> PointDerivatives:
    """Return the derivatives of the loss of the first split, at the present weights."""
    split = next(iter(problem.splits))
    derivatives = LossDerivatives(problem, config, split=split, device=device, data_bytes=data_bytes)
    return PointDerivatives(stack.enter_context(derivatives), plane, chosen)


def _first(problem: Problem, batch_size: int | None, device: torch.device, dtype: torch.dtype) -> Split:
    """Return the first samples, as many as a batch has if that is given."""
    few = next(iter(problem.splits.values())).take(slice(0, batch_size or 4)).to(device, dtype)
    return Split(*clone_each((few.inputs, few.targets)))


def _convert_plane(plane: Plane, model: nn.Module, device: torch.device, dtype: torch.dtype) -> Plane:
    """Return the plane on ``device``: as ``dtype``, or as a tensor of the model that has kept more digits."""
    live = movable_tensors(model, buffers=bool(plane.origin.buffers))

    def convert_one(name: str, tensor: Tensor) -> Tensor:
        to = converted_dtype(tensor, dtype)
        # A plane of another network is refused later, by name.
        return tensor.to(device, torch.promote_types(to, live[name].dtype) if name in live else to)

    def convert(weights: Weights) -> Weights:
        return weights.with_tensors({name: convert_one(name, tensor) for name, tensor in weights})

    return Plane(convert(plane.origin), tuple(d.with_weights(convert(d.weights)) for d in plane.directions))
