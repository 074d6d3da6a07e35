"""Tests of the docs on geometry: cited tests exist, the example runs, options are those of the commands."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import click
import pytest
from torch import nn

ROOT = Path(__file__).resolve().parents[2]


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def test_cited_tests_exist():
    file, cited = "", []
    for reference in re.findall(r"`((?:[\w/]*test_\w+\.py)?::test_\w+|[\w/]*test_\w+\.py)`", page("geometry.md")):
        path, _, name = reference.partition("::")
        file = path or file
        where = ROOT / (file if "/" in file else f"tests/geometry/{file}")
        assert where.exists(), reference
        assert not name or f"def {name}(" in where.read_text(encoding="utf-8"), reference
        cited.append(reference)
    assert len(cited) > 40


def test_tests_cited_in_from_li_et_al_exist():
    found = re.findall(r"`(tests/[\w/]+\.py)`", page("from-li-et-al.md"))
    assert len(found) >= 2
    assert all((ROOT / path).exists() for path in found)


def test_example_runs():
    (code,) = re.findall(r"```python\n(.*?)```", page("geometry.md"), re.DOTALL)
    names = {"model": nn.Linear(5, 4)}
    exec(code, names)
    assert names["plane"].project(names["weights"]).coordinates == pytest.approx([0.5, -0.25], abs=1e-6)


def options_of(command: click.Command) -> set[str]:
    return {text for parameter in command.params for text in (*parameter.opts, *parameter.secondary_opts)}


def test_named_options_exist():
    modules = [path.stem for path in (ROOT / "landscape/cli").glob("*.py")]
    commands = [
        getattr(import_module(f"landscape.cli.{name}"), "command", None) for name in modules if name != "__init__"
    ]
    known = set().union(*(options_of(command) for command in commands if isinstance(command, click.Command)))
    known |= {"-n"}
    text = page("from-li-et-al.md")
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ") and " | " in line]
    ours = [row[-1] for row in rows] + [line for line in text.splitlines() if line.startswith(("landscape", "mpiexec"))]
    named = {option for cell in ours for option in re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", cell)}
    assert len(named) > 20
    assert named <= known, f"not options of ours: {sorted(named - known)}"


def test_table_of_normalizations_is_complete():
    from landscape.geometry import RULES

    text = page("geometry.md")
    assert all(f"| `{name}`" in text for name in RULES)
