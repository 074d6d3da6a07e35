"""``run.json``: records of other versions, and which of their settings must agree for a run to be resumed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from landscape._utils.provenance import Environment
from landscape.errors import CheckpointError
from landscape.training import Run, TrainingSettings, optimizers, train
from landscape.training.record import OptimizerRecord, RunRecord, SessionRecord, read_record, require_same

SETTINGS = TrainingSettings(epochs=2, batch_size=20)


@pytest.fixture
def stopped(mlp, tmp_path):
    """An unfinished run, and a function that edits its ``run.json``."""
    steps = []
    run = train(mlp(), "sgd:lr=0.1", SETTINGS, tmp_path / "run", stop=lambda: steps.append(1) or len(steps) == 1)

    def edit(change):
        path = run.path / "run.json"
        values = json.loads(path.read_text())
        change(values)
        path.write_text(json.dumps(values))

    return run, edit


def record(**changes):
    base = RunRecord({"model": "mlp"}, OptimizerRecord("sgd", {"lr": 0.1}), SETTINGS, steps_per_epoch=2, steps=4)
    return replace(base, **changes)


def test_json_round_trip():
    session = SessionRecord(Environment("landscape train", "host", "3.12", {"torch": "2.4"}), "cpu", 2, "now", 0, 4)
    full = record(created="then", finished="now", sessions=(session, replace(session, outcome="finished")))
    assert RunRecord.from_json(json.loads(json.dumps(full.to_json()))) == full


def test_json_keys_of_0_1():
    assert list(record().to_json()) == [
        "format", "problem", "optimizer", "settings", "steps_per_epoch", "steps", "created", "finished", "sessions"
    ]  # fmt: skip
    assert list(SessionRecord().to_json()) == [
        "command", "host", "python", "packages", "commit", "device", "threads", "started", "from_step", "to_step",
        "ended", "outcome",
    ]  # fmt: skip


def test_missing_fields_get_defaults(stopped):
    run, edit = stopped

    def strip(values):
        del values["created"], values["sessions"], values["finished"], values["steps"], values["settings"]["dtype"]

    edit(strip)
    found = Run.open(run.path)
    assert (found.record.created, found.record.sessions, found.finished) == ("", (), False)
    assert found.record.steps == run.record.steps
    assert found.settings == SETTINGS


def test_unknown_fields_are_written_back(stopped, mlp):
    run, edit = stopped
    edit(lambda values: values.update(colour="red"))
    train(mlp(), "sgd:lr=0.1", SETTINGS, run.path)
    assert json.loads((run.path / "run.json").read_text())["colour"] == "red"


def test_invalid_value(stopped):
    run, edit = stopped
    edit(lambda values: values["settings"].update(epochs="many"))
    with pytest.raises(CheckpointError, match="epochs: expected int, got 'many'"):
        Run.open(run.path)


@pytest.mark.parametrize("name", ["checkpoint_steps", "measure_steps", "dtype", "checkpoint_every"])
def test_resume_run_that_lacks_a_setting(stopped, mlp, name):
    run, edit = stopped
    edit(lambda values: values["settings"].pop(name))
    assert train(mlp(), "sgd:lr=0.1", SETTINGS, run.path).finished


def test_resume_with_new_setting_is_refused(stopped, mlp):
    run, edit = stopped
    edit(lambda values: values["settings"].pop("checkpoint_steps"))
    with pytest.raises(CheckpointError, match=r"settings\.checkpoint_steps is None in the run, but 3 was given"):
        train(mlp(), "sgd:lr=0.1", replace(SETTINGS, checkpoint_steps=3), run.path)


def test_resume_run_with_unknown_setting_is_refused(stopped, mlp):
    run, edit = stopped
    edit(lambda values: values["settings"].update(clip=1.0))
    with pytest.raises(CheckpointError, match=r"settings\.clip is 1\.0 in the run, but None was given"):
        train(mlp(), "sgd:lr=0.1", SETTINGS, run.path)


class Newer(torch.optim.SGD):
    """An optimizer that has gained an argument since a run was made."""

    def __init__(self, params, lr=0.1, momentum=0.0, *, decoupled=False):
        super().__init__(params, lr=lr, momentum=momentum)


@pytest.fixture
def older():
    """The record of a run from before :class:`Newer` gained its argument."""
    name = optimizers.describe(Newer).name
    return record(optimizer=OptimizerRecord(name, {"lr": 0.2, "momentum": 0.0}))


def given(older, **arguments):
    return replace(older, optimizer=optimizers.describe(Newer, arguments))


@pytest.mark.parametrize("arguments", [{}, {"decoupled": False}, {"momentum": 0.0}])
def test_new_optimizer_argument_equals_its_default(older, tmp_path, arguments):
    require_same(tmp_path, older, given(older, lr=0.2, **arguments))


@pytest.mark.parametrize(
    ("arguments", "name"),
    [({"lr": 0.2, "decoupled": True}, "decoupled"), ({"lr": 0.3}, "lr"), ({}, "lr"),
     ({"lr": 0.2, "momentum": 0.9}, "momentum")],
)  # fmt: skip
def test_different_optimizer_argument_is_refused(older, tmp_path, arguments, name):
    with pytest.raises(CheckpointError, match=rf"optimizer\.arguments\.{name} is "):
        require_same(tmp_path, older, given(older, **arguments))


def test_unknown_stored_argument_matters_if_it_was_on(older, tmp_path):
    stored = dict(older.optimizer.arguments)
    off, on = (replace(older, optimizer=OptimizerRecord(older.optimizer.name, {**stored, "x": x})) for x in (False, 1))
    require_same(tmp_path, off, given(older, lr=0.2))
    with pytest.raises(CheckpointError, match=r"optimizer\.arguments\.x is 1 in the run"):
        require_same(tmp_path, on, given(older, lr=0.2))


def test_resume_with_new_optimizer_argument(stopped, mlp):
    run, edit = stopped

    def strip(values):
        del values["optimizer"]["arguments"]["maximize"], values["optimizer"]["arguments"]["nesterov"]

    edit(strip)
    assert train(mlp(), "sgd:lr=0.1", SETTINGS, run.path).finished


def test_moved_reference_is_the_same_problem(tmp_path):
    old = record(problem={"factory": "landscape.problem.analytic:problem"})
    new = record(problem={"factory": "landscape.functions.problem:problem"})
    require_same(tmp_path, old, new)
    with pytest.raises(CheckpointError, match=r"problem\.factory"):
        require_same(tmp_path, old, record(problem={"factory": "other:problem"}))


def test_digest_of_0_1_is_the_same_data(tmp_path):
    def of(digest):
        return record(problem={"splits": {"train": {"digest": digest}}})

    require_same(tmp_path, of("ab12"), of("ab12-34ef"))
    for stored, given in (("ab12", "cd34"), ("ab12-34ef", "ab12-34ff"), ("ab12", "ab125-34ef")):
        with pytest.raises(CheckpointError, match=r"splits\.train\.digest"):
            require_same(tmp_path, of(stored), of(given))


def test_read_record(stopped):
    run, _ = stopped
    assert read_record(run.path / "run.json") == run.record
