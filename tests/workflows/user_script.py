"""A script with every public name, which is never run: mypy checks it more strictly than any user would."""

from pathlib import Path

import torch
from matplotlib.figure import Figure

import landscape as ls

spec = ls.ProblemSpec(model="mlp", samples=100)
problem: ls.Problem = spec.build()
run: ls.Run = ls.train(spec, "adam:lr=0.01", ls.TrainingSettings(epochs=2), "run", progress=True)
run = ls.resume(run, progress=lambda progress: print(progress.step))
keep: ls.Recorder
with ls.record("recorded", spec, every=10) as keep:
    written: bool = keep(problem.model, step=0, loss=0.5)
checkpoint: ls.Checkpoint = ls.load_checkpoint("weights.pt")
ls.save_checkpoint("copy.pt", checkpoint.state_dict, step=0, epoch=0.0)
inputs, targets = torch.ones(4, 2), torch.zeros(4, dtype=torch.int64)
split = ls.Split(inputs, targets)
loss, hits = ls.cross_entropy(inputs, targets), ls.accuracy(inputs, targets)
loss = ls.whole(ls.cross_entropy)(inputs, targets) + ls.per_batch(ls.cross_entropy, 32)(inputs, targets)
weights: ls.Weights = ls.Weights.from_model(problem.model)
direction: ls.Direction = ls.random_direction(weights, seed=1)
planes: list[ls.Plane] = [
    ls.random_plane(problem.model, seed=0),
    ls.plane_through(weights, [weights]),
    ls.principal_plane(weights, [lambda: weights]),
    ls.principal_plane_of([run, "other"], axes=2),
    ls.hessian_plane(run, (1, -1)),
]
result: ls.SweepResult = ls.compute_surface(
    run,
    ls.PlaneConfig(seed=1, to=["other"]),
    ["-1:1:5", "auto:5"],
    ls.SweepConfig(out=Path("surface.h5")),
    ranks="auto",
    evaluation=ls.EvaluationConfig(dtype="float64", derivatives=ls.DerivativeConfig(gradient=True)),
    progress=lambda progress: print(progress.done),
    stop=lambda: False,
)
result = ls.compute_surface(problem, planes[0], ls.Grid((ls.Axis(-1, 1, 5), ls.Axis.parse("0:1:3"))))
surface: ls.Surface = ls.read_surface("surface.h5")
quadratic: ls.QuadraticModel | None = surface.metadata.quadratic
trajectories: list[ls.Trajectory] = ls.project(["run", run], "surface.h5", out="paths.h5", attach=True)
trajectories = ls.read_trajectories("paths.h5")
done: int = ls.merge(["a.h5", "b.h5"], "c.h5").done
bent: ls.Curvature = ls.curvature(run, ls.CurvatureConfig(k=1), out="curvature.h5", checkpoints=[0], progress=True)
bent = ls.read_curvature("curvature.h5", vectors=False)
panels: Figure = ls.plot_curvature(bent, ["density", "sharpness"])
sharp: ls.SharpnessResult = ls.measure_sharpness(
    [run, "other"],
    ls.SharpnessConfig(("worst-l2",), radius=(0.05,)),
    compare=True,
    out="sharpness.h5",
    progress=True,
)
numbers: tuple[ls.Number, ...] = sharp.numbers
tests: tuple[ls.Comparison, ...] = sharp.comparisons
size: ls.BasinResult = ls.measure_basin(run, ls.BasinConfig(rays=5, metric="loss", change=0.5))
topology: ls.TopologyResult = ls.compute_topology("surface.h5", fields="basins.vti")
tree: ls.MergeTree = ls.merge_tree(surface, diagonals=True)
height: float = tree.barrier(0, 1)
figure: Figure = ls.plot(surface, trajectories, ax=Figure().subplots(), options=ls.PlotOptions(levels=5))
path: Path = ls.save_figure(ls.render_scene(surface, trajectories, ls.SceneOptions(levels=9)), "scene.png")
path = ls.animate_scene(surface, trajectories, "film.gif", motion=ls.Motion(seconds=2.0), progress=True)
ls.export("page.html", surface, trajectories, ls.ExportOptions())
shown: ls.Inline = ls.show(surface, *trajectories)
texts: list[str] = ["a text"]
others: list[ls.Problem] = [ls.huggingface.causal_lm("folder", texts), ls.huggingface.folder_problem("folder")]
findings: list[ls.Finding] = ls.check("surface.h5")
found: ls.Info = ls.info("surface.h5")
try:
    ls.compare(spec, out="comparison", options=ls.CompareOptions(points=5)), ls.compare_runs([run]), ls.demo("demo")
    curve = ls.CurveOptions("bezier", training=ls.TrainingSettings(epochs=2))
    line: ls.ConnectResult = ls.connect([run, "other"], "connected", ls.ConnectOptions(align="weights", curve=curve))
    height = line.connections[-1].barrier["train_loss"].height
except ls.AlignmentError as error:
    raise ls.LandscapeError("cannot be aligned") from error
except (ls.StoreError, ls.CheckpointError, ls.DataError, ls.NonFiniteLossError, ls.MissingLibraryError) as error:
    raise ls.LandscapeError(found.kind) from error
except (ls.UnsoundError, ls.DerivativeError, ls.UserCodeError, ls.UntrustedCodeError, ls.RankError) as error:
    print(error)
