"""Problems in memory in the place of a specification, for checkpoints of networks that a program has at hand."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn, TypeAlias

from landscape.problem.data.registry import select_splits
from landscape.problem.data.subset import check_samples
from landscape.problem.problem import Problem
from landscape.problem.spec import ProblemSpec

ProblemLike: TypeAlias = ProblemSpec | Problem | str
"""A specification, a problem in memory, or a reference to a function that returns one (``mine.py:problem``)."""


@dataclass(frozen=True)
class GivenProblem(ProblemSpec):
    """A problem in memory that is copied instead of built, so that checkpoints don't change the weights of its model.

    Attributes:
        given: the problem.
    """

    given: Problem | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_samples(self.samples)

    def build(self, splits: Sequence[str] | None = None, seed: int = 0) -> Problem:
        """Return the problem with a copy of its model and the named splits; ``seed`` has no effect."""
        assert self.given is not None
        names = splits if self.given.splits else None  # a function of the model may need no data
        chosen = select_splits(self.given.splits, names, self.samples, "problem")
        return replace(self.given, model=copy.deepcopy(self.given.model), splits=chosen)

    def __reduce__(self) -> NoReturn:
        raise ValueError(
            "other processes cannot rebuild a problem made in Python: name a function that returns it "
            "(problem='mine.py:problem'), or take ranks=1"
        )


def spec_of(problem: ProblemLike | None) -> ProblemSpec | None:
    """Return the specification of a problem in any form; None for None.

    Raises:
        TypeError: ``problem`` is something else, such as a function.
    """
    if isinstance(problem, str):
        return ProblemSpec(factory=problem)
    if isinstance(problem, Problem):
        return GivenProblem(given=problem)
    if problem is None or isinstance(problem, ProblemSpec):
        return problem
    raise TypeError(
        "problem: expected a Problem, a ProblemSpec, or a reference such as 'mine.py:problem', got "
        f"{type(problem).__name__}{', which returns one if it is called' if callable(problem) else ''}"
    )
