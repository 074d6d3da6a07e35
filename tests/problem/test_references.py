"""References to user code: search, caching by contents, and errors."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from torch import optim

from landscape.errors import UserCodeError
from landscape.problem.references import absolute_reference, accepts, call, current_reference, resolve

Write = Callable[[str, str], Path]


def test_resolve_module_and_method() -> None:
    assert resolve("torch.optim:SGD") is optim.SGD
    assert resolve("collections:OrderedDict.fromkeys")("ab") == {"a": None, "b": None}


def test_resolve_file_that_imports_its_neighbour(write_module: Write) -> None:
    write_module("neighbour_of_ours.py", "VALUE = 41")
    path = write_module(
        "mine.py",
        "from dataclasses import dataclass\nimport neighbour_of_ours\n\n@dataclass\nclass Pair:\n    a: int = 1\n\n"
        "def f():\n    from neighbour_of_ours import VALUE\n    return VALUE + Pair().a\n",
    )
    try:
        assert resolve(f"{path}:f")() == 42
    finally:
        sys.modules.pop("neighbour_of_ours", None)


def test_resolve_relative_path(write_module: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_module("mine.py", "def f():\n    return __file__\n")
    monkeypatch.chdir(path.parent)
    assert resolve("mine.py:f")() == str(path)
    assert resolve("./mine.py:f") is resolve("mine.py:f")
    assert absolute_reference("mine.py:f") == f"{path}:f"
    assert absolute_reference("pkg.mod:f") == "pkg.mod:f"
    assert absolute_reference("digits") == "digits"


def test_resolve_edited_file(write_module: Write) -> None:
    path = write_module("mine.py", "def f():\n    return 1\n")
    first = resolve(f"{path}:f")
    assert resolve(f"{path}:f") is first
    path.write_text("def f():\n    return 2\n")
    assert (resolve(f"{path}:f")(), first()) == (2, 1)


def test_file_annotations_are_evaluated(write_module: Write) -> None:
    # Our own `from __future__ import annotations` must not reach the user's code.
    path = write_module("mine.py", "def f(x: int): ...\n")
    assert resolve(f"{path}:f").__annotations__ == {"x": int}


def test_resolve_module_in_working_directory(write_module: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_module("module_of_ours.py", "def f():\n    return 3\n")
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.chdir(path.parent)
    try:
        assert resolve("module_of_ours:f")() == 3
    finally:
        sys.modules.pop("module_of_ours", None)


@pytest.mark.parametrize("reference", ["mine", "mine:", ":f", ""])
def test_malformed_reference(reference: str) -> None:
    with pytest.raises(ValueError, match=r"expected a reference like 'pkg\.mod:name' or 'path/file\.py:name', got"):
        resolve(reference)


def test_missing_file_module_or_name(write_module: Write) -> None:
    path = write_module("mine.py", "import math\nVALUE = 1\n\ndef make_problem(): ...\n")
    with pytest.raises(ValueError, match=r"none\.py: no such file"):
        resolve(f"{path.with_name('none.py')}:f")
    with pytest.raises(ValueError, match=r"no module 'nowhere\.at\.all'"):
        resolve("nowhere.at.all:f")
    with pytest.raises(ValueError, match=r"no module 'torch\.nowhere'"):
        resolve("torch.nowhere:f")
    with pytest.raises(ValueError, match=r"'make_problm'; did you mean 'make_problem'\? Known: make_problem$"):
        resolve(f"{path}:make_problm")
    with pytest.raises(ValueError, match=r"unknown name in torch\.optim: 'SDG'; did you mean 'SGD'"):
        resolve("torch.optim:SDG")
    with pytest.raises(ValueError, match=r"unknown name in .*mine\.py: 'x'\. Known: none"):
        resolve(f"{path}:VALUE.x")
    with pytest.raises(TypeError, match="VALUE: expected a callable, got int"):
        resolve(f"{path}:VALUE")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("def f(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_failing_import(write_module: Write, monkeypatch: pytest.MonkeyPatch, source: str, message: str) -> None:
    path = write_module("failing_of_ours.py", source)
    with pytest.raises(ValueError, match=f"importing .*failing_of_ours.py failed: {message}") as caught:
        resolve(f"{path}:f")
    assert caught.value.__cause__ is not None
    assert not [name for name in sys.modules if name.startswith("failing_of_ours_")]
    monkeypatch.syspath_prepend(str(path.parent))
    with pytest.raises(ValueError, match=f"importing failing_of_ours failed: {message}"):
        resolve("failing_of_ours:f")


def plain(a: int, *, b: int = 2) -> tuple[int, int]:
    return a, b


def test_call_injects_named_arguments() -> None:
    assert call(plain, {"a": 1}, name="plain", injected={"b": 5, "c": 6}) == (1, 5)
    assert call(plain, {"a": 1, "b": 3}, name="plain", injected={"b": 5}) == (1, 3)
    assert call(lambda **rest: rest, {"a": 1}, name="any", injected={"b": 5}) == {"a": 1}
    assert accepts(plain, "b")
    assert not accepts(lambda **rest: rest, "b")
    assert call(dict, {"a": 1}, name="dict", injected={"b": 1}) == {"a": 1}


def test_call_errors() -> None:
    with pytest.raises(ValueError, match="unknown argument of plain: 'bb'; did you mean 'b'"):
        call(plain, {"a": 1, "bb": 2}, name="plain")
    with pytest.raises(ValueError, match="plain: missing a required argument: 'a'"):
        call(plain, {}, name="plain")


def test_call_passes_exceptions_on() -> None:
    def fails() -> None:
        raise TypeError("of its own")

    with pytest.raises(TypeError, match=r"^of its own$"):
        call(fails, {}, name="fails")


def test_moved_reference() -> None:
    """Files of version 0.1 name functions by a reference that has another home today."""
    from landscape.functions.problem import problem

    old = "landscape.problem.analytic:problem"
    assert current_reference(old) == "landscape.functions.problem:problem"
    assert current_reference("mine.py:f") == "mine.py:f"
    assert resolve(old) is problem
    assert absolute_reference(old) == old  # what a file stores stays as it is


EXITS = {
    "parse_args": "import argparse; argparse.ArgumentParser().parse_args(['--lr'])",
    "exit": "exit()",
    "sys.exit": "import sys; sys.exit('done')",
    "helper": "from helper_of_ours import leave; leave()",
}


@pytest.fixture
def helper(write_module: Write) -> Iterator[None]:
    write_module("helper_of_ours.py", "def leave():\n    raise SystemExit(0)\n")
    yield
    sys.modules.pop("helper_of_ours", None)


@pytest.mark.usefixtures("helper")
@pytest.mark.parametrize("kind", EXITS)
def test_file_that_exits_on_import(kind: str, write_module: Write) -> None:
    path = write_module("mine.py", f"x = 1\n{EXITS[kind]}\ndef f(): ...\n")
    where = r"helper_of_ours\.py:2" if kind == "helper" else r"mine\.py:2"
    for _ in range(2):  # a second try runs the file again
        with pytest.raises(UserCodeError, match=rf"{where} ends the program"):
            resolve(f"{path}:f")


@pytest.mark.usefixtures("helper")
@pytest.mark.parametrize("kind", EXITS)
def test_function_that_exits(kind: str, write_module: Write) -> None:
    path = write_module("mine.py", f"def f():\n    {EXITS[kind]}\n")
    where = r"helper_of_ours\.py:2" if kind == "helper" else r"mine\.py:2"
    with pytest.raises(UserCodeError, match=rf"{where} ends the program"):
        call(resolve(f"{path}:f"), {}, name="f")


def test_module_that_exits(write_module: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_module("exiting_module_of_ours.py", "raise SystemExit\n")
    monkeypatch.chdir(path.parent)
    with pytest.raises(UserCodeError, match=r"exiting_module_of_ours.py:1 ends the program .*exit code 0"):
        resolve("exiting_module_of_ours:f")
