"""Data that are read when they are needed: the values of a copy in memory, bit for bit, and as few readings as said."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

import landscape
from landscape import EvaluationConfig, Problem, Split, compute_surface, random_plane
from landscape.evaluation.evaluator import open_evaluator
from landscape.problem import lazy
from landscape.problem.data.subset import subset
from landscape.workflows.sources import measured_loss

N = 50


class Files(Dataset):
    """Samples in files, each reading of which is counted."""

    def __init__(self, folder, shape=(3,)):
        self.folder, self.read = folder, 0
        generator = torch.Generator().manual_seed(0)
        for k in range(N):
            np.save(folder / f"{k}.npy", torch.randn(*shape, generator=generator).numpy())

    def __len__(self):
        return N

    def __getitem__(self, k):
        self.read += 1
        return torch.from_numpy(np.load(self.folder / f"{k}.npy")), k % 2


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(3, 2)

    def forward(self, x):
        return self.net(x + torch.randn_like(x))


def cross_entropy(outputs, targets):
    return functional.cross_entropy(outputs, targets, reduction="none")


NETWORKS = {
    "mlp": (lambda: nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)), (3,)),
    "random": (Noisy, (3,)),
    "convolutions": (
        lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)),
        (1, 4, 4),
    ),
}


def values(network, split, **options):
    torch.manual_seed(0)
    model = NETWORKS[network][0]()
    problem = Problem(model, {"train": split, "test": split.take(slice(3, 11))}, cross_entropy)
    config = EvaluationConfig(**options)
    surface = compute_surface(problem, random_plane(model, seed=0), ("-1:1:4", "0:1:3"), evaluation=config).surface
    return {name: array.tobytes() for name, array in surface.values.items()}


OPTIONS = {"plain": {}, "paired": {"paired": True}, "batches": {"batch_size": 7}, "stop": {"stop_above": 0.7},
           "double": {"dtype": "float64"}, "statistics": {"bn": "recalibrate"}}  # fmt: skip


CASES = [("mlp", "plain"), ("mlp", "paired"), ("random", "batches"), ("random", "stop"),
         *(("convolutions", options) for options in OPTIONS)]  # fmt: skip


# A cache keeps samples before a network sees them, so three ways of evaluating show that it changes nothing.
@pytest.mark.parametrize(
    ("network", "options", "cache"),
    [(*case, 0) for case in CASES]
    + [
        pytest.param(*case, 200, marks=() if case[1] in ("plain", "paired", "stop") else pytest.mark.slow)
        for case in CASES
    ],
)
def test_the_values_are_those_of_a_copy(network, options, cache, tmp_path, monkeypatch):
    files = Files(tmp_path, NETWORKS[network][1])
    expected = values(network, Split.of(files), **OPTIONS[options])
    monkeypatch.setattr("landscape.evaluation.lazy_batches.WINDOW_BYTES", 100)
    assert values(network, Split.of(files, cache=cache), **OPTIONS[options]) == expected


@pytest.mark.process
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # with threads; since Python 3.12
def test_by_workers_of_a_loader(tmp_path):
    files = Files(tmp_path)
    loader = DataLoader(files, num_workers=2, shuffle=True)
    assert values("random", Split.of(loader, cache=0)) == values("random", Split.of(files))
    assert Split.of(loader).digest() == Split.of(files).digest()


def opened(split, **options):
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    problem = Problem(model, {"train": split}, cross_entropy)
    return open_evaluator(problem, random_plane(model, seed=0), EvaluationConfig(batch_size=4, **options))


def test_points_share_a_pass(tmp_path, monkeypatch):
    monkeypatch.setattr("landscape.evaluation.lazy_batches.WINDOW_BYTES", 100)
    files = Files(tmp_path)
    points = [(0.1 * k, 0.2) for k in range(8)]
    with opened(Split.of(files, cache=0), engine="eager") as evaluate:
        assert evaluate.points_per_launch == 8
        before = files.read
        together = evaluate.evaluate_many(points)
        assert files.read - before == N
        alone = np.stack([evaluate(point) for point in points])
        assert files.read - before == 9 * N
    assert together.tobytes() == alone.tobytes()


def test_what_fits_is_kept(tmp_path):
    files = Files(tmp_path)
    batch = 4 * (3 * 4 + 8)
    split = Split.of(files, cache=3 * batch + 10)
    with opened(split, engine="eager") as evaluate:
        evaluate((0.0, 0.0))
        before = files.read
        evaluate((1.0, 0.0))
        assert files.read - before == N - 2 * 4 - 2  # two batches, and the last one, which is shorter
    del evaluate
    gc.collect()
    assert split.memory.left == 3 * batch + 10  # given back
    with opened(Split.of(files, cache="1 MiB"), engine="eager") as evaluate:
        evaluate((0.0, 0.0))
        before = files.read
        evaluate((1.0, 0.0))
        assert files.read == before
        assert evaluate.points_wanted == 1


def test_points_wait_for_each_other_only_where_reading_takes_the_time(tmp_path):
    with opened(Split.of(Files(tmp_path), cache=0), engine="eager") as evaluate:
        evaluate((0.0, 0.0))
        launcher = evaluate._launcher
        (parts,) = launcher._lazy
        for reading, computing, expected in [(1.0, 0.1, 8), (1.0, 2.0, 5), (0.1, 10.0, 1), (0.0, 1.0, 1)]:
            parts.seconds, launcher._seconds = reading, computing
            assert evaluate.points_wanted == expected


def test_large_data_are_read_when_needed(tmp_path, monkeypatch):
    monkeypatch.setattr(lazy, "COPIED_BYTES", 100)
    monkeypatch.setattr(lazy, "DIGEST_SAMPLES", 10)
    files = Files(tmp_path)
    split = Split.of(files)
    assert isinstance(split, lazy.LazySplit)
    assert split.digest().endswith("-10of50")
    before = files.read
    assert split.digest() == split.digest()
    assert files.read == before  # data are fixed
    for k, changes in ((49, True), (0, True), (2, False)):
        array = np.load(tmp_path / f"{k}.npy")
        np.save(tmp_path / f"{k}.npy", array + 1)
        assert (Split.of(files).digest() != split.digest()) is changes
        np.save(tmp_path / f"{k}.npy", array)
    assert Split.of(files, limit=49).digest() != split.digest()
    assert split.take(slice(0, 5)).digest() == Split(*map(torch.stack, zip(*[(x, torch.tensor(y)) for x, y in map(
        files.__getitem__, range(5))], strict=True))).digest()  # fmt: skip


def test_samples_of_unequal_length_are_padded_by_batch(tmp_path):
    def pad(samples):
        longest = max(len(x) for x, _ in samples)
        x = torch.stack([functional.pad(x, (0, longest - len(x))) for x, _ in samples])
        return x, torch.tensor([y for _, y in samples])

    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(1, 2)

        def forward(self, x):
            return self.net(x.sum(1, keepdim=True))

    samples = [(torch.arange(1.0 + k % 7), k % 2) for k in range(30)]
    model = Mean()
    found = []
    for split in (Split.of(samples, collate=pad), Split.of(samples, collate=pad, cache=0)):
        problem = Problem(model, {"train": split}, nn.functional.cross_entropy)
        found.append(compute_surface(problem, grid=("-1:1:3",), evaluation=EvaluationConfig(batch_size=3)).surface)
    assert found[0]["train_loss"] == pytest.approx(found[1]["train_loss"], rel=1e-6)


def test_training_and_loss_at_the_origin(tmp_path, monkeypatch):
    """Both take batches in the order of the training, and never the whole split."""
    (tmp_path / "files").mkdir()
    files = Files(tmp_path / "files")
    settings = landscape.TrainingSettings(epochs=2, batch_size=8)
    runs = []
    for number, split in enumerate((Split.of(files), Split.of(files, cache=0))):
        torch.manual_seed(0)
        problem = Problem(nn.Linear(3, 2), {"train": split}, cross_entropy)
        if number:
            monkeypatch.setattr(lazy.LazySplit, "_contents", property(lambda self: pytest.fail("all are read")))
        runs.append(landscape.train(problem, "sgd:lr=0.1", settings, tmp_path / f"run{number}"))
        problem.model.load_state_dict(runs[-1].load().state_dict)
        assert measured_loss(problem, "train") == pytest.approx(runs[0].load().loss, rel=1e-6)
    first, second = (run.load().state_dict for run in runs)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_subset_of_large_data_is_chosen_without_reading(tmp_path, monkeypatch):
    files = Files(tmp_path)
    small = subset(Split.of(files, cache=0), 10)
    assert small.digest() == subset(Split.of(files), 10).digest()
    monkeypatch.setattr(lazy, "COPIED_BYTES", 100)
    split = Split.of(files)
    before = files.read
    assert len(subset(split, 10)) == 10
    assert files.read - before <= 8  # for the size


def test_resumed_with_or_without_a_copy(tmp_path):
    """A file that was begun with one is continued with the other, and has the values of an undisturbed sweep."""
    (tmp_path / "files").mkdir()
    files = Files(tmp_path / "files")
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    plane, grid = random_plane(model, seed=0), ("-1:1:4", "0:1:3")

    def sweep(split, out, stop=None):
        problem = Problem(model, {"train": split}, cross_entropy)
        return compute_surface(problem, plane, grid, config=landscape.SweepConfig(out=tmp_path / out), stop=stop)

    whole = sweep(Split.of(files), "whole.h5").surface
    for first, second in ((0, None), (None, 0)):
        polls = iter([False] * 2)
        begun = sweep(Split.of(files, cache=first), f"{first}.h5", lambda polls=polls: next(polls, True))
        assert begun.computed == 1
        surface = sweep(Split.of(files, cache=second), f"{first}.h5").surface
        assert all(surface.values[name].tobytes() == values.tobytes() for name, values in whole.values.items())


def test_batches_of_large_data_are_small(tmp_path, monkeypatch):
    """However many samples the network would take at once; not of data that could be in memory."""
    files = Files(tmp_path)
    model = nn.Linear(3, 2)
    sizes = []
    for copied, batch in ((10**6, 100), (100, 100), (100, 1)):
        monkeypatch.setattr(lazy, "COPIED_BYTES", copied)
        monkeypatch.setattr(lazy, "BATCH_BYTES", batch)
        problem = Problem(model, {"train": Split.of(files, cache=0)}, cross_entropy)
        with open_evaluator(problem, random_plane(model, seed=0)) as evaluate:
            sizes.append(evaluate.batch_size)
    assert sizes == [2048, 4, 1]
