"""The names in ``landscape`` itself: importable, documented, and the same for type checkers."""

from __future__ import annotations

import ast
import configparser
from pathlib import Path

import pytest

import landscape
import landscape._utils.lazy

ROOT = Path(landscape.__file__).parent
SCRIPT = Path(__file__).with_name("user_script.py")


def lazy_table() -> dict[str, str]:
    """The names that ``landscape/__init__.py`` hands to ``lazy``, with their modules, and public modules."""
    call = next(
        node
        for node in ast.walk(ast.parse((ROOT / "__init__.py").read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "lazy"
    )
    (modules,) = [ast.literal_eval(keyword.value) for keyword in call.keywords]
    return ast.literal_eval(call.args[1]) | dict.fromkeys(modules, "landscape")


def test_type_checkers_see_the_lazy_names():
    (block,) = [node for node in ast.parse((ROOT / "__init__.py").read_text()).body if isinstance(node, ast.If)]
    seen = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            assert alias.asname == alias.name  # or strict type checkers take it for private
            seen[alias.name] = node.module.removeprefix("landscape.")
    assert seen == lazy_table()


@pytest.mark.parametrize("name", landscape.__all__)
def test_public_name(name):
    found = getattr(landscape, name)
    assert found.__module__ == f"landscape.{lazy_table()[name]}", "a name lives where the table says"
    assert found.__doc__


def test_dir_has_the_public_names_and_the_version():
    assert {*landscape.__all__, "__version__", "__doc__"} <= set(dir(landscape))


def test_unknown_name():
    with pytest.raises(AttributeError, match="has no attribute 'surfaces'"):
        landscape.surfaces  # noqa: B018


def test_the_script_that_mypy_checks_uses_every_name():
    used = {node.attr for node in ast.walk(ast.parse(SCRIPT.read_text())) if isinstance(node, ast.Attribute)}
    assert set(landscape.__all__) <= used
    config = configparser.ConfigParser()
    config.read(ROOT.parent / "setup.cfg")
    assert SCRIPT.relative_to(ROOT.parent).as_posix() in config["mypy"]["files"].split(", ")
    assert config["mypy-user_script"].getboolean("disallow_any_expr")
