"""The house itself: the way of the data is one way, what is packaged is what is there, quick things stay quick."""

from __future__ import annotations

import ast
import configparser
import importlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EVERYTHING = {
    "models", "problem", "training", "functions", "geometry", "parallel", "evaluation", "surface", "sweep", "analysis",
    "render",
}  # fmt: skip
MAY_IMPORT = {
    "_utils": set(),
    "models": set(),
    "problem": {"models"},
    "training": {"problem"},
    "functions": {"problem", "training"},
    "geometry": set(),
    "parallel": {"geometry"},
    "evaluation": {"problem", "geometry"},
    "surface": {"geometry"},
    "sweep": {"problem", "geometry", "evaluation", "parallel", "surface"},
    "analysis": {"problem", "geometry", "evaluation", "surface"},
    "render": {"surface", "geometry", "analysis"},
    "workflows": EVERYTHING,
    "cli": EVERYTHING | {"workflows"},
}
OPEN_TO_ALL = {"errors", "_utils"}


def folder_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0 if path.is_relative_to(ROOT / "models") else 1]


def imports(path: Path) -> list[str]:
    """Rooms of ours that a file imports, at whatever depth of its code."""
    rooms = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            # Relative imports stay inside the directory as long as they climb no further than to it.
            assert node.level == 1, f"{path}: climbs out of its directory"
        names = []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        rooms += [name.split(".")[1] for name in names if name.split(".")[0] == "landscape" and "." in name]
    return rooms


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_a_folder_imports_only_from_those_before_it(room):
    folder = ROOT / "models" if room == "models" else ROOT / "landscape" / room
    files = sorted(folder.rglob("*.py"))
    assert files
    allowed = MAY_IMPORT[room] | {room} | (OPEN_TO_ALL if room != "models" else set()) | {"__version__"}
    wrong = {f"{path.relative_to(ROOT)}: {name}" for path in files for name in imports(path) if name not in allowed}
    assert not wrong


def test_every_room_has_a_rule():
    rooms = {path.name for path in (ROOT / "landscape").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms == set(MAY_IMPORT)


def package_of(init: Path) -> str:
    """The dotted name of the package whose ``__init__.py`` this is."""
    return ".".join(init.parent.relative_to(ROOT).parts)


def test_the_package_list_is_what_is_on_the_disk():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    # A link is not followed by every Python's rglob: the zoo is named.
    found = {package_of(path) for path in (ROOT / "landscape").rglob("__init__.py")} | {"landscape.models"}
    assert listed == found


def test_the_wheel_has_one_top_level(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, ROOT],
        check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"landscape"}
    assert "landscape/models/resnet.py" in names


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_importing_the_package_is_light():
    loaded = run_python("import sys, landscape, landscape.cli.main; print(*sys.modules)").split()
    heavy = {"torch", "vtk", "vtkmodules", "matplotlib", "mpi4py", "h5py", "numpy", "models"}
    assert not heavy & set(loaded)


def test_drawing_does_not_need_torch():
    loaded = run_python(
        "import sys; from landscape.surface import read_surface, read_trajectories; "
        "import landscape.render; print(*sys.modules)"
    ).split()
    assert "torch" not in loaded


def test_public_names_resolve():
    import landscape

    for name in landscape.__all__:
        assert getattr(landscape, name) is not None


def test_only_the_command_line_prints_or_exits():
    offending = []
    for path in (ROOT / "landscape").rglob("*.py"):
        if "cli" in path.parts or "models" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"print", "sys.exit", "exit", "plt.show"}:
                offending.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not offending


def test_the_version_stands_once():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    import landscape

    assert config["metadata"]["version"] in ("attr: landscape.__version__", landscape.__version__)


@pytest.mark.parametrize("init", sorted((ROOT / "landscape").rglob("__init__.py")), ids=package_of)
def test_a_lazy_name_is_no_module_beside_it(init):
    """An imported module becomes an attribute of its package, and would stand in the way of the name."""
    modules = {path.stem for path in init.parent.glob("*.py")}
    package = importlib.import_module(package_of(init))
    if "__getattr__" in vars(package):
        assert package.__all__
        assert not set(package.__all__) & modules
