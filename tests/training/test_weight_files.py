"""Checkpoints as other programs write them, made here from small networks: every one is read, or says what to do."""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import pathlib
import pickle
import struct
import sys
import types
import warnings
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.optim.swa_utils import AveragedModel

from landscape.errors import CheckpointError
from landscape.training import load_checkpoint, load_into
from landscape.training.checkpoint import load_with_note
from landscape.training.safetensors import read_safetensors
from landscape.training.weight_files import KEY_MARK

NAMES = {torch.float32: "F32", torch.float64: "F64", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64"}


class Net(nn.Module):
    """A small network with batch norm and tied weights."""

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.wte = nn.Embedding(5, 4)
        self.norm = nn.BatchNorm1d(4)
        self.lm_head = nn.Linear(4, 5, bias=False)
        self.lm_head.weight = self.wte.weight
        with torch.no_grad():
            for k, tensor in enumerate(t for t in self.state_dict().values() if t.is_floating_point()):
                tensor.copy_(torch.arange(tensor.numel()).reshape(tensor.shape) + value + k)


def write_safetensors(path, tensors, pad=0):
    header, raw = {"__metadata__": {"format": "pt"}}, b""
    for name, tensor in tensors.items():
        part = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        place = [len(raw), len(raw) + len(part)]
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": place}
        raw += part
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8 + pad)
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw)


def same(model, other):
    own, others = model.state_dict(), other.state_dict()
    return own.keys() == others.keys() and all(torch.equal(own[name], others[name]) for name in own)


def prefixed(prefix, state):
    return {prefix + name: tensor for name, tensor in state.items()}


def tied_once(state):
    return {name: tensor for name, tensor in state.items() if name != "lm_head.weight"}


def shards(path, state, suffix):
    names = list(state)
    files = {f"model-0000{k}-of-00002.{suffix}": names[k - 1 :: 2] for k in (1, 2)}
    for file, inside in files.items():
        part = {name: state[name] for name in inside}
        write_safetensors(path / file, part) if suffix == "safetensors" else torch.save(part, path / file)
    index = {"metadata": {}, "weight_map": {name: file for file, inside in files.items() for name in inside}}
    name = "model.safetensors.index.json" if suffix == "safetensors" else "pytorch_model.bin.index.json"
    (path / name).write_text(json.dumps(index))
    return path / name


def folder(path, name="checkpoint-500"):
    made = path / name
    made.mkdir()
    (made / "config.json").write_text("{}")
    (made / "trainer_state.json").write_text(json.dumps({"global_step": 500, "epoch": 2.5}))
    torch.save({"state": {}}, made / "optimizer.pt")
    return made


def hugging_face(path, state):
    made = folder(path)
    write_safetensors(made / "model.safetensors", tied_once(state))
    return made


def hugging_face_shards(path, state):
    made = folder(path)
    shards(made, tied_once(state), "safetensors")
    return made


def hugging_face_bin(path, state):
    made = folder(path)
    torch.save(state, made / "pytorch_model.bin")
    return made


def saved(contents):
    def write(path, state):
        torch.save(contents(state), path / "a.ckpt")
        return path / "a.ckpt"

    return write


def tensors(contents, pad=0):
    def write(path, state):
        write_safetensors(path / "model.safetensors", contents(state), pad)
        return path / "model.safetensors"

    return write


def distributed(contents):
    def write(path, state):
        with warnings.catch_warnings(action="ignore"):  # that there is no process group
            dcp.save(contents(state), checkpoint_id=path / "dcp", no_dist=True)
        return path / "dcp"

    return write


LIGHTNING = {"epoch": 3, "global_step": 40, "pytorch-lightning_version": "2.6", "callbacks": {}, "lr_schedulers": []}
OTHER = Net(50.0).state_dict()
EVERYDAY = {
    "best": np.float64(0.25), "args": argparse.Namespace(lr=0.1, betas=(0.9, 0.999)), "path": pathlib.Path("a/b"),
    "when": datetime(2026, 1, 1), "counts": collections.defaultdict(int, a=1), "more": types.SimpleNamespace(a=1),
    "epoch": np.int64(3), "rng": np.arange(3), "queue": collections.deque([1, 2]), "flag": np.bool_(True),
}  # fmt: skip
KINDS = {
    "state_dict": saved(lambda s: s),
    "compiled": saved(lambda s: prefixed("_orig_mod.", s)),
    "DataParallel under model": saved(lambda s: {"model": prefixed("module.", s)}),
    "both prefixes": saved(lambda s: prefixed("_orig_mod.module.", s)),
    "model and ema": saved(lambda s: {"model": s, "ema": OTHER}),
    "no counters": saved(lambda s: {n: t for n, t in s.items() if "num_batches" not in n}),
    "Lightning": saved(lambda s: LIGHTNING | {"state_dict": prefixed("model.", s)}),
    "Lightning with another tensor": saved(
        lambda s: LIGHTNING | {"state_dict": prefixed("net.", s) | {"loss.weight": torch.ones(2)}}
    ),
    "averaged": saved(lambda s: {"n_averaged": torch.tensor(3)} | prefixed("module.", s)),
    "model_state": saved(lambda s: {"model_state": s, "step": 7}),
    "weights": saved(lambda s: {"weights": s}),
    "everyday values": saved(lambda s: EVERYDAY | {"state_dict": s}),
    "safetensors": tensors(tied_once),
    "safetensors at odd offsets": tensors(tied_once, pad=3),
    "safetensors index": lambda path, s: shards(path, tied_once(s), "safetensors"),
    "bin index": lambda path, s: shards(path, s, "bin"),
    "Hugging Face": hugging_face,
    "Hugging Face shards": hugging_face_shards,
    "Hugging Face bin": hugging_face_bin,
    "distributed": distributed(lambda s: {"model": s, "optimizer": {"lr": torch.ones(3)}, "step": 4}),
    "distributed alone": distributed(lambda s: s),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_read(kind, tmp_path):
    source, target = Net(0.5), Net()
    load_into(target, load_checkpoint(KINDS[kind](tmp_path, source.state_dict())))
    assert same(source, target)


def test_averaged_model_of_torch(tmp_path):
    source, target = AveragedModel(Net(0.5)), Net()
    torch.save(source.state_dict(), tmp_path / "a.pt")
    assert load_into(target, load_checkpoint(tmp_path / "a.pt")) == ("n_averaged",)
    assert same(source.module, target)


def test_steps_and_values(tmp_path):
    state = Net().state_dict()
    found = load_checkpoint(hugging_face(tmp_path, state))
    assert (found.step, found.epoch) == (500, 2.5)
    assert load_checkpoint(KINDS["Lightning"](tmp_path, state)).step == 40
    found = load_checkpoint(KINDS["everyday values"](tmp_path, state))
    assert found.epoch == 3


KEYED = {
    "ema.module": lambda s: {"model": OTHER, "ema": {"module": s, "decay": 0.9}},
    "model_ema": lambda s: {"model": OTHER, "model_ema": s},
    "ema_model": lambda s: LIGHTNING | {"state_dict": prefixed("model.", OTHER) | prefixed("ema_model.", s)},
    "a.b": lambda s: {"a.b": s, "c": OTHER},
    "last.ema": lambda s: {"last": {"ema": {"state_dict": s}}, "model": OTHER},
}


@pytest.mark.parametrize("key", KEYED)
def test_a_key_chooses(key, tmp_path):
    source, target = Net(0.5), Net()
    torch.save(KEYED[key](source.state_dict()), tmp_path / "a.pt")
    load_into(target, load_checkpoint(tmp_path / "a.pt", key=key))
    assert same(source, target)
    found = load_checkpoint(f"{tmp_path}/a.pt{KEY_MARK}{key}")
    load_into(target, load_checkpoint(found.path))  # as a surface file records it
    assert same(source, target)
    with pytest.raises(CheckpointError, match=r"has nothing under 'missing'; it has "):
        load_checkpoint(tmp_path / "a.pt", key="missing")


def test_a_choice_is_said(tmp_path):
    path = KINDS["model and ema"](tmp_path, Net(0.5).state_dict())
    assert load_with_note(Net(), load_checkpoint(path)).endswith("has weights under ema, too; a key chooses them")
    torch.save({"raw": OTHER, "ema": OTHER}, tmp_path / "b.pt")
    with pytest.raises(CheckpointError, match="has weights under raw and ema; choose one by its key, such as raw"):
        load_checkpoint(tmp_path / "b.pt")


def test_weights_in_deeper_dicts_are_named(tmp_path):
    model = Net(0.5)
    averaged = AveragedModel(Net(0.7))
    optimizer = {"state": {0: {"step": torch.ones(()), "exp_avg": torch.ones(3)}}}
    torch.save({"model": model.state_dict(), "ema": {"shadow": averaged.state_dict()}, "optimizer": optimizer},
               tmp_path / "a.pt")  # fmt: skip
    note = load_with_note(Net(), load_checkpoint(tmp_path / "a.pt"))
    assert note.endswith("has weights under ema.shadow, too; a key chooses them")
    torch.save({"ema": {"module": model.state_dict(), "decay": 0.9}, "optimizer": optimizer}, tmp_path / "b.pt")
    with pytest.raises(CheckpointError, match=r"has weights under ema\.module; choose by its key, ema\.module"):
        load_checkpoint(tmp_path / "b.pt")
    load_into(target := Net(), load_checkpoint(tmp_path / "b.pt", "ema.module"))
    assert same(target, model)


def test_a_distributed_tensor_in_chunks(tmp_path):
    """A tensor that two ranks wrote in halves, in their own files: the metadata is that of torch."""
    from torch.distributed.checkpoint import metadata as m
    from torch.distributed.checkpoint.filesystem import _StorageInfo

    whole = torch.arange(12.0).reshape(4, 3)
    chunks, storage = [], {}
    for rank in (0, 1):
        torch.save(whole[2 * rank : 2 * rank + 2].clone(), tmp_path / f"__{rank}_0.distcp")
        offset = torch.Size([2 * rank, 0])
        chunks.append(m.ChunkStorageMetadata(offset, torch.Size([2, 3])))
        length = (tmp_path / f"__{rank}_0.distcp").stat().st_size
        storage[m.MetadataIndex("weight", offset, rank)] = _StorageInfo(f"__{rank}_0.distcp", 0, length)
    size = torch.Size([4, 3])
    described = m.Metadata({"weight": m.TensorStorageMetadata(m.TensorProperties(), size, chunks)}, None, storage)
    (tmp_path / ".metadata").write_bytes(pickle.dumps(described))
    assert torch.equal(load_checkpoint(tmp_path).state_dict["weight"], whole)
    (tmp_path / "__1_0.distcp").write_bytes((tmp_path / "__1_0.distcp").read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="copied in full"):
        load_checkpoint(tmp_path)
    del storage[next(iter(storage))]
    (tmp_path / ".metadata").write_bytes(pickle.dumps(described))
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path)


class Adapted(nn.Module):
    """A layer with a low-rank adapter, with the names that PEFT gives."""

    def __init__(self, value=0.0, adapter="default"):
        super().__init__()
        self.base_layer = nn.Linear(4, 3)
        self.lora_A = nn.ModuleDict({adapter: nn.Linear(4, 2, bias=False)})
        self.lora_B = nn.ModuleDict({adapter: nn.Linear(2, 3, bias=False)})
        with torch.no_grad():
            for layer in (self.lora_A[adapter], self.lora_B[adapter]):
                layer.weight.fill_(value)


@pytest.mark.parametrize("adapter", ["default", "mine"])
def test_adapters_replace_what_they_hold(adapter, tmp_path):
    source, target = (nn.ModuleDict({"base_model": Adapted(value, adapter)}) for value in (0.5, 0.0))
    base = target["base_model"].base_layer.weight.clone()
    stored = {n.replace(f".{adapter}.", "."): t for n, t in source.state_dict().items() if "lora_" in n}
    write_safetensors(tmp_path / "adapter_model.safetensors", stored)
    note = load_with_note(target, load_checkpoint(tmp_path))
    assert "is an adapter of 2 tensors" in note
    assert target["base_model"].lora_A[adapter].weight.unique().tolist() == [0.5]
    assert torch.equal(target["base_model"].base_layer.weight, base)
    with pytest.raises(CheckpointError, match=r"no place for 2 of its 2 tensors .* peft.get_peft_model"):
        load_into(nn.Linear(4, 3), load_checkpoint(tmp_path))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_safetensors_of_every_precision(dtype, tmp_path):
    tensor = torch.linspace(-1, 1, 6).reshape(2, 3).to(dtype)
    write_safetensors(tmp_path / "a.safetensors", {"a": tensor, "b": tensor[:0], "c": tensor[0, 0]})
    found = read_safetensors(tmp_path / "a.safetensors")
    assert found["a"].dtype == dtype
    assert torch.equal(found["a"], tensor)
    assert (found["b"].shape, found["c"].shape) == ((0, 3), ())


def header(**entry):
    text = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | entry}).encode()
    return struct.pack("<Q", len(text)) + text + bytes(8)


DAMAGED = {
    "empty": b"",
    "short": b"12345",
    "header beyond the file": struct.pack("<Q", 2**62) + b"{}",
    "no JSON": struct.pack("<Q", 2) + b"{]",
    "a list": struct.pack("<Q", 2) + b"[]",
    "deep": struct.pack("<Q", 200) + b"[" * 200,
    "beyond the file": header(shape=[4], data_offsets=[0, 16]),
    "another size": header(shape=[2**40, 2**40]),
    "negative": header(shape=[-2], data_offsets=[8, 0]),
    "text": header(shape="ab"),
    "type": header(dtype="Q4"),
    "attribute of torch": header(dtype="nn"),
    "no range": header(data_offsets=None),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_safetensors(kind, tmp_path):
    (tmp_path / "a.safetensors").write_bytes(DAMAGED[kind])
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(tmp_path / "a.safetensors")


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (pathlib.Path(self.path),)


@pytest.mark.parametrize("kind", ["file", "metadata", "bin"])
def test_no_code_runs(kind, tmp_path):
    bad, mark = Payload(tmp_path / "mark"), tmp_path / "mark"
    (tmp_path / "folder").mkdir()
    if kind == "metadata":
        path = tmp_path / "folder"
        (path / ".metadata").write_bytes(pickle.dumps({"state_dict_metadata": {}, "storage_data": {}, "more": bad}))
    elif kind == "bin":
        path = tmp_path / "folder"
        torch.save({"a": torch.ones(2), "more": bad}, path / "pytorch_model.bin")
    else:
        path = tmp_path / "a.pt"
        torch.save({"state_dict": Net().state_dict(), "more": bad, "args": argparse.Namespace()}, path)
    with pytest.raises(CheckpointError):
        load_checkpoint(path)
    assert not mark.exists()


def test_shared_bytes_are_refused(tmp_path):
    """A small file whose tensors are all the same bytes would take any amount of memory."""
    text = json.dumps({f"t{k}": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for k in range(9)}).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
    with pytest.raises(CheckpointError, match="it declares 72 bytes of tensors and has 8"):
        load_checkpoint(tmp_path / "a.safetensors")
    KINDS["distributed alone"](tmp_path, {"a": torch.ones(500)})
    described = dcp.FileSystemReader(tmp_path / "dcp").read_metadata()
    (index, stored), entry = next(iter(described.storage_data.items())), described.state_dict_metadata["a"]
    for k in range(9):
        described.storage_data[replace(index, fqn=f"t{k}")] = stored
        described.state_dict_metadata[f"t{k}"] = entry
    (tmp_path / "dcp" / ".metadata").write_bytes(pickle.dumps(described))
    with pytest.raises(CheckpointError, match=r"its files have .* bytes, and \.metadata declares"):
        load_checkpoint(tmp_path / "dcp")


def test_a_file_of_a_distributed_checkpoint_stays_in_its_folder(tmp_path):
    KINDS["distributed alone"](tmp_path, {"a": torch.ones(500)})
    raw = (tmp_path / "dcp" / ".metadata").read_bytes()
    (tmp_path / "dcp" / ".metadata").write_bytes(raw.replace(b"__0_0.distcp", b"../_0.distcp"))
    with pytest.raises(CheckpointError, match="outside of the folder"):
        load_checkpoint(tmp_path / "dcp")


@pytest.mark.parametrize("contents", [[1], {"weight_map": {"a": ["b"]}}, {"weight_map": [1]}])
def test_damaged_json(contents, tmp_path):
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(contents))
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path)
    made = hugging_face(tmp_path, Net().state_dict())
    (made / "trainer_state.json").write_text("[]")
    with pytest.raises(CheckpointError, match="expected a dict with the step, got list"):
        load_checkpoint(made)


def test_flipped_bits(tmp_path):
    """Whatever is damaged, the error is ours, or values differ: no crash and no hang."""
    draw = np.random.default_rng(0)
    kinds = ("distributed", "safetensors", "safetensors index", "everyday values")
    for number, kind in enumerate(kinds):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = KINDS[kind](folder, Net(0.5).state_dict())
        damaged = path / ".metadata" if path.is_dir() else path
        raw = damaged.read_bytes()
        for _ in range(60):
            bad = bytearray(raw)
            bad[draw.integers(min(len(raw), 900))] ^= 1 << draw.integers(8)
            damaged.write_bytes(bytes(bad))
            with contextlib.suppress(CheckpointError):
                load_checkpoint(path)


@pytest.mark.parametrize("name", ["../a.safetensors", "/etc/passwd", 3])
def test_an_index_stays_in_its_folder(name, tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(CheckpointError, match="outside of its folder"):
        load_checkpoint(tmp_path)


def test_a_missing_shard_is_named(tmp_path):
    path = shards(tmp_path, tied_once(Net().state_dict()), "safetensors")
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"incomplete: model-00002-of-00002\.safetensors is missing"):
        load_checkpoint(path)


def test_a_folder_of_something_else(tmp_path):
    with pytest.raises(CheckpointError, match="expected a run or a checkpoint, got the directory"):
        load_checkpoint(tmp_path)


def test_values_in_another_form_say_what_to_save(tmp_path, monkeypatch):
    """A dict whose entries are attributes, too, as ``EasyDict``: it is pickled with both."""
    module = types.ModuleType("easydict")
    module.EasyDict = type("EasyDict", (dict,), {"__module__": "easydict"})
    monkeypatch.setitem(sys.modules, "easydict", module)
    settings = module.EasyDict(lr=0.1)
    settings.lr = 0.1
    torch.save({"state_dict": Net().state_dict(), "config": settings}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"holds a easydict\.EasyDict.*Save its state_dict\(\) alone"):
        load_checkpoint(tmp_path / "a.pt")


def test_a_whole_model_says_what_to_save(tmp_path):
    torch.save(nn.Sequential(nn.Linear(2, 2)), tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"holds a torch.nn.*Save its state_dict\(\) alone"):
        load_checkpoint(tmp_path / "a.pt")


def test_a_part_of_several_is_named(tmp_path):
    torch.save({"wte.weight": torch.zeros(5, 4)}, part := tmp_path / "pytorch_model-00001-of-00002.bin")
    with pytest.raises(
        CheckpointError, match=rf"part 1 of 2 of a checkpoint: give its folder, {tmp_path}, or its index"
    ):
        load_into(Net(), load_checkpoint(part))
