"""Derivatives of the mean loss: closed forms, torch.func in float64, batches, restoring, and clear errors."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call, hessian

from landscape.errors import DerivativeError
from landscape.evaluation import EvaluationConfig
from landscape.evaluation.derivatives.derivatives import MATRICES, LossDerivatives
from landscape.problem import Problem, Split
from landscape.problem.measures import cross_entropy, mean_squared_error
from models.registry import build

pytestmark = pytest.mark.filterwarnings("ignore:.*jit.script")  # of torch.func

DOUBLE = EvaluationConfig(dtype="float64", batch_size=5)


def small_problem(loss=cross_entropy, samples=13, seed=0):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.BatchNorm1d(6), nn.Linear(6, 3)).double()
    with torch.no_grad():
        for p in (*model.parameters(), *model.buffers()):
            if p.is_floating_point():
                p.add_(0.3 * torch.rand_like(p))
    x = torch.randn(samples, 4, dtype=torch.float64)
    y = torch.randint(0, 3, (samples,)) if loss is cross_entropy else torch.randn(samples, 3, dtype=torch.float64)
    return Problem(model, {"train": Split(x, y)}, loss)


def flat_gradients(values, model):
    """Return the gradient of each value, ``(values, n)``."""
    parameters = list(model.parameters())
    gradients = [torch.autograd.grad(value, parameters, retain_graph=True) for value in values]
    return torch.stack([torch.cat([g.reshape(-1) for g in each]) for each in gradients])


def classes(*shape, samples=4):
    """Return a split of three classes with inputs of the given shape."""
    return {"train": Split(torch.randn(samples, *shape).double(), torch.randint(0, 3, (samples,)))}


def dense(derivatives, matrix="hessian", at=None):
    return derivatives.product(torch.eye(derivatives.n, dtype=torch.float64), at, matrix)


def reference_hessian(problem, of=None):
    """Return the Hessian of the mean loss by torch.func, ``(n, n)``."""
    model = problem.model.eval()
    split = problem.splits["train"]
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    sizes = [p.numel() for p in parameters.values()]

    def mean_loss(flat):
        pieces = flat.split(sizes)
        values = {name: piece.view_as(p) for (name, p), piece in zip(parameters.items(), pieces, strict=True)}
        return problem.loss(functional_call(model, values, (split.inputs,)), split.targets).mean()

    return hessian(mean_loss)(torch.cat([p.reshape(-1) for p in parameters.values()]))


@pytest.mark.parametrize("loss", [cross_entropy, mean_squared_error])
def test_hessian_is_that_of_torch_func(loss):
    problem = small_problem(loss)
    expected = reference_hessian(problem)
    with LossDerivatives(problem, DOUBLE) as derivatives:
        torch.testing.assert_close(dense(derivatives), expected, rtol=1e-10, atol=1e-12)
        one = derivatives.hessian_product(torch.arange(derivatives.n).double())
        torch.testing.assert_close(one, expected @ torch.arange(derivatives.n).double(), rtol=1e-10, atol=1e-10)


def test_derivatives_outside_of_their_block_are_refused():
    derivatives = LossDerivatives(small_problem(cross_entropy), DOUBLE)
    with derivatives:
        at = derivatives.weights()
        assert derivatives.loss() > 0
    for use in (derivatives.loss, derivatives.gradient, lambda: derivatives.hessian_product(at)):
        with pytest.raises(ValueError, match="with statement"):
            use()


def test_least_squares_has_hessian_of_its_inputs():
    x, y = torch.randn(11, 4, dtype=torch.float64), torch.randn(11, 1, dtype=torch.float64)
    problem = Problem(nn.Linear(4, 1, bias=False).double(), {"train": Split(x, y)}, mean_squared_error)
    with LossDerivatives(problem, DOUBLE) as derivatives:
        for matrix in ("hessian", "gauss_newton", "fisher"):
            torch.testing.assert_close(dense(derivatives, matrix), 2 / 11 * x.T @ x)
        loss, gradient = derivatives.gradient()
        residual = x @ problem.model.weight.detach().T - y
        torch.testing.assert_close(gradient, (2 / 11 * x.T @ residual)[:, 0])
        assert loss == pytest.approx(float((residual**2).mean()), rel=1e-12)
        assert derivatives.loss() == loss


def test_softmax_regression_has_its_closed_form():
    x, y = torch.randn(9, 3, dtype=torch.float64), torch.randint(0, 4, (9,))
    problem = Problem(nn.Linear(3, 4, bias=False).double(), {"train": Split(x, y)}, cross_entropy)
    p = problem.model(x).detach().softmax(1)
    blocks = [torch.kron(torch.diag(q) - torch.outer(q, q), torch.outer(a, a)) for q, a in zip(p, x, strict=True)]
    expected = sum(blocks) / 9
    with LossDerivatives(problem, DOUBLE) as derivatives:
        for matrix in ("hessian", "gauss_newton", "fisher"):
            torch.testing.assert_close(dense(derivatives, matrix), expected)


@pytest.mark.parametrize("loss", [cross_entropy, mean_squared_error])
def test_gauss_newton_and_fisher_agree_with_jacobians(loss):
    problem = small_problem(loss)
    split, model = problem.splits["train"], problem.model.eval()
    outputs = model(split.inputs)
    jacobian = flat_gradients(outputs.reshape(-1), model).view(*outputs.shape, -1)
    curvature = torch.stack(
        [
            hessian(lambda o, t=t: loss(o[None], t[None])[0])(o)
            for o, t in zip(outputs.detach(), split.targets, strict=True)
        ]
    )
    expected = torch.einsum("nci,ncd,ndj->ij", jacobian, curvature, jacobian) / len(split)
    rows = flat_gradients(loss(model(split.inputs), split.targets), model)
    with LossDerivatives(problem, DOUBLE) as derivatives:
        torch.testing.assert_close(dense(derivatives, "gauss_newton"), expected)
        torch.testing.assert_close(dense(derivatives, "fisher"), expected)
        torch.testing.assert_close(dense(derivatives, "empirical_fisher"), rows.T @ rows / len(split))


def test_products_at_other_weights_leave_the_present_ones():
    problem = small_problem()
    with LossDerivatives(problem, DOUBLE) as derivatives:
        before = derivatives.weights()
        there = before + 0.1
        there_loss = derivatives.loss(there)
        expected = dense(derivatives, at=there)
        assert torch.equal(derivatives.weights(), before)
        assert derivatives.loss() != there_loss
    with torch.no_grad():
        for p in problem.model.parameters():
            p += 0.1
    torch.testing.assert_close(expected, reference_hessian(problem))


def test_batches_and_parts_add_up():
    problem = small_problem()
    v = torch.randn(2, sum(p.numel() for p in problem.model.parameters()), dtype=torch.float64)
    with LossDerivatives(problem, EvaluationConfig(dtype="float64", batch_size=13)) as derivatives:
        expected = derivatives.hessian_product(v)
    for parts in (1, 2, 3, 7):
        total = 0
        for index in range(parts):
            with LossDerivatives(problem, EvaluationConfig(dtype="float64", batch_size=3), part=(index, parts)) as part:
                total += part.hessian_product(v)
        torch.testing.assert_close(total, expected, rtol=1e-12, atol=1e-14)


def test_selected_parameters_have_their_block():
    problem = small_problem()
    full = reference_hessian(problem)
    with LossDerivatives(problem, DOUBLE, only=["3.*"], freeze=["*.bias"]) as derivatives:
        assert list(derivatives.parameters) == ["3.weight"]
        assert derivatives.n == 18
        start = 4 * 6 + 6 + 6 + 6
        torch.testing.assert_close(dense(derivatives), full[start : start + 18, start : start + 18])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_model_is_restored_bit_for_bit(dtype):
    problem = small_problem()
    model = problem.model.float().train()
    model[0].weight.requires_grad_(False)
    model[3].weight.grad = torch.ones_like(model[3].weight)
    state = {name: (t.data_ptr(), t.clone()) for name, t in model.state_dict().items()}
    random = torch.get_rng_state()
    config = EvaluationConfig(dtype=dtype, batch_size=4, bn="recalibrate", bn_samples=8)

    def fail():
        with LossDerivatives(problem, config) as derivatives:
            derivatives.hessian_product(derivatives.weights(), derivatives.weights() + 1)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    for name, tensor in model.state_dict().items():
        assert tensor.data_ptr() == state[name][0]
        assert torch.equal(tensor, state[name][1])
    assert all(module.training for module in model.modules())
    assert not model[0].weight.requires_grad
    assert torch.equal(model[3].weight.grad, torch.ones_like(model[3].weight))
    assert model[0].bias.grad is None
    assert torch.equal(torch.get_rng_state(), random)


def test_tied_and_unused_parameters():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.unused = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False), nn.Linear(2, 2)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(torch.tanh(self.a(x)))

    torch.manual_seed(0)
    problem = Problem(Tied().double(), classes(3, samples=6), cross_entropy)
    with LossDerivatives(problem, DOUBLE) as derivatives:
        assert derivatives.n == 9 + 6
        for matrix in MATRICES:
            found = dense(derivatives, matrix)
            assert not found[9:].any()
            assert found[:9, :9].any()
        torch.testing.assert_close(dense(derivatives), reference_hessian(problem))


@pytest.mark.parametrize("layer", ["attention", "lstm", "gru", "dropout", "embedding"])
def test_layers_without_a_fused_second_derivative(layer):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = {
                "attention": lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
                "lstm": lambda: nn.LSTM(8, 8, batch_first=True),
                "gru": lambda: nn.GRU(8, 8, batch_first=True),
                "dropout": lambda: nn.Sequential(nn.Linear(8, 8), nn.Dropout(), nn.Tanh()),
                "embedding": lambda: nn.Linear(8, 8),
            }[layer]()
            self.head = nn.Linear(8, 3)

        def forward(self, x):
            out = self.layer(x)
            return self.head((out[0] if isinstance(out, tuple) else out).mean(1))

    torch.manual_seed(0)
    problem = Problem(Net().double(), classes(5, 8), cross_entropy)
    with LossDerivatives(problem, DOUBLE) as derivatives:
        v, step = torch.randn(derivatives.n, dtype=torch.float64), 1e-5
        at = derivatives.weights()
        slope = (derivatives.gradient(at + step * v)[1] - derivatives.gradient(at - step * v)[1]) / (2 * step)
        torch.testing.assert_close(derivatives.hessian_product(v), slope, rtol=1e-4, atol=1e-7)
        for matrix in MATRICES[1:]:
            assert derivatives.product(v, matrix=matrix).any()


@pytest.mark.parametrize("name", ["resnet20", "transformer"])
def test_own_networks(name):
    torch.manual_seed(0)
    if name == "transformer":
        model = build(name, vocabulary=16, context=8, width=16, depth=1, heads=2).double()
        tokens = torch.randint(0, 16, (4, 9))
        split = Split(tokens[:, :-1], tokens[:, 1:])
    else:
        model, split = build(name).double(), Split(torch.randn(3, 3, 8, 8).double(), torch.randint(0, 10, (3,)))
    problem = Problem(model, {"train": split}, cross_entropy)
    with LossDerivatives(problem, DOUBLE) as derivatives:
        v, step = torch.randn(derivatives.n, dtype=torch.float64), 1e-7
        v, at = v / v.norm(), derivatives.weights()  # with a longer step, ReLUs would switch
        slope = (derivatives.gradient(at + step * v)[1] - derivatives.gradient(at - step * v)[1]) / (2 * step)
        assert (derivatives.hessian_product(v) - slope).norm() < 1e-5 * slope.norm()


class _Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * 3 * x**2


class _Broken(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind, self.layer = kind, nn.Linear(3, 3)

    def forward(self, x):
        out = self.layer(x)
        if self.kind == "once":
            return _Once.apply(out)
        if self.kind == "detached":
            return out.detach()
        out = out.exp()
        out.add_(1)
        return out


@pytest.mark.parametrize(
    ("kind", "message"), [("once", "twice"), ("in-place", "overwrites"), ("detached", "does not depend")]
)
def test_what_cannot_be_differentiated_is_explained(kind, message):
    problem = Problem(_Broken(kind), classes(3), cross_entropy)
    with LossDerivatives(problem) as derivatives, pytest.raises(DerivativeError, match=message):
        derivatives.hessian_product(torch.ones(derivatives.n))


def test_wrong_arguments_are_refused():
    problem = small_problem()
    with pytest.raises(ValueError, match="split: expected one of train"):
        LossDerivatives(problem, split="test")
    with pytest.raises(ValueError, match="float32"):
        LossDerivatives(problem, EvaluationConfig(dtype="bfloat16"))
    with LossDerivatives(problem, DOUBLE) as derivatives:
        with pytest.raises(ValueError, match="vector"):
            derivatives.hessian_product(torch.ones(3))
        with pytest.raises(ValueError, match="matrix"):
            derivatives.product(torch.ones(derivatives.n), matrix="laplacian")
    user = Problem(problem.model, problem.splits, lambda o, t: cross_entropy(o, t).mean())
    with LossDerivatives(user, DOUBLE) as derivatives:
        with pytest.raises(ValueError, match="likelihood"):
            derivatives.product(torch.ones(derivatives.n), matrix="fisher")
        with pytest.raises(ValueError, match="each sample"):
            derivatives.product(torch.ones(derivatives.n), matrix="empirical_fisher")
        torch.testing.assert_close(dense(derivatives), reference_hessian(problem), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["resnet20", "biased"])
def test_folded_normalization_has_the_derivatives_of_the_module(name):
    torch.manual_seed(0)
    if name == "resnet20":
        model = build(name).double()
    else:
        convolution = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False), nn.ReLU(), nn.Flatten()]
        model = nn.Sequential(
            *convolution, nn.Linear(144, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 10)
        ).double()
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor.add_(0.02 * torch.randn_like(tensor))
    images = Split(torch.randn(2, 3, 8, 8).double(), torch.randint(0, 10, (2,)))
    problem = Problem(model, {"train": images}, cross_entropy)
    products = []
    for engine in ("eager", "auto"):
        with LossDerivatives(problem, EvaluationConfig(engine=engine)) as derivatives:
            v = torch.arange(derivatives.n).double().sin()
            assert (derivatives._network is model) == (engine == "eager")
            products.append([derivatives.gradient()[1], *(derivatives.product(v, matrix=m) for m in MATRICES[:2])])
        assert derivatives._network is model
    for eager, folded in zip(*products, strict=True):
        assert 0 < (eager - folded).norm() < 1e-9 * eager.norm()
