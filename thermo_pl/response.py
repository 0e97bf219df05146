"""The linear response of the equilibrium: how θ, R, D and C follow λ, γ and t.

Stationarity ∇J(θ, λ, γ, t) = 0, kept for all time, gives

    A θ_λ = -∇D,   A θ_γ = -∇C,   A θ_t = -∂_t∇J,   A = ∇²J,

and the total derivatives X_a = ∇X·θ_a + ∂_aX of X in {R, D, C} along the surface. All of it is
taken on a frozen probe: fixed particles and fixed noise (common random numbers).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call, jacrev, jvp
from torch.nn.utils import parameters_to_vector

from thermo_pl.errors import require
from thermo_pl.functionals import free_energy
from thermo_pl.module import FreeEnergyModel, Outputs
from thermo_pl.particles import Particles, interpolate, weighted_mean
from thermo_pl.solvers import Matvec, Solution, conjugate_gradient

Curvature = Literal["gauss_newton", "hessian"]


class Probe(NamedTuple):
    """Frozen particles and frozen noise on which an expectation is taken.

    Attributes:
        particles: pairs of the coupling.
        noise: what the encoder is drawn with, shape ``(samples, n, k)``; ``samples`` is free here.
    """

    particles: Particles
    noise: Tensor


class Objective:
    """R, D and C of a model on a probe, as functions of the flat parameters and of t."""

    def __init__(self, model: FreeEnergyModel, probe: Probe) -> None:
        """Keep the model's trainable parameters as one vector.

        Args:
            model: the model; its parameters are read, never written.
            probe: particles and noise on the device of the model.
        """
        self.model = model
        self.probe = probe
        self.named = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.theta = parameters_to_vector(self.named.values()).detach()
        self.weights = torch.stack([torch.ones_like(model.lam), model.lam, model.gam])

    def outputs(self, theta: Tensor, t: float | Tensor) -> Outputs:
        """The joint output of the networks at θ.

        Args:
            theta: flat parameters, shape ``(p,)``.
            t: domain coordinate.

        Returns:
            The joint output on the probe.
        """
        pieces = unflatten(theta, self.named.values())
        parameters = dict(zip(self.named, pieces, strict=True))
        x = interpolate(self.probe.particles, t).x
        result: Outputs = functional_call(self.model, parameters, (x, self.probe.noise))
        return result

    def terms_of(self, outputs: Outputs, t: float | Tensor) -> Tensor:
        """R, D and C of each particle as functions of the joint output.

        Args:
            outputs: the joint output.
            t: domain coordinate.

        Returns:
            Nats, shape ``(3, n)``.
        """
        batch = interpolate(self.probe.particles, t)
        return torch.stack(self.model.terms(outputs, batch.x, batch.y))

    def means_of(self, outputs: Outputs, t: float | Tensor) -> Tensor:
        """R, D and C as functions of the joint output.

        Args:
            outputs: the joint output.
            t: domain coordinate.

        Returns:
            Nats, shape ``(3,)``.
        """
        return weighted_mean(self.terms_of(outputs, t), self.probe.particles.weight)

    def means(self, theta: Tensor, t: float | Tensor) -> Tensor:
        """R, D and C as functions of the parameters.

        Args:
            theta: flat parameters, shape ``(p,)``.
            t: domain coordinate.

        Returns:
            Nats, shape ``(3,)``.
        """
        return self.means_of(self.outputs(theta, t), t)

    def value(self, means: Tensor) -> Tensor:
        """J at the model's λ and γ.

        Args:
            means: R, D and C.

        Returns:
            J in nats.
        """
        return free_energy(means[0], means[1], means[2], self.weights[1], self.weights[2])


def unflatten(vector: Tensor, parameters: Iterable[Tensor]) -> list[Tensor]:
    """Cut a flat vector into pieces of the shapes of the parameters.

    Args:
        vector: shape ``(p,)``.
        parameters: what gives the shapes, in order.

    Returns:
        Views of the vector.
    """
    shapes = [p.shape for p in parameters]
    pieces = torch.split(vector, [shape.numel() for shape in shapes])
    return [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]


def shift_parameters(model: FreeEnergyModel, shift: Tensor) -> None:
    """Add a flat vector to the trainable parameters, in place.

    Args:
        model: the model; its Parameter objects stay the same, as the optimiser holds them.
        shift: shape ``(p,)``, in the order of ``model.parameters()``.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    with torch.no_grad():
        for parameter, piece in zip(parameters, unflatten(shift, parameters), strict=True):
            parameter.add_(piece)


@dataclass(frozen=True)
class Response:
    """The linear response of an equilibrium.

    Attributes:
        directions: θ_λ, θ_γ and θ_t, shape ``(3, p)``.
        derivatives: total derivatives, rows R, D, C, columns λ, γ, t; float64, ``(3, 3)``.
        stationarity: Newton decrement ½ gᵀ(A+μ)⁻¹g in nats, g = ∇J: what J would still fall by.
        solution: how the linear systems were solved.
        gradients: gradient evaluations on the probe, a product counting as one for each
            right-hand side.
    """

    directions: Tensor
    derivatives: Tensor
    stationarity: float
    solution: Solution
    gradients: int


@dataclass
class ResponseSettings:
    """How the linear response is computed.

    Attributes:
        damping: μ of (A+μ); its inverse is the response after a relaxation time 1/μ.
        curvature: ``gauss_newton``, positive semi-definite for convex losses, or ``hessian``.
        tolerance: relative residual of the solves.
        max_iterations: products with A at most.
    """

    damping: float = 1.0
    curvature: Curvature = "gauss_newton"
    tolerance: float = 1e-2
    max_iterations: int = 50

    def __post_init__(self) -> None:
        """Check the values."""
        ok = 0 <= self.damping < math.inf
        require(ok, "response.damping", self.damping, "a finite number ≥ 0")
        ok = 0 < self.tolerance < 1
        require(ok, "response.tolerance", self.tolerance, "a number between 0 and 1")
        ok = self.max_iterations > 0
        require(ok, "response.max_iterations", self.max_iterations, "a whole number > 0")


def linear_response(
    objective: Objective, t: float, settings: ResponseSettings, witness: Objective | None = None
) -> Response:
    """Solve for θ_λ, θ_γ, θ_t and the Newton decrement, all right-hand sides together.

    On a single probe ½ gᵀ(A+μ)⁻¹g has a floor ½ tr((A+μ)⁻¹Σ)/n from the noise Σ/n of g. With an
    independent witness the two gradients' noises do not meet, ½ g_witnessᵀ(A+μ)⁻¹g is free of the
    floor, and may come out slightly negative at equilibrium.

    Args:
        objective: the model on the solving probe.
        t: domain coordinate.
        settings: curvature, damping and solver.
        witness: the model on an independent probe, for the decrement.

    Returns:
        The response.
    """
    theta, weights = objective.theta, objective.weights.to(objective.theta.dtype)
    jacobian, jacobian_t = with_t_derivative(
        lambda s: jacrev(lambda v: objective.means(v, s))(theta), t
    )
    partial_t = with_t_derivative(lambda s: objective.means(theta, s), t)[1]
    gradient, gradient_t = weights @ jacobian, weights @ jacobian_t
    rhs = torch.stack([-jacobian[1], -jacobian[2], -gradient_t, gradient]).detach()
    matrix = CURVATURES[settings.curvature](objective, t)
    solution = conjugate_gradient(
        lambda v: matrix(v) + settings.damping * v,
        rhs,
        settings.tolerance,
        settings.max_iterations,
    )
    directions = solution.x[:3]
    derivatives = (jacobian.double() @ directions.double().T).detach()
    derivatives[:, 2] += partial_t.double()
    other = gradient if witness is None else gradient_of(witness, t)
    decrement = 0.5 * float(other.double() @ solution.x[3].double())
    # the three rows of the Jacobian, their t derivatives, and the witness
    gradients = 6 + (witness is not None) + len(rhs) * solution.iterations
    return Response(directions, derivatives.cpu(), decrement, solution, gradients)


def gradient_of(objective: Objective, t: float) -> Tensor:
    """∇J on a probe.

    Args:
        objective: the model on a probe.
        t: domain coordinate.

    Returns:
        Shape ``(p,)``.
    """
    theta = objective.theta.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(objective.value(objective.means(theta, t)), theta)
    return gradient


def gauss_newton(objective: Objective, t: float) -> Matvec:
    """Products with the generalised Gauss-Newton matrix of J in the joint output.

    A = Uᵀ H U with U the derivative of the joint output and H the Hessian of J in it (Schraudolph
    2002). The graphs of U, Uᵀ and H are built once and kept, so that a product runs no network
    again; U v is the derivative of the linear map u ↦ Uᵀu.

    Args:
        objective: the model on a probe.
        t: domain coordinate.

    Returns:
        Products for rows, ``(rhs, p) -> (rhs, p)``.
    """
    theta = objective.theta.clone().requires_grad_()
    outputs = objective.outputs(theta, t)
    joint = flatten_outputs(outputs)
    here = [output.detach().requires_grad_() for output in joint]
    loss = objective.value(objective.means_of(unflatten_outputs(here, outputs), t))
    slope: Sequence[Tensor] = torch.autograd.grad(loss, here, create_graph=True, allow_unused=True)
    # z does not enter J by itself where the rate is analytic, nor do parts that are not there
    used = [i for i, g in enumerate(slope) if g is not None and g.requires_grad]
    joint, here, slope = ([part[i] for i in used] for part in (joint, here, slope))
    cotangent = [torch.zeros_like(output, requires_grad=True) for output in joint]
    (pulled,) = torch.autograd.grad(joint, theta, cotangent, create_graph=True)

    def product(v: Tensor) -> Tensor:
        pushed = _derivative(pulled, cotangent, v)
        return _derivative(joint, [theta], _derivative(slope, here, pushed))[0]

    return product


def flatten_outputs(outputs: Outputs) -> Sequence[Tensor]:
    """The joint output as a list of tensors.

    Args:
        outputs: the joint output.

    Returns:
        Its tensors, in order.
    """
    posterior, z, decoded, logits, direct = outputs
    return [*posterior, z, decoded, logits, *direct.values()]


def unflatten_outputs(tensors: Sequence[Tensor], like: Outputs) -> Outputs:
    """The inverse of :func:`flatten_outputs`.

    Args:
        tensors: what it gave, or others of the same shapes.
        like: a joint output of the same make.

    Returns:
        The joint output.
    """
    size = len(like.posterior)
    posterior, rest = type(like.posterior)(*tensors[:size]), tensors[size:]
    direct = dict(zip(like.direct, rest[3:], strict=True))
    return Outputs(posterior, rest[0], rest[1], rest[2], direct)


def hessian(objective: Objective, t: float) -> Matvec:
    """Products with the exact Hessian of J; indefinite away from a minimum.

    Args:
        objective: the model on a probe.
        t: domain coordinate.

    Returns:
        Products for rows, ``(rhs, p) -> (rhs, p)``.
    """
    theta = objective.theta.clone().requires_grad_()
    loss = objective.value(objective.means(theta, t))
    (slope,) = torch.autograd.grad(loss, theta, create_graph=True)
    return lambda v: _derivative(slope, [theta], v)[0]


def _derivative(outputs: Any, inputs: list[Tensor], rows: Any) -> list[Tensor]:
    # vector-Jacobian products for several rows at once, on a graph that is kept
    return list(
        torch.autograd.grad(
            outputs,
            inputs,
            rows,
            retain_graph=True,
            is_grads_batched=True,
            allow_unused=True,
            materialize_grads=True,
        )
    )


CURVATURES: dict[Curvature, Callable[[Objective, float], Matvec]] = {
    "gauss_newton": gauss_newton,
    "hessian": hessian,
}


def with_t_derivative(function: Callable[[Tensor], Tensor], t: float) -> tuple[Tensor, Tensor]:
    """A function of t and its derivative.

    Args:
        function: of a 0-dimensional tensor.
        t: where.

    Returns:
        Value and derivative.
    """
    at = torch.tensor(t, dtype=torch.float64)
    pair: tuple[Tensor, Tensor] = jvp(function, (at,), (torch.ones_like(at),))  # type: ignore[assignment]
    return pair
