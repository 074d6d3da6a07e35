"""The commands of the tutorial run with smaller numbers, and the claims on its pages hold."""

from __future__ import annotations

import importlib.util
import math
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from landscape.cli.main import main
from landscape.functions.descent import RateSearch
from landscape.training.optimizers import build
from landscape.workflows import function_figures
from landscape.workflows.functions import DescentOptions, study_function

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = sorted((ROOT / "docs" / "tutorial").glob("*.md"))
SCENE = re.compile(r"landscape (render|animate)|--draw relief")


def load_gallery():
    spec = importlib.util.spec_from_file_location("gallery", ROOT / "scripts" / "gallery.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["gallery"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


gallery = load_gallery()
BLOCKS = {page.stem: gallery.blocks_of(page) for page in PAGES}
COMMANDS = [command for blocks in BLOCKS.values() for block in blocks for command in block.commands]
SMALLER = {
    "--epochs": "1",
    "--samples": "40",
    "--points": "5",
    "--steps": "4",
    "--tune": "2",
    "--checkpoint-steps": "6",
    "--seconds": "0.5",
    "--fps": "4",
}
TWO_VARIABLES = {"peaks", "bowl", "saddle", "plateau", "rosenbrock", "x^2 + 3*y^2"}


def smaller(command: str) -> list[str]:
    """Return the words of a command after ``landscape``, with smaller values of all options that only cost time."""
    words = shlex.split(command)[1:]
    for i, word in enumerate(words[:-1]):
        if word in SMALLER:
            words[i + 1] = SMALLER[word]
        if word in ("--x", "--y"):
            words[i + 1] = re.sub(r":\d+$", ":4", words[i + 1])
    if words[0] == "functions":
        axes = [] if "--x" in words else ["--x", "auto:7"]
        axes += ["--y", "auto:7"] if words[1] in TWO_VARIABLES and "--y" not in words else []
        words += [*axes, "--dpi", "40"]
    if words[0] in ("train", "compare") and "--samples" not in words:
        words += ["--samples", "40"]
    if words[0] == "compare":
        # Two optimizers are enough here; test_optimizers_can_be_built covers the others.
        for _ in range(words.count("--optimizer")):
            del words[(place := words.index("--optimizer")) : place + 2]
        words += ["--ranks", "1", "--flat", "--optimizer", "sgd:lr=0.1", "--optimizer", "samsgrad:lr=0.03"]
    if words[0] in ("render", "animate"):
        words += ["--size", "480x360"]
    if words[0] == "animate":
        words += ["--supersampling", "1"]
    return words


def can_draw_scenes():
    from landscape.render.scenes.offscreen import can_draw

    return can_draw()


def page_parameters():
    for name, blocks in BLOCKS.items():
        scenes = any(SCENE.search(command) for block in blocks for command in block.commands)
        yield pytest.param(name, marks=[pytest.mark.rendering] if scenes else [], id=name)


@pytest.mark.parametrize("page", list(page_parameters()))
def test_commands_run_and_write_the_figures(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(function_figures, "RELIEF_PIXELS", (480, 360))
    monkeypatch.setenv("LANDSCAPE_RANKS", "1")  # values don't depend on the number of ranks
    for block in BLOCKS[page]:
        written = set()
        for command in block.commands:
            outputs = gallery.outputs_of(command)
            written |= set(outputs)
            if SCENE.search(command) and not can_draw_scenes():
                continue
            assert main(smaller(command)) == 0, command
            for output in outputs:
                if not output.endswith("compare-3d.png"):
                    assert (tmp_path / output).stat().st_size > 0, command
        assert {name for _, name in block.pictures} <= {gallery.shown_as(output) for output in written}


@pytest.mark.process
def test_commands_are_valid_shell():
    done = subprocess.run(["bash", "-n", "-c", "\n".join(COMMANDS)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_figures_have_alternative_texts():
    pictures = [picture for blocks in BLOCKS.values() for block in blocks for picture in block.pictures]
    assert len(pictures) >= 20
    assert len({name for _, name in pictures}) == len(pictures)
    assert all(len(text) > 15 for text, _ in pictures)


def test_optimizers_are_covered():
    text = " ".join(COMMANDS)
    named = set(re.findall(r"--optimizer \"?(\w+)", text))
    assert {"sgd", "adagrad", "rmsprop", "adam", "amsgrad", "radam", "adamw", "sadam", "samsgrad"} <= named
    assert "momentum=0.9,nesterov=true" in text
    assert re.search(r"--optimizer sgd:momentum=0.9(?!,)", text)


def test_optimizers_can_be_built():
    words = [word for command in COMMANDS for word in shlex.split(command)]
    named = {after for word, after in pairwise(words) if word == "--optimizer"}
    assert len(named) > 20
    for optimizer in named:
        build(optimizer, [torch.nn.Parameter(torch.zeros(2))])


def test_gallery_shows_every_figure():
    text = (ROOT / "docs" / "gallery.md").read_text()
    for blocks in BLOCKS.values():
        for block in blocks:
            for _, name in block.pictures:
                assert f"(images/tutorial/{name})" in text
                assert all(command in text for command in block.commands)


def ends(function, *optimizers, **options):
    """Return the last point of each optimizer; the grid doesn't matter."""
    two = {"y": 3} if function in TWO_VARIABLES else {}
    study = study_function(function, optimizers, DescentOptions(**options), x=3, **two)
    return [path.descent.points[-1] for path in study.paths]


def test_claims_about_slopes():
    assert ends("sine-hills", "sgd:lr=0.02", start=(-1,), steps=25)[0] == pytest.approx(1.4542, abs=1e-3)
    assert ends("sine-hills", "sgd:lr=0.02", start=(5.5,), steps=25)[0] == pytest.approx(7.24, abs=1e-2)
    rates = [f"sgd:lr={lr}" for lr in (1, 0.1, 0.01)]
    large, right, small = ends("sine-bowl", *rates, start=(2.5,), steps=60)
    assert abs(large) == pytest.approx(math.pi / 2, abs=1e-3)
    assert right == pytest.approx(-0.4502, abs=1e-4)
    assert small == pytest.approx(0.66, abs=5e-3)
    assert (round(2 - math.sin(right[0]), 2), round(2 / (2 - math.sin(right[0])), 2)) == (2.44, 0.82)
    assert all(point > -math.pi for point in ends("sine-steps", *rates, start=(2.5,), steps=60))


def test_claims_about_valleys_and_plateaus():
    plain, momentum, nesterov = ends(
        "bowl", "sgd:lr=0.095", "sgd:lr=0.13,momentum=0.4", "sgd:lr=0.05,momentum=0.63,nesterov=true", steps=40
    )
    assert np.linalg.norm(plain) > 10 * np.linalg.norm(momentum)
    assert np.linalg.norm(plain) > 10 * np.linalg.norm(nesterov)
    sgd, rmsprop, adam = ends("plateau", "sgd:lr=0.1", "rmsprop:lr=0.1", "adam:lr=0.1", start=(-4, -3), steps=60)
    start = np.array([-4, -3])
    assert np.linalg.norm(sgd - start) < 0.3 * min(np.linalg.norm(rmsprop - start), np.linalg.norm(adam - start))


def test_claims_about_noise():
    spread = []
    for batch_size in (1, 16):
        options = DescentOptions(start=(4, 3), noise=9, batch_size=batch_size, steps=150)
        (path,) = study_function("x^2 + 3*y^2", ["sgd:lr=0.15"], options, x=3, y=3).paths
        spread.append(path.descent.points[50:].std())
    assert 2.5 < spread[0] / spread[1] < 6


def test_search_is_fair():
    """Each method tries the same learning rates."""
    assert len(RateSearch(20).rates) == 20
    np.testing.assert_array_equal(RateSearch(20).rates, RateSearch(20).rates)
