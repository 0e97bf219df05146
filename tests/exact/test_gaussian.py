"""Linear-Gaussian surfaces: against brute-force minimisation, finite differences, ODE solvers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.optimize import minimize
from torch import Tensor

from support.numbers import eye, randn, richardson
from thermo_pl.errors import ConfigError, DataError, InfeasibleTarget, SolverBreakdown
from thermo_pl.exact.bures import geodesic
from thermo_pl.exact.gaussian import LinearGaussian, Weights
from thermo_pl.exact.linear_vae import learned_pixel_variance, vae_state

Point = tuple[float, float, float]
LOG_2PI = math.log(2 * math.pi)

seeds, times = st.integers(0, 10_000), st.floats(0, 1)
multipliers = st.floats(-1, 1).map(lambda x: 10**x)
points = st.tuples(multipliers, multipliers, times)
few = settings(deadline=None, max_examples=25)  # milliseconds each, on a machine that is shared


def covariance(d: int, seed: int) -> Tensor:
    """A random covariance with eigenvalues of order one, none below 0.2."""
    a = randn(d, 2 * d, seed=seed)
    return a @ a.T / (2 * d) + 0.2 * eye(d)


def system(d: int, m: int, latent_dim: int, sigma2: float, seed: int) -> LinearGaussian:
    """A random system whose data move."""
    start, end = covariance(d, 2 * seed), covariance(d, 2 * seed + 1)
    label_map, noise = randn(m, d, seed=seed), 0.1 * covariance(m, seed)
    return LinearGaussian(start, end, label_map, noise, sigma2, 0.3, latent_dim)


def data(model: LinearGaussian, t: float) -> Tensor:
    """Covariance of x at t."""
    assert model.end is not None
    return geodesic(model.start, model.end, t)


systems = st.builds(
    system, st.integers(1, 5), st.integers(1, 3), st.integers(1, 6), st.floats(0.05, 2), seeds
)

HERE = (1.2, 2.0, 0.3)
MOVING = system(4, 2, 2, 0.2, 1)
# and how many latents are active at HERE, of four dimensions of x
EXAMPLES = {
    "all active": (replace(MOVING, latent_dim=4), 4),
    "fewer latents than dimensions": (MOVING, 2),
    "one switched off": (replace(MOVING, latent_dim=4, pixel_variance=1.5), 3),
    "more latents than dimensions": (replace(MOVING, latent_dim=6, pixel_variance=1.5), 3),
    "all switched off": (replace(MOVING, pixel_variance=50, label_variance=50), 0),
}
named = pytest.mark.parametrize(("model", "active"), EXAMPLES.values(), ids=EXAMPLES.keys())


def diagonal(*variances: float) -> Tensor:
    """The covariance of independent numbers."""
    return torch.tensor(variances, dtype=torch.float64).diag()


# --- the model itself, with its expectations written out ---


def losses(weights: Weights, s: Tensor, model: LinearGaussian) -> tuple[Tensor, Tensor, Tensor]:
    """R, D, C of any linear model on x ~ N(0, s), y = A x + ε: Gaussian expectations as traces."""
    u, log_var, w, v = weights
    a, variance = model.label_map, log_var.exp()
    rate = 0.5 * ((u @ s @ u.T).trace() + (variance - 1 - log_var).sum())

    def nll(target: Tensor, head: Tensor, noise: Tensor, scale: float) -> Tensor:
        # target x - head z, z = U x + √variance · a normal number
        error = target - head @ u
        square = (error @ s @ error.T).trace() + (head * variance @ head.T).trace() + noise
        return 0.5 * len(target) * (LOG_2PI + math.log(scale)) + square / (2 * scale)

    zero = torch.zeros((), dtype=torch.float64)
    distortion = nll(eye(len(s)), w, zero, model.pixel_variance)
    return rate, distortion, nll(a, v, model.label_noise.trace(), model.label_variance)


def unpack(flat: Tensor, model: LinearGaussian) -> Weights:
    """Weights from one vector."""
    k, (m, d) = model.latent_dim, model.label_map.shape
    u, log_var, w, v = flat.split([k * d, k, d * k, m * k])
    return Weights(u.reshape(k, d), log_var, w.reshape(d, k), v.reshape(m, k))


def pack(weights: Weights) -> Tensor:
    """One vector from weights."""
    return torch.cat([part.flatten() for part in weights])


def minimise(objective: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    """A local minimum: scipy's trust region, then Newton steps for the last digits."""
    gradient, hessian = torch.func.grad(objective), torch.func.hessian(objective)
    found = minimize(
        lambda x: objective(torch.from_numpy(x)).item(),
        start.numpy(),
        method="trust-exact",
        jac=lambda x: gradient(torch.from_numpy(x)).numpy(),
        hess=lambda x: hessian(torch.from_numpy(x)).numpy(),
        options={"gtol": 1e-6},
    )
    assert found.success
    flat = torch.from_numpy(found.x)
    for _ in range(3):
        flat = flat - torch.linalg.solve(hessian(flat), gradient(flat))
    assert gradient(flat).abs().max() < 1e-10
    return flat


@named
def test_the_surface_is_the_minimum_over_all_weights(model: LinearGaussian, active: int) -> None:
    lam, gam, t = HERE
    assert model.active_latents(*HERE) == active
    s = data(model, t)

    def objective(flat: Tensor) -> Tensor:
        rate, distortion, loss = losses(unpack(flat, model), s, model)
        return rate + lam * distortion + gam * loss

    size = len(pack(model.optimum(*HERE)))
    best = minimise(objective, 0.3 * randn(size, seed=0))
    expected = [part.item() for part in losses(unpack(best, model), s, model)]
    state = model.state(*HERE)
    assert [*expected, objective(best).item()] == pytest.approx([*state], rel=0, abs=1e-9)


@given(systems, points)
@few
def test_the_optimum_has_these_losses_and_no_slope(model: LinearGaussian, at: Point) -> None:
    lam, gam, t = at
    weights, s = model.optimum(*at), data(model, t)
    state = model.state(*at)
    found = losses(weights, s, model)
    # terms of up to some hundred nats
    assert [x.item() for x in found] == pytest.approx([*state[:3]], rel=1e-12, abs=1e-12)
    assert state.R + lam * state.D + gam * state.C == state.F
    idle = weights.encoder_log_var == 0
    assert model.active_latents(*at) == model.latent_dim - int(idle.sum())
    assert not weights.encoder[idle].any()
    assert not weights.decoder[:, idle].any()
    assert not weights.classifier[:, idle].any()
    parts = [part.clone().requires_grad_() for part in weights]
    rate, distortion, loss = losses(Weights(*parts), s, model)
    slopes = torch.autograd.grad(rate + lam * distortion + gam * loss, parts)
    assert max(slope.abs().max().item() for slope in slopes) < 1e-10


# --- derivatives ---


def eigenvalues(model: LinearGaussian, at: Point) -> NDArray[np.float64]:
    """ν, from the unsymmetric product S B."""
    lam, gam, t = at
    a, s = model.label_map, data(model, t)
    b = lam / model.pixel_variance * eye(len(s)) + gam / model.label_variance * a.T @ a
    return np.sort(np.linalg.eigvals((s @ b).numpy()).real)[::-1]


def away(model: LinearGaussian, at: Point) -> float:
    """How far the nearest transition is, in relative changes of an eigenvalue."""
    nu, k = eigenvalues(model, at), model.latent_dim
    switches = float(np.min(np.abs(nu[:k] - 1) / np.maximum(nu[:k], 1)))
    if k >= len(nu) or nu[k] <= 1:
        return switches
    return min(switches, 1 - nu[k] / nu[k - 1])


def response(model: LinearGaussian, at: Point) -> Tensor:
    """d(R, D, C)/d(λ, γ, t) by the implicit function theorem on the weights: no eigenvectors."""
    ends = (model.start, data(model, 0.5), model.end)

    def all_losses(flat: Tensor, t: Tensor) -> Tensor:
        # S(t) is quadratic in t
        s = (1 - t) * (1 - 2 * t) * ends[0] + 4 * t * (1 - t) * ends[1] + t * (2 * t - 1) * ends[2]
        return torch.stack(losses(unpack(flat, model), s, model))

    def objective(flat: Tensor, controls: Tensor) -> Tensor:
        factors = torch.cat([torch.ones(1, dtype=torch.float64), controls[:2]])
        return factors @ all_losses(flat, controls[2])

    best, controls = pack(model.optimum(*at)), torch.tensor(at, dtype=torch.float64)
    gradient = torch.func.grad(objective)
    hessian, mixed = torch.func.jacfwd(gradient, argnums=(0, 1))(best, controls)
    moved = -torch.linalg.solve(hessian, mixed)
    slope, explicit = torch.func.jacfwd(all_losses, argnums=(0, 1))(best, controls[2])
    total = slope @ moved
    total[:, 2] += explicit
    return total


def differences(function: Callable[[Point], Tensor], at: Point) -> Tensor:
    """Finite differences in λ, γ, t, one column each."""

    def moved(i: int, value: float) -> Point:
        lam, gam, t = (value if i == j else old for j, old in enumerate(at))
        return lam, gam, t

    columns = [richardson(lambda h, i=i: function(moved(i, at[i] + h)), 4e-3, 3) for i in range(3)]
    return torch.stack(columns, dim=-1)


def state_tensor(model: LinearGaussian, at: Point) -> Tensor:
    """R, D, C, F as one tensor."""
    return torch.tensor(model.state(*at), dtype=torch.float64)


@named
def test_derivatives_are_finite_differences_of_the_state(
    model: LinearGaussian, active: int
) -> None:
    assert model.active_latents(*HERE) == active
    found = differences(lambda at: state_tensor(model, at), HERE)
    # sixth order: 1e-3 of the distance to a transition to the power six; rounding 1e-14 / 1e-3
    torch.testing.assert_close(model.derivatives(*HERE), found[:3], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(model.forces(*HERE), found[3], rtol=1e-9, atol=1e-9)
    # Maxwell: the three forces have a symmetric matrix of derivatives
    second = differences(lambda at: model.forces(*at), HERE)
    torch.testing.assert_close(second, second.T, rtol=1e-9, atol=1e-9)


@given(systems, points)
@few
def test_derivatives_are_the_response_of_the_weights(model: LinearGaussian, at: Point) -> None:
    assume(away(model, at) > 1e-3)  # nearer, the Hessian has lost the digits asked for
    found, expected = model.derivatives(*at), response(model, at)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@given(systems, points)
@few
def test_first_law_and_maxwell(model: LinearGaussian, at: Point) -> None:
    assume(away(model, at) > 1e-6)
    lam, gam, _ = at
    rate, distortion, loss = model.derivatives(*at)
    force = model.forces(*at)
    state = model.state(*at)
    assert force[:2].tolist() == [state.D, state.C]
    # dR = -λ dD - γ dC + ∂F/∂t dt
    balance = rate + lam * distortion + gam * loss
    balance[2] -= force[2]
    scale = 1 + (lam * distortion).abs() + (gam * loss).abs()
    assert (balance.abs() < 1e-12 * scale).all()
    assert distortion[1].item() == pytest.approx(loss[0].item(), abs=1e-12)


@given(systems, points, multipliers, multipliers)
@few
def test_the_free_energy_is_concave_and_lies_under_its_tangents(
    model: LinearGaussian, at: Point, lam: float, gam: float
) -> None:
    here, there = model.state(*at), model.state(lam, gam, at[2])
    # at any distance and across every transition
    tangent = here.F + here.D * (lam - at[0]) + here.C * (gam - at[1])
    assert tangent + 1e-12 * abs(tangent) >= there.F
    middle = model.state((lam + at[0]) / 2, (gam + at[1]) / 2, at[2]).F
    assert middle >= (here.F + there.F) / 2 - 1e-12 * abs(middle)


@given(systems, points)
@few
def test_margin_and_active_latents_are_read_from_the_eigenvalues(
    model: LinearGaussian, at: Point
) -> None:
    nu, k = eigenvalues(model, at), model.latent_dim
    margin = min(abs(value - 1) for value in nu[:k])
    if k < len(nu) and nu[k] > 1:
        margin = min(margin, nu[k - 1] - nu[k])
    assert model.transition_margin(*at) == pytest.approx(margin, abs=1e-11 * max(1, nu[0]))
    assume(margin > 1e-9)
    assert model.active_latents(*at) == sum(value > 1 for value in nu[:k])


def test_equal_eigenvalues_have_derivatives_unless_one_of_them_has_no_place() -> None:
    # x is isotropic at t = 1/2 and the label reads one direction: ν_2 = ν_3 there
    start, end = diagonal(4, 2.25, 0.25), diagonal(0, 0.25, 2.25) + 0.01 * diagonal(1, 0, 0)
    label_map, noise = torch.tensor([[1.0, 0, 0]]), torch.tensor([[0.1]])
    model = LinearGaussian(start, end, label_map, noise, 0.2, 0.3, 3)
    at = (1.0, 2.0, 0.5)
    assert np.ptp(eigenvalues(model, at)[1:]) < 1e-12
    found = differences(lambda at: state_tensor(model, at)[:3], at)
    torch.testing.assert_close(model.derivatives(*at), found, rtol=1e-9, atol=1e-9)
    crowded = replace(model, latent_dim=2)
    assert crowded.transition_margin(*at) < 1e-12
    with pytest.raises(SolverBreakdown, match=r"lam=1.0, gam=2.0, t=0.5: two latents compete"):
        crowded.derivatives(*at)


def test_latents_that_are_off_do_not_compete() -> None:
    # ν = ½ twice, one place: nothing happens until one of them reaches 1
    model = LinearGaussian(diagonal(1, 1), None, torch.zeros(1, 2), diagonal(0), 2.0, 1.0, 1)
    assert model.transition_margin(1, 1) == pytest.approx(0.5, abs=1e-15)
    assert torch.equal(model.derivatives(1, 1), torch.zeros(3, 3, dtype=torch.float64))
    nothing = (0, math.log(4 * math.pi) + 0.5, 0.5 * LOG_2PI, 0)
    assert model.state(0, 0) == pytest.approx(nothing, abs=1e-15)


def test_only_distortion_and_loss_jump_where_two_latents_swap() -> None:
    # variances 1 and 4, one place, a label that reads the first: they swap at γ/ρ² = 3λ/σ²
    label_map = torch.tensor([[1.0, 0]])
    model = LinearGaussian(diagonal(1, 4), None, label_map, diagonal(0), 0.5, 0.25, 1)
    before, after = (state_tensor(model, (1, gam, 0)) for gam in (1.5 - 1e-9, 1.5 + 1e-9))
    # ν = 8 for both; the pixels' shares of D are (1 + 4/8)/2σ², then (1/8 + 4)/2σ²; of C 2, then ¼
    assert (after - before).tolist() == pytest.approx([0, 2.625, -1.75, 0], abs=1e-7)


def test_derivatives_jump_where_a_latent_switches_and_the_state_does_not() -> None:
    # one latent with variance 4: it switches on at λ = σ²/4
    model = LinearGaussian(diagonal(4), None, torch.zeros(1, 1), torch.zeros(1, 1), 1.0, 1.0, 1)
    assert model.transition_margin(0.25, 0) == 0
    assert model.active_latents(0.25, 0) == 0
    before, after = (model.derivatives(lam, 0)[0, 0].item() for lam in (0.25, 0.25 + 1e-9))
    assert before == 0
    assert after == pytest.approx(1 / (2 * 0.25), rel=1e-8)
    assert model.state(0.25 + 1e-9, 0) == pytest.approx(model.state(0.25, 0), abs=1e-7)


# --- special cases with numbers of their own ---

VARIANCES = torch.tensor([4, 2.5, 1.6, 1, 0.6, 0.3], dtype=torch.float64)
# number of active latents, R, D and F at each λ, from the theory page
TABLE = {
    0.1: (0, 0.0, 13.434190, 1.343419),
    0.5: (3, 1.386294, 8.334190, 5.553389),
    1.0: (5, 2.863750, 6.234190, 9.097939),
    2.0: (6, 4.687778, 4.934190, 14.556158),
    10.0: (6, 9.516092, 3.734190, 46.857989),
}


@pytest.mark.parametrize("lam", TABLE)
def test_the_vae_has_the_printed_numbers(lam: float) -> None:
    state = vae_state(VARIANCES.flip(0), lam, 0.5, 6)
    active, *printed = TABLE[lam]
    assert [round(value, 6) for value in state[:3]] == printed
    assert state.active == active


@given(systems, multipliers, times)
@few
def test_without_labels_the_surface_is_the_vae(model: LinearGaussian, lam: float, t: float) -> None:
    tau = torch.linalg.eigvalsh(data(model, t))
    expected = vae_state(tau, lam, model.pixel_variance, model.latent_dim)
    state = model.state(lam, 0, t)
    found = state.R, state.D, state.F, model.active_latents(lam, 0, t)
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-11)


@given(systems, multipliers, times)
@few
def test_at_zero_lam_or_gam_the_surface_is_the_limit(
    model: LinearGaussian, weight: float, t: float
) -> None:
    tiny = 1e-9
    for zero, near in (((0, weight, t), (tiny, weight, t)), ((weight, 0, t), (weight, tiny, t))):
        assume(away(model, zero) > 1e-3)
        # derivatives reach some ten thousand where an eigenvalue is near a transition
        assert model.state(*near) == pytest.approx(model.state(*zero), abs=1e-4)
        total = sum(x.item() for x in losses(model.optimum(*zero), model.covariance(t), model))
        state = model.state(*zero)
        assert total == pytest.approx(state.R + state.D + state.C, rel=1e-12)


# --- a learned pixel variance ---

spectra = st.lists(st.floats(0.05, 5), min_size=1, max_size=6)


def has_minimum(tau: Tensor, lam: float, k: int) -> bool:
    """Whether the free energy rises as σ² → 0, seen at two tiny values."""
    far, near = (vae_state(tau, lam, sigma2, k).F for sigma2 in (1e-14, 1e-12))
    return far > near + 1e-9


@given(spectra, st.integers(0, 2), multipliers, st.integers(1, 7), multipliers)
@few
def test_the_learned_pixel_variance_is_the_global_minimum_or_there_is_none(
    values: list[float], zeros: int, lam: float, k: int, other: float
) -> None:
    tau = torch.tensor(values + zeros * [0.0], dtype=torch.float64)
    slack = abs(lam * len(tau) - len(values))
    assume(k < len(values) or slack > 1e-6)  # the slope at zero, which must not be lost in rounding
    if not has_minimum(tau, lam, k):
        with pytest.raises(ConfigError, match="no minimum in the pixel variance"):
            learned_pixel_variance(tau, lam, k)
        return
    sigma2 = learned_pixel_variance(tau, lam, k)
    best = vae_state(tau, lam, sigma2, k)
    assert best.F <= vae_state(tau, lam, other, k).F + 1e-12
    # ½(λd - n) is the curvature in log σ²; a step of 1e-4 must cost half of it times the square
    curvature = 0.5 * (lam * len(tau) - best.active)
    for step in (-1e-4, 1e-4):
        raised = vae_state(tau, lam, sigma2 * math.exp(step), k).F - best.F
        assert raised > 0.25 * curvature * step**2 - 1e-13


def test_no_pixel_variance_is_learned_where_the_noise_is_left_no_direction() -> None:
    # k = rank: at λ = 1 the free energy is level below the smallest variance …
    level = [vae_state(VARIANCES, 1.0, sigma2, 6).F for sigma2 in (1e-3, 1e-6, 1e-9)]
    assert level == pytest.approx(level[:1] * 3, abs=1e-12)
    # … and above it falls without bound
    fall = [vae_state(VARIANCES, 1.1, sigma2, 6).F for sigma2 in (1e-3, 1e-6, 1e-9)]
    assert fall[0] - fall[1] == pytest.approx(fall[1] - fall[2])
    assert fall[0] - fall[1] > 1
    for lam in (1.0, 1.1):
        with pytest.raises(ConfigError, match=r"fewer latents than the rank, lam < 1, or a fixed"):
            learned_pixel_variance(VARIANCES, lam, 6)
    assert learned_pixel_variance(VARIANCES, 0.9, 6) > 0


# --- processes ---

TIMES = np.linspace(0, 1, 11).tolist()
START = (1.0, 2.0, 0.0)


def integrate(rate: Callable[[float, float], float], start: float) -> Any:
    """Solution of dy/dt = rate(t, y) at TIMES, by scipy's DOP853."""
    return solve_ivp(
        lambda t, y: [rate(t, float(y[0]))],
        (0, 1),
        [start],
        "DOP853",
        t_eval=TIMES,
        rtol=1e-10,
        atol=1e-10,
    ).y[0]


def test_iso_classification_solves_the_rate_equation_and_needs_its_data_term() -> None:
    target, k = MOVING.state(*START).C, 0.5
    gams = MOVING.iso_classification(target, 1.0, k, TIMES)
    assert gams[0].item() == pytest.approx(2, rel=1e-13)
    along = list(zip(1 + k * np.array(TIMES), gams.tolist(), TIMES, strict=True))
    # no transition on the way: the rate equation is smooth
    assert {MOVING.active_latents(*at) for at in along} == {2}
    assert min(MOVING.transition_margin(*at) for at in along) > 1
    assert [MOVING.state(*at).C for at in along] == pytest.approx([target] * 11, abs=1e-13)

    def rate(t: float, gam: float, data: float = 1) -> float:
        _, _, (c_lam, c_gam, c_t) = MOVING.derivatives(1 + k * t, gam, t).tolist()
        return float(-(k * c_lam + data * c_t) / c_gam)

    np.testing.assert_allclose(gams, integrate(rate, 2.0), rtol=0, atol=1e-8)
    wrong = integrate(lambda t, gam: rate(t, gam, data=0), 2.0)
    left = [MOVING.state(1 + k * t, gam, t).C for t, gam in zip(TIMES, wrong, strict=True)]
    assert max(abs(c - target) for c in left) > 0.3  # of 1.5


def test_the_adiabat_solves_its_equation_and_makes_no_entropy() -> None:
    lams = MOVING.adiabat(1.0, 2.0, TIMES)
    assert lams[0] == 1

    def rate(t: float, lam: float) -> float:
        _, d_slope, c_slope = MOVING.derivatives(lam, 2.0, t).tolist()
        released = lam * d_slope[2] + 2 * c_slope[2]
        return float(-released / (MOVING.state(lam, 2.0, t).D + lam * d_slope[0] + 2 * c_slope[0]))

    np.testing.assert_allclose(lams, integrate(rate, 1.0), rtol=0, atol=1e-8)
    assert lams.max() - lams.min() > 0.3  # λ does move
    states = [MOVING.state(lam, 2.0, t) for lam, t in zip(lams.tolist(), TIMES, strict=True)]
    entropy = [(s.R - states[0].R) - (s.F - states[0].F) for s in states]
    assert max(map(abs, entropy)) < 1e-12


def two_pixels(start: Tensor, end: Tensor | None) -> LinearGaussian:
    """One latent for two independent pixels with σ² = 0.05, and a label that says nothing."""
    return LinearGaussian(start, end, torch.zeros(1, 2), torch.zeros(1, 1), 0.05, 0.1, 1)


def test_an_adiabat_by_hand_ends_where_its_denominator_vanishes() -> None:
    # with the first pixel's latent active λD = ½ + λ c, c = log 2πσ² + τ_2/2σ²: λ c(t) is constant
    model = two_pixels(diagonal(1, 0.25), diagonal(4, 0.0625))  # deviations ½ → ¼
    constant = [math.log(0.1 * math.pi) + 10 * (0.5 - 0.25 * t) ** 2 for t in TIMES]
    positive = [c for c in constant if c > 0.1]
    assert 3 < len(positive) < len(TIMES)
    lams = model.adiabat(1.0, 2.0, TIMES[: len(positive)])
    expected = [constant[0] / c for c in positive]
    assert lams.tolist() == pytest.approx(expected, rel=1e-12)
    with pytest.raises(SolverBreakdown, match=r"no adiabat near .*t=0\.\d.*denominator"):
        model.adiabat(1.0, 2.0, TIMES)
    # c = 0 at the start: refused at once
    flat = two_pixels(diagonal(1, -0.1 * math.log(0.1 * math.pi)), diagonal(4, 1))
    with pytest.raises(SolverBreakdown, match="t=0: the denominator"):
        flat.adiabat(1.0, 2.0, [0.0])


def test_an_adiabat_does_not_change_over_to_another_branch() -> None:
    # λD rises with λ up to the switch at σ²/τ_1 and falls after it, where c < 0: two roots
    model = two_pixels(diagonal(0.8, 0.0158), diagonal(0.44, 0.0758))
    fine = np.linspace(0, 1, 101).tolist()
    lams = model.adiabat(0.1, 2.0, fine)
    constant = [math.log(0.1 * math.pi) + 10 * model.covariance(t)[1, 1].item() for t in fine]
    assert lams.tolist() == pytest.approx([0.1 * constant[0] / c for c in constant], rel=1e-11)
    # in one long step the root that lies nearest is the other one
    with pytest.raises(SolverBreakdown, match="steps in t are too long"):
        model.adiabat(0.1, 2.0, [0.0, 1.0])


def test_fixed_data_have_an_iso_classification_process_but_no_adiabat() -> None:
    still = replace(MOVING, end=None)
    assert torch.equal(still.covariance(0.7), still.covariance(0))
    torch.testing.assert_close(still.covariance(0), MOVING.start, rtol=1e-13, atol=1e-13)
    assert still.state(1, 2, 0.7) == still.state(1, 2)
    assert not still.derivatives(1, 2)[:, 2].any()
    gams = still.iso_classification(still.state(1, 2).C, 1, 0.5, TIMES)
    levels = [still.state(1 + 0.5 * t, g).C for t, g in zip(TIMES, gams.tolist(), strict=True)]
    assert levels == pytest.approx([still.state(1, 2).C] * 11, abs=1e-13)
    with pytest.raises(ConfigError, match="data: got 'at rest'"):
        still.adiabat(1, 2, TIMES)


# --- refusals ---


def test_a_target_out_of_reach_is_refused_with_what_can_be_reached() -> None:
    low, high = (MOVING.state(1, gam, 0).C for gam in (50.0, 0.5))
    for target in (low - 0.01, high + 0.01):
        with pytest.raises(InfeasibleTarget) as caught:
            MOVING.gamma_at(target, 1.0, 0.0, (0.5, 50.0))
        assert f"{low:.9g} at gam=50.0" in str(caught.value)
        assert f"{high:.9g} at gam=0.5" in str(caught.value)
    # on the way the message says where
    with pytest.raises(InfeasibleTarget, match=r"at lam=1.5, t=1"):
        MOVING.iso_classification(high + 0.01, 0.5, 1.0, [1.0], (0.5, 50.0))
    for bracket in ((2.0, 1.0), (-1.0, 1.0), (0.0, math.inf)):
        with pytest.raises(ConfigError, match="bracket"):
            MOVING.gamma_at(1.0, 1.0, 0.0, bracket)
    with pytest.raises(ConfigError, match="lam: got -0"):
        MOVING.iso_classification(1.5, 0.1, -1.0, [0.5])


def test_a_target_inside_a_jump_is_refused() -> None:
    # one latent, two pixels with variances 1 and 4, a label that reads the first: it takes over
    # where λ/σ² + γ/ρ² = 4λ/σ², and the loss ½ x²/ρ² falls from 2 to 2/8 beside its constant
    model = LinearGaussian(
        diagonal(1, 4), None, torch.tensor([[1.0, 0]]), torch.zeros(1, 1), 0.5, 0.25, 1
    )
    norm = 0.5 * math.log(2 * math.pi * 0.25)
    before, after = (model.state(1, gam).C - norm for gam in (1.5 - 1e-9, 1.5 + 1e-9))
    assert (before, after) == pytest.approx((2, 0.25), abs=1e-8)
    with pytest.raises(InfeasibleTarget, match=r"jumps across it at gam=1\.5,"):
        model.gamma_at(norm + 1, 1.0)
    assert model.gamma_at(norm + 0.2, 1.0) > 1.5


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"start": diagonal(1, 1, 1, -1)}, DataError, "start: eigenvalues"),
        ({"end": diagonal(1, 1, 1, 0)}, DataError, "end: eigenvalues"),
        ({"end": diagonal(1, 1)}, ConfigError, "end: got"),
        ({"label_map": torch.ones(2, 3)}, ConfigError, "label_map: got"),
        ({"label_map": torch.ones(4)}, ConfigError, "4 columns"),
        ({"label_noise": diagonal(1, -1)}, DataError, "label_noise: eigenvalues"),
        ({"label_noise": diagonal(1)}, ConfigError, "label_noise: got"),
        ({"pixel_variance": 0.0}, ConfigError, "pixel_variance: got"),
        ({"label_variance": math.nan}, ConfigError, "label_variance: got"),
        ({"latent_dim": 0}, ConfigError, "latent_dim: got 0"),
    ],
)
def test_a_system_that_is_none_is_refused_by_name(
    change: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        replace(MOVING, **change)


def test_points_off_the_surface_are_refused() -> None:
    for at in ((-1, 1, 0), (1, -1, 0), (math.inf, 1, 0), (1, math.nan, 0), (1, 1, 1.1)):
        for method in (MOVING.state, MOVING.forces, MOVING.derivatives, MOVING.optimum):
            with pytest.raises(ConfigError, match=r"^(lam|gam|t): got"):
                method(*at)
    for arguments in ((VARIANCES, 0.0, 0.5, 6), (VARIANCES, 1.0, 0.0, 6), (VARIANCES, 1.0, 0.5, 0)):
        with pytest.raises(ConfigError):
            vae_state(*arguments)
    for bad in (torch.tensor([1.0, -1.0]), torch.ones(2, 2), torch.ones(0)):
        with pytest.raises(ConfigError, match="variances"):
            vae_state(bad, 1.0, 0.5, 1)


def test_float32_systems_are_held_in_float64() -> None:
    model = LinearGaussian(torch.eye(2), None, torch.ones(1, 2), torch.eye(1), 0.5, 0.5, 1)
    assert {model.start.dtype, model.label_map.dtype, model.label_noise.dtype} == {torch.float64}
    assert model.optimum(1, 1).decoder.dtype == torch.float64
    assert model.derivatives(1, 1).dtype == torch.float64
