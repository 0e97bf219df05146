r"""Finite alphabets: R, D, C, F, log Z and their derivatives, by sums over all letters.

A system has letters x, y, z and data p(x) p(y|x). Its model has four distributions. The encoder
e(z|x) is always at its optimum. The marginal q(z), the decoder d(x|z) and the classifier c(y|z) are
each frozen, or optimised as well. All in float64 and in nats.

With everything frozen the surface is a Gibbs state in closed form. With the marginal free it is
a rate-distortion function, convex, and one optimum is all there is. **With everything free there
is no two-parameter surface**: the best marginal and decoder make R + D = H(x), whatever the
encoder. So F = H(x) + (λ-1) D + γ C, and D and C depend on the ratio of γ to λ-1 alone.

Sources: Blahut, "Computation of channel capacity and rate-distortion functions", and Arimoto,
"An algorithm for computing the capacity of arbitrary discrete memoryless channels", both IEEE
Trans. Inf. Theory 18, 1972.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from thermo_pl.errors import NotEquilibrated, SolverBreakdown, require
from thermo_pl.exact.distributions import divergence, require_distribution

FREE = ("decoder", "classifier", "marginal")
"""The distributions of the backward process: each may be frozen or optimised."""

NULL = 1e-12
"""Curvatures below this share of the largest one, or of a nat, are directions F does not see."""

SADDLE = 1e-9
"""A curvature more negative than this share of the same scale is no rounding error."""

UNANSWERED = 1e-9
"""The most, in nats, that may push along a direction which F does not see."""


def rate_distortion_classification(
    p_x: Tensor,
    p_y_given_x: Tensor,
    encoder: Tensor,
    decoder: Tensor,
    classifier: Tensor,
    marginal: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    r"""R, D and C of a finite system, for any model.

    R = Σ_x p(x) KL(e(z|x) ‖ q(z)), D = -Σ_xz p(x) e(z|x) log d(x|z),
    C = -Σ_xyz p(x) p(y|x) e(z|x) log c(y|z), each ∞ where a chance of zero comes true.

    Args:
        p_x: p(x), shape ``(x,)``. All arguments may share leading batch axes.
        p_y_given_x: p(y|x), shape ``(x, y)``.
        encoder: e(z|x), shape ``(x, z)``.
        decoder: d(x|z), shape ``(z, x)``.
        classifier: c(y|z), shape ``(z, y)``.
        marginal: q(z), shape ``(z,)``.

    Returns:
        R, D and C in nats, of the shape of the batch.
    """
    joint = p_x[..., None] * encoder
    independent = p_x[..., None] * marginal[..., None, :]
    rate = divergence(joint.flatten(-2), independent.flatten(-2))
    distortion = -torch.xlogy(joint.mT, decoder).sum((-2, -1))
    classification = -torch.xlogy(joint.mT @ p_y_given_x, classifier).sum((-2, -1))
    return rate, distortion, classification


def log_partition(
    decoder: Tensor, classifier: Tensor, marginal: Tensor, lam: float | Tensor, gam: float | Tensor
) -> Tensor:
    r"""Log Z(λ, γ) = log Σ_z q(z) (Σ_x d(x|z)^λ) (Σ_y c(y|z)^γ), zero at λ = γ = 1.

    It makes d^λ c^γ q a distribution, so that the second law is -H(x, y) + J + log Z ≥ 0.

    Args:
        decoder: d(x|z), shape ``(z, x)``. All arguments may share leading batch axes.
        classifier: c(y|z), shape ``(z, y)``.
        marginal: q(z), shape ``(z,)``.
        lam: λ, a number or a tensor of the batch's shape.
        gam: γ, likewise.

    Returns:
        Nats, of the shape of the batch.
    """
    lam, gam = (torch.as_tensor(v, dtype=torch.float64)[..., None, None] for v in (lam, gam))
    over_x = torch.xlogy(lam, decoder).logsumexp(-1)
    over_y = torch.xlogy(gam, classifier).logsumexp(-1)
    return (marginal.log() + over_x + over_y).logsumexp(-1)


class Backward(NamedTuple):
    """The distributions of the backward process, in the order of :data:`FREE`.

    Attributes:
        decoder: d(x|z), shape ``(z, x)``.
        classifier: c(y|z), shape ``(z, y)``.
        marginal: q(z), shape ``(z,)``.
    """

    decoder: Tensor
    classifier: Tensor
    marginal: Tensor


class Equilibrium(NamedTuple):
    """A point of the surface.

    Attributes:
        encoder: e*(z|x), shape ``(x, z)``.
        decoder: d(x|z), shape ``(z, x)``.
        classifier: c(y|z), shape ``(z, y)``.
        marginal: q(z), shape ``(z,)``.
        R: rate in nats.
        D: distortion in nats.
        C: classification loss in nats.
        F: free energy R + λD + γC in nats.
        gap: the certificate of :meth:`Alphabet.equilibrium` in nats; 0 with nothing free.
    """

    encoder: Tensor
    decoder: Tensor
    classifier: Tensor
    marginal: Tensor
    R: Tensor
    D: Tensor
    C: Tensor
    F: Tensor
    gap: float


@dataclass(frozen=True, eq=False)
class Alphabet:
    r"""A finite system, with each of marginal, decoder and classifier frozen or optimised.

    A free distribution starts where it is given; its zeros stay zero.

    Attributes:
        p_x: p(x), every letter with some probability, shape ``(x,)``. All in float64.
        p_y_given_x: p(y|x), shape ``(x, y)``.
        decoder: d(x|z), shape ``(z, x)``.
        classifier: c(y|z), shape ``(z, y)``.
        marginal: q(z), shape ``(z,)``.
        free: which of ``"decoder"``, ``"classifier"``, ``"marginal"`` are optimised.
        tolerance: gap at which the minimisation ends, nats.
        max_iterations: alternations to spend at most.

    Raises:
        ConfigError: if a distribution, a shape, a name in ``free`` or a number is not allowed.
    """

    p_x: Tensor
    p_y_given_x: Tensor
    decoder: Tensor
    classifier: Tensor
    marginal: Tensor
    free: frozenset[str] = frozenset()
    tolerance: float = 1e-12
    max_iterations: int = 20_000

    def __post_init__(self) -> None:
        """Check the distributions and their shapes."""
        for name in ("p_x", "p_y_given_x", *FREE):
            require_distribution(name, getattr(self, name))
        require(bool((self.p_x > 0).all()), "p_x", "a zero", "letters with some probability only")
        x, y, z = len(self.p_x), self.p_y_given_x.shape[-1], len(self.marginal)
        shapes = {"p_x": (x,), "p_y_given_x": (x, y), "marginal": (z,)}
        for name, shape in (shapes | {"decoder": (z, x), "classifier": (z, y)}).items():
            got = tuple(getattr(self, name).shape)
            require(got == shape, name, got, f"shape {shape}, as the other distributions have it")
        require(set(self.free) <= set(FREE), "free", sorted(self.free), f"some of {FREE}")
        require(self.tolerance > 0, "tolerance", self.tolerance, "a positive number of nats")
        require(self.max_iterations > 0, "max_iterations", self.max_iterations, "1 or more")

    def equilibrium(self, lam: float, gam: float) -> Equilibrium:
        r"""Minimise J = R + λD + γC over the encoder and all that is free, by alternation.

        The encoder's minimum given the others is the Gibbs state
        e*(z|x) ∝ q(z) d(x|z)^λ exp(γ Σ_y p(y|x) log c(y|z)); the others' minima given the
        encoder are its aggregates, q(z) = Σ_x p(x) e(z|x), d(x|z) = p(x) e(z|x) / q(z) and
        c(y|z) = Σ_x d(x|z) p(y|x). J never rises. A change of J that is small would not yet say
        that the minimum is near, so the loop ends at a small *gap*,

        max_z q'/q - 1 + Σ_z q' [λ (max_x d'/d - 1) + γ (max_y c'/c - 1)],

        with q', d', c' the aggregates and the term of a frozen distribution left out: what F
        would fall by if it went on falling at its steepest rate from here to the end of the
        simplex (Frank & Wolfe 1956). (λ and γ below one count as one, so that a decoder is the
        encoder's best at λ = 0, too.) With at most the marginal free F is convex in q, and
        F - min F ≤ gap: the minimum is global. With a decoder or a classifier free the point is
        stationary, and may depend on the start.

        Args:
            lam: λ ≥ 0.
            gam: γ ≥ 0.

        Returns:
            The equilibrium.

        Raises:
            ConfigError: if λ or γ is negative or not finite, or no z is possible for some x.
            NotEquilibrated: if ``max_iterations`` do not reach ``tolerance``.
        """
        for name, value in (("lam", lam), ("gam", gam)):
            require(0 <= value < math.inf, name, value, "a finite number, 0 or more")
        parts = Backward(self.decoder, self.classifier, self.marginal)
        for _ in range(self.max_iterations):
            encoder, energy = self._gibbs(parts, lam, gam)
            best = self._aggregates(encoder, parts)
            gap = self._gap(encoder, parts, best, lam, gam)
            if gap <= self.tolerance:
                losses = rate_distortion_classification(self.p_x, self.p_y_given_x, encoder, *parts)
                return Equilibrium(encoder, *parts, *losses, energy, gap)
            parts = best
        raise NotEquilibrated(
            f"lam={lam:g}, gam={gam:g}: gap {gap:.1e} nats after {self.max_iterations} "
            f"alternations, wanted {self.tolerance:.1e}; allow more max_iterations or a larger "
            "tolerance: near a transition, where letters merge or die out, convergence is slow"
        )

    def fluctuation_response(self, lam: float, gam: float) -> Tensor:
        r"""Derivatives of R, D and C by the fluctuations of the encoder, the others held still.

        D_λ = -E_x Var_e(log d), C_λ = D_γ = -E_x Cov_e(log d, Σ_y p(y|x) log c),
        C_γ = -E_x Var_e(Σ_y p(y|x) log c), and R_a = -λ D_a - γ C_a by the first law.

        They are the derivatives along the surface **only with nothing free**. A marginal, decoder
        or classifier that follows λ and γ adds its own response: see :meth:`derivatives`.

        Args:
            lam: λ ≥ 0.
            gam: γ ≥ 0.

        Returns:
            Rows R, D, C, columns λ, γ, shape ``(3, 2)``, in nats.

        Raises:
            ConfigError: as :meth:`equilibrium`; or if D or C is infinite.
            NotEquilibrated: as :meth:`equilibrium`.
        """
        state = self._finite_equilibrium(lam, gam)
        log_d, log_c, _ = map(_log, state[1:4])
        costs = torch.stack([log_d.mT, self.p_y_given_x @ log_c.mT])  # (2, x, z)
        centred = costs - (state.encoder * costs).sum(-1, keepdim=True)
        joint = self.p_x[:, None] * state.encoder
        return _with_rate(-torch.einsum("xz,axz,bxz->ab", joint, centred, centred), lam, gam)

    def derivatives(self, lam: float, gam: float) -> Tensor:
        r"""Total derivatives of R, D and C along the surface, all that is free following.

        With w = (λ, γ), a the log-parameters of the free distributions and F(w, a) the minimum
        over the encoder alone, ∂_aF = 0 on the surface gives a_w = -F_aa⁺ F_aw and

            (D, C)_w = F_ww - F_wa F_aa⁺ F_aw,    R_w = -λ D_w - γ C_w.

        F_ww is :meth:`fluctuation_response`; the second term makes D and C fall faster.

        Args:
            lam: λ ≥ 0.
            gam: γ ≥ 0.

        Returns:
            Rows R, D, C, columns λ, γ, shape ``(3, 2)``, in nats.

        Raises:
            ConfigError: as :meth:`equilibrium`; or if D or C is infinite.
            NotEquilibrated: as :meth:`equilibrium`.
            SolverBreakdown: if the equilibrium is a saddle of F or jumps there.
        """
        state = self._finite_equilibrium(lam, gam)
        sizes = (getattr(self, name).numel() for name in FREE if name in self.free)
        at = torch.zeros(2 + sum(sizes), dtype=torch.float64)
        at[:2] = torch.tensor([lam, gam], dtype=torch.float64)
        hessian = torch.func.hessian(self._energy_of(state))(at)
        mixed = hessian[2:, :2]
        response = hessian[:2, :2] - mixed.mT @ _solve(hessian[2:, 2:], mixed)
        return _with_rate(response, lam, gam)

    # the Gibbs state e*(z|x) and its free energy J(e*) = -E_x log Σ_z q d^λ exp(γ E log c)
    def _gibbs(self, parts: Backward, lam: float, gam: float) -> tuple[Tensor, Tensor]:
        log_c = torch.xlogy(gam * self.p_y_given_x[:, None], parts.classifier).sum(-1)
        log_weight = parts.marginal.log() + torch.xlogy(lam, parts.decoder).mT + log_c
        log_norm = log_weight.logsumexp(-1, keepdim=True)
        possible = bool(log_norm.isfinite().all())
        require(possible, "decoder, classifier", "an x with no z", "some possible z for every x")
        return torch.exp(log_weight - log_norm), -(self.p_x @ log_norm[:, 0])

    # the best of each free distribution given the encoder
    def _aggregates(self, encoder: Tensor, old: Backward) -> Backward:
        joint = (self.p_x[:, None] * encoder).mT  # p(z, x)
        mass = joint.sum(-1, keepdim=True)
        # a letter that has died out, where 0/0 would be, keeps what it had
        decoder = torch.where(mass > 0, joint / mass, old.decoder)
        classifier = torch.where(mass > 0, joint @ self.p_y_given_x / mass, old.classifier)
        return Backward(
            decoder if "decoder" in self.free else old.decoder,
            classifier if "classifier" in self.free else old.classifier,
            mass[:, 0] if "marginal" in self.free else old.marginal,
        )

    # what F would still fall by at its steepest: see equilibrium
    def _gap(self, encoder: Tensor, old: Backward, best: Backward, lam: float, gam: float) -> float:
        aggregate = self.p_x @ encoder
        weights = max(lam, 1) * aggregate, max(gam, 1) * aggregate, 1
        gap = 0.0
        for name, weight in zip(FREE, weights, strict=True):
            if name in self.free:
                # 0/0 is a zero that stays
                ratio = (getattr(best, name) / getattr(old, name)).nan_to_num(0)
                gap += float((weight * (ratio.amax(-1) - 1)).sum())
        return gap

    def _finite_equilibrium(self, lam: float, gam: float) -> Equilibrium:
        state = self.equilibrium(lam, gam)
        finite = bool(state.D.isfinite() and state.C.isfinite())
        got = f"D={state.D.item():g}, C={state.C.item():g}"
        require(finite, "decoder, classifier", got, "chances above zero where lam or gam is 0")
        return state

    # F of (λ, γ, shifts of the free log-parameters) with the encoder at its optimum. What the
    # encoder excludes at the equilibrium stays excluded, so that no derivative meets 0 · ∞.
    def _energy_of(self, state: Equilibrium) -> Callable[[Tensor], Tensor]:
        def energy(at: Tensor) -> Tensor:
            shifts, logs = at[2:], []
            for name in FREE:
                p = getattr(state, name)
                log_p = _log(p)
                if name in self.free:
                    shift, shifts = shifts[: p.numel()], shifts[p.numel() :]
                    shifted = torch.log_softmax(p.log() + shift.reshape(p.shape), -1)
                    log_p = torch.where(p > 0, shifted, 0.0)
                logs.append(log_p)
            log_d, log_c, log_q = logs
            log_weight = log_q + at[0] * log_d.mT + at[1] * self.p_y_given_x @ log_c.mT
            log_weight = torch.where(state.encoder > 0, log_weight, -torch.inf)
            return -(self.p_x @ log_weight.logsumexp(-1))

        return energy


# log p with 0 in place of -inf, for sums where the weight of such a letter is zero
def _log(p: Tensor) -> Tensor:
    return torch.where(p > 0, p, 1.0).log()


# rows D, C to rows R, D, C by the first law
def _with_rate(response: Tensor, lam: float, gam: float) -> Tensor:
    controls = torch.tensor([[lam, gam]], dtype=torch.float64)
    return torch.cat([-controls @ response, response])


# curvature⁺ force, the gauge directions left out (each softmax has one)
def _solve(curvature: Tensor, force: Tensor) -> Tensor:
    if not len(curvature):
        return force
    values, vectors = torch.linalg.eigh(curvature)
    scale = max(1, values[-1].item())  # in nats: a letter that dies out has almost no curvature
    if values[0] < -SADDLE * scale:
        raise SolverBreakdown(
            f"F has curvature {values[0].item():.1e} along a free distribution: the equilibrium "
            "is a saddle; start the free distributions elsewhere, without symmetry"
        )
    seen = values > NULL * scale
    inside, outside = vectors[:, seen], vectors[:, ~seen]
    unanswered = (outside.mT @ force).abs().amax().item() if len(outside.mT) else 0.0
    if unanswered > UNANSWERED:
        raise SolverBreakdown(
            f"a direction without curvature is pushed by {unanswered:.1e} nats: the equilibrium "
            "jumps here (a first-order transition); take lam and gam a little to one side"
        )
    response: Tensor = inside @ ((inside.mT @ force) / values[seen, None])
    return response
