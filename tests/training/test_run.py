"""The directory of a run: contents, reuse, refusals and locking."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from landscape.errors import CheckpointError
from landscape.problem import ProblemSpec
from landscape.training import Run, TrainingSettings, is_run, load_into, run_of
from landscape.training.training import train

SETTINGS = TrainingSettings(epochs=4, batch_size=20, checkpoint_every=3)


@pytest.fixture
def run(mlp, tmp_path):
    return train(mlp(), "sgd:lr=0.5,momentum=0.9", SETTINGS, tmp_path / "run")


def test_open(run):
    found = Run.open(str(run.path))
    assert repr(found) == f"<Run {str(run.path)!r}>"
    assert found.finished
    assert found.settings == SETTINGS
    assert found.saved_steps == [0, 6, 8]
    assert [path.name for path in found.checkpoints] == ["step-00000000.pt", "step-00000006.pt", "step-00000008.pt"]
    assert found.load().step == 8
    assert found.load(6).epoch == 3
    assert found.record == run.record


def test_run_json(run):
    record = json.loads((run.path / "run.json").read_text())
    assert record["optimizer"]["name"] == "sgd"
    assert record["optimizer"]["arguments"]["momentum"] == 0.9
    assert record["optimizer"]["arguments"]["weight_decay"] == 0
    assert TrainingSettings(**record["settings"]) == SETTINGS
    assert record["problem"]["splits"]["train"]["samples"] == 37
    assert len(record["problem"]["splits"]["train"]["digest"]) == 64
    assert (record["steps_per_epoch"], record["steps"]) == (2, 8)
    (session,) = record["sessions"]
    assert (session["from_step"], session["to_step"], session["outcome"]) == (0, 8, "finished")
    assert session["packages"]["torch"]
    assert session["command"]
    assert record["created"] <= record["finished"] <= session["ended"]


def test_best(run):
    history = run.history()
    at = {int(step): loss for step, loss in zip(history["step"], history["test_loss"], strict=True)}
    assert run.best().step == min(run.saved_steps, key=at.get)
    assert run.best("test_loss", highest=True).step == max(run.saved_steps, key=at.get)
    accuracy = dict(zip(history["step"].tolist(), history["test_acc"].tolist(), strict=True))
    assert run.best("test_acc").metrics["test_acc"] == max(accuracy[step] for step in run.saved_steps)
    with pytest.raises(CheckpointError, match="no 'val_loss' in its history; it has step, epoch, train_loss"):
        run.best("val_loss")


def test_load_missing_checkpoint(run):
    with pytest.raises(CheckpointError, match="no checkpoint of step 5; the nearest of 3 is that of step 6"):
        run.load(5)


def test_is_run_and_run_of(run, tmp_path):
    assert is_run(run.path)
    assert not is_run(tmp_path)
    assert run_of(run.checkpoints[1]).path == run.path
    assert run_of(tmp_path / "some.pt") is None


def test_train_again_returns_finished_run(run, mlp):
    before = (run.path / "run.json").read_bytes()
    again = train(mlp(), "sgd", SETTINGS, run.path, arguments={"lr": 0.5, "momentum": 0.9})
    assert again.finished
    assert (run.path / "run.json").read_bytes() == before


@pytest.mark.parametrize(
    ("optimizer", "settings", "told"),
    [
        (
            "sgd:lr=0.5,momentum=0.9",
            replace(SETTINGS, batch_size=21),
            "settings.batch_size is 20 in the run, but 21 was given",
        ),
        ("sgd:lr=0.5,momentum=0.9", replace(SETTINGS, seed=1), "settings.seed is 0 in the run, but 1 was given"),
        ("sgd:lr=0.5", SETTINGS, "optimizer.arguments.momentum is 0.9 in the run, but 0 was given"),
        ("adam", SETTINGS, "optimizer.name is 'sgd' in the run, but 'adam' was given. Repeat"),
    ],
)
def test_other_settings_are_refused(run, mlp, optimizer, settings, told):
    before = {path: path.read_bytes() for path in run.path.rglob("*.*")}
    with pytest.raises(CheckpointError) as caught:
        train(mlp(), optimizer, settings, run.path)
    assert told in str(caught.value)
    assert {path: path.read_bytes() for path in run.path.rglob("*.*")} == before


def test_other_data_are_refused(run, mlp):
    problem = mlp()
    problem.splits["train"].inputs[3, 2] += 1
    with pytest.raises(
        CheckpointError, match=r"problem\.splits\.train\.digest is '\w+' in the run, but '\w+' was given"
    ):
        train(problem, "sgd:lr=0.5,momentum=0.9", SETTINGS, run.path)


def test_moved_data_are_accepted(run, mlp):
    def described(**more):
        return replace(mlp(), description=more)

    path = run.path.parent / "other"
    train(described(data="/old", dataset="a"), "sgd", SETTINGS, path)
    assert train(described(data="/new", dataset="a"), "sgd", SETTINGS, path).finished
    with pytest.raises(CheckpointError, match=r"problem\.dataset is 'a' in the run, but 'b' was given"):
        train(described(data="/old", dataset="b"), "sgd", SETTINGS, path)


def test_overwrite(run, mlp):
    (run.path / "notes.txt").write_text("mine")
    again = train(mlp(), "adam", replace(SETTINGS, epochs=1), run.path, overwrite=True)
    assert again.saved_steps == [0, 2]
    assert (run.path / "notes.txt").read_text() == "mine"
    (run.path / "notes.txt").unlink()
    again.delete()
    assert not run.path.exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_other_directories_and_files_are_kept(mlp, tmp_path, overwrite):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").write_text("x")
    (tmp_path / "file").write_text("x")
    for name in ("folder", "file"):
        with pytest.raises(CheckpointError, match="exists and is not a run"):
            train(mlp(), "sgd", SETTINGS, tmp_path / name, overwrite=overwrite)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder", "thesis.tex"]


def test_empty_directory_is_used(mlp, tmp_path):
    assert train(mlp(), "sgd", SETTINGS, tmp_path).finished


@pytest.mark.parametrize(
    ("contents", "reason"),
    [(None, "is not a run"), ("", "is damaged"), ("[1]", "expected format 'landscape-run-1', got 'list'"),
     ('{"format": "landscape-run-9"}', "got 'landscape-run-9'")],
)  # fmt: skip
def test_open_errors(tmp_path, contents, reason):
    if contents is not None:
        (tmp_path / "run.json").write_text(contents)
    with pytest.raises(CheckpointError, match=reason):
        Run.open(tmp_path)


def test_open_directory_of_runs(mlp, tmp_path):
    for name in ("sgd", "adam"):
        train(mlp(), name, SETTINGS, tmp_path / name)
    with pytest.raises(CheckpointError, match=r"it has no run\.json; these are in it: adam, sgd$"):
        Run.open(tmp_path)


def test_build_problem(tmp_path):
    spec = ProblemSpec(model="mlp", model_args={"widths": (6,)}, samples=40)
    run = train(spec.build(seed=4), "adam", TrainingSettings(epochs=1), tmp_path / "run")
    found = Run.open(run.path)
    assert (found.spec().model, found.spec().dataset, found.spec().samples) == ("mlp", "digits", 40)
    problem = found.build_problem(("train",))
    assert list(problem.splits) == ["train"]
    assert len(problem.splits["train"]) == 40
    initial = run.load(0).state_dict
    assert all(initial[name].equal(tensor) for name, tensor in problem.model.state_dict().items())
    load_into(problem.model, found.load())


def test_build_problem_without_names(run):
    with pytest.raises(CheckpointError, match="doesn't say how its problem was built"):
        run.spec()


def test_second_process_is_refused(mlp, tmp_path):
    """A lock belongs to an open file, so a second one conflicts in the same process as well."""
    refused = []

    def train_again(progress):
        for overwrite in (False, True):
            with pytest.raises(CheckpointError, match="is in use by another process"):
                train(mlp(), "sgd", SETTINGS, tmp_path / "run", overwrite=overwrite)
            refused.append(progress.step)

    run = train(mlp(), "sgd", SETTINGS, tmp_path / "run", progress=train_again)
    assert len(refused) == 2 * 9
    assert run.finished
    assert run.history()["step"].tolist() == sorted(set(run.history()["step"].tolist()))


def test_run_finished_by_another_process(mlp, tmp_path):
    """A process that opened a run before another one finished it does not train it again."""
    run = train(mlp(), "sgd", SETTINGS, tmp_path / "run", stop=lambda: True)
    early = Run.open(run.path)
    train(mlp(), "sgd", SETTINGS, run.path)
    with early.lock():
        assert early.finished
