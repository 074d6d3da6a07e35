"""``landscape curvature``: eigenvalues, trace and spectral density of the Hessian at a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from landscape.cli.options import (
    CHECKPOINT,
    NON_NEGATIVE,
    PATH,
    POSITIVE,
    RanksType,
    evaluation_of,
    key_option,
    moving_options,
    numerics_options,
    overwrite_option,
    together,
    usage_errors,
)
from landscape.cli.problem_options import naming, problem_options, spec_of
from landscape.cli.ranks import requested_ranks
from landscape.cli.terminal import echo, json_text, quoted

if TYPE_CHECKING:
    from landscape.analysis.curvature.curvature import Curvature

_MATRICES = ("hessian", "gauss_newton", "fisher", "empirical_fisher")

_choice_options = together(
    click.option("-k", "k", type=POSITIVE, default=5, show_default=True, help="Number of largest eigenvalues."),
    click.option(
        "--smallest",
        type=NON_NEGATIVE,
        help="Number of smallest eigenvalues.  [default: as many; 0 if not --matrix hessian]",
    ),
    click.option(
        "--matrix",
        type=click.Choice(_MATRICES),
        default="hessian",
        show_default=True,
        help="Matrix: the Hessian, the generalized Gauss-Newton matrix, the Fisher matrix (of cross_entropy and "
        "mean_squared_error), or the empirical Fisher matrix (mean of outer products of gradients).",
    ),
    moving_options,
    click.option("--by-layer", is_flag=True, help="Also compute the largest eigenvalue of the block of each layer."),
    click.option(
        "--checkpoints",
        metavar="all|STEP,...",
        help="Also compute the largest eigenvalues at these checkpoints of the run.",
    ),
    click.option(
        "--trace-probes",
        type=NON_NEGATIVE,
        default=32,
        show_default=True,
        help="Random vectors for the trace; 0 for none.",
    ),
    click.option(
        "--density-probes",
        type=NON_NEGATIVE,
        default=4,
        show_default=True,
        help="Random vectors for the spectral density; 0 for none.",
    ),
    click.option(
        "--density-steps", type=POSITIVE, default=40, show_default=True, help="Lanczos steps for each of these."
    ),
    click.option(
        "--tolerance",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        metavar="X",
        default=1e-3,
        show_default=True,
        help="Residual norm, relative to its eigenvalue, at which an eigenpair has converged.",
    ),
    click.option(
        "--max-products",
        type=POSITIVE,
        default=500,
        show_default=True,
        help="Products after which eigenpairs are taken as they are.",
    ),
    click.option(
        "--seed", type=NON_NEGATIVE, default=0, show_default=True, help="Random seed of start vector and probes."
    ),
    click.option(
        "--split", type=click.Choice(["train", "test"]), default="train", show_default=True, help="Data of the loss."
    ),
    click.option(
        "--ranks",
        type=RanksType(),
        metavar="N|auto",
        help="MPI ranks to start on this machine, over which the data are split.  [default: 1]",
    ),
)


@click.command()
@click.argument("source", metavar="RUN|CHECKPOINT", type=CHECKPOINT)
@key_option
@click.option("--out", type=PATH, default=Path("curvature.h5"), show_default=True, help="File to create or resume.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as one JSON object.")
@_choice_options
@overwrite_option
@problem_options
@numerics_options
def command(source: Path, out: Path, as_json: bool, **options: Any) -> int:
    """Compute eigenvalues, trace and spectral density of the Hessian of the mean loss at a checkpoint.

    RUN is a directory made by `landscape train`; its last checkpoint is taken. A CHECKPOINT outside a run needs
    --model. Eigenvalues come with residual norms: each is within that distance of an eigenvalue. The same command
    resumes an interrupted file, bit for bit. `landscape plot curvature.h5` draws it.

    \b
    Examples:
      landscape curvature run -k 5
      landscape curvature run --samples 1000 --by-layer --out layers.h5
      landscape curvature run --checkpoints all -k 1 --density-probes 0 \\
          --out sharpness.h5
      landscape curvature weights.pt --model resnet56 --dataset cifar10 \\
          --data ~/data --json
      mpiexec -n 8 landscape curvature run --out curvature.h5
    """
    with usage_errors():
        evaluation, spec = evaluation_of(options), spec_of(options, source)
        ranks = requested_ranks(options["ranks"]) or 1
        checkpoints = _steps(options["checkpoints"])
    from landscape.analysis.curvature.curvature import CurvatureConfig
    from landscape.cli.progress import StageBars
    from landscape.parallel.ranks import Ranks
    from landscape.parallel.signals import StopSignals
    from landscape.workflows.curvature.curvature import curvature
    from landscape.workflows.sources import UnnamedProblemError

    names = ("k", "smallest", "matrix", "only", "freeze", "by_layer", "trace_probes", "density_probes",
             "density_steps", "tolerance", "max_products", "seed")  # fmt: skip
    config = CurvatureConfig(**{name: options[name] for name in names})
    with StopSignals() as stop, StageBars() as bars:
        try:
            found = curvature(
                source, config, evaluation=evaluation, problem=spec, split=options["split"],
                samples=options["samples"], checkpoints=checkpoints, out=out, overwrite=options["overwrite"],
                ranks=ranks, progress=bars, stop=stop, on_message=lambda text: echo(text, err=True),
            )  # fmt: skip
        except UnnamedProblemError as error:
            raise naming(error) from error
    if isinstance(ranks, Ranks):
        return ranks.share(_conclude(out, found, as_json) if ranks.is_root else 0)
    return _conclude(out, found, as_json)


def _steps(text: str | None) -> Any:
    """Return the steps that ``--checkpoints`` lists."""
    if text is None or text == "all":
        return text or ()
    parts = text.split(",")
    if not all(part.strip().isdigit() for part in parts):
        raise click.UsageError(
            f"--checkpoints: expected all, or steps separated by commas like 0,100,200, got {text!r}"
        )
    return tuple(int(part) for part in parts)


def _conclude(out: Path, found: Curvature, as_json: bool) -> int:
    """Print the results; 3 if something is left to compute."""
    if as_json:
        echo(json_text({"file": str(out), **found.to_json()}))
    else:
        for line in describe(found):
            echo(line)
    if not found.complete:
        echo(f"{out}: stopped before everything was computed; the same command continues", err=True)
        return 3
    echo(f"{out}: complete, {found.products} products. Next: landscape plot {quoted(out)}", err=True)
    return 0


def describe(found: Curvature) -> list[str]:
    """Return the results as lines of at most 80 columns."""
    lines = []
    ends = [("largest", found.eigenvalues, found.residuals, found.converged),
            ("smallest", found.smallest_eigenvalues, found.smallest_residuals, found.smallest_converged)]  # fmt: skip
    for name, values, residuals, converged in ends:
        if len(values):
            lines.append(f"{name + ' eigenvalues':<24}residual norm")
        for value, residual, known in zip(values, residuals, converged, strict=True):
            lines.append(f"  {value:<22.8g}{residual:.2g}{'' if known else '  not converged'}")
    if found.trace is not None:
        interval = f" (95%: {found.trace.low:.6g} to {found.trace.high:.6g})" if found.trace.probes > 1 else ""
        lines.append(f"trace {found.trace.value:.6g}{interval}")
    if found.history is not None:
        lines.append(f"{'step':>10}  {'sharpness':>12}  {'2/lr':>12}")
        history = found.history
        rows = zip(history.step, history.eigenvalues[:, 0], history.stability_limit, strict=True)
        lines += [f"{step:>10}  {value:>12.6g}  {limit:>12.6g}" for step, value, limit in rows]
    return lines
