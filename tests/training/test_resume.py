"""Resuming: a run that was stopped, killed or interrupted ends with the weights of an undisturbed one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
import torch

from landscape.errors import CheckpointError
from landscape.training import Run, TrainingSettings, optimizers, trainer
from landscape.training.training import train

SETTINGS = TrainingSettings(epochs=4, batch_size=16, schedule="cosine", checkpoint_every=2, checkpoint_steps=5)
DENSE = [name for name in optimizers.names() if name not in ("sparseadam", "muon")]
STEPS = 12


def stop_after(*steps):
    """Return a ``stop`` function that is True after each of these numbers of steps in its session."""
    calls = []
    return lambda: calls.append(1) or len(calls) in steps


# Each optimizer at one of the two steps: in the first epoch, and in a later one.
STOPS = [
    pytest.param(name, at, marks=() if at == (1, 7)[k % 2] else pytest.mark.slow)
    for k, name in enumerate(DENSE)
    for at in (1, 7)
]


@pytest.mark.parametrize(("name", "at"), STOPS)
def test_resume_after_stop_is_bit_equal(name, at, convnet, tmp_path, assert_equal_runs):
    whole = train(convnet(), name, SETTINGS, tmp_path / "whole")
    part = train(convnet(), name, SETTINGS, tmp_path / "part", stop=stop_after(at))
    assert not part.finished
    assert part.record.sessions[-1].outcome == "stopped"
    # The second session gets other initial weights, but those of the run count.
    assert_equal_runs(train(convnet(seed=9), name, SETTINGS, tmp_path / "part"), whole)
    assert [(s.from_step, s.to_step) for s in Run.open(part.path).record.sessions] == [(0, at), (at, STEPS)]


CHILD = """
import importlib.util, json, os, signal, sys
import torch

torch.set_num_threads(1)
conftest, cases = sys.argv[1], json.loads(sys.argv[2])
spec = importlib.util.spec_from_file_location("problems", conftest)
problems = importlib.util.module_from_spec(spec)
spec.loader.exec_module(problems)

from landscape._utils import files
from landscape.training import TrainingSettings, train, trainer

settings = TrainingSettings(epochs=4, batch_size=16, schedule="cosine", checkpoint_every=2, checkpoint_steps=5)
calls = 0

def train_until_killed(out, optimizer, where, count):
    def die_at_last(*args):
        global calls
        calls += 1
        if calls == count:
            os.kill(os.getpid(), signal.SIGKILL)

    trainer._SECONDS_BETWEEN_STATES = -1.0 if where == "state" else 1e9
    progress = None
    if where == "step":
        progress = die_at_last
    elif where == "write":
        replace = os.replace
        os.replace = lambda *paths: die_at_last() or replace(*paths)
    else:
        fsync = os.fsync
        os.fsync = lambda handle: die_at_last() or fsync(handle)
    train(problems.build_convnet(), optimizer, settings, out, progress=progress)

codes = []
for case in cases:  # each in a process of its own, which has no libraries to import
    child = os.fork()
    if child == 0:
        train_until_killed(*case)
        os._exit(0)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(codes))
"""
KILLS = [
    ("samsgrad:lr=0.01", "step", 9),  # inside an epoch: calls are those before the first step and after each
    ("sgd:lr=0.1,momentum=0.9", "step", 7),  # at the end of an epoch
    ("lbfgs:lr=0.1,max_iter=4", "write", 8),  # with a file written, but not yet in its place
    ("adam:lr=0.01", "state", 25),  # at whatever file, with a state kept at every step
]


@pytest.fixture(scope="module")
def killed_runs(conftest_path, tmp_path_factory):
    """The directories of runs that were killed, by what :data:`KILLS` says."""
    folders = {kill: tmp_path_factory.mktemp("killed") / "part" for kill in KILLS}
    cases = json.dumps([[str(folder), *kill] for kill, folder in folders.items()])
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(conftest_path), cases],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == [-signal.SIGKILL] * len(KILLS), done.stderr
    return folders


@pytest.mark.process
@pytest.mark.parametrize("kill", KILLS, ids=lambda kill: f"{kill[0].partition(':')[0]}-{kill[1]}")
def test_resume_after_kill_is_bit_equal(kill, killed_runs, convnet, tmp_path, assert_equal_runs):
    (optimizer, where, _), folder = kill, killed_runs[kill]
    killed = Run.open(folder)
    assert not killed.finished
    assert where != "write" or len(list(killed.path.rglob("*.part"))) == 1
    assert killed.saved_steps
    for step in killed.saved_steps:
        killed.load(step)  # whatever has a checkpoint's name is whole
    assert killed.record.sessions[-1].ended is None
    again = train(convnet(), optimizer, SETTINGS, folder)
    assert again.record.sessions[-1].from_step < STEPS
    if where == "state":
        assert again.record.sessions[-1].from_step % 3 != 0, "a state from inside an epoch was meant"
    assert_equal_runs(again, train(convnet(), optimizer, SETTINGS, tmp_path / "whole"))


def test_resume_without_state_keeps_initial_weights(convnet, tmp_path, assert_equal_runs):
    whole = train(convnet(), "adam", SETTINGS, tmp_path / "whole")
    part = train(convnet(), "adam", SETTINGS, tmp_path / "part", stop=stop_after(2))
    part.state_path.unlink()
    assert_equal_runs(train(convnet(seed=9), "adam", SETTINGS, tmp_path / "part"), whole)


def test_resume_without_checkpoint(convnet, tmp_path, assert_equal_runs):
    whole = train(convnet(), "adam", SETTINGS, tmp_path / "whole")
    part = train(convnet(), "adam", SETTINGS, tmp_path / "part", stop=stop_after(2))
    for path in (part.state_path, part.path / "history.csv", *part.checkpoints):
        path.unlink()
    assert_equal_runs(train(convnet(), "adam", SETTINGS, tmp_path / "part"), whole)


def test_resume_after_keyboard_interrupt(convnet, tmp_path, assert_equal_runs):
    def interrupt(told):
        if told.step == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(convnet(), "adam", SETTINGS, tmp_path / "part", progress=interrupt)
    run = Run.open(tmp_path / "part")
    assert not run.finished
    assert run.record.sessions[-1].to_step == 8
    assert run.record.sessions[-1].outcome.startswith("KeyboardInterrupt")
    assert run.saved_steps == [0, 5, 6]
    whole = train(convnet(), "adam", SETTINGS, tmp_path / "whole")
    assert_equal_runs(train(convnet(), "adam", SETTINGS, tmp_path / "part"), whole)


def test_resume_after_sigint(convnet, tmp_path):
    # A job in the background is born with the signal ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupt(told):
        if told.step == 8:
            os.kill(os.getpid(), signal.SIGINT)

    try:
        with pytest.raises(KeyboardInterrupt):
            train(convnet(), "adam", SETTINGS, tmp_path / "part", progress=interrupt)
    finally:
        signal.signal(signal.SIGINT, before)
    assert train(convnet(), "adam", SETTINGS, tmp_path / "part").finished


def test_error_keeps_checkpoints(convnet, tmp_path):
    def fail(told):
        if told.step == 8:
            raise OSError("something else")

    with pytest.raises(OSError, match="something else"):
        train(convnet(), "adam", SETTINGS, tmp_path / "part", progress=fail)
    assert Run.open(tmp_path / "part").saved_steps == [0, 5, 6]


def test_resume_on_another_device(convnet, tmp_path):
    train(convnet(), "adam", SETTINGS, tmp_path / "part", stop=stop_after(2))
    path = tmp_path / "part" / "run.json"
    record = json.loads(path.read_text())
    record["settings"]["device"] = "cuda:3"
    path.write_text(json.dumps(record))
    assert train(convnet(), "adam", SETTINGS, tmp_path / "part").finished


def test_damaged_state(convnet, tmp_path):
    run = train(convnet(), "adam", SETTINGS, tmp_path / "part", stop=stop_after(2))
    whole = run.state_path.read_bytes()
    run.state_path.write_bytes(whole[:1000])
    with pytest.raises(CheckpointError, match=r"resume\.pt is damaged"):
        train(convnet(), "adam", SETTINGS, tmp_path / "part")
    torch.save({"a": torch.ones(1)}, run.state_path)
    with pytest.raises(CheckpointError, match="landscape-resume-1"):
        train(convnet(), "adam", SETTINGS, tmp_path / "part")
    run.state_path.write_bytes(whole)
    assert train(convnet(), "adam", SETTINGS, tmp_path / "part").finished


def test_non_finite_loss_after_resume_keeps_checkpoint(mlp, tmp_path):
    from dataclasses import replace

    from landscape.errors import NonFiniteLossError

    settings = TrainingSettings(epochs=4, batch_size=10)
    part = train(mlp(), "sgd", settings, tmp_path / "part", stop=stop_after(4))
    assert part.saved_steps == [0, 4]
    problem = mlp()

    def loss(outputs, targets):
        return problem.loss(outputs, targets) * (float("nan") if torch.is_grad_enabled() else 1)

    loss.__name__ = "cross_entropy"
    with pytest.raises(NonFiniteLossError, match=r"after step 4 .*step-00000004\.pt"):
        train(replace(problem, loss=loss), "sgd", settings, tmp_path / "part")
    assert Run.open(part.path).saved_steps == [0, 4]


def test_resume_after_full_disk(convnet, tmp_path, monkeypatch, assert_equal_runs):
    whole = train(convnet(), "adam", SETTINGS, tmp_path / "whole")
    replace_file, left = os.replace, [6]

    def fail(source, target):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        replace_file(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(CheckpointError, match=r"cannot write .*: No space left on device"):
        train(convnet(), "adam", SETTINGS, tmp_path / "part")
    monkeypatch.setattr(os, "replace", replace_file)
    assert not Run.open(tmp_path / "part").finished
    assert_equal_runs(train(convnet(), "adam", SETTINGS, tmp_path / "part"), whole)


def test_state_interval_is_at_most_a_minute():
    assert 0 < trainer._SECONDS_BETWEEN_STATES <= 60
