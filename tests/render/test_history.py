"""Training curves by epoch or step, one axes for each metric, and the loss on the plane."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from landscape.geometry.trajectory import Trajectory
from landscape.render.plots.history import History, plot_history, plot_plane_loss


def columns(name: str = "SGD", n: int = 11) -> dict:
    epoch = np.arange(n, dtype=float)
    rate = np.where(epoch < 5, 0.1, 0.01)
    return {
        "name": name, "step": 40 * np.arange(n), "epoch": epoch, "train_loss": 2 * 0.5**epoch,
        "test_loss": 3 * 0.5**epoch, "train_acc": 100 - 90 * 0.5**epoch, "learning_rate": rate,
    }  # fmt: skip


def test_axes_by_metric_colours_by_run() -> None:
    artists = plot_history([columns(), columns("Adam")])
    assert [scale.kind for scale in artists.scales] == ["log", "linear"]
    for lines, metric in zip(artists.lines, ("train_loss", "train_acc"), strict=True):
        assert len({line.get_color() for line in lines}) == 2
        np.testing.assert_array_equal(lines[0].get_xdata(), columns()["epoch"])
        np.testing.assert_array_equal(lines[0].get_ydata(), columns()[metric])
    assert [ax.get_ylabel() for ax in artists.axes] == ["training loss", "training accuracy (%)"]
    assert artists.axes[-1].get_xlabel() == "epoch"
    assert np.ravel(artists.rates[0].get_data()).tolist() == [4, 2 * 0.5**4]


def test_shared_axes_by_step() -> None:
    run = columns()
    run["test_loss"] = np.where(np.arange(11) % 2, np.nan, run["test_loss"])
    artists = plot_history([run], [("train_loss", "test_loss")], ax=Figure().add_subplot(), by="step")
    train, test = artists.lines[0]
    assert train.get_linestyle() != test.get_linestyle()
    assert test.get_xdata().tolist() == [0, 80, 160, 240, 320, 400]
    assert artists.axes[0].get_xlabel() == "step"


def test_from_columns() -> None:
    run = History.from_columns({"step": [0, 10], "loss": [2.0, 1.0], "accuracy": [10.0, 50.0]}, "run")
    assert sorted(run.values) == ["train_acc", "train_loss"]
    assert run.epoch.tolist() == [0, 10]
    assert run.learning_rate is None
    plot_history([run])


def test_plane_loss() -> None:
    n = np.arange(4.0)
    path = Trajectory("SGD", np.arange(4), n, np.zeros((4, 2)), n, n, 2.0 - n / 4, 3.0 - n / 4, np.full(4, 0.1))
    true, plane = plot_plane_loss([path]).lines[0]
    np.testing.assert_array_equal(true.get_ydata(), path.loss)
    np.testing.assert_array_equal(plane.get_ydata(), path.surface_loss)
    assert true.get_linestyle() == "-"
    assert plane.get_linestyle() == "--"


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="at least one run"):
        plot_history([])
    with pytest.raises(ValueError, match="no run has test_acc; they have test_loss, train_acc, train_loss"):
        plot_history([columns()], ["test_acc"])
    with pytest.raises(ValueError, match="expected 2 axes"):
        plot_history([columns()], ax=Figure().add_subplot())
    with pytest.raises(ValueError, match="expected by='epoch'"):
        plot_history([columns()], by="time")
    with pytest.raises(ValueError, match=r"expected shape \(2,\)"):
        History.from_columns({"step": [0, 1], "loss": [1.0]})
    with pytest.raises(ValueError, match="'step' or 'epoch'"):
        History.from_columns({"loss": [1.0]})
