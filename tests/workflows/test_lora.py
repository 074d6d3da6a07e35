"""Tests of planes of networks with adapters of PEFT: in the factors, in the merged weights, and before training."""

from __future__ import annotations

import copy
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import landscape
from landscape.cli.main import main
from landscape.errors import CheckpointError, StoreError
from landscape.evaluation.config import EvaluationConfig
from landscape.geometry.weights import Weights
from landscape.problem import Problem, Split
from landscape.render.labels import source_name
from landscape.render.plots.interpolation import end_names
from landscape.sweep.config import SweepConfig
from landscape.workflows.check import check
from landscape.workflows.info import info
from landscape.workflows.merged import has_adapters, without_adapters
from landscape.workflows.planes import PlaneConfig
from landscape.workflows.surface import compute_surface

peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")

DOUBLE = EvaluationConfig(dtype="float64")


def squared(outputs, targets):
    return (outputs - targets).square().mean(1)


def plain_network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))


def plain_data():
    generator = torch.Generator().manual_seed(1)
    return {"train": Split(torch.randn(20, 5, generator=generator), torch.randn(20, 3, generator=generator))}


def plain_problem():
    """A network whose first layer has an adapter."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = peft.get_peft_model(plain_network(), peft.LoraConfig(r=2, lora_alpha=6, target_modules=["0"]))
    return Problem(model, plain_data(), squared)


def token_loss(logits, ids):
    return nn.functional.cross_entropy(logits[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none").mean(1)


def language_model():
    config = transformers.GPT2Config(
        vocab_size=30, n_positions=8, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return transformers.GPT2LMHeadModel(config).eval()


def encoder():
    config = transformers.BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=8, num_labels=3,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return transformers.BertForSequenceClassification(config).eval()


def tokens():
    return torch.randint(0, 30, (10, 8), generator=torch.Generator().manual_seed(3))


def problem_of(model):
    """The problem of a network of Hugging Face, with or without an adapter."""
    split = Split({"input_ids": tokens()}, tokens())
    return Problem(model, {"train": split}, token_loss, forward=lambda net, batch: net(**batch).logits)


def with_random_factors(model, seed=4):
    """Give all trained tensors values as after training, without training."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    return model


CONFIGS = {
    "Conv1D": (language_model, {"target_modules": ["c_attn"], "fan_in_fan_out": True}),
    "rank-stabilized": (language_model, {"target_modules": ["c_proj"], "use_rslora": True, "fan_in_fan_out": True}),
    "DoRA": (language_model, {"target_modules": ["c_attn"], "use_dora": True, "fan_in_fan_out": True}),
    "embedding": (language_model, {"target_modules": ["wpe"]}),
    "tied head as a whole": (
        language_model, {"target_modules": ["c_attn"], "modules_to_save": ["lm_head"], "fan_in_fan_out": True},
    ),
    "classifier as a whole": (encoder, {"target_modules": ["query", "value"], "modules_to_save": ["classifier"]}),
    "biases": (encoder, {"target_modules": ["query"], "bias": "lora_only"}),
    "new tokens": (language_model, {"target_modules": ["c_attn"], "trainable_token_indices": [1, 2],
                                    "fan_in_fan_out": True}),
}  # fmt: skip


@pytest.mark.parametrize("kind", CONFIGS)
def test_merged_plane_ends_at_merge_and_unload(kind):
    make, options = CONFIGS[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = with_random_factors(peft.get_peft_model(make(), peft.LoraConfig(r=2, lora_alpha=7, **options)))
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        plane = PlaneConfig(merged=True).make_plane(model)
        expected = copy.deepcopy(model).merge_and_unload().state_dict()
    found, base = plane.at((1.0, 0.0)), make().state_dict()
    trained = {n for n in base if kind == "biases" and n.endswith("query.bias")}
    for name, tensor in found:
        scale = max(float(expected[name].abs().max()), float(plane.origin.tensors[name].abs().max()))
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=2.4e-7 * scale, msg=name)
        if name not in trained:
            assert torch.equal(plane.origin.tensors[name], base[name]), name
    changed = {name for name in plane.origin.tensors if not torch.equal(expected[name], base[name])} - trained
    assert plane.origin.trainable == changed
    random = plane.directions[1].weights.tensors
    assert {name for name, tensor in random.items() if tensor.any()} == {n for n in changed if base[n].ndim > 1}
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def loss_by_hand(weight, bias, second, data):
    hidden = torch.tanh(data.inputs.double() @ weight.T + bias)
    outputs = hidden @ second["2.weight"].double().T + second["2.bias"].double()
    return float((outputs - data.targets.double()).square().mean())


def test_values_in_both_coordinates():
    """By hand in float64: the product of moved factors, and the base with multiples of the update."""
    problem = plain_problem()
    with_random_factors(problem.model)
    own, base = problem.model.state_dict(), plain_network().state_dict()
    prefix = "base_model.model.0"
    a, b = (own[f"{prefix}.lora_{each}.default.weight"].double() for each in "AB")
    weight, bias = base["0.weight"].double(), base["0.bias"].double()
    data = problem.splits["train"]

    axes = ["-1:1:3", "-1:2:4"]
    factors = PlaneConfig(only="trainable", seed=5)
    plane = factors.make_plane(problem.model)
    moves = [direction.weights.tensors for direction in plane.directions]
    expected = np.empty((4, 3))
    for j, y in enumerate([-1, 0, 1, 2]):
        for i, x in enumerate([-1, 0, 1]):
            moved = [
                each
                + x * moves[0][f"{prefix}.lora_{k}.default.weight"]
                + y * moves[1][f"{prefix}.lora_{k}.default.weight"]
                for each, k in ((a, "A"), (b, "B"))
            ]
            expected[j, i] = loss_by_hand(weight + 3 * moved[1] @ moved[0], bias, base, data)
    found = compute_surface(problem, factors, axes, evaluation=DOUBLE).surface
    np.testing.assert_allclose(found.metric(), expected, rtol=1e-12)

    merged = PlaneConfig(merged=True, seed=5)
    random = merged.make_plane(problem.model).directions[1].weights.tensors["0.weight"].double()
    expected = np.array(
        [
            [loss_by_hand(weight + x * 3 * b @ a + y * random, bias, base, data) for x in (-1, 0, 1)]
            for y in range(-1, 3)
        ]
    )
    values = compute_surface(problem, merged, axes, evaluation=DOUBLE).surface.metric()
    np.testing.assert_allclose(values, expected, rtol=1e-6)  # the update is one in single precision
    assert abs(values[2, 2] / found.metric()[2, 2] - 1) > 0.01
    np.testing.assert_allclose(values[1, 2], found.metric()[1, 1], rtol=1e-6)  # the adapter itself


def test_adapters_as_targets(tmp_path):
    """The folder of an adapter is a target of its base; further adapters are further axes of the merged plane."""
    problem = plain_problem()
    for name, seed in (("one", 4), ("two", 6)):
        with_random_factors(problem.model, seed).save_pretrained(tmp_path / name)
        torch.save(problem.model.state_dict(), tmp_path / f"{name}.pt")
    base = Problem(plain_network(), problem.splits, squared)
    plane = PlaneConfig(to=(tmp_path / "one", tmp_path / "two")).make_plane(base.model)
    assert [direction.recipe.kind for direction in plane.directions] == ["merged", "merged"]
    two = copy.deepcopy(problem.model).merge_and_unload().state_dict()  # the last one
    torch.testing.assert_close(plane.at((0.0, 1.0)).tensors["0.weight"], two["0.weight"])
    problem.model.load_state_dict(torch.load(tmp_path / "one.pt"))
    torch.save(copy.deepcopy(problem.model).merge_and_unload().state_dict(), tmp_path / "merged.pt")
    for target in ("two", "two.pt"):
        beside = PlaneConfig(merged=True, to=tmp_path / target).make_plane(problem.model)
        assert beside.digests() == plane.digests()
    (direction,) = PlaneConfig(to=tmp_path / "merged.pt").make_plane(base.model, 1).directions
    assert direction.weights.digest() == plane.digests()[0]
    with pytest.raises(ValueError, match="at most 1 targets beside the network's own"):
        PlaneConfig(merged=True, to=(tmp_path / "one", tmp_path / "two")).make_plane(problem.model)
    (tmp_path / "two" / "adapter_config.json").unlink()
    with pytest.raises(CheckpointError, match=r"peft\.get_peft_model"):
        PlaneConfig(to=tmp_path / "two").make_plane(base.model)
    other = Problem(nn.Sequential(nn.Linear(4, 4)), problem.splits, squared)
    with pytest.raises(CheckpointError, match="one"):
        PlaneConfig(to=tmp_path / "one").make_plane(other.model)


def test_injected_and_nested_adapters():
    """Adapters without a PeftModel around them, within a module of the user, or merged already."""
    config = peft.LoraConfig(r=2, target_modules=["0"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        wrapped = peft.get_peft_model(plain_network(), config)
        injected = peft.inject_adapter_in_model(config, plain_network())
    with_random_factors(wrapped)
    for (name, tensor), (_, own) in zip(injected.named_parameters(), wrapped.named_parameters(), strict=True):
        assert name in _
        tensor.data.copy_(own.data)
    nested = nn.ModuleDict({"net": wrapped})
    digests = [PlaneConfig(merged=True).make_plane(model).digests() for model in (wrapped, injected)]
    assert digests[0] == digests[1]
    inner = PlaneConfig(merged=True).make_plane(nested).directions[0].weights.tensors
    own = PlaneConfig(merged=True).make_plane(wrapped).directions[0].weights.tensors
    assert all(torch.equal(tensor, own[name.removeprefix("net.")]) for name, tensor in inner.items())
    wrapped.merge_adapter()
    again = PlaneConfig(merged=True).make_plane(wrapped)
    torch.testing.assert_close(again.directions[0].weights.tensors["0.weight"], own["0.weight"])
    assert has_adapters(nested)
    assert not has_adapters(without_adapters(Problem(nested, plain_data(), squared)).model)
    with pytest.raises(ValueError, match="expected a network with adapters of PEFT"):
        PlaneConfig(merged=True).make_plane(plain_network())
    with pytest.raises(ValueError, match="merged: expected no other directions"):
        PlaneConfig(merged=True, hessian=(1,))


def test_zero_factors_are_noticed():
    problem, said = plain_problem(), []
    axes = ["-1:1:3", "-1:1:3"]
    flat = compute_surface(problem, PlaneConfig(only="trainable"), axes, on_message=said.append).surface
    assert np.ptp(flat.metric()) == 0
    (remark,) = [text for text in said if text.startswith("warning: ")]
    assert "1 tensor that is zero at the origin cannot move" in remark
    assert "0.lora_B.default.weight" in remark
    assert "The product of LoRA's factors is then zero everywhere" in remark
    said.clear()
    for normalization in ("unit-layer", "none"):
        plane = PlaneConfig(only="trainable", normalization=normalization)
        assert np.ptp(compute_surface(problem, plane, axes, on_message=said.append).surface.metric()) > 0
    assert not any("zero at the origin" in text for text in said)
    with pytest.raises(ValueError, match="merging that of the network changes nothing: it is as before training"):
        compute_surface(problem, PlaneConfig(merged=True), axes)
    with_random_factors(problem.model)
    compute_surface(problem, PlaneConfig(only="trainable"), axes, on_message=said.append)
    assert not any("zero at the origin" in text for text in said)


def test_trainable_parameters():
    """The word means what requires gradients, in every kind of plane and for derivatives."""
    problem = plain_problem()
    with_random_factors(problem.model)
    names = {name for name, parameter in problem.model.named_parameters() if parameter.requires_grad}
    plane = PlaneConfig(only="trainable").make_plane(problem.model)
    assert plane.origin.trainable == names
    assert all({n for n, t in d.weights if t.any()} == names for d in plane.directions)
    pattern = PlaneConfig(only="*lora_*").make_plane(problem.model)
    assert plane.digests() == pattern.digests()
    frozen = PlaneConfig(freeze="trainable", ignore="none").make_plane(problem.model)
    assert all({n for n, t in d.weights if t.any()} == set(frozen.origin.tensors) - names for d in frozen.directions)
    hessian = landscape.hessian_plane(problem, (1,), only="trainable")
    assert {n for n, t in hessian.directions[0].weights if t.any()} == names
    curvature = landscape.curvature(problem, landscape.CurvatureConfig(only=("trainable",), k=1, trace_probes=0,
                                                                       density_probes=0))  # fmt: skip
    assert curvature.parameters == sum(problem.model.get_parameter(name).numel() for name in names)
    problem.model.requires_grad_(False)
    with pytest.raises(ValueError, match="no parameter of the network requires gradients"):
        PlaneConfig(only="trainable").make_plane(problem.model)
    with pytest.raises(ValueError, match="don't say which parameters require gradients"):
        landscape.random_plane(Weights(dict(problem.model.named_parameters())), only=["trainable"])
    odd = nn.ParameterDict({"trainable": nn.Parameter(torch.ones(2, 2)), "other": nn.Parameter(torch.ones(2, 2))})
    chosen = PlaneConfig(only="[t]rainable").make_plane(odd).directions[0].weights
    assert [name for name, tensor in chosen if tensor.any()] == ["trainable"]


def test_what_moved_is_said(tmp_path):
    problem = plain_problem()
    with_random_factors(problem.model)
    axes, out, said = ["-1:1:3", "-1:1:3"], tmp_path / "s.h5", []
    compute_surface(problem, PlaneConfig(only="*lora_*"), axes, SweepConfig(out), on_message=said.append)
    words = "22 of 79 parameters: only *lora_*, ignoring biases and batch norm"
    assert "moving 22 of 79 parameters in float32: only *lora_*" in said[0]
    assert info(out).facts["moving"] == words
    assert info(out).facts["problem"] == "PeftModel, made in Python"
    assert landscape.read_surface(out).metadata.moving.to_json() == {"moving": 22, "parameters": 79}
    figure = landscape.plot(out)
    notes = " ".join(text.get_text() for text in figure.axes[0].texts).replace("\n", " ")
    assert "moving 22 of 79 parameters: only *lora_*" in notes
    with pytest.raises(StoreError) as refused:
        compute_surface(problem, PlaneConfig(freeze="*2.weight"), axes, SweepConfig(out))
    assert f"directions: the file has {words}, this sweep uses " in str(refused.value)
    assert "52 of 79 parameters: freezing *2.weight, ignoring biases and batch norm" in str(refused.value)
    with_random_factors(problem.model, 8)
    with pytest.raises(StoreError, match="origin: the file has other weights at the origin") as refused:
        compute_surface(problem, PlaneConfig(only="*lora_*"), axes, SweepConfig(out))
    assert not any(
        len(word.strip("'.,;")) >= 12 and set(word) <= set("0123456789abcdef'.") for word in str(refused.value).split()
    )


FACTORY = """
import peft
import torch
from landscape import Problem, Split
from torch import nn


def squared(outputs, targets):
    return (outputs - targets).square().mean(1)


def base():
    torch.manual_seed(0)
    data = Split(torch.randn(20, 5), torch.randn(20, 3))
    return Problem(nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)), {"train": data}, squared)


def adapted():
    problem = base()
    model = peft.get_peft_model(problem.model, peft.LoraConfig(r=2, lora_alpha=6, target_modules=["0"]))
    return Problem(model, problem.splits, squared)
"""


@pytest.fixture
def program(tmp_path, monkeypatch, capsys):
    """A file with problems, the adapter of one in a folder, and a function that runs a command."""
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(FACTORY)
    with torch.random.fork_rng(devices=[]):
        model = landscape.ProblemSpec(factory="mine.py:adapted").build().model
    with_random_factors(model).save_pretrained("adapter")

    def run(*words):
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run


def test_commands(program):
    """The factor plane and the merged plane of one adapter, checked, resumed, and in one figure."""
    common = ["--x", "-1:1:3", "--y", "-1:1:3", "--ranks", "1"]
    adapted = ["surface", "adapter", "--problem", "mine.py:adapted", *common]
    assert program(*adapted, "--only", "trainable", "--out", "factors.h5")[0] == 0
    code, said = program(*adapted, "--plane", "merged", "--out", "merged.h5")
    assert code == 0
    assert "moving 30 of 57 parameters in float32: only what the adapter changes" in said
    for name in ("factors.h5", "merged.h5"):
        code, said = program("check", name, "--trust")
        assert "ok    origin" in said, said
        assert "ok    repeats" in said, said
        assert "network cannot be rebuilt" not in said, said
    assert "only what the adapter changes" in program("info", "merged.h5")[1]
    before = Path("merged.h5").read_bytes()
    assert program(*adapted, "--plane", "merged", "--out", "merged.h5")[0] == 0
    assert Path("merged.h5").read_bytes() == before
    code, said = program(*adapted, "--out", "merged.h5")
    assert code == 1
    assert "directions: the file has 30 of 57 parameters: only what the adapter changes" in said
    torch.save(landscape.ProblemSpec(factory="mine.py:base").build().model.state_dict(), "base.pt")
    assert (
        program("surface", "base.pt", "--problem", "mine.py:base", "--to", "adapter", *common, "--out", "to.h5")[0] == 0
    )
    found = [landscape.read_surface(name).metric()[1] for name in ("to.h5", "merged.h5")]
    assert np.array_equal(found[0], found[1])
    assert program("plot", "factors.h5", "merged.h5", "--out", "both.png")[0] == 0
    assert program(*adapted, "--plane", "mergd", "--out", "m.h5")[0] == 2


def test_stopped_sweeps_are_resumed_bit_for_bit(program):
    spec = landscape.ProblemSpec(factory="mine.py:adapted")
    arguments = {"grid": ["-1:1:3", "-1:2:4"], "problem": spec}
    for plane in (PlaneConfig(only="trainable"), PlaneConfig(merged=True)):
        out = Path(f"{plane.merged}.h5")
        left = [4]

        def stop(left=left):
            left[0] -= 1
            return left[0] < 0

        assert not compute_surface("adapter", plane, config=SweepConfig(out), stop=stop, **arguments).complete
        assert compute_surface("adapter", plane, config=SweepConfig(out), **arguments).complete
        whole = compute_surface("adapter", plane, **arguments).surface
        assert landscape.read_surface(out).metric().tobytes() == whole.metric().tobytes()
        assert math.isfinite(float(whole.metric().sum()))
        assert [finding.verdict for finding in check(out) if finding.name == "origin"] == ["ok"]


@pytest.mark.mpi
@pytest.mark.slow  # each rank imports peft
def test_two_ranks_equal_one(program):
    """The root makes the merged plane, and each rank the network without adapters."""
    spec = landscape.ProblemSpec(factory="mine.py:adapted")
    arguments = {"plane": PlaneConfig(merged=True), "grid": ["-1:1:3", "-1:2:4"], "problem": spec}
    one, two = (compute_surface("adapter", ranks=ranks, **arguments).surface for ranks in (1, 2))
    assert one.metric().tobytes() == two.metric().tobytes()
    assert one.metadata.settings.directions == two.metadata.settings.directions


def test_paths_of_adapters_on_a_merged_plane(program, tmp_path):
    """Each adapter is at the coordinates of its merged network, with the loss and gradient of that network."""
    problem = landscape.ProblemSpec(factory="mine.py:adapted").build()
    merged = {}
    for step in (1, 2, 3):
        with_random_factors(problem.model, 10 + step).save_pretrained(f"path/checkpoint-{step}")
        merged[step] = copy.deepcopy(problem.model).merge_and_unload()
    common = ["--problem", "mine.py:adapted", "--ranks", "1"]
    plane = ["--plane", "merged", "--x", "-1:1:3", "--y", "-1:1:3", "--out", "plane.h5"]
    assert program("surface", "path/checkpoint-3", *common, *plane)[0] == 0
    (found,) = landscape.project(
        "path", "plane.h5", problem=landscape.ProblemSpec(factory="mine.py:adapted"), measure=True, gradient=True
    )
    np.testing.assert_allclose(found.coordinates[-1], [1, 0], atol=1e-6)
    assert found.distance[-1] == pytest.approx(0, abs=1e-5)
    origin = landscape.read_surface("plane.h5")
    assert origin.metadata.checkpoint.path.endswith("checkpoint-3")
    base = landscape.ProblemSpec(factory="mine.py:base").build()
    data = base.splits["train"]
    for k, network in enumerate(merged.values()):
        network.double()
        loss = squared(network(data.inputs.double()), data.targets.double()).mean()
        assert found.loss[k] == pytest.approx(float(loss), rel=1e-6)
        displaced = [t.detach() - base.model.state_dict()[n] for n, t in network.named_parameters()]
        assert found.displacement[k] == pytest.approx(float(sum(t.square().sum() for t in displaced)) ** 0.5, rel=1e-6)
        network.requires_grad_(True)
        gradients = torch.autograd.grad(squared(network(data.inputs.double()), data.targets.double()).mean(),
                                        list(network.parameters()))  # fmt: skip
        norm = float(sum(gradient.square().sum() for gradient in gradients)) ** 0.5
        assert found.gradient.norm[k] == pytest.approx(norm, rel=1e-5)
    code, said = program("trajectory", "path", "--plane", "plane.h5", "--problem", "mine.py:adapted", "--out", "t.h5")
    assert code == 0, said
    assert "has adapters" in said


def test_flat_surface_is_explained_by_check(program):
    with torch.random.fork_rng(devices=[]):
        model = landscape.ProblemSpec(factory="mine.py:adapted").build().model
    model.save_pretrained("untrained")
    common = ["--problem", "mine.py:adapted", "--ranks", "1", "--x", "-1:1:3", "--y", "-1:1:3"]
    code, said = program("surface", "untrained", *common, "--only", "trainable", "--out", "flat.h5")
    assert code == 0
    assert "cannot move, since random directions are scaled to the size of the weights" in said
    (relief,) = [finding for finding in check("flat.h5", evaluate=False) if finding.name == "relief"]
    assert relief.verdict == "bad"
    assert "0.lora_B.default.weight" in relief.advice
    assert "Train it first" in relief.advice
    assert "larger range" not in relief.advice


def test_ends_of_lines_are_named(program):
    common = ["--ranks", "1", "--x", "-0.5:1.5:5"]
    assert program("surface", "adapter", "--problem", "mine.py:adapted", "--plane", "merged", *common,
                   "--out", "own.h5")[0] == 0  # fmt: skip
    torch.save(landscape.ProblemSpec(factory="mine.py:base").build().model.state_dict(), "base.pt")
    assert program("surface", "base.pt", "--problem", "mine.py:base", "--to", "adapter", *common,
                   "--out", "to.h5")[0] == 0  # fmt: skip
    assert end_names(landscape.read_surface("own.h5")) == ("without adapters", "adapter merged")
    assert end_names(landscape.read_surface("to.h5")) == ("base", "adapter merged")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("runs/sgd", "SGD"), ("runs/sgd/checkpoints/step-00000120.pt", "SGD"), ("models/llama-3.1", "llama-3.1"),
        ("out/checkpoint-500/model.safetensors", "checkpoint-500"), ("tuned/adapter_model.bin", "tuned"),
        ("weights.ckpt::ema.module", "weights (ema.module)"), ("models/base.safetensors", "base"),
    ],
)  # fmt: skip
def test_short_names_of_checkpoints(path, name):
    assert source_name(path) == name
