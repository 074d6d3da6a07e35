"""Structure of the package: imports follow the pipeline, all packages are installed, and imports stay fast."""

from __future__ import annotations

import ast
import configparser
import importlib
import inspect
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EVERYTHING = {
    "models", "problem", "training", "integrations", "functions", "geometry", "parallel", "evaluation", "surface",
    "sweep", "analysis", "render",
}  # fmt: skip
MAY_IMPORT = {
    "_utils": set(),
    "models": set(),
    "problem": {"models"},
    "training": {"problem"},
    "integrations": {"problem", "training"},
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


def imports(path: Path) -> list[str]:
    """Return the packages of landscape that a file imports, also inside functions."""
    packages = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            # Only imports from the same directory may be relative.
            assert node.level == 1, f"{path}: imports from outside its directory"
        names = []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        packages += [name.split(".")[1] for name in names if name.split(".")[0] == "landscape" and "." in name]
    return packages


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_imports_follow_the_pipeline(package):
    folder = ROOT / "models" if package == "models" else ROOT / "landscape" / package
    files = sorted(folder.rglob("*.py"))
    assert files
    allowed = MAY_IMPORT[package] | {package} | (OPEN_TO_ALL if package != "models" else set()) | {"__version__"}
    wrong = {f"{path.relative_to(ROOT)}: {name}" for path in files for name in imports(path) if name not in allowed}
    assert not wrong


def test_every_package_has_an_import_rule():
    packages = {path.name for path in (ROOT / "landscape").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert packages == set(MAY_IMPORT)


def package_of(init: Path) -> str:
    """Return the dotted name of the package with this ``__init__.py``."""
    return ".".join(init.parent.relative_to(ROOT).parts)


def test_setup_lists_all_packages():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    # Not every version of rglob follows links, so the linked package is added.
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


def test_import_is_fast():
    loaded = run_python("import sys, landscape, landscape.cli.main; print(*sys.modules)").split()
    heavy = {"torch", "vtk", "vtkmodules", "matplotlib", "mpi4py", "h5py", "numpy", "models"}
    assert not heavy & set(loaded)


def test_drawing_does_not_import_torch():
    loaded = run_python(
        "import sys; from landscape.surface import read_surface, read_trajectories; "
        "import landscape.render; print(*sys.modules)"
    ).split()
    assert "torch" not in loaded


def test_public_names_resolve():
    import landscape

    for name in landscape.__all__:
        assert getattr(landscape, name) is not None


SHARED_ARGUMENTS = (
    "evaluation", "problem", "split", "samples", "out", "overwrite", "trust", "ranks", "progress", "stop", "on_message",
)  # fmt: skip


def test_shared_arguments_come_in_one_order():
    import landscape

    wrong, checked = {}, 0
    for name in landscape.__all__:
        function = getattr(landscape, name)
        if not inspect.isfunction(function):
            continue
        arguments = inspect.signature(function).parameters.values()
        keywords = [one.name for one in arguments if one.kind is one.KEYWORD_ONLY and one.name in SHARED_ARGUMENTS]
        checked += len(keywords) > 2
        if keywords != sorted(keywords, key=SHARED_ARGUMENTS.index):
            wrong[name] = keywords
    assert not wrong
    assert checked > 10


def test_only_the_command_line_prints_or_exits():
    offending = []
    for path in (ROOT / "landscape").rglob("*.py"):
        if "cli" in path.parts or "models" in path.parts:
            continue
        source = path.read_text()
        if not any(f"{name}(" in source for name in ("print", "exit", "show")):  # parsing all files takes seconds
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"print", "sys.exit", "exit", "plt.show"}:
                offending.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not offending


def test_version_is_defined_once():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    import landscape

    assert config["metadata"]["version"] in ("attr: landscape.__version__", landscape.__version__)


@pytest.mark.parametrize("init", sorted((ROOT / "landscape").rglob("__init__.py")), ids=package_of)
def test_lazy_names_do_not_clash_with_modules(init):
    """An imported module becomes an attribute of its package, and would hide a lazy name."""
    modules = {path.stem for path in init.parent.glob("*.py")}
    package = importlib.import_module(package_of(init))
    if "__getattr__" in vars(package):
        assert package.__all__
        assert not set(package.__all__) & modules


def test_hdf5_files_are_opened_in_one_place():
    """``open_hdf5`` refuses files made to do harm; a second way in would be a hole."""
    offending = []
    for path in (ROOT / "landscape").rglob("*.py"):
        if path.relative_to(ROOT).as_posix() == "landscape/surface/hdf5.py":
            continue
        source = path.read_text()
        if "h5" not in source:
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in {"h5py.File", "h5py.is_hdf5", "h5f.open"}:
                offending.append((path.relative_to(ROOT).as_posix(), node.lineno))
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "h5py":
                offending.append((path.relative_to(ROOT).as_posix(), node.lineno))
    assert not [f"{name}:{line}" for name, line in offending if not in_annotation(ROOT / name, line)]


def in_annotation(path: Path, line: int) -> bool:
    """Return True if ``h5py.File`` on a line of a file is an annotation, not an expression."""
    for node in ast.walk(ast.parse(path.read_text())):
        annotation = getattr(node, "annotation", None) or getattr(node, "returns", None)
        if annotation is not None and annotation.lineno <= line <= (annotation.end_lineno or line):
            return True
    return False


def test_commands_print_through_the_terminal():
    """``terminal.echo`` escapes what names from files could do to a terminal."""
    offending = []
    for path in (ROOT / "landscape" / "cli").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"click.echo", "click.secho", "print"}:
                offending.append(f"{path.name}:{node.lineno}")
    assert not [place for place in offending if not place.startswith("terminal.py")]


def test_top_level_is_fixed():
    if not (ROOT / ".git").exists():
        pytest.skip("no git tree")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split(
        "\n"
    )
    assert {name.partition("/")[0] for name in listed if name} == {
        ".ci", ".editorconfig", ".github", ".gitignore", ".pre-commit-config.yaml", "CHANGELOG.md", "CITATION.cff",
        "CONTRIBUTING.md", "LICENSE", "README.md", "constraints-lowest.txt", "constraints.txt", "docs", "landscape",
        "models", "pyproject.toml", "scripts", "setup.cfg", "tests",
    }  # fmt: skip
