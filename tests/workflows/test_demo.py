from __future__ import annotations

import importlib
import shlex

import pytest

from landscape.errors import MissingLibraryError
from landscape.surface.reading import read_surface
from landscape.workflows import demo as module
from landscape.workflows.demo import DemoOptions, demo

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A demonstration with one small network, in this process and without VTK, and the lines that it printed."""

    def no_library(*arguments):
        raise MissingLibraryError("no OpenGL")

    lines = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "NETWORKS", {"mlp": "with hidden layers"})
        patch.setattr(module, "core_budget", lambda: 1)
        patch.setattr(module, "render_scene", no_library)
        options = DemoOptions(epochs=2, points=5, samples=20)
        result = demo(tmp_path_factory.mktemp("demo"), options, ranks=1, on_message=lines.append)
    return result, lines


def test_results(made):
    result, lines = made
    assert [run.name for run in result.runs] == ["sgd", "adam"]
    random, joint = (read_surface(path) for path in result.surfaces)
    assert random.name == joint.name == "ResNet-20 with hidden layers"
    assert [recipe.kind for recipe in joint.metadata.recipes] == ["pca", "pca"]
    assert {figure.path.name for figure in result.figures} == {"compare.pdf", "compare.png", "paths.pdf", "paths.png"}
    assert "No three-dimensional figures: no OpenGL" in lines


def test_commands_can_be_typed(made):
    commands = [shlex.split(line)[2:] for line in made[1] if line.startswith("$ ")]
    assert [words[0] for words in commands] == [
        "train", "train", "surface", "trajectory", "surface", "trajectory", "plot", "plot", "render",
    ]  # fmt: skip
    for name, *words in commands:
        importlib.import_module(f"landscape.cli.{name}").command.make_context(name, words)
