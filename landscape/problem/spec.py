"""A problem as plain values: stored with a run, and sufficient to build the same problem again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from numbers import Integral, Real
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

from landscape import models
from landscape._utils.names import unknown
from landscape._utils.own_call import own_forward
from landscape._utils.torch_compat import tree_map
from landscape._utils.torch_state import (
    call_without_grad,
    clone_each,
    cuda_in_use,
    evaluation_mode,
    preserve_random_state,
    seed_random,
)
from landscape._utils.trust import give, recorded_in
from landscape._utils.typed import require_types
from landscape._utils.user_code import refuse_exit
from landscape.errors import DataError
from landscape.problem.data import registry as datasets
from landscape.problem.data.subset import check_samples
from landscape.problem.modest import require_memory, require_modest
from landscape.problem.problem import Dataset, Problem
from landscape.problem.references import absolute_reference, accepts, call, resolve

DATA_SEED = 0
"""Random seed for user-defined data sets that draw from torch's global generator, so that data never depend on the
seed of the run."""


@dataclass(frozen=True)
class ProblemSpec:
    """Names and arguments of a problem: either ``model`` and ``dataset``, or ``factory``.

    Arguments are plain values (numbers, strings, booleans, ``None``, and sequences and dicts of these). Lists become
    tuples, so that a specification read back from JSON equals the one written. Paths become absolute.

    Attributes:
        model: name of an architecture, or ``pkg.mod:function`` or ``file.py:function`` that returns a module.
        model_args: arguments of the model; they override the hints of the data set.
        dataset: name of a data set, or a reference to a function that returns a ``Dataset``; ``digits`` by default.
        dataset_args: arguments of the data set.
        data: file or directory that the data set, or the factory, reads.
        samples: number of samples in a fixed subset of each split; None for all.
        factory: reference to a function that returns a ``Problem``, instead of a model and a data set.
        factory_args: arguments of the factory.
        recorded_in: file that holds the specification; empty for one that the user made. References in a file need
            permission before they are imported, see :mod:`landscape._utils.trust`.

    Raises:
        ValueError: both or neither of ``model`` and ``factory`` are given, or arguments lack the part they belong to.
        TypeError: an argument is not a plain value.
    """

    model: str | None = None
    model_args: Mapping[str, Any] = field(default_factory=dict)
    dataset: str | None = None
    dataset_args: Mapping[str, Any] = field(default_factory=dict)
    data: str | None = None
    samples: int | None = None
    factory: str | None = None
    factory_args: Mapping[str, Any] = field(default_factory=dict)
    recorded_in: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        if (self.model is None) == (self.factory is None):
            raise ValueError(
                "expected either a model (with a data set) or a factory of a whole problem, got "
                + ("neither" if self.model is None else f"model {self.model!r} and factory {self.factory!r}")
            )
        stray: dict[str, Any]
        if self.factory is None:
            stray = {"factory_args": self.factory_args}
        else:
            stray = {"model_args": self.model_args, "dataset": self.dataset, "dataset_args": self.dataset_args}
        for name, value in stray.items():
            if value:
                needed = "factory" if self.factory is None else "model"
                raise ValueError(f"{name} requires a {needed}, but {self._subject()} was given ({name}={value!r})")
        for name in ("data", "samples", "splits"):
            if name in self.dataset_args:
                raise ValueError(f"dataset_args cannot contain {name!r}, which is set once for the whole problem")
        check_samples(self.samples)
        set_field = object.__setattr__  # the documented way to normalize in a frozen dataclass
        if self.factory is None and self.dataset is None:
            set_field(self, "dataset", "digits")
        for name in ("model", "dataset", "factory"):
            if getattr(self, name) is not None:
                set_field(self, name, absolute_reference(getattr(self, name)))
        if self.data is not None:
            set_field(self, "data", os.path.abspath(os.path.expanduser(self.data)))
        for name in ("model_args", "dataset_args", "factory_args"):
            set_field(
                self, name, {key: _frozen(value, f"{name}[{key!r}]") for key, value in getattr(self, name).items()}
            )
        if not self.recorded_in:
            give([self.model, self.dataset, self.factory])

    @refuse_exit()
    def build(self, splits: Sequence[str] | None = None, seed: int = 0) -> Problem:
        """Build the problem; equal arguments give equal problems.

        The model gets those ``model_hints`` of its data set that its constructor has arguments for, overridden by
        ``model_args``. The global random state is left unchanged.

        Args:
            splits: names of the splits to build; all by default.
            seed: random seed of the initial weights. A factory with arguments called ``seed``, ``splits``, ``samples``
                or ``data`` gets these values.

        Returns:
            The problem, whose ``description`` says how it was built.

        Raises:
            ValueError: a name, argument or split is unknown, or the model doesn't fit the data.
            TypeError: a user-defined function returned an object of the wrong type.
            DataError: the data are missing or damaged.
            UserCodeError: user code ends the program.
            UntrustedCodeError: the specification comes from a file and names code that needs permission.
        """
        if not self.recorded_in:
            with recorded_in(""):
                return self._build(splits, seed)
        require_modest(self.to_json(), self.recorded_in)
        with recorded_in(self.recorded_in):
            try:
                return self._build(splits, seed)
            except (ValueError, TypeError) as error:
                raise DataError(f"{self.recorded_in}: its problem cannot be built: {error}") from error

    def _build(self, splits: Sequence[str] | None, seed: int) -> Problem:
        if self.factory is not None:
            return self._from_factory(self.factory, splits, seed)
        assert self.model is not None  # one of the two is given, and a model has a data set
        assert self.dataset is not None
        return self._from_parts(self.model, self.dataset, splits, seed)

    def describe(self) -> dict[str, Any]:
        """Return the fields that are set, as plain values; ``Problem.describe`` adds digests of the data."""
        return {key: value for key, value in self.to_json().items() if value not in (None, {})}

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON writes them; :meth:`from_json` gives an equal object."""
        return {name: _as_json(getattr(self, name)) for name in _FIELDS}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ProblemSpec:
        """Return the specification that :meth:`to_json` wrote.

        Raises:
            ValueError: an unknown field, or as for the constructor.
        """
        for key in values:
            if key not in _FIELDS:
                raise unknown("field of a problem", key, _FIELDS)
        return cls(**values)

    @classmethod
    def from_description(cls, description: Mapping[str, Any], recorded_in: str = "") -> ProblemSpec:
        """Return the specification of a problem from its description, as runs and surface files record it.

        Args:
            description: the description.
            recorded_in: file that holds it; empty for the description of a problem in memory.

        Raises:
            ValueError: the problem was made without one.
            TypeError: an argument is not a plain value.
        """
        given = {key: value for key, value in description.items() if key in _FIELDS}
        require_types(cls, given)
        return cls(**given, recorded_in=recorded_in)

    def _subject(self) -> str:
        return f"factory {self.factory!r}" if self.factory is not None else f"model {self.model!r}"

    def _from_factory(self, reference: str, splits: Sequence[str] | None, seed: int) -> Problem:
        factory = resolve(reference)
        if self.data is not None and not accepts(factory, "data"):
            raise ValueError(f"factory {reference!r} has no argument 'data' for {self.data}")
        injected = {"splits": splits, "samples": self.samples, "seed": seed, "data": self.data}
        with _seeded(seed):
            problem = call(factory, self.factory_args, name=f"factory {reference!r}", injected=injected)
            if isinstance(problem, Problem) and any(map(is_lazy, problem.model.parameters())):
                sample = problem.splits[problem.first_split].take(slice(1))
                with evaluation_mode(problem.model), own_forward(problem.model, problem.forward):
                    call_without_grad(
                        lambda: problem.model(clone_each(sample.inputs))
                    )  # lazy layers get their weights in the first forward pass
        if not isinstance(problem, Problem):
            raise TypeError(
                f"factory {reference!r}: expected a landscape.problem.Problem, got {type(problem).__name__}"
            )
        wanted = splits if problem.splits else None
        selected = datasets.select_splits(problem.splits, wanted, self.samples, f"factory {reference!r}")
        description = {**problem.description, **self.describe(), "seed": seed}
        return replace(problem, splits=selected, description=description)

    def _from_parts(self, model_name: str, dataset_name: str, splits: Sequence[str] | None, seed: int) -> Problem:
        with _seeded(DATA_SEED):
            dataset = datasets.load(
                dataset_name, data=self.data, splits=splits, samples=self.samples, **self.dataset_args
            )
        with _seeded(seed):
            model, arguments = self._build_model(model_name, dataset)
            problem = Problem(
                model=model,
                splits=dataset.splits,
                loss=dataset.loss,
                metrics=dataset.metrics,
                augment=dataset.augment,
                description={
                    **self.describe(),
                    "model_args": _as_json(arguments),
                    "data_description": dict(dataset.description),
                    "seed": seed,
                },
            )
            self._check_fit(problem)
        return problem

    def _build_model(self, name: str, dataset: Dataset) -> tuple[nn.Module, dict[str, Any]]:
        """Return the model and the arguments it was built with."""
        hints, given = dict(dataset.model_hints), dict(self.model_args)
        if ":" in name:
            function = resolve(name)
            arguments = {key: value for key, value in hints.items() if accepts(function, key)} | given
            model = call(function, arguments, name=f"model {name!r}")
            if not isinstance(model, nn.Module):
                raise TypeError(f"model {name!r}: expected a torch.nn.Module, got {type(model).__name__}")
            return model, arguments
        known = models.parameters(name)
        arguments = {key: value for key, value in hints.items() if key in known} | given
        for key in arguments:
            if key not in known:
                raise unknown(f"argument of model {name!r}:", key, known)
        require_memory(name, arguments)
        return models.build(name, **arguments), arguments

    def _check_fit(self, problem: Problem) -> None:
        """Measure one sample, so that a model and a data set that don't fit are reported here and not in training."""
        model, (name, split) = problem.model, next(iter(problem.splits.items()))
        sample = split.take(slice(1))
        try:
            with evaluation_mode(model):
                call_without_grad(lambda: problem.loss(model(clone_each(sample.inputs)), clone_each(sample.targets)))
        except (ArithmeticError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            inputs = tree_map(lambda leaf: f"{tuple(leaf.shape)} {leaf.dtype}", sample.inputs)
            reason = str(error).partition("\n")[0]
            raise ValueError(
                f"model {self.model!r} doesn't fit data set {self.dataset!r}: one sample of split {name!r}, "
                f"{inputs}, gives: {reason}"
            ) from error


_FIELDS = tuple(field.name for field in fields(ProblemSpec) if field.name != "recorded_in")


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch's default generators inside the block and restore them afterwards."""
    devices = cuda_in_use()
    with preserve_random_state(*devices):
        seed_random(seed, *devices)
        yield


def _frozen(value: Any, name: str) -> Any:
    """Return ``value`` as JSON can store it, with sequences as tuples, which are equal after a round trip."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, list | tuple):
        return tuple(_frozen(item, f"{name}[{position}]") for position, item in enumerate(value))
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _frozen(item, f"{name}[{key!r}]") for key, item in value.items()}
    raise TypeError(
        f"{name}: expected numbers, strings, booleans, None, and sequences or dicts of these, got "
        f"{type(value).__name__}. A factory can build anything else itself"
    )


def _as_json(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_as_json(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _as_json(item) for key, item in value.items()}
    return value


def identity_of(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a problem's description that a resumed file must share.

    Where the data are may change from host to host; their contents are compared by digest.
    """
    return {key: description[key] for key in _IDENTITY if key in description}


_IDENTITY = ("model", "model_args", "dataset", "dataset_args", "factory_args")
