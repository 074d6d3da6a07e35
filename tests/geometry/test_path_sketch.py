"""Principal components from a sketch: within their own bound of the exact ones in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from landscape.geometry.path_sketch import BATCH, PathSketch, flattened, unflattened
from landscape.geometry.weights import Weights


def paths(count, size):
    """Return paths of different kinds, ``(count, size)`` float32."""
    draw = np.random.default_rng(0)
    steps = draw.standard_normal((count, size))
    start = 10 * draw.standard_normal(size)
    t = np.linspace(0, 1, count)[:, None]
    bent = 5 * t * draw.standard_normal(size) + 2 * np.sin(4 * t) * draw.standard_normal(size)
    return {
        "random walk": (start + 0.1 * np.cumsum(steps, axis=0)).astype(np.float32),
        "curve with noise": (start + bent + 0.02 * steps).astype(np.float32),
        "curve of rank two": (start + bent).astype(np.float32),
        "converging": (start + bent * 0.9 ** np.arange(count)[:, None] + 1e-4 * steps).astype(np.float32),
        "noise": (start + steps).astype(np.float32),
        "large, then small": (start + steps * np.where(t < 0.5, 100, 1e-3)).astype(np.float32),
    }


def exact(points, axes):
    matrix = points.astype(np.float64)
    centred = matrix - matrix.mean(axis=0)
    _, singular, right = np.linalg.svd(centred, full_matrices=False)
    return right[:axes], singular**2


def sine(found, expected):
    """Return the sine of the largest angle between two spans."""
    q, _ = np.linalg.qr(found.T.astype(np.float64))
    return float(np.linalg.norm(expected.T - q @ (q.T @ expected.T), 2))


def sketched(points, rows):
    sketch = PathSketch(points.shape[1], rows)
    for point in points:
        sketch.add(torch.from_numpy(point))
    return sketch


@pytest.mark.parametrize("kind", list(paths(3, 2)))
@pytest.mark.parametrize(("count", "rows"), [(41, 8), (120, 12)])
def test_components_are_within_their_bound(kind, count, rows):
    points = paths(count, 500)[kind]
    origin = Weights({"w": torch.from_numpy(points[-1])})
    found = sketched(points, rows).components(origin, 2)
    directions = np.stack([direction.weights.tensors["w"].numpy() for direction in found.directions])
    expected, squares = exact(points, 2)
    assert sine(directions, expected) <= found.angle + 1e-6
    np.testing.assert_allclose(directions @ directions.T, np.eye(2), atol=1e-5)
    relative = points.astype(np.float64) - points[-1]
    coordinates = relative @ directions.T.astype(np.float64)
    bound = found.error + 1e-5 * np.abs(relative).max() * 20
    assert (np.linalg.norm(found.coordinates - coordinates, axis=1) <= bound).all()
    displacement = np.linalg.norm(relative, axis=1)
    q, _ = np.linalg.qr(directions.T.astype(np.float64))
    distance = np.linalg.norm(relative - relative @ q @ q.T, axis=1)
    assert (np.abs(found.displacement - displacement) <= bound).all()
    assert (np.abs(found.distance - distance) <= bound).all()
    for axis, direction in enumerate(found.directions):
        assert direction.recipe.explained_variance <= squares[axis] / (count - 1) * (1 + 1e-5)
        assert direction.recipe.extra["sketch_angle"] == found.angle
    if kind in ("curve of rank two", "curve with noise", "converging"):
        assert found.angle < 0.02, "a path as trainings have it is sketched well"
        assert squares[1] / (count - 1) == pytest.approx(found.directions[1].recipe.explained_variance, rel=0.02)


def test_shift_bounds_what_the_sketch_lacks():
    """``0 <= A'A - B'B <= shift``, by eigenvalues in float64."""
    points = paths(50, 60)["noise"]
    sketch = sketched(points, 8)
    sketch._update()
    rows = (points - points[0]).astype(np.float64)
    kept = sketch._values[:, None] * sketch._basis[:8].double().numpy()
    values = np.linalg.eigvalsh(rows.T @ rows - kept.T @ kept)
    assert values[0] > -1e-4 * values[-1]
    assert values[-1] <= sketch.shift * (1 + 1e-5)
    assert sketch.shift > 0


def test_a_sketch_continues_from_its_state(tmp_path):
    points = paths(33, 200)["random walk"]
    whole = sketched(points, 8)
    first = sketched(points[:18], 8)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    again = PathSketch.from_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for point in points[18:]:
        again.add(torch.from_numpy(point))
    origin = Weights({"w": torch.from_numpy(points[-1])})
    one, other = whole.components(origin, 2), again.components(origin, 2)
    np.testing.assert_array_equal(one.coordinates, other.coordinates)
    for a, b in zip(one.directions, other.directions, strict=True):
        assert torch.equal(a.weights.tensors["w"], b.weights.tensors["w"])


def test_degenerate_paths_and_numbers():
    origin = Weights({"w": torch.zeros(30)})
    with pytest.raises(ValueError, match="expected more than 2 points"):
        sketched(np.zeros((2, 30), np.float32), 8).components(origin, 2)
    with pytest.raises(ValueError, match="the 5 points span fewer than 2 dimensions"):
        sketched(np.zeros((5, 30), np.float32), 8).components(origin, 2)
    line = np.arange(9, dtype=np.float32)[:, None] * np.ones(30, np.float32)
    with pytest.raises(ValueError, match="span fewer than 2 dimensions"):
        sketched(line, 8).components(origin, 2)
    with pytest.raises(FloatingPointError, match="not finite"):
        sketched(np.array([[0.0], [np.nan]], np.float32), 8)
    assert len(sketched(line[: BATCH - 1], 8).components(origin, 1).coordinates) == BATCH - 1


def test_vectors_of_weights():
    weights = Weights({"a": torch.randn(2, 3), "b": torch.randn(4).double(), "c": torch.randn(())})
    again = unflattened(flattened(weights), weights)
    assert all(torch.equal(again.tensors[n], t.float().to(t.dtype)) for n, t in weights)
    with pytest.raises(ValueError, match="need real weights"):
        flattened(Weights({"a": torch.zeros(2, dtype=torch.complex64)}))
