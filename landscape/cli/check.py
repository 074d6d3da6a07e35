"""``landscape check``: checks of a surface, or of a run before its surface is computed."""

from __future__ import annotations

from pathlib import Path

import click

from landscape._utils.text import counted, printable
from landscape.cli.failures import for_command_line
from landscape.cli.options import PATH, trust_option
from landscape.cli.terminal import echo, hanging

_SIGNS = {"ok": ("ok  ", "green"), "warn": ("warn", "yellow"), "bad": ("BAD ", "red")}


@click.command()
@click.argument("source", metavar="FILE|RUN", type=PATH)
@trust_option
@click.option("--no-evaluation", is_flag=True, help="Check the file alone, without rebuilding the network.")
def command(source: Path, no_evaluation: bool) -> int:
    """Check whether the surface in FILE can be trusted, or whether RUN is ready for computing one.

    The checks: the loss at the origin equals the checkpoint's; the axes point in different directions; values are
    finite, and neither flat nor dominated by cliffs; the sampling error is small compared to the relief; batch-norm
    statistics match the weights; two passes agree. Each prints its number, and advice if it fails. The last line
    counts warnings and failures; the exit code is 1 if there is a failure.

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
        label = f"  {printable(finding.name):<11} "
        echo(hanging(label, for_command_line(finding.text), before=len(sign)), mark=click.style(sign, fg=colour))
        if finding.advice:
            echo(hanging(" " * (len(sign) + len(label)), finding.advice))
    verdict = worst(findings)
    bad, warnings = (sum(finding.verdict == kind for finding in findings) for kind in ("bad", "warn"))
    counts = [counted(number, noun) for number, noun in ((bad, "failure"), (warnings, "warning")) if number]
    echo()
    echo(f"{', '.join(counts) or 'no warnings'} in {counted(len(findings), 'check')}", fg=_SIGNS[verdict][1], bold=True)
    return 1 if verdict == "bad" else 0
