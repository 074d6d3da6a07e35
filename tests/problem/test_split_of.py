"""Splits made of data as people have them: the same tensors as by hand, in the order of the data."""

from __future__ import annotations

import mmap
import random
from collections import UserDict

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, SubsetRandomSampler, TensorDataset

from landscape import EvaluationConfig, Problem, Split, compute_surface, random_plane
from landscape.problem.sources import parse_bytes

N = 600  # more than are collated at a time
X = torch.randn(N, 3, generator=torch.Generator().manual_seed(0))
Y = torch.arange(N) % 2


class Pairs(Dataset):
    """A data set of torch."""

    def __init__(self, sample=lambda k: (X[k], int(Y[k]))):
        self.sample = sample

    def __len__(self):
        return N

    def __getitem__(self, k):
        return self.sample(k)


class Stream(IterableDataset):
    """A data set without an end."""

    def __iter__(self):
        k = 0
        while True:
            yield X[k % N], Y[k % N]
            k += 1


def collate(samples):
    longest = max(len(x) for x, _ in samples)
    return torch.stack([nn.functional.pad(x, (0, longest - len(x))) for x, _ in samples]), torch.tensor(
        [y for _, y in samples]
    )


DATA = {
    "data set": lambda: Split.of(Pairs()),
    "subset": lambda: Split.of(Subset(Pairs(), range(N))),
    "tensors": lambda: Split.of(TensorDataset(X, Y)),
    "loader": lambda: Split.of(DataLoader(Pairs(), batch_size=7)),
    "shuffling loader": lambda: Split.of(DataLoader(Pairs(), batch_size=7, shuffle=True, drop_last=True)),
    "loader without batches": lambda: Split.of(DataLoader(TensorDataset(X, Y), batch_size=64)),
    "list": lambda: Split.of([(X[k], Y[k]) for k in range(N)]),
    "generator": lambda: Split.of((X[k], Y[k]) for k in range(N)),
    "arrays": lambda: Split.of(X.numpy(), Y.numpy()),
    "other byte order": lambda: Split.of(X.numpy().astype(">f4"), Y.numpy()),
    "reversed": lambda: Split.of(X.numpy()[::-1].copy()[::-1], Y.numpy()),
    "tensor and array": lambda: Split.of(X, Y.numpy()),
    "numbers": lambda: Split.of(X, Y.tolist()),
    "loader of an endless stream": lambda: Split.of(DataLoader(Stream(), batch_size=70), limit=N),
    "endless stream": lambda: Split.of(Stream(), limit=N),
}


@pytest.mark.parametrize("kind", DATA)
def test_every_kind_gives_the_same_split(kind):
    assert DATA[kind]().digest() == Split(X, Y).digest()


def test_samples_in_dicts():
    by_name = [{"ids": X[k], "mask": X[k] > 0, "labels": Y[k]} for k in range(N)]
    expected = Split({"ids": X, "mask": X > 0}, Y)
    assert Split.of(by_name).digest() == expected.digest()
    assert Split.of(by_name, targets="labels").digest() == expected.digest()
    other = [{"ids": sample["ids"], "score": sample["labels"]} for sample in by_name]
    assert Split.of(other, targets="score").digest() == Split({"ids": X}, Y).digest()
    with pytest.raises(TypeError, match=r"got a dict of ids, score; say which one is the target: Split\.of\(data"):
        Split.of(other)


def test_entries_that_are_none_are_left_out():
    samples = [{"ids": X[k], "mask": None, "labels": Y[k]} for k in range(N)]
    expected = Split({"ids": X}, Y)
    assert Split.of(samples).digest() == Split.of({"ids": X, "mask": None}, Y).digest() == expected.digest()


def test_lists_of_numbers_are_vectors():
    """Lists of numbers, such as columns of Hugging Face data sets, which default_collate would transpose."""
    samples = [{"ids": X[k].tolist(), "pixels": [X[k].tolist()] * 2, "labels": int(Y[k])} for k in range(N)]
    split = Split.of(samples)
    assert torch.equal(split.inputs["ids"].float(), X)
    assert split.inputs["pixels"].shape == (N, 2, 3)
    nested = [{"audio": {"array": X[k].tolist(), "rate": 16000}, "labels": int(Y[k])} for k in range(3)]
    assert torch.equal(Split.of(nested).inputs["audio"]["array"].float(), X[:3])
    assert Split.of([([1, 2, 3], 0), ([4, 5, 6], 1)]).inputs.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_encodings_of_tokenizers():
    class Encoding(UserDict):
        """A mapping like the encoding that a tokenizer of Hugging Face returns."""

    tensors = Encoding({"ids": X, "mask": X > 0})
    expected = Split({"ids": X, "mask": X > 0}, Y)
    assert Split(tensors, Y).digest() == Split.of(tensors, Y).digest() == expected.digest()
    ids = (X * 100).long()
    assert Split.of(Encoding({"ids": ids.tolist()}), Y.tolist()).digest() == Split({"ids": ids}, Y).digest()
    with pytest.raises(ValueError, match=r"lists of numbers of one length: pad them \(tokenizer"):
        Split.of({"ids": [[1, 2], [3]]}, [0, 1])
    with pytest.raises(TypeError, match=r"one of its parts, such as data\['train'\]"):
        Split.of({"train": Pairs(), "test": Pairs()})


def test_structured_arrays():
    array = np.zeros(N, dtype=[("flag", "u1"), ("x", "f4", (3,)), ("y", "i8")])  # fields at odd addresses
    array["x"], array["y"] = X, Y
    split = Split.of(array, targets="y")
    assert torch.equal(split.inputs["x"], X)
    assert torch.equal(split.targets, Y)


def test_three_parts_are_two_inputs_and_targets():
    split = Split.of([(X[k], X[k] + 1, Y[k]) for k in range(5)])
    assert split.digest() == Split((X[:5], X[:5] + 1), Y[:5]).digest()


@pytest.mark.parametrize("limit", [1, 256, 257, 10**6])
def test_limit(limit):
    for split in (Split.of(Pairs(), limit=limit), Split.of(X.numpy(), Y.numpy(), limit=limit)):
        assert split.digest() == Split(X[:limit], Y[:limit]).digest()


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_memory_maps_stay_maps(mode, tmp_path):
    np.save(tmp_path / "x.npy", X.numpy())
    mapped = np.load(tmp_path / "x.npy", mmap_mode=mode)
    split = Split.of(mapped, Y.numpy(), limit=500)
    assert split.digest() == Split(X[:500], Y[:500]).digest()
    assert isinstance(mapped.base, mmap.mmap)
    if mode == "r":  # a network may write into its inputs
        split.inputs.add_(1)
        assert np.array_equal(np.load(tmp_path / "x.npy"), X.numpy())
    else:
        assert split.inputs.data_ptr() == mapped.ctypes.data


def test_a_part_of_a_map(tmp_path):
    np.save(tmp_path / "x.npy", X.numpy())
    part = np.load(tmp_path / "x.npy", mmap_mode="r")[10:20]
    assert torch.equal(Split.of(part, Y[10:20]).inputs, X[10:20])


def test_tables():
    class Table:
        def to_numpy(self):
            return X.numpy()

    assert Split.of(Table(), Y.numpy()).digest() == Split(X, Y).digest()


def test_sequences_of_unequal_length():
    samples = [(X.reshape(-1)[: 1 + k % 5], int(Y[k])) for k in range(N)]
    samples[-1] = (torch.arange(9.0), 1)  # the longest is in the last part
    split = Split.of(samples, collate=collate)
    assert split.inputs.shape == (N, 9)
    assert torch.equal(split.inputs[-1], torch.arange(9.0))
    assert Split.of(DataLoader(samples, collate_fn=collate)).digest() == split.digest()
    inputs, targets = zip(*samples, strict=True)
    assert Split.of(inputs, targets, collate=collate).digest() == split.digest()
    with pytest.raises(ValueError, match="one target for each of the 600 inputs, got 599"):
        Split.of(inputs, targets[1:], collate=collate)
    with pytest.raises(TypeError, match=r"pad them in collate=function of a list of samples"):
        Split.of(samples)


def test_a_sampler_is_followed():
    loader = DataLoader(Pairs(), batch_size=4, sampler=SubsetRandomSampler([5]))
    assert Split.of(loader).digest() == Split(X[5:6], Y[5:6]).digest()
    loader = DataLoader(Pairs(), batch_sampler=[[3, 1], [2]])
    assert Split.of(loader).digest() == Split(X[[3, 1, 2]], Y[[3, 1, 2]]).digest()


def test_random_transformations_are_drawn_from_a_fixed_seed():
    """Also if samples are read in another order, or a part of them, and by every global generator."""
    kinds = {
        "torch": lambda k: (X[k] + torch.rand(3), Y[k]),
        "numpy": lambda k: (X[k] + float(np.random.rand()), Y[k]),  # noqa: NPY002
        "random": lambda k: (X[k] if random.random() < 0.5 else -X[k], Y[k]),
    }
    for sample in kinds.values():
        states = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002
        noisy = Pairs(sample)
        with pytest.warns(UserWarning, match=r"samples of Pairs are random: each is drawn once.* augment="):
            split = Split.of(noisy)
        assert torch.equal(torch.get_rng_state(), states[0])
        assert random.getstate() == states[1]
        assert all(map(np.array_equal, np.random.get_state()[1:3], states[2][1:3]))  # noqa: NPY002
        with pytest.warns(UserWarning, match="random"):
            later = Split.of(noisy, cache=0)
        assert later.take(slice(7, 9)).digest() == split.take(slice(7, 9)).digest()
        assert later.digest() == split.digest()
        assert not torch.equal(split.inputs[0] / X[0], split.inputs[1] / X[1])


def test_samples_that_cannot_be_repeated_are_refused():
    generator = np.random.default_rng(0)
    noisy = Pairs(lambda k: (X[k] + float(generator.random()), Y[k]))
    with pytest.raises(ValueError, match="sample 0 of Pairs differs when it is read again: a landscape needs fixed"):
        Split.of(noisy)

    class Shuffled(torch.utils.data.Sampler):
        def __iter__(self):
            return iter(generator.permutation(N))

    with pytest.raises(ValueError, match="Shuffled of the loader gives another order each time"):
        Split.of(DataLoader(Pairs(), sampler=Shuffled()))


@pytest.mark.parametrize("size", ["4 GiB", "4GB", "4G", "4096 MiB", 2**32, "4 gib", "4294967296"])
def test_sizes_of_a_cache(size):
    assert parse_bytes(size) == 2**32


@pytest.mark.parametrize("size", ["four", "", -1, True, 1.5, "4 X"])
def test_wrong_sizes_of_a_cache(size):
    with pytest.raises(ValueError, match="a size in bytes, or one like '4 GiB', got"):
        Split.of(Pairs(), cache=size)


WRONG = {
    "no targets": (lambda: Split.of(X), TypeError, r"give Split\.of two arrays"),
    "samples without targets": (lambda: Split.of(list(X)), TypeError, r"expected samples \(inputs, targets\)"),
    "text": (lambda: Split.of(np.array(["a", "b"]), np.arange(2)), TypeError, "encode text and categories"),
    "packed": (
        lambda: Split(nn.utils.rnn.pack_sequence([X, X[:2]]), Y[:2]), TypeError,
        r"got a PackedSequence: pad the sequences, give their lengths",
    ),
    "packed by a collation": (
        lambda: Split.of([(X, 0)] * 3, collate=lambda s: (nn.utils.rnn.pack_sequence([x for x, _ in s]), Y[:3])),
        TypeError, r"got a PackedSequence: pad the sequences",
    ),
    "sparse samples": (lambda: Split.of([(X[0].to_sparse(), 1)] * 3), TypeError, r"dense tensors \(to_dense"),
    "some without an entry": (
        lambda: Split.of([{"x": X[0], "m": X[0], "label": 1}, {"x": X[0], "m": None, "label": 1}]), TypeError,
        "not all of them have the entry 'm'",
    ),
    "no targets of an autoencoder": (lambda: Split.of(TensorDataset(X)), TypeError, r"autoencoder: Split\(x, x\)"),
    "collation that draws": (
        lambda: Split.of(
            Pairs(), cache=0, collate=lambda s: (torch.stack([x for x, _ in s]) + torch.rand(len(s), 1), Y[: len(s)])
        ),
        ValueError, "draws random numbers for a batch",
    ),
    "None in a split": (lambda: Split({"x": X, "mask": None}, Y), TypeError, r"Split\.of leaves entries that are None"),
    "objects": (lambda: Split.of([(object(), 1)]), TypeError, "let the data set return tensors"),
    "number": (lambda: Split.of(3), TypeError, "expected a data set or loader"),
    "nothing": (lambda: Split.of([]), ValueError, "at least one sample"),
    "limit": (lambda: Split.of(Pairs(), limit=0), ValueError, "limit: expected a positive number"),
    "array": (lambda: Split(X.numpy(), Y), TypeError, r"got ndarray; Split\.of converts arrays"),
    "graph": (
        lambda: Split.of([(X[0], 1)] * 3, collate=lambda _: (X, Y[:3])), ValueError,
        r"has to pad them; for graphs, .*forward=lambda model, numbers: ",
    ),
    "one graph": (
        lambda: Split({"x": X, "edges": Y[:3]}, Y), ValueError,
        r"got lengths 3, 600; what all samples share, such as the edges of a graph, .*forward=lambda model, nodes: ",
    ),
    "data set as split": (lambda: Split(Pairs()), TypeError, r"got Pairs; Split\.of converts"),
    "inputs alone": (lambda: Split(X), TypeError, r"got no targets\. Where inputs are their own.*Split\(x, x\)"),
    "one array": (lambda: Split.of(X), TypeError, r"Where inputs are their own targets, as for an autoencoder"),
    "text in a sample": (
        lambda: Split.of([(X[0], 1, "a.png")] * 3), TypeError, r"entry 2: expected numbers, got tuple .*leave this",
    ),
    "loader as split": (
        lambda: Problem(nn.Linear(3, 2), {"train": DataLoader(Pairs())}, nn.functional.cross_entropy),
        TypeError, r"got DataLoader; Split\.of makes one",
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:samples of Pairs are random")
@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_said(kind):
    call, error, text = WRONG[kind]
    with pytest.raises(error, match=text):
        call()


def test_a_table_and_the_name_of_its_column():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(X.numpy(), columns=["a", "b", "c"]).assign(y=Y.numpy())
    assert Split.of(table, "y").digest() == Split.of(table, targets="y", limit=len(X)).digest() == Split(X, Y).digest()
    with pytest.raises(TypeError, match="expected numbers in c, got DataFrame"):
        Split.of(table.assign(c=[*"ab"] * (N // 2)), targets="y")
    with pytest.raises(TypeError, match="expected numbers, got Series"):
        Split.of(table.assign(y=pandas.Categorical([*"ab"] * (N // 2))), targets="y")
    with pytest.raises(ValueError, match="no column 'label'; the table has a, b, c, y"):
        Split.of(table, targets="label")


def test_graphs_of_several_sizes_by_their_numbers():
    """A sample is the number of a graph, as the message for batches of graphs proposes."""
    torch.manual_seed(0)
    graphs = [torch.randn(2 + k % 4, 3) for k in range(9)]
    model, labels = nn.Linear(3, 2), torch.arange(9) % 2
    loss = nn.CrossEntropyLoss(reduction="none")

    def forward(model, numbers):  # all nodes of a batch of graphs, as PyG concatenates them
        chosen = [graphs[k] for k in numbers]
        owners = torch.repeat_interleave(torch.arange(len(chosen)), torch.tensor([len(graph) for graph in chosen]))
        return torch.zeros(len(chosen), 2).index_add(0, owners, model(torch.cat(chosen)))

    problem = Problem(model, {"train": Split(torch.arange(9), labels)}, loss, forward=forward)
    expected = loss(torch.stack([model(graph).sum(0) for graph in graphs]), labels).mean().item()
    for batch_size in (4, 9):
        config = EvaluationConfig(batch_size=batch_size)
        surface = compute_surface(problem, grid=("0:0:1",), evaluation=config).surface
        assert surface["train_loss"][0] == pytest.approx(expected, rel=1e-6)


def test_a_surface_of_a_memory_map(tmp_path):
    np.save(tmp_path / "x.npy", X.numpy())
    torch.manual_seed(0)
    model, loss = nn.Linear(3, 2), nn.CrossEntropyLoss(reduction="none")
    splits = Split(X, Y), Split.of(np.load(tmp_path / "x.npy", mmap_mode="r"), Y.numpy())
    found, expected = (
        compute_surface(Problem(model, {"train": split}, loss), random_plane(model, seed=0), ("-1:1:3", "0:1:2"))
        for split in splits
    )
    assert np.array_equal(found.surface.metric(), expected.surface.metric())
