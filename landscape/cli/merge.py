"""``landscape merge``: the shards of an array job become one surface."""

from __future__ import annotations

from pathlib import Path

import click

from landscape._utils.text import counted
from landscape.cli.options import PATH, overwrite_option
from landscape.cli.terminal import echo


@click.command()
@click.argument("shards", metavar="SHARD...", type=PATH, nargs=-1, required=True)
@click.option("--out", type=PATH, required=True, help="Surface file to create.")
@overwrite_option
def command(shards: tuple[Path, ...], out: Path, overwrite: bool) -> int:
    """Merge SHARDs of one surface, computed with `landscape surface --shard i/n`.

    All shards must have the same settings, and a point computed in several of them must have the same values.

    \b
    Examples:
      landscape merge shard-*.h5 --out surface.h5
    """
    from landscape.surface.merge import merge

    report = merge(shards, out, overwrite=overwrite)
    echo(f"{out}: {report.done} of {report.total} points from {counted(len(shards), 'shard')}", err=True)
    missing = report.total - report.done
    if missing:
        echo(
            f"{missing} points are missing from all shards; `landscape surface` with the same settings and --out {out} "
            "computes them",
            err=True,
        )
        return 3
    return 0
