"""Commands find out that their output cannot be written before they compute or draw."""

from __future__ import annotations

import subprocess
import sys

import pytest

from landscape._utils.files import require_writable
from landscape.errors import LandscapeError, StoreError

OUTPUTS = {
    "surface RUN --x -1:1:3 --y -1:1:3 --out {}/s.h5": "surface.h5",
    "train --model mlp --model-arg widths=[4] --epochs 1 --out {}/run": "run",
    "trajectory RUN --plane SURFACE --out {}/t.h5": "t.h5",
    "merge SURFACE --out {}/m.h5": "m.h5",
    "plot SURFACE --out {}/p.pdf": "p.pdf",
    "render SURFACE --out {}/p.png": "p.png",
    "animate SURFACE --out {}/p.gif": "p.gif",
    "export SURFACE --out {}/p.vts": "p.vts",
    "functions bowl --out {}/p.pdf": "p.pdf",
    "compare --model mlp --epochs 1 --out {}/compare": "compare",
    "demo --epochs 2 --out {}/demo": "demo",
}


@pytest.fixture
def computing_is_an_error(monkeypatch):
    """Whatever takes long fails."""

    def refuse(*args, **kwargs):
        raise AssertionError("computed or drawn although the output cannot be written")

    for place in (
        "landscape.workflows.surface_task.open_source",
        "landscape.training.training.train",
        "landscape.workflows.train.run_in_processes",
        "landscape.workflows.trajectory.read_surface",
        "landscape.surface.merge._read",
        "landscape.workflows.figures.open_surfaces",
        "landscape.workflows.figures.load_scene",
        "landscape.workflows.export.load_scene",
        "landscape.surface.reading.read_surface",
    ):
        monkeypatch.setattr(place, refuse)


@pytest.mark.integration
@pytest.mark.parametrize("words", OUTPUTS, ids=lambda words: words.split()[0])
def test_output_that_cannot_be_written(words, run, surface, program, tmp_path, computing_is_an_error):
    (tmp_path / "file").write_text("")  # as root, any directory can be written, but a file is none
    words = [{"RUN": run, "SURFACE": surface}.get(word, word.format(tmp_path / "file")) for word in words.split()]
    code, said, _ = program(*words)
    assert code == 1, said
    assert "cannot write" in said.splitlines()[-1]
    assert str(tmp_path / "file") in said.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_can_be_written(tmp_path):
    require_writable(tmp_path / "new" / "folder" / "s.h5", StoreError)
    require_writable(tmp_path / "s.h5", StoreError)
    (tmp_path / "s.h5").write_text("kept")
    require_writable(tmp_path / "s.h5", StoreError)
    assert [path.name for path in tmp_path.iterdir()] == ["s.h5"]
    assert (tmp_path / "s.h5").read_text() == "kept"


@pytest.mark.parametrize("name", ["a" * 300, "nul\0"])
def test_names_that_no_file_can_have(tmp_path, name):
    with pytest.raises(LandscapeError, match="cannot write"):
        require_writable(tmp_path / name, StoreError)


@pytest.mark.process
def test_full_disk(tmp_path):
    """A file can be created on a full disk; only its contents find no space."""
    code = (
        "import resource, sys; from pathlib import Path; from landscape._utils.files import require_writable\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))\n"
        "require_writable(Path(sys.argv[1]), SystemExit)"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "s.h5")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.stderr.strip() == f"cannot write {tmp_path / 's.h5'}: File too large"
    assert not list(tmp_path.iterdir())
