"""R, D, C and J of a model on a frozen probe, as functions of the flat parameters and of t."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from copy import copy
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call, jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

from thermo_pl.functionals import free_energy
from thermo_pl.networks import Networks, Outputs
from thermo_pl.particles import ALONE, Particles, Reduction, interpolate
from thermo_pl.response.fused import SmoothWeightNorm, has_weight_norm


class Probe(NamedTuple):
    """Frozen particles and frozen noise on which an expectation is taken.

    Attributes:
        particles: pairs of the coupling.
        noise: what the encoder is drawn with, shape ``(samples, n, k)``; ``samples`` is free here.
        points: how many of the samples, one after the other, make one independent draw: 1, or the
            points of a cubature, of which only the mean means anything.
        shared: adds up over the ranks, of which each holds a part of the particles.

    Example:
        >>> import torch
        >>> import thermo_pl as tp
        >>> x, y = torch.rand(8, 1, 2, 2), torch.eye(2).repeat(4, 1)
        >>> probe = tp.Probe(tp.TensorPairs(x, x, y).all(), noise=torch.randn(3, 8, 2))
        >>> probe.take(slice(5)).noise.shape
        torch.Size([3, 5, 2])
    """

    particles: Particles
    noise: Tensor
    points: int = 1
    shared: Reduction = ALONE

    @property
    def size(self) -> int:
        """Particles on all ranks."""
        return self.shared.count(len(self.particles.weight))

    @property
    def draws(self) -> int:
        """Pairs of a particle and a noise draw, on all ranks."""
        return len(self.noise) * self.size

    @property
    def mass(self) -> Tensor:
        """What the particles of all ranks weigh."""
        return self.shared.sum(self.particles.weight.sum())

    def take(self, index: slice | Tensor) -> Probe:
        """Some of the particles, with their noise.

        Args:
            index: a slice, or whole numbers.

        Returns:
            The smaller probe.
        """
        particles = Particles(*(part[index] for part in self.particles))
        return self._replace(particles=particles, noise=self.noise[:, index])


class Objective:
    """R, D and C of a model on a probe, as functions of the flat parameters and of t.

    Attributes:
        theta: the trainable parameters as one vector, shape ``(p,)``.
        weights: what J = R + λD + γC weighs its terms with, shape ``(3,)``.
        mass: what sums over the particles are divided by: that of all ranks.

    Example:
        >>> import torch
        >>> import thermo_pl as tp
        >>> x, y = torch.rand(8, 1, 2, 2), torch.eye(2).repeat(4, 1)
        >>> parts = tp.MLPEncoder([1, 2, 2], 2), tp.LinearClassifier(2, 2)
        >>> networks = tp.Networks(*parts, marginal=tp.StandardNormal(2), lam=0.0, gam=5.0)
        >>> probe = tp.Probe(tp.TensorPairs(x, x, y).all(), networks.noise(3, 8))
        >>> objective = tp.Objective(networks, probe)
        >>> rate, distortion, loss = means = objective.means(objective.theta, t=0.0)
        >>> abs(objective.value(means) - (rate + 5.0 * loss)).item() < 1e-6, distortion.item()
        (True, 0.0)
    """

    def __init__(self, model: Networks, probe: Probe, dtype: torch.dtype | None = None) -> None:
        """Keep the model's trainable parameters as one vector.

        Args:
            model: the model; its parameters are read, never written.
            probe: particles and noise on the device of the model.
            dtype: precision to compute in; that of the model and the probe if not given.
        """
        self.model = model
        self.named = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.theta = flatten(self.named.values())
        self.weights = torch.stack([torch.ones_like(model.lam), model.lam, model.gam])
        self.frozen: dict[str, Tensor] = {}
        if dtype is not None:
            self.theta = self.theta.to(dtype)
            particles = Particles(*(x.to(dtype) for x in probe.particles))
            probe = probe._replace(particles=particles, noise=probe.noise.to(dtype))
            fixed = ((n, p) for n, p in model.named_parameters() if not p.requires_grad)
            self.frozen = {n: p.to(dtype) for n, p in fixed}
            # λ and γ are numbers, and change no precision
            arrays = ((n, b) for n, b in model.named_buffers() if b.is_floating_point() and b.ndim)
            self.frozen |= {n: b.to(dtype) for n, b in arrays}
        self.probe = probe
        self.mass = probe.mass
        self._weight_norm = any(map(has_weight_norm, model.modules()))

    def __len__(self) -> int:
        """Count the particles.

        Returns:
            Number of particles; of a shared probe that on this rank.
        """
        return len(self.probe.particles.weight)

    def parts(self, size: int) -> list[Objective]:
        """Cut the probe. The parts keep the mass of the whole, so that their means add up to it.

        Args:
            size: particles of a part, at most.

        Returns:
            The parts, in order.
        """
        if size >= len(self):
            return [self]
        slices = (slice(start, start + size) for start in range(0, len(self), size))
        return [self._on(self.probe.take(index)) for index in slices]

    def subset(self, index: Tensor) -> Objective:
        """The same model on some of the particles, an estimate of the whole.

        Args:
            index: which ones.

        Returns:
            The smaller objective, with the mass of its own particles.
        """
        subset = self._on(self.probe.take(index))
        subset.mass = subset.probe.mass
        return subset

    def leaves(self) -> list[Tensor]:
        """θ as separate parameters that a graph can start from.

        Returns:
            Views of θ in the shapes of the parameters.
        """
        return [p.requires_grad_() for p in unflatten(self.theta.detach(), self.named.values())]

    def outputs(self, theta: Tensor | Sequence[Tensor], t: float | Tensor) -> Outputs:
        """The joint output of the networks at θ.

        Args:
            theta: flat parameters, shape ``(p,)``, or one tensor for each of the parameters.
            t: domain coordinate.

        Returns:
            The joint output on the probe.
        """
        if isinstance(theta, Tensor):
            theta = unflatten(theta, self.named.values())
        parameters = self.frozen | dict(zip(self.named, theta, strict=True))
        x = interpolate(self.probe.particles, t).x
        # of the kernels of attention only this one can be differentiated twice, and forwards
        smooth = SmoothWeightNorm() if self._weight_norm else nullcontext()
        with sdpa_kernel(SDPBackend.MATH), smooth:
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
            Nats, shape ``(3,)``; of a part of a probe, or that of one rank, its share in them.
        """
        return self.terms_of(outputs, t) @ (self.probe.particles.weight / self.mass)

    def means(self, theta: Tensor | Sequence[Tensor], t: float | Tensor) -> Tensor:
        """R, D and C as functions of the parameters.

        Args:
            theta: flat parameters, shape ``(p,)``, or one tensor for each of the parameters.
            t: domain coordinate.

        Returns:
            Nats, shape ``(3,)``; of a part of a probe, or that of one rank, its share in them.
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

    def _on(self, probe: Probe) -> Objective:
        other = copy(self)
        other.probe = probe
        return other


def flatten(parameters: Iterable[Tensor]) -> Tensor:
    """Parameters in a row, whatever their layout in memory.

    Args:
        parameters: of one dtype.

    Returns:
        A copy, shape ``(p,)``.
    """
    return torch.cat([p.detach().reshape(-1) for p in parameters])


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


def shift_parameters(model: Networks, shift: Tensor) -> None:
    """Add a flat vector to the trainable parameters, in place.

    Args:
        model: the model; its Parameter objects stay the same, as the optimiser holds them.
        shift: shape ``(p,)``, in the order of ``model.parameters()``.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    with torch.no_grad():
        for parameter, piece in zip(parameters, unflatten(shift, parameters), strict=True):
            parameter.add_(piece)


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
