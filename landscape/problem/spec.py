"""A problem as plain values: what a run's folder remembers, and from which the same problem is built again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from numbers import Integral, Real
from typing import Any

import torch
from torch import nn

from landscape import models
from landscape._utils.names import unknown
from landscape._utils.torch_compat import tree_map
from landscape._utils.torch_state import cuda_in_use, evaluation_mode, preserve_random_state, seed_random
from landscape.problem.data import registry as datasets
from landscape.problem.data.subset import check_samples
from landscape.problem.problem import Dataset, Problem
from landscape.problem.references import absolute, accepts, call, resolve

DATA_SEED = 0
"""Seeds a data set of the user's that draws from torch's global generator, so that data never depend on the run."""


@dataclass(frozen=True)
class ProblemSpec:
    """Names and arguments of a problem; either ``model`` and ``dataset``, or ``factory``.

    Arguments are plain values (numbers, strings, booleans, ``None``, and sequences and dicts of these); lists become
    tuples, so that what is read back from JSON equals what was written. Paths become absolute.

    Attributes:
        model: a name of the zoo, or ``pkg.mod:function`` or ``file.py:function`` that returns a module.
        model_args: for the model's constructor; they win over what the data set knows of itself.
        dataset: a name, or a reference to a function that returns a ``Dataset``; ``digits`` by default.
        dataset_args: for the data set.
        data: the folder or file that the data set, or the factory, reads.
        samples: a fixed subset of so many samples of each split.
        factory: a reference to a function that returns a ``Problem``, instead of a model and a data set.
        factory_args: for the factory.

    Raises:
        ValueError: both or none of ``model`` and ``factory``, or arguments without what they are for.
        TypeError: an argument that is no plain value.
    """

    model: str | None = None
    model_args: Mapping[str, Any] = field(default_factory=dict)
    dataset: str | None = None
    dataset_args: Mapping[str, Any] = field(default_factory=dict)
    data: str | None = None
    samples: int | None = None
    factory: str | None = None
    factory_args: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.model is None) == (self.factory is None):
            raise ValueError(
                "either a model (with a data set) or a factory of a whole problem expected, got "
                + ("none of them" if self.model is None else f"model {self.model!r} and factory {self.factory!r}")
            )
        if self.factory is None:
            stray = {"factory_args": self.factory_args}
        else:
            stray = {"model_args": self.model_args, "dataset": self.dataset, "dataset_args": self.dataset_args}
        for name, value in stray.items():
            if value:
                raise ValueError(f"{name} {value!r} has nothing to apply to beside {self._subject()}")
        for name in ("data", "samples", "splits"):
            if name in self.dataset_args:
                raise ValueError(f"dataset_args cannot hold {name!r}: that is said once for the whole problem")
        check_samples(self.samples)
        set_field = object.__setattr__  # the documented way to normalize in a frozen dataclass
        if self.factory is None and self.dataset is None:
            set_field(self, "dataset", "digits")
        for name in ("model", "dataset", "factory"):
            if getattr(self, name) is not None:
                set_field(self, name, absolute(getattr(self, name)))
        if self.data is not None:
            set_field(self, "data", os.path.abspath(os.path.expanduser(self.data)))
        for name in ("model_args", "dataset_args", "factory_args"):
            set_field(
                self, name, {key: _plain(value, f"{name}[{key!r}]") for key, value in getattr(self, name).items()}
            )

    def build(self, splits: Sequence[str] | None = None, seed: int = 0) -> Problem:
        """The problem, the same each time.

        The model is handed those ``facts`` of its data set that its constructor names, overridden by ``model_args``.
        The global random state is left as it was.

        Args:
            splits: exactly these splits; all that there are by default.
            seed: of the initial weights. A factory that names ``seed``, ``splits``, ``samples`` or ``data`` among
                its arguments is handed them.

        Returns:
            The problem, whose ``description`` says what it was built from.

        Raises:
            ValueError: an unknown name, argument or split, or a model that cannot take the data.
            TypeError: a function of the user's returned something else than it should.
            DataError: the data are missing or damaged.
        """
        if self.factory is not None:
            return self._from_factory(self.factory, splits, seed)
        return self._from_parts(splits, seed)

    def describe(self) -> dict[str, Any]:
        """What is set, as plain values for a file's provenance; ``Problem.describe`` adds digests of the data."""
        return {key: value for key, value in self.to_json().items() if value not in (None, {})}

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON writes them; :meth:`from_json` gives an equal object."""
        return {field.name: _listed(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ProblemSpec:
        """The spec that :meth:`to_json` wrote, also after a way through JSON.

        Raises:
            ValueError: a field that does not exist, or what the constructor raises.
        """
        known = [field.name for field in fields(cls)]
        for key in values:
            if key not in known:
                raise unknown("field of a problem", key, known)
        return cls(**values)

    def _subject(self) -> str:
        return f"factory {self.factory!r}" if self.factory is not None else f"model {self.model!r}"

    def _from_factory(self, reference: str, splits: Sequence[str] | None, seed: int) -> Problem:
        factory = resolve(reference)
        if self.data is not None and not accepts(factory, "data"):
            raise ValueError(f"factory {reference!r} has no argument 'data', but was told to read {self.data}")
        offered = {"splits": splits, "samples": self.samples, "seed": seed, "data": self.data}
        with _seeded(seed):
            problem = call(factory, self.factory_args, name=f"factory {reference!r}", offered=offered)
        if not isinstance(problem, Problem):
            raise TypeError(
                f"factory {reference!r}: a landscape.problem.Problem expected, got {type(problem).__name__}"
            )
        chosen = datasets.restrict(problem.splits, splits, self.samples, f"factory {reference!r}")
        description = {**problem.description, **self.describe(), "seed": seed}
        return replace(problem, splits=chosen, description=description)

    def _from_parts(self, splits: Sequence[str] | None, seed: int) -> Problem:
        with _seeded(DATA_SEED):
            dataset = datasets.load(
                self.dataset, data=self.data, splits=splits, samples=self.samples, **self.dataset_args
            )
        with _seeded(seed):
            model, arguments = self._model(dataset)
            problem = Problem(
                model=model,
                splits=dataset.splits,
                loss=dataset.loss,
                metrics=dataset.metrics,
                augment=dataset.augment,
                description={
                    **self.describe(),
                    "model_args": _listed(arguments),
                    "data_description": dict(dataset.description),
                    "seed": seed,
                },
            )
            self._try(problem)
        return problem

    def _model(self, dataset: Dataset) -> tuple[nn.Module, dict[str, Any]]:
        """The model, and the arguments it was built with."""
        name = self.model
        if ":" in name:
            function = resolve(name)
            arguments = {key: value for key, value in dataset.facts.items() if accepts(function, key)} | self.model_args
            model = call(function, arguments, name=f"model {name!r}")
            if not isinstance(model, nn.Module):
                raise TypeError(f"model {name!r}: a torch.nn.Module expected, got {type(model).__name__}")
            return model, arguments
        known = models.parameters(name)
        arguments = {key: value for key, value in dataset.facts.items() if key in known} | self.model_args
        for key in arguments:
            if key not in known:
                raise unknown(f"argument of model {name!r}", key, known)
        return models.build(name, **arguments), arguments

    def _try(self, problem: Problem) -> None:
        """Measures one sample, so that a model and a data set that do not fit are told here and not in training."""
        model, (name, split) = problem.model, next(iter(problem.splits.items()))
        sample = split.take(slice(1))
        try:
            with evaluation_mode(model), torch.no_grad():
                problem.loss(model(sample.inputs), sample.targets)
        except (ArithmeticError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            kinds = tree_map(lambda leaf: f"{tuple(leaf.shape)} {leaf.dtype}", sample.inputs)
            reason = str(error).partition("\n")[0]
            raise ValueError(
                f"model {self.model!r} and data set {self.dataset!r} do not fit: with one sample of split {name!r}, "
                f"{kinds}: {reason}"
            ) from error


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch's default generators inside the block and restore them afterwards."""
    devices = cuda_in_use()
    with preserve_random_state(*devices):
        seed_random(seed, *devices)
        yield


def _plain(value: Any, name: str) -> Any:
    """``value`` as JSON can say it, with sequences as tuples: they are frozen, and equal after a round trip."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, list | tuple):
        return tuple(_plain(item, f"{name}[{position}]") for position, item in enumerate(value))
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(item, f"{name}[{key!r}]") for key, item in value.items()}
    raise TypeError(
        f"{name}: numbers, strings, booleans, None, and sequences or dicts of these expected, got "
        f"{type(value).__name__}. A factory can build anything else itself"
    )


def _listed(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_listed(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _listed(item) for key, item in value.items()}
    return value
