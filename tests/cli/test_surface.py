"""``landscape surface`` and the commands that read its files, from a run to a figure."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
import torch

from landscape.surface import read_surface
from landscape.surface.plane_files import read_plane
from landscape.surface.trajectory_files import read_trajectories
from landscape.training import Run


def test_origin_is_the_checkpoint(run, surface):
    found, metrics = read_surface(surface), Run.open(run).load().metrics
    j, i = int(np.flatnonzero(found.y == 0)[0]), int(np.flatnonzero(found.x == 0)[0])
    for name, value in metrics.items():
        assert found.metric(name)[j, i] == pytest.approx(value, rel=1e-6)


def test_file_records_how_it_was_made(surface, run):
    with h5py.File(surface) as file:
        assert json.loads(file.attrs["settings"])["split"] == "both"
        assert json.loads(file.attrs["recipes"])[1]["normalization"] == "filter"
        assert file.attrs["checkpoint"] == str(run / "checkpoints" / f"step-{Run.open(run).saved_steps[-1]:08d}.pt")
        assert file.attrs["finished"]


def test_points_are_where_the_coordinates_say(surface, run):
    """The loss of one point by a second route: its weights, loaded into the network by hand."""
    found, plane = read_surface(surface), read_plane(surface)
    problem = Run.open(run).build_problem(("train",))
    model = problem.model
    model.load_state_dict(dict(plane.at((found.x[3], found.y[2])).tensors))
    split = problem.splits["train"]
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(model.eval()(split.inputs), split.targets)
    assert found.metric("train_loss")[2, 3] == pytest.approx(float(loss), rel=1e-6)


def test_resume_and_refusal_of_other_settings(run, tmp_path, program):
    out = tmp_path / "s.h5"
    words = ["surface", run, "--x", "-1:1:3", "--y", "-1:1:3", "--out", out]
    assert program(*words)[0] == 0
    before = read_surface(out)
    with h5py.File(out, "r+") as file:  # as if the sweep had been killed
        file["status"][1, 1:] = 0
        file["train_loss"][1, 1:] = np.nan
    code, said, _ = program(*words)
    assert code == 0
    after = read_surface(out)
    assert np.array_equal(before.metric(), after.metric())
    code, said, _ = program(*words[:-2], "--seed", "1", "--out", out)
    assert code == 1
    assert "directions: the file has" in said
    assert "random, seed 0" in said
    assert "random, seed 1" in said
    assert np.array_equal(after.metric(), read_surface(out).metric())
    assert program(*words[:-2], "--seed", "1", "--out", out, "--overwrite")[0] == 0
    assert not np.array_equal(after.metric(), read_surface(out).metric())


def test_checkpoint_outside_a_run(run, tmp_path, program):
    checkpoint = tmp_path / "weights.pt"
    torch.save({"acc": 1.0, "epoch": 3, "state_dict": Run.open(run).load().state_dict}, checkpoint)
    code, said, _ = program("surface", checkpoint, "--out", tmp_path / "s.h5")
    assert code == 2
    assert "--model" in said
    words = ["--x", "0:1:2", "--samples", "50", "--out", tmp_path / "s.h5"]
    code, said, _ = program("surface", checkpoint, "--model", "mlp", *words)
    assert code == 1
    assert "tensors" in said
    assert not (tmp_path / "s.h5").exists()
    assert program("surface", checkpoint, "--model", "mlp", "--model-arg", "widths=(16,)", *words)[0] == 0


def test_line_between_checkpoints(run, tmp_path, program):
    first = run / "checkpoints" / "step-00000000.pt"
    out = tmp_path / "line.h5"
    assert program("surface", run, "--to", first, "--x", "0:1:3", "--out", out)[0] == 0
    found = read_surface(out)
    assert found.shape == (3,)
    assert found.metric()[0] == pytest.approx(Run.open(run).load().metrics["train_loss"], rel=1e-6)
    assert found.metric()[2] == pytest.approx(Run.open(run).load(0).metrics["train_loss"], rel=1e-5)


@pytest.mark.parametrize("words", [["--orthogonal"], ["--to", "first", "--seeds", "0:2"], ["--directions", "surface"]])
def test_scratch_file(run, surface, tmp_path, program, words):
    places = {"first": run / "checkpoints" / "step-00000000.pt", "surface": surface}
    words = ["surface", run, "--x", "0:1:3", "--y", "0:1:2", "--samples", "50", *(places.get(w, w) for w in words)]
    assert program(*words, "--out", tmp_path / "memory.h5")[0] == 0
    scratch = tmp_path / "scratch"
    assert program(*words, "--out", tmp_path / "file.h5", "--scratch", scratch)[0] == 0
    memory, file = read_surface(tmp_path / "memory.h5"), read_surface(tmp_path / "file.h5")
    for name, values in memory.values.items():
        assert values.tobytes() == file.values[name].tobytes()
    assert not list(scratch.iterdir())
    assert program(*words, "--out", tmp_path / "memory.h5", "--scratch", scratch)[0] == 0


def test_volume(run, tmp_path, program):
    out = tmp_path / "volume.h5"
    assert (
        program("surface", run, "--x", "0:1:2", "--y", "0:1:3", "--z", "-1:1:3", "--samples", "50", "--out", out)[0]
        == 0
    )
    assert read_surface(out).shape == (3, 3, 2)
    assert program("plot", out, "--at-z", "0", "--out", tmp_path / "v.png")[0] == 0


def test_shards_and_merge(run, tmp_path, program):
    words = ["surface", run, "--x", "-1:1:3", "--y", "0:1:3"]
    assert program(*words, "--out", tmp_path / "whole.h5")[0] == 0
    for part in range(2):
        assert program(*words, "--shard", f"{part}/2", "--out", tmp_path / f"shard-{part}.h5")[0] == 0
    code, said, _ = program("merge", tmp_path / "shard-0.h5", "--out", tmp_path / "half.h5")
    assert code == 3
    assert "4 points" in said
    assert program("merge", tmp_path / "shard-0.h5", tmp_path / "shard-1.h5", "--out", tmp_path / "m.h5")[0] == 0
    whole, joined = read_surface(tmp_path / "whole.h5"), read_surface(tmp_path / "m.h5")
    for metric in whole.values:
        assert np.array_equal(whole.values[metric], joined.values[metric])


def test_range_by_rule_ignores_stop_above(run, tmp_path, program):
    """The rule looks for a loss far above the threshold at which points are stopped."""
    words = ["surface", run, "--x", "auto:3", "--samples", "200", "--batch-size", "20"]
    assert program(*words, "--out", tmp_path / "all.h5")[0] == 0
    assert program(*words, "--stop-above", "0.5", "--out", tmp_path / "some.h5")[0] == 0
    assert np.array_equal(read_surface(tmp_path / "all.h5").x, read_surface(tmp_path / "some.h5").x)


def test_data_memory(run, tmp_path, program):
    words = ["surface", run, "--x", "-1:1:3", "--y", "0:1:2", "--dtype", "float64", "--samples", "200"]
    assert program(*words, "--out", tmp_path / "all.h5")[0] == 0
    assert program(*words, "--data-memory", "1K", "--out", tmp_path / "some.h5")[0] == 0
    one, other = read_surface(tmp_path / "all.h5"), read_surface(tmp_path / "some.h5")
    assert all(np.array_equal(one.values[name], other.values[name]) for name in one.values)
    code, said, _ = program("surface", run, "--data-memory", "much", "--out", tmp_path / "no.h5")
    assert code == 2
    assert "expected a number of bytes, like 500M or 8G" in said


def test_trajectory_on_surface_and_on_principal_components(run, surface, tmp_path, program):
    assert program("trajectory", run, "--plane", surface, "--out", tmp_path / "t.h5")[0] == 0
    (path,) = read_trajectories(tmp_path / "t.h5")
    assert len(path) == len(Run.open(run).saved_steps)
    assert path.coordinates[-1] == pytest.approx([0, 0], abs=1e-6)
    assert path.loss[-1] == pytest.approx(path.surface_loss[-1], rel=1e-5)
    assert program("trajectory", run, "--plane", "pca", "--out", tmp_path / "p.h5")[0] == 0
    words = ["--x", "auto:4", "--y", "auto:3", "--samples", "50"]
    code, said, _ = program("surface", run, "--directions", tmp_path / "p.h5", *words, "--out", tmp_path / "s.h5")
    assert code == 0
    assert "holds 1 trajectory" in said
    (path,) = read_trajectories(tmp_path / "p.h5")
    found = read_surface(tmp_path / "s.h5")
    for axis in range(2):
        assert found.coordinates[axis][0] < path.coordinates[:, axis].min()
        assert found.coordinates[axis][-1] > path.coordinates[:, axis].max()
    code, said, _ = program("trajectory", run, "--plane", surface, "--out", tmp_path / "t.h5")
    assert code == 1
    assert "exists" in said


def test_info(run, surface, tmp_path, program):
    for thing, expected in (
        (surface, "12 of 12 done"),
        (run, "checkpoints"),
        (run / "checkpoints" / "step-00000000.pt", "tensors"),
    ):
        code, _, said = program("info", thing)
        assert code == 0
        assert expected in said
    code, _, said = program("info", "--json", surface)
    assert json.loads(said)["kind"] == "surface"


@pytest.mark.parametrize("suffix", ["pdf", "png", "svg"])
def test_plot(surface, tmp_path, program, suffix):
    out = tmp_path / f"f.{suffix}"
    assert program("plot", surface, "--out", out)[0] == 0
    assert out.stat().st_size > 1000
    code, said, _ = program("plot", surface, "--out", out)
    assert code == 1
    assert "exists" in said


def test_several_seeds(run, tmp_path, program):
    out = tmp_path / "seeds.h5"
    words = ["surface", run, "--x", "-1:1:3", "--samples", "50"]
    code, said, _ = program(*words, "--seeds", "0:3", "--out", out)
    assert code == 0
    assert "each of 3 seeds" in said
    assert program(*words, "--seed", "2", "--out", tmp_path / "two.h5")[0] == 0
    together, alone = read_surface(out), read_surface(tmp_path / "two.h5")
    assert np.array_equal(together.for_seed(2).metric(), alone.metric())
    assert program("plot", out, "--out", tmp_path / "band.png")[0] == 0
    assert program("plot", out, "--member", "1", "--out", tmp_path / "one.png")[0] == 0
    plane = tmp_path / "plane.h5"
    assert program(*words, "--y", "0:1:2", "--seeds", "4:6", "--out", plane)[0] == 0
    assert program("plot", plane, "--out", tmp_path / "spread.png")[0] == 0
    code, said, _ = program("plot", plane, "--member", "1", "--out", tmp_path / "none.png")
    assert code == 2
    assert "it has 4, 5" in said
    code, said, _ = program(*words, "--to", run, "--seeds", "0:3", "--out", tmp_path / "x.h5")
    assert code == 2
    assert "random" in said


def test_through_training(run, tmp_path, program):
    out = tmp_path / "through.h5"
    words = ["surface", run, "--x", "-1:1:4", "--y", "-1:1:3", "--samples", "50", "--out", out]
    code, said, _ = program(*words, "--checkpoints", "0,4")
    assert code == 0
    assert "each of 2 checkpoints" in said
    assert program(*words, "--checkpoints", "3")[0] == 0, "a further checkpoint is added"
    assert read_surface(out).steps == (0, 4, 12)
    code, said, _ = program(*words, "--checkpoints", "0,12")
    assert code == 1
    assert "a file takes further checkpoints, but keeps those that it has" in said
    for wrong, why in (("0", "expected all"), ("0,x", "expected all"), ("0,3", "has none of step 3")):
        code, said, _ = program(*words, "--checkpoints", wrong)
        assert code == 2
        assert why in said
    code, _, printed = program("info", out)
    assert code == 0
    assert "3 checkpoints" in printed
    code, _, printed = program("check", out)
    assert code == 0
    assert "origin" in printed
    assert program("trajectory", run, "--plane", out, "--attach", "--out", tmp_path / "path.h5")[0] == 0
    paths = ["--trajectory", tmp_path / "path.h5"]
    assert program("plot", out, *paths, "--out", tmp_path / "panels.png")[0] == 0
    assert program("plot", out, "--at", "5", "--out", tmp_path / "one.png")[0] == 0
    assert program("topology", out, "--at", "4")[0] == 0
    code, said, _ = program("topology", out)
    assert code == 2
    assert "holds several checkpoints (steps 0, 4, 12)" in said
    for suffix in ("pvd", "vts", "vti", "csv", "xdmf", "html"):
        target = tmp_path / suffix / f"through.{suffix}"
        assert program("export", out, *paths, "--out", target)[0] == 0, suffix


@pytest.mark.process
def test_killed_through_training(run, tmp_path, program):
    """SIGKILL in the middle of a checkpoint: what the file marks as done is kept, and the rest follows."""
    out, alone = tmp_path / "through.h5", tmp_path / "alone.h5"
    words = ["surface", str(run), "--checkpoints", "all", "--x", "-1:1:15", "--y", "-1:1:15", "--engine", "eager"]
    assert program(*words, "--out", alone)[0] == 0
    command = [sys.executable, "-m", "landscape", *words, "--out", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        while process.poll() is None and not (out.exists() and (read_surface(out).status != 0).any()):
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    before = read_surface(out)
    assert program(*words, "--out", out)[0] == 0
    after, undisturbed = read_surface(out), read_surface(alone)
    done = before.status == 1
    for name, values in undisturbed.values.items():
        assert np.array_equal(after.values[name], values)
        assert np.array_equal(before.values[name][done], values[done])


def test_check(run, tmp_path, program):
    out = tmp_path / "s.h5"
    assert program("surface", run, "--x", "-1:1:5", "--y", "-1:1:5", "--out", out)[0] == 0
    code, _, said = program("check", out)
    assert "origin" in said
    assert "cosine_xy" in said
    assert code == (1 if "BAD" in said else 0)
    with h5py.File(out, "r+") as file:  # a value that is not the network's
        file["train_loss"][2, 2] *= 1.5
    code, _, said = program("check", out)
    assert code == 1
    assert "BAD   origin" in said
    assert program("check", run)[0] in (0, 1)


@pytest.mark.parametrize("suffix", ["vts", "vti", "csv", "h5"])
def test_export(run, tmp_path, program, suffix):
    surface = tmp_path / "s.h5"
    assert program("surface", run, "--x", "-1:1:3", "--y", "-1:1:3", "--samples", "50", "--out", surface)[0] == 0
    out = tmp_path / f"out.{suffix}"
    assert program("export", surface, "--out", out)[0] == 0
    assert out.stat().st_size > 100
    if suffix == "h5":
        theirs = read_surface(out)
        assert np.array_equal(theirs.metric(), read_surface(surface).metric())


def test_adaptive_then_full_sweep(run, tmp_path, program):
    out, words = tmp_path / "s.h5", ["surface", run, "--x", "-1:1:17", "--y", "-1:1:17", "--samples", "50"]
    assert program(*words, "--adaptive", "0.1", "--budget", "120", "--out", out)[0] == 0
    found = read_surface(out)
    assert 0 < (found.status == 1).sum() < found.status.size
    assert np.isfinite(found.with_interpolated().metric()).all()
    assert program("plot", out, "--out", tmp_path / "a.png")[0] == 0
    assert program(*words, "--out", out)[0] == 0
    assert program(*words, "--out", tmp_path / "full.h5")[0] == 0
    done, full = read_surface(out), read_surface(tmp_path / "full.h5")
    assert np.array_equal(done.metric(), full.metric())
    assert np.array_equal(found.metric()[found.status == 1], full.metric()[found.status == 1])
    code, said, _ = program(*words, "--budget", "9", "--out", tmp_path / "b.h5")
    assert code == 2
    assert "--adaptive" in said


def test_paired_noise(run, tmp_path, program):
    out, figure = tmp_path / "noisy.h5", tmp_path / "noisy.png"
    words = ["surface", run, "--x", "-0.1:0.1:4", "--y", "-0.1:0.1:4", "--samples", "10", "--out", out]
    assert program(*words, "--paired")[0] == 0
    _, _, told = program("info", out)
    assert "% of the points are within 2 paired standard errors of the value at the origin" in " ".join(told.split())
    assert program("plot", out, "--noise", "--out", figure)[0] == 0
    assert figure.stat().st_size > 10_000
    code, said, _ = program(*words)
    assert code == 1
    assert "paired: the file has True, this sweep uses False" in said
    assert program("check", out)[0] in (0, 1)


def test_stop_above(run, tmp_path, program):
    out, figure = tmp_path / "s.h5", tmp_path / "s.png"
    words = ["surface", run, "--x", "-3:3:9", "--y", "-3:3:9", "--batch-size", "50", "--out", out]
    code, said, _ = program(*words, "--stop-above", "8")
    assert code == 0
    stopped = int((read_surface(out).status == 3).sum())
    assert 5 < stopped < 76
    assert f", {stopped} points stopped above 8. Next:" in said
    _, _, told = program("info", out)
    assert f"{81 - stopped} of 81 done, {stopped} stopped above train_loss 8" in told
    assert program("plot", out, "--out", figure)[0] == 0
    code, said, _ = program(*words, "--stop-above", "9")
    assert code == 1
    assert "stop_above: the file has 8.0, this sweep uses 9.0" in said
    assert program(*words, "--stop-above", "0")[0] == 2


def test_reduced_precision_is_reported_once(run, tmp_path, program):
    out = tmp_path / "s.h5"
    words = ["surface", run, "--x", "-1:1:5", "--dtype", "bfloat16", "--out", out]
    code, said, _ = program(*words)
    assert code == 0
    assert said.count("bfloat16 differs from float32 by ") == 1
    assert "bfloat16 differs from float32 by " in program("info", out)[2]
    assert "bfloat16 is off" not in program(*words)[1]
    code, said, _ = program(*words[:-3], "tf32", "--out", tmp_path / "t.h5")
    assert code == 2
    assert "tf32 is available on NVIDIA GPUs only" in said


@pytest.mark.parametrize(
    ("axes", "following"),
    [
        (["--x", "1:1:1", "--y", "-1:1:3"], ["plot"]),
        (["--x", "-1:1:3", "--y", "0.5:0.5:1"], ["plot"]),
        (["--x", "-1:1:3"], ["plot"]),
        (["--x", "0:1:2", "--y", "1:1:1", "--z", "0:1:2"], ["plot", "render"]),
        (["--x", "0:0:1", "--y", "0:0:1"], ["plot"]),
    ],
)
def test_next_commands_can_draw_the_grid(run, tmp_path, program, axes, following):
    out = tmp_path / "s.h5"
    code, said, _ = program("surface", run, *axes, "--samples", "20", "--out", out)
    assert code == 0
    assert said.strip().endswith("Next: " + ", ".join(f"landscape {command} {out}" for command in following))
    code, said, _ = program("plot", out, "--out", tmp_path / "s.png")
    assert code == 0, said
    code, said, _ = program("export", out, "--out", tmp_path / "s.csv")
    assert code == 0, said


def test_a_key_chooses_the_weights(run, program, tmp_path):
    """The same values from a run and from its weights under a key, which the file remembers."""
    weights = Run.open(run).load().state_dict
    other = {name: torch.zeros_like(tensor) for name, tensor in weights.items()}
    torch.save({"model": other, "ema": {"module": weights}}, tmp_path / "a.ckpt")
    network = ("--model", "mlp", "--model-arg", "widths=(16,)", "--samples", "200")
    grid, out = ("--x", "-1:1:3", "--y", "0:1:2"), (tmp_path / "key.h5", tmp_path / "run.h5")
    assert program("surface", tmp_path / "a.ckpt", "--key", "ema.module", *network, *grid, "--out", out[0])[0] == 0
    assert program("surface", run, *network, *grid, "--out", out[1])[0] == 0
    found, expected = map(read_surface, out)
    assert np.array_equal(found.metric(), expected.metric())
    assert found.metadata.checkpoint.path == f"{tmp_path}/a.ckpt::ema.module"
    code, said, _ = program("check", out[0], "--trust")
    assert "BAD origin" not in said
    code, said, _ = program(
        "surface", tmp_path / "a.ckpt", "--key", "none", *network, *grid, "--out", tmp_path / "x.h5"
    )
    assert code == 1
    assert "has nothing under 'none'; it has ema" in said
    assert program("info", tmp_path / "a.ckpt", "--key", "ema.module")[0] == 0
