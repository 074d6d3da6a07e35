"""Commands on machines without OpenGL, with the libraries hidden in a namespace."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from landscape.surface.metadata import Header
from landscape.surface.store import FileStore

pytestmark = pytest.mark.process
LIBRARIES = {
    # Missing on a bare machine: all libraries, all but X, the drivers only.
    "EGL, GL, OSMesa and X": ("libEGL.so.1", "libGL.so.1", "libOSMesa.so.8", "libOSMesa.so.6", "libX11.so.6"),
    "EGL, GL and OSMesa": ("libEGL.so.1", "libGL.so.1", "libOSMesa.so.8", "libOSMesa.so.6"),
    "drivers and OSMesa": ("libOSMesa.so.8", "libOSMesa.so.6"),
}


@pytest.fixture
def file(slope, tmp_path):
    surface = slope()
    with FileStore.open(tmp_path / "surface.h5", Header(surface.coordinates, ("train_loss",))) as store:
        for index, loss in enumerate(surface.values["train_loss"].ravel()):
            store.record(index, [loss], 0.0)
    return tmp_path / "surface.h5"


def landscape(*arguments, wrapper=(), **environment):
    kept = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    return subprocess.run(
        [*wrapper, sys.executable, "-W", "error", "-m", "landscape", *map(str, arguments)],
        capture_output=True, text=True, timeout=120, check=False, env={**kept, **environment},
    )  # fmt: skip


@pytest.fixture(
    params=[pytest.param(name, marks=pytest.mark.slow if name == "EGL, GL and OSMesa" else ()) for name in LIBRARIES]
)
def hidden(request):
    """Return a function that runs a command without these libraries, in a mount namespace of its own."""
    unshare = shutil.which("unshare")
    if not (unshare and sys.platform.startswith("linux")):
        pytest.skip("hiding libraries needs Linux namespaces")
    known = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    lines = [line for line in known.splitlines() if "=>" in line]
    found = [line.split("=>")[1].strip() for line in lines if line.split("(")[0].strip() in LIBRARIES[request.param]]
    commands = [f"mount --bind /dev/null {os.path.realpath(path)}" for path in found]
    if "drivers" in request.param:
        beside = {os.path.dirname(line.split("=>")[1].strip()) for line in lines if "libEGL" in line}
        folders = [os.path.join(folder, "dri") for folder in beside]
        commands += [f"mount -t tmpfs none {folder}" for folder in folders if os.path.isdir(folder)]
    if not commands:
        pytest.skip("nothing to hide")
    wrapper = [unshare, "-rm", "sh", "-c", f'{" && ".join(commands)} || exit 77; exec "$@"', "sh"]
    if subprocess.run([*wrapper, "true"], capture_output=True).returncode:
        pytest.skip("mounts are not allowed here")
    return lambda *arguments: landscape(*arguments, wrapper=wrapper)


def test_render_without_opengl(hidden, file, tmp_path):
    done = hidden("render", file, "--out", tmp_path / "scene.png")
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    for words in (
        "no OpenGL library to draw with",
        "apt install libegl1 libgl1-mesa-dri",
        "dnf install",
        "conda install",
    ):
        assert words in line
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize("hidden", [next(iter(LIBRARIES))], indirect=True)
def test_plot_and_export_without_opengl(hidden, file, tmp_path):
    done = hidden("plot", file, "--out", tmp_path / "figure.pdf")
    assert (done.returncode, done.stderr) == (0, f"{tmp_path / 'figure.pdf'}: drawn from {file}\n")
    for name in ("a.vts", "a.glb"):
        done = hidden("export", file, "--out", tmp_path / name)
        assert (done.returncode, done.stderr) == (0, f"{tmp_path / name}: written\n")


@pytest.mark.parametrize(
    "environment",
    [{}, {"DISPLAY": "nowhere.invalid:0"}, pytest.param({"DISPLAY": ":77"}, marks=pytest.mark.slow)],
    ids=str,
)
def test_render_output_with_opengl(needs_gl, environment, file, tmp_path):
    done = landscape("render", file, "--size", "200x150", "--out", tmp_path / "scene.png", **environment)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"{tmp_path / 'scene.png'}: drawn from {file}\n"
