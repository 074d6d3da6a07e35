"""Modules of Lightning, measured by their own validation step or by a loss."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from landscape import compute_surface, lightning, load_checkpoint
from landscape.training.checkpoint import load_into

pytest.importorskip("lightning")

SAMPLES, SIZE = 23, 5


def data(shuffled=False):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(SAMPLES, 4, generator=generator, dtype=torch.float64)
    y = (x[:, 0] + 0.5 * torch.randn(SAMPLES, generator=generator) > 0).long()
    return DataLoader(TensorDataset(x, y), SIZE, shuffle=shuffled)


@pytest.fixture(params=["lightning", "pytorch_lightning"])
def package(request):
    return pytest.importorskip(request.param if request.param != "lightning" else "lightning.pytorch")


def make(package, step=None):
    import torchmetrics

    class Classifier(package.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 2))
            self.f1 = torchmetrics.F1Score(task="multiclass", num_classes=2, average="macro")

        def forward(self, x):
            return self.net(x)

        def validation_step(self, batch, batch_idx):
            if step is not None:
                return step(self, batch, batch_idx)
            x, y = batch
            logits = self(x)
            self.log("val_loss", functional.cross_entropy(logits, y), prog_bar=True)
            self.log_dict({"val/accuracy": (logits.argmax(1) == y).double().mean(), "batch": float(batch_idx)})
            self.f1(logits, y)
            self.log("val_f1", self.f1)
            return None

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    torch.manual_seed(1)
    return Classifier().double()


def centre(problem):
    surface = compute_surface(problem, grid=("-1:1:3", "0:0:1")).surface
    return {name: float(values[0, 1]) for name, values in surface.values.items()}


@pytest.mark.parametrize("shuffled", [False, True])
def test_step(package, shuffled):
    from sklearn.metrics import f1_score

    module = make(package)
    before, state = set(module.state_dict()), copy.deepcopy(module.f1.metric_state)
    found = centre(lightning.problem(module, data(shuffled)))
    x, y = data().dataset.tensors
    module.eval()
    with torch.no_grad():
        logits = module(x)
    assert found["train_loss"] == pytest.approx(float(functional.cross_entropy(logits, y)), rel=1e-12)
    assert found["train_accuracy"] == pytest.approx(float((logits.argmax(1) == y).double().mean()), rel=1e-12)
    # Over all batches, as by Lightning itself; the mean of the batches' values is another number.
    assert found["train_f1"] == pytest.approx(f1_score(y, logits.argmax(1), average="macro"), rel=1e-6)
    assert found["train_batch"] == pytest.approx((5 * (0 + 1 + 2 + 3) + 3 * 4) / 23)
    assert set(module.state_dict()) == before
    assert "log" not in vars(module)
    assert all(torch.equal(module.f1.metric_state[name], value) for name, value in state.items())


def test_step_whose_value_belongs_to_a_batch(package):
    def step(module, batch, _):
        logits = module(batch[0])
        return {"loss": logits.std(), "other": logits.mean()}

    module = make(package, step)
    found = centre(lightning.problem(module, data()))
    module.eval()
    with torch.no_grad():
        parts = [(len(x), float(module(x).std())) for x, _ in data()]
    assert found["train_loss"] == pytest.approx(math.fsum(n * value for n, value in parts) / SAMPLES, rel=1e-12)
    one = lightning.problem(module, data(), batch_size=1, limit=3)
    assert centre(one)["train_loss"] == pytest.approx(
        np.mean([module(x[None]).std().item() for x in data().dataset.tensors[0][:3]]), rel=1e-12
    )


def test_loss_function(package):
    def loss(outputs, targets):
        return functional.cross_entropy(outputs, targets, reduction="none")

    module = make(package)
    found = centre(lightning.problem(module, data(), loss=loss))
    assert found["train_loss"] == pytest.approx(centre(lightning.problem(module, data()))["train_loss"], rel=1e-12)
    assert found["train_loss_stderr"] > 0


def test_data_module(package):
    class Data(package.LightningDataModule):
        def setup(self, stage):
            self.stage = stage

        def train_dataloader(self):
            return data(True)

        def val_dataloader(self):
            return [data()]

    assert list(lightning.problem(make(package), Data()).splits) == ["train", "val"]
    Data.val_dataloader = lambda self: data().dataset
    with pytest.raises(ValueError, match="batch_size="):
        lightning.problem(make(package), Data())


def test_loaders_of_different_batch_sizes(package):
    """Each split has the values that it has alone, whose batches are those of its loader."""

    def step(module, batch, number):
        x, y = batch
        logits = module(x)
        module.log("val_f1", module.f1)
        module.f1(logits, y)
        module.log("val_loss", logits.std() + functional.cross_entropy(logits, y))
        return {"number": torch.tensor(float(number)), "size": torch.tensor(float(len(x)))}

    module = make(package, step)
    loaders = {"train": data(True), "val": DataLoader(data().dataset, 7), "other": DataLoader(data().dataset, 2)}
    problem = lightning.problem(module, loaders)
    found = centre(problem)
    for name, loader in loaders.items():
        alone = centre(lightning.problem(module, {name: loader}))
        for key, value in alone.items():
            assert found[key] == pytest.approx(value, rel=1e-12), key
    assert found["train_size"] == pytest.approx((4 * 25 + 9) / 23)
    assert found["val_number"] == pytest.approx((7 * (0 + 1 + 2) + 2 * 3) / 23)


def test_refusals(package):
    with pytest.raises(ValueError, match=r"trainer.*loss="):
        lightning.problem(make(package, lambda module, batch, _: module.trainer.current_epoch), data())
    with pytest.raises(ValueError, match="returns no loss"):
        lightning.problem(make(package, lambda module, batch, _: None), data())
    with pytest.raises(ValueError, match="not 'x'"):
        lightning.problem(make(package), data(), loss="x")


def quiet_trainer(package):
    return package.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip


noise_of_a_trainer = pytest.mark.filterwarnings(r"ignore:.*(does not have many workers|`srun`|treespec)")


@noise_of_a_trainer
def test_values_are_those_of_the_trainer(package):
    module = make(package)
    (expected,) = quiet_trainer(package).validate(module, data(), verbose=False)
    found = centre(lightning.problem(module, data()))
    for name, own in (("val_loss", "loss"), ("val/accuracy", "accuracy"), ("val_f1", "f1")):
        assert found[f"train_{own}"] == pytest.approx(expected[name], rel=1e-6)


@noise_of_a_trainer
def test_checkpoint(package, tmp_path):
    """A checkpoint of the trainer fits the module, and the network in it by the rule of prefixes."""
    module, other = make(package), make(package)
    with torch.no_grad():
        other.net[0].weight.zero_()
    file, trainer = tmp_path / "last.ckpt", quiet_trainer(package)
    trainer.strategy.connect(module)
    trainer.save_checkpoint(file)
    load_into(other, load_checkpoint(file))
    assert torch.equal(other.net[0].weight, module.net[0].weight)
    with torch.no_grad():
        other.net[0].weight.zero_()
    load_into(other.net, load_checkpoint(file))
    assert torch.equal(other.net[0].weight, module.net[0].weight)
