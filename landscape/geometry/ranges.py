"""Ranges of axes by rule: far enough for the loss to rise, or for a path to fit, with a sentence that says which."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from landscape.geometry.trajectory import Trajectory

MULTIPLE = 10.0
"""An edge is far enough when its loss exceeds this multiple of the loss at the centre."""
SHARE = 0.1
"""An edge must also reach this share of the loss one unit away: a network that fits its data almost exactly would
otherwise get the very bottom of its valley and nothing else."""
MARGIN = 0.1
"""Room around a path, as a share of its extent."""
START, SMALLEST, LARGEST = 0.25, 2.0**-10, 2.0**6
PRECISION = 0.05
"""The edge is found to this share of itself."""


class AxisRange(NamedTuple):
    """Where an axis begins and ends."""

    low: float
    high: float
    reason: str
    """Which rule gave it, in one sentence with the numbers."""


def range_by_loss(
    loss: Callable[[tuple[float, ...]], float],
    axis: int = 0,
    axes: int = 1,
    multiple: float = MULTIPLE,
    share: float = SHARE,
) -> AxisRange:
    """The smallest symmetric interval at both of whose edges the loss exceeds a multiple of the loss at the centre.

    Found by doubling (or halving) and then bisection, which takes some 20 evaluations and needs a loss that rises
    outwards; where it rises and falls again, edges that exceed are still found, but perhaps not the first. The other
    coordinates are zero. An infinite loss and NaN exceed everything. The result is rounded outwards to two digits.

    Args:
        loss: coordinates of all axes, x first, to a loss.
        axis: which axis, 0 for x.
        axes: how many there are.
        multiple: see :data:`MULTIPLE`.
        share: see :data:`SHARE`; the lower of the losses at -1 and 1 counts. Zero leaves the multiple alone.

    Raises:
        ValueError: the loss at the centre is not finite, or ``multiple`` or ``share`` is out of bounds.
    """
    if not multiple > 1 or not 0 <= share < 1:
        raise ValueError(f"a multiple above 1 and a share from 0 to 1 expected, got {multiple:g} and {share:g}")
    name = "xyz"[axis]

    def along(distance: float) -> float:
        return float(loss(tuple(distance if k == axis else 0.0 for k in range(axes))))

    centre = along(0.0)
    if not math.isfinite(centre):
        raise ValueError(f"a finite loss at the centre expected, got {centre}: give the range of {name} as min:max:n")
    finite = [value for value in (along(-1.0), along(1.0)) if math.isfinite(value)] if share else []
    one_away = share * min(finite) if finite else -math.inf
    # A negative loss (a log density) has no multiples that are higher: there the share alone decides.
    level = max(multiple * centre, centre, one_away)
    rule = f"{share:g} of the loss at -1 and 1" if level == one_away else f"{multiple:g} times the loss at the centre"
    rule += f" ({level:.3g}; {centre:.3g} at the centre)"

    def exceeds(distance: float) -> bool:
        # `not <=` and not `>`: NaN exceeds. The second side is not looked at when the first does not exceed.
        return not along(distance) <= level and not along(-distance) <= level

    low, high = 0.0, START
    if exceeds(high):
        while high > SMALLEST and exceeds(high / 2):
            high /= 2
        low = high / 2
    else:
        while high < LARGEST and not exceeds(high * 2):
            high *= 2
        if high >= LARGEST:
            return AxisRange(
                -1.0, 1.0, f"{name} from -1 to 1, as published: up to {LARGEST:g} no symmetric interval exceeds {rule}"
            )
        low, high = high, high * 2
    while high - low > PRECISION * high:
        middle = (low + high) / 2
        low, high = (low, middle) if exceeds(middle) else (middle, high)
    edge = _outwards(high)
    return AxisRange(
        -edge, edge, f"{name} from {-edge:g} to {edge:g}: the smallest symmetric interval whose edges exceed {rule}"
    )


def range_of_paths(
    trajectories: Sequence[Trajectory], axis: int = 0, margin: float = MARGIN, symmetric: bool = True
) -> AxisRange:
    """The smallest interval that holds all paths, and the origin, with a margin on each side.

    Args:
        trajectories: at least one.
        axis: which axis, 0 for x.
        margin: room beyond the outermost points, as a share of the extent of the points.
        symmetric: as far to the one side of the origin as to the other, so that the origin is in the middle.

    Raises:
        ValueError: no points, paths without such an axis, or all points at the origin.
    """
    if not trajectories or not any(len(path) for path in trajectories):
        raise ValueError("at least one trajectory with points expected, got none")
    if any(path.coordinates.shape[1] <= axis for path in trajectories):
        raise ValueError(f"trajectories of {axis + 1} or more axes expected for a range of {'xyz'[axis]}")
    points = np.concatenate([[0.0], *(path.coordinates[:, axis] for path in trajectories)])
    points = points[np.isfinite(points)]
    low, high = float(points.min()), float(points.max())
    if not high > low:
        raise ValueError(f"all points lie at {'xyz'[axis]} = 0: give the range as min:max:n")
    room = margin * (high - low)
    if symmetric:
        edge = _outwards(max(-low, high) + room)
        low, high = -edge, edge
    else:
        low, high = _outwards(low - room), _outwards(high + room)
    return AxisRange(
        low,
        high,
        f"{'xyz'[axis]} from {low:g} to {high:g}: the smallest {'symmetric ' if symmetric else ''}interval that holds "
        f"{len(trajectories)} trajector{'y' if len(trajectories) == 1 else 'ies'} with a margin of {margin:.0%}",
    )


def _outwards(value: float) -> float:
    """``value`` rounded away from zero to two digits."""
    if value == 0:
        return 0.0
    digits = 1 - math.floor(math.log10(abs(value)))
    scale = 10.0**digits
    rounded = math.copysign(math.ceil(abs(value) * scale * (1 - 1e-12)), value)
    return round(rounded / scale, digits)
