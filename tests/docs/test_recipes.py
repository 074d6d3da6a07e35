"""The recipes run as their pages say, with smaller grids and shorter trainings, and keep their form."""

from __future__ import annotations

import importlib.util
import re
import runpy
import shlex
import sys
import warnings
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
import torch

from landscape.cli.main import main

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 25
"""Without blank lines, which the formatter sets."""
SMALLER = (
    (r"(-?[\d.]+:-?[\d.]+):\d+", r"\1:4"),  # points of an axis
    (r"(auto):\d+", r"\1:4"),
    (r"(--epochs )\d+", r"\g<1>4"),
    (r"(--(?:steps|ranks|checkpoint-every) )\d+", r"\g<1>1"),
    (r"(\b(?:num_train_|max_)?(?:epochs|steps) ?:?= ?)\d+", r"\g<1>2"),
    (r"(\bepisodes ?= ?)\d+", r"\g<1>4"),
)
"""Options that only affect the running time, in Python and in commands."""


def load_gallery():
    spec = importlib.util.spec_from_file_location("gallery", ROOT / "scripts" / "gallery.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["gallery"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


gallery = load_gallery()
recipes = pytest.mark.parametrize("page", gallery.RECIPES, ids=lambda page: page.stem)


def smaller(text: str) -> str:
    for pattern, replacement in SMALLER:
        text = re.sub(pattern, replacement, text)
    return text


def run(command: str) -> None:
    """Run a command of a page in this process, which spares the imports."""
    words = shlex.split(smaller(command))
    if words[0] == "landscape":
        code = main([*words[1:], *(["--dpi", "40"] if words[1] == "plot" and "--dpi" not in words else [])])
        assert code == 0, command
    else:
        assert words[0] == "python", command
        runpy.run_path(words[1], run_name="__main__")


@recipes
def test_recipe_runs(page, tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    mpl.use("agg")
    name, code = gallery.file_of(page)
    Path(name).write_text(smaller(code))
    request.addfinalizer(lambda: sys.modules.pop(name.removesuffix(".py"), None))
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        # Other libraries warn about this machine; a warning of ours, or about the page, is a fault.
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", module=r"landscape\b|__main__$")
        for block in gallery.blocks_of(page):
            written = set()
            for command in block.commands:
                run(command)
                for output in gallery.outputs_of(command):
                    assert Path(output).exists(), command
                    written.add(gallery.shown_as(output))
            written |= {gallery.shown_as(path.name) for path in Path().glob("*.png")}
            assert {picture for _, picture in block.pictures} <= written
    plt.close("all")


@recipes
def test_form_of_page(page):
    _, code = gallery.file_of(page)
    _, paragraph, pictures = gallery.about(page)
    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) <= MAX_LINES
    assert max(map(len, lines)) <= 120
    assert 20 < len(paragraph) < 400
    ((text, name),) = pictures
    assert len(text) > 15
    assert (ROOT / "docs" / "images" / "recipes" / name).stat().st_size <= gallery.MAX_RECIPE_BYTES


def test_index_lists_all_recipes():
    rows = re.findall(r"^\| \[.*?\]\((.*?)\) \| (.*?) \| (.*?) \|$", gallery.RECIPE_INDEX.read_text(), re.MULTILINE)
    shown = {page: (special, re.findall(r"images/recipes/([^)]+)", pictures)) for page, special, pictures in rows}
    expected = {page.name: gallery.about(page)[1:] for page in gallery.RECIPES}
    assert shown == {page: (special, [name for _, name in pictures]) for page, (special, pictures) in expected.items()}
