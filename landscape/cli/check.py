"""``landscape check``: whether a surface, or what a run would give one, can be trusted."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from landscape.cli.options import PATH

if TYPE_CHECKING:
    from landscape.analysis.checks import Finding
    from landscape.evaluation.config import EvaluationConfig
    from landscape.problem.problem import Problem
    from landscape.surface.surface import Surface

_SIGNS = {"ok": ("ok  ", "green"), "warn": ("warn", "yellow"), "bad": ("BAD ", "red")}


@click.command()
@click.argument("source", metavar="FILE|RUN", type=PATH)
@click.option("--no-evaluation", is_flag=True, help="Ask only the file; do not build the network again.")
def command(source: Path, no_evaluation: bool) -> int:
    """Say whether the surface in FILE can be trusted, or whether RUN's network is fit to be measured.

    Is the loss at the origin the checkpoint's? Are the axes apart? How much is not finite, flat, or cliff? How large is
    the sampling error against the relief? Do batch-norm statistics belong to the weights? Do two passes agree? Each
    answer comes with its number and what to do. The exit code is 1 where something is bad.

    \b
    landscape check surface.h5
    landscape check run
    """
    from landscape.analysis.checks import worst

    findings = _of_run(source) if source.is_dir() else _of_surface(source, evaluate=not no_evaluation)
    for finding in findings:
        sign, colour = _SIGNS[finding.verdict]
        click.echo(f"{click.style(sign, fg=colour)}  {finding.name:<11} {finding.text}")
        if finding.advice:
            click.echo(f"{'':18}{finding.advice}")
    return 1 if worst(findings) == "bad" else 0


def _of_run(path: Path) -> list[Finding]:
    from landscape.analysis.checks import check_evaluation
    from landscape.geometry.plane import random_plane
    from landscape.training import Run, load_into

    run = Run.open(path)
    problem = run.build_problem(("train",))
    checkpoint = run.load()
    load_into(problem.model, checkpoint)
    return check_evaluation(problem, random_plane(problem.model), expected=checkpoint.loss)


def _of_surface(path: Path, evaluate: bool) -> list[Finding]:
    from landscape.analysis.checks import check_evaluation, check_surface
    from landscape.errors import LandscapeError, StoreError
    from landscape.surface.plane_files import read_plane
    from landscape.surface.reading import read_surface

    surface = read_surface(path)
    try:
        plane = read_plane(path, mapped=True)
    except StoreError:  # a surface of Li et al. does not hold its plane
        plane = None
    if plane is None or not evaluate:
        return check_surface(surface, plane)
    try:
        problem, evaluation = _rebuilt(surface)
    except (LandscapeError, ValueError, KeyError, TypeError) as error:
        click.echo(f"The network cannot be built again here, so only the file is asked: {error}", err=True)
        return check_surface(surface, plane)
    # The checkpoint's own loss by another route: the plain model, as training measures it.
    from landscape.training.measure import measure

    split_name, _, _ = surface.metrics[0].partition("_loss")
    expected = measure(problem.model, problem.splits[split_name], problem.loss, {})["loss"]
    if evaluation.bn == "recalibrate":  # another network by intention: its statistics are not the checkpoint's
        expected = None
    found = check_surface(surface, plane, expected)
    seen = {finding.name for finding in found}
    return found + [finding for finding in check_evaluation(problem, plane, evaluation) if finding.name not in seen]


def _rebuilt(surface: Surface) -> tuple[Problem, EvaluationConfig]:
    """The problem that a surface was made of, with its checkpoint's weights, and how it was evaluated."""
    from landscape.evaluation.config import EvaluationConfig
    from landscape.problem.spec import ProblemSpec
    from landscape.training import load_checkpoint, load_into

    described, settings, checkpoint = surface.metadata.problem, surface.metadata.settings, surface.metadata.checkpoint
    if described is None or settings is None or checkpoint is None:
        raise ValueError("the file names no problem or no checkpoint")
    named = {field.name: described[field.name] for field in fields(ProblemSpec) if field.name in described}
    problem = ProblemSpec.from_json(named).build(tuple(settings.samples))
    load_into(problem.model, load_checkpoint(checkpoint.path))
    return problem, replace(EvaluationConfig.from_json(settings.to_json()), paired=False, stop_above=None)
