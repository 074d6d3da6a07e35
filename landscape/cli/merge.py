"""``landscape merge``: the shards of an array job become one surface."""

from __future__ import annotations

from pathlib import Path

import click

from landscape.cli.options import PATH, overwrite_option


@click.command()
@click.argument("shards", metavar="SHARD...", type=PATH, nargs=-1, required=True)
@click.option("--out", type=PATH, required=True, help="The surface to make.")
@overwrite_option
def command(shards: tuple[Path, ...], out: Path, overwrite: bool) -> int:
    """Join SHARDs of one surface, computed with `landscape surface --shard i/n`.

    All must be of the same settings; a point that two of them computed must be the same in both.

    \b
    landscape merge shard-*.h5 --out surface.h5
    """
    from landscape.surface.merge import merge

    report = merge(shards, out, overwrite)
    click.echo(f"{out}: {report.done} of {report.total} points from {len(shards)} files", err=True)
    if report.done < report.total:
        click.echo(f"{report.total - report.done} points are in none of them; `landscape surface` with the same "
                   f"settings and --out {out} computes them", err=True)  # fmt: skip
        return 3
    return 0
