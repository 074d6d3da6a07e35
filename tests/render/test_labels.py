from __future__ import annotations

import numpy as np
import pytest

from landscape.render.figure import small_size, wrap_notes
from landscape.render.labels import optimizer_labels
from landscape.render.style import SIZES, new_figure
from landscape.training.optimizers import describe


def test_optimizer_labels():
    texts = (
        "sgd:lr=0.1", "sgd:lr=0.1,momentum=0.9", "sgd:lr=0.1,momentum=0.9,nesterov=true", "adam",
        "rmsprop:lr=0.5", "sgd:lr=0.1,momentum=0.5", "landscape.training.sadam:SAdam:lr=0.01",
    )  # fmt: skip
    assert optimizer_labels([describe(text) for text in texts]) == [
        "SGD, lr 0.1", "momentum, lr 0.1, momentum 0.9", "Nesterov, lr 0.1", "Adam, lr 0.001", "RMSprop, lr 0.5",
        "momentum, lr 0.1, momentum 0.5", "SAdam, lr 0.01",
    ]  # fmt: skip


NOTES = (
    "PC: principal component, with its share of the variance",
    "distance from the plane: up to 34 % (sgd), up to 21 % (adam)",
    "smoothed between 31 × 31 points",
)


@pytest.mark.parametrize("size", sorted(SIZES))
def test_small_print_stays_inside(size):
    figure = new_figure(size)
    with figure.style():
        note = figure.text(0, 0, "", fontsize=small_size())
        for width in np.linspace(0.5, 1, 41) * figure.get_figwidth():
            note.set_text(wrap_notes(NOTES, width))
            assert note.get_window_extent().width / figure.dpi < 1.025 * width
            assert "31 × 31" in note.get_text()
