"""Checkpoints of other programs as the path of a training run, ordered by the numbers in their names."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from glob import glob
from itertools import pairwise
from pathlib import Path

from landscape.errors import CheckpointError
from landscape.problem.problem import Problem
from landscape.problem.spec import ProblemSpec
from landscape.training.checkpoint import Checkpoint, load_checkpoint
from landscape.training.run import Run, is_run, run_of
from landscape.training.weight_files import split_key, weights_in_folder, with_key
from landscape.workflows.sources import PathName, UnnamedProblemError

SUFFIXES = (".pt", ".pth", ".ckpt", ".t7", ".bin", ".safetensors")
"""Suffixes of checkpoint files in a folder that is no run."""
_STEPS, _EPOCHS = ("step", "steps", "iter", "iters", "iteration", "it"), ("epoch", "epochs", "ep", "e")
"""Words before the number of a step, and of an epoch."""


@dataclass(frozen=True)
class CheckpointSeries:
    """Checkpoints of one training run, from files of any program.

    Attributes:
        path: folder of the files, with what their names have in common if it holds several series; the path of a run
            for files of a run directory.
        checkpoints: files or folders in the order of training.
        steps: number of each in the series: its step, or whatever number its name counts by.
        epochs: epoch of each; NaN where the names don't say.
        problem: the problem that they belong to; None if it isn't known.
    """

    path: Path
    checkpoints: list[Path]
    steps: list[int]
    epochs: list[float]
    problem: ProblemSpec | None = None

    @property
    def saved_steps(self) -> list[int]:
        """Numbers of the checkpoints, ascending."""
        return self.steps

    def load(self) -> Checkpoint:
        """Load the last checkpoint."""
        return load_checkpoint(self.checkpoints[-1])

    def build_problem(self, splits: Sequence[str] | None = None) -> Problem:
        """Build the problem that the checkpoints belong to.

        Raises:
            UnnamedProblemError: it isn't known.
        """
        if self.problem is None:
            raise UnnamedProblemError(self.checkpoints[-1])
        return self.problem.build(splits)


def open_paths(
    sources: Sequence[Run | CheckpointSeries | PathName], problem: ProblemSpec | None = None
) -> list[Run | CheckpointSeries]:
    """Return runs and series of checkpoint files, in the order in which they are first named.

    Checkpoints form one series per folder and per pattern of their names (``model_*.pt``, ``checkpoint-*``), whatever
    their order. A folder that is neither a run nor a checkpoint stands for the checkpoints in it.

    Args:
        sources: runs, paths of run directories, of checkpoint files, and of folders of checkpoint files.
        problem: the problem of checkpoints outside a run directory.

    Raises:
        CheckpointError: nothing there, or a file whose place in its series is unknown.
    """
    if not sources:
        raise ValueError("expected at least one run, got none")
    found: dict[object, Run | CheckpointSeries | list[Path]] = {}
    for source in sources:
        if isinstance(source, Run | CheckpointSeries):
            found[len(found)] = source
            continue
        path, key = split_key(source)
        before = len(found)
        files: list[Path] = []
        for each in _expanded(path):
            if is_run(each):
                found[len(found)] = Run.open(each)
            files += _checkpoints_at(each)
        for file in files:
            series = found.setdefault((file.parent.resolve(), _pattern(file), key), [])
            if isinstance(series, list) and (named := with_key(file, key)) not in series:
                series.append(named)
        if not files and len(found) == before:
            if not path.exists():
                raise CheckpointError(f"{path}: no such run or checkpoint")
            found[len(found)] = Run.open(path)
    several = [key[0] for key in found if isinstance(key, tuple)]
    return [
        each
        if not isinstance(each, list)
        else _series(each, problem, alone=isinstance(key, tuple) and several.count(key[0]) == 1)
        for key, each in found.items()
    ]


def _expanded(path: Path) -> list[Path]:
    """Return the paths that a pattern such as ``checkpoint-*`` matches; of a path without one, itself."""
    return [path] if path.exists() else [Path(found) for found in sorted(glob(str(path)))]


def _checkpoints_at(path: Path) -> list[Path]:
    """Return the checkpoint at a path, or those in a folder that is none itself; none for a run."""
    if path.is_file() or (path.is_dir() and not is_run(path) and weights_in_folder(path)):
        return [path]
    if not path.is_dir() or is_run(path):
        return []
    return sorted(
        each
        for each in path.iterdir()
        if (each.suffix in SUFFIXES and each.is_file())
        or (each.is_dir() and not is_run(each) and weights_in_folder(each))
    )


def _pattern(file: Path) -> str:
    """Return the name of a file or folder with its numbers left out."""
    return re.sub(r"\d+", "*", file.name)


def _series(files: Sequence[Path], problem: ProblemSpec | None, alone: bool) -> CheckpointSeries:
    run = run_of(files[0])
    if problem is None and run is not None:
        problem = run.spec()
    numbers = {file: _numbers(file) for file in files}
    place, word = _counting(list(numbers.values()))
    steps = {file: _step(file, numbers[file][place][1] if place is not None else None) for file in files}
    ordered = sorted(files, key=lambda file: (steps[file], [number for _, number in numbers[file]]))
    for one, other in pairwise(ordered):
        if steps[one] == steps[other]:
            raise CheckpointError(f"expected one checkpoint for each number, but {one} and {other} have {steps[one]}")
    folder = files[0].parent if run is None else run.path
    common = re.sub(r"[\W_]*\*[\W_]*", "-", _pattern(split_key(files[0])[0]).partition(".")[0]).strip("-")
    path = folder if alone else folder / common
    epochs = [float(steps[file]) if word in _EPOCHS else math.nan for file in ordered]
    return CheckpointSeries(path, ordered, [steps[file] for file in ordered], epochs, problem)


def _numbers(file: Path) -> list[tuple[str, int]]:
    """Return the numbers in a file's name, each with the word before it."""
    file, _ = split_key(file)
    name = file.name if file.is_dir() else file.name.removesuffix(file.suffix)
    return [(word.lower(), int(number)) for word, number in re.findall(r"([A-Za-z]*)[^A-Za-z0-9]*(\d+)", name)]


def _counting(names: Sequence[Sequence[tuple[str, int]]]) -> tuple[int | None, str]:
    """Return the place of the number that counts the checkpoints, and the word before it.

    A step comes before an epoch, and either before any other number that differs between the files.
    """
    places = range(len(names[0]))
    varying = [k for k in places if len({name[k][1] for name in names}) > 1] or list(places)
    for words in (_STEPS, _EPOCHS):
        for k in varying:
            if names[0][k][0] in words:
                return k, names[0][k][0]
    return (varying[0], names[0][varying[0]][0]) if varying else (None, "")


def _step(file: Path, number: int | None) -> int:
    if number is not None:
        return number
    step = load_checkpoint(file).step
    if step is None:
        raise CheckpointError(
            f"{file}: expected a number in the name, which says where in the training it belongs, such as model_12.pt; "
            "rename it, or leave it out"
        )
    return step
