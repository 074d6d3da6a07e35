"""Ways to train on GPUs, run on a CPU: autocast, loss scaling, captured steps, late losses, layouts, fused steps."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

from landscape.errors import NonFiniteLossError
from landscape.models import registry
from landscape.problem import Problem, Split
from landscape.problem.measures import cross_entropy
from landscape.training import TrainingSettings, gradients, placement, step, trainer, training
from landscape.training.checkpoint import load_state, save_state
from landscape.training.gradients import AutogradGradients, CapturedGradients, LossScale
from landscape.training.optimizers import build, build_fused
from landscape.training.training import train

CPU = torch.device("cpu")


def stop_after(count):
    calls = []
    return lambda: calls.append(1) or len(calls) == count


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_autocast_is_recorded_and_resumed(dtype, convnet, tmp_path, assert_equal_runs, monkeypatch):
    """The loss scale is part of the state: here it overflows at once and grows every three steps."""
    monkeypatch.setattr(gradients, "FIRST_SCALE", 2.0**24)
    monkeypatch.setattr(gradients, "GROWTH_STEPS", 3)
    settings = TrainingSettings(epochs=4, batch_size=16, dtype=dtype)
    whole = train(convnet(), "sgd:lr=0.1,momentum=0.9", settings, tmp_path / "whole")
    part = train(convnet(), "sgd:lr=0.1,momentum=0.9", settings, tmp_path / "part", stop=stop_after(4))
    stored = torch.load(part.state_path, weights_only=True)
    assert ("loss_scale" in stored) == (dtype == "float16")
    if dtype == "float16":
        assert stored["loss_scale"]["value"] < 2.0**24
    assert_equal_runs(train(convnet(), "sgd:lr=0.1,momentum=0.9", settings, tmp_path / "part"), whole)
    assert whole.record.settings.dtype == dtype
    exact = train(convnet(), "sgd:lr=0.1,momentum=0.9", TrainingSettings(epochs=4, batch_size=16), tmp_path / "exact")
    found, expected = (run.history()["train_loss"][-1] for run in (whole, exact))
    assert found != expected
    assert found == pytest.approx(expected, rel=0.1)


def test_loss_scale_is_part_of_the_state(convnet, tmp_path, monkeypatch):
    monkeypatch.setattr(gradients, "FIRST_SCALE", 4.0)
    monkeypatch.setattr(gradients, "GROWTH_STEPS", 2)
    settings = TrainingSettings(epochs=4, batch_size=16, dtype="float16")
    for name, stops in (("once", [5]), ("twice", [4, 1])):
        for count in stops:
            run = train(convnet(), "sgd", settings, tmp_path / name, stop=stop_after(count))
        assert torch.load(run.state_path, weights_only=True)["loss_scale"] == {"value": 16.0, "steps": 1}


def test_loss_scale_of_two_to_the_power_changes_no_bit(convnet):
    found = []
    for scale in (None, LossScale()):
        problem = convnet()
        problem.model.eval()
        compute = AutogradGradients(problem.model, problem.loss, CPU)
        compute.scale = scale
        compute(problem.splits["train"], lambda loss: None)
        assert scale is None or not scale.overflowed(problem.model)
        found.append([parameter.grad for parameter in problem.model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_loss_scale_is_halved_until_gradients_are_finite(convnet, tmp_path, monkeypatch):
    monkeypatch.setattr(gradients, "FIRST_SCALE", 2.0**126)
    problem = convnet()
    run = train(problem, "sgd:lr=0.01", TrainingSettings(epochs=1, batch_size=14, dtype="float16"), tmp_path / "run")
    assert run.finished  # no step was skipped, and batch norm saw each batch once
    assert int(run.load().state_dict["features.1.num_batches_tracked"]) == 3


class RecordedPass:
    """The operations of a pass, replayed on the same memory, in place of a CUDA graph."""

    count = 0

    def __init__(self, compute):
        RecordedPass.count += 1
        for _ in range(2):
            compute()
        self._graph = make_fx(compute, tracing_mode="real")()

    def replay(self):
        with torch.no_grad():  # the backward pass is among the operations
            return self._graph()


@pytest.fixture
def captured(monkeypatch):
    """Capture the steps of every training, with recorded operations."""
    RecordedPass.count = 0
    monkeypatch.setattr(gradients, "CapturedPass", RecordedPass)
    make = placement.make_gradients
    monkeypatch.setattr(
        trainer, "make_gradients", lambda problem, settings: CapturedGradients(make(problem, settings), problem.model)
    )


@pytest.mark.parametrize("optimizer", ["sgd:lr=0.1,momentum=0.9", "adam:lr=0.01", "lbfgs:lr=0.1,max_iter=3"])
def test_captured_steps_are_those_of_autograd(optimizer, convnet, tmp_path, assert_equal_runs, captured, monkeypatch):
    """With dropout, batch norm, a shorter last batch, and an optimizer that calls its closure several times."""
    settings = TrainingSettings(epochs=2, batch_size=16)
    found = train(convnet(), optimizer, settings, tmp_path / "captured")
    assert RecordedPass.count == 2  # one for each length of a batch
    monkeypatch.undo()
    assert_equal_runs(found, train(convnet(), optimizer, settings, tmp_path / "eager"))


def test_captured_step_in_float16_is_scaled(convnet, tmp_path, captured, monkeypatch):
    monkeypatch.setattr(gradients, "FIRST_SCALE", 2.0**24)
    settings = TrainingSettings(epochs=2, batch_size=14, dtype="float16")
    found = train(convnet(), "sgd:lr=0.1", settings, tmp_path / "captured")
    monkeypatch.undo()
    expected = train(convnet(), "sgd:lr=0.1", settings, tmp_path / "eager")
    one, other = (run.history()["train_loss"][-1] for run in (found, expected))
    assert one == pytest.approx(other, rel=1e-2)


class Transposed(nn.Module):
    """Autograd finds the gradients of its weight in the layout of the transposed weight."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, 5))

    def forward(self, inputs):
        return (inputs[:, :, None] * self.weight.t()).sum(1)


def test_captured_gradients_have_the_layout_of_their_parameters(mlp, monkeypatch):
    """Fused kernels pair the numbers of both by their place in memory."""
    monkeypatch.setattr(gradients, "CapturedPass", RecordedPass)
    model, split = Transposed(), mlp().splits["train"]
    plain = AutogradGradients(model, cross_entropy, CPU)
    plain(split, lambda loss: None)
    expected = model.weight.grad
    CapturedGradients(plain, model)(split, lambda loss: None)
    assert model.weight.grad.stride() == model.weight.stride() == expected.stride()
    torch.testing.assert_close(model.weight.grad, expected)


class Counting(nn.Module):
    """A network that depends on the number of its calls."""

    def __init__(self):
        super().__init__()
        self.linear, self.calls = nn.Linear(5, 2), 0

    def forward(self, inputs):
        self.calls += 1
        return self.linear(inputs) * self.calls


def test_network_that_changes_from_step_to_step_is_not_captured(mlp, tmp_path, captured):
    problem = mlp()
    with pytest.raises(ValueError, match="gives another loss or other gradients than autograd"):
        train(Problem(Counting(), problem.splits, cross_entropy), "sgd", TrainingSettings(epochs=1), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_captured_engine_needs_a_gpu():
    with pytest.raises(ValueError, match="engine 'captured' needs an NVIDIA GPU, got device 'cpu'"):
        TrainingSettings(engine="captured")
    assert TrainingSettings(engine="captured", device="cuda:1").engine == "captured"


def test_compiled_network_takes_the_steps(convnet, tmp_path, monkeypatch):
    calls = []

    def compile_nothing(model, **options):
        return lambda inputs: calls.append(model) or model(inputs)

    monkeypatch.setattr(torch, "compile", compile_nothing)
    run = train(convnet(), "sgd", TrainingSettings(epochs=1, engine="compiled"), tmp_path / "run")
    assert len(calls) == run.record.steps
    assert run.record.settings.engine == "compiled"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*script_method.*:DeprecationWarning")
def test_compiled_program_computes_the_same_gradients(convnet, tmp_path):
    settings = {engine: TrainingSettings(epochs=2, batch_size=21, engine=engine) for engine in ("eager", "compiled")}
    problem = convnet()
    problem.model.features[3].p = 0.0  # compiled dropout draws other numbers
    runs = [train(problem, "sgd:lr=0.05", settings[engine], tmp_path / engine) for engine in settings]
    one, other = (run.history()["train_loss"][-1] for run in runs)
    assert one == pytest.approx(other, rel=1e-5)


class LateQueue(step.LossQueue):
    """A queue whose losses arrive late, as from a GPU."""

    def __init__(self, device):
        super().__init__(device)
        self.waits = False

    def _send(self, loss):
        class Arrival:
            def synchronize(self):
                on_host.copy_(loss)

        on_host = torch.full((), math.nan)  # what is read too early
        return on_host, Arrival()


def test_late_losses_change_no_bit(convnet, tmp_path, assert_equal_runs, monkeypatch):
    settings = TrainingSettings(epochs=4, batch_size=16, checkpoint_steps=2)
    expected = train(convnet(), "adam", settings, tmp_path / "known")
    monkeypatch.setattr(step, "LossQueue", LateQueue)
    monkeypatch.setattr(step, "QUEUED_STEPS", 2)
    seen = []
    found = train(convnet(), "adam", settings, tmp_path / "late", progress=lambda p: seen.append(p.loss))
    assert_equal_runs(found, expected)
    assert math.isnan(seen[1])  # not known yet
    assert all(math.isfinite(loss) for loss in seen[3:])


def test_step_of_a_late_loss_that_is_not_finite_is_named(mlp, tmp_path, monkeypatch):
    """A late loss gives the same message as one known at once, and no checkpoint of later weights."""
    messages = []
    for kind in (step.LossQueue, LateQueue):
        monkeypatch.setattr(step, "LossQueue", kind)
        problem = mlp()

        def loss(outputs, targets):
            loss.calls += outputs.requires_grad
            return cross_entropy(outputs, targets) + (math.inf if loss.calls > 6 and outputs.requires_grad else 0)

        loss.calls = 0
        settings = TrainingSettings(epochs=3, batch_size=8, checkpoint_steps=3)
        with pytest.raises(NonFiniteLossError) as caught:
            train(Problem(problem.model, problem.splits, loss), "sgd:lr=0.1", settings, tmp_path / kind.__name__)
        messages.append(str(caught.value).replace(kind.__name__, ""))
    assert messages[0] == messages[1]
    assert "after step 6" in messages[0]


class Viewing(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.linear = nn.Conv2d(3, 4, 3), nn.Linear(4 * 6 * 6, 3)

    def forward(self, inputs):
        return self.linear(self.conv(inputs).view(len(inputs), -1))


def test_channels_last_where_the_network_takes_them():
    images = torch.randn(2, 3, 8, 8)
    assert placement.accepts_channels_last(registry.build("resnet20"), images)
    assert not placement.accepts_channels_last(Viewing(), images)
    assert not placement.accepts_channels_last(registry.build("mlp", in_features=192), images)
    model = registry.build("resnet20")
    assert not placement.has_channels_last(model)
    assert placement.has_channels_last(model.to(memory_format=torch.channels_last))


def test_channels_last_training_is_that_of_channels_first(tmp_path, monkeypatch):
    def problem():
        torch.manual_seed(0)
        split = Split(torch.randn(24, 3, 8, 8), torch.arange(24) % 3)
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 3))
        return Problem(model, {"train": split}, cross_entropy)

    settings = TrainingSettings(epochs=2, batch_size=8, dtype="float64")
    expected = train(problem(), "sgd:lr=0.01,momentum=0.9", settings, tmp_path / "first")
    convert = training.convert_tensors

    def convert_layout(model, *arguments):
        convert(model, *arguments)
        model.to(memory_format=torch.channels_last)

    monkeypatch.setattr(training, "convert_tensors", convert_layout)
    part = train(problem(), "sgd:lr=0.01,momentum=0.9", settings, tmp_path / "last", stop=stop_after(2))
    found = train(problem(), "sgd:lr=0.01,momentum=0.9", settings, tmp_path / "last")
    assert len(part.record.sessions) == 1
    for name, tensor in expected.load().state_dict.items():
        torch.testing.assert_close(found.load().state_dict[name], tensor, rtol=1e-10, atol=1e-12)
        assert found.load().state_dict[name].is_contiguous()


def test_fused_steps_are_used_unless_chosen_otherwise():
    def fused(name, **arguments):
        model = nn.Linear(3, 2)
        return build_fused(name, model.parameters(), arguments).param_groups[0].get("fused")

    assert fused("sgd", lr=0.1) is True
    assert fused("adamw") is True
    assert fused("sgd", lr=0.1, fused=False) is False
    assert fused("sgd", lr=0.1, foreach=True) is None
    assert fused("rprop") is None
    assert fused("sadam") is None


@pytest.mark.parametrize("name", ["sgd:lr=0.1,momentum=0.9", "adam"])
@pytest.mark.parametrize("kinds", [(build_fused, build), (build, build_fused)])
def test_state_of_another_device_is_resumed_with_the_kernels_of_this_one(name, kinds, tmp_path):
    def step_of(model, optimizer, batch):
        optimizer.zero_grad()
        model(batch).square().mean().backward()
        optimizer.step()

    torch.manual_seed(0)
    one, batch = nn.Conv2d(3, 4, 3), torch.randn(2, 3, 5, 5)
    other = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    first, second = kinds[0](name, one.parameters()), kinds[1](name, other.parameters())
    step_of(one, first, batch)
    save_state(tmp_path / "state.pt", one, first, 1)
    assert load_state(tmp_path / "state.pt", other, second) == (1, None)
    assert second.param_groups[0]["fused"] == (True if kinds[1] is build_fused else None)
    for parameter in other.parameters():
        values = [v for v in second.state[parameter].values() if isinstance(v, torch.Tensor) and v.dim()]
        assert all(value.stride() == parameter.stride() for value in values)
    step_of(one, first, batch)
    step_of(other, second, batch)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_data_that_do_not_fit_stay_on_the_host(convnet, monkeypatch):
    splits = convnet().splits
    needed = sum(s.inputs.nbytes + s.targets.nbytes for s in splits.values())
    for free, device in ((2 * needed, "meta"), (2 * needed - 2, "cpu")):
        monkeypatch.setattr(placement.transfer, "free_bytes", lambda device, free=free: free)
        placed = placement.place_splits(splits, torch.device("meta"), torch.float32)
        assert {split.device.type for split in placed.values()} == {device}
