"""Networks that are called in the user's way: as a wrapper around them computes, under their own names."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from landscape import (
    CurvatureConfig,
    Problem,
    Split,
    compute_surface,
    curvature,
    load_checkpoint,
    random_plane,
    train,
    whole,
)
from landscape._utils.own_call import has_own_forward, own_forward
from landscape.evaluation.config import EvaluationConfig
from landscape.training import TrainingSettings
from landscape.workflows.check import check_evaluation

GRID = ("-1:1:3", "0:1:2")


@dataclass
class Outputs:
    """Outputs as those of Hugging Face, which no loss takes as they are."""

    logits: Tensor


class Classifier(nn.Module):
    """A network with keyword arguments, a mask, and outputs in an object."""

    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(7, 6), nn.Linear(6, 3)
        self.norm = nn.LayerNorm(6)

    def forward(self, input_ids=None, mask=None):
        hidden = self.norm(self.embed(input_ids)) * mask[..., None]
        return Outputs(self.head(hidden.sum(1) / mask.sum(1, keepdim=True)))


class Wrapped(nn.Module):
    """The wrapper that would be needed without ``forward``."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, batch):
        return self.inner(**batch).logits


def call(model, batch):
    return model(**batch).logits


def losses(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets, reduction="none")


def splits(count=24):
    draw = torch.Generator().manual_seed(1)
    ids = torch.randint(0, 7, (count, 5), generator=draw)
    mask = (torch.arange(5) < 2 + ids[:, :1] % 4).float()
    targets = torch.randint(0, 3, (count,), generator=draw)
    return {"train": Split({"input_ids": ids, "mask": mask}, targets)}


@pytest.fixture
def problem():
    torch.manual_seed(0)
    return Problem(Classifier(), splits(), losses, forward=call)


@pytest.fixture
def wrapped(problem):
    return replace(problem, model=Wrapped(copy.deepcopy(problem.model)), forward=None)


def test_surface_is_that_of_a_wrapper(problem, wrapped):
    found, expected = (compute_surface(p, random_plane(p.model, seed=0), GRID).surface for p in (problem, wrapped))
    assert np.array_equal(found.metric(), expected.metric())
    assert np.ptp(found.metric()) > 0
    assert list(random_plane(problem.model).origin.tensors) == list(problem.model.state_dict())


def test_the_network_is_left_as_it_was(problem):
    compute_surface(problem, random_plane(problem.model, seed=0), GRID)
    assert not has_own_forward(problem.model)
    assert isinstance(problem.model(**problem.splits["train"].inputs), Outputs)
    with pytest.raises(TypeError, match="not dict"):
        problem.model(problem.splits["train"].inputs)


def test_training_is_that_of_a_wrapper(problem, wrapped, tmp_path):
    settings = TrainingSettings(epochs=2, batch_size=8)
    runs = [train(p, "sgd:lr=0.5", settings, tmp_path / name) for p, name in ((problem, "own"), (wrapped, "wrapped"))]
    own, other = (load_checkpoint(run.checkpoints[-1]) for run in runs)
    assert own.metrics == other.metrics
    assert all(torch.equal(tensor, other.state_dict[f"inner.{name}"]) for name, tensor in own.state_dict.items())
    assert not torch.equal(own.state_dict["head.weight"], problem.model.head.weight)


def test_derivatives_are_those_of_a_wrapper(problem, wrapped):
    config = CurvatureConfig(k=2, trace_probes=0, density_probes=0)
    found, expected = (curvature(p, config).eigenvalues for p in (problem, wrapped))
    assert found == pytest.approx(expected, rel=1e-9)


def test_hooks_run_once(problem):
    seen = []
    problem.model.register_forward_hook(lambda *_: seen.append(1))
    with own_forward(problem.model, problem.forward):
        problem.model(problem.splits["train"].inputs)
    assert seen == [1]


def test_engines_that_would_leave_it_out_are_refused(problem, tmp_path):
    plane = random_plane(problem.model, seed=0)
    with pytest.raises(ValueError, match="a forward of its own; use eager or auto"):
        compute_surface(problem, plane, GRID, evaluation=EvaluationConfig(engine="compiled"))
    settings = TrainingSettings(epochs=1, engine="compiled")
    with pytest.raises(ValueError, match="a forward of its own, got compiled"):
        train(problem, "sgd:lr=0.1", settings, tmp_path / "run")


def test_a_perceptron_is_not_taken_for_itself():
    """A network that a fast engine knows, called in a way that it doesn't."""
    draw = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    x, y = torch.randn(20, 4, generator=draw), torch.randn(20, 1, generator=draw)

    def loss(outputs, targets):
        return (outputs - targets).square().mean(1)

    twice = Problem(model, {"train": Split(x, y)}, loss, forward=lambda m, inputs: m(inputs) - m(-inputs))
    found = compute_surface(twice, random_plane(model, seed=0), ("0:0:1", "0:0:1")).surface.metric()
    assert found.item() == pytest.approx(loss(model(x) - model(-x), y).mean().item(), rel=1e-6)


def test_description_names_it(problem):
    assert problem.describe()["forward"] == "call"
    assert "forward" not in replace(problem, forward=None).describe()
    with pytest.raises(TypeError, match="forward of a problem: expected a function, got int"):
        replace(problem, forward=3)


def test_a_check_calls_it(problem):
    findings = check_evaluation(problem, random_plane(problem.model))
    assert not [finding for finding in findings if finding.verdict == "bad"]


@pytest.mark.parametrize(
    ("inputs", "written"),
    [
        (lambda s: s.inputs, r"write Problem.*forward=lambda model, batch: model\(\*\*batch\)\.logits\)"),
        (
            lambda s: tuple(s.inputs.values()),
            r"write Problem.*forward=lambda model, batch: model\(\*batch\)\.logits\)",
        ),
    ],
)
def test_a_failure_says_what_to_write(inputs, written, problem):
    train_split = problem.splits["train"]
    wrong = replace(problem, forward=None, splits={"train": Split(inputs(train_split), train_split.targets)})
    with pytest.raises(ValueError, match=written):
        compute_surface(wrong, random_plane(wrong.model, seed=0), GRID)


def test_a_failing_loss_says_what_it_was_called_with(tmp_path):
    x = torch.ones(4, 3)
    floats = Problem(nn.Linear(3, 2), {"train": Split(x, x[:, 0])}, nn.CrossEntropyLoss(reduction="none"))
    said = r"loss fails on a batch of \d samples \(\w+: .*outputs, \(\d, 2\) torch.float32, and targets, \(\d,\) torch"
    with pytest.raises(ValueError, match=said):
        compute_surface(floats, random_plane(floats.model, seed=0), GRID)
    with pytest.raises(ValueError, match=said):
        train(floats, "sgd", TrainingSettings(epochs=1), tmp_path / "run")
    labels = Split(x, x[:, 0].long())
    metric = replace(floats, splits={"train": labels}, metrics={"one": lambda outputs: outputs.sum(1)})
    with pytest.raises(ValueError, match=r"one fails on a batch of \d samples \(TypeError: .*2 were given"):
        compute_surface(metric, random_plane(metric.model, seed=0), GRID)


class Named(NamedTuple):
    """Outputs as a named tuple."""

    value: Tensor
    logits: Tensor


class Pair(nn.Linear):
    """A network that returns its logits beside something else."""

    def __init__(self, form):
        super().__init__(3, 2)
        self.form = form

    def forward(self, x):
        return self.form(super().forward(x))


@pytest.mark.parametrize(
    ("form", "entry"),
    [
        (lambda y: (y.sum(), y), r"\[1\]"),
        (lambda y: {"hidden": y[0], "logits": y}, r"\['logits'\]"),
        (lambda y: Outputs(y), r"\.logits"),
        (lambda y: Named(y.sum(), y), r"\.logits"),
    ],
)
def test_outputs_of_several_entries(form, entry):
    x = torch.ones(4, 3)
    wrong = Problem(Pair(form), {"train": Split(x, x[:, 0].long())}, nn.CrossEntropyLoss(reduction="none"))
    with pytest.raises(
        ValueError, match=rf"It takes {entry} of the outputs .*lambda model, batch: model\(batch\){entry}"
    ):
        compute_surface(wrong, grid=("-1:1:3",))


@pytest.mark.parametrize(
    ("loss", "targets", "written"),
    [
        (nn.CrossEntropyLoss(reduction="none"), torch.ones(4, dtype=torch.int32), r"targets\.long\(\)"),
        (nn.CrossEntropyLoss(reduction="none"), torch.ones(4, 1, dtype=torch.long), r"targets\.squeeze\(1\)"),
    ],
)
def test_targets_of_another_kind(loss, targets, written):
    wrong = Problem(nn.Linear(3, 2), {"train": Split(torch.ones(4, 3), targets)}, loss)
    with pytest.raises(ValueError, match=rf"loss fails on a batch .* It works with {written}"):
        compute_surface(wrong, grid=("-1:1:3",))


def test_a_failing_measure_of_a_split_is_named():
    x = torch.ones(4, 3)
    loss = nn.CrossEntropyLoss(reduction="none")
    wrong = Problem(nn.Linear(3, 2), {"train": Split(x, x[:, 0].long())}, loss, {"area": whole(lambda y: y.mean())})
    with pytest.raises(
        ValueError, match=r"area fails on all 4 samples together \(TypeError: .*2 were given\).*\(2, 2\)"
    ):
        compute_surface(wrong, grid=("-1:1:3",))
    with pytest.raises(TypeError, match="splits of a problem: expected a dict by name"):
        replace(wrong, splits=wrong.splits["train"])
    with pytest.raises(TypeError, match="metrics of a problem: expected a dict by name"):
        replace(wrong, metrics=[loss])


def test_entries_of_a_batch_are_named():
    """Inputs that fit under no way of calling the network."""
    x = torch.ones(4, 3)
    wrong = Problem(nn.Linear(3, 2), {"train": Split({"v": x}, x[:, 0].long())}, nn.CrossEntropyLoss(reduction="none"))
    with pytest.raises(ValueError, match=r"inputs are \{'v': .*forward=lambda model, batch: .*model\(batch\['v'\]\)"):
        compute_surface(wrong, random_plane(wrong.model, seed=0), GRID)


def test_integers_and_networks_without_sizes():
    pixels, labels = torch.arange(40, dtype=torch.uint8).reshape(10, 4), torch.arange(10) % 2
    loss = nn.CrossEntropyLoss(reduction="none")
    problem = Problem(nn.Linear(4, 2), {"train": Split(pixels, labels)}, loss)
    with pytest.raises(ValueError, match=r"torch\.uint8, and integers stay.*forward=lambda .*batch\.float\(\)\)"):
        compute_surface(problem, grid=("-1:1:3",))
    with warnings.catch_warnings(action="ignore"):  # such modules are a feature under development
        model = nn.LazyLinear(2)
    problem = Problem(model, {"train": Split(pixels.float(), labels)}, loss)
    with pytest.raises(ValueError, match=r"tensors without a size yet \(weight\): call the network once on a batch"):
        compute_surface(problem, grid=("-1:1:3",))
    model(pixels.float())
    assert compute_surface(problem, grid=("-1:1:3",)).complete
