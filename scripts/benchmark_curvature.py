"""Time and memory of Hessian products and of five eigenpairs, beside other libraries, in one process each.

    python scripts/benchmark_curvature.py [--networks resnet20,transformer] [--samples N] [--repeats N] [--json FILE]

Libraries that are not installed are skipped: curvlinops-for-pytorch, hessian-eigenthings, pyhessian. Products of all
libraries are timed in turn, and medians are compared, so that a busy machine slows all of them down alike. Every
library gets the same network, samples and batches, in float32 on the CPU.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from landscape import EvaluationConfig, Problem, Split, cross_entropy
from landscape.evaluation.derivatives.derivatives import LossDerivatives
from landscape.evaluation.derivatives.eigenpairs import find_eigenpairs, random_vector
from landscape.models import registry

PAIRS, TOLERANCE = 5, 1e-3


@dataclass
class Row:
    """Figures of one library and network.

    Attributes:
        library: name of the library.
        network: name of the network.
        product: median time of a product in seconds.
        products: number of products for five eigenpairs.
        seconds: time for five eigenpairs.
        eigenvalues: the eigenvalues it found.
        residual: largest residual norm, relative to its eigenvalue, measured by this project's product.
        memory: peak memory of a process that computes products, in MiB, above that of one that only loads everything.
    """

    library: str
    network: str
    product: float = float("nan")
    products: int = 0
    seconds: float = float("nan")
    eigenvalues: tuple[float, ...] = ()
    residual: float = float("nan")
    memory: float = float("nan")


@dataclass
class Case:
    """A network with data: a few training steps give it the outliers of a trained one."""

    name: str
    model: nn.Module
    inputs: Tensor
    targets: Tensor
    batch: int

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy."""
        return functional.cross_entropy(outputs.flatten(0, -2), targets.flatten())

    def batches(self) -> list[tuple[Tensor, Tensor]]:
        """Return the batches."""
        return list(zip(self.inputs.split(self.batch), self.targets.split(self.batch), strict=True))


def make_case(name: str, samples: int, steps: int = 15) -> Case:
    """Return a network with data, trained for some steps."""
    torch.manual_seed(0)
    if name == "transformer":
        model = registry.build(name)
        tokens = torch.randint(0, 64, (max(samples // 8, 4), 129)).cumsum(1) % 256
        case = Case(name, model, tokens[:, :-1], tokens[:, 1:], 4)
    else:
        model, targets = registry.build(name), torch.arange(samples) % 10
        inputs = torch.randn(10, 3, 32, 32)[targets] + torch.randn(samples, 3, 32, 32)
        case = Case(name, model, inputs, targets, 32)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        case.loss(model(case.inputs), case.targets).backward()
        optimizer.step()
    model.zero_grad()
    model.eval()
    return case


class Counter:
    """A product with a vector ``(n,)`` that counts its calls."""

    def __init__(self, product: Callable[[Tensor], Tensor]) -> None:
        self.calls, self._product = 0, product

    def __call__(self, vector: Tensor) -> Tensor:
        """Return the product."""
        self.calls += 1
        return self._product(vector)


class Library:
    """One way of computing products and eigenpairs."""

    name = "landscape"

    def __init__(self, case: Case) -> None:
        problem = Problem(case.model, {"train": Split(case.inputs, case.targets)}, cross_entropy)
        self._derivatives = LossDerivatives(problem, EvaluationConfig(batch_size=case.batch)).__enter__()
        self.n = self._derivatives.n
        self.product = Counter(self._derivatives.hessian_product)

    def eigenpairs(self) -> tuple[np.ndarray, Tensor]:
        """Return eigenvalues, largest first, and eigenvectors ``(k, n)``."""
        start = random_vector(self.n, 0).float()
        found = find_eigenpairs(self.product, start, PAIRS, 0, tolerance=TOLERANCE, relative=True)
        return found.values, found.vectors

    def close(self) -> None:
        """Give the network back as it was."""
        self._derivatives.__exit__(None, None, None)


class Curvlinops(Library):
    """curvlinops with ``eigsh`` of SciPy (ARPACK), as its documentation does."""

    name = "curvlinops"

    def __init__(self, case: Case) -> None:
        from curvlinops import HessianLinearOperator

        class Loss(nn.CrossEntropyLoss):
            def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
                return super().forward(outputs.flatten(0, -2), targets.flatten())

        parameters = [p for p in case.model.parameters() if p.requires_grad]
        self._operator = HessianLinearOperator(
            case.model, Loss(), parameters, case.batches(), check_deterministic=False
        )
        self.n = self._operator.shape[0]
        self.product = Counter(lambda vector: self._operator @ vector)

    def eigenpairs(self) -> tuple[np.ndarray, Tensor]:
        from scipy.sparse.linalg import LinearOperator, eigsh

        def multiply(vector: np.ndarray) -> np.ndarray:
            return self.product(torch.from_numpy(vector.astype(np.float32).ravel())).detach().numpy()

        operator = LinearOperator((self.n, self.n), matvec=multiply, dtype=np.float32)
        start = random_vector(self.n, 0).float().numpy()
        values, vectors = eigsh(operator, k=PAIRS, which="LA", tol=TOLERANCE, v0=start)
        order = np.argsort(values)[::-1]
        return values[order], torch.from_numpy(np.ascontiguousarray(vectors.T[order]))

    def close(self) -> None:
        pass


class Eigenthings(Library):
    """hessian-eigenthings 1.0 with its Lanczos method, with twice the steps until it reports convergence."""

    name = "hessian-eigenthings"

    def __init__(self, case: Case) -> None:
        from hessian_eigenthings import HessianOperator, supervised_loss

        self._operator = HessianOperator(case.model, case.batches(), supervised_loss(case.loss))
        self.n = int(self._operator.size)
        self.product = Counter(self._operator.matvec)

    def eigenpairs(self) -> tuple[np.ndarray, Tensor]:
        from hessian_eigenthings import LambdaOperator, lanczos

        operator = LambdaOperator(self.product, size=self.n, device=torch.device("cpu"), dtype=torch.float32)
        steps = 4 * PAIRS
        while True:  # it stops after a given number of steps, so that a user has to try
            found = lanczos(operator, k=PAIRS, which="LA", tol=TOLERANCE, seed=0, max_iter=steps, reorthogonalize=True)
            if bool(found.converged.all()):
                return found.eigenvalues.numpy(), found.eigenvectors
            steps *= 2

    def close(self) -> None:
        pass


class PyHessian(Library):
    """PyHessian with its deflated power iteration, which stops when an eigenvalue changes by 1e-3 of itself."""

    name = "PyHessian"

    def __init__(self, case: Case) -> None:
        from pyhessian import hessian

        self._hessian = hessian(case.model, case.loss, dataloader=case.batches(), cuda=False)
        inner = self._hessian.dataloader_hv_product
        self.n = sum(p.numel() for p in self._hessian.params)
        self.product = Counter(lambda vector: _flat(inner(self._pieces(vector))[1]))

        def counted(vector: list[Tensor]) -> Any:
            self.product.calls += 1
            return inner(vector)

        self._hessian.dataloader_hv_product = counted

    def _pieces(self, vector: Tensor) -> list[Tensor]:
        parts = vector.split([p.numel() for p in self._hessian.params])
        return [part.view_as(p) for part, p in zip(parts, self._hessian.params, strict=True)]

    def eigenpairs(self) -> tuple[np.ndarray, Tensor]:
        torch.manual_seed(0)
        values, vectors = self._hessian.eigenvalues(maxIter=100, tol=TOLERANCE, top_n=PAIRS)
        return np.array(values), torch.stack([_flat(vector) for vector in vectors])

    def close(self) -> None:
        self._hessian.model.zero_grad()


def _flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


LIBRARIES: dict[str, type[Library]] = {kind.name: kind for kind in (Library, Curvlinops, Eigenthings, PyHessian)}


def open_libraries(case: Case) -> dict[str, Library]:
    """Return the libraries that are installed."""
    found = {}
    for name, kind in LIBRARIES.items():
        try:
            found[name] = kind(case)
        except ImportError as error:
            print(f"{name}: skipped ({error})", file=sys.stderr)
    return found


def peak(library: str, network: str, samples: int) -> float:
    """Return the peak memory of a process that computes two products with a library, in MiB."""
    words = [sys.executable, __file__, "--peak", library, "--networks", network, "--samples", str(samples)]
    done = subprocess.run(words, capture_output=True, text=True)
    return float(done.stdout.split()[-1]) if done.returncode == 0 else float("nan")


def measure(network: str, samples: int, repeats: int) -> list[Row]:
    """Return the figures of all libraries for one network."""
    case = make_case(network, samples)
    libraries = open_libraries(case)
    rows = {name: Row(name, network) for name in libraries}
    vector = nn.functional.normalize(random_vector(next(iter(libraries.values())).n, 1), dim=0).float()
    times: dict[str, list[float]] = {name: [] for name in libraries}
    for repeat in range(repeats + 1):
        for name, library in libraries.items():
            begin = time.perf_counter()
            library.product(vector)
            if repeat:  # the first is a warm-up
                times[name].append(time.perf_counter() - begin)
    own = libraries["landscape"]
    for name, library in libraries.items():
        row, library.product.calls = rows[name], 0
        row.product = statistics.median(times[name])
        begin = time.perf_counter()
        try:
            values, vectors = library.eigenpairs()
        except Exception as error:
            print(f"{name}: no eigenpairs ({type(error).__name__}: {error})", file=sys.stderr)
            continue
        row.seconds, row.products = time.perf_counter() - begin, library.product.calls
        row.eigenvalues = tuple(float(value) for value in values)
        images = torch.stack([own.product(vector.float()) for vector in vectors])
        residuals = (images - torch.tensor(row.eigenvalues)[:, None] * vectors).norm(dim=1).double().numpy()
        row.residual = float((residuals / np.abs(values)).max())
    for library in libraries.values():
        library.close()
    base = peak("nothing", network, samples)
    for name, row in rows.items():
        row.memory = peak(name, network, samples) - base
    return list(rows.values())


def table(rows: list[Row]) -> str:
    """Return the figures as a Markdown table, with times relative to this project's."""
    lines = [
        "| network | library | product | products | five eigenpairs | largest residual | memory |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        own = next(each for each in rows if each.network == row.network and each.library == "landscape")
        times = [f"{row.product:.2f} s ({row.product / own.product:.2f})", str(row.products)]
        times.append(f"{row.seconds:.0f} s ({row.seconds / own.seconds:.2f})")
        cells = [row.network, row.library, *times, f"{row.residual:.1g}", f"{row.memory:.0f} MiB"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default="resnet20,transformer")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    networks = options.networks.split(",")
    if options.peak:
        case = make_case(networks[0], options.samples, steps=0)
        if options.peak != "nothing":
            library = LIBRARIES[options.peak](case)
            for _ in range(2):
                library.product(random_vector(library.n, 1).float())
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    rows = [row for network in networks for row in measure(network, options.samples, options.repeats)]
    print(table(rows))
    for row in rows:
        print(f"{row.network} {row.library}: {', '.join(f'{value:.6g}' for value in row.eigenvalues)}", file=sys.stderr)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump([asdict(row) for row in rows], file, indent=1)


if __name__ == "__main__":
    main()
