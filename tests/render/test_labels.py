from __future__ import annotations

import numpy as np
import pytest

from landscape.render.figure import small_size, wrap_notes
from landscape.render.labels import optimizer_labels, run_label
from landscape.render.style import SIZES, new_figure
from landscape.render.ticks import metric_label
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
    "PC: principal component (% of the variance)",
    "up to 34% (SGD), 21% (Adam) off the plane",
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


def test_measures_and_runs_are_written_as_usual():
    names = ("train_loss", "train_f1", "test_auc", "val_miou", "train_acc", "test_top1_acc", "train_my_own_measure")
    assert [metric_label(name) for name in names] == [
        "training loss", "training F1", "test AUC", "validation mIoU", "training accuracy (%)",
        "test top-1 accuracy (%)", "training my own measure",
    ]  # fmt: skip
    assert [run_label(name) for name in ("sgd", "adam", "run-3", "sgd-small")] == ["SGD", "Adam", "run-3", "sgd-small"]
