"""Coverage of the intervals of sharpness and basin numbers, by simulation on a problem whose truth is known.

The loss of a sample is ``(x . w)^2 / 2`` with normal ``x``, so the population loss is a quadratic function of ``w``
with a known Hessian, and every measure has a known value. Each simulation draws samples and directions, computes the
measure and its interval as the library does from the values of each sample, and asks whether the interval contains
the truth. ``--skewed`` multiplies the losses of each sample by a lognormal factor of mean 1, after which a few samples
carry much of the loss, as in trained networks. Prints one row per measure: coverage with its standard error, and the
mean length of the interval in units of the value.

    python scripts/interval_coverage.py --simulations 2000
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import numpy as np

from landscape.analysis.intervals import Interval, difference_interval, mean_interval, quantile_interval
from landscape.analysis.sharpness import basin, sharpness
from landscape.analysis.sharpness.basin import BasinConfig
from landscape.analysis.sharpness.sharpness import SharpnessConfig

CURVATURE = np.array([1.0, 4.0, 2.0, 9.0, 0.5, 3.0, 1.0, 1.0, 0.2, 0.1])
POINT = np.array([0.3, -0.2, 0.1, 0.05, 1.0, 0.0, 0.4, -0.3, 0.2, 0.5])
RADIUS = 0.3
CHANGE = 0.5


class Simulation:
    """One draw of data and directions."""

    def __init__(self, generator: np.random.Generator, directions: int, samples: int, skew: float) -> None:
        self.x = generator.normal(size=(samples, len(CURVATURE))) * np.sqrt(CURVATURE)
        self.x *= np.exp(0.5 * (skew * generator.normal(size=(samples, 1)) - skew**2 / 2))
        self.directions = generator.normal(size=(directions, len(CURVATURE)))
        self.generator = generator

    def losses(self, w: np.ndarray) -> np.ndarray:
        """Return the losses of each sample at weights ``(..., n)``, ``(..., samples)``."""
        return (w @ self.x.T) ** 2 / 2

    def average(self) -> np.ndarray:
        return self.losses(POINT + RADIUS * self.directions) - self.losses(POINT)


def average(sim: Simulation) -> Interval:
    return mean_interval(sim.average())


def worst(sim: Simulation, keskar: bool = False) -> Interval:
    """The worst corner of the box around the point, found on the sample."""
    hessian = sim.x.T @ sim.x / len(sim.x)
    corner = RADIUS * np.sign(hessian @ POINT)
    while True:  # the maximum of a convex function over a box is at a corner that is its own steepest one
        new = RADIUS * np.sign(hessian @ (POINT + corner))
        if np.array_equal(new, corner):
            break
        corner = new
    name = "keskar" if keskar else "worst-linf"
    config = SharpnessConfig((name,), RADIUS, starts=1)
    units = {"origin": sim.losses(POINT)[None], f"{name}/0/0": sim.losses(POINT + corner)[None]}
    (x,) = sharpness.matrices(config, units).values()
    return mean_interval(x)


def critical(sim: Simulation) -> Interval:
    """Along the gradient of the population, the given direction of an update."""
    gradient = CURVATURE * POINT
    a, b = (sim.x @ gradient) ** 2, (sim.x @ gradient) * (sim.x @ POINT)
    step = 2 * b.mean() / a.mean()
    change = sim.losses(POINT - step * gradient) - sim.losses(POINT)
    slope = -b.mean() + step * a.mean()
    units = {"origin": sim.losses(POINT)[None], "critical": np.concatenate([[step, slope], change])}
    (x,) = sharpness.matrices(SharpnessConfig(("critical",)), units).values()
    return mean_interval(x)


def radii(sim: Simulation) -> np.ndarray:
    """Return radii with the influence of each sample, through the library's own arrays."""
    config = BasinConfig(rays=len(sim.directions), metric="loss", change=CHANGE, special=()).resolved(())
    along, at = sim.directions @ sim.x.T, POINT @ sim.x.T
    a, b = (along**2).mean(1) / 2, (along * at).mean(1)
    r = (-b + np.sqrt(b * b + 4 * a * CHANGE)) / (2 * a)
    room = config.evaluations + 40
    rows = np.concatenate(
        [np.stack([r, b + 2 * a * r, np.zeros_like(r)], 1), np.zeros((len(r), 2 * room)),
         sim.losses(POINT + r[:, None] * sim.directions)], 1,
    )  # fmt: skip
    units = {"origin": sim.losses(POINT)[None]}
    units |= {name: rows[int(name.partition("/")[2]) :][:3] for name in config.units[1:]}
    return basin.matrices(config, units)["random"]


def population_radii(count: int = 400_000) -> np.ndarray:
    d = np.random.default_rng(123).normal(size=(count, len(CURVATURE)))
    a, b = (d**2 @ CURVATURE) / 2, d @ (CURVATURE * POINT)
    return (-b + np.sqrt(b * b + 4 * a * CHANGE)) / (2 * a)


def difference(sim: Simulation, paired: bool) -> Interval:
    """The difference of the averages at two radii, as if of two networks; the second has own directions or the same."""
    first = sim.average()
    other = sim if paired else None
    directions = other.directions if other else sim.generator.normal(size=sim.directions.shape)
    second = sim.losses(0.5 * POINT + RADIUS * directions) - sim.losses(0.5 * POINT)
    found = difference_interval(first, second, paired)
    return Interval(found.value, found.low, found.high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--directions", type=int, default=30)
    parser.add_argument("--samples", type=int, default=600)
    parser.add_argument("--skewed", type=float, default=0.0, metavar="SIGMA")
    options = parser.parse_args()
    gradient = CURVATURE * POINT
    loss = float((CURVATURE * POINT) @ POINT / 2)
    everywhere = population_radii()
    cases: dict[str, tuple[Callable[[Simulation], Interval], float]] = {
        "average": (average, RADIUS**2 * CURVATURE.sum() / 2),
        "worst case": (worst, _highest()),
        "keskar": (lambda sim: worst(sim, keskar=True), 100 * _highest() / (1 + loss)),
        "critical": (critical, float((CURVATURE * gradient) @ gradient / (gradient @ gradient))),
        "basin, median": (lambda sim: quantile_interval(radii(sim), 0.5), float(np.median(everywhere))),
        "basin, q25": (lambda sim: quantile_interval(radii(sim), 0.25), float(np.quantile(everywhere, 0.25))),
        "basin, q75": (lambda sim: quantile_interval(radii(sim), 0.75), float(np.quantile(everywhere, 0.75))),
        "basin, one ray": (lambda sim: mean_interval(radii(sim)[:1]), math.nan),
        "difference": (lambda sim: difference(sim, paired=False), 0.0),
        "difference, same directions": (lambda sim: difference(sim, paired=True), 0.0),
    }  # fmt: skip
    print(f"{options.directions} directions, {options.samples} samples, {options.simulations} simulations", flush=True)
    for name, (measure, truth) in cases.items():
        hits, lengths = [], []
        count = options.simulations if "basin" not in name else max(options.simulations // 4, 1)
        for seed in range(count):
            generator = np.random.default_rng([seed, 7])
            sim = Simulation(generator, options.directions, options.samples, options.skewed)
            found, known = measure(sim), truth
            if math.isnan(truth):  # the radius along this very ray
                d = sim.directions[0]
                a, b = (CURVATURE * d) @ d / 2, (CURVATURE * d) @ POINT
                known = (-b + math.sqrt(b * b + 4 * a * CHANGE)) / (2 * a)
            hits.append(found.low <= known <= found.high)
            lengths.append((found.high - found.low) / abs(found.value) if truth else math.nan)
        coverage = float(np.mean(hits))
        error = math.sqrt(coverage * (1 - coverage) / count)
        print(f"{name:<28} {100 * coverage:5.1f}% +- {100 * error:.1f}   length {np.mean(lengths):.3f}", flush=True)


def _highest() -> float:
    """Return the worst case of the population over the box, by trying all corners."""
    signs = np.array(np.meshgrid(*[[-1, 1]] * len(CURVATURE))).reshape(len(CURVATURE), -1).T * RADIUS
    return float((signs @ (CURVATURE * POINT) + (signs**2 @ CURVATURE) / 2).max())


if __name__ == "__main__":
    main()
