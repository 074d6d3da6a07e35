"""``landscape info``: the contents, origin and progress of a file or a run."""

from __future__ import annotations

import json
from pathlib import Path

import click

from landscape._utils.text import printable
from landscape.cli.options import CHECKPOINT, key_option
from landscape.cli.terminal import echo, hanging, json_text


@click.command()
@click.argument("files", metavar="FILE...", type=CHECKPOINT, nargs=-1, required=True)
@key_option
@click.option("--all", "everything", is_flag=True, help="Show digests, versions and all settings too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per file, with everything.")
def command(files: tuple[Path, ...], everything: bool, as_json: bool) -> None:
    """Show what FILE contains, how it was made and how complete it is.

    FILE is a surface, a trajectory, a checkpoint or a run directory. A surface may still be computing.

    \b
    Examples:
      landscape info surface.h5
      landscape info run/
    """
    from landscape.workflows.info import info

    for i, path in enumerate(files):
        found = info(path)
        if as_json:
            echo(json_text(found.to_json()))
            continue
        if i:
            echo()
        echo(path, bold=True)
        facts = {"kind": found.kind, **(found.details if everything else found.facts)}
        width = max(len(key) for key in facts)
        for key, value in facts.items():
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            echo(hanging(f"  {printable(key):<{width}}  ", text))
