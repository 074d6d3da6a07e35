"""The error for an unknown name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from landscape._utils.names import unknown


def test_nearest_and_all_names() -> None:
    error = unknown("model", "resnet21", ["vgg9", "resnet20"])
    assert isinstance(error, ValueError)
    assert str(error) == "unknown model 'resnet21'; did you mean 'resnet20'? Known: resnet20, vgg9"


def test_nearest_ignores_case() -> None:
    assert "did you mean 'SAdam'?" in str(unknown("optimizer", "sadam", ["SAdam", "sgd"]))


def test_without_suggestion() -> None:
    assert str(unknown("model", "xyz", ["vgg9"])) == "unknown model 'xyz'. Known: vgg9"
    assert str(unknown("argument of f:", "x", [])) == "unknown argument of f: 'x'. Known: none"


def test_long_list_is_shortened() -> None:
    message = str(unknown("name", "q", [f"n{k:03}" for k in range(100)]))
    assert message.endswith("n059, and 40 more")


@pytest.mark.process
def test_imports_are_light() -> None:
    code = (
        "import sys, landscape, landscape._utils.names, landscape.errors; print({'torch', 'numpy'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
