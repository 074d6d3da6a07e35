"""Checkpoints: ours, those of Li et al. and of others, and damaged ones."""

from __future__ import annotations

import math
import os
import resource
from collections import OrderedDict

import pytest
import torch
from torch import nn

from landscape.errors import CheckpointError
from landscape.training import load_checkpoint, load_into, save_checkpoint


@pytest.fixture
def model(convnet):
    return convnet().model


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.pt"


def same(one, other):
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


def test_save_and_load(model, path):
    metrics = {"train_loss": 0.25, "test_loss": 0.5, "test_acc": 91.5}
    save_checkpoint(path, model.state_dict(), step=7, epoch=3.5, metrics=metrics, learning_rate=0.1)
    found = load_checkpoint(path)
    assert same(found.state_dict, model.state_dict())
    assert (found.step, found.epoch, found.learning_rate, found.metrics) == (7, 3.5, 0.1, metrics)
    assert (found.loss, found.acc) == (0.25, 91.5)
    assert os.listdir(path.parent) == [path.name]


def test_unknown_values_are_nan(model, path):
    save_checkpoint(path, model.state_dict(), step=0, epoch=0)
    found = load_checkpoint(path)
    assert all(math.isnan(value) for value in (found.loss, found.acc, found.learning_rate))
    assert found.metrics == {}


def test_published_code_reads_ours(model, path):
    save_checkpoint(path, model.state_dict(), step=24, epoch=2.0, metrics={"test_acc": 91.5, "train_loss": 0.25})
    stored = torch.load(path, weights_only=True)
    assert type(stored["epoch"]) is int
    assert (stored["epoch"], stored["acc"], stored["loss"], stored["step"]) == (2, 91.5, 0.25, 24)
    assert stored["format"] == "landscape-checkpoint-1"
    model.load_state_dict(stored["state_dict"])


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module."])
def test_load_checkpoint_of_li_et_al(model, path, zipped, prefix):
    weights = OrderedDict((prefix + name, tensor) for name, tensor in model.state_dict().items())
    stored = {"acc": torch.tensor(90.5), "epoch": 300, "state_dict": weights}
    torch.save(stored, path, _use_new_zipfile_serialization=zipped)
    found = load_checkpoint(path)
    assert same(found.state_dict, model.state_dict())
    assert (found.epoch, found.acc, found.step) == (300, 90.5, None)


@pytest.mark.parametrize("nest", [None, "state_dict", "model_state_dict", "model", "net"])
def test_load_nested_state_dict(model, path, nest):
    torch.save(model.state_dict() if nest is None else {nest: model.state_dict(), "best": 1}, path)
    assert same(load_checkpoint(path).state_dict, model.state_dict())


def test_partial_prefix_is_kept(path):
    weights = {"module.a": torch.ones(1), "b": torch.ones(1)}
    torch.save(weights, path)
    assert same(load_checkpoint(path).state_dict, weights)


def test_views_are_saved_compactly(path):
    weights = {"slice": torch.arange(1_000_000.0)[:10], "turned": torch.arange(6.0).reshape(2, 3).t()}
    save_checkpoint(path, weights, step=0, epoch=0)
    assert path.stat().st_size < 10_000
    found = load_checkpoint(path).state_dict
    assert same(found, weights)
    assert all(tensor.is_contiguous() for tensor in found.values())


class Trap:
    def __reduce__(self):
        return os.mkdir, ("sprung",)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.unlink(), "no checkpoint at"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(b"\x80\x02}q\x00X" + b"\xff" * 40), "damaged"),
        (lambda path: path.write_bytes(bytes(range(256)) * 40), "damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), "damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:-30]), "damaged"),
        (lambda path: (path.unlink(), path.mkdir()), "got the directory"),
        (lambda path: torch.save({"a": 1, "b": 2}, path), "expected a state_dict.*, got a dict of a, b"),
        (lambda path: torch.save([1, 2], path), "got list"),
        (lambda path: torch.save({"state_dict": {}, "x": Trap()}, path), r"holds a (posix|nt)\.mkdir"),
        (lambda path: torch.save(nn.Linear(2, 2), path), r"holds a torch\.nn\.modules\.linear\.Linear"),
    ],
    ids=["missing", "empty", "pickle", "garbage", "half", "tail", "folder", "dict", "list", "trap", "module"],
)
def test_load_errors(model, path, spoil, reason, monkeypatch):
    monkeypatch.chdir(path.parent)
    save_checkpoint(path, model.state_dict(), step=0, epoch=0)
    spoil(path)
    with pytest.raises(CheckpointError, match=reason) as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert not (path.parent / "sprung").exists()


def test_load_into(convnet, path):
    source, target = convnet(seed=0).model, convnet(seed=9).model
    source(torch.ones(4, 1, 6, 6))  # moves the running statistics
    save_checkpoint(path, source.state_dict(), step=0, epoch=0)
    load_into(target, load_checkpoint(path))
    assert same(target.state_dict(), source.state_dict())


def test_load_into_without_batch_norm_counters(model, path):
    # Files from before torch 0.4.1 have none.
    torch.save({n: t for n, t in model.state_dict().items() if "num_batches" not in n}, path)
    load_into(model, load_checkpoint(path))


def test_load_into_another_architecture(model, path):
    weights = model.state_dict()
    before = {name: tensor.clone() for name, tensor in weights.items()}
    other = dict(weights)
    del other["features.0.bias"], other["features.1.weight"]
    other["linear.weight"] = torch.zeros(10, 16)
    other |= {f"layer{i}.bias": torch.zeros(1) for i in range(6)}
    torch.save(other, path)
    with pytest.raises(CheckpointError) as caught:
        load_into(model, load_checkpoint(path))
    for part in (
        str(path),
        "saved from another architecture than this ConvNet of 9 tensors",
        "2 missing (features.0.bias, features.1.weight)",
        "6 unexpected (layer0.bias, layer1.bias, layer2.bias, layer3.bias, ...)",
        "1 of another shape (linear.weight (10, 16) in the checkpoint, (3, 16) in the model)",
    ):
        assert part in str(caught.value)
    assert same(model.state_dict(), before)


def test_full_disk_keeps_old_file(path, tmp_path):
    save_checkpoint(path, {"a": torch.ones(3)}, step=1, epoch=1)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(CheckpointError, match=r"cannot write .*weights\.pt: File too large"):
            save_checkpoint(path, {"a": torch.ones(100_000)}, step=2, epoch=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


def test_missing_directory(tmp_path):
    with pytest.raises(CheckpointError, match=r"cannot write .*: No such file or directory"):
        save_checkpoint(tmp_path / "no" / "weights.pt", {"a": torch.ones(1)}, step=0, epoch=0)
