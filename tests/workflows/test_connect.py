"""Connections: exact ends, planted wells, alignment, curves, merged networks, interruptions and wrong arguments."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from landscape import (
    AlignmentError,
    Axis,
    CheckpointError,
    ConnectOptions,
    CurveOptions,
    EvaluationConfig,
    NonFiniteLossError,
    Problem,
    ProblemSpec,
    Split,
    TrainingSettings,
    Weights,
    compute_surface,
    connect,
    cross_entropy,
    read_surface,
    save_checkpoint,
    train,
)
from landscape.geometry.alignment.symmetry import find_symmetry
from landscape.geometry.curves import Curve
from landscape.training.measure import measure
from landscape.workflows.connect.curves import load_curve, problem_on_curve, train_curve
from landscape.workflows.connect.merging import mean_of, open_solutions, task_sum

FIVE = ConnectOptions(points=5)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of a small network with batch norm, from different initial weights."""
    folder = tmp_path_factory.mktemp("connect")
    spec = ProblemSpec(model="resnet20", samples=60)
    for seed in (0, 1):
        train(
            spec, "sgd:lr=0.05,momentum=0.9", TrainingSettings(epochs=1, batch_size=30, seed=seed), folder / f"{seed}"
        )
    return [folder / "0", folder / "1"]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Three runs of a perceptron."""
    folder = tmp_path_factory.mktemp("small")
    spec = ProblemSpec(model="mlp", model_args={"widths": (8,)}, samples=200)
    for seed in range(3):
        train(spec, "adam:lr=0.02", TrainingSettings(epochs=4, batch_size=50, seed=seed), folder / f"run-{seed}")
    return [folder / f"run-{seed}" for seed in range(3)]


class TwoWells(nn.Module):
    """A loss of two weights with wells at (-1, 0) and (1, 0), and a hill between them: see :func:`hill`."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight.expand(len(x), 2)


def hill(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return a loss that vanishes on a circle through both wells, with its centre half a unit below them.

    On the straight line it is ``(1 - x^2)^2``, a hill of height 1.
    """
    x, y = outputs.unbind(-1)
    return (1.25 - x**2 - (y + 0.5) ** 2) ** 2 + 0 * targets


def wells() -> Problem:
    return Problem(TwoWells(), {"train": Split(torch.zeros(2560, 1), torch.zeros(2560))}, hill)


def at(x: float, y: float) -> Weights:
    return Weights({"weight": torch.tensor([x, y])})


def test_planted_wells_the_curve_goes_around_the_hill(tmp_path):
    problem, start, end = wells(), at(-1, 0), at(1, 0)
    options = CurveOptions(
        "bezier",
        1,
        "adam:lr=0.05",
        TrainingSettings(epochs=10, batch_size=64, schedule="cosine"),
    )
    run, curve = train_curve(problem, start, end, options, tmp_path / "curve")
    assert run.finished
    heights = {}
    for name, path in (("line", Curve("segment", (start, end))), ("curve", curve)):
        moved = problem_on_curve(problem, path, "interpolated")
        result = compute_surface(moved, moved.model.line(), [Axis(0, 1, 21)])
        heights[name] = result.surface["train_loss"]
    places = np.linspace(-1, 1, 21)
    np.testing.assert_allclose(heights["line"], (1 - places**2) ** 2, atol=1e-6)
    assert heights["line"].max() == pytest.approx(1)
    # A parabola is no circle, so a little is left.
    assert heights["curve"].max() < 0.02
    assert heights["curve"][[0, -1]] == pytest.approx([0, 0])
    x, y = curve.at(0.5).tensors["weight"].tolist()
    assert (x, y) == pytest.approx((0, 1.25**0.5 - 0.5), abs=0.1)


@pytest.mark.integration
def test_ends_are_the_checkpoints(runs, tmp_path):
    """With batch norm, for interpolated and re-estimated statistics, and for the aligned network and the curve."""
    curve = CurveOptions("chain", 1, "sgd:lr=0.01", TrainingSettings(epochs=1, batch_size=30))
    options = ConnectOptions(points=3, align="weights", starts=0, recalibrate=True, curve=curve, plane=0)
    result = connect(runs, tmp_path / "out", options)
    assert [(c.kind, c.aligned, c.statistics) for c in result.connections] == [
        ("segment", "", "interpolated"), ("segment", "", "estimated"), ("segment", "weights", "interpolated"),
        ("segment", "weights", "estimated"), ("chain", "weights", "estimated"),
    ]  # fmt: skip
    solutions = open_solutions(runs)
    expected = []
    for weights in solutions.weights:
        model = solutions.problem.model
        model.load_state_dict(weights.tensors, strict=False)
        expected.append(
            [measure(model, solutions.problem.splits[s], cross_entropy, {})["loss"] for s in ("train", "test")]
        )
    first = result.connections[0].surface
    for connection in result.connections:
        for k, split in enumerate(("train", "test")):
            found = connection.surface[f"{split}_loss"][[0, -1]]
            assert found[0] == first[f"{split}_loss"][0]  # bit for bit, on all lines
            exact = connection.aligned == ""  # a permuted sum rounds differently
            assert found == pytest.approx([expected[0][k], expected[1][k]], rel=1e-6)
            assert not exact or found[1] == first[f"{split}_loss"][-1]
            np.testing.assert_array_equal(connection.surface[f"{split}_loss_excess"][[0, -1]], 0)
    inside = [c.surface["train_loss"][1] for c in result.connections]
    assert len(set(inside)) == 5


def test_excess_and_its_error_are_those_of_each_sample(small):
    """A second route: losses of all samples at each place, in double precision."""
    result = connect(small[:2], options=FIVE, evaluation=EvaluationConfig(dtype="float64"))
    surface = result.connections[0].surface
    solutions = open_solutions(small[:2])
    curve, model = Curve("segment", solutions.weights), solutions.problem.model.double()
    for split, data in solutions.problem.splits.items():
        losses = []
        for t in surface.x:
            model.load_state_dict(curve.at(float(t)).tensors)
            with torch.no_grad():
                losses.append(cross_entropy(model(data.inputs.double()), data.targets).numpy())
        for k, t in enumerate(surface.x):
            excess = losses[k] - (1 - t) * losses[0] - t * losses[-1]
            # Weights at a place are rounded to single precision in one route.
            assert surface[f"{split}_loss_excess"][k] == pytest.approx(excess.mean(), abs=1e-6)
            error = excess.std(ddof=1) / len(excess) ** 0.5
            assert surface[f"{split}_loss_excess_stderr"][k] == pytest.approx(error, abs=1e-6)
    barrier = result.connections[0].barrier["train_loss"]
    assert barrier.height == surface["train_loss_excess"].max()
    assert barrier.low <= barrier.height <= barrier.high


def test_permuted_copy_has_no_barrier_after_alignment(small, tmp_path):
    solutions = open_solutions(small[:2])
    model = solutions.problem.model
    symmetry = find_symmetry(model, solutions.problem.splits["train"].inputs[:2])
    permuted = symmetry.apply(solutions.weights[0], symmetry.random(3))
    save_checkpoint(tmp_path / "permuted.pt", permuted.tensors, step=0, epoch=0)
    result = connect([small[0], tmp_path / "permuted.pt"], options=ConnectOptions(points=5, align="weights"))
    before, after = result.connections
    assert before.barrier["train_loss"].height > 0.1
    assert after.distance == 0
    assert after.barrier["train_loss"].height == 0
    assert {c.barrier["train_loss"].high for c in (after,)} == {0}
    assert after.surface["train_loss"].std() == 0


def test_interrupted_lines_are_continued_and_kept(small, tmp_path):
    alone = connect(small[:2], options=FIVE).connections[0].surface
    out = tmp_path / "out"
    stopped = connect(small[:2], out, FIVE, stop=lambda: True)
    assert not stopped.complete
    result = connect(small[:2], out, FIVE)
    stored = read_surface(out / "run-0--run-1.h5")
    for name in alone.values:
        assert alone.values[name].tobytes() == stored.values[name].tobytes()
    modified = (out / "run-0--run-1.h5").stat().st_mtime_ns
    again = connect(small[:2], out, FIVE)
    assert (out / "run-0--run-1.h5").stat().st_mtime_ns == modified
    assert again.to_json() == result.to_json() == json.loads((out / "connect.json").read_text())


@pytest.mark.mpi
@pytest.mark.process
def test_two_ranks_equal_one(small, tmp_path):
    one, two = (connect(small[:2], tmp_path / str(n), FIVE, ranks=n).connections[0].surface for n in (1, 2))
    for name in one.values:
        assert one.values[name].tobytes() == two.values[name].tobytes()


def test_stopped_curve_is_resumed_bit_for_bit(small, tmp_path):
    solutions = open_solutions(small[:2])
    problem, (start, end) = solutions.problem, solutions.weights
    options = CurveOptions("bezier", 2, "adam:lr=0.01", TrainingSettings(epochs=3, batch_size=50))
    _, undisturbed = train_curve(problem, start, end, options, tmp_path / "a")
    steps = iter(range(100))
    run, curve = train_curve(problem, start, end, options, tmp_path / "b", stop=lambda: next(steps) == 4)
    assert curve is None
    assert not run.finished
    run, resumed = train_curve(problem, start, end, options, tmp_path / "b")
    assert [p.digest() for p in resumed.points] == [p.digest() for p in undisturbed.points]
    assert resumed.points[0].digest() == start.digest()
    assert resumed.points[-1].digest() == end.digest()
    straight = Curve.straight("bezier", start, end, 2)
    assert all(a.digest() != b.digest() for a, b in zip(resumed.points[1:-1], straight.points[1:-1], strict=True))
    assert load_curve(problem, straight, run).points[1].digest() == resumed.points[1].digest()
    with pytest.raises(CheckpointError, match="a curve between other ends"):
        train_curve(problem, end, start, options, tmp_path / "b")


def test_diverging_curve_keeps_its_last_good_checkpoint(small, tmp_path):
    curve = CurveOptions("bezier", 1, "sgd:lr=1e30", TrainingSettings(epochs=3, batch_size=50, checkpoint_steps=1))
    with pytest.raises(NonFiniteLossError, match=r"The last good checkpoint is .*curves"):
        connect(small[:2], tmp_path / "out", ConnectOptions(points=3, curve=curve))
    assert (tmp_path / "out" / "run-0--run-1.h5").exists()
    assert not (tmp_path / "out" / "connect.json").exists()
    assert list((tmp_path / "out" / "curves").rglob("step-*.pt"))


@pytest.mark.integration
def test_three_networks(small, tmp_path):
    result = connect(small, tmp_path / "out", ConnectOptions(points=3, plane=5))
    assert len(result.connections) == 3
    matrix = np.array(result.matrix("test_loss"))
    assert (matrix == matrix.T).all()
    assert (np.diag(matrix) == 0).all()
    assert matrix[0, 2] == result.between("run-0", "run-2")[0].barrier["test_loss"].height
    assert [p.kind for p in result.points] == ["solution"] * 3 + ["mean"] * 4
    solutions = open_solutions(small)
    for k, point in enumerate(result.points[:3]):
        model = solutions.problem.model
        model.load_state_dict(solutions.weights[k].tensors)
        expected = measure(model, solutions.problem.splits["train"], cross_entropy, {})["loss"]
        assert point.values["train_loss"] == pytest.approx(expected, rel=1e-6)
        assert point.distance == 0
    assert result.points[0].coordinates == (0, 0)
    assert result.points[3].coordinates == pytest.approx(
        np.mean([p.coordinates for p in result.points[:3]], axis=0), abs=1e-6
    )
    assert {path.name for path in result.figures} == {
        f"{name}{suffix}" for suffix in (".pdf", ".png")
        for name in ("lines-run-0--run-1", "lines-run-0--run-2", "lines-run-1--run-2", "matrix", "plane")
    }  # fmt: skip
    assert set(result.to_json()) == {"names", "complete", "pairs", "connections", "points", "figures"}


def test_task_vectors(small):
    result = connect(small[:2], options=ConnectOptions(points=3, plane=3, base=small[2]))
    kinds = {point.kind: point for point in result.points}
    assert list(kinds) == ["base", "solution", "mean", "task sum"]
    solutions = open_solutions(small)
    a, b, base = solutions.weights
    for name, tensor in task_sum(base, [a, b]):
        expected = a.tensors[name].double() + b.tensors[name].double() - base.tensors[name].double()
        assert torch.allclose(tensor.double(), expected, atol=1e-6)
    bias = "layers.0.bias"
    assert torch.allclose(mean_of([a, b]).tensors[bias], (a.tensors[bias] + b.tensors[bias]) / 2)
    solved = np.array([p.coordinates for p in result.points if p.kind == "solution"])
    assert kinds["task sum"].coordinates == pytest.approx(solved.sum(0), abs=1e-5)
    assert kinds["task sum"].distance == 0


def test_wrong_arguments_write_nothing(small, tmp_path):
    out = tmp_path / "out"
    other = tmp_path / "other"
    spec = ProblemSpec(model="mlp", model_args={"widths": (9,)}, samples=60)
    train(spec, "adam", TrainingSettings(epochs=1), other)
    shutil.copytree(small[0], tmp_path / "copy")
    cases = [
        ([small[0], other], FIVE, CheckpointError, r"another architecture .*layers\.0\.weight \(9, 64\)"),
        ([small[0], small[0]], FIVE, ValueError, "expected different networks, got .*run-0 twice"),
        ([small[0], tmp_path / "copy"], FIVE, ValueError, "run-0 and copy have the same weights"),
        (small[:1], FIVE, ValueError, "expected two runs or checkpoints"),
        ([small[0], tmp_path / "none"], FIVE, CheckpointError, "none"),
        (small[:2], ConnectOptions(base=small[1]), ValueError, "base: expected weights .* got those of run-1"),
    ]
    for sources, options, error, message in cases:
        with pytest.raises(error, match=message):
            connect(sources, out, options)
    with pytest.raises(ValueError, match="float32 or float64"):
        connect(small[:2], out, FIVE, evaluation=EvaluationConfig(dtype="bfloat16"))
    with pytest.raises(ValueError, match=r"expected a directory for its training"):
        connect(small[:2], options=ConnectOptions(curve=CurveOptions()))
    with pytest.raises(ValueError, match="plane: expected three networks"):
        connect(small[:2], out, ConnectOptions(plane=5))
    for wrong in ({"points": 2}, {"align": "x"}, {"starts": -1}, {"plane": 2}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            ConnectOptions(**wrong)
    assert not out.exists()


def test_network_that_cannot_be_aligned_writes_nothing(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import torch\nfrom torch import nn\nfrom landscape import Problem, Split, cross_entropy\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 3)\n"
        "    def forward(self, x):\n        return self.b(self.a(x).relu().cumsum(-1))\n"
        "def problem():\n"
        "    g = torch.Generator().manual_seed(0)\n"
        "    x, y = torch.randn(40, 4, generator=g), torch.arange(40) % 3\n"
        "    return Problem(Net(), {'train': Split(x, y)}, cross_entropy)\n"
    )
    spec = ProblemSpec(factory=f"{file}:problem")
    runs = [train(spec, "adam", TrainingSettings(epochs=1, seed=k), tmp_path / f"{k}") for k in (0, 1)]
    out = tmp_path / "out"
    with pytest.raises(AlignmentError, match="Net cannot be aligned: operation 'cumsum' is applied"):
        connect(runs, out, ConnectOptions(points=3, align="weights"))
    assert not out.exists()
    assert math.isfinite(connect(runs, out, ConnectOptions(points=3)).connections[0].barrier["train_loss"].height)
