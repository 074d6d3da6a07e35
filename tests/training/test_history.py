"""The history file: exact values, incomplete rows and errors."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.errors import CheckpointError
from landscape.training.history import HistoryFile


@pytest.fixture
def table(tmp_path):
    table = HistoryFile(tmp_path / "history.csv")
    table.start(["train_loss", "test_acc"], 0)
    table.append(0, 0.0, {"train_loss": 1 / 3, "test_acc": 10.0}, float("nan"))
    table.append(12, 1.0, {"train_loss": 0.1, "test_acc": 55.5}, 0.1)
    table.append(18, 1.5, {"train_loss": float("inf")}, 0.05)
    return table


def test_round_trip_is_exact(table):
    found = table.read()
    assert list(found) == ["step", "epoch", "train_loss", "test_acc", "learning_rate"]
    assert found["step"].dtype == np.int64
    assert found["step"].tolist() == [0, 12, 18]
    assert found["epoch"].tolist() == [0.0, 1.0, 1.5]
    assert found["train_loss"].tolist() == [1 / 3, 0.1, float("inf")]
    np.testing.assert_array_equal(found["test_acc"], [10.0, 55.5, np.nan])
    np.testing.assert_array_equal(found["learning_rate"], [np.nan, 0.1, 0.05])


def test_csv_text(table):
    assert table.path.read_text().splitlines()[:2] == [
        "step,epoch,train_loss,test_acc,learning_rate", "0,0.0,0.3333333333333333,10.0,nan"
    ]  # fmt: skip


@pytest.mark.parametrize("torn", [b"2", b"24,2.0,0.0", b"24,2.0,0.05,60.0,0.0"])
def test_incomplete_row_is_dropped(table, torn):
    whole = table.path.read_bytes()
    table.path.write_bytes(whole + torn)
    assert table.read()["step"].tolist() == [0, 12, 18]
    again = HistoryFile(table.path)
    again.start(["train_loss", "test_acc"], 30)
    assert table.path.read_bytes() == whole


@pytest.mark.parametrize(("step", "kept"), [(0, [0]), (12, [0, 12]), (17, [0, 12]), (99, [0, 12, 18])])
def test_start_drops_later_rows(table, step, kept):
    again = HistoryFile(table.path)
    again.start(["train_loss", "test_acc"], step)
    assert again.read()["step"].tolist() == kept
    assert [again.has(found) for found in (0, 12, 18)] == [found in kept for found in (0, 12, 18)]


def test_empty_history(tmp_path):
    table = HistoryFile(tmp_path / "history.csv")
    table.start(["train_loss"], 0)
    assert {name: len(column) for name, column in table.read().items()} == {
        "step": 0, "epoch": 0, "train_loss": 0, "learning_rate": 0
    }  # fmt: skip


@pytest.mark.parametrize(
    ("contents", "reason"),
    [(None, "there is no history at"), (b"", "is not a history:"), (b"a,b\n1,2\n", "is not a history:"), 
     (b"step,x\n1,y\n", "damaged"), (b"\xff\xfe\n", "is not UTF-8")],
)  # fmt: skip
def test_read_errors(tmp_path, contents, reason):
    path = tmp_path / "history.csv"
    if contents is not None:
        path.write_bytes(contents)
    with pytest.raises(CheckpointError, match=reason):
        HistoryFile(path).read()
