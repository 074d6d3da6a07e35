"""Runs cases in worker processes, and starts another where a case ends its process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from fuzzing.corpus import GOOD, KINDS, make_corpus

HANGING_SECONDS = 300.0
"""Time in seconds after which a case counts as hanging: all its commands, on a busy machine."""
ROOT = Path(__file__).resolve().parents[2]


def run(
    folder: Path,
    seeds: Iterable[int],
    kinds: Iterable[str] = tuple(KINDS),
    per_case: int = 3,
    report: Callable[[dict[str, Any]], None] = lambda case: None,
) -> list[dict[str, Any]]:
    """Run cases, and return what was found for each.

    Args:
        folder: folder for files; the good ones are made there if they are missing.
        seeds: random seeds, one for each case.
        kinds: kinds of files, in turn.
        per_case: number of commands for each damaged file.
        report: called with each case.
    """
    good = folder / GOOD
    if not good.exists():
        make_corpus(good)
    left, cases = list(seeds), []
    while left:
        options = {"good": str(good), "seeds": left, "kinds": list(kinds), "per_case": per_case}
        with open(folder / "worker.log", "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "fuzzing.worker", json.dumps(options)],
                stdout=subprocess.PIPE, stderr=log, text=True, cwd=folder, env=_environment(),
            )  # fmt: skip
        running: int | None = None
        assert process.stdout is not None
        with process.stdout:
            while line := _next_line(process):
                found = json.loads(line)
                if "begins" in found:
                    running = found["begins"]
                    continue
                running = None
                left.remove(found["seed"])
                cases.append(found)
                report(found)
        if process.wait() == 0 and not left:
            break
        if running is None:
            raise RuntimeError(f"the worker failed before a case; see {folder / 'worker.log'}")
        kind = list(kinds)[running % len(list(kinds))]
        dead = {"seed": running, "kind": kind, "done": "?", "codes": {}, "mebibytes": 0,
                "faults": [f"PROCESS ENDED with code {process.returncode} (-9: it hung)"]}  # fmt: skip
        left.remove(running)
        cases.append(dead)
        report(dead)
    return cases


def _next_line(process: subprocess.Popen[str]) -> str:
    """Return the next line of a worker; end one that hangs in a library, where its own alarm does not reach."""
    assert process.stdout is not None
    ended = threading.Timer(HANGING_SECONDS, process.kill)
    ended.start()
    try:
        return process.stdout.readline()
    finally:
        ended.cancel()


def summary(cases: list[dict[str, Any]]) -> str:
    """Return the counts of cases, commands, exit codes and faults."""
    codes = Counter(code for case in cases for code in case["codes"].values())
    faults = sum(len(case["faults"]) for case in cases)
    listed = ", ".join(f"{codes[code]} with code {code}" for code in sorted(codes))
    largest = max((case["mebibytes"] for case in cases), default=0)
    return (
        f"{len(cases)} damaged files of {len({case['kind'] for case in cases})} kinds, {codes.total()} commands: "
        f"{listed}; {faults} faults; at most {largest} MiB resident"
    )


def _environment() -> dict[str, str]:
    path = os.pathsep.join([str(ROOT / "scripts"), str(ROOT)])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", "PYTHONWARNINGS": "ignore"}
