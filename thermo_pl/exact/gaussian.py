r"""Linear-Gaussian models: their whole equilibrium surface R, D, C of λ, γ, t in closed form.

Data x ~ N(0, S(t)) with labels y = A x + ε, ε ~ N(0, S_ε); encoder N(U x, diag), decoder
N(W z, σ² I), classifier N(V z, ρ² I), marginal N(0, I), k latents. The minimum of J is that of
probabilistic PCA on B^½ x with unit noise, B = λ I/σ² + γ AᵀA/ρ²: everything follows from the
eigenpairs (ν_i, u_i), in descending order, of M = Lᵀ B L where S = L Lᵀ. A latent i ≤ k is
*active* if ν_i > 1; the others equal the marginal and carry nothing.

Source: Tipping & Bishop, "Probabilistic principal component analysis", 1999; Lucas et al.,
"Don't blame the ELBO!", 2019 (the linear VAE, and that it has no other minima); Lewis & Sendov,
"Twice differentiable spectral functions", 2001 (the derivatives of eigenvectors that are needed).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from thermo_pl.errors import SolverBreakdown, require
from thermo_pl.exact.bures import covariance_matrix, power, transport_map
from thermo_pl.exact.modes import Modes, active, curvature
from thermo_pl.exact.surface import VANISHES, State, Surface
from thermo_pl.functionals import LOG_2PI


class Weights(NamedTuple):
    """The minimum of J as networks would hold it; all biases are zero.

    encoder ``(k, d)`` maps x to the mean of z, encoder_log_var ``(k,)`` is the log variance of z,
    decoder ``(d, k)`` maps z to the mean of x, classifier ``(m, k)`` maps z to the mean of y.
    """

    encoder: Tensor
    encoder_log_var: Tensor
    decoder: Tensor
    classifier: Tensor

    @torch.no_grad()
    def put(self, networks: Any) -> None:
        """Put networks at this minimum; their latents keep the signs that they have.

        Args:
            networks: a linear-Gaussian encoder, a linear decoder and a linear classifier, of
                these sizes. Anything with these three parts will do.
        """
        decoder, classifier = (
            next(layer for layer in part.modules() if isinstance(layer, nn.Linear))
            for part in (networks.decoder, networks.classifier)
        )
        sign = torch.where((self.decoder * decoder.weight).sum(0) < 0, -1.0, 1.0)
        networks.encoder.log_var.copy_(self.encoder_log_var)
        networks.encoder.net.weight.copy_(sign[:, None] * self.encoder)
        decoder.weight.copy_(self.decoder * sign)
        classifier.weight.copy_(self.classifier * sign)
        for layer in (networks.encoder.net, decoder, classifier):
            layer.bias.zero_()


@dataclass(frozen=True, eq=False)
class LinearGaussian(Surface):
    """A linear-Gaussian model whose data move on the geodesic of Gaussians; see the module.

    With a latent active for every dimension of x, det S factors out of det M. D and C then do not
    feel the data at all: D_t = C_t = 0. A process that is to show the data's motion needs
    latent_dim < d, or a latent switched off.

    Attributes:
        start: covariance of x at t = 0, shape ``(d, d)``, positive definite.
        end: covariance of x at t = 1, or None for data that do not move.
        label_map: A, shape ``(m, d)``.
        label_noise: S_ε, shape ``(m, m)``, positive semidefinite.
        pixel_variance: σ².
        label_variance: ρ².
        latent_dim: k; latents beyond the dimension of x stay inactive.
    """

    start: Tensor
    end: Tensor | None
    label_map: Tensor
    label_noise: Tensor
    pixel_variance: float
    label_variance: float
    latent_dim: int

    def __post_init__(self) -> None:
        """Checks the arguments and holds them in float64.

        Raises:
            DataError: if a covariance is not one.
            ConfigError: if a shape or a number is not allowed.
        """
        start = covariance_matrix(self.start, "start")
        self._hold("start", start)
        if self.end is not None:
            self._hold("end", covariance_matrix(self.end, "end"))
            require(self.end.shape == start.shape, "end", tuple(self.end.shape), "start's shape")
        maps = self.label_map.ndim == 2 and self.label_map.shape[1] == len(start)
        allowed = f"a matrix with {len(start)} columns, the dimension of start"
        require(maps, "label_map", tuple(self.label_map.shape), allowed)
        self._hold("label_map", self.label_map.double())
        self._hold("label_noise", covariance_matrix(self.label_noise, "label_noise", singular=True))
        rows = len(self.label_map)
        allowed = f"({rows}, {rows}), for the rows of label_map"
        require(
            len(self.label_noise) == rows, "label_noise", tuple(self.label_noise.shape), allowed
        )
        for name in ("pixel_variance", "label_variance"):
            value = getattr(self, name)
            require(0 < value < math.inf, name, value, "a positive number")
        require(self.latent_dim >= 1, "latent_dim", self.latent_dim, "at least 1")

    # the one way to set a field of a frozen dataclass while it is made
    def _hold(self, name: str, value: Tensor) -> None:
        object.__setattr__(self, name, value)

    @property
    def moves(self) -> bool:
        """Whether the data move with t."""
        return self.end is not None

    def covariance(self, t: float) -> Tensor:
        """Covariance of x at t, on the W2 geodesic from ``start`` to ``end``.

        Args:
            t: between 0 and 1.

        Returns:
            S(t), shape ``(d, d)``.

        Raises:
            ConfigError: if t is not between 0 and 1.
        """
        factor, _ = self._factor(t)
        return factor @ factor.T

    def state(self, lam: float, gam: float, t: float = 0.0) -> State:
        """R, D, C and F = min J = R + λD + γC.

        With v_i = L u_i and g_i = 1/ν_i for active latents, 1 otherwise: R = Σ_active ½ log ν_i,
        D = (d/2) log 2πσ² + Σ g_i |v_i|²/(2σ²),
        C = (m/2) log 2πρ² + tr S_ε/(2ρ²) + Σ g_i |A v_i|²/(2ρ²).
        Where two latents compete for the last place (ν_k = ν_{k+1} > 1) there are several minima.
        They have the same R and different D, C; this is one of them.

        Args:
            lam: λ ≥ 0.
            gam: γ ≥ 0.
            t: between 0 and 1.

        Returns:
            Nats.

        Raises:
            ConfigError: if an argument is not allowed.
        """
        return self._state(self._modes(lam, gam, t), lam, gam)

    def forces(self, lam: float, gam: float, t: float = 0.0) -> Tensor:
        """First derivatives of the free energy along the surface: (∂F/∂λ, ∂F/∂γ, ∂F/∂t).

        The first two are D and C (envelope theorem), the last is ½ Σ g_i (M_t)_ii.

        Args:
            lam: λ ≥ 0.
            gam: γ ≥ 0.
            t: between 0 and 1.

        Returns:
            Shape ``(3,)``, nats per unit of λ, γ, t.

        Raises:
            ConfigError: if an argument is not allowed.
        """
        modes = self._modes(lam, gam, t)
        here = self._state(modes, lam, gam)
        moving = lam * modes.pixels_moving + gam * modes.labels_moving
        force = 0.5 * modes.left @ moving.diagonal()
        return torch.tensor([here.D, here.C, force.item()], dtype=torch.float64)

    def derivatives(self, lam: float, gam: float, t: float = 0.0) -> Tensor:
        """Total derivatives of R, D, C along the equilibrium surface.

        With M_a = ∂M/∂a in the eigenbasis of M: R_a = Σ_active (M_a)_ii/(2ν_i),
        D_a = Σ_ij Γ_ij (M_λ)_ij (M_a)_ij + ½ Σ g_i (∂_a M_λ)_ii, and C_a likewise with M_γ.
        Γ_ij = -1/(2ν_iν_j) for two active latents, 0 for two inactive ones and
        (1/ν_i - 1)/(2(ν_i - ν_j)) for an active i and an inactive j; equal eigenvalues do no
        harm. All active: C_λ = -½ tr(M⁻¹M_λM⁻¹M_γ). Where a latent switches on or off (ν_i = 1,
        i ≤ k) the derivatives jump; exactly there, they are those with the latent off.

        Args:
            lam: λ ≥ 0.
            gam: γ ≥ 0.
            t: between 0 and 1.

        Returns:
            Shape ``(3, 3)``: rows R, D, C, columns λ, γ, t.

        Raises:
            ConfigError: if an argument is not allowed.
            SolverBreakdown: where two latents compete for the last place: D and C jump there.
        """
        modes = self._modes(lam, gam, t)
        self._refuse_jump(modes.values, f"lam={lam}, gam={gam}, t={t}")
        moving = lam * modes.pixels_moving + gam * modes.labels_moving
        slopes = torch.stack([modes.pixels, modes.labels, moving])
        force = torch.where(modes.active, 0.5 / modes.values, 0.0)
        rate = slopes.diagonal(dim1=1, dim2=2) @ force
        response = torch.einsum("ij,aij,bij->ab", curvature(modes), slopes[:2], slopes)
        explicit = torch.stack([modes.pixels_moving, modes.labels_moving])
        response[:, 2] += 0.5 * explicit.diagonal(dim1=1, dim2=2) @ modes.left
        return torch.cat([rate[None], response])

    def active_latents(self, lam: float, gam: float, t: float = 0.0) -> int:
        """Number of latents that carry something: i ≤ k with ν_i > 1.

        Args:
            lam: λ ≥ 0.
            gam: γ ≥ 0.
            t: between 0 and 1.

        Returns:
            From 0 to the smaller of k and d.

        Raises:
            ConfigError: if an argument is not allowed.
        """
        return int(self._modes(lam, gam, t).active.sum())

    def transition_margin(self, lam: float, gam: float, t: float = 0.0) -> float:
        """How far the eigenvalues are from the nearest transition.

        A latent i ≤ k switches on or off at ν_i = 1 (the derivatives jump); two latents swap the
        last place at ν_k = ν_{k+1} > 1 (D and C jump). The margin is the smallest of the
        |ν_i - 1| and, where ν_{k+1} > 1, of ν_k - ν_{k+1}.

        Args:
            lam: λ ≥ 0.
            gam: γ ≥ 0.
            t: between 0 and 1.

        Returns:
            Zero at a transition; in units of ν.

        Raises:
            ConfigError: if an argument is not allowed.
        """
        values = self._modes(lam, gam, t).values
        switches = (values[: self.latent_dim] - 1).abs().min().item()
        return min(switches, self._gap(values))

    def optimum(self, lam: float, gam: float, t: float = 0.0) -> Weights:
        """The weights at the global minimum of J, latents in descending order of ν.

        Decoder columns w_i = √(1-1/ν_i) v_i with v_i = L u_i, classifier A times the decoder,
        posterior variances 1/ν_i, encoder rows w_iᵀB/ν_i; inactive latents have zero weights and
        variance 1. The signs of the latents are free. Where λ or γ is zero J does not fix the
        decoder or the classifier: these are the best ones for this encoder.

        Args:
            lam: λ ≥ 0.
            gam: γ ≥ 0.
            t: between 0 and 1.

        Returns:
            The weights, float64.

        Raises:
            ConfigError: if an argument is not allowed.
        """
        modes = self._modes(lam, gam, t)
        d, k = len(modes.values), self.latent_dim
        scale = torch.where(modes.active, 1 - modes.left, 0.0).sqrt()
        decoder = torch.zeros(d, max(d, k), dtype=torch.float64)
        decoder[:, :d] = modes.vectors * scale
        variance = torch.ones(max(d, k), dtype=torch.float64)
        variance[:d] = modes.left
        decoder, variance = decoder[:, :k], variance[:k]
        classifier = self.label_map @ decoder
        pull = lam / self.pixel_variance * decoder.T
        pull += gam / self.label_variance * classifier.T @ self.label_map
        return Weights(variance[:, None] * pull, variance.log(), decoder, classifier)

    @cached_property
    def _factors(self) -> tuple[Tensor, Tensor]:
        root = power(self.start, 0.5)
        if self.end is None:
            return root, torch.zeros_like(root)
        return root, transport_map(self.start, self.end) @ root - root

    # L with S = L Lᵀ, and its derivative in t: on the geodesic it moves along a straight line
    def _factor(self, t: float) -> tuple[Tensor, Tensor]:
        require(0 <= t <= 1, "t", t, "a number from 0 to 1")
        at_start, velocity = self._factors
        return at_start + t * velocity, velocity

    def _modes(self, lam: float, gam: float, t: float) -> Modes:
        for name, value in (("lam", lam), ("gam", gam)):
            require(0 <= value < math.inf, name, value, "a number, not negative")
        factor, velocity = self._factor(t)
        pixels, labels = self._products(factor, factor)
        values, basis = torch.linalg.eigh(lam * pixels + gam * labels)
        values, basis = values.flip(0), basis.flip(1)
        here, moving = factor @ basis, velocity @ basis
        pixels, labels = self._products(here, here)
        pixels_moving, labels_moving = (p + p.T for p in self._products(here, moving))
        on = active(values, self.latent_dim)
        return Modes(values, on, here, pixels, labels, pixels_moving, labels_moving)

    # XᵀY/σ² and (AX)ᵀ(AY)/ρ²
    def _products(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        a = self.label_map
        return x.T @ y / self.pixel_variance, (a @ x).T @ (a @ y) / self.label_variance

    def _state(self, modes: Modes, lam: float, gam: float) -> State:
        rate = 0.5 * modes.values[modes.active].log().sum().item()
        pixels = (modes.pixels.diagonal() @ modes.left).item()
        labels = (modes.labels.diagonal() @ modes.left).item()
        noise = self.label_noise.trace().item() / self.label_variance
        m, d = self.label_map.shape
        distortion = 0.5 * (d * (LOG_2PI + math.log(self.pixel_variance)) + pixels)
        loss = 0.5 * (m * (LOG_2PI + math.log(self.label_variance)) + noise + labels)
        return State(rate, distortion, loss, rate + lam * distortion + gam * loss)

    # between the last latent and the best one without a place; infinite if there is none
    def _gap(self, values: Tensor) -> float:
        k = self.latent_dim
        if k >= len(values) or values[k] <= 1:
            return math.inf
        return (values[k - 1] - values[k]).item()

    def _refuse_jump(self, values: Tensor, where: str) -> None:
        if self._gap(values) <= VANISHES * values[0]:
            raise SolverBreakdown(
                f"{where}: two latents compete for the last place, their eigenvalues agree to "
                f"{self._gap(values):.3g}: D and C jump here; go around, or take another latent_dim"
            )
