"""Every command line in the docs and in the examples of ``--help`` is one that the present program understands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from landscape._utils.trust import trusting
from landscape.cli.main import COMMANDS, cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LAUNCHERS = ("landscape", "mpiexec", "srun")


def commands(text: str) -> list[str]:
    """Return the lines of fenced and indented blocks that call the program, with continued lines joined."""
    text = re.sub(r"\\+\n\s*", "", text)
    lines = re.findall(r"^(?:    |)((?:landscape|mpiexec|srun) .*)$", text, re.MULTILINE)
    return [line for line in lines if re.search(r"\blandscape [a-z]", line) and not line.startswith("landscape is")]


def arguments(line: str) -> list[str]:
    """Return the arguments of a line, without the launcher and what a shell would do with them."""
    line = line[re.search(r"\blandscape ", line).start() :]
    words = shlex.split(line.replace("$SLURM_ARRAY_TASK_ID", "0"), comments=True)
    cut = [k for k, word in enumerate(words) if word in ("&&", "|", ">", ";", "...", "…")]
    return words[1 : cut[0] if cut else None]


DOCUMENTED = sorted(
    {(page.relative_to(ROOT).as_posix(), line) for page in PAGES for line in commands(page.read_text("utf-8"))}
)


def parse(words: list[str]) -> None:
    """Parse a command line without running it."""
    with trusting(False), click.Context(cli) as parent:
        name, command, rest = cli.resolve_command(parent, words)
        assert command is not None
        with command.make_context(name, list(rest), parent=parent):
            pass


def test_docs_have_commands():
    assert len(DOCUMENTED) > 100


@pytest.mark.parametrize("page", sorted({page for page, _ in DOCUMENTED}))
def test_commands_in_docs(page):
    wrong = []
    for line in [line for found, line in DOCUMENTED if found == page]:
        try:
            parse(arguments(line))
        except (click.ClickException, click.exceptions.Exit) as error:
            wrong.append(f"{line}: {getattr(error, 'message', error)}")
    assert not wrong


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("demo", "info")])
def test_examples_in_help(name):
    command = cli.get_command(click.Context(cli), name)
    lines = commands(re.sub(r"^\s+landscape", "landscape", command.help or "", flags=re.MULTILINE))
    assert lines
    for line in lines:
        parse(arguments(line))


@pytest.mark.parametrize(
    "line", ["landscape surface run --nope 1", "landscape plots a.h5", "landscape plot --dpi x a.h5"]
)
def test_wrong_lines_are_found(line):
    with pytest.raises(click.UsageError):
        parse(arguments(line))
