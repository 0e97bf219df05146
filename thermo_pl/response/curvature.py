"""Products with the curvature A of J: generalised Gauss-Newton or exact Hessian, in bounded memory.

The graphs of a linearisation are built once and kept for the whole solve. A probe whose graphs
do not fit into the memory allowed is cut into parts; as many as fit are kept, the others are built
again for each product.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Literal

import torch
from torch import Tensor
from torch.autograd import grad
from torch.autograd.graph import saved_tensors_hooks

from thermo_pl.networks import Networks, Outputs, Scatter
from thermo_pl.response.fused import FusedLinear
from thermo_pl.response.objective import Objective, unflatten

Curvature = Literal["gauss_newton", "hessian"]
Pieces = Sequence[Tensor]
Linearisation = Callable[[Pieces], Pieces]
"""A product for one right-hand side, in pieces of the shapes of the parameters."""

MEMORY = 1024
"""MiB that the graphs may take, where nothing else is asked for."""
PART = 64
"""MiB that the graphs of a part take at most: near the processor's cache, and not many calls."""


class Products:
    """Products with a curvature, the linearisation kept as far as the memory allows.

    Attributes:
        gradients: what was spent so far, in gradient evaluations on the probe: a part that is
            linearised, at first or again, counts as one on its particles, and so does a product
            for each right-hand side.
    """

    def __init__(
        self,
        linearise: Callable[[Objective, float], Linearisation],
        objective: Objective,
        t: float,
        memory: int,
    ) -> None:
        """Cut the probe into parts and linearise those that are kept.

        Args:
            linearise: gives the products of a part, for one right-hand side.
            objective: the model on a probe.
            t: domain coordinate.
            memory: MiB that the graphs may take.
        """
        self.gradients = 0.0
        self._linearise, self._objective, self._t = linearise, objective, t
        parts = objective.parts(part_size(objective, t, memory))
        count = _parts_kept(memory)
        self._kept = [self._linearised(part) for part in parts[:count]]
        self._others = parts[count:]

    def __call__(self, rows: Tensor) -> Tensor:
        """Multiply.

        Args:
            rows: right-hand sides, shape ``(rhs, p)``.

        Returns:
            Shape ``(rhs, p)``.
        """
        # Row by row: as fast as all at once on a CPU (vmap is slower), and lighter in memory.
        shapes = list(self._objective.named.values())
        total = torch.zeros_like(rows)
        for one in chain(self._kept, map(self._linearised, self._others)):
            for row, into in zip(rows, total, strict=True):
                pieces = one(unflatten(row, shapes))
                for piece, place in zip(pieces, unflatten(into, shapes), strict=True):
                    place.add_(piece)
        self.gradients += len(rows)
        return self._objective.probe.shared.sum(total)

    def _linearised(self, part: Objective) -> Linearisation:
        self.gradients += len(part) / len(self._objective)
        return self._linearise(part, self._t)


def gauss_newton(objective: Objective, t: float, memory: int = MEMORY) -> Products:
    """Products with the generalised Gauss-Newton matrix of J in the joint output.

    A = Uᵀ H U with U the derivative of the joint output and H the Hessian of J in it (Schraudolph
    2002), e(z|x) being taken relative to a learned Gaussian q(z): ((m-a)/b, log s²/b²). A is then
    positive semi-definite with Gaussian marginals, learned or not, and Bernoulli, categorical and
    fixed-variance Gaussian likelihoods. With a mixture marginal, a learned pixel variance or a sum
    over codes J is not convex in the joint output, and A can be indefinite.

    Args:
        objective: the model on a probe.
        t: domain coordinate.
        memory: MiB that the graphs may take.

    Returns:
        Products for rows, ``(rhs, p) -> (rhs, p)``.
    """
    return Products(_linearised_gauss_newton, objective, t, memory)


def hessian(objective: Objective, t: float, memory: int = MEMORY) -> Products:
    """Products with the exact Hessian of J; indefinite away from a minimum.

    Args:
        objective: the model on a probe.
        t: domain coordinate.
        memory: MiB that the graphs may take.

    Returns:
        Products for rows, ``(rhs, p) -> (rhs, p)``.
    """
    return Products(_linearised_hessian, objective, t, memory)


CURVATURES: dict[Curvature, Callable[[Objective, float, int], Products]] = {
    "gauss_newton": gauss_newton,
    "hessian": hessian,
}


def part_size(objective: Objective, t: float, memory: int) -> int:
    """How many particles are run at once; the parts of a probe are of equal size.

    Args:
        objective: the model on a probe.
        t: domain coordinate.
        memory: MiB that the graphs may take.

    Returns:
        Particles of a part, at least one.
    """
    most = max(1, int(_part_mib(memory) * 2**20) // graph_bytes(objective, t))
    return math.ceil(len(objective) / math.ceil(len(objective) / most))


def _part_mib(memory: int) -> float:
    # not more than a sixteenth, as a part needs room for intermediate results, too
    return min(PART, memory / 16)


def _parts_kept(memory: int) -> int:
    return int(0.75 * memory / _part_mib(memory))


def graph_bytes(objective: Objective, t: float) -> int:
    """Memory that the graphs of the Gauss-Newton matrix take for each particle, as measured.

    Args:
        objective: the model on a probe.
        t: domain coordinate.

    Returns:
        Bytes.
    """
    some = objective.parts(8)[0]
    # of these a graph keeps views
    given = [*objective.named.values(), *objective.frozen.values(), objective.theta]
    given += [*objective.probe.particles, objective.probe.noise]
    shared = {x.untyped_storage().data_ptr() for x in given}
    sizes: dict[int, int] = {}
    saved: list[Tensor] = []  # a graph that kept them itself would hold itself, and never be freed

    def note(tensor: Tensor) -> int:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in shared:
            sizes[storage.data_ptr()] = storage.nbytes()
        saved.append(tensor)
        return len(saved) - 1

    with saved_tensors_hooks(note, saved.__getitem__):
        kept = _linearised_gauss_newton(some, t)
    # only now: a storage that is freed may give its address to the next one
    del kept
    saved.clear()
    return max(1, sum(sizes.values()) // len(some))


def _linearised_gauss_newton(objective: Objective, t: float) -> Linearisation:
    # U v is the derivative of the linear map u ↦ Uᵀu, so that no forward mode is needed, and no
    # network is run again
    theta, model = objective.leaves(), objective.model
    with FusedLinear():
        outputs = objective.outputs(theta, t)
    joint: Pieces = _coordinates(model, outputs)
    here: Pieces = [output.detach().requires_grad_() for output in joint]
    loss = objective.value(objective.means_of(_outputs_at(model, here, outputs), t))
    slope: Pieces = grad(loss, here, create_graph=True, allow_unused=True)
    # left out: what J does not depend on or is linear in, and what does not depend on θ
    used = [
        i
        for i, (output, g) in enumerate(zip(joint, slope, strict=True))
        if output.requires_grad and g is not None and g.requires_grad
    ]
    joint, here, slope = ([part[i] for i in used] for part in (joint, here, slope))
    bend = _output_hessian(slope, here)
    cotangent = [torch.zeros_like(output, requires_grad=True) for output in joint]
    pulled = grad(joint, theta, cotangent, create_graph=True, materialize_grads=True)

    def product(v: Pieces) -> Pieces:
        return _pull(joint, theta, bend(_pull(pulled, cotangent, v)))

    return product


def _output_hessian(slope: Pieces, here: Pieces) -> Linearisation:
    # Products with H. Where its largest block is diagonal and coupled to no other, as that of
    # Bernoulli or Gaussian pixels is, the diagonal is kept: the graph takes exponentials each time.
    if not slope:
        return lambda v: []
    largest = max(range(len(here)), key=lambda i: here[i].numel())
    generator = torch.Generator().manual_seed(0)
    drawn = torch.rand(here[largest].shape, generator=generator).to(here[largest])
    diagonal, found = (
        _pull(slope, here, [v if i == largest else torch.zeros_like(x) for i, x in enumerate(here)])
        for v in (torch.ones_like(drawn), drawn)
    )
    kept = diagonal[largest].detach()
    gaps = [x - kept * drawn if i == largest else x for i, x in enumerate(found)]
    rounding = 100 * torch.finfo(drawn.dtype).eps * found[largest].norm()
    if any(gap.norm() > rounding for gap in gaps):
        return lambda v: _pull(slope, here, v)
    slope, here = ([*part[:largest], *part[largest + 1 :]] for part in (slope, here))

    def product(v: Pieces) -> Pieces:
        rest = [*_pull(slope, here, [*v[:largest], *v[largest + 1 :]])] if here else []
        return [*rest[:largest], kept * v[largest], *rest[largest:]]

    return product


def _linearised_hessian(objective: Objective, t: float) -> Linearisation:
    theta = objective.leaves()
    loss = objective.value(objective.means(theta, t))
    slope = grad(loss, theta, create_graph=True, materialize_grads=True)
    return lambda v: _pull(slope, theta, v)


def _pull(outputs: Pieces, inputs: Pieces, v: Pieces) -> Pieces:
    # a vector-Jacobian product on a graph that is kept
    active = [i for i, output in enumerate(outputs) if output.requires_grad]
    outputs, v = [outputs[i] for i in active], [v[i] for i in active]
    return grad(outputs, inputs, v, retain_graph=True, materialize_grads=True)


def _coordinates(model: Networks, outputs: Outputs) -> list[Tensor]:
    # the joint output as a list of tensors, e(z|x) relative to q(z)
    posterior = outputs.posterior
    if model.marginal is not None:
        posterior = model.marginal.whiten(posterior, _own_of_marginal(outputs.direct))
    scatter = outputs.scatter[:2] if outputs.scatter else ()
    networks = [outputs.z, outputs.decoded, outputs.logits, *scatter]
    return [*posterior, *networks, *outputs.direct.values()]


def _outputs_at(model: Networks, coordinates: Pieces, like: Outputs) -> Outputs:
    # the inverse of _coordinates
    size = len(like.posterior)
    posterior = type(like.posterior)(*coordinates[:size])
    z, decoded, logits, *rest = coordinates[size:]
    scatter = like.scatter
    if scatter is not None:
        here = scatter.deviations.detach(), scatter.columns.detach()
        scatter = Scatter(rest.pop(0), rest.pop(0), here)
    direct = dict(zip(like.direct, rest, strict=True))
    if model.marginal is not None:
        posterior = model.marginal.unwhiten(posterior, _own_of_marginal(direct))
    return Outputs(posterior, z, decoded, logits, direct, scatter)


def _own_of_marginal(direct: dict[str, Tensor]) -> dict[str, Tensor]:
    prefix = "marginal."
    return {n.removeprefix(prefix): p for n, p in direct.items() if n.startswith(prefix)}
