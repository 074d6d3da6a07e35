"""``landscape check``: whether a surface, or what a run would give one, can be trusted."""

from __future__ import annotations

from pathlib import Path

import click

from landscape.cli.options import PATH

_SIGNS = {"ok": ("ok  ", "green"), "warn": ("warn", "yellow"), "bad": ("BAD ", "red")}


@click.command()
@click.argument("source", metavar="FILE|RUN", type=PATH)
@click.option("--no-evaluation", is_flag=True, help="Check the file alone, without rebuilding the network.")
def command(source: Path, no_evaluation: bool) -> int:
    """Check whether the surface in FILE can be trusted, or whether RUN's network is fit to be measured.

    Is the loss at the origin the checkpoint's? Are the axes apart? How much is not finite, flat, or cliff? How large is
    the sampling error compared to the relief? Do batch-norm statistics belong to the weights? Do two passes agree? Each
    answer comes with its number and with advice. The exit code is 1 if any answer is bad.

    \b
    Examples:
      landscape check surface.h5
      landscape check run
    """
    from landscape.analysis.checks import worst
    from landscape.workflows.check import check

    findings = check(source, evaluate=not no_evaluation)
    for finding in findings:
        sign, colour = _SIGNS[finding.verdict]
        click.echo(f"{click.style(sign, fg=colour)}  {finding.name:<11} {finding.text}")
        if finding.advice:
            click.echo(f"{'':18}{finding.advice}")
    return 1 if worst(findings) == "bad" else 0
