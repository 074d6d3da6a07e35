"""SAdam and SAMSGrad: Adam with the softplus of the square root of the second moment as denominator."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import Optimizer

# Above this value of beta * z, log(1 + exp(beta z)) / beta and z are equal in float64, too.
_LINEAR_ABOVE = 40.0


class SAdam(Optimizer):
    r"""Adam whose denominator is :math:`\mathrm{softplus}_\beta(\sqrt{v})` instead of :math:`\sqrt{v} + \epsilon`.

    With Adam's moments :math:`m` and :math:`v`, step :math:`t` is

    .. math::
        x \leftarrow x - \eta \frac{\sqrt{1 - \beta_2^t}}{1 - \beta_1^t} \frac{m}{\mathrm{softplus}_\beta(\sqrt{v})},
        \qquad \mathrm{softplus}_\beta(z) = \frac{1}{\beta} \log(1 + e^{\beta z}).

    The denominator is at least :math:`\log 2 / \beta`, which bounds the steps for small gradients; for
    :math:`\beta \to \infty` it becomes that of Adam with :math:`\epsilon = 0`.

    Source: Tong, Liang and Bi, "Calibrating the adaptive learning rate to improve convergence of Adam",
    Neurocomputing 481 (2022), arXiv:1908.00700, algorithm 3 (bias correction as in Adam).
    """

    _running_maximum = False

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        beta: float = 50.0,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        """Create the optimizer; the arguments are those of :class:`torch.optim.Adam`, with ``beta`` instead of ``eps``.

        Args:
            params: parameters or parameter groups.
            lr: learning rate.
            betas: decay rates of the running means of the gradient and of its square.
            beta: sharpness of the softplus; 50 in the paper.
            weight_decay: multiple of the weights that is added to the gradient.
            maximize: maximize the objective instead of minimizing it.

        Raises:
            ValueError: an argument is out of range.
        """
        if not lr >= 0:
            raise ValueError(f"lr: expected at least 0, got {lr}")
        if len(betas) != 2 or not all(0 <= decay < 1 for decay in betas):
            raise ValueError(f"betas: expected two numbers in [0, 1), got {betas}")
        if not 0 < beta < math.inf:
            raise ValueError(f"beta: expected a number above 0, got {beta}")
        if not weight_decay >= 0:
            raise ValueError(f"weight_decay: expected at least 0, got {weight_decay}")
        defaults = {
            "lr": lr, "betas": tuple(betas), "beta": beta, "weight_decay": weight_decay, "maximize": maximize
        }  # fmt: skip
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step.

        Args:
            closure: computes gradients and returns the loss; None if the gradients are there already.

        Returns:
            The value of ``closure``, or None.

        Raises:
            RuntimeError: a gradient is sparse or complex.
        """
        value = None
        if closure is not None:
            with torch.enable_grad():
                value = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return value

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        if gradient.is_sparse or gradient.is_complex():
            raise RuntimeError(f"{type(self).__name__} supports dense real gradients only")
        state = self.state[parameter]
        if not state:
            state["step"] = 0
            state["exp_avg"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
            state["exp_avg_sq"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
            if self._running_maximum:
                state["max_exp_avg_sq"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        if group["maximize"]:
            gradient = -gradient
        if group["weight_decay"]:
            gradient = gradient.add(parameter, alpha=group["weight_decay"])

        state["step"] += 1
        decay, square_decay = group["betas"]
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        mean.lerp_(gradient, 1 - decay)
        square.mul_(square_decay).addcmul_(gradient, gradient, value=1 - square_decay)
        if self._running_maximum:
            square = torch.maximum(state["max_exp_avg_sq"], square, out=state["max_exp_avg_sq"])

        denominator = functional.softplus(square.sqrt(), beta=group["beta"], threshold=_LINEAR_ABOVE)
        correction = math.sqrt(1 - square_decay ** state["step"]) / (1 - decay ** state["step"])
        parameter.addcdiv_(mean, denominator, value=-group["lr"] * correction)


class SAMSGrad(SAdam):
    r"""SAdam with the running maximum of :math:`v` under the root, like AMSGrad for Adam (algorithm 4 of the paper).

    As in :class:`torch.optim.Adam`, the maximum is taken before the bias correction.
    """

    _running_maximum = True
