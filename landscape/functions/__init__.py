"""Functions of one and two variables: a catalogue, formulas, and descents in memory, for teaching and for tests."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from landscape.functions.catalogue import FUNCTIONS as FUNCTIONS
    from landscape.functions.catalogue import find_function as find_function
    from landscape.functions.descent import Descent as Descent
    from landscape.functions.descent import RateSearch as RateSearch
    from landscape.functions.descent import descend as descend
    from landscape.functions.descent import tune as tune
    from landscape.functions.expression import parse_expression as parse_expression
    from landscape.functions.function import Function as Function
    from landscape.functions.function import KnownPoint as KnownPoint
    from landscape.functions.problem import FunctionModel as FunctionModel
else:
    from landscape._utils.lazy import lazy

    __getattr__, __dir__, __all__ = lazy(
        __name__,
        {
            "Descent": "descent",
            "FUNCTIONS": "catalogue",
            "Function": "function",
            "FunctionModel": "problem",
            "KnownPoint": "function",
            "RateSearch": "descent",
            "descend": "descent",
            "find_function": "catalogue",
            "parse_expression": "expression",
            "tune": "descent",
        },
    )
