"""Models of Hugging Face as they are: values by hand, and equal to those of the models themselves."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import os
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional

from landscape import (
    CheckpointError,
    DataError,
    EvaluationConfig,
    Problem,
    ProblemSpec,
    Split,
    compute_surface,
    cross_entropy,
    huggingface,
)
from landscape._utils.own_call import own_forward
from landscape.training.measure import measure

TEXTS = ["a b c d e f", "g h", "i j k l w1 w2 w3", "m n o", "p q r s t u v w x y z", "w4 w5 w6 w7 a b"]


def value(problem, batch_size, names=("loss", "acc", "perplexity")):
    with own_forward(problem.model, problem.forward):
        found = measure(problem.model, problem.splits["train"], problem.loss, problem.metrics, batch_size)
    return [found[name] for name in names if name in found]


def by_hand(model, texts, tokenizer):
    """Return mean loss and accuracy over the tokens, one sequence at a time without padding."""
    model.eval()
    losses, right = [], []
    for text in texts:
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0, :-1]
        losses += functional.cross_entropy(logits, ids[0, 1:], reduction="none").tolist()
        right += (logits.argmax(1) == ids[0, 1:]).tolist()
    return [math.fsum(losses) / len(losses), 100 * sum(right) / len(right), math.exp(math.fsum(losses) / len(losses))]


@pytest.mark.parametrize("texts", [TEXTS, sorted(TEXTS, key=len)])
def test_loss_is_a_mean_over_tokens(gpt2, tokenizer, texts):
    problem = huggingface.causal_lm(gpt2, texts, tokenizer=tokenizer)
    expected = by_hand(gpt2, texts, tokenizer)
    for size in (1, 4, 6):
        assert value(problem, size) == pytest.approx(expected, rel=1e-12)


def test_loss_of_one_batch_is_that_of_the_model(gpt2, tokenizer):
    problem = huggingface.causal_lm(gpt2, TEXTS, tokenizer=tokenizer)
    split = problem.splits["train"]
    gpt2.eval()
    with torch.no_grad():
        own = gpt2(**split.inputs, labels=split.targets).loss
    assert value(problem, 6)[0] == pytest.approx(float(own), rel=1e-6)  # transformers computes it in float32
    assert (split.targets == -100).sum() > 0


def test_surface(gpt2, tokenizer):
    problem = huggingface.causal_lm(gpt2, TEXTS, tokenizer=tokenizer, test=TEXTS[:2])
    names = set(gpt2.state_dict())
    before = {name: tensor.clone() for name, tensor in gpt2.state_dict().items()}
    centres = []
    for size in (1, 4, 64):
        surface = compute_surface(
            problem, grid=("-1:1:3", "0:1:2"), evaluation=EvaluationConfig(batch_size=size)
        ).surface
        centres.append([surface.metric(name)[0, 1] for name in ("train_loss", "train_acc", "train_perplexity")])
    assert gpt2.training
    assert np.allclose(centres, by_hand(gpt2, TEXTS, tokenizer), rtol=1e-12)
    assert "train_loss_stderr" in surface.values
    assert np.allclose(surface.metric("test_perplexity"), np.exp(surface.metric("test_loss")))
    assert set(gpt2.state_dict()) == names
    assert all(torch.equal(tensor, before[name]) for name, tensor in gpt2.state_dict().items())


ROWS = [{"text": text, "label": label} for text, label in zip(TEXTS, [0, 2, "fair", 1, "good", 2], strict=True)]


def test_classifier(bert, tokenizer):
    problem = huggingface.sequence_classifier(bert, [*ROWS, {"text": "a", "label": -100}], tokenizer=tokenizer)
    labels = torch.tensor([0, 2, 1, 1, 2, 2])
    assert torch.equal(problem.splits["train"].targets, labels)
    bert.eval()
    with torch.no_grad():
        logits = torch.cat([bert(**tokenizer(text, return_tensors="pt")).logits for text in TEXTS])
        own = bert(**problem.splits["train"].inputs, labels=labels).loss
    expected = [functional.cross_entropy(logits, labels), 100 * (logits.argmax(1) == labels).double().mean()]
    for size in (1, 4, 6):
        assert value(problem, size) == pytest.approx([float(each) for each in expected], rel=1e-12)
    assert value(problem, 6)[0] == pytest.approx(float(own), rel=1e-12)


@pytest.mark.parametrize(
    ("kind", "labels", "count"),
    [("regression", [0.5, 1.0, -1.0, 2.0, 0.0, 3.0], 1), ("regression", [[k, 1.0] for k in range(6)], 2),
     ("multi_label_classification", [[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0], [0, 0, 1], [1, 0, 0]], 3)],
)  # fmt: skip
def test_labels_that_are_numbers(bert, tokenizer, kind, labels, count):
    settings = {name: value for name, value in bert.config.to_dict().items() if name not in ("id2label", "label2id")}
    model = type(bert)(type(bert.config)(**{**settings, "num_labels": count, "problem_type": kind}))
    samples = [{**tokenizer(text), "labels": label} for text, label in zip(TEXTS, labels, strict=True)]
    problem = huggingface.sequence_classifier(model.double().eval(), samples)
    split = problem.splits["train"]
    with torch.no_grad():
        own = model(**split.inputs, labels=split.targets.double().reshape(6, count)).loss
    for size in (1, 4, 6):
        assert value(problem, size)[0] == pytest.approx(float(own), rel=1e-12)


def test_forms_of_data(gpt2, tokenizer, tmp_path):
    tokenized = [dict(tokenizer(text)) for text in TEXTS]
    expected = value(huggingface.causal_lm(gpt2, TEXTS, tokenizer=tokenizer), 4)
    split = huggingface.causal_lm(gpt2, tokenized).splits["train"]
    (tmp_path / "t.csv").write_text("n,body\n" + "".join(f"{k},{text}\n" for k, text in enumerate(TEXTS)))
    (tmp_path / "t.json").write_text(json.dumps([{"text": text} for text in TEXTS]))
    forms = [
        tokenized,
        iter(tokenized),
        torch.utils.data.DataLoader(tokenized, 2, shuffle=True, collate_fn=lambda batch: batch),
        [{"input_ids": np.array(row["input_ids"])} for row in tokenized],
        [{**row, "labels": [-100, *row["input_ids"][1:]]} for row in tokenized],
        {**split.inputs},
        split,
    ]
    for form in forms:
        assert value(huggingface.causal_lm(gpt2, form, pad_id=7), 4) == pytest.approx(expected, rel=1e-12)
    for name, text in (("t.csv", "body"), ("t.json", "text")):
        problem = huggingface.causal_lm(gpt2, tmp_path / name, tokenizer=tokenizer, text=text)
        assert value(problem, 4) == pytest.approx(expected, rel=1e-12)
    ids = torch.randint(64, (5, 9))
    assert huggingface.causal_lm(gpt2, ids, limit=3).splits["train"].targets.equal(ids[:3])


def test_long_text_is_divided(gpt2, tokenizer, tmp_path):
    words = [f"w{k % 36}" for k in range(70)]
    (tmp_path / "t.txt").write_text(" ".join(words))
    split = huggingface.causal_lm(gpt2, tmp_path / "t.txt", tokenizer=tokenizer).splits["train"]
    assert split.inputs["attention_mask"].sum(1).tolist() == [32, 32, 6]  # 32 is the largest length of the model
    assert len(huggingface.causal_lm(gpt2, [" ".join(words)], tokenizer=tokenizer).splits["train"].targets[0]) == 32


def test_labels_of_minus_100_do_not_count(gpt2):
    samples = [{"input_ids": [2, 3, 4, 5], "labels": [-100, -100, 4, 5]}, {"input_ids": [6, 7], "labels": [-100, 7]}]
    problem = huggingface.causal_lm(gpt2.eval(), samples)
    losses = []
    for sample in samples:
        with torch.no_grad():
            logits = gpt2(input_ids=torch.tensor([sample["input_ids"]])).logits[0, :-1]
        each = functional.cross_entropy(logits, torch.tensor(sample["input_ids"])[1:], reduction="none")
        losses += each[torch.tensor(sample["labels"])[1:] != -100].tolist()
    assert len(losses) == 3
    assert value(problem, 1)[0] == pytest.approx(math.fsum(losses) / 3, rel=1e-12)


def test_large_vocabularies_are_measured_in_parts(monkeypatch):
    from landscape.integrations import tokens

    logits, labels = torch.randn(5, 7, 11, dtype=torch.float64, requires_grad=True), torch.randint(11, (5, 7))
    whole = tokens.token_loss(logits, labels)[0]
    (gradient,) = torch.autograd.grad(whole.square().sum(), logits)
    monkeypatch.setattr(tokens, "_CHUNK", 4 * 11)
    parts = tokens.token_loss(logits, labels)[0]
    assert torch.equal(parts, whole)
    assert torch.equal(torch.autograd.grad(parts.square().sum(), logits)[0], gradient)
    # More positions than labels, as with the prompt of an adapter: the last ones count.
    longer = torch.cat([torch.randn(5, 3, 11, dtype=torch.float64), logits], 1)
    assert torch.equal(tokens.token_loss(longer, labels)[0], whole)
    assert tokens.Perplexity().compute() != tokens.Perplexity().compute()  # NaN without tokens


@pytest.mark.parametrize(
    ("data", "options", "error"),
    [
        (TEXTS, {}, "needs a tokenizer"),
        ([{"words": "a"}], {}, "text="),
        ([[1, 2]], {}, "a dict with a text or input_ids"),
        ([{"input_ids": [1, 64]}], {}, "vocabulary"),
        ([{"input_ids": [1, 2], "attention_mask": [1]}], {}, "one length"),
        ([{"input_ids": [1]}], {}, "at least two tokens"),
        ([{"input_ids": [1, 2], "labels": [1, -100]}], {}, "tokens that count"),
        ([{"input_ids": [1, 2]}], {"max_length": 33}, "at most 32"),
        ([{"input_ids": [1, 2]}], {"limit": 0}, "limit"),
        ([], {}, "at least one sample"),
        ("t.parquet", {}, r"\.jsonl"),
    ],
)
def test_refused_data(gpt2, data, options, error):
    with pytest.raises((ValueError, TypeError, DataError), match=error):
        huggingface.causal_lm(gpt2, data, **options)


@pytest.mark.parametrize("label", [3, -1, "bad taste", 0.5, None])
def test_refused_labels(bert, label):
    with pytest.raises(ValueError, match="label"):
        huggingface.sequence_classifier(bert, [{"input_ids": [1, 2], "label": label}])


deprecated_in_peft = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


@deprecated_in_peft
def test_half_precision_and_peft(gpt2, tokenizer):
    peft = pytest.importorskip("peft")
    model = gpt2.bfloat16()
    expected = by_hand(copy.deepcopy(model).float(), TEXTS, tokenizer)[0]
    problem = huggingface.causal_lm(model, TEXTS, tokenizer=tokenizer)
    surface = compute_surface(problem, grid=("0:0:1", "0:0:1")).surface
    assert surface.metric()[0, 0] == pytest.approx(expected, rel=1e-6)
    settings = peft.LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True)
    adapted = peft.get_peft_model(model, settings)
    problem = huggingface.causal_lm(adapted, TEXTS, tokenizer=tokenizer)
    assert problem.description["architecture"] == "GPT2LMHeadModel"
    surface = compute_surface(problem, grid=("0:0:1", "0:0:1")).surface
    assert surface.metric()[0, 0] == pytest.approx(expected, rel=1e-6)  # B is zero at first


def test_labels_of_texts_are_none_of_tokens(gpt2_folder):
    """A file of texts with labels, as for a classifier, is one of texts for a language model."""
    expected = value(huggingface.causal_lm(gpt2_folder, TEXTS), 4)
    for labels in (range(len(TEXTS)), map(str, range(len(TEXTS))), map(torch.tensor, range(len(TEXTS)))):
        samples = [{"text": text, "label": label} for text, label in zip(TEXTS, labels, strict=True)]
        assert value(huggingface.causal_lm(gpt2_folder, samples), 4) == expected


@deprecated_in_peft
def test_adapter_folder(gpt2_folder, tokenizer, tmp_path):
    peft = pytest.importorskip("peft")
    base = type(huggingface.causal_lm(gpt2_folder, TEXTS).model).from_pretrained(gpt2_folder)
    adapted = peft.get_peft_model(base, peft.LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    adapted.save_pretrained(tmp_path / "adapter")
    settings = tmp_path / "adapter" / "adapter_config.json"
    harmful = {"megatron_config": {"a": 1}, "megatron_core": "antigravity"}  # a module that PEFT would import
    settings.write_text(json.dumps({**json.loads(settings.read_text()), **harmful}))
    problem = ProblemSpec(factory=f"hf:{tmp_path / 'adapter'}")  # with the tokenizer of the base model
    (tmp_path / "t.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    problem = dataclasses.replace(problem, data=str(tmp_path / "t.jsonl")).build()
    assert value(problem, 4)[0] == pytest.approx(by_hand(adapted, TEXTS, tokenizer)[0], rel=1e-6)
    assert "antigravity" not in sys.modules


def test_folders_that_are_refused(gpt2_folder, tmp_path, tokenizer):
    config = json.loads((gpt2_folder / "config.json").read_text())

    def refused(error, **changes):
        (gpt2_folder / "config.json").write_text(json.dumps({**config, **changes}))
        with pytest.raises((ValueError, DataError, CheckpointError), match=error):
            huggingface.folder_problem(gpt2_folder, TEXTS)

    refused(r"mine\.py:problem", architectures=["T5ForConditionalGeneration"])
    refused("not run", model_type="mine", auto_map={"AutoConfig": "mine.Config"})
    refused("at most 4,096 layers", n_layer=10**9)
    refused("at most 4,096 layers", nested={"num_hidden_layers": 10**9})
    refused(r"mine\.py:problem", architectures=None)
    refused("memory", n_embd=2**20, vocab_size=2**20)
    refused("another architecture", n_layer=3)
    refused("describes no model", n_head=3)
    refused("damaged", model_type=None)
    # Kernels of the hub are code: the choice of a configuration is left out.
    (gpt2_folder / "config.json").write_text(json.dumps({**config, "attn_implementation": "somebody/kernels"}))
    assert huggingface.folder_problem(gpt2_folder, TEXTS).model.config._attn_implementation in ("sdpa", "eager")
    with pytest.raises(DataError, match="hf download"):
        huggingface.folder_problem("gpt2", TEXTS)
    with pytest.raises(ValueError, match="expected data"):
        huggingface.folder_problem(gpt2_folder)
    os.mkfifo(gpt2_folder / "vocab.txt")
    with pytest.raises(DataError, match="regular files"):
        huggingface.folder_problem(gpt2_folder, TEXTS)


def surface_of(*arguments):
    """Run ``landscape surface`` with a grid of three points, and return the exit code."""
    from landscape.cli.main import main

    return main(["surface", *map(str, arguments), "--x", "-1:1:3", "--y", "0:0:1"])


def test_folder_on_the_command_line(gpt2, gpt2_folder, tokenizer, tmp_path, capsys, monkeypatch):
    from landscape import check, read_surface

    texts, out = tmp_path / "t.jsonl", tmp_path / "s.h5"
    texts.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    assert surface_of(gpt2_folder, "--problem", f"hf:{gpt2_folder}", "--data", texts, "--out", out) == 0
    surface = read_surface(out)
    assert surface.metric()[0, 1] == pytest.approx(by_hand(gpt2.double(), TEXTS, tokenizer)[0], rel=1e-6)
    assert surface.metadata.title == "GPT2LMHeadModel"
    # Continued by the same command, without naming the problem twice, and checked without trust: no code is run.
    assert surface_of(gpt2_folder, "--data", texts, "--out", out) == 0
    monkeypatch.setattr("landscape._utils.trust._given", set())
    findings = {finding.name: finding for finding in check(out)}
    assert findings["origin"].verdict == "ok", findings
    shorter = tmp_path / "short.jsonl"
    shorter.write_text(json.dumps({"text": TEXTS[0]}))
    assert surface_of(gpt2_folder, "--data", shorter, "--out", out) != 0
    assert surface_of(gpt2_folder, "--out", tmp_path / "none.h5") == 2
    assert f"hf:{gpt2_folder}" in capsys.readouterr().err


def test_path_of_checkpoints(gpt2, gpt2_folder, tmp_path):
    from landscape import read_trajectories
    from landscape.cli.main import main

    for step in (100, 200, 300):
        with torch.no_grad():
            for parameter in gpt2.parameters():
                parameter += 0.01 * torch.randn_like(parameter)
        gpt2.save_pretrained(tmp_path / f"out/checkpoint-{step}")
    texts, out = tmp_path / "t.jsonl", tmp_path / "path.h5"
    texts.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    checkpoints = tmp_path / "out/checkpoint-*"
    assert main(["trajectory", str(checkpoints), "--problem", f"hf:{gpt2_folder}", "--data", str(texts), "--plane",
                 "pca", "--measure", "--out", str(out)]) == 0  # fmt: skip
    (path,) = read_trajectories(out)
    assert list(path.step) == [100, 200, 300]
    assert np.isfinite(path.loss).all()


def test_line_to_a_fine_tuned_model(gpt2, gpt2_folder, tokenizer, tmp_path):
    from landscape import read_surface

    with torch.no_grad():
        gpt2.transformer.h[0].mlp.c_fc.weight *= 2
    tuned, texts, out = tmp_path / "tuned", tmp_path / "t.jsonl", tmp_path / "s.h5"
    gpt2.save_pretrained(tuned)
    texts.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    assert surface_of(gpt2_folder, "--to", tuned, "--data", texts, "--out", out) == 0
    expected = by_hand(gpt2.double(), TEXTS, tokenizer)[0]
    assert read_surface(out).metric()[0, 2] == pytest.approx(expected, rel=1e-6)


def test_inputs_as_one_argument_say_what_to_write(gpt2):
    split = Split({"input_ids": torch.randint(64, (3, 5))}, torch.randint(64, (3, 5)))
    problem = Problem(gpt2, {"train": split}, cross_entropy)
    with pytest.raises(ValueError, match=r"forward=lambda model, batch: model\(\*\*batch\)\.logits"):
        compute_surface(problem, grid=("-1:1:3", "0:0:1"))


def test_missing_library(gpt2_folder, monkeypatch):
    from landscape import MissingLibraryError

    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.setitem(sys.modules, "transformers.models.auto.modeling_auto", None)
    with pytest.raises(MissingLibraryError, match=r"pip install 'landscape\[hf\]'"):
        huggingface.folder_problem(gpt2_folder, TEXTS)


def test_memory_is_stated_for_large_weights():
    from types import SimpleNamespace

    from landscape.workflows.planes import memory_note

    large = torch.zeros(1).expand(2**27)  # half a GiB, of which one number is stored
    model = torch.nn.Module()
    model.register_buffer("weights", large)
    direction = SimpleNamespace(weights=[("weights", large)])
    plane = SimpleNamespace(origin=[("weights", large)], directions=[direction, direction])
    assert "0.50 GiB for the network of each rank and 1.50 for origin and directions" in memory_note(plane, model)
    plane.directions = plane.origin = []
    assert memory_note(plane, model) == ""
