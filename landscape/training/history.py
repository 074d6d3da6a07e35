"""The table of a run: loss and metrics after each epoch, as a CSV file that a kill cannot spoil."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from landscape._utils.files import open_replacing
from landscape.errors import CheckpointError


class History:
    """Rows by step in a CSV file: ``step``, ``epoch``, what was measured (``train_loss``, ...), ``learning_rate``.

    Rows are appended, and each is on the disk before the run goes on. A row that a kill left incomplete lacks its line
    end, and is not read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns: list[str] = []

    def begin(self, measured: Sequence[str], step: int) -> None:
        """Make the file if there is none, and drop rows beyond ``step`` and a torn one: they are computed again."""
        self._columns = ["step", "epoch", *measured, "learning_rate"]
        rows = [row for row in self._rows() if int(row[0]) <= step] if self.path.exists() else []
        text = "".join(_line(row) for row in [self._columns, *rows])
        with open_replacing(self.path, durable=True, on_error=CheckpointError) as file:
            file.write(text.encode())

    def append(self, step: int, epoch: float, measured: Mapping[str, float], learning_rate: float) -> None:
        """Add a row, after :meth:`begin`; values that were not measured stay empty.

        Raises:
            CheckpointError: the disk is full.
        """
        row = {"step": str(step), "epoch": repr(float(epoch)), "learning_rate": repr(float(learning_rate))}
        row |= {name: repr(float(value)) for name, value in measured.items()}
        try:
            with open(self.path, "ab") as file:
                file.write(_line([row.get(name, "") for name in self._columns]).encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise CheckpointError(f"{self.path} cannot be written: {error.strerror or error}") from error

    def has(self, step: int) -> bool:
        """Whether there is a row of this step."""
        return any(int(row[0]) == step for row in self._rows())

    def read(self) -> dict[str, np.ndarray]:
        """Columns by name, each ``(rows,)``: ``step`` int64, all others float64, NaN where a field is empty.

        Raises:
            CheckpointError: the file is missing or is no such table.
        """
        columns, *rows = self._lines()
        try:
            values = [[_float(field) for field in row] for row in rows if len(row) == len(columns)]
        except ValueError as error:
            raise CheckpointError(f"{self.path} is damaged: {error}") from error
        table = np.array(values, dtype=np.float64).reshape(-1, len(columns))
        found = {name: table[:, place] for place, name in enumerate(columns)}
        found["step"] = found["step"].astype(np.int64)
        return found

    def _rows(self) -> list[list[str]]:
        return [row for row in self._lines()[1:] if row and row[0].isdigit()]

    def _lines(self) -> list[list[str]]:
        try:
            text = self.path.read_bytes().decode()
        except FileNotFoundError as error:
            raise CheckpointError(f"no history at {self.path}") from error
        except (OSError, UnicodeDecodeError) as error:
            raise CheckpointError(f"{self.path} cannot be read: {error}") from error
        whole = text[: text.rfind("\n") + 1]
        lines = list(csv.reader(io.StringIO(whole)))
        if not lines or lines[0][:1] != ["step"]:
            raise CheckpointError(f"{self.path} is no history: a first line with step, epoch, ... expected")
        return lines


def _line(fields: Sequence[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(fields)
    return buffer.getvalue()


def _float(field: str) -> float:
    return float(field) if field else math.nan
