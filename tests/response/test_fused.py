"""Fused linear layers against torch.func on the layers of torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import grad
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call, jvp, vjp
from torch.nn import functional as F

from support.numbers import randn
from thermo_pl.response.fused import FusedLinear


def leaf(*shape: int, seed: int = 0) -> Tensor:
    return randn(*shape, seed=seed).requires_grad_()


@pytest.mark.parametrize("rows", [(), (1,), (5,), (2, 5)], ids=str)
@pytest.mark.parametrize("free", ["x", "W", "b", "xW", "xb", "Wb", "xWb", "xW-", "W-"])
@pytest.mark.parametrize("margin", [0, 2])
def test_a_layer_equals_that_of_torch(rows: tuple[int, ...], free: str, margin: int) -> None:
    # "free" names what is differentiated in; "-" is a layer without a bias
    parts = {"x": randn(*rows, 6), "W": randn(4, 6, seed=1), "b": randn(4, seed=2)}
    parts["x"][..., :margin] = 0
    fixed = {name: None if free.endswith("-") and name == "b" else p for name, p in parts.items()}
    names = [name for name in "xWb" if name in free]
    at = [parts[name].clone().requires_grad_() for name in names]

    def layer(*some: Tensor) -> Tensor:
        return F.linear(*(fixed | dict(zip(names, some, strict=True))).values())

    with FusedLinear():
        y = layer(*at)
    expected, adjoint = vjp(layer, *at)
    assert torch.equal(y, expected)
    u = leaf(*rows, 4, seed=3)
    pulled = grad(y, at, u, create_graph=True)
    for found, right in zip(pulled, adjoint(u), strict=True):
        torch.testing.assert_close(found, right, rtol=1e-13, atol=1e-13)
    v = [randn(*p.shape, seed=4 + i) for i, p in enumerate(at)]
    before = [p.clone() for p in v]
    pushed = grad(pulled, u, v)[0]
    assert all(map(torch.equal, v, before))
    torch.testing.assert_close(pushed, jvp(layer, tuple(at), tuple(v))[1], rtol=1e-13, atol=1e-13)


def test_a_network_equals_that_of_torch() -> None:
    # through several layers, some of them fixed, and with directions in some parameters only
    net = nn.Sequential(
        nn.Linear(6, 5), nn.SiLU(), nn.Linear(5, 5, bias=False), nn.Tanh(), nn.Linear(5, 3)
    ).double()
    net[2].requires_grad_(False)
    theta = {name: p.detach() for name, p in net.named_parameters() if p.requires_grad}
    x = randn(7, 6)
    leaves = {name: p.clone().requires_grad_() for name, p in theta.items()}
    with FusedLinear():
        y = functional_call(net, leaves, (x,))
    u, v = leaf(7, 3), {name: randn(*p.shape, seed=5) for name, p in theta.items()}
    pulled = grad(y, list(leaves.values()), u, create_graph=True)

    def run(theta: dict[str, Tensor]) -> Tensor:
        return functional_call(net, theta, (x,))

    adjoint = vjp(run, theta)[1](u)[0]
    for found, name in zip(pulled, theta, strict=True):
        torch.testing.assert_close(found, adjoint[name], rtol=1e-12, atol=1e-13)
    pushed = grad(pulled, u, list(v.values()), retain_graph=True)[0]
    torch.testing.assert_close(pushed, jvp(run, (theta,), (v,))[1], rtol=1e-12, atol=1e-13)
    # the last bias alone: nothing goes through the weights
    alone = {name: p if name == "4.bias" else torch.zeros_like(p) for name, p in v.items()}
    pushed = grad(pulled[-1], u, v["4.bias"])[0]
    torch.testing.assert_close(pushed, jvp(run, (theta,), (alone,))[1], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("margin", "kept"), [(0, 20), (1, 20), (2, 18), (20, 0)])
def test_empty_margins_are_not_kept(margin: int, kept: int) -> None:
    x, weight = randn(5, 20), leaf(4, 20, seed=1)
    x[:, :margin] = 0
    shapes: list[torch.Size] = []

    def note(tensor: Tensor) -> Tensor:
        shapes.append(tensor.shape)
        return tensor

    with FusedLinear(), saved_tensors_hooks(note, lambda tensor: tensor):
        F.linear(input=x, weight=weight)
    assert shapes == [(5, kept), (4, 20)]
    # what has a derivative itself is kept whole: it is not data
    shapes.clear()
    with FusedLinear(), saved_tensors_hooks(note, lambda tensor: tensor):
        F.linear(x.requires_grad_(), weight)
    assert shapes == [(5, 20), (4, 20)]
