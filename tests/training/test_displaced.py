"""A run directory that is moved, removed or replaced while it is trained, and files in it that change."""

from __future__ import annotations

import shutil
import zipfile
from types import SimpleNamespace

import pytest
import torch

from landscape.errors import CheckpointError
from landscape.problem.problem import Problem, Split
from landscape.training import plain_files
from landscape.training.checkpoint import load_checkpoint
from landscape.training.run import Run
from landscape.training.settings import TrainingSettings
from landscape.training.training import train


def problem():
    torch.manual_seed(0)
    inputs = torch.randn(40, 3)
    model = torch.nn.Linear(3, 1)
    return Problem(model, {"train": Split(inputs, inputs[:, :1])}, lambda o, t: (o - t).square().mean(1))


def run_to(folder, meanwhile=None, at=10):
    """Train for 16 steps; ``meanwhile`` happens after step ``at``."""

    def progress(progress):
        if progress.step == at and meanwhile is not None:
            meanwhile(folder)

    return train(problem(), "sgd:lr=0.05", TrainingSettings(epochs=4, batch_size=10), folder, progress=progress)


@pytest.fixture
def undisturbed(tmp_path):
    return run_to(tmp_path / "undisturbed")


def assert_same(run, other):
    assert run.saved_steps == other.saved_steps
    for step in run.saved_steps:
        one, two = run.load(step).state_dict, other.load(step).state_dict
        assert all(torch.equal(one[name], two[name]) for name in two)
    assert (run.path / "history.csv").read_text() == (other.path / "history.csv").read_text()


def test_moved_directory_is_named_and_resumed(tmp_path, undisturbed):
    with pytest.raises(CheckpointError, match=r"was moved while it was being trained: it is .*elsewhere now"):
        run_to(tmp_path / "run", lambda folder: folder.rename(tmp_path / "elsewhere"))
    assert not (tmp_path / "run").exists()
    run = run_to(tmp_path / "elsewhere")
    assert run.finished
    assert_same(run, undisturbed)


def test_another_directory_in_its_place_is_left_alone(tmp_path, undisturbed):
    def replace(folder):
        folder.rename(tmp_path / "elsewhere")
        shutil.copytree(undisturbed.path, folder)

    with pytest.raises(CheckpointError, match="another file took its place"):
        run_to(tmp_path / "run", replace)
    assert_same(Run.open(tmp_path / "run"), undisturbed)
    assert Run.open(tmp_path / "run").record == undisturbed.record
    assert_same(run_to(tmp_path / "elsewhere"), undisturbed)


def test_weights_of_a_removed_directory_are_saved(tmp_path, undisturbed):
    with pytest.raises(
        CheckpointError, match=r"its checkpoints are gone\. The weights after step 11 are saved in"
    ) as e:
        run_to(tmp_path / "run", shutil.rmtree)
    saved = load_checkpoint(str(e.value).rpartition(" in ")[2])
    assert saved.step == 11
    assert not (tmp_path / "run").exists()
    assert set(saved.state_dict) == set(undisturbed.load().state_dict)


def test_removed_before_the_first_step_of_a_session(tmp_path):
    with pytest.raises(CheckpointError, match="was removed while it was being trained"):
        run_to(tmp_path / "run", shutil.rmtree, at=0)
    assert [path.name for path in tmp_path.iterdir()] == ["run.rescued.pt"]


def test_removed_history_is_written_again(tmp_path, undisturbed):
    run = run_to(tmp_path / "run", lambda folder: (folder / "history.csv").unlink())
    assert_same(run, undisturbed)


def test_changed_history_is_left_alone(tmp_path, undisturbed):
    def change(folder):
        (folder / "history.csv").write_text("mine")

    with pytest.raises(CheckpointError, match=r"its rows are saved in .*history\.rescued\.csv"):
        run_to(tmp_path / "run", change)
    assert (tmp_path / "run" / "history.csv").read_text() == "mine"
    (tmp_path / "run" / "history.rescued.csv").rename(tmp_path / "run" / "history.csv")
    assert_same(run_to(tmp_path / "run"), undisturbed)


def test_every_flipped_bit_of_the_weights_is_noticed(undisturbed):
    """``torch.load`` takes weights with a flipped bit as they are."""
    path = undisturbed.checkpoint_path(16)
    contents = path.read_bytes()
    before = load_checkpoint(path).state_dict
    unnoticed = []
    for place in range(0, len(contents), 7):
        damaged = bytearray(contents)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            found = load_checkpoint(path)
        except CheckpointError:
            continue
        same = all(torch.equal(found.state_dict.get(name, torch.zeros(0)), before[name]) for name in before)
        if not same or found.step != 16:
            unnoticed.append(place)
    assert unnoticed == [], "values change without a word"


@pytest.mark.parametrize(("age", "comparisons"), [(0, 2), (3600, 1)])
def test_files_are_compared_once_unless_they_are_new(undisturbed, tmp_path, monkeypatch, age, comparisons):
    """The time of a file is coarse: one that was written a moment ago can change without changing it."""
    path, seen, testzip = tmp_path / "a.pt", [], zipfile.ZipFile.testzip
    monkeypatch.setattr(zipfile.ZipFile, "testzip", lambda archive: seen.append(1) or testzip(archive))
    path.write_bytes(undisturbed.checkpoint_path(16).read_bytes())
    written = path.stat().st_mtime_ns
    monkeypatch.setattr(plain_files, "time", SimpleNamespace(time_ns=lambda: written + age * 10**9))
    for _ in range(2):
        load_checkpoint(path)
    assert len(seen) == comparisons


def test_flipped_bit_in_the_state_to_resume_from(tmp_path):
    run = train(
        problem(), "sgd:lr=0.05,momentum=0.9", TrainingSettings(epochs=4, batch_size=10), tmp_path / "run",
        stop=lambda: True,
    )  # fmt: skip
    contents = run.state_path.read_bytes()
    weight = torch.load(run.state_path, weights_only=True)["model"]["weight"]
    place = contents.index(weight.numpy().tobytes())
    run.state_path.write_bytes(contents[:place] + bytes([contents[place] ^ 16]) + contents[place + 1 :])
    with pytest.raises(CheckpointError, match=r"resume\.pt is damaged: its member .* is not what was written"):
        train(problem(), "sgd:lr=0.05,momentum=0.9", TrainingSettings(epochs=4, batch_size=10), tmp_path / "run")
