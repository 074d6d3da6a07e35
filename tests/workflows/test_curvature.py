"""Curvature of small networks against torch.func, in files that are resumed, and by layer and checkpoint."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from scipy.integrate import trapezoid
from torch import nn
from torch.func import functional_call, hessian

from landscape import CurvatureConfig, DerivativeError, Direction, EvaluationConfig, Weights, curvature, read_curvature
from landscape.errors import StoreError
from landscape.evaluation.derivatives.derivatives import LossDerivatives
from landscape.problem import Problem, Split
from landscape.problem.measures import cross_entropy

pytestmark = pytest.mark.filterwarnings("ignore:.*jit.script")  # of torch.func

DOUBLE = EvaluationConfig(dtype="float64", batch_size=16)
FEW = CurvatureConfig(k=3, trace_probes=10, density_probes=3, density_steps=8, tolerance=1e-6)


def problem_of(samples=40, seed=0, widths=(5, 7, 4)):
    torch.manual_seed(seed)
    inner = [nn.Linear(widths[0], widths[1]), nn.Tanh(), nn.BatchNorm1d(widths[1]), nn.Linear(widths[1], widths[2])]
    model = nn.Sequential(*inner).double()
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor.add_(0.3 * torch.rand_like(tensor))
    inputs = torch.randn(samples, widths[0]).double()
    return Problem(model, {"train": Split(inputs, torch.randint(0, widths[2], (samples,)))}, cross_entropy)


def dense_hessian(problem):
    model, split = problem.model.eval(), problem.splits["train"]
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    sizes = [p.numel() for p in parameters.values()]

    def loss(flat):
        pieces = zip(parameters.items(), flat.split(sizes), strict=True)
        values = {name: piece.view_as(p) for (name, p), piece in pieces}
        return cross_entropy(functional_call(model, values, (split.inputs,)), split.targets).mean()

    return hessian(loss)(torch.cat([p.reshape(-1) for p in parameters.values()])).numpy()


def same(one, other):
    """Return True if two results are equal bit for bit, apart from times."""
    a, b = (json.dumps(found.to_json()) for found in (one, other))
    arrays = [(f.density.values, f.density.quadrature.nodes, f.layers.traces) for f in (one, other)]
    vectors = [[v.tobytes() for v in f.eigenvectors.values()] for f in (one, other)]
    equal = all(x.tobytes() == y.tobytes() for x, y in zip(*arrays, strict=True))
    return a == b and equal and vectors[0] == vectors[1]


class StopAfter:
    """A ``stop`` that becomes true after some polls."""

    def __init__(self, polls):
        self.left = polls

    def __call__(self):
        self.left -= 1
        return self.left < 0


def test_all_eigenvalues_are_those_of_the_dense_hessian():
    problem = problem_of()
    expected = np.linalg.eigvalsh(dense_hessian(problem))
    n = len(expected)
    config = CurvatureConfig(k=n, smallest=0, trace_probes=4, density_probes=0, tolerance=1e-9)
    found = curvature(problem, config, evaluation=DOUBLE)
    assert found.parameters == n == 88
    np.testing.assert_allclose(found.eigenvalues, expected[::-1], rtol=1e-6, atol=1e-12)
    assert found.converged.all()
    # All eigenpairs are known, so that nothing of the trace is random.
    assert found.trace.value == pytest.approx(expected.sum(), rel=1e-10)
    assert found.trace.stderr < 1e-10
    assert found.hutchinson.stderr > 0.01


def test_both_ends_trace_density_and_layers():
    problem = problem_of()
    dense = dense_hessian(problem)
    expected = np.linalg.eigvalsh(dense)
    found = curvature(problem, replace(FEW, by_layer=True), evaluation=DOUBLE)
    np.testing.assert_allclose(found.eigenvalues, expected[:-4:-1], rtol=1e-8)
    np.testing.assert_allclose(found.smallest_eigenvalues, expected[:3], rtol=1e-8)
    for end, index in (("largest", 1), ("smallest", 2)):
        vector = torch.cat([tensor.reshape(-1) for tensor in found.tensors(index, end).values()]).numpy()
        value = (found.eigenvalues if end == "largest" else found.smallest_eigenvalues)[index]
        residual = np.linalg.norm(dense @ vector - value * vector)
        assert residual <= 1e-6 * abs(value)
        assert np.linalg.norm(vector) == pytest.approx(1)
    assert abs(found.trace.value - expected.sum()) < 5 * found.trace.stderr
    assert found.trace.stderr < found.hutchinson.stderr
    density = found.density
    assert trapezoid(density.values, density.grid) == pytest.approx(1, rel=1e-6)
    assert (density.spread > 0).any()
    first = trapezoid(density.values * density.grid, density.grid)
    assert first == pytest.approx(density.quadrature.moment(1).mean(), rel=1e-6)
    assert abs(first - expected.mean()) < 5 * density.quadrature.moment(1).std(ddof=1) / math.sqrt(3)
    second = density.quadrature.moment(2)
    assert abs(second.mean() - (expected**2).mean()) < 5 * second.std(ddof=1) / math.sqrt(3)
    assert found.layers.names == ("0", "2", "3")
    assert found.layers.sizes.tolist() == [42, 14, 32]
    for index, (begin, end) in enumerate(((0, 42), (42, 56), (56, 88))):
        block = dense[begin:end, begin:end]
        assert found.layers.eigenvalues[index] == pytest.approx(np.linalg.eigvalsh(block)[-1], rel=1e-8)
        assert abs(found.layers.traces[index] - np.trace(block)) < 5 * found.layers.trace_stderr[index]
    assert found.layers.traces.sum() == pytest.approx(found.hutchinson.value)


@pytest.mark.parametrize("matrix", ["gauss_newton", "fisher", "empirical_fisher"])
def test_other_matrices(matrix):
    problem = problem_of()
    with LossDerivatives(problem, DOUBLE) as derivatives:
        dense = derivatives.product(torch.eye(derivatives.n).double(), matrix=matrix).numpy()
    found = curvature(problem, replace(FEW, matrix=matrix, smallest=None), evaluation=DOUBLE)
    np.testing.assert_allclose(found.eigenvalues, np.linalg.eigvalsh(dense)[:-4:-1], rtol=1e-8)
    assert found.config.smallest == 0
    assert len(found.smallest_eigenvalues) == 0


def test_file_has_what_scripts_read(tmp_path):
    problem, out = problem_of(), tmp_path / "curvature.h5"
    found = curvature(problem, FEW, evaluation=DOUBLE, out=out)
    assert found.complete
    with h5py.File(out) as file:
        assert file["eigenvalues"][()].tolist() == found.eigenvalues.tolist()
        assert file["residuals"].shape == (3,)
        assert file["trace"][()] == found.trace.value
        assert file["trace_stderr"][()] == found.trace.stderr
        assert file["density"].shape == file["density_grid"].shape
        assert file["density"].dims[0][0] == file["density_grid"]
        for name, parameter in problem.model.named_parameters():
            assert file[f"eigenvectors/{name}"].shape == (3, *parameter.shape)
        provenance = json.loads(file.attrs["provenance"])
        assert provenance["environment"]["packages"]["torch"] == torch.__version__
    again = read_curvature(out)
    assert same(found, again)
    assert list(again.eigenvectors) == [name for name, _ in problem.model.named_parameters()]
    assert not read_curvature(out, vectors=False).eigenvectors
    weights = Weights.from_model(problem.model)
    assert Direction.from_tensors(weights, again.tensors(0)).weights.norm() == pytest.approx(1)
    with pytest.raises(ValueError, match="one of 3"):
        again.tensors(3)


@pytest.fixture(scope="module")
def undisturbed():
    return curvature(problem_of(), replace(FEW, by_layer=True), evaluation=DOUBLE)


@pytest.mark.parametrize("polls", [0, 1, 9, 30, 34, 40, 70])
def test_a_stopped_file_is_resumed_bit_for_bit(polls, undisturbed, tmp_path):
    problem, out = problem_of(), tmp_path / "c.h5"
    config = replace(FEW, by_layer=True)
    stopped = curvature(problem, config, evaluation=DOUBLE, out=out, stop=StopAfter(polls))
    assert not stopped.complete
    assert (tmp_path / ".c.h5.products").exists()
    left = StopAfter(10**6)
    resumed = curvature(problem, config, evaluation=DOUBLE, out=out, stop=left)
    assert resumed.complete
    assert same(undisturbed, resumed)
    assert not (tmp_path / ".c.h5.products").exists()


def test_products_are_not_computed_twice(tmp_path, monkeypatch):
    problem, out, count = problem_of(), tmp_path / "c.h5", [0]
    product = LossDerivatives.product

    def counted(self, vectors, at=None, matrix="hessian"):
        count[0] += 1 if vectors.dim() == 1 else len(vectors)
        return product(self, vectors, at, matrix)

    monkeypatch.setattr(LossDerivatives, "product", counted)
    for polls in (7, 9, 5, 10, 12, 10**6):
        found = curvature(problem, FEW, evaluation=DOUBLE, out=out, stop=StopAfter(polls))
    assert found.complete
    assert count[0] == found.products
    again = curvature(problem, FEW, evaluation=DOUBLE, out=out)
    assert count[0] == found.products
    assert same(found, again)


def test_a_torn_record_is_computed_again(tmp_path):
    problem, out = problem_of(), tmp_path / "c.h5"
    curvature(problem, FEW, evaluation=DOUBLE, out=out, stop=StopAfter(8))
    log = tmp_path / ".c.h5.products"
    contents = log.read_bytes()
    log.write_bytes(contents[:-100])
    resumed = curvature(problem, FEW, evaluation=DOUBLE, out=out)
    damaged = tmp_path / "d.h5"
    curvature(problem, FEW, evaluation=DOUBLE, out=damaged, stop=StopAfter(8))
    (tmp_path / ".d.h5.products").write_bytes(contents[:1500] + b"x" + contents[1501:])
    assert same(curvature(problem, FEW, evaluation=DOUBLE), resumed)
    assert same(curvature(problem, FEW, evaluation=DOUBLE, out=damaged), resumed)


def test_other_settings_are_refused_and_overwriting_begins_again(tmp_path):
    problem, out = problem_of(), tmp_path / "c.h5"
    curvature(problem, FEW, evaluation=DOUBLE, out=out)
    with pytest.raises(StoreError, match="k: the file has 3, this computation 4"):
        curvature(problem, replace(FEW, k=4), evaluation=DOUBLE, out=out)
    with torch.no_grad():
        problem.model[0].weight += 0.1
    with pytest.raises(StoreError, match="weights"):
        curvature(problem, FEW, evaluation=DOUBLE, out=out)
    assert curvature(problem, FEW, evaluation=DOUBLE, out=out, overwrite=True).complete


def test_progress_names_stages():
    seen = []
    curvature(problem_of(), FEW, evaluation=DOUBLE, progress=seen.append)
    assert list(dict.fromkeys(each.stage for each in seen)) == ["eigenpairs", "trace", "density"]
    for stage in ("eigenpairs", "trace", "density"):
        last = [each for each in seen if each.stage == stage][-1]
        assert last.done == last.total


def test_single_precision_agrees():
    problem = problem_of()
    double = curvature(problem, replace(FEW, tolerance=1e-3), evaluation=DOUBLE)
    single = curvature(problem, replace(FEW, tolerance=1e-3), evaluation=replace(DOUBLE, dtype="float32"))
    np.testing.assert_allclose(single.eigenvalues, double.eigenvalues, rtol=1e-4)
    assert single.converged.all()
    assert next(iter(single.eigenvectors.values())).dtype == np.float32


@pytest.mark.parametrize("classes", [4, 6])
def test_outliers_of_a_trained_classifier_are_classes_minus_one(classes):
    torch.manual_seed(0)
    centres = 0.8 * torch.randn(classes, 20)
    targets = torch.arange(600) % classes
    inputs = centres[targets] + torch.randn(600, 20)
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, classes))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(100):
        optimizer.zero_grad()
        cross_entropy(model(inputs), targets).mean().backward()
        optimizer.step()
    problem = Problem(model, {"train": Split(inputs, targets)}, cross_entropy)
    found = curvature(problem, CurvatureConfig(k=9, smallest=0, trace_probes=0, density_probes=0))
    gaps = found.eigenvalues[:-1] / found.eigenvalues[1:]
    assert int(gaps.argmax()) + 1 == classes - 1


def test_a_loss_that_is_not_finite_is_one_error():
    problem = problem_of()
    with torch.no_grad():
        problem.model[0].weight[0, 0] = math.nan
    with pytest.raises(DerivativeError, match="finite"):
        curvature(problem, FEW, evaluation=DOUBLE)


def test_wrong_arguments():
    problem = problem_of()
    for arguments, message in (
        ({"split": "test"}, "test"),
        ({"ranks": 2}, "cannot rebuild"),
        ({"ranks": 0}, "positive"),
        ({"checkpoints": "all"}, "run"),
        ({"evaluation": EvaluationConfig(dtype="bfloat16")}, "float32"),
    ):
        with pytest.raises(ValueError, match=message):
            curvature(problem, FEW, **arguments)
    for arguments, message in (({"k": 0}, "k:"), ({"matrix": "x"}, "matrix"), ({"tolerance": 2.0}, "tolerance")):
        with pytest.raises(ValueError, match=message):
            CurvatureConfig(**arguments)
    with pytest.raises(ValueError, match="no parameter"):
        curvature(problem, replace(FEW, only=("nothing*",)))
