"""Loss and metrics at points of a plane."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from landscape.evaluation.config import EvaluationConfig as EvaluationConfig
    from landscape.evaluation.derivatives.derivatives import LossDerivatives as LossDerivatives
    from landscape.evaluation.evaluator import open_evaluator as open_evaluator
    from landscape.evaluation.point_evaluator import Evaluator as Evaluator
else:
    from landscape._utils.lazy import lazy

    __getattr__, __dir__, __all__ = lazy(
        __name__,
        {
            "EvaluationConfig": "config",
            "Evaluator": "point_evaluator",
            "LossDerivatives": "derivatives.derivatives",
            "open_evaluator": "evaluator",
        },
    )
