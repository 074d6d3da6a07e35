"""The commands of the tutorial's pages run as they stand there, with numbers made small."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from landscape.cli.main import main
from landscape.training.optimizers import build

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = sorted((ROOT / "docs" / "tutorial").glob("*.md"))
THREE_DIMENSIONS = re.compile(r"landscape (render|animate)|--draw relief")


def load_gallery():
    spec = importlib.util.spec_from_file_location("gallery", ROOT / "scripts" / "gallery.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["gallery"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


gallery = load_gallery()
SMALLER = {
    "--epochs": "1",
    "--samples": "40",
    "--points": "5",
    "--steps": "4",
    "--tune": "2",
    "--checkpoint-steps": "6",
    "--seconds": "1",
    "--fps": "4",
}


def small(command: str) -> list[str]:
    """The words of a command after ``landscape``, with the numbers that only cost time made small."""
    words = shlex.split(command)
    words = words[words.index("landscape") + 1 :]  # values do not depend on ranks: alone is enough
    for i, word in enumerate(words[:-1]):
        if word in SMALLER:
            words[i + 1] = SMALLER[word]
        if word in ("--x", "--y"):
            words[i + 1] = re.sub(r":\d+$", ":5", words[i + 1])
    if words[0] == "functions":
        axes = [] if "--x" in words else ["--x", "auto:7"]
        two = {"peaks", "bowl", "saddle", "plateau", "rosenbrock", "beale", "x^2 + 3*y^2"}
        axes += ["--y", "auto:7"] if words[1] in two and "--y" not in words else []
        words += [*axes, "--dpi", "40"]
    if words[0] in ("train", "compare") and "--samples" not in words:
        words += ["--samples", "40"]
    if words[0] == "compare":
        # Two of the optimizers are enough here; that all of them can be built is tested below.
        for _ in range(words.count("--optimizer")):
            del words[(place := words.index("--optimizer")) : place + 2]
        words += ["--ranks", "1", "--flat", "--optimizer", "sgd:lr=0.1", "--optimizer", "samsgrad:lr=0.03"]
    return words


def can_draw_scenes():
    from landscape.render.scenes.offscreen import can_draw

    return can_draw()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_run_and_write_what_the_page_shows(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for block in gallery.blocks_of(page):
        written = set()
        for command in block.commands:
            if THREE_DIMENSIONS.search(command) and not can_draw_scenes():
                written |= set(gallery.outputs_of(command))
                continue
            assert main(small(command)) == 0, command
            outputs = gallery.outputs_of(command)
            written |= set(outputs)
            for output in outputs:
                if not output.endswith("-3d.png"):
                    assert (tmp_path / output).stat().st_size > 0, command
        names = {gallery.shown_as(output) for output in written}
        assert {name for _, name in block.pictures} <= names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_shell_understands_the_commands(page):
    for block in gallery.blocks_of(page):
        for command in block.commands:
            done = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True)
            assert done.returncode == 0, f"{command}: {done.stderr}"


def test_every_picture_has_a_command_and_words_for_those_who_do_not_see_it():
    pictures = [picture for page in PAGES for block in gallery.blocks_of(page) for picture in block.pictures]
    assert len(pictures) >= 20
    assert len({name for _, name in pictures}) == len(pictures)
    assert all(len(text) > 15 for text, _ in pictures)


def test_all_optimizers_that_were_promised_are_shown():
    text = " ".join(command for page in PAGES for block in gallery.blocks_of(page) for command in block.commands)
    named = set(re.findall(r"--optimizer \"?(\w+)", text))
    assert {"sgd", "adagrad", "rmsprop", "adam", "amsgrad", "radam", "adamw", "sadam", "samsgrad"} <= named
    assert "momentum=0.9,nesterov=true" in text
    assert re.search(r"--optimizer sgd:momentum=0.9(?!,)", text)


def test_all_optimizers_can_be_built():
    commands = [command for page in PAGES for block in gallery.blocks_of(page) for command in block.commands]
    words = [word for command in commands for word in shlex.split(command)]
    named = {after for word, after in pairwise(words) if word == "--optimizer"}
    assert len(named) > 20
    for optimizer in named:
        build(optimizer, [torch.nn.Parameter(torch.zeros(2))])


def test_the_gallery_shows_every_picture_of_the_tutorial():
    text = (ROOT / "docs" / "gallery.md").read_text()
    for page in PAGES:
        for block in gallery.blocks_of(page):
            for _, name in block.pictures:
                assert f"(images/tutorial/{name})" in text
                for command in block.commands:
                    assert command in text
