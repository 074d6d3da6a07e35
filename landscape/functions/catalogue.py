"""Functions by name: simple ones to learn on, and common test functions of optimization.

Formulas of test functions are those of Surjanovic and Bingham, *Virtual Library of Simulation Experiments*, unless
another source is given. Coordinates of known points are correct to the last digit of float64.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from landscape._utils.names import unknown
from landscape.functions.expression import DEFAULT_DOMAIN, parse_expression
from landscape.functions.function import Function, KnownPoint
from landscape.problem.references import resolve


def _minimum(*at: float, value: float = 0.0, best: bool = True, smooth: bool = True) -> KnownPoint:
    return KnownPoint("minimum", at, value, best, smooth)


def _maximum(*at: float, value: float, best: bool = False) -> KnownPoint:
    return KnownPoint("maximum", at, value, best)


def _saddle(*at: float, value: float) -> KnownPoint:
    return KnownPoint("saddle", at, value)


def _square(low: float, high: float) -> tuple[tuple[float, float], tuple[float, float]]:
    return (low, high), (low, high)


def _peaks(x: Tensor, y: Tensor) -> Tensor:
    hill = 3 * (1 - x) ** 2 * torch.exp(-(x**2) - (y + 1) ** 2)
    ring = 10 * (x / 5 - x**3 - y**5) * torch.exp(-(x**2) - y**2)
    return hill - ring - torch.exp(-((x + 1) ** 2) - y**2) / 3


def _ackley(x: Tensor, y: Tensor) -> Tensor:
    waves = torch.exp((torch.cos(2 * math.pi * x) + torch.cos(2 * math.pi * y)) / 2)
    return -20 * torch.exp(-0.2 * torch.sqrt((x**2 + y**2) / 2)) - waves + 20 + math.e


_FUNCTIONS = (
    Function("parabola", "x^2", lambda x: x**2, ((-3.0, 3.0),), (2.5,), (_minimum(0.0),)),
    Function(
        "sine-bowl", "x^2 + sin(x)", lambda x: x**2 + torch.sin(x), ((-3.0, 3.0),), (2.5,),
        (_minimum(-0.45018361129487357, value=-0.23246557515821564),),
    ),
    Function(
        "sine-steps", "x + sin(x)", lambda x: x + torch.sin(x), ((-4.0, 4.0),), (2.5,),
        (KnownPoint("inflection", (-math.pi,), -math.pi), KnownPoint("inflection", (math.pi,), math.pi)),
    ),
    Function(
        "sine-hills", "25*sin(x) - x^2", lambda x: 25 * torch.sin(x) - x**2, ((-10.0, 10.0),), (-1.0,),
        (
            _maximum(1.4541965749766172, value=22.715560996788733, best=True),
            _maximum(-4.3564054153803887, value=4.4543357972386213),
            _maximum(7.2365711181640478, value=-31.983453857182832),
            _minimum(-1.7078532798795432, value=-27.682322554735673, best=False),
            _minimum(5.135789612596342, value=-49.168760445895371, best=False),
            _minimum(-8.6142873206847287, value=-92.321580612011968, best=False),
        ),
        maximize=True,
    ),
    Function(
        "peaks",
        "3*(1-x)^2*exp(-x^2-(y+1)^2) - 10*(x/5-x^3-y^5)*exp(-x^2-y^2) - exp(-(x+1)^2-y^2)/3",
        _peaks, _square(-3.0, 3.0), (0.0, -0.25),
        (
            _maximum(-0.0093175819599541157, 1.5813679629389998, value=8.1062135894423367, best=True),
            _maximum(-0.46002451803438664, -0.62919650871680091, value=3.7765809985322065),
            _maximum(1.2856846972413041, -0.0048475590755936723, value=3.5924899180027538),
            _minimum(0.2282789205563691, -1.6255349574999965, value=-6.5511333328358369),
            _minimum(-1.3473962443682108, 0.20451886609700518, value=-3.0498494028002598, best=False),
            _minimum(0.29644555384683208, 0.32019624766683434, value=-0.064935868255526887, best=False),
        ),
        maximize=True, source="the function peaks of MATLAB",
    ),
    Function(
        "bowl", "(x^2 + 20*y^2)/2", lambda x, y: (x**2 + 20 * y**2) / 2, _square(-4.0, 4.0), (-3.5, 2.0),
        (_minimum(0.0, 0.0),),
    ),
    Function(
        "saddle", "x^2 - y^2", lambda x, y: x**2 - y**2, _square(-2.0, 2.0), (-1.5, 0.001),
        (_saddle(0.0, 0.0, value=0.0),),
    ),
    Function(
        "plateau", "1 - exp(-(x^2+y^2)/4)", lambda x, y: 1 - torch.exp(-(x**2 + y**2) / 4), _square(-5.0, 5.0),
        (3.5, 2.0), (_minimum(0.0, 0.0),),
    ),
    Function(
        "rosenbrock", "(1-x)^2 + 100*(y-x^2)^2", lambda x, y: (1 - x) ** 2 + 100 * (y - x**2) ** 2,
        ((-2.0, 2.0), (-1.0, 3.0)), (-1.2, 1.0), (_minimum(1.0, 1.0),),
        source="Rosenbrock, The Computer Journal 3 (1960)",
    ),
    Function(
        "rastrigin", "20 + x^2 - 10*cos(2*pi*x) + y^2 - 10*cos(2*pi*y)",
        lambda x, y: 20 + x**2 - 10 * torch.cos(2 * math.pi * x) + y**2 - 10 * torch.cos(2 * math.pi * y),
        _square(-5.12, 5.12), (3.3, -2.7), (_minimum(0.0, 0.0),),
    ),
    Function(
        "himmelblau", "(x^2+y-11)^2 + (x+y^2-7)^2", lambda x, y: (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2,
        _square(-5.0, 5.0), (0.0, 0.0),
        (
            _minimum(3.0, 2.0),
            _minimum(-2.8051180869527449, 3.131312518250573),
            _minimum(-3.7793102533777469, -3.2831859912861694),
            _minimum(3.5844283403304917, -1.8481265269644036),
            _maximum(-0.27084459066734761, -0.92303855647998146, value=181.6165215225827),
            _saddle(3.3851541836070209, 0.073851879837749288, value=13.31192627040559),
            _saddle(-3.0730257507643896, -0.081353044287967512, value=104.01516291755811),
            _saddle(0.086677504555396352, 2.8842547011747761, value=67.71915008752614),
            _saddle(-0.12796134673068007, -1.9537149802445764, value=178.33723920192746),
        ),
        source="Himmelblau, Applied Nonlinear Programming (1972)",
    ),
    Function(
        "beale", "(1.5-x+x*y)^2 + (2.25-x+x*y^2)^2 + (2.625-x+x*y^3)^2",
        lambda x, y: (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2,
        _square(-4.5, 4.5), (1.0, 1.0), (_minimum(3.0, 0.5), _saddle(0.0, 1.0, value=14.203125)),
        source="More, Garbow and Hillstrom, ACM TOMS 7 (1981)",
    ),
    Function(
        "ackley",
        "-20*exp(-0.2*sqrt((x^2+y^2)/2)) - exp((cos(2*pi*x)+cos(2*pi*y))/2) + 20 + e",
        _ackley, _square(-5.0, 5.0), (3.2, -1.7), (_minimum(0.0, 0.0, smooth=False),),
    ),
    Function(
        "booth", "(x+2*y-7)^2 + (2*x+y-5)^2", lambda x, y: (x + 2 * y - 7) ** 2 + (2 * x + y - 5) ** 2,
        _square(-10.0, 10.0), (-8.0, -4.0), (_minimum(1.0, 3.0),),
    ),
    Function(
        "styblinski-tang", "(x^4 - 16*x^2 + 5*x + y^4 - 16*y^2 + 5*y)/2",
        lambda x, y: (x**4 - 16 * x**2 + 5 * x + y**4 - 16 * y**2 + 5 * y) / 2, _square(-5.0, 5.0), (1.0, -1.0),
        (
            _minimum(-2.9035340277711771, -2.9035340277711771, value=-78.332331407542831),
            _minimum(2.746802770990837, -2.9035340277711771, value=-64.195612359055358, best=False),
            _minimum(-2.9035340277711771, 2.746802770990837, value=-64.195612359055358, best=False),
            _minimum(2.746802770990837, 2.746802770990837, value=-50.058893310567885, best=False),
            _maximum(0.1567312567803401, 0.1567312567803401, value=0.39122471811071614),
        ),
    ),
    Function(
        "six-hump-camel", "(4-2.1*x^2+x^4/3)*x^2 + x*y + (4*y^2-4)*y^2",
        lambda x, y: (4 - 2.1 * x**2 + x**4 / 3) * x**2 + x * y + (4 * y**2 - 4) * y**2,
        ((-2.2, 2.2), (-1.3, 1.3)), (-2.0, 1.1),
        (
            _minimum(0.089842013100318062, -0.71265640302073963, value=-1.0316284534898774),
            _minimum(-0.089842013100318062, 0.71265640302073963, value=-1.0316284534898774),
            _minimum(1.7036067149699808, -0.79608356867262512, value=-0.21546382438371764, best=False),
            _minimum(-1.7036067149699808, 0.79608356867262512, value=-0.21546382438371764, best=False),
            _minimum(1.6071047529201972, 0.56865145488413137, value=2.1042503103112583, best=False),
            _minimum(-1.6071047529201972, -0.56865145488413137, value=2.1042503103112583, best=False),
            _maximum(1.2302298765166526, 0.16233458445899497, value=2.4962953510235769),
            _saddle(0.0, 0.0, value=0.0),
        ),
    ),
)  # fmt: skip

FUNCTIONS: Mapping[str, Function] = {function.name: function for function in _FUNCTIONS}
"""Functions by name."""


def find_function(text: str) -> Function:
    """Return a function by its name, reference or formula.

    Args:
        text: a name in :data:`FUNCTIONS`; a reference ``pkg.mod:function`` or ``file.py:function`` to a callable of one
            or two tensors, or to a ``Function``; or a formula such as ``x^2 + sin(x)``.

    Raises:
        ValueError: it is none of these.
        TypeError: the reference names an object that cannot be called.
    """
    text = text.strip()
    if text in FUNCTIONS:
        return FUNCTIONS[text]
    if ":" in text:
        return _from_reference(text)
    # Words of two letters or more; "x-y" is a formula.
    if re.fullmatch(r"[a-z]{2,}(-[a-z]{2,})*", text):
        raise unknown("function", text, FUNCTIONS)
    return parse_expression(text)


def _from_reference(reference: str) -> Function:
    found = resolve(reference)
    if isinstance(found, Function):
        return found
    try:
        parameters = list(inspect.signature(found).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    required = [
        p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty
    ]
    if len(required) not in (1, 2):
        raise ValueError(f"{reference}: expected a function of x, or of x and y, got {len(required)} arguments")
    name = reference.rpartition(":")[2]
    return Function(name, name, found, (DEFAULT_DOMAIN,) * len(required), (1.0,) * len(required))


def with_maximize(function: Function, maximize: bool) -> Function:
    """Return the same function, to be maximized or minimized."""
    return replace(function, maximize=maximize)
