"""Values at a point that are any function of the model: returns of episodes, norms, residuals of an equation."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from landscape._utils.own_call import without_own_forward
from landscape._utils.torch_state import preserve_tensors, seed_random
from landscape.errors import UnsoundError
from landscape.evaluation.grad_mode import GradMode
from landscape.evaluation.side_effects import REPEATS
from landscape.problem.problem import Problem
from landscape.problem.reduction import describe_result
from landscape.problem.references import accepts

_Array = npt.NDArray[np.float64]


class ModelFunction:
    """The values of ``Problem.evaluate`` at the present weights of the model, with standard errors where known.

    Random numbers are the same at every point: torch's default generators are seeded before each call, and a function
    with an argument ``generator`` gets one that begins with the same seed each time.

    Args:
        problem: problem with a function of the model, whose weights are those of the origin.
        device: device of the model.
        taken: names of other values at a point, which the function may not use.

    Attributes:
        names: names of the values, each followed by ``<name>_stderr`` if there is one value per episode.
        remarks: warnings for the user.

    Raises:
        ValueError: the function returns no values by name.
    """

    def __init__(self, problem: Problem, device: torch.device, taken: Sequence[str] = ()) -> None:
        assert problem.evaluate is not None
        self._model, self._function, self._device = problem.model, problem.evaluate, device
        self._takes_generator = accepts(problem.evaluate, "generator")
        self._mode: GradMode = torch.no_grad
        try:
            first = self._results()
        except RuntimeError as error:
            if "grad" not in str(error):
                raise
            self._mode = torch.enable_grad
            first = self._results()
        self._several = {name: values.ndim == 1 for name, values in first.items()}
        self.names: tuple[str, ...] = ()
        for name, several in self._several.items():
            self.names += (name, f"{name}_stderr") if several else (name,)
        repeated = sorted({*self.names} & {*taken}) or [n for n in self.names if self.names.count(n) > 1]
        if repeated:
            raise ValueError(f"evaluate: the name {repeated[0]!r} is taken by another value; choose another one")
        self.remarks = tuple(self._state_remarks(first))

    def __call__(self) -> _Array:
        """Return the values at the present weights, ``(len(names),)``.

        Raises:
            UnsoundError: the function returns other names than at the origin, or another kind of values.
        """
        found = self._results()
        kinds = {name: values.ndim == 1 for name, values in found.items()}
        if kinds != self._several:
            raise UnsoundError(
                f"evaluate: expected the values that it returns at the origin, {_listed(self._several)}, got "
                f"{_listed(kinds)} at another point"
            )
        row: list[float] = []
        for values in found.values():
            row.append(float(values.mean()))
            if values.ndim == 1:
                count = len(values)
                with np.errstate(invalid="ignore", over="ignore"):
                    row.append(float(values.std(ddof=1) / np.sqrt(count)) if count > 1 else np.nan)
        return np.array(row)

    def unknown(self) -> _Array:
        """Return the values of a point that was abandoned: NaN."""
        return np.full(len(self.names), np.nan)

    def _results(self) -> dict[str, _Array]:
        """Return what the function returns: ``()`` or ``(episodes,)`` float64 by name, in order."""
        self._model.eval()
        seed_random(0, self._device)
        function = self._function
        if self._takes_generator:
            function = partial(function, generator=torch.Generator().manual_seed(0))
        model = self._model
        with preserve_tensors(list(model.buffers())), without_own_forward(model), self._mode():
            found = function(model)
        if not isinstance(found, Mapping) or not found:
            raise ValueError(
                f"evaluate: expected a dictionary of numbers by name, such as {{'return': 1.0}}, got "
                f"{'an empty one' if isinstance(found, Mapping) else describe_result(found)}"
            )
        return {_name(name): _values(name, value) for name, value in found.items()}

    def _state_remarks(self, first: Mapping[str, _Array]) -> Iterator[str]:
        """Yield a warning for each value that is another one when it is computed again."""
        second = self._results()
        for name, values in first.items():
            before, again = float(values.mean()), float(second[name].mean()) if name in second else np.nan
            if abs(again - before) > REPEATS * max(abs(before), abs(again)):
                yield (
                    f"warning: {name} at the origin is {before:.9g}, and {again:.9g} when it is computed again: the "
                    "function keeps a state or draws random numbers of its own, so that values depend on the order of "
                    "the points and on the number of ranks. Let it take an argument 'generator', which begins with the "
                    "same seed at every point, and draw or seed from it"
                )


def _name(name: Any) -> str:
    if not isinstance(name, str) or not re.fullmatch(r"[\w-]+", name) or name.endswith("_stderr"):
        raise ValueError(
            "evaluate: expected names of letters, digits, '_' and '-' that don't end with '_stderr' (errors follow "
            f"from values of single episodes), got {name!r}"
        )
    return name


def _values(name: str, value: Any) -> _Array:
    """Return a number, or one number per episode, as float64."""
    given = value
    if isinstance(value, list | tuple):
        value = np.array([each.item() if isinstance(each, Tensor) else each for each in value])
    if isinstance(value, Tensor):
        value = value.detach().to("cpu", torch.float64 if not value.is_complex() else None).numpy()
    found = np.asarray(value)
    if found.dtype.kind not in "biuf" or found.ndim > 1 or not found.size:
        raise ValueError(
            f"evaluate: expected a number, or one number for each of several episodes, for {name}, got "
            f"{describe_result(given)}"
        )
    return found.astype(np.float64)


def _listed(several: Mapping[str, bool]) -> str:
    return ", ".join(f"{name} ({'per episode' if each else 'a number'})" for name, each in several.items())
