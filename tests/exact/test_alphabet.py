"""Finite alphabets: against written-out sums, textbook solutions, scipy and finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from support.numbers import richardson
from thermo_pl.errors import ConfigError, NotEquilibrated, SolverBreakdown
from thermo_pl.exact.alphabet import (
    FREE,
    Alphabet,
    Equilibrium,
    log_partition,
    rate_distortion_classification,
)
from thermo_pl.exact.distributions import discrete_entropy, divergence

# sums of a few dozen terms of order one
CLOSE = {"rtol": 1e-12, "atol": 1e-12}

seeds = st.integers(0, 10_000)
controls = st.floats(0.1, 10)


def distributions(*shape: int, seed: int, sharpness: float = 1.0) -> Tensor:
    """Random distributions over the last axis; a larger sharpness is nearer to certainty."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(shape, generator=generator, dtype=torch.float64)
    return (sharpness * scores).softmax(-1)


def system(
    seed: int, free: tuple[str, ...] = (), letters: tuple[int, int, int] = (5, 3, 4)
) -> Alphabet:
    """A random system with the given numbers of letters x, y, z."""
    x, y, z = letters
    return Alphabet(
        p_x=distributions(x, seed=seed),
        p_y_given_x=distributions(x, y, seed=seed + 1, sharpness=2),
        decoder=distributions(z, x, seed=seed + 2),
        classifier=distributions(z, y, seed=seed + 3),
        marginal=distributions(z, seed=seed + 4),
        free=frozenset(free),
    )


def energy(state: Equilibrium, lam: float, gam: float) -> Tensor:
    """J by its terms."""
    return state.R + lam * state.D + gam * state.C


def slopes(alphabet: Alphabet, lam: float, gam: float) -> tuple[Equilibrium, Tensor]:
    """An equilibrium, and the derivatives of R, D, C and F there by re-solving it nearby."""
    here = alphabet.equilibrium(lam, gam)
    # starting where the equilibrium is keeps to its branch
    near = replace(alphabet, **{name: getattr(here, name) for name in FREE})

    def values(dlam: float, dgam: float) -> Tensor:
        state = near.equilibrium(lam + dlam, gam + dgam)
        return torch.stack([state.R, state.D, state.C, state.F])

    columns = richardson(lambda h: values(h, 0)), richardson(lambda h: values(0, h))
    return here, torch.stack(columns, 1)


def test_losses_are_the_sums_over_all_letters() -> None:
    a, encoder = system(0), distributions(5, 4, seed=9)
    rate = distortion = loss = 0.0
    for x, y, z in product(range(5), range(3), range(4)):
        chance = (a.p_x[x] * a.p_y_given_x[x, y] * encoder[x, z]).item()
        rate += chance * math.log(encoder[x, z] / a.marginal[z])
        distortion -= chance * math.log(a.decoder[z, x])
        loss -= chance * math.log(a.classifier[z, y])
    parts = (a.p_x, a.p_y_given_x, encoder, a.decoder, a.classifier, a.marginal)
    found = [value.item() for value in rate_distortion_classification(*parts)]
    assert found == pytest.approx([rate, distortion, loss], rel=1e-13)
    batch = rate_distortion_classification(*(torch.stack([part, part]) for part in parts))
    assert torch.stack(batch).tolist() == [[value, value] for value in found]


@pytest.mark.parametrize(("lam", "gam"), [(0.3, 4.0), (0.0, 2.0), (3.0, 0.0), (1.0, 1.0)])
def test_log_partition_is_the_sum_over_all_letters(lam: float, gam: float) -> None:
    a = system(1)
    z_sum = sum(
        (a.marginal[z] * a.decoder[z, x] ** lam * a.classifier[z, y] ** gam).item()
        for x, y, z in product(range(5), range(3), range(4))
    )
    found = log_partition(a.decoder, a.classifier, a.marginal, lam, gam).item()
    assert found == pytest.approx(math.log(z_sum), abs=1e-13)
    assert (lam, gam) != (1, 1) or abs(found) < 1e-15


@given(seeds, controls, controls)
@settings(deadline=None)  # the first call of torch is slow
def test_the_frozen_equilibrium_is_the_minimum_over_all_encoders(
    seed: int, lam: float, gam: float
) -> None:
    a = system(seed)
    state = a.equilibrium(lam, gam)
    other = distributions(5, 4, seed=seed + 9, sharpness=3)
    losses = rate_distortion_classification(
        a.p_x, a.p_y_given_x, other, a.decoder, a.classifier, a.marginal
    )
    excess = losses[0] + lam * losses[1] + gam * losses[2] - state.F
    # J(e) - F = E_x KL(e ‖ e*), which is what makes e* the one minimum; J reaches 100 nats
    torch.testing.assert_close(excess, a.p_x @ divergence(other, state.encoder), atol=1e-12, rtol=0)
    torch.testing.assert_close(energy(state, lam, gam), state.F, **CLOSE)
    assert state.gap == 0


@pytest.mark.parametrize("lam", [0.9, 2.0, 6.0])
def test_a_binary_source_has_its_textbook_rate(lam: float) -> None:
    # Cover & Thomas, theorem 10.3.1: R(δ) = h(p) - h(δ) for Hamming distortion δ, reached at
    # slope log((1-δ)/δ) by q(1) = (p-δ)/(1-2δ). Here -log d is Hamming up to a scale and a shift.
    p, wrong = 0.3, 0.25
    flip = 1 / (1 + (1 / wrong - 1) ** lam)  # δ at that slope
    h = [-t * math.log(t) - (1 - t) * math.log(1 - t) for t in (p, flip)]
    a = Alphabet(
        p_x=torch.tensor([1 - p, p], dtype=torch.float64),
        p_y_given_x=torch.ones(2, 1, dtype=torch.float64),
        decoder=torch.tensor([[1 - wrong, wrong], [wrong, 1 - wrong]], dtype=torch.float64),
        classifier=torch.ones(2, 1, dtype=torch.float64),
        marginal=torch.tensor([0.5, 0.5], dtype=torch.float64),
        free=frozenset({"marginal"}),
    )
    state = a.equilibrium(lam, 0)
    assert flip < p  # else R = 0
    assert state.R.item() == pytest.approx(h[0] - h[1], abs=1e-11)
    distortion = -(1 - flip) * math.log(1 - wrong) - flip * math.log(wrong)
    assert state.D.item() == pytest.approx(distortion, abs=1e-11)
    assert state.marginal[1].item() == pytest.approx((p - flip) / (1 - 2 * flip), abs=1e-10)


def free_energy_of_marginal(a: Alphabet, lam: float, gam: float) -> Callable[[Tensor], Tensor]:
    """F(q) = -E_x log Σ_z q d^λ Π_y c^(γ p(y|x)), written with powers and products."""
    weight = a.decoder.mT**lam * (a.classifier ** (gam * a.p_y_given_x[:, None])).prod(-1)
    return lambda marginal: -(a.p_x @ (weight @ marginal).log())


@pytest.mark.parametrize("seed", range(5))
def test_with_the_marginal_free_scipy_finds_the_same_minimum(seed: int) -> None:
    a, lam, gam = system(seed, ("marginal",)), 1.5, 2.5
    f = free_energy_of_marginal(a, lam, gam)
    found = minimize(
        lambda q: f(torch.tensor(q)).item(),
        a.marginal.numpy(),
        method="SLSQP",
        bounds=[(0, 1)] * 4,
        constraints={"type": "eq", "fun": lambda q: q.sum() - 1},
        options={"ftol": 1e-15, "maxiter": 500},
    )
    state = a.equilibrium(lam, gam)
    # SLSQP takes finite differences: 1e-8 in the slope, its square in the value
    assert state.F.item() == pytest.approx(found.fun, abs=1e-10)
    assert state.marginal.tolist() == pytest.approx(found.x.tolist(), abs=1e-4)


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-6])
def test_the_gap_bounds_what_is_left_to_gain(tolerance: float) -> None:
    a = system(3, ("marginal",))
    rough = replace(a, tolerance=tolerance).equilibrium(1.5, 2.5)
    left = (rough.F - a.equilibrium(1.5, 2.5).F).item()
    assert 0 < left <= rough.gap <= tolerance


FREEDOMS = [
    (),
    ("marginal",),
    ("decoder",),
    ("classifier",),
    ("decoder", "marginal"),
    ("classifier", "marginal"),
    ("decoder", "classifier"),
    FREE,
]


@pytest.mark.parametrize("free", FREEDOMS, ids="+".join)
@pytest.mark.parametrize(("lam", "gam"), [(1.3, 2.0), (0.7, 2.5)])
def test_derivatives_are_the_slopes_of_the_equilibria(
    free: tuple[str, ...], lam: float, gam: float
) -> None:
    a = system(170, free, letters=(4, 3, 3))
    here, found = slopes(a, lam, gam)
    torch.testing.assert_close(a.derivatives(lam, gam), found[:3], rtol=0, atol=1e-8)
    # the laws hold of the finite differences themselves: forces, first law, Maxwell, concavity
    r, d, c, f = found
    torch.testing.assert_close(f, torch.stack([here.D, here.C]), rtol=0, atol=1e-9)
    torch.testing.assert_close(r, -lam * d - gam * c, rtol=0, atol=1e-8)
    assert c[0].item() == pytest.approx(d[1].item(), abs=1e-8)
    assert torch.linalg.eigvalsh(found[1:3])[-1] < 1e-8


@given(seeds, controls, controls)
@settings(max_examples=40, deadline=None)
def test_with_nothing_free_fluctuations_are_the_response(seed: int, lam: float, gam: float) -> None:
    a = system(seed)
    found, expected = a.fluctuation_response(lam, gam), a.derivatives(lam, gam)
    torch.testing.assert_close(found, expected, **CLOSE)  # covariances against a Hessian


def test_with_the_marginal_free_fluctuations_are_not_the_response() -> None:
    a = system(170, ("marginal",), letters=(4, 3, 3))
    exact, fluctuations = slopes(a, 1.3, 2.0)[1][:3], a.fluctuation_response(1.3, 2.0)
    # the marginal follows and makes C_λ 0.46 where the covariance says 0.10; other systems have
    # it the other way round: the sign of the difference is not fixed
    assert exact[2, 0] > 4 * fluctuations[2, 0]
    assert (exact - fluctuations).abs().max() > 0.5
    torch.testing.assert_close(a.derivatives(1.3, 2.0), exact, rtol=0, atol=1e-8)
    # and D and C can only fall the faster for it
    extra = (exact - fluctuations)[1:]
    assert torch.linalg.eigvalsh(extra)[-1] < 1e-8


def test_with_everything_free_there_is_no_two_parameter_surface() -> None:
    a, lam, gam = system(170, FREE, letters=(4, 3, 3)), 0.7, 2.5
    state = a.equilibrium(lam, gam)
    assert state.R > 0.1  # not the trivial point
    assert (state.R + state.D).item() == pytest.approx(discrete_entropy(a.p_x).item(), abs=1e-12)
    # F - H(x) = (λ-1) D + γ C: scaling λ-1 and γ together changes nothing
    far = replace(a, **{name: getattr(state, name) for name in FREE})
    scaled = far.equilibrium(1 + 1.5 * (lam - 1), 1.5 * gam)
    assert scaled.D.item() == pytest.approx(state.D.item(), abs=1e-10)
    assert scaled.C.item() == pytest.approx(state.C.item(), abs=1e-10)
    along = a.derivatives(lam, gam) @ torch.tensor([lam - 1, gam], dtype=torch.float64)
    assert along.abs().max() < 1e-9
    # a frozen decoder is enough for two parameters
    frozen = system(170, ("classifier", "marginal"), letters=(4, 3, 3)).derivatives(lam, gam)
    assert frozen[1:].det().abs() > 1e-4


def excluding(free: tuple[str, ...]) -> Alphabet:
    """A system in which some letters exclude each other."""
    a = system(170, free, letters=(4, 3, 3))
    p_y, decoder, classifier = a.p_y_given_x.clone(), a.decoder.clone(), a.classifier.clone()
    p_y[0] = torch.tensor([0, 1, 0])
    decoder[0, 1], decoder[2, 0], classifier[1, 2] = 0, 0, 0
    decoder, classifier = (p / p.sum(-1, keepdim=True) for p in (decoder, classifier))
    return replace(a, p_y_given_x=p_y, decoder=decoder, classifier=classifier)


@pytest.mark.parametrize("free", FREEDOMS, ids="+".join)
def test_chances_of_zero_are_exact(free: tuple[str, ...]) -> None:
    a = excluding(free)
    here, found = slopes(a, 1.3, 2.0)
    x, z = torch.tensor([[0, 2], [1, 0], [1, 1], [2, 1], [3, 1]]).T
    assert (here.encoder[x, z] == 0).all()
    torch.testing.assert_close(energy(here, 1.3, 2.0), here.F, **CLOSE)
    torch.testing.assert_close(a.derivatives(1.3, 2.0), found[:3], rtol=0, atol=1e-8)
    if not free:
        fluctuations = a.fluctuation_response(1.3, 2.0)
        torch.testing.assert_close(fluctuations, a.derivatives(1.3, 2.0), **CLOSE)


def test_without_controls_the_encoder_is_the_marginal() -> None:
    state = system(0).equilibrium(0, 0)
    torch.testing.assert_close(state.encoder, system(0).marginal.expand(5, 4), **CLOSE)
    assert abs(state.R) < 1e-15
    assert abs(state.F) < 1e-15


def test_at_lambda_zero_a_free_decoder_is_still_the_best() -> None:
    a = system(170, ("decoder",), letters=(4, 3, 3))
    zero, tiny = a.equilibrium(0, 2.5), a.equilibrium(1e-7, 2.5)
    assert zero.D.item() == pytest.approx(tiny.D.item(), abs=1e-6)
    joint = a.p_x * zero.encoder.mT
    torch.testing.assert_close(zero.decoder, joint / joint.sum(-1, keepdim=True), **CLOSE)


@pytest.mark.parametrize("free", [FREE, ("decoder", "marginal"), ("marginal",)], ids="+".join)
def test_a_letter_without_mass_is_as_good_as_absent(free: tuple[str, ...]) -> None:
    a = system(170, free, letters=(4, 3, 3))
    half = torch.tensor([0.5, 0.5, 0], dtype=torch.float64)
    with_it = replace(a, marginal=half)
    without = replace(a, decoder=a.decoder[:2], classifier=a.classifier[:2], marginal=half[:2])
    one, two = with_it.equilibrium(0.7, 2.5), without.equilibrium(0.7, 2.5)
    torch.testing.assert_close(one.encoder[:, :2], two.encoder, **CLOSE)
    assert one.F.item() == pytest.approx(two.F.item(), abs=1e-12)
    assert (one.encoder[:, 2] == 0).all()
    torch.testing.assert_close(one.decoder[2], a.decoder[2])
    found, expected = (s.derivatives(0.7, 2.5) for s in (with_it, without))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_an_infinite_loss_has_no_derivatives() -> None:
    a = excluding(())
    state = a.equilibrium(0, 2.0)  # at λ = 0 the decoder excludes nothing
    assert math.isinf(state.D)
    assert math.isfinite(state.F)
    with pytest.raises(ConfigError, match="D=inf"):
        a.derivatives(0, 2.0)
    with pytest.raises(ConfigError, match="D=inf"):
        a.fluctuation_response(0, 2.0)


def test_an_x_that_no_letter_can_make_is_refused() -> None:
    a = system(0)
    decoder = a.decoder.clone()
    decoder[:, 2] = 0
    a = replace(a, decoder=decoder / decoder.sum(-1, keepdim=True))
    with pytest.raises(ConfigError, match="some possible z"):
        a.equilibrium(1, 1)


def test_too_few_alternations_are_an_error_with_the_remedy() -> None:
    a = replace(system(170, ("marginal",), letters=(4, 3, 3)), max_iterations=3)
    with pytest.raises(NotEquilibrated, match=r"after 3 alternations.*max_iterations"):
        a.equilibrium(1.3, 2.0)


def test_a_symmetric_start_is_a_saddle_and_said_to_be_one() -> None:
    a = system(0, ("decoder",), letters=(3, 2, 2))
    # both letters decode to p(x) and neither tells the class: stationary, but not a minimum
    same = replace(a, decoder=a.p_x.expand(2, 3), classifier=torch.full((2, 2), 0.5).double())
    assert same.equilibrium(2.0, 1.0).R < 1e-15
    with pytest.raises(SolverBreakdown, match="saddle"):
        same.derivatives(2.0, 1.0)


def test_a_jump_of_the_marginal_is_found() -> None:
    # what one letter is better at for the decoder it is worse at for the classifier, so that at
    # λ = γ both are equally good for every x; to one side the marginal is all on the other letter
    better = torch.tensor([[0.6, 0.4], [0.4, 0.6]], dtype=torch.float64)
    a = Alphabet(
        p_x=torch.tensor([0.7, 0.3], dtype=torch.float64),
        p_y_given_x=torch.eye(2, dtype=torch.float64),
        decoder=better,
        classifier=better.flip(0),
        marginal=torch.tensor([0.5, 0.5], dtype=torch.float64),
        free=frozenset({"marginal"}),
    )
    with pytest.raises(SolverBreakdown, match="first-order transition"):
        a.derivatives(1, 1)
    assert a.equilibrium(1.1, 0.9).marginal[0] > 1 - 1e-9
    assert a.equilibrium(0.9, 1.1).marginal[1] > 1 - 1e-9


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"p_x": torch.tensor([0.5, 0.6]).double()}, "p_x.*sum off by 1.0e-01"),
        ({"p_x": torch.tensor([1.5, -0.5]).double()}, "p_x: got -0.5"),
        ({"p_x": torch.tensor([1.0, 0.0]).double()}, "p_x: got 'a zero'"),
        ({"p_x": torch.tensor([0.5, 0.5])}, "float32"),
        ({"marginal": torch.ones(1).double()}, r"decoder: got \(2, 2\)"),
        ({"free": frozenset({"encoder"})}, "encoder"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"max_iterations": 0}, "max_iterations"),
    ],
)
def test_what_is_no_system_is_refused(change: dict[str, Tensor], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        replace(system(0, letters=(2, 2, 2)), **change)


@pytest.mark.parametrize("controls", [(-1.0, 1.0), (1.0, math.inf), (math.nan, 1.0)])
def test_controls_outside_their_range_are_refused(controls: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="0 or more"):
        system(0).equilibrium(*controls)
