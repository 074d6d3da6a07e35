"""The history of a run: loss and metrics after each epoch, in a CSV file that survives a kill."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from landscape._utils.files import free_names, open_replacing
from landscape._utils.reading import read_text
from landscape.errors import CheckpointError

MAX_BYTES = 2**28
"""Largest history that is read (256 MiB), some million rows."""


class HistoryFile:
    """A CSV file with one row per measured step: ``step``, ``epoch``, measured values (``train_loss``, ...) and
    ``learning_rate``.

    Rows are appended, and each is on the disk before training continues. A row that a kill left incomplete lacks its
    line end and is ignored.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns: list[str] = []
        self._text = ""  # the contents, as far as this process has read and written them

    def start(self, measured: Sequence[str], step: int) -> None:
        """Create the file if it is missing; drop rows beyond ``step``, which will be computed again.

        Args:
            measured: names of the measured columns.
            step: number of completed steps.
        """
        self._columns = ["step", "epoch", *measured, "learning_rate"]
        rows = [row for row in self._rows() if int(row[0]) <= step] if self.path.exists() else []
        self._text = "".join(_line(row) for row in [self._columns, *rows])
        self._write(self.path)

    def extend(self, measured: Sequence[str], step: int | None = None) -> None:
        """Open the file or create it, with the columns that it has and those of ``measured``.

        Args:
            measured: names of measured columns; rows from before are empty there.
            step: drop rows beyond this step; None to keep all.
        """
        header, *lines = self._lines() if self.path.exists() else [["step", "epoch", "learning_rate"]]
        known = [name for name in header if name not in ("step", "epoch", "learning_rate")]
        self._columns = ["step", "epoch", *dict.fromkeys([*known, *measured]), "learning_rate"]
        rows = [dict(zip(header, line, strict=False)) for line in lines if line and line[0].isdecimal()]
        kept = [row for row in rows if step is None or int(row["step"]) <= step]
        fields = [[row.get(name, "") for name in self._columns] for row in kept]
        self._text = "".join(_line(row) for row in [self._columns, *fields])
        self._write(self.path)

    @property
    def columns(self) -> list[str]:
        """Names of the measured columns, after :meth:`start` or :meth:`extend`."""
        return self._columns[2:-1]

    def _write(self, path: Path) -> None:
        with open_replacing(path, durable=True, on_error=CheckpointError) as file:
            file.write(self._text.encode())

    def append(self, step: int, epoch: float, measured: Mapping[str, float], learning_rate: float) -> None:
        """Append a row, after :meth:`start`; values that weren't measured are left empty.

        A file that was removed is written again with all rows.

        Raises:
            CheckpointError: the disk is full, or another program has changed the file: then all rows are saved in
                another one, which the message names.
        """
        row = {"step": str(step), "epoch": repr(float(epoch)), "learning_rate": repr(float(learning_rate))}
        row |= {name: repr(float(value)) for name, value in measured.items()}
        line = _line([row.get(name, "") for name in self._columns])
        before, self._text = self._text, self._text + line
        try:
            with open(self.path, "ab") as file:
                size = file.seek(0, os.SEEK_END)
                if size == len(before.encode()):
                    file.write(line.encode())
                    file.flush()
                    os.fsync(file.fileno())
                    return
        except OSError as error:
            raise CheckpointError(f"cannot write {self.path}: {error.strerror or error}") from error
        if size == 0:
            self._write(self.path)
            return
        saved = next(free_names(self.path.parent, self.path))
        self._write(saved)
        raise CheckpointError(
            f"another program changed {self.path} while the run was trained; its rows are saved in {saved}. Move that "
            "file there to resume"
        )

    @property
    def steps(self) -> list[int]:
        """Steps that have a row."""
        return [int(row[0]) for row in self._rows()]

    def has(self, step: int) -> bool:
        """Return True if there is a row for ``step``."""
        return any(int(row[0]) == step for row in self._rows())

    def read(self) -> dict[str, npt.NDArray[np.float64 | np.int64]]:
        """Read the file.

        Returns:
            Columns by name, each ``(rows,)``: ``step`` int64, the others float64, NaN for an empty field.

        Raises:
            CheckpointError: the file is missing or damaged.
        """
        columns, *rows = self._lines()
        try:
            values = [[_float(field) for field in row] for row in rows if len(row) == len(columns)]
            steps = np.array([int(row[0]) for row in rows if len(row) == len(columns)], dtype=np.int64)
        except (ValueError, OverflowError) as error:
            raise CheckpointError(f"{self.path} is damaged: {error}") from error
        table = np.array(values, dtype=np.float64).reshape(-1, len(columns))
        history: dict[str, npt.NDArray[np.float64 | np.int64]] = {
            name: table[:, index] for index, name in enumerate(columns)
        }
        history["step"] = steps
        return history

    def _rows(self) -> list[list[str]]:
        return [row for row in self._lines()[1:] if row and row[0].isdecimal()]

    def _lines(self) -> list[list[str]]:
        if not os.path.lexists(self.path):
            raise CheckpointError(f"there is no history at {self.path}")
        text = read_text(self.path, CheckpointError, max_bytes=MAX_BYTES, expected="a history")
        complete = text[: text.rfind("\n") + 1]
        try:
            lines = list(csv.reader(io.StringIO(complete)))
        except csv.Error as error:
            raise CheckpointError(f"{self.path} is damaged: {error}") from error
        if not lines or lines[0][:1] != ["step"]:
            raise CheckpointError(f"{self.path} is not a history: expected a first line with step, epoch, ...")
        return lines


def _line(fields: Sequence[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(fields)
    return buffer.getvalue()


def _float(field: str) -> float:
    return float(field) if field else math.nan
