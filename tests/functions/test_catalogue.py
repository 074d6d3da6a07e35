"""The catalogue of functions: values, known points, gradients, and functions as problems."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from landscape.evaluation.config import EvaluationConfig
from landscape.functions.catalogue import FUNCTIONS, find_function
from landscape.functions.expression import parse_expression
from landscape.functions.function import KINDS, Function, KnownPoint
from landscape.functions.problem import FunctionModel, problem
from landscape.geometry import Direction, Plane, Weights
from landscape.sweep.grid import Axis, Grid
from landscape.sweep.sweep import run_sweep

EACH = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
POINTS = pytest.mark.parametrize(
    ("function", "point"),
    [pytest.param(f, p, id=f"{f.name}-{p.kind}-{i}") for f in FUNCTIONS.values() for i, p in enumerate(f.points)],
)


def test_function_names():
    assert set(FUNCTIONS) == {
        "parabola", "sine-bowl", "sine-steps", "sine-hills", "peaks", "bowl", "saddle", "plateau", "rosenbrock",
        "rastrigin", "himmelblau", "beale", "ackley", "booth", "styblinski-tang", "six-hump-camel",
    }  # fmt: skip
    assert FUNCTIONS["sine-hills"].maximize
    assert FUNCTIONS["sine-hills"].formula == "25*sin(x) - x^2"


@EACH
def test_formula_equals_function(function):
    """The formula shown in figures, parsed, equals the code that is evaluated."""
    draw = np.random.RandomState(0)
    coordinates = [draw.uniform(low, high, 200) for low, high in function.domain]
    parsed = parse_expression(function.formula)
    assert parsed.variables == function.variables
    expected = parsed.values(*coordinates)
    np.testing.assert_allclose(function.values(*coordinates), expected, rtol=1e-13, atol=1e-12 * abs(expected).max())


@POINTS
def test_known_points_are_stationary(function, point):
    assert point.kind in KINDS
    scale = max(1.0, abs(point.value))
    assert abs(float(function.values(*point.at)) - point.value) <= 4e-15 * scale
    if point.smooth:
        # A coordinate rounded to float64 leaves a slope of its error times the curvature, at most some 1e3 here.
        assert np.abs(function.gradient(*point.at)).max() < 1e-12 * scale


@POINTS
def test_kinds_of_known_points(function, point):
    """On a small circle (or on both sides) around the point, the function is higher, lower, or both."""
    angles = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    steps = [np.array([-1e-3, 1e-3])] if function.variables == 1 else [1e-3 * np.cos(angles), 1e-3 * np.sin(angles)]
    around = function.values(*(at + step for at, step in zip(point.at, steps, strict=True))) - point.value
    expected = {"minimum": {True}, "maximum": {False}, "saddle": {True, False}, "inflection": {True, False}}
    assert set((around > 0).tolist()) == expected[point.kind]


@EACH
def test_best_points_on_a_fine_grid(function):
    axes = [np.linspace(low, high, 2001 if function.variables == 1 else 301) for low, high in function.domain]
    grid = function.values(*np.meshgrid(*axes))
    for point in function.points:
        if point.best and point.kind == "minimum":
            assert grid.min() >= point.value - 1e-12
        if point.best and point.kind == "maximum":
            assert grid.max() <= point.value + 1e-12


@EACH
def test_starts_and_points_are_in_the_domain(function):
    for at in (function.start, *(p.at for p in function.points)):
        for coordinate, (low, high) in zip(at, function.domain, strict=True):
            assert low <= coordinate <= high


@EACH
def test_gradient_equals_central_differences(function):
    draw, h = np.random.RandomState(1), 1e-6
    at = [draw.uniform(low, high, 50) for low, high in function.domain]
    for axis, slope in enumerate(function.gradient(*at)):
        above, below = ([c + sign * h * (i == axis) for i, c in enumerate(at)] for sign in (1, -1))
        difference = (function.values(*above) - function.values(*below)) / (2 * h)
        np.testing.assert_allclose(slope, difference, rtol=1e-5, atol=1e-6 * max(1, np.abs(slope).max()))


@pytest.mark.parametrize(("name", "at"), [("sine-hills", (0.7,)), ("peaks", (0.4, -0.9)), ("rosenbrock", (-1.2, 1.0))])
def test_gradient_is_the_steepest_direction(name, at):
    """Of 360 directional derivatives, the largest is along the gradient and the smallest against it."""
    function = FUNCTIONS[name]
    gradient = function.gradient(*at)
    angles = np.deg2rad(np.arange(360))
    units = np.stack([np.cos(angles), np.sin(angles)])[: function.variables]
    h = 1e-6
    ahead, behind = (function.values(*(a + s * h * u for a, u in zip(at, units, strict=True))) for s in (1, -1))
    derivative = (ahead - behind) / (2 * h)
    np.testing.assert_allclose(derivative, units.T @ gradient, rtol=1e-5, atol=1e-4)
    toward = np.arctan2(gradient[1], gradient[0]) if function.variables == 2 else np.pi * (gradient[0] < 0)
    best = int(np.argmax(derivative))
    assert abs((angles[best] - toward + np.pi) % (2 * np.pi) - np.pi) <= np.deg2rad(0.5) + 1e-9
    assert derivative.max() <= np.linalg.norm(gradient) * (1 + 1e-6)
    assert derivative.max() >= np.linalg.norm(gradient) * np.cos(np.deg2rad(0.5)) * (1 - 1e-6)
    assert abs((np.argmin(derivative) - best) % 360 - 180) <= 1


@EACH
def test_surface_equals_function_on_grid(function):
    """A closed form for the whole chain: plane, placement, sweep and sums give the function to the last digits."""
    counts = (23, 17)  # not square, and the domains of some are not symmetric
    grid = Grid(tuple(Axis(*ends, count) for ends, count in zip(function.domain, counts, strict=False)))
    made = problem(function.name)
    surface = run_sweep(made, _coordinate_plane(made.model), grid, evaluation=EvaluationConfig(dtype="float64")).surface
    expected = function.values(*np.meshgrid(*surface.coordinates))
    sign = -1 if function.maximize else 1
    np.testing.assert_allclose(surface.metric("train_loss"), sign * expected, rtol=4e-16, atol=2e-13)
    assert surface.shape == grid.shape


def _coordinate_plane(model):
    own = Weights.from_model(model)
    zero = {name: torch.zeros_like(t) for name, t in own}
    units = [Direction(own.with_tensors({**zero, name: torch.ones_like(own.tensors[name])})) for name in own.tensors]
    return Plane(own.with_tensors(zero), tuple(units))


def test_maximize_negates_the_loss():
    down, up = problem("rosenbrock"), problem("rosenbrock", maximize=True)
    slopes = down.splits["train"].inputs
    assert up.model(slopes).item() == -down.model(slopes).item() == pytest.approx(-24.2)


def test_noise_mean_and_variance():
    made = problem("himmelblau", start=(0.5, -1.5), noise=0.25, draws=500)
    split = made.splits["train"]
    gradients = np.array([_gradient(made, split.take(slice(i, i + 1))) for i in range(500)])
    true = FUNCTIONS["himmelblau"].gradient(0.5, -1.5)
    np.testing.assert_allclose(gradients.mean(axis=0), true, rtol=1e-12)
    np.testing.assert_allclose(gradients.var(axis=0), 0.25, rtol=1e-9)
    np.testing.assert_allclose(_gradient(made, split), true, rtol=1e-12)
    assert made.model(split.inputs).mean().item() == pytest.approx(float(FUNCTIONS["himmelblau"].values(0.5, -1.5)))
    batches = np.array([_gradient(made, batch) for batch in split.batches(25)])
    assert batches.var(axis=0).max() < 4 * 0.25 / 25


def _gradient(made, split):
    return np.array([float(g) for g in torch.autograd.grad(made.model(split.inputs).mean(), made.model.point())])


def test_noise_depends_on_seed_only():
    one, same, other = (problem("bowl", noise=1.0, draws=9, noise_seed=s).splits["train"].digest() for s in (1, 1, 2))
    assert one == same != other


@pytest.mark.parametrize(
    "arguments", [{"noise": -1.0}, {"noise": 1.0}, {"draws": 0}, {"start": (1.0, 2.0, 3.0)}, {"start": 1.0}]
)
def test_invalid_problems(arguments):
    with pytest.raises(ValueError, match="expected"):
        problem("bowl", **arguments)


def test_function_by_reference(tmp_path):
    file = tmp_path / "own.py"
    file.write_text("import torch\ndef ring(x, y):\n    return (x**2 + y**2 - 1)**2\ndef three(a, b, c): return a\n")
    ring = find_function(f"{file}:ring")
    assert (ring.name, ring.variables) == ("ring", 2)
    assert float(ring.values(2.0, 0.0)) == 9.0
    with pytest.raises(ValueError, match="3 arguments"):
        find_function(f"{file}:three")
    assert find_function("landscape.functions.catalogue:_ackley").variables == 2


def test_misspelt_name():
    with pytest.raises(ValueError, match="did you mean 'rosenbrock'"):
        find_function("rosenbrok")
    with pytest.raises(ValueError, match="did you mean 'six-hump-camel'"):
        find_function("six-hump-camels")


def test_formula_with_minus_is_not_a_name():
    assert float(find_function("-x").values(2.0)) == -2.0
    assert float(find_function("x-y").values(2.0, 5.0)) == -3.0


def test_invalid_functions():
    with pytest.raises(ValueError, match="one or two variables"):
        Function("f", "f", torch.sin, (), ())
    with pytest.raises(ValueError, match="low to high"):
        Function("f", "f", torch.sin, ((1.0, 1.0),), (0.0,))
    with pytest.raises(ValueError, match="expected 1 coordinates, one per variable"):
        Function("f", "f", torch.sin, ((0.0, 1.0),), (0.0,), (KnownPoint("minimum", (0.0, 0.0), 0.0),))


def test_function_constant_in_one_variable():
    f = parse_expression("sin(y) + 0*x")
    np.testing.assert_array_equal(f.gradient(1.0, 0.0), [0.0, 1.0])
    assert math.isfinite(FunctionModel(f, (0.0, 0.0))(torch.zeros(1, 2)).item())
