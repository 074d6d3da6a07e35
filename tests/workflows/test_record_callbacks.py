"""Callbacks for the trainers of Hugging Face and Lightning: their path against weights that a loop keeps by hand."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import landscape
from landscape import Run, load_checkpoint
from landscape._utils.torch_state import same_bits

# The trainers warn about the machine: srun without SLURM, few workers for data.
pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]


def samples(count=24):
    draw = torch.Generator().manual_seed(1)
    inputs = torch.randn(count, 4, generator=draw)
    return inputs, (inputs[:, 0] > 0).long()


def equal(checkpoint, tensors):
    found = checkpoint.state_dict
    return list(found) == list(tensors) and all(same_bits(found[name], tensors[name]) for name in tensors)


def by_hand(network, batches_of_a_step, rates, prefix=""):
    """Return the weights before and after each step of plain SGD with momentum."""
    optimizer = torch.optim.SGD(network.parameters(), lr=rates[0], momentum=0.9)
    states, losses = [], []
    for rate, batches in zip([*rates, None], [*batches_of_a_step, None], strict=True):
        states.append({prefix + name: tensor.clone() for name, tensor in network.state_dict().items()})
        if batches is None:
            return states, losses
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        of_step = [nn.functional.cross_entropy(network(x), y) for x, y in batches]
        for loss in of_step:
            (loss / len(batches)).backward()
        losses.append(float(sum(of_step) / len(of_step)))
        optimizer.step()
    raise AssertionError


def test_importing_landscape_imports_no_trainer():
    code = "import sys, landscape.lightning, landscape.huggingface; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"transformers", "lightning", "pytorch_lightning"} & set(loaded)


class Network(nn.Module):
    """A network in the convention of Hugging Face: it returns its loss."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Linear(4, 2)

    def forward(self, inputs, labels=None):
        logits = self.body(inputs)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


@pytest.fixture
def trainer(tmp_path, monkeypatch):
    """Return a function that makes a Trainer with a callback."""
    transformers = pytest.importorskip("transformers")
    monkeypatch.setenv("WANDB_DISABLED", "true")

    def make(callback, **arguments):
        inputs, targets = samples()
        data = [{"inputs": x, "labels": y} for x, y in zip(inputs, targets, strict=True)]
        given = {
            "output_dir": str(tmp_path / "out"), "per_device_train_batch_size": 4, "num_train_epochs": 1, "seed": 0,
            "learning_rate": 0.1, "lr_scheduler_type": "linear", "logging_steps": 1, "report_to": [], "use_cpu": True,
            "disable_tqdm": True, "max_grad_norm": 0.0, "save_strategy": "no", "remove_unused_columns": False,
        }  # fmt: skip
        network = Network()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
        return transformers.Trainer(
            network,
            transformers.TrainingArguments(**{**given, **arguments}),
            train_dataset=data,
            eval_dataset=data,
            callbacks=[callback],
            optimizers=(optimizer, None),
        )

    return make


def order_of(trainer):
    """Return the batches that the trainer draws in its first epoch."""
    return [(batch["inputs"], batch["labels"]) for batch in trainer.get_train_dataloader()]


class Watch:
    """Makes a callback that keeps copies of the weights after each step, beside the recorder."""

    def __new__(cls):
        import transformers

        class Watching(transformers.TrainerCallback):
            states: dict

            def on_train_begin(self, args, state, control, model, **kwargs):
                self.states = {0: self.copy(model)}

            def on_step_end(self, args, state, control, model, **kwargs):
                self.states[state.global_step] = self.copy(model)

            @staticmethod
            def copy(model):
                return {name: tensor.clone() for name, tensor in model.state_dict().items()}

        return Watching()


@pytest.mark.parametrize("accumulated", [1, 2])
def test_callback_of_hugging_face(trainer, tmp_path, accumulated):
    from landscape.huggingface import RecordCallback

    watch = Watch()
    made = trainer(
        RecordCallback(tmp_path / "run"), gradient_accumulation_steps=accumulated, eval_strategy="steps", eval_steps=3
    )
    made.add_callback(watch)
    made.train()
    run, steps = Run.open(tmp_path / "run"), 6 // accumulated
    assert run.saved_steps == list(range(steps + 1)) == sorted(watch.states)
    for step, file in zip(run.saved_steps, run.checkpoints, strict=True):
        assert equal(load_checkpoint(file), watch.states[step])
        assert load_checkpoint(file).epoch == pytest.approx(step / steps)
    history = run.history()
    assert history["step"].tolist() == run.saved_steps
    logged = [entry for entry in made.state.log_history if "loss" in entry]
    np.testing.assert_allclose(history["loss"][1:], [entry["loss"] for entry in logged], rtol=1e-4)
    assert np.isfinite(history["eval_loss"][3 :: 3 * accumulated]).all()
    np.testing.assert_allclose(history["learning_rate"][1:], 0.1 * (1 - np.arange(steps) / steps), rtol=1e-12)
    assert run.finished
    assert run.record.recording.given["gradient_accumulation_steps"] == accumulated
    assert run.record.optimizer.name == "sgd"
    assert len(landscape.project(run, landscape.plane_through(*plane_points(run)))[0]) == steps + 1


def plane_points(run):
    network = Network()
    layout = landscape.Weights.from_model(network)
    first, middle, last = (layout.select(run.load(step).stored) for step in (0, 1, run.saved_steps[-1]))
    return last, [first, middle]


def test_callback_of_hugging_face_resumes(trainer, tmp_path):
    from landscape.huggingface import RecordCallback

    whole = trainer(RecordCallback(tmp_path / "whole", every=2))
    whole.train()
    stopped = trainer(RecordCallback(tmp_path / "run", every=2), save_strategy="steps", save_steps=3, max_steps=6)
    stopped.add_callback(stop_at(4))
    stopped.train()
    assert Run.open(tmp_path / "run").saved_steps == [0, 2, 4]
    again = trainer(RecordCallback(tmp_path / "run", every=2), save_strategy="steps", save_steps=3, max_steps=6)
    again.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-3"))
    run, expected = Run.open(tmp_path / "run"), Run.open(tmp_path / "whole")
    assert run.saved_steps == expected.saved_steps == [0, 2, 4, 6]
    for one, other in zip(run.checkpoints, expected.checkpoints, strict=True):
        assert equal(load_checkpoint(one), load_checkpoint(other).state_dict)


def stop_at(step):
    import transformers

    class Stopping(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            control.should_training_stop = state.global_step >= step

    return Stopping()


@pytest.mark.parametrize("accumulated", [1, 2])
def test_callback_of_lightning(tmp_path, accumulated):
    lightning = pytest.importorskip("lightning.pytorch")
    from torch.utils.data import DataLoader, TensorDataset

    from landscape.lightning import RecordCallback

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.net = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))

        def training_step(self, batch, index):
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def validation_step(self, batch, index):
            self.log("val_loss", nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
            schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    data = TensorDataset(*samples())
    module = Module()
    network = Module().net
    batches = [(x, y) for _ in range(2) for x, y in DataLoader(data, batch_size=4)]
    groups = [batches[i : i + accumulated] for i in range(0, len(batches), accumulated)]
    rates = [0.1 / (1 + step) for step in range(len(groups))]
    states, losses = by_hand(network, groups, rates, "net.")
    trainer = lightning.Trainer(
        max_epochs=2, accumulate_grad_batches=accumulated, callbacks=[RecordCallback(tmp_path / "run")],
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(module, DataLoader(data, batch_size=4), DataLoader(data, batch_size=8))
    run = Run.open(tmp_path / "run")
    assert run.saved_steps == list(range(len(groups) + 1))
    for file, expected in zip(run.checkpoints, states, strict=True):
        assert equal(load_checkpoint(file), expected)
    history = run.history()
    np.testing.assert_allclose(history["loss"][1:], losses, rtol=1e-6)
    np.testing.assert_allclose(history["learning_rate"][1:], rates, rtol=1e-12)
    np.testing.assert_allclose(history["epoch"], 2 * np.arange(len(groups) + 1) / len(groups), rtol=1e-12)
    assert np.isfinite(history["val_loss"][[len(groups) // 2, -1]]).all()
    assert run.finished


def test_callback_of_lightning_after_an_error(tmp_path):
    lightning = pytest.importorskip("lightning.pytorch")
    from torch.utils.data import DataLoader, TensorDataset

    from landscape.lightning import RecordCallback

    class Failing(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(4, 2)

        def training_step(self, batch, index):
            if index == 2:
                raise RuntimeError("broken")
            return self.net(batch[0]).square().mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    trainer = lightning.Trainer(
        max_epochs=1, callbacks=[RecordCallback(tmp_path / "run")], accelerator="cpu", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    with pytest.raises(RuntimeError, match="broken"):
        trainer.fit(Failing(), DataLoader(TensorDataset(*samples()), batch_size=4))
    run = Run.open(tmp_path / "run")
    assert (run.saved_steps, run.finished) == ([0, 1, 2], False)
    assert run.record.sessions[-1].outcome == "RuntimeError: broken"
