"""Preparation of an evaluator, done once: autograd mode, batch size, data on the device, names of values, engine."""

from __future__ import annotations

from functools import partial

import torch

from landscape._utils.own_call import has_own_forward
from landscape._utils.torch_compat import NormBase
from landscape._utils.torch_state import clone_each
from landscape.evaluation.config import DTYPES, EvaluationConfig
from landscape.evaluation.data import default_batch_size, make_batches, within_limits
from landscape.evaluation.engines.base import Engine, EngineContext
from landscape.evaluation.engines.chunked_loss import LinearHead, find_head
from landscape.evaluation.engines.selection import select_engine
from landscape.evaluation.grad_mode import GradMode, choose_grad_mode
from landscape.evaluation.launch import EvaluationData, require_same_values
from landscape.evaluation.names import metric_names, scalar_measures, weighted_measures
from landscape.evaluation.recalibration import Recalibration, require_norms
from landscape.evaluation.reductions import check_reductions, require_values
from landscape.evaluation.side_effects import ClonedBatches, Drift, changes_data, state_remark
from landscape.evaluation.streaming import align
from landscape.geometry.placement import SetCoordinates
from landscape.geometry.plane import Plane
from landscape.problem.problem import Problem, Split
from landscape.problem.whole import WholeSplitMeasure, prepare_measures


class Preparation:
    """The parts of an evaluator that do not depend on the point; each step needs those before it.

    Args:
        problem: model, data, loss and metrics; the model is on the device, in the type of ``config``.
        plane: plane of the points.
        set_coordinates: function that writes the weights at a point into the model.
        config: configuration with its dtype resolved.
        device: device of the model.
        data_bytes: maximum number of bytes for copies of the data.

    Attributes:
        grad_mode: autograd mode that the network needs.
        batch_size: samples per forward pass.
        data: data, measures and names of the values.
        engine: engine that computes the outputs.
        has_whole_measures: True if a measure is that of a whole split.
    """

    def __init__(
        self,
        problem: Problem,
        plane: Plane,
        set_coordinates: SetCoordinates,
        config: EvaluationConfig,
        device: torch.device,
        data_bytes: int | None,
    ) -> None:
        self._problem, self._plane, self._set_coordinates = problem, plane, set_coordinates
        self._config, self._device, self._dtype = config, device, DTYPES[config.dtype]
        self._model = problem.model
        self._model.eval()  # whose own version may return nothing
        self._first = next(iter(problem.splits.values()))
        self._measures = prepare_measures({"loss": problem.loss, **problem.metrics}, device, self._dtype)
        # Those of whole splits may have no value for a few samples.
        self._of_batches = {name: f for name, f in self._measures.items() if not isinstance(f, WholeSplitMeasure)}
        self.has_whole_measures = len(self._of_batches) < len(self._measures)
        self._drift = Drift(self._model)
        self.grad_mode = self._choose_grad_mode()
        with self.grad_mode():
            head = self._find_head()
            before = None if head is None else head.inputs
            self.batch_size = config.batch_size or within_limits(
                default_batch_size(self._model, self._samples(self._first, 4), device, before),
                *problem.splits.values(),
            )
        self.data = self._prepare_data(data_bytes)
        with self.grad_mode():
            require_values(self._model, self.data)
        self.engine = self._select_engine(head)

    @property
    def bn_weights(self) -> str:
        """Weights of the batches in re-estimated statistics: ``samples``, or ``batches`` if they are equal."""
        recalibration = self.data.recalibration
        return "samples" if recalibration is not None and recalibration.uneven else "batches"

    def remarks(self, begun: bool) -> tuple[str, ...]:
        """Return sentences for the user about measures that may mislead.

        Args:
            begun: warn of a measure that depends on the batch size instead of refusing it.
        """
        model, data, axes = self._model, self.data, self._plane.ndim
        with self.grad_mode():
            reductions = tuple(check_reductions(model, data, axes, self._set_coordinates, self._dtype, begun))
            state = state_remark(model, self._of_batches, data.batches, self._device, self._reset, data.writes)
            return (*state, *reductions)

    def _reset(self) -> None:
        self._drift.reset()
        self._set_coordinates((0.0,) * self._plane.ndim)

    def _samples(self, split: Split, count: int) -> Split:
        """Return copies of the first samples on the device, since a network may write into its inputs."""
        few = split.take(slice(0, count)).to(self._device, self._dtype)
        return Split(*clone_each((few.inputs, few.targets)))

    def _choose_grad_mode(self) -> GradMode:
        axes, config = self._plane.ndim, self._config
        choose = partial(choose_grad_mode, self._model, self._of_batches, axes, self._set_coordinates, self._device)
        # Some networks take batches of one size only; what is wrong with others is reported below.
        mode = choose(self._samples(self._first, 2)) or choose(self._samples(self._first, config.batch_size or 4))
        self._set_coordinates((0.0,) * axes)
        self._drift.settle()
        return mode or torch.inference_mode

    def _find_head(self) -> LinearHead | None:
        """Return the last layer of a language model with a large vocabulary; None for other networks."""
        if has_own_forward(self._model):
            return None
        few = self._samples(self._first, self._config.batch_size or 2)
        return find_head(self._model, self._measures, few, self._config.engine)

    def _prepare_data(self, data_bytes: int | None) -> EvaluationData:
        problem, device, config = self._problem, self._device, self._config
        batches = {
            name: make_batches(split, self.batch_size, device, self._dtype, data_bytes)
            for name, split in problem.splits.items()
        }
        # Two samples, since copies of outputs are large for language models.
        few = self._samples(self._first, config.batch_size or 2)
        writes = changes_data(self._model, self._of_batches, few, self.grad_mode)
        if writes:
            batches = {name: ClonedBatches(parts) for name, parts in batches.items()}
        recalibration = self._recalibration(writes)
        names, scalars, weighted = self._names()
        if config.stop_above is not None and "loss" in weighted:
            raise ValueError(
                "stop_above: expected a loss that is a mean over samples, got one with weights, of which a part of the "
                "samples gives no lower bound; leave stop_above unset"
            )
        counts = {name: len(split) for name, split in problem.splits.items()}
        return EvaluationData(
            self._measures, names, batches, counts, device, recalibration, scalars, weighted, writes, self._drift
        )

    def _recalibration(self, writes: bool) -> Recalibration | None:
        if self._config.bn != "recalibrate":
            return None
        norms = [m for m in self._model.modules() if isinstance(m, NormBase) and m.track_running_stats]
        require_norms(self._model, norms)
        if not norms:
            return None
        train = self._problem.splits.get("train", self._first)
        samples = align(self._samples(train, self._config.bn_samples))
        return Recalibration(self._model, norms, samples, self.batch_size, writes)

    def _names(self) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """Return the names of the values, of the measures that return a scalar, and of those with weights."""
        names, config, measures = [], self._config, self._measures
        scalars: tuple[str, ...] = ()
        weighted: tuple[str, ...] = ()
        with self.grad_mode():
            for name, split in self._problem.splits.items():
                few = self._samples(split, config.batch_size or min(self.batch_size, 2))
                outputs = self._model(few.inputs)
                names += metric_names(measures, outputs, few.targets, len(few), name, config.paired, config.chord)
                scalars = scalar_measures(measures, outputs, few.targets)
                weighted = weighted_measures(measures, outputs, few.targets)
        return tuple(names), scalars, weighted

    def _select_engine(self, head: LinearHead | None) -> Engine:
        context = EngineContext(
            self._model, self._device, self._set_coordinates, self._plane, self.data.batches, self.grad_mode, head
        )
        chosen = self._config.engine != "auto"
        return select_engine(
            self._config.engine, context, partial(require_same_values, self.data, self._plane.ndim, chosen)
        )
