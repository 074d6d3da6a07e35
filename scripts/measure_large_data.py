"""Measure the memory of a surface over a data set that is larger than the memory of the process.

    .venv/bin/python scripts/measure_large_data.py /tmp/files --gib 4 --limit 1

writes files of 4 MiB to the folder, unless they are there, and computes three points of a small convolutional network
over them: without a limit, and with an address space of ``--limit`` GiB (``ulimit -v``). It prints the peaks of the
address space and of resident memory, how many times each file was read, and whether the values are the same bits.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

SHAPE = (64, 128, 128)


class Files:
    """Samples in files, the readings of which are counted."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count, self.read = folder, len(list(folder.glob("*.npy"))), 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        self.read += 1
        return np.load(self.folder / f"{index}.npy"), index % 2


def make(folder: Path, gib: float) -> None:
    """Write the samples."""
    folder.mkdir(parents=True, exist_ok=True)
    base = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    for index in range(round(gib * 2**30 / base.nbytes)):
        if not (folder / f"{index}.npy").exists():
            np.save(folder / f"{index}.npy", base * (1 + index / 1000) + index % 7)


def measure(folder: Path, limit: float) -> None:
    """Compute the surface in this process, and print what it took as JSON."""
    if limit:
        size = int(limit * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
    import torch
    from torch import nn

    from landscape import Problem, Split, compute_surface

    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(64, 2, 8, stride=8), nn.ReLU(), nn.Flatten(), nn.Linear(512, 2))
    files = Files(folder)
    begin = time.perf_counter()
    problem = Problem(network, {"train": Split.of(files)}, nn.CrossEntropyLoss(reduction="none"))
    values = compute_surface(problem, grid=("-1:1:3",)).surface["train_loss"]
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peaks = {name: int(status[name].split()[0]) / 2**20 for name in ("VmPeak", "VmHWM")}
    print(json.dumps({
        "limit": limit, **peaks, "readings": files.read / len(files), "seconds": time.perf_counter() - begin,
        "values": values.tobytes().hex(),
    }))  # fmt: skip


def main() -> None:
    """Measure in processes of their own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gib", type=float, default=4.0, help="size of the data set")
    parser.add_argument("--limit", type=float, default=1.0, help="address space in GiB")
    parser.add_argument("--one", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        return measure(options.folder, options.one)
    make(options.folder, options.gib)
    found = []
    for limit in (0.0, options.limit):
        command = [sys.executable, __file__, str(options.folder), "--one", str(limit)]
        found.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))
        one = found[-1]
        print(
            f"limit {limit or 'none'}: address space {one['VmPeak']:.2f} GiB, resident {one['VmHWM']:.2f} GiB, "
            f"each file read {one['readings']:.2f} times, {one['seconds']:.0f} s"
        )
    print("same bits" if found[0]["values"] == found[1]["values"] else "DIFFERENT VALUES")
    return None


if __name__ == "__main__":
    main()
