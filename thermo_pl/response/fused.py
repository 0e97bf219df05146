"""Linear layers for products with a linearisation, with fewer passes over memory than autograd's.

Through y = xWᵀ + b a direction goes as xdWᵀ + dxWᵀ + db. Autograd takes the three apart and adds
them up afterwards; here each matrix product adds to what is there. Inputs that are zero in all
rows, as the margins of images are, take no part in a layer that reads data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F
from torch.nn.utils.parametrizations import _WeightNorm
from torch.nn.utils.weight_norm import WeightNorm
from torch.overrides import TorchFunctionMode

WORTH = 0.9
"""Share of the inputs that may be in use, at most, to leave the others out: picking costs, too."""


class FusedLinear(TorchFunctionMode):
    """Context in which a network is run whose output is linearised.

    The adjoint of the derivative of that output may itself be differentiated in the cotangent, as
    a Gauss-Newton product does, and in nothing else: inputs and weights are constants of it.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch, or the one that takes the place of a linear layer.

        Args:
            func: the function.
            types: not used.
            args: its arguments.
            kwargs: its arguments by name.

        Returns:
            What the function returns.
        """
        return (_linear if func is F.linear else func)(*args, **(kwargs or {}))


class SmoothWeightNorm(TorchFunctionMode):
    """Context in which weight norm can be differentiated twice.

    The backward pass of torch's own kernel takes the norms for constants when it is differentiated
    again, and second derivatives are wrong: by a half where it was tried. Here the same function is
    made of operations that torch differentiates rightly.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch, or the one that takes the place of weight norm.

        Args:
            func: the function.
            types: not used.
            args: its arguments.
            kwargs: its arguments by name.

        Returns:
            What the function returns.
        """
        return (_weight_norm if func is torch._weight_norm else func)(*args, **(kwargs or {}))


def has_weight_norm(layer: nn.Module) -> bool:
    """Whether a layer is weight-normalised, in the old way of torch or in the new one.

    Args:
        layer: the layer, or the parametrisation of one.

    Returns:
        Whether it is.
    """
    hooks = layer._forward_pre_hooks.values()
    return isinstance(layer, _WeightNorm) or any(isinstance(hook, WeightNorm) for hook in hooks)


def _weight_norm(direction: Tensor, length: Tensor, dim: int = 0) -> Tensor:
    others = [axis for axis in range(direction.ndim) if axis != dim % direction.ndim or dim == -1]
    norm = direction.square().sum(others, keepdim=True).sqrt()
    return direction * (length / norm)


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    result: Tensor = _Linear.apply(input, weight, bias)
    return result


class _Linear(Function):
    # xWᵀ + b

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.used = None if ctx.needs_input_grad[0] else _used(x)
        read = x if ctx.used is None else x.index_select(-1, ctx.used)
        ctx.save_for_backward(read, weight)
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> Any:
        read, weight = (tensor.detach() for tensor in ctx.saved_tensors)
        return _Adjoint.apply(cotangent, read, weight, ctx.used, ctx.needs_input_grad)


class _Adjoint(Function):
    # u ↦ (uW, uᵀx, Σu), and the derivative of it in u, (dx, dW, db) ↦ xdWᵀ + dxWᵀ + db

    @staticmethod
    def forward(
        ctx: Any,
        u: Tensor,
        read: Tensor,
        weight: Tensor,
        used: Tensor | None,
        wanted: Sequence[bool],
    ) -> tuple[Tensor | None, ...]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(read, weight)
        ctx.used = used
        slope = None
        if wanted[1]:
            slope = _rows(u).T @ _rows(read)
            if used is not None:
                slope = slope.new_zeros(weight.shape).scatter_(1, used.expand_as(slope), slope)
        return u @ weight if wanted[0] else None, slope, _rows(u).sum(0) if wanted[2] else None

    @staticmethod
    def backward(
        ctx: Any, dx: Tensor | None, dweight: Tensor | None, dbias: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        read, weight = ctx.saved_tensors
        shape = (*read.shape[:-1], len(weight))
        total = read.new_zeros(shape) if dbias is None else read.new_empty(shape).copy_(dbias)
        if dweight is not None:
            seen = dweight if ctx.used is None else dweight.index_select(1, ctx.used)
            _rows(total).addmm_(_rows(read), seen.T)
        if dx is not None:
            _rows(total).addmm_(_rows(dx), weight.T)
        return total, None, None, None, None


def _rows(x: Tensor) -> Tensor:
    return x.flatten(0, -2) if x.dim() > 1 else x[None]


def _used(x: Tensor) -> Tensor | None:
    # the inputs that are not zero in all rows, if so few that it pays
    used = _rows(x).any(0).nonzero().squeeze(1)
    return used if len(used) <= WORTH * x.shape[-1] else None
