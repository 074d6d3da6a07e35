"""Loss and metrics at points of a plane."""

from landscape._utils.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "EvaluationConfig": "config",
        "Evaluator": "evaluator",
        "open_evaluator": "evaluator",
    },
)
