"""Ranges of axes by rule: wide enough for the loss to rise or for a path to fit, with the reason in a sentence."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from landscape.geometry.trajectory import Trajectory

LOSS_MULTIPLE = 10.0
"""Multiple of the loss at the centre that the loss at both edges must exceed."""
UNIT_FRACTION = 0.1
"""Fraction of the loss one unit away that both edges must reach too: a network that fits its data almost exactly would
otherwise show nothing but the bottom of its valley."""
PATH_MARGIN = 0.1
"""Margin around a path, as a fraction of its extent."""
MAX_STEPS = 6
"""Steps of a coarse grid by which a range is widened towards lower loss, on each side."""
_PROBES = {1: 9, 2: 7, 3: 5}
"""Probes along each axis, by the number of axes."""
FIRST_EDGE, SMALLEST_EDGE, LARGEST_EDGE = 0.25, 2.0**-10, 2.0**6
EDGE_TOLERANCE = 0.05
"""Relative precision to which an edge is found."""


class AxisRange(NamedTuple):
    """Range of an axis."""

    low: float
    """Lower end."""
    high: float
    """Upper end."""
    reason: str
    """Rule that gave the range, as a sentence with its numbers."""


def range_by_loss(
    loss: Callable[[tuple[float, ...]], float],
    axis: int = 0,
    axes: int = 1,
    multiple: float = LOSS_MULTIPLE,
    fraction: float = UNIT_FRACTION,
) -> AxisRange:
    """Return the smallest symmetric interval at whose edges the loss exceeds a multiple of the loss at the centre.

    The edge is found by doubling or halving, then bisection, in about 20 evaluations. This assumes a loss that rises
    outwards; where it rises and falls again, the edges still exceed the level but may not be the first that do. The
    other coordinates are zero. Infinity and NaN exceed everything. The result is rounded outwards to two digits.

    Args:
        loss: function from the coordinates of all axes, x first, to a loss.
        axis: index of the axis, 0 for x.
        axes: number of axes.
        multiple: see :data:`LOSS_MULTIPLE`.
        fraction: see :data:`UNIT_FRACTION`; it applies to the lower of the losses at -1 and 1. Zero disables it.

    Returns:
        The range, or -1 to 1 if no interval up to :data:`LARGEST_EDGE` exceeds the level.

    Raises:
        ValueError: the loss at the centre is not finite, or ``multiple`` or ``fraction`` is out of bounds.
    """
    if not multiple > 1 or not 0 <= fraction < 1:
        raise ValueError(f"expected a multiple above 1 and a fraction from 0 to 1, got {multiple:g} and {fraction:g}")
    name = "xyz"[axis]

    def along(distance: float) -> float:
        return float(loss(tuple(distance if k == axis else 0.0 for k in range(axes))))

    centre = along(0.0)
    if not math.isfinite(centre):
        raise ValueError(f"expected a finite loss at the centre, got {centre}; give the range of {name} explicitly")
    finite = [value for value in (along(-1.0), along(1.0)) if math.isfinite(value)] if fraction else []
    one_away = fraction * min(finite) if finite else -math.inf
    # No multiple of a negative loss (a log density) is higher than the loss: there the fraction alone decides.
    level = max(multiple * centre, centre, one_away)
    rule = (
        f"{fraction:g} of the loss at -1 and 1" if level == one_away else f"{multiple:g} times the loss at the centre"
    )
    rule += f" ({level:.3g}; {centre:.3g} at the centre)"

    def exceeds(distance: float) -> bool:
        # `not <=` instead of `>`, since NaN exceeds. The second side is evaluated only if the first exceeds.
        return not along(distance) <= level and not along(-distance) <= level

    low, high = 0.0, FIRST_EDGE
    if exceeds(high):
        while high > SMALLEST_EDGE and exceeds(high / 2):
            high /= 2
        low = high / 2
    else:
        while high < LARGEST_EDGE and not exceeds(high * 2):
            high *= 2
        if high >= LARGEST_EDGE:
            return AxisRange(
                -1.0,
                1.0,
                f"{name} from -1 to 1, as published: up to {LARGEST_EDGE:g} no symmetric interval exceeds {rule}",
            )
        low, high = high, high * 2
    while high - low > EDGE_TOLERANCE * high:
        middle = (low + high) / 2
        low, high = (low, middle) if exceeds(middle) else (middle, high)
    edge = _round_outwards(high)
    return AxisRange(
        -edge, edge, f"{name} from {-edge:g} to {edge:g}: the smallest symmetric interval whose edges exceed {rule}"
    )


def range_of_paths(
    trajectories: Sequence[Trajectory], axis: int = 0, margin: float = PATH_MARGIN, symmetric: bool = True
) -> AxisRange:
    """Return the smallest interval that contains all paths and the origin, with a margin on each side.

    Args:
        trajectories: one or more paths.
        axis: index of the axis, 0 for x.
        margin: distance beyond the outermost points, as a fraction of the extent of the points.
        symmetric: centre the interval on the origin.

    Raises:
        ValueError: no points, paths without this axis, or all points at the origin.
    """
    if not trajectories or not any(len(path) for path in trajectories):
        raise ValueError("expected at least one trajectory with points, got none")
    if any(path.coordinates.shape[1] <= axis for path in trajectories):
        raise ValueError(f"expected trajectories of {axis + 1} or more axes for a range of {'xyz'[axis]}")
    points = np.concatenate([[0.0], *(path.coordinates[:, axis] for path in trajectories)])
    points = points[np.isfinite(points)]
    low, high = float(points.min()), float(points.max())
    if not high > low:
        raise ValueError(f"all points are at {'xyz'[axis]} = 0; give the range explicitly")
    space = margin * (high - low)
    if symmetric:
        edge = _round_outwards(max(-low, high) + space)
        low, high = -edge, edge
    else:
        low, high = _round_outwards(low - space), _round_outwards(high + space)
    return AxisRange(
        low,
        high,
        f"{'xyz'[axis]} from {low:g} to {high:g}: the smallest {'symmetric ' if symmetric else ''}interval that holds "
        f"{len(trajectories)} trajector{'y' if len(trajectories) == 1 else 'ies'} with a margin of {margin:.0%}",
    )


def widened_to_minimum(
    loss: Callable[[tuple[float, ...]], float],
    ranges: Sequence[AxisRange | None],
    fixed: Sequence[tuple[float, float]],
) -> list[AxisRange | None]:
    """Widen ranges towards lower loss, until the lowest of a few probes is not on their edges.

    A plane of paths ends beside the paths, which often stop before the bottom of the basin that they are in. The loss
    is probed on a coarse grid, and the grid grows by one step where its lowest point is on an edge, at most by
    :data:`MAX_STEPS` steps on each side: a loss without a minimum does not widen a range without end.

    Args:
        loss: function from the coordinates of all axes, x first, to a loss; NaN and infinity are high.
        ranges: range of each axis, x first; None for an axis that keeps its range.
        fixed: ends of each axis, used where ``ranges`` has None.

    Returns:
        The ranges, rounded outwards to two digits where they were widened.
    """
    count = _PROBES[len(ranges)]
    ends = [(one.low, one.high) if one else pair for one, pair in zip(ranges, fixed, strict=True)]
    steps = [(high - low) / (count - 1) for low, high in ends]
    # Probes by integer position, so that each is evaluated once while the grid grows.
    first, last = [0] * len(ends), [count - 1] * len(ends)
    known: dict[tuple[int, ...], float] = {}

    def lowest() -> tuple[int, ...]:
        for at in product(*(range(a, b + 1) for a, b in zip(first, last, strict=True))):
            if at not in known:
                value = loss(tuple(low + k * step for k, (low, _), step in zip(at, ends, steps, strict=True)))
                known[at] = value if math.isfinite(value) else math.inf
        return min(known, key=lambda at: known[at])

    for _ in range(MAX_STEPS):
        at, grown = lowest(), False
        for k, one in enumerate(ranges):
            if one is not None and at[k] == first[k]:
                first[k], grown = first[k] - 1, True
            elif one is not None and at[k] == last[k]:
                last[k], grown = last[k] + 1, True
        if not grown:
            break
    return [one and _widened(one, first[k], last[k] - (count - 1), steps[k], "xyz"[k]) for k, one in enumerate(ranges)]


def _widened(one: AxisRange, below: int, above: int, step: float, name: str) -> AxisRange:
    """Return a range with ``below`` (not positive) and ``above`` steps added at its ends."""
    low = _round_outwards(one.low + below * step) if below else one.low
    high = _round_outwards(one.high + above * step) if above else one.high
    if not below and not above:
        return one
    reason = f"{one.reason}; widened to {low:g} to {high:g}, where the loss is lower"
    return AxisRange(low, high, reason)


def _round_outwards(value: float) -> float:
    """Return ``value`` rounded away from zero to two digits."""
    if value == 0:
        return 0.0
    if abs(value) < 1e-300:
        return math.copysign(1e-300, value)  # the scale below would overflow
    digits = 1 - math.floor(math.log10(abs(value)))
    scale = 10.0**digits
    rounded = math.copysign(math.ceil(abs(value) * scale * (1 - 1e-12)), value)
    return round(rounded / scale, digits)
