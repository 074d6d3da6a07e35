"""Good files of every kind, small, made by the program itself."""

from __future__ import annotations

import io
import pickle
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from landscape import PlaneConfig, ProblemSpec, SweepConfig, compute_surface, project, train
from landscape.surface.li2018.directions import DirectionArrays, write_direction_arrays
from landscape.surface.li2018.files import write_li_projection, write_li_surface
from landscape.surface.plane_files import read_plane, write_directions
from landscape.surface.reading import read_surface
from landscape.surface.trajectory_files import attach_trajectories
from landscape.sweep.adaptive import Adaptive
from landscape.training.settings import TrainingSettings
from landscape.training.trainer import TrainingProgress

GOOD = "good"
"""Folder of the undamaged files."""


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        file: path of the file that is damaged, below the folder of the case.
        format: format of the file, which decides how its structure is damaged.
        commands: command lines, in which ``FILE`` is the damaged file, ``OUT`` an output, and ``GOOD/x`` another file.
        sources: files and folders that are copied into the folder of the case.
    """

    file: str
    format: str
    commands: tuple[str, ...]
    sources: tuple[str, ...]


_SURFACE = (
    "info FILE", "info --json FILE", "export FILE --out OUT.csv", "check --no-evaluation FILE", "check FILE",
    "plot FILE --out OUT.svg", "export FILE --out OUT.html", "export FILE --out OUT.xdmf", "merge FILE --out OUT.h5",
    "merge GOOD/surface.h5 FILE --out OUT.h5", "surface GOOD/run --x -1:1:5 --y -1:1:4 --out FILE",
    "trajectory GOOD/run --plane FILE --out OUT.h5", "trajectory GOOD/run --plane FILE --attach --out OUT.h5",
    "surface GOOD/run --x -1:1:3 --directions FILE --out OUT.h5", "export FILE --out OUT.vtp",
)  # fmt: skip
_THROUGH = (
    *_SURFACE, "export FILE --out OUT.pvd", "plot FILE --at 2 --out OUT.svg", "topology FILE --at 2",
    "surface GOOD/run --checkpoints 3 --x -1:1:3 --y -1:1:3 --out FILE",
)  # fmt: skip
_PLANE = (
    "info FILE", "info --json FILE", "surface GOOD/run --x -1:1:3 --y -1:1:3 --directions FILE --out OUT.h5",
    "trajectory GOOD/run --plane FILE --out OUT.h5",
)  # fmt: skip
_PATH = (
    "info FILE", "info --json FILE", "plot GOOD/surface.h5 --trajectory FILE --out OUT.svg",
    "export GOOD/surface.h5 --trajectory FILE --out OUT.html",
    "export GOOD/surface.h5 --trajectory FILE --out OUT.xdmf",
)  # fmt: skip
_RUN = (
    "info run", "info --json run", "check run", "surface run --x -1:1:3 --out OUT.h5",
    "trajectory run --plane pca --axes 1 --out OUT.h5", "trajectory run --plane pca --axes 1 --measure --out OUT.h5",
)  # fmt: skip
_RESUMED = ("RESUME run", *_RUN)
_POINT = (
    "info FILE", "info --json FILE",
    "surface FILE --x -1:1:3 --model mlp --model-arg widths=(4,) --samples 20 --out OUT.h5",
    "surface GOOD/run --to FILE --x -1:1:3 --out OUT.h5",
    "trajectory FILE GOOD/run --plane GOOD/surface.h5 --out OUT.h5",
)  # fmt: skip

KINDS = {
    "surface": Kind("surface.h5", "hdf5", _SURFACE, ("surface.h5",)),
    "adaptive": Kind("adaptive.h5", "hdf5", _SURFACE, ("adaptive.h5",)),
    "seeds": Kind("seeds.h5", "hdf5", _SURFACE, ("seeds.h5",)),
    "through": Kind("through.h5", "hdf5", _THROUGH, ("through.h5",)),
    "attached": Kind("attached.h5", "hdf5", (*_SURFACE, *_PATH), ("attached.h5",)),
    "plane": Kind("plane.h5", "hdf5", _PLANE, ("plane.h5",)),
    "trajectory": Kind("trajectory.h5", "hdf5", (*_PATH, *_PLANE), ("trajectory.h5",)),
    "li surface": Kind("li.h5", "hdf5", _SURFACE[:8], ("li.h5",)),
    "li directions": Kind("li_directions.h5", "hdf5", _PLANE, ("li_directions.h5",)),
    "li projection": Kind("li_proj.h5", "hdf5", _PATH, ("li_proj.h5",)),
    "record": Kind("run/run.json", "json", _RUN, ("run",)),
    "record of a stopped run": Kind("run/run.json", "json", _RESUMED, ("stopped",)),
    "history": Kind("run/history.csv", "csv", _RESUMED, ("stopped",)),
    "state": Kind("run/resume.pt", "torch", _RESUMED[:1], ("stopped",)),
    "checkpoint": Kind("weights.pt", "torch", _POINT, ("weights.pt",)),
    "checkpoint of a run": Kind("run/checkpoints/step-00000004.pt", "torch", _RUN, ("run",)),
    "legacy checkpoint": Kind("legacy.pt", "torch", _POINT, ("legacy.pt",)),
    "archive": Kind("cifar.tar.gz", "tar", ("train --model mlp --dataset cifar10 --data FILE --epochs 0 --out OUT",),
                    ("cifar.tar.gz",)),
    "batch": Kind("cifar-10-batches-py/data_batch_1", "pickle",
                  ("train --model mlp --dataset cifar10 --data . --epochs 0 --out OUT",), ("cifar-10-batches-py",)),
    "binary batch": Kind("cifar-10-batches-bin/data_batch_1.bin", "bytes",
                         ("train --model mlp --dataset cifar10 --data . --epochs 0 --out OUT",),
                         ("cifar-10-batches-bin",)),
    "text": Kind("text.txt", "bytes",
                 ("train --model transformer --model-arg width=8,depth=1,heads=1 --dataset text "
                  "--dataset-arg context=8 --data FILE --epochs 0 --out OUT",), ("text.txt",)),
}  # fmt: skip


def make_corpus(folder: Path) -> None:
    """Write a good file of each kind into ``folder``."""
    folder.mkdir(parents=True)
    spec = ProblemSpec(model="mlp", model_args={"widths": (4,)}, samples=20)
    settings = TrainingSettings(epochs=2, batch_size=10)
    run = train(spec, "sgd:lr=0.1", settings, folder / "run")
    _stopped(spec, settings, folder / "stopped")
    shutil.copy(run.checkpoints[-1], folder / "weights.pt")
    torch.save(run.load().state_dict, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    surface = folder / "surface.h5"
    compute_surface(run, None, ["-1:1:5", "-1:1:4"], SweepConfig(out=surface))
    compute_surface(run, None, ["-1:1:5", "-1:1:5"], SweepConfig(out=folder / "adaptive.h5", adaptive=Adaptive(0.2)))
    compute_surface(run, PlaneConfig(seeds=(0, 1)), ["-1:1:3", "-1:1:3"], SweepConfig(out=folder / "seeds.h5"))
    compute_surface(run, PlaneConfig(checkpoints=2), ["-1:1:3", "-1:1:3"], SweepConfig(out=folder / "through.h5"))
    shutil.copy(surface, folder / "attached.h5")
    paths = project(run, folder / "attached.h5", out=folder / "paths.h5")
    attach_trajectories(folder / "attached.h5", paths)
    project(run, "pca", out=folder / "trajectory.h5")
    plane = read_plane(surface)
    write_directions(folder / "plane.h5", plane)
    arrays = tuple(tuple(tensor.numpy() for _, tensor in d.weights) for d in plane.directions)
    write_direction_arrays(folder / "li_directions.h5", DirectionArrays(arrays))
    compute_surface(run, None, ["-1:1:4", "-1:1:4"], SweepConfig(out=folder / "square.h5"))
    write_li_surface(folder / "li.h5", read_surface(folder / "square.h5"))
    write_li_projection(folder / "li_proj.h5", paths[0])
    _write_cifar(folder)
    (folder / "text.txt").write_text("To be, or not to be, that is the question. " * 12)


def _stopped(spec: ProblemSpec, settings: TrainingSettings, folder: Path) -> None:
    seen: list[TrainingProgress] = []
    train(spec, "sgd:lr=0.1,momentum=0.9", settings, folder, progress=seen.append, stop=lambda: len(seen) >= 3)


def _write_cifar(folder: Path) -> None:
    names = [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]
    generator = np.random.default_rng(0)
    python, binary = folder / "cifar-10-batches-py", folder / "cifar-10-batches-bin"
    python.mkdir()
    binary.mkdir()
    with tarfile.open(folder / "cifar.tar.gz", "w:gz") as tar:
        for name in names:
            images = generator.integers(0, 256, (4, 3072), dtype=np.uint8)
            labels = [0, 1, 2, 3]
            raw = pickle.dumps({b"data": images, b"labels": labels}, protocol=2)
            (python / name).write_bytes(raw)
            records = np.column_stack([np.array(labels, dtype=np.uint8), images])
            (binary / f"{name}.bin").write_bytes(records.tobytes())
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(raw)
            tar.addfile(member, io.BytesIO(raw))
