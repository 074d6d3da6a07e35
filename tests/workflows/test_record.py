"""Recording of a training loop: the same path as `landscape train`, resuming, rounding, and what the commands say."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import landscape
from landscape import Problem, ProblemSpec, Run, Split, TrainingSettings, load_checkpoint
from landscape._utils.torch_state import derive_seed, same_bits
from landscape.cli.main import main
from landscape.errors import CheckpointError
from landscape.training.difference_files import difference_to, rounded
from landscape.training.torch_files import load_plain

SPEC = ProblemSpec(model="mlp", model_args={"widths": (8,)}, samples=60)


def network(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 2))


def walk(model, seed, scale=0.1):
    """Move the weights by a random step that depends on the seed alone."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += scale * torch.randn(parameter.shape, generator=draw)


def state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def equal(checkpoint, tensors):
    found = checkpoint.state_dict
    return list(found) == list(tensors) and all(same_bits(found[name], tensors[name]) for name in tensors)


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    """A run of `train`, and the same training by a loop of its own that is recorded."""
    folder = tmp_path_factory.mktemp("twins")
    settings = TrainingSettings(epochs=2, batch_size=25, seed=3)
    trained = landscape.train(SPEC, "sgd:lr=0.1,momentum=0.9", settings, folder / "trained")
    problem = SPEC.build(seed=3)
    model, split = problem.model, problem.splits["train"]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    history = trained.history()
    measured = {name: history[name] for name in history if name not in ("step", "epoch", "learning_rate")}
    with landscape.record(folder / "recorded", SPEC, optimizer=optimizer) as keep:
        step = 0
        keep(model, step, epoch=0, learning_rate=float("nan"), **{n: v[0] for n, v in measured.items()})
        for epoch in range(2):
            order = torch.randperm(len(split), generator=torch.Generator().manual_seed(derive_seed(3, "order", epoch)))
            for chosen in order.split(25):
                batch = split.take(chosen)
                optimizer.zero_grad()
                problem.loss(model(batch.inputs), batch.targets).mean().backward()
                optimizer.step()
                step += 1
            keep(model, step, epoch=epoch + 1, **{n: v[epoch + 1] for n, v in measured.items()})
    return trained, Run.open(folder / "recorded")


def test_recorded_path_equals_that_of_train(twins, tmp_path):
    trained, recorded = twins
    assert recorded.saved_steps == trained.saved_steps
    for one, other in zip(trained.checkpoints, recorded.checkpoints, strict=True):
        assert equal(load_checkpoint(other), load_checkpoint(one).state_dict)
        assert load_checkpoint(other).metrics == load_checkpoint(one).metrics
        assert load_checkpoint(other).epoch == load_checkpoint(one).epoch
    assert (recorded.path / "history.csv").read_bytes() == (trained.path / "history.csv").read_bytes()
    paths = [landscape.project(run, "pca", out=tmp_path / f"{run.path.name}.h5")[0] for run in twins]
    for name in ("step", "epoch", "coordinates", "distance", "displacement", "loss", "learning_rate"):
        np.testing.assert_array_equal(getattr(paths[0], name), getattr(paths[1], name))
    surfaces = [
        landscape.compute_surface(
            run, landscape.PlaneConfig(directions=tmp_path / f"{run.path.name}.h5"), ("-1:1:3", "-1:1:3"), ranks=1
        ).surface
        for run in twins
    ]
    np.testing.assert_array_equal(surfaces[0]["train_loss"], surfaces[1]["train_loss"])


def test_commands_know_a_recorded_run(twins, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    path = str(twins[1].path)
    assert main(["info", path]) == 0
    said = capsys.readouterr().out
    assert "recorded by" in said
    assert "ended 20" in said
    assert "same command" not in said
    assert "epochs" not in said, "nothing is invented"
    assert main(["check", path]) == 0
    assert "relative difference" in capsys.readouterr().out
    arguments = ["train", "--model", "mlp", "--model-arg", "widths=[8]", "--out", path]
    assert main(arguments) != 0
    assert "recorded while another program trained" in capsys.readouterr().err
    with pytest.raises(CheckpointError, match="recorded while another program trained"):
        landscape.resume(path)
    with pytest.raises(CheckpointError, match="settings aren't known"):
        _ = twins[1].settings
    assert main(["trajectory", path, "--plane", "pca"]) == 0
    capsys.readouterr()
    result = landscape.compare_runs(
        twins, tmp_path / "compared", landscape.CompareOptions(points=3, scene=False), ranks=1
    )
    assert all(figure.stat().st_size for figure in result.figures)


def test_nothing_is_invented(tmp_path):
    model = network()
    with landscape.record(tmp_path / "run") as keep:
        for step in range(3):
            assert keep(model)
            walk(model, step)
    stored = json.loads((tmp_path / "run" / "run.json").read_text())
    assert stored["kind"] == "recorded"
    assert not {"settings", "optimizer", "steps_per_epoch"} & set(stored)
    run = Run.open(tmp_path / "run")
    assert (run.saved_steps, run.finished, run.record.steps) == ([0, 1, 2], True, 2)
    findings = landscape.check(run)
    assert [(finding.name, finding.verdict) for finding in findings] == [("weights", "ok"), ("problem", "warn")]
    assert "not recorded" in landscape.info(run).facts["problem"]
    with pytest.raises(CheckpointError, match="without its problem; name the problem"):
        landscape.compute_surface(run)


def test_a_loss_of_the_loop_is_no_loss_of_the_split(tmp_path):
    problem = SPEC.build()
    with landscape.record(tmp_path / "run", SPEC) as keep:
        keep(problem.model, loss=torch.tensor(123.0, requires_grad=True), grad_norm=np.float32(2), acc=None)
    run = Run.open(tmp_path / "run")
    origin = next(finding for finding in landscape.check(run) if finding.name == "origin")
    assert (origin.verdict, origin.text[:40]) == ("ok", "the loss over the training split was not")
    assert np.isnan(run.load().loss)
    assert run.load().metrics == {"loss": 123.0, "grad_norm": 2.0}


def test_every(tmp_path):
    model = network()
    with landscape.record(tmp_path / "a", every=4) as keep:
        kept = [step for step in range(10) if keep(model, step)]
        assert keep(model, 9, always=True)
    assert kept == [0, 4, 8]
    assert Run.open(tmp_path / "a").saved_steps == [0, 4, 8, 9]
    with landscape.record(tmp_path / "b", every=lambda step: step in (0, 1, 2, 4, 8)) as keep:
        assert [step for step in range(10) if keep(model, step)] == [0, 1, 2, 4, 8]


@pytest.mark.parametrize("options", [{}, {"differences": 3}, {"dtype": "bfloat16"}, {"every": 2}])
def test_recording_continues(tmp_path, options):
    """A training that begins again at an earlier step, and repeats itself, adds what is missing."""
    model, states, expected = network(), [], None
    for step in range(10):
        states.append(state(model))
        walk(model, step)
    with landscape.record(tmp_path / "whole", **options) as keep:
        for step in range(10):
            keep(states[step], step, loss=step)
    expected = Run.open(tmp_path / "whole")

    def interrupted():
        with landscape.record(tmp_path / "run", **options) as keep:
            for step in range(7):
                keep(states[step], step, loss=step)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    stopped = Run.open(tmp_path / "run")
    assert not stopped.finished
    assert stopped.record.sessions[-1].outcome.startswith("KeyboardInterrupt")
    before = {file.name: file.stat().st_mtime_ns for file in stopped.checkpoints}
    with landscape.record(tmp_path / "run", **options) as keep:
        assert not any(keep(states[step], step, loss=step) for step in range(3, 7))
        for step in range(7, 10):
            keep(states[step], step, loss=step)
    run = Run.open(tmp_path / "run")
    assert {file.name: file.stat().st_mtime_ns for file in run.checkpoints if file.name in before} == before
    assert run.saved_steps == expected.saved_steps
    for one, other in zip(run.checkpoints, expected.checkpoints, strict=True):
        assert equal(load_checkpoint(one), load_checkpoint(other).state_dict)
    assert (run.path / "history.csv").read_bytes() == (expected.path / "history.csv").read_bytes()
    assert (run.finished, len(run.record.sessions)) == (True, 2)


def test_another_training_is_not_mixed_in(tmp_path):
    model = network()
    for step in range(5):
        with landscape.record(tmp_path / "run") as keep:
            keep(model, step, loss=step)
        walk(model, step)
    other = network(seed=1)
    with (
        pytest.raises(CheckpointError, match="step 2 with other weights already, and 2 later ones"),
        landscape.record(tmp_path / "run") as keep,
    ):
        keep(other, 2)
    assert Run.open(tmp_path / "run").saved_steps == [0, 1, 2, 3, 4]
    with landscape.record(tmp_path / "run", resume=True) as keep:
        keep(other, 2, loss=20)
        assert Run.open(tmp_path / "run").saved_steps == [0, 1, 2]
        walk(other, 0)
        keep(other, 3, test_loss=30)
        walk(other, 1)
        assert keep(other, 3, test_loss=31), "the later call for one step counts"
    run = Run.open(tmp_path / "run")
    assert run.saved_steps == [0, 1, 2, 3]
    assert equal(run.load(), state(other))
    history = run.history()
    assert history["step"].tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(history["loss"], [0, 1, 20, np.nan])
    np.testing.assert_array_equal(history["test_loss"], [np.nan, np.nan, np.nan, 31])


def test_refusals(tmp_path, twins):
    model = network()
    with landscape.record(tmp_path / "run", SPEC) as keep:
        keep(model, 5)
        with pytest.raises(ValueError, match="at least 5, that of the last call, got 4"):
            keep(model, 4)
        with pytest.raises(ValueError, match=r"expected the network that was recorded before: 0\.bias is \(7,\)"):
            keep(nn.Sequential(nn.Linear(4, 7)), 6)
        with pytest.raises(ValueError, match="accuracy: expected a number, got str"):
            keep(model, 7, accuracy="high")
        with pytest.raises(TypeError, match=r"expected a torch.nn.Module or its state_dict, got list"):
            keep([model], 8)
        with pytest.raises(CheckpointError, match="in use by another process"), landscape.record(tmp_path / "run"):
            pass
    with pytest.raises(ValueError, match=r"within `with landscape\.record"):
        keep(model, 9)
    with pytest.raises(CheckpointError, match="is a run that was not recorded"):
        landscape.record(twins[0].path)
    with pytest.raises(CheckpointError, match=r"problem.samples is 60 in the run, but 50 was given"):
        landscape.record(tmp_path / "run", ProblemSpec(model="mlp", model_args={"widths": (8,)}, samples=50))
    with pytest.raises(ValueError, match=r"a file that exists, got 'nowhere\.py:problem'"):
        landscape.record(tmp_path / "other", "nowhere.py:problem")
    for options in ({"every": 0}, {"dtype": "int8"}, {"differences": 1}):
        with pytest.raises(ValueError, match=next(iter(options))):
            landscape.record(tmp_path / "other", **options)
    assert not (tmp_path / "other").exists()
    with landscape.record(tmp_path / "empty"):
        pass
    assert not (tmp_path / "empty").exists()


def test_names_of_wrappers_are_removed(tmp_path):
    model = network()
    wrapped = nn.DataParallel(torch.compile(model, backend="eager"))
    with landscape.record(tmp_path / "run") as keep:
        keep(wrapped, 0)
        walk(model, 0)
        keep(model, 1)
        keep({f"module.{name}": tensor for name, tensor in model.state_dict().items()}, 2)
    run = Run.open(tmp_path / "run")
    assert [list(load_checkpoint(file).state_dict) for file in run.checkpoints] == [list(model.state_dict())] * 3
    assert equal(run.load(2), state(model))


def test_only_the_first_rank_records(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with landscape.record(tmp_path / "run") as keep:
        assert not keep(network(), 0)
    assert not (tmp_path / "run").exists()
    with landscape.record(tmp_path / "run", active=True) as keep:
        assert keep(network(), 0)


@pytest.mark.parametrize(("dtype", "bound"), [("bfloat16", 2**-8), ("float16", 2**-11)])
def test_rounded_checkpoints(tmp_path, dtype, bound):
    model = network()
    with landscape.record(tmp_path / "run", dtype=dtype) as keep:
        keep(model, 0)
    found = load_checkpoint(Run.open(tmp_path / "run").checkpoints[0]).state_dict
    for name, tensor in model.state_dict().items():
        if tensor.dim() < 2:
            assert same_bits(found[name], tensor)
        else:
            assert found[name].dtype == getattr(torch, dtype)
            error = (found[name].double() - tensor.double()).abs()
            assert 0 < float((error / tensor.double().abs()).max()) <= bound
    assert "2^-" in landscape.info(tmp_path / "run").facts["stored"]
    huge = torch.tensor([[1e30, 1.0]])
    assert rounded(huge, torch.float16) is huge
    assert rounded(huge, torch.bfloat16).dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [None, "bfloat16"])
def test_differences(tmp_path, dtype):
    model, states = network(), []
    with landscape.record(tmp_path / "run", differences=4, dtype=dtype) as keep:
        for step in range(9):
            states.append(state(model))
            keep(model, step)
            walk(model, step, scale=1e-4)
    run = Run.open(tmp_path / "run")
    bases = [load_plain(file).get("base") for file in run.checkpoints]
    assert bases == [None, *["step-00000000.pt"] * 3, None, *["step-00000004.pt"] * 3, None]
    for step, file in enumerate(run.checkpoints):
        found, base = load_checkpoint(file).state_dict, states[step - step % 4]
        for name, tensor in states[step].items():
            if dtype is None or tensor.dim() < 2 or step % 4 == 0:
                assert same_bits(found[name], tensor)
            else:
                distance = (tensor.double() - base[name].double()).abs()
                ulp = 2**-23 * tensor.double().abs()
                assert ((found[name].double() - tensor.double()).abs() <= 2**-8 * distance + ulp).all()
    run.checkpoints[0].rename(tmp_path / "away.pt")
    with pytest.raises(CheckpointError, match=r"differences to .*step-00000000\.pt, which is missing"):
        run.load(1)
    (tmp_path / "away.pt").rename(run.checkpoint_path(0))
    os.replace(run.checkpoint_path(4), run.checkpoint_path(0))
    with pytest.raises(CheckpointError, match="is another file now"):
        run.load(1)


def test_differences_of_any_bits():
    draw = torch.Generator().manual_seed(0)
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool):
        base = torch.randn(40, 50, generator=draw).mul(100).to(dtype)
        other = base.clone()
        other[::7] = torch.randn(6, 50, generator=draw).to(dtype)
        if dtype.is_floating_point:
            other[0, :3] = torch.tensor([float("nan"), float("inf"), -0.0])
        whole, differences = difference_to({"a": base}, {"a": other}, None)
        assert not whole
        assert differences["a"].numel() < other.numel() * other.element_size()


@pytest.mark.process
def test_a_killed_recording(tmp_path):
    """Everything that was kept before a kill is readable, and the recording continues to the same end."""
    program, run_path = Path(__file__).with_name("recorded_loop.py"), tmp_path / "run"
    target = 11
    with subprocess.Popen([sys.executable, program, run_path, "100000"], stdout=subprocess.PIPE, text=True) as process:
        next(line for line in process.stdout if int(line) == target)
        process.kill()  # at whatever it has come to meanwhile
        kept = max([target, *map(int, process.stdout.read().split())])
    run = Run.open(run_path)
    assert run.saved_steps[: kept + 1] == list(range(kept + 1))
    assert len([load_checkpoint(file) for file in run.checkpoints]) > kept
    assert not run.finished
    for path in (run_path, tmp_path / "whole"):
        runpy.run_path(str(program), init_globals={"PATH": path, "STEPS": kept + 10})
    one, other = Run.open(tmp_path / "run"), Run.open(tmp_path / "whole")
    assert one.saved_steps == other.saved_steps
    assert (one.path / "history.csv").read_bytes() == (other.path / "history.csv").read_bytes()
    for a, b in zip(one.checkpoints, other.checkpoints, strict=True):
        assert equal(load_checkpoint(a), load_checkpoint(b).state_dict)
    assert not [file for file in one.path.rglob("*") if file.name.endswith(".part")]


def test_a_problem_made_in_python(tmp_path):
    inputs = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    problem = Problem(network(), {"train": Split(inputs, (inputs[:, 0] > 0).long())}, nn.CrossEntropyLoss())
    with landscape.record(tmp_path / "run", problem) as keep:
        keep(problem.model, 0)
        walk(problem.model, 0)
        keep(problem.model, 1)
    run = Run.open(tmp_path / "run")
    assert run.record.problem["splits"]["train"]["samples"] == 20
    assert "made in Python" in landscape.info(run).facts["problem"]
    with pytest.raises(CheckpointError, match="made in Python; name it: mine"):
        run.spec()


@pytest.mark.parametrize("checkpoints", [True, False])
def test_components_while_recording(tmp_path, checkpoints, capsys, monkeypatch):
    problem = SPEC.build()
    model, split = problem.model, problem.splits["train"]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)

    def train(keep, first, last):
        for step in range(first, last):
            loss = problem.loss(model(split.inputs), split.targets).mean()
            keep(model, step, train_loss=loss)
            if reference is not None:
                reference(model, step, train_loss=loss)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    with landscape.record(tmp_path / "exact", SPEC) as reference:
        for first, last in ((0, 11), (11, 30)):
            with landscape.record(tmp_path / "run", SPEC, components=2, checkpoints=checkpoints) as keep:
                train(keep, first, last)
    run, exact = Run.open(tmp_path / "run"), Run.open(tmp_path / "exact")
    assert run.saved_steps == (list(range(30)) if checkpoints else [29])
    assert equal(run.load(), exact.load().state_dict)
    assert run.history()["step"].tolist() == list(range(30))
    file = run.path / "components.h5"
    (path,) = landscape.read_trajectories(file)
    plane, expected = landscape.principal_plane_of(exact), landscape.project(exact, "pca")[0]
    said = landscape.info(run).facts["components"]
    assert "sketch of 12 rows" in said
    angle = float(said.split("at most ")[1].split(",")[0])
    assert angle < 0.2
    assert path.step.tolist() == expected.step.tolist()
    np.testing.assert_allclose(path.loss, expected.loss)
    from landscape.surface.plane_files import read_plane

    names = list(plane.origin.tensors)
    spans = [
        np.stack([np.concatenate([d.weights.tensors[n].double().numpy().ravel() for n in names]) for d in p.directions])
        for p in (read_plane(file), plane)
    ]
    q, _ = np.linalg.qr(spans[0].T)
    assert np.linalg.norm(spans[1].T - q @ (q.T @ spans[1].T), 2) <= angle * 1.01 + 1e-6
    monkeypatch.chdir(tmp_path)
    command = ["surface", str(run.path), "--directions", str(file), "--x", "auto:3", "--y", "auto:3", "--out", "s.h5"]
    assert main(command) == 0
    assert main(["trajectory", str(run.path), "--plane", "s.h5"]) == 0
    capsys.readouterr()
    assert main(["info", str(file)]) == 0
    assert "the sine of the angle" in " ".join(capsys.readouterr().out.split())
