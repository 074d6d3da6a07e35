"""Files of version 0.1 (commit 3358993), one of each kind, are read, drawn and completed as by version 0.1.

``v0.1/make`` created ``v0.1/files.tar.xz``, and ``v0.1/expected.json`` with the results of version 0.1 on copies of
them. The tests use the command line, and read results with h5py and torch only, so a change of the library cannot
change the expected results.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

pytestmark = pytest.mark.integration

HERE = Path(__file__).resolve().parent / "v0.1"
MADE_IN = "/tmp/landscape-golden"
"""Directory in which the files were created: 0.1 stores absolute paths, which are replaced in copies."""
FINISHED = (
    "line.h5", "plane.h5", "volume.h5", "seeds.h5", "seeds-plane.h5", "adaptive.h5", "above.h5", "paired.h5", "to.h5",
    "bfloat16.h5", "plugin.h5", "square.h5", "on-pca.h5",
)  # fmt: skip
TRAJECTORIES = ("pca.h5", "path.h5", "on-pca-path.h5")
UNFINISHED = (
    "stopped.h5", "killed.h5", "volume-stopped.h5", "seeds-stopped.h5", "adaptive-stopped.h5", "adaptive-killed.h5",
    "above-stopped.h5", "paired-stopped.h5", "bfloat16-stopped.h5", "to-stopped.h5", "on-pca-stopped.h5", "failed.h5",
)  # fmt: skip
SHARDS = ("shard-0.h5", "shard-1.h5")
RUNS = ("run", "run-stopped", "run-killed")
FOREIGN = ("function/surface.h5", "li.h5")
"""Surfaces without a network: of a function, and in the format of Li et al."""
NAMING_CODE = ("plugin.h5", "failed.h5")
"""Files that name a factory in ``problem.py``; all others are read and checked without ``--trust``."""
SURFACES = (*FINISHED, *UNFINISHED, *SHARDS, *FOREIGN)
ALL = (
    *SURFACES, *TRAJECTORIES, "function/trajectory.h5", "li_run_proj.h5", *RUNS, "plugin.pt",
    "run/checkpoints/step-00000000.pt",
)  # fmt: skip

KEPT = (
    "format", "format_version", "settings", "metrics", "title", "checkpoint_step", "checkpoint_epoch", "recipes",
    "origin_values", "precision", "cosine_xy", "cosine_xz", "cosine_yz",
)  # fmt: skip
"""Root attributes that depend neither on time nor on directory."""
VARY = ("seconds", "failures")
"""Datasets that vary between runs."""


# ---- running commands and reading their files


def landscape(*words: object) -> tuple[int, str, str]:
    """Run a command, and return its exit code, standard output and standard error."""
    from landscape.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(word) for word in words])
    return code, out.getvalue(), err.getvalue()


def copied(source: Path, folder: Path) -> Path:
    """Copy all files to ``folder``, and make it the working directory."""
    shutil.copytree(source, folder, dirs_exist_ok=True)
    os.chdir(folder)
    return folder


def moved(path: Path, folder: Path) -> None:
    """Make the paths stored in a surface refer to ``folder``."""
    with h5py.File(path, "r+") as file:
        for name, value in file.attrs.items():
            if isinstance(value, str) and MADE_IN in value:
                file.attrs[name] = value.replace(MADE_IN, str(folder))


def command_of(path: Path) -> list[str]:
    """Return the command line that created a file or a run."""
    if path.is_dir():
        command = json.loads((path / "run.json").read_text())["sessions"][0]["command"]
    else:
        with h5py.File(path, "r") as file:
            command = file.attrs["command"]
    return shlex.split(command)[1:]


def completed(name: str) -> dict[str, Any]:
    """Complete an unfinished file or run with its own command, and return its contents.

    A shard is completed to the whole surface, by its command without ``--shard``.
    """
    words = command_of(Path(name))
    if "--shard" in words:
        del words[words.index("--shard") : words.index("--shard") + 2]
    code, _, err = landscape(*words, *(["--retry-failed"] if name == "failed.h5" else []))
    assert code == 0, err
    return run_contents(Path(name)) if Path(name).is_dir() else contents(Path(name))


def merged() -> dict[str, Any]:
    """Merge the shards, and return the contents of the result."""
    code, _, err = landscape("merge", *SHARDS, "--out", "merged.h5")
    assert code == 0, err
    return contents(Path("merged.h5"))


def contents(path: Path) -> dict[str, Any]:
    """Return the values and attributes of an HDF5 file, except those that vary between runs."""
    found: dict[str, Any] = {}
    with h5py.File(path, "r") as file:
        found["@complete"] = bool(file.attrs.get("finished"))
        found |= {f"@{name}": _plain(file.attrs[name]) for name in KEPT if name in file.attrs}

        def visit(name: str, thing: h5py.Dataset | h5py.Group) -> None:
            if isinstance(thing, h5py.Dataset) and name not in VARY and thing.dtype.kind in "fiub":
                found[name] = _coded(thing[()])
            if not isinstance(thing, h5py.Dataset):
                found.update({f"{name}@{key}": _plain(value) for key, value in thing.attrs.items()})

        file.visititems(visit)
    return found


def run_contents(folder: Path) -> dict[str, Any]:
    """Return all checkpoints of a run, and its history."""
    found: dict[str, Any] = {}
    for path in sorted((folder / "checkpoints").iterdir()):
        stored = torch.load(path, weights_only=True)
        for name, tensor in stored.pop("state_dict").items():
            found[f"{path.name}/{name}"] = _coded(tensor.numpy())
        found[path.name] = stored
    found["history.csv"] = (folder / "history.csv").read_text()
    found["@complete"] = bool(json.loads((folder / "run.json").read_text())["finished"])
    return json.loads(json.dumps(found))


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, str):
        return value.replace(os.getcwd(), MADE_IN)
    return value


def _coded(array: np.ndarray) -> dict[str, Any]:
    """Return an array in a form for JSON: its bytes, or the digest of many bytes."""
    raw = np.ascontiguousarray(array).tobytes()
    data = (
        {"base64": base64.b64encode(raw).decode()} if len(raw) <= 2048 else {"sha256": hashlib.sha256(raw).hexdigest()}
    )
    return {"dtype": array.dtype.str, "shape": list(array.shape), **data}


def _decoded(stored: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(stored["base64"]), stored["dtype"]).reshape(stored["shape"])


# ---- expected results of version 0.1


def arithmetic() -> str:
    """Return a digest of what torch computes here with operations like those behind the files, without our code.

    Other processors and versions of torch may round differently; bit-equal values are then not expected.
    """
    torch.manual_seed(0)
    images, targets = torch.rand(25, 1, 8, 8), torch.arange(25) % 10
    digest = hashlib.sha256()
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4), torch.nn.ReLU(), torch.nn.Linear(4, 10))
        deep = torch.nn.Sequential(
            torch.nn.Conv2d(1, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.Flatten(), torch.nn.Linear(108, 10)
        )
        for net in (flat, deep):
            net.to(dtype)
            optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
            for _ in range(3):
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(net(images.to(dtype)), targets)
                loss.backward()
                optimizer.step()
            with torch.inference_mode():
                outputs = net(images.to(dtype)).float().log_softmax(1)
                stacked = torch.bmm(outputs.expand(7, -1, -1), outputs.T.expand(7, -1, -1)).exp()
            digest.update(outputs.numpy().tobytes() + stacked.numpy().tobytes())
    return digest.hexdigest()


def expectations(folder: Path) -> dict[str, Any]:
    """Return the expected results of all tests, from the installed version; ``folder`` is not changed."""
    found: dict[str, Any] = {"arithmetic": arithmetic(), "torch": torch.__version__}
    with tempfile.TemporaryDirectory() as place:
        here = copied(folder, Path(place).resolve() / "copy")
        found["info"] = {name: info(name) for name in ALL}
        found["csv"] = {name: csv(name) for name in SURFACES}
        for name in SURFACES:
            moved(here / name, here)
        found["check"] = {name: check(name) for name in (*SURFACES, *RUNS)}
        found["joined"] = merged()
        found["continued"] = {name: completed(name) for name in (*UNFINISHED, SHARDS[1], *RUNS)}
        os.chdir(folder)
    return found


def info(name: str) -> dict[str, Any]:
    """Return the output of ``landscape info --json`` for a file."""
    code, out, err = landscape("info", "--json", name)
    assert code == 0, err
    return json.loads(out)


def check(name: str) -> list[Any]:
    """Return the exit code and the output lines of ``landscape check``."""
    code, out, _ = landscape("check", name, *(["--trust"] if name in NAMING_CODE else []))
    return [code, *out.partition("\n\n")[0].splitlines()]  # the last line counts the verdicts


def csv(name: str) -> str:
    """Return the digest of the rows that ``landscape export`` writes."""
    out = Path("out.csv")
    code, _, err = landscape("export", name, "--out", out, "--overwrite")
    assert code == 0, err
    return hashlib.sha256(out.read_bytes()).hexdigest()


# ---- tests


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    return json.loads((HERE / "expected.json").read_text())


@pytest.fixture(scope="module")
def exact(expected) -> bool:
    """Return True if values must equal those of 0.1 bit for bit: not on a processor that rounds differently."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng():
            return arithmetic() == expected["arithmetic"]
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """The unpacked files, which tests must not change."""
    folder = tmp_path_factory.mktemp("golden")
    with tarfile.open(HERE / "files.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def read_only(files, monkeypatch) -> Path:
    """The files as working directory, for tests that don't change them."""
    monkeypatch.chdir(files)
    return files


@pytest.fixture
def here(files, tmp_path, monkeypatch) -> Path:
    """A copy of the files as working directory."""
    monkeypatch.chdir(tmp_path)
    return copied(files, (tmp_path / "copy").resolve())


def require_same(found: dict[str, Any], wanted: dict[str, Any], exact: bool) -> None:
    assert sorted(found) == sorted(wanted)
    if not exact and "interpolated" in wanted:  # adaptive: which points are measured depends on their last bits
        return
    differing = [name for name in wanted if not _same(found[name], wanted[name], exact)]
    assert not differing


def _with_present_engine(text: str) -> str:
    """Replace the engine names of 0.1 in the settings of a file."""
    for old, new in {"plain": "eager", "folded": "bn_folded", "dense": "mlp", "grouped": "batched_mlp"}.items():
        text = text.replace(rf"\"engine\": \"{old}\"", rf"\"engine\": \"{new}\"")
    return text


def _same(found: Any, wanted: Any, exact: bool) -> bool:
    if _with_present_engine(json.dumps(found)) == _with_present_engine(json.dumps(wanted)):  # as text: NaN is NaN
        return True
    if exact:
        return False
    if not isinstance(wanted, dict) or "dtype" not in wanted:  # texts and numbers that depend on the values
        return type(found) is type(wanted)
    if (found["dtype"], found["shape"]) != (wanted["dtype"], wanted["shape"]):
        return False
    if "base64" not in wanted:
        return True
    return np.allclose(_decoded(found), _decoded(wanted), rtol=1e-3, atol=1e-3, equal_nan=True)


@pytest.mark.parametrize("name", ALL)
def test_info(read_only, expected, name):
    # 0.1 shows a commit that is unknown as the text "null", and a distance that is unknown as "nan".
    unknown = "; the first is nan from the plane, nan% of its displacement"
    found, wanted = (json.dumps(facts).replace('"null"', "null") for facts in (info(name), expected["info"][name]))
    # A run of 0.1 didn't say how gradients were computed, since there was one way.
    found = re.sub('("measure_steps": [a-z]+), "engine": "eager"', r"\1", found)
    assert found == wanted.replace(unknown, "")
    assert landscape("info", name)[0] == landscape("info", "--all", name)[0] == 0


def _verdicts(report: list[Any]) -> list[list[str]]:
    """Verdict and name of each finding; texts have changed since 0.1."""
    return [line.split()[:2] for line in report[1:] if not line.startswith("  ")]


@pytest.mark.parametrize("name", [*SURFACES, *RUNS])
def test_check(here, expected, exact, name):
    if name in SURFACES:
        moved(here / name, here)
    found, wanted = check(name), expected["check"][name]
    if "seeds" not in name:  # 0.1 treated the seed as a coordinate
        assert found[0] == wanted[0]
        assert _verdicts(found) == _verdicts(wanted) or not exact
    if name not in (*FOREIGN, *RUNS) and "seeds" not in name:  # for several seeds, only the file is checked
        assert any("repeat" in line for line in found[1:]), "expected the network to be rebuilt"


# What they hold is drawn as that of other files, and their contents are compared by the tests above and below.
DRAWN_LIKE_OTHERS = {
    "paired.h5", "to.h5", "bfloat16.h5", "plugin.h5", "square.h5", "seeds-stopped.h5", "adaptive-killed.h5",
    "above-stopped.h5", "paired-stopped.h5", "bfloat16-stopped.h5", "to-stopped.h5", "on-pca-stopped.h5", "shard-1.h5",
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in DRAWN_LIKE_OTHERS else n for n in SURFACES]
)
def test_plot(read_only, tmp_path, name):
    code, _, err = landscape("plot", name, "--dpi", 40, "--out", tmp_path / "figure.png")
    assert code == 0, err
    assert (tmp_path / "figure.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("surface", "path"),
    [
        ("plane.h5", "path.h5"),
        ("on-pca.h5", "on-pca-path.h5"),
        ("function/surface.h5", "function/trajectory.h5"),
        ("li.h5", "li_run_proj.h5"),
    ],
)
def test_plot_and_export_with_path(read_only, tmp_path, surface, path):
    for words in (("plot", "--out", tmp_path / "figure.svg"), ("export", "--out", tmp_path / "figure.vtp")):
        code, _, err = landscape(words[0], surface, "--trajectory", path, *words[1:])
        assert code == 0, err
        assert words[-1].stat().st_size > 1000


@pytest.mark.parametrize("name", SURFACES)
def test_export_csv(here, expected, name):
    assert csv(name) == expected["csv"][name]


@pytest.mark.parametrize(
    "name", ["plane.h5", "volume.h5", "adaptive.h5", "above.h5", "stopped.h5", "function/surface.h5"]
)
@pytest.mark.parametrize("suffix", ["vts", "vtp", "vti"])
def test_export_for_paraview(read_only, tmp_path, name, suffix):
    out = tmp_path / f"out.{suffix}"
    code, _, err = landscape("export", name, "--out", out)
    assert code == 0, err
    assert out.stat().st_size > 500


@pytest.mark.parametrize("name", [*FINISHED, *TRAJECTORIES])
def test_same_command_gives_same_file(here, exact, name):
    before = contents(here / name)
    (here / name).rename(here / "kept.h5")
    words = command_of(here / "kept.h5")
    if name == "on-pca.h5":  # ranges by rule are wider now, where the lowest loss was outside
        with h5py.File(here / "kept.h5", "r") as file:
            axes = {f"--{k}": file[f"{k}coordinates"][()] for k in "xy"}
        for option, axis in axes.items():
            words[words.index(option) + 1] = f"{axis[0].item()!r}:{axis[-1].item()!r}:{len(axis)}"
    code, _, err = landscape(*words)
    assert code == 0, err
    if name == "on-pca.h5":  # the paths were attached later
        before = {key: value for key, value in before.items() if "trajector" not in key and "VTKHDF" not in key}
    if name in TRAJECTORIES:  # paths are named by their optimizers now
        before = {key: value for key, value in before.items() if not re.fullmatch(r"trajectories/\d+@name", key)}
    found = contents(here / name)
    require_same({key: found[key] for key in before}, before, exact)


@pytest.mark.parametrize("name", FINISHED)
def test_finished_surface_is_unchanged(here, name):
    before = contents(here / name)
    code, _, err = landscape(*command_of(here / name))
    assert code == 0, err
    require_same(contents(here / name), before, exact=True)


@pytest.mark.parametrize("name", [*UNFINISHED, SHARDS[1]])
def test_resume_unfinished_surface(here, expected, exact, name):
    with h5py.File(here / name, "r") as file:
        done = file["status"][()] == 1
        before = {metric: file[metric][()][done] for metric in json.loads(file.attrs["metrics"])}
    assert 0 < done.sum() < done.size
    require_same(completed(name), expected["continued"][name], exact)
    with h5py.File(here / name, "r") as file:
        for metric, values in before.items():
            assert file[metric][()][done].tobytes() == values.tobytes(), f"{metric}: values that were stored are kept"


def test_merge_shards(here, expected):
    require_same(merged(), expected["joined"], exact=True)


def test_other_settings_are_refused(here):
    code, _, err = landscape(*command_of(here / "stopped.h5"), "--seed", 1)
    assert code == 1
    assert "other settings" in err


@pytest.mark.parametrize("name", RUNS)
def test_resume_unfinished_run(here, expected, exact, name):
    require_same(completed(name), expected["continued"][name], exact)


if __name__ == "__main__":
    json.dump(expectations(Path(sys.argv[1]).resolve()), sys.stdout, indent=0)
