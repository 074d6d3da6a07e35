"""Tests of losses of language models whose logits are computed a few tokens at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.engines import chunked_loss
from landscape.evaluation.evaluator import open_evaluator
from landscape.geometry.plane import random_plane
from landscape.models import registry
from landscape.problem import measures
from landscape.problem.measures import accuracy, cross_entropy
from landscape.problem.problem import Problem, Split

WORDS = 300
POINTS = [(0.0, 0.0), (0.3, -0.2), (-0.5, 0.25)]


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """A small vocabulary counts as large, in chunks of seven tokens, so that sequences straddle chunks."""
    torch.manual_seed(0)
    monkeypatch.setattr(chunked_loss, "LARGE_VOCABULARY", WORDS)
    monkeypatch.setattr(chunked_loss, "CHUNK_BYTES", 7 * 4 * WORDS)
    monkeypatch.setattr(chunked_loss, "_LEAST_TOKENS", 1)


def language_model(tied=True):
    return registry.build("transformer", vocabulary=WORDS, context=12, width=16, depth=2, heads=2, tied=tied)


def problem_of(model, loss=cross_entropy, metrics=None):
    tokens = torch.randint(WORDS, (9, 12))
    metrics = {"acc": accuracy} if metrics is None else metrics
    return Problem(model, {"train": Split(tokens, tokens.roll(-1, 1))}, loss, metrics)


def values(problem, points=POINTS, **config):
    plane = random_plane(problem.model)
    with open_evaluator(problem, plane, EvaluationConfig(**{"batch_size": 4, **config})) as evaluate:
        return evaluate.evaluate_many(points), evaluate


class Classifier(nn.Module):
    """A linear layer with a bias over all but the first axis."""

    def __init__(self, after=lambda logits: logits):
        super().__init__()
        self.embedding, self.linear, self.after = nn.Embedding(WORDS, 8), nn.Linear(8, WORDS), after

    def forward(self, tokens):
        return self.after(self.linear(torch.tanh(self.embedding(tokens))))


MODELS = {
    "tied": language_model,
    "own head": lambda: language_model(tied=False),
    "bias": Classifier,
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("paired", [False, True])
def test_values_are_those_of_the_module_in_float64(name, paired):
    problem = problem_of(MODELS[name]())
    exact, _ = values(problem, dtype="float64", engine="eager", paired=paired)
    same, evaluate = values(problem, dtype="float64", paired=paired)
    assert evaluate.engine == "chunked_loss"
    np.testing.assert_allclose(same, exact, rtol=1e-11, atol=1e-15)
    single, _ = values(problem, paired=paired)
    np.testing.assert_allclose(single[:, 0], exact[:, 0], rtol=1e-6)
    half, evaluate = values(problem, dtype="bfloat16", paired=paired)
    assert evaluate.engine == "chunked_loss"
    np.testing.assert_allclose(half[:, 0], exact[:, 0], rtol=1e-2)


def test_same_bits_twice_and_in_another_order():
    problem = problem_of(language_model())
    found, _ = values(problem)
    again, _ = values(problem, POINTS[::-1])
    assert found.tobytes() == again[::-1].tobytes()


@pytest.mark.parametrize("build", [language_model, Classifier])
def test_nan_and_infinity_are_kept(build):
    problem, points = problem_of(build()), [(0.0, 0.0), (1e20, 1e20), (3e38, 3e38), (1e38, 0.0)]
    exact, _ = values(problem, points, engine="eager")
    found, evaluate = values(problem, points)
    assert evaluate.engine == "chunked_loss"
    assert not np.isfinite(exact).all()
    np.testing.assert_array_equal(np.isnan(found), np.isnan(exact))
    np.testing.assert_array_equal(np.isinf(found), np.isinf(exact))


def own_loss(outputs, targets):
    return cross_entropy(outputs, targets)


OTHERS = {
    "a loss of the user's": lambda: problem_of(language_model(), own_loss),
    "a metric of the user's": lambda: problem_of(language_model(), metrics={"loss2": own_loss}),
    "changed logits": lambda: problem_of(Classifier(lambda logits: logits * 2)),
    "logits changed in place": lambda: problem_of(Classifier(lambda logits: logits.mul_(2))),
    "several outputs": lambda: problem_of(
        Classifier(lambda logits: {"logits": logits}), lambda o, t: cross_entropy(o["logits"], t), {}
    ),
    "a hook": lambda: problem_of(with_hook(language_model())),
    "small vocabulary": lambda: problem_of(SmallVocabulary()),
}


class SmallVocabulary(Classifier):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, WORDS - 1)

    def forward(self, tokens):
        return super().forward(tokens.clamp(max=WORDS - 2))


def with_hook(model):
    model.norm.register_forward_hook(lambda *_: None)
    return model


@pytest.mark.parametrize("name", OTHERS)
def test_anything_else_is_measured_as_it_is(name):
    problem = OTHERS[name]()
    if name == "small vocabulary":
        problem.splits["train"].targets.clamp_(max=WORDS - 2)
    _, evaluate = values(problem)
    assert evaluate.engine == "eager"
    with pytest.raises(ValueError, match="engine 'chunked_loss' is not applicable to this network"):
        values(problem, engine="chunked_loss")


def test_classifier_of_single_samples_is_left_to_other_engines():
    problem = Problem(
        nn.Linear(8, WORDS), {"train": Split(torch.randn(9, 8), torch.randint(WORDS, (9,)))}, cross_entropy
    )
    _, evaluate = values(problem)
    assert evaluate.engine != "chunked_loss"


def test_logits_of_a_batch_are_never_computed_at_once(monkeypatch):
    largest = []
    losses = measures._token_losses

    def noted(logits, targets):
        largest.append(len(logits))
        return losses(logits, targets)

    monkeypatch.setitem(measures._OF_TOKENS, cross_entropy, (noted, 1))
    values(problem_of(language_model()))
    assert max(largest) == 7
    assert sum(largest[-16:]) == 4 * 12 + 4 * 12 + 12  # 48 tokens are six times seven and six


def test_batch_size_is_chosen_without_the_logits():
    problem = problem_of(language_model())
    _, chunked = values(problem, batch_size=None)
    _, whole = values(problem, batch_size=None, engine="eager")
    assert chunked.batch_size > whole.batch_size


@pytest.mark.parametrize("shape", [(5,), (5, 3), (2, 3, 4)])
def test_measures_in_chunks_are_those_of_whole_batches(shape):
    logits, targets = torch.randn(*shape, 11), torch.randint(11, shape)
    given = {"loss": cross_entropy, "acc": accuracy}
    rows = logits.reshape(-1, 11)
    for chunk in (1, 4, 100):
        found = measures.measure_in_chunks(given, lambda tokens: rows[tokens], targets, chunk)
        assert torch.equal(found["acc"], accuracy(logits, targets))
        expected = F.cross_entropy(rows.double(), targets.reshape(-1), reduction="none").reshape(shape)
        expected = expected.flatten(1).mean(1) if len(shape) > 1 else expected
        torch.testing.assert_close(found["loss"].double(), expected, rtol=1e-6, atol=1e-7)
