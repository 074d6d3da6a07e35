"""Further checks of ``gpu_check``: every family of networks in every precision, streaming, and ways to train."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from landscape.errors import NonFiniteLossError
from landscape.evaluation import streaming
from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.evaluator import open_evaluator
from landscape.geometry.plane import random_plane
from landscape.models import registry
from landscape.problem.measures import accuracy, cross_entropy
from landscape.problem.problem import Problem, Split
from landscape.training import Run, TrainingSettings
from landscape.training.training import train

POINTS = [(0.0, 0.0), (0.1, -0.05)]
FAMILIES = ("resnet20", "resnet56_noshort", "resnet18", "resnet50", "wrn56_2", "vgg9", "densenet121", "lenet", "mlp")
BOUNDS = {"float32": 1e-4, "tf32": 2e-2, "bfloat16": 5e-2, "float16": 2e-2}
"""Largest relative error of the loss of an untrained network near the origin, where depth amplifies rounding."""
OPTIMIZER = "sgd:lr=0.05,momentum=0.9"


def family(name: str, samples: int = 40) -> Problem:
    """Return an untrained network of a family with random data, and statistics that differ from channel to channel."""
    torch.manual_seed(0)
    if name == "language model":
        model = registry.build("transformer", vocabulary=10_000, context=32, width=64, depth=2)
        tokens = torch.randint(10_000, (samples, 32))
        return Problem(model, {"train": Split(tokens, tokens.roll(-1, 1))}, cross_entropy, {"acc": accuracy})
    if name == "transformer":
        model, tokens = registry.build("transformer", depth=2, width=64), torch.randint(256, (samples, 64))
        return Problem(model, {"train": Split(tokens, tokens.roll(-1, 1))}, cross_entropy, {"acc": accuracy})
    arguments, shape = ({"in_features": 192}, (192,)) if name == "mlp" else ({"in_channels": 3}, (3, 32, 32))
    model, inputs = registry.build(name, **arguments), torch.randn(samples, *shape)
    with torch.no_grad():
        model.train()(inputs)  # running statistics of these images
    return Problem(model.eval(), {"train": Split(inputs, torch.arange(samples) % 10)}, cross_entropy, {"acc": accuracy})


def losses(problem: Problem, device: str, data_bytes: int | None = None, **config: object) -> tuple[np.ndarray, str]:
    """Return the values at the points, and the engine; each point must have the same bits alone and repeated."""
    evaluation = EvaluationConfig(device=device.partition(":")[0], **config)
    with open_evaluator(problem, random_plane(problem.model), evaluation, device, data_bytes) as evaluate:
        found = evaluate.evaluate_many(POINTS)
        again = np.concatenate([evaluate.evaluate_many([point]) for point in POINTS])
        if found.tobytes() != again.tobytes():
            raise AssertionError(f"{config}: a point has other bits when it is computed alone")
        return found, evaluate.engine


def every_family_in_every_precision(device: str) -> str:
    """Compare with float64 on this device, which another check compares with the CPU."""
    worst = dict.fromkeys(BOUNDS, 0.0)
    for name in (*FAMILIES, "transformer", "language model"):
        problem = family(name)
        exact, _ = losses(problem, device, dtype="float64", engine="eager")
        for dtype in BOUNDS:
            if dtype in ("tf32", "float16") and not device.startswith("cuda"):
                continue
            found, engine = losses(problem, device, dtype=dtype)
            error = float(np.abs(found[:, 0] / exact[:, 0] - 1).max())
            if not error < BOUNDS[dtype]:
                raise AssertionError(f"{name} in {dtype} ({engine}): error {error:.1e}, expected {BOUNDS[dtype]:.0e}")
            worst[dtype] = max(worst[dtype], error)
    return "largest errors: " + ", ".join(f"{dtype} {error:.0e}" for dtype, error in worst.items() if error)


def streamed_data_have_the_same_bits(device: str) -> str:
    """In several batches, with data pinned once, and pinned batch by batch."""
    found = []
    for name in ("resnet20", "mlp", "transformer"):
        problem = family(name, samples=200)
        resident, engine = losses(problem, device, dtype="bfloat16", batch_size=32)
        for fraction in (streaming.PINNED_FRACTION, 0.0):
            before, streaming.PINNED_FRACTION = streaming.PINNED_FRACTION, fraction
            try:
                streamed, _ = losses(problem, device, data_bytes=0, dtype="bfloat16", batch_size=32, engine=engine)
            finally:
                streaming.PINNED_FRACTION = before
            if streamed.tobytes() != resident.tobytes():
                raise AssertionError(f"{name} ({engine}): values differ by {np.abs(streamed - resident).max():.1e}")
        found.append(f"{name} {engine}")
    return f"equal: {', '.join(found)}"


def training(folder: Path, device: str, problem: Problem, name: str, stop_at: int = 0, **settings: object) -> Run:
    chosen = TrainingSettings(epochs=2, batch_size=64, device=device, **settings)
    calls = []
    stop = (lambda: calls.append(1) or len(calls) == stop_at) if stop_at else None
    return train(problem, OPTIMIZER, chosen, folder / name, stop=stop)


def last_loss(run: Run) -> float:
    return float(run.history()["train_loss"][-1])


def training_in_every_mode(device: str, folder: Path) -> str:
    """Each mode ends near the loss of the CPU, and a run that was resumed near that of an undisturbed one."""
    problem = replace(family("resnet20", samples=300), metrics={})
    expected = last_loss(training(folder, "cpu", problem, "cpu"))
    found = []
    on_gpu = device.startswith("cuda")
    for engine in ("eager", *(("captured",) if on_gpu else ()), "compiled"):
        for dtype in ("float32", "bfloat16", "float16"):
            if engine == "compiled" and dtype != "bfloat16":
                continue  # compiling takes most of a minute
            name = f"{engine}-{dtype}"
            whole = training(folder, device, problem, name, dtype=dtype, engine=engine)
            training(folder, device, problem, f"{name}-part", stop_at=7, dtype=dtype, engine=engine)
            part = training(folder, device, problem, f"{name}-part", dtype=dtype, engine=engine)
            one, other = last_loss(whole), last_loss(part)
            if not abs(one / expected - 1) < 0.15:
                raise AssertionError(f"{name}: loss {one:.4g} after two epochs, {expected:.4g} on the CPU")
            if not abs(other / one - 1) < 0.05:
                raise AssertionError(f"{name}: loss {other:.6g} when resumed, {one:.6g} undisturbed")
            same = all(
                torch.equal(tensor, part.load().state_dict[key]) for key, tensor in whole.load().state_dict.items()
            )
            found.append(f"{name} {'same bits resumed' if same else f'resumed to {abs(other / one - 1):.0e}'}")
    return ", ".join(found)


def training_names_the_step_of_a_loss_that_is_not_finite(device: str, folder: Path) -> str:
    """The loss is read some steps later than on a CPU, but the error and the files are the same."""
    messages = []
    for kind in ("cpu", device):
        problem = family("mlp", samples=640)
        settings = TrainingSettings(epochs=40, batch_size=64, device=kind, checkpoint_every=50)
        try:
            train(problem, "sgd:lr=1e12", settings, folder / f"nan-{kind.partition(':')[0]}")
        except NonFiniteLossError as error:
            messages.append(str(error).partition("(epoch")[0].partition("after")[2])
    if len(messages) != 2 or messages[0] != messages[1]:
        raise AssertionError(f"expected the same step on both devices, got {messages}")
    return f"after{messages[0]}"


def chunked_logits_take_less_memory(device: str) -> str:
    """Memory of a large vocabulary: logits in chunks need less of it than those of a batch."""
    if not device.startswith("cuda"):
        return "skipped: peak memory is known on GPUs only"
    problem, peaks = family("language model", samples=1024), {}
    for engine in ("eager", "chunked_loss"):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        losses(problem, device, dtype="bfloat16", batch_size=1024, engine=engine)
        peaks[engine] = torch.cuda.max_memory_allocated(device) / 2**20
    if not peaks["chunked_loss"] < 0.7 * peaks["eager"]:
        raise AssertionError(f"peak memory in MiB: {peaks}")
    return ", ".join(f"{engine} {peak:.0f} MiB" for engine, peak in peaks.items())
