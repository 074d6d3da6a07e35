"""Problems: models by name, data sets, losses and metrics, joined in a :class:`Problem`."""

from landscape.problem.arguments import parse_arguments, parse_named
from landscape.problem.data.subset import subset
from landscape.problem.measures import accuracy, cross_entropy, mean_squared_error
from landscape.problem.problem import Augmentation, Dataset, Measure, Problem, Split
from landscape.problem.references import resolve
from landscape.problem.spec import ProblemSpec

__all__ = [
    "Augmentation",
    "Dataset",
    "Measure",
    "Problem",
    "ProblemSpec",
    "Split",
    "accuracy",
    "cross_entropy",
    "mean_squared_error",
    "parse_arguments",
    "parse_named",
    "resolve",
    "subset",
]
