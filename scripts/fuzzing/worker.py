"""Runs cases one after another in a process of bounded memory, and reports each as a line of JSON."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import resource
import shlex
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fuzzing.corpus import KINDS, Kind
from fuzzing.damage import damage
from fuzzing.hdf5 import VICTIM
from fuzzing.values import pick
from landscape.cli.main import main
from landscape.workflows.train import resume

MEMORY = 3 * 2**29
"""Address space in bytes (1.5 GiB) that a case may take beyond what the libraries take."""
SECONDS = 60
"""Time in seconds after which a command counts as hanging, on a busy machine."""
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


_UNEXPECTED = re.compile(r"unexpected [A-Z]\w+( in [\w.]+:\d+)?: ")
_USAGE = (
    "moves something", "differs from the origin", "principal components", "expected coordinates",
    "expected directions for", "outside a run directory", "no finite value", "no grid cell",
)  # fmt: skip
"""Refused arguments: a file may well hold fewer directions than axes, weights that equal the origin, or no value."""


class Hanging(BaseException):
    """A command took longer than :data:`SECONDS`."""


@dataclass
class Case:
    """A case and what was found.

    Attributes:
        seed: random seed of the damage.
        kind: kind of the file.
        done: what was damaged.
        codes: exit code of each command.
        faults: what should not have happened, each with its command.
        mebibytes: largest resident memory of the process so far.
    """

    seed: int
    kind: str
    done: str = ""
    codes: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    mebibytes: int = 0


def run_case(good: Path, folder: Path, seed: int, kinds: list[str], per_case: int) -> Case:
    """Damage a file, run ``per_case`` of the commands of its kind on it, and check what happens."""
    generator = np.random.default_rng([seed, 1])
    name = kinds[seed % len(kinds)]
    kind = KINDS[name]
    case = Case(seed, name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    os.chdir(folder)
    case.done = damage(kind, good, folder, seed)
    victim = (folder / VICTIM).read_bytes()
    commands = list(dict.fromkeys(pick(kind.commands, generator) for _ in range(per_case)))
    for number, command in enumerate(commands):
        before = _snapshot(good)
        case.codes[command], faults = _run(command, kind, good, folder, number)
        if (folder / VICTIM).read_bytes() != victim or (folder / "owned").exists():
            faults.append("WROTE OUTSIDE")
        if _snapshot(good) != before:
            faults.append("CHANGED ANOTHER FILE")
        case.faults += [f"{command}: {fault}" for fault in faults]
    case.mebibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return case


def _snapshot(folder: Path) -> list[tuple[str, int, int]]:
    return sorted((e.path, e.stat().st_size, e.stat().st_mtime_ns) for e in os.scandir(folder))


def _run(command: str, kind: Kind, good: Path, folder: Path, number: int) -> tuple[int, list[str]]:
    """Return the exit code of a command, and its faults."""
    replaced = command.replace("FILE", kind.file).replace("GOOD", str(good)).replace("OUT", f"out{number}")
    words = shlex.split(replaced)
    out, err = io.StringIO(), io.StringIO()
    faults: list[str] = []
    code = -1
    try:
        with _limited(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = _resume(words[1]) if words[0] == "RESUME" else main(words)
    except Hanging:
        faults.append("HANGS")
    except BaseException as error:
        faults.append(f"RAISES {type(error).__name__}: {error} {traceback.extract_tb(error.__traceback__)[-1]}")
    said = err.getvalue()
    last = said.strip().splitlines()[-1] if said.strip() else ""
    if code not in (0, 1, 3) and not any(words in last for words in _USAGE):
        faults.append(f"EXIT CODE {code}: {last[:300]}")
    if code == 1 and words[0] != "check":
        if _UNEXPECTED.search(last) or "Traceback" in said:
            faults.append(f"UNEXPECTED: {last[:300]}")
        elif not any(name in last for name in (Path(kind.file).name, str(folder), "run", "/dev/zero")):
            faults.append(f"FILE NOT NAMED: {last[:300]}")
    if _UNEXPECTED.search(out.getvalue()):
        faults.append(f"UNEXPECTED: {out.getvalue()[-300:]}")
    if found := _CONTROL.search(out.getvalue() + said.replace("\r", "")):
        faults.append(f"CONTROL CHARACTER {found[0]!r}")
    if code == 0 and "--json" in words:
        try:
            json.loads(out.getvalue(), parse_constant=_refuse)
        except ValueError as error:
            faults.append(f"NO JSON: {error}")
    faults += _markup(folder, number)
    return code, faults


def _markup(folder: Path, number: int) -> list[str]:
    from xml.etree import ElementTree as ET

    faults = []
    for suffix in ("svg", "xdmf", "vtp"):
        path = folder / f"out{number}.{suffix}"
        if path.is_file():
            try:
                ET.parse(path)
            except ET.ParseError as error:
                faults.append(f"NOT WELL-FORMED {suffix}: {error}")
    page = folder / f"out{number}.html"
    if page.is_file() and "</script><script>alert" in page.read_text("utf-8", "replace"):
        faults.append("SCRIPT IN THE PAGE")
    return faults


def _resume(path: str) -> int:
    from landscape.cli.failures import explain

    try:
        resume(path)
    except Exception as error:
        message, code = explain(error, ["resume", path])
        print(f"landscape: {message}", file=sys.stderr)
        return code
    return 0


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    def end(*_: Any) -> None:
        raise Hanging

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def warm_up(good: Path) -> None:
    """Load the libraries, which take address space of their own, then bound the rest."""
    import torch

    torch.set_num_threads(1)
    folder = good.parent / "warm"
    folder.mkdir(exist_ok=True)
    os.chdir(folder)
    with contextlib.redirect_stderr(io.StringIO()):
        for command in (f"plot {good}/surface.h5 --out a.svg", f"surface {good}/run --x -1:1:3 --out a.h5"):
            main(shlex.split(f"{command} --overwrite"))
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))


def work(good: Path, seeds: list[int], kinds: list[str], per_case: int) -> None:
    """Run cases and print each; the number of the next one is printed before it, in case that it ends the process."""
    os.environ["LANDSCAPE_RANKS"] = "1"
    warm_up(good)
    folder = good.parent / f"case-{os.getpid()}"
    out = sys.stdout
    for seed in seeds:
        print(json.dumps({"begins": seed}), file=out, flush=True)
        begin = time.monotonic()
        try:
            case = run_case(good, folder, seed, kinds, per_case)
        except Exception as error:  # of the damage, most likely
            place = traceback.extract_tb(error.__traceback__)[-1]
            case = Case(seed, kinds[seed % len(kinds)], faults=[f"THE FUZZER ITSELF: {error!r} {place}"])
        print(json.dumps({**asdict(case), "seconds": time.monotonic() - begin}), file=out, flush=True)
    os.chdir(good.parent)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    work(Path(options["good"]), options["seeds"], options["kinds"], options["per_case"])
