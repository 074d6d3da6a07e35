from __future__ import annotations

import numpy as np
import pytest

from landscape.geometry.trajectory import Trajectory
from landscape.surface.surface import DONE, Surface


@pytest.fixture(scope="session")
def needs_gl():
    """Skips what draws in three dimensions where there is no library to draw with."""
    from landscape.render.offscreen import can_draw

    if not can_draw():
        pytest.skip("no OpenGL library (EGL or OSMesa) to draw with")


@pytest.fixture
def slope():
    """A surface whose log10 is a plane, ``1 + 2 x - y``, on a grid that is neither square nor symmetric."""

    def build(nx: int = 9, ny: int = 6, x=(-0.5, 1.5), y=(0.0, 1.0), name: str = "") -> Surface:
        xs, ys = np.linspace(*x, nx), np.linspace(*y, ny)
        loss = 10 ** (1 + 2 * xs[None, :] - ys[:, None])
        number = np.arange(nx * ny, dtype=np.float64).reshape(ny, nx)
        values = {"train_loss": loss, "train_acc": 100 - number, "train_loss_stderr": loss / 10}
        return Surface((xs, ys), values, np.full((ny, nx), DONE, np.uint8), {"model": "mlp"}, name)

    return build


@pytest.fixture
def walk():
    """A trajectory through given points."""

    def build(points, name: str = "run", loss=None) -> Trajectory:
        points = np.asarray(points, np.float64)
        n = len(points)
        return Trajectory(
            name=name,
            step=10 * np.arange(n, dtype=np.int64),
            epoch=np.arange(n) / 4,
            coordinates=points,
            distance=np.linspace(3, 1, n),
            displacement=np.linspace(5, 0, n),
            loss=np.linspace(2, 1, n) if loss is None else np.asarray(loss, np.float64),
            surface_loss=np.full(n, np.nan),
            learning_rate=np.full(n, 0.1),
        )

    return build
