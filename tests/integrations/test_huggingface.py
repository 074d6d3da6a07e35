"""Models of Hugging Face as they are: values by hand, and equal to those of the models themselves."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from landscape import EvaluationConfig, compute_surface, huggingface
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


def surface_of(*arguments):
    """Run ``landscape surface`` with a grid of three points, and return the exit code."""
    from landscape.cli.main import main

    return main(["surface", *map(str, arguments), "--x", "-1:1:3", "--y", "0:0:1"])


def test_folder_on_the_command_line(gpt2, gpt2_folder, tokenizer, tmp_path, capsys):
    from landscape import check, read_surface

    texts, out = tmp_path / "t.jsonl", tmp_path / "s.h5"
    texts.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    assert surface_of(gpt2_folder, "--problem", f"hf:{gpt2_folder}", "--data", texts, "--out", out) == 0
    surface = read_surface(out)
    assert surface.metric()[0, 1] == pytest.approx(by_hand(gpt2.double(), TEXTS, tokenizer)[0], rel=1e-6)
    assert surface.metadata.title == "GPT2LMHeadModel"
    # Continued by the same command, without naming the problem twice, and checked without trust: no code is run.
    assert surface_of(gpt2_folder, "--data", texts, "--out", out) == 0
    findings = {finding.name: finding for finding in check(out)}
    assert findings["origin"].verdict == "ok", findings
    shorter = tmp_path / "short.jsonl"
    shorter.write_text(json.dumps({"text": TEXTS[0]}))
    assert surface_of(gpt2_folder, "--data", shorter, "--out", out) != 0
    assert surface_of(gpt2_folder, "--out", tmp_path / "none.h5") == 2
    assert f"hf:{gpt2_folder}" in capsys.readouterr().err
