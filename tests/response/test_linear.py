"""The linear response against re-relaxed equilibria, dense matrices and exact surfaces."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev
from torch.func import hessian as dense_hessian
from torch.nn.utils import parameters_to_vector

from support import carnot_system
from support.exact_runs import LABELS, NOISE, STILL, make_linear_model, make_system
from support.meeting import on_ranks
from support.numbers import eye, randn
from thermo_pl.datamodules import GaussianDomains
from thermo_pl.errors import ConfigError
from thermo_pl.exact.gaussian import LinearGaussian
from thermo_pl.networks import (
    Categorical,
    CategoricalEncoder,
    CategoricalMarginal,
    ConvDecoder,
    ConvEncoder,
    DiagonalGaussian,
    Gaussian,
    GaussianClassifier,
    GaussianMixture,
    IdentityEncoder,
    LinearClassifier,
    LinearGaussianEncoder,
    Marginal,
    MLPClassifier,
    MLPDecoder,
    MLPEncoder,
    Networks,
    Outputs,
    StandardNormal,
)
from thermo_pl.particles import Particles, Reduction, interpolate
from thermo_pl.response.curvature import (
    PART,
    Curvature,
    gauss_newton,
    graph_bytes,
    hessian,
    part_size,
)
from thermo_pl.response.descent import SOFTER, newton_step
from thermo_pl.response.held_out import slopes_on
from thermo_pl.response.linear import (
    Response,
    ResponseSettings,
    ResponseSystem,
    linear_response,
)
from thermo_pl.response.measurement import accuracy, data_force, latents_in_use, measure
from thermo_pl.response.objective import Objective, Probe, shift_parameters, unflatten
from thermo_pl.response.partials import gradient_of
from thermo_pl.response.slopes import CONTROLS
from thermo_pl.response.solvers import Matvec, Status

SHAPE, CLASSES = (1, 1, 3), 3
T = 0.4
EXACT = ResponseSettings(0, "hessian", 1e-12, 5000)
"""The undamped response of the exact Hessian, solved as far as float64 goes."""

seeds = st.integers(0, 10_000)
few = settings(max_examples=8, deadline=None)  # each example builds graphs: tens of milliseconds


def particles(n: int, seed: int = 0, shape: tuple[int, ...] = SHAPE) -> Particles:
    """Grey images of three classes that move, soft labels that change, uneven weights."""
    label = torch.arange(n) % CLASSES
    ends, labels = [], []
    for end in (0, 1):
        centre = randn(CLASSES, *shape, seed=seed + 100 + 100 * end)[label]
        ends.append((centre + randn(n, *shape, seed=seed + end)).sigmoid())
        score = 2 * nn.functional.one_hot(label, CLASSES) + randn(n, CLASSES, seed=seed + 3 - end)
        labels.append(score.softmax(-1))
    return Particles(*ends, *labels, randn(n, seed=seed + 4).exp())


def randomised(made: Networks, seed: int = 0, scale: float = 1.0) -> Networks:
    """The model in float64, all parameters drawn anew."""
    made.double()
    generator = torch.Generator().manual_seed(seed)
    for p in made.parameters():
        p.data = scale * torch.randn(p.shape, generator=generator, dtype=torch.float64)
    return made


def small(seed: int = 0, **changes: Any) -> Networks:
    """A model of all parts with one hidden layer each."""
    parts: dict[str, Any] = {
        "encoder": MLPEncoder(SHAPE, 2, hidden=(3,)),
        "classifier": MLPClassifier(2, CLASSES, hidden=(3,)),
        "decoder": MLPDecoder(SHAPE, 2, hidden=(3,)),
        "marginal": StandardNormal(2),
        "lam": 1.3,
        "gam": 4.0,
    }
    return randomised(Networks(**(parts | changes)), seed)


def probe_of(made: Networks, n: int, samples: int = 2, seed: int = 0) -> Probe:
    shape = made.encoder.image_shape
    noise = randn(samples, n, made.encoder.latent_dim, seed=seed + 9)
    if made.encoder.exact:
        noise = made.noise(samples, n).double()
    return Probe(particles(n, seed, shape), noise)


def force_of(made: Networks, probe: Probe) -> float:
    """∂_tJ at fixed θ on all draws of a probe."""
    return data_force(made, probe, T, decoded=len(probe.noise)).value


def share_of(probe: Probe, shared: Reduction) -> Probe:
    """The particles of one rank."""
    return probe.take(shared.share)._replace(shared=shared)


def objective_of(made: Networks, n: int = 5, seed: int = 0) -> Objective:
    return Objective(made, probe_of(made, n, seed=seed))


# -- what the tests compare with: written without thermo_pl.response ----------------------------


def forward(made: Networks, theta: Tensor, x: Tensor, noise: Tensor) -> Outputs:
    """The joint output with trainable parameters from a flat vector."""
    pieces, at = {}, 0
    for name, p in made.named_parameters():
        if p.requires_grad:
            pieces[name] = theta[at : at + p.numel()].reshape(p.shape)
            at += p.numel()
    assert at == len(theta)
    return functional_call(made, pieces, (x, noise))


def means_of(made: Networks, probe: Probe, theta: Tensor, t: float) -> Tensor:
    """R, D and C."""
    p = probe.particles
    x, y = (1 - t) * p.source + t * p.target, (1 - t) * p.source_label + t * p.target_label
    share = p.weight / p.weight.sum()
    terms = made.terms(forward(made, theta, x, probe.noise), x, y)
    return torch.stack([term @ share for term in terms])


def flat(made: Networks) -> Tensor:
    return torch.cat([p.detach().flatten() for p in made.parameters() if p.requires_grad])


class Point(NamedTuple):
    """A place in the space of the controls."""

    lam: float
    gam: float
    t: float


def energy(made: Networks, probe: Probe, at: Point) -> Callable[[Tensor], Tensor]:
    """J as a function of θ."""
    weights = torch.tensor([1.0, at.lam, at.gam], dtype=torch.float64)
    return lambda theta: weights @ means_of(made, probe, theta, at.t)


def newton(j: Callable[[Tensor], Tensor], theta: Tensor) -> Tensor:
    """The minimum of J near θ, by L-BFGS and then Newton's steps without the null directions."""
    theta = theta.clone().requires_grad_()
    lbfgs = torch.optim.LBFGS([theta], max_iter=400, line_search_fn="strong_wolfe")
    lbfgs.param_groups[0].update(tolerance_grad=1e-5, tolerance_change=0, history_size=50)

    def closure() -> Tensor:
        lbfgs.zero_grad()
        loss = j(theta)
        loss.backward()
        return loss

    lbfgs.step(closure)
    at = theta.detach()
    for _ in range(12):
        slope = grad(j)(at)
        if slope.norm() < 1e-12:
            return at
        at = at - torch.linalg.pinv(dense_hessian(j)(at), rtol=1e-10, hermitian=True) @ slope
    raise AssertionError(f"no equilibrium: gradient norm {slope.norm():.1e}")


@cache
def equilibrium(case: str) -> tuple[Networks, Probe]:
    """A model at the equilibrium of its probe; the tests must leave it as it is."""
    made = randomised(CASES[case]())
    if case == "frozen classifier":  # a softmax has null directions
        made.classifier.requires_grad_(False)
    probe = probe_of(made, 32)
    at = Point(made.lam.item(), made.gam.item(), T)
    theta = newton(energy(made, probe, at), flat(made))
    nn.utils.vector_to_parameters(theta, [p for p in made.parameters() if p.requires_grad])
    return made, probe


def relaxed(made: Networks, probe: Probe, at: Point, inverse: Tensor) -> Tensor:
    """θ at the equilibrium of nearby controls, by steps with a fixed inverse of the Hessian."""
    j, theta = grad(energy(made, probe, at)), flat(made)
    for _ in range(40):
        slope = j(theta)
        if slope.norm() < 2e-13:
            break
        theta = theta - inverse @ slope
    assert slope.norm() < 1e-11
    return theta


class Change(NamedTuple):
    """Derivatives along the surface of equilibria, by differences."""

    theta: Tensor
    means: Tensor


def differences(
    made: Networks, probe: Probe, name: str, inverse: Tensor, seen_on: Probe | None = None
) -> Change:
    """Central differences of relaxed equilibria in one control, extrapolated (Richardson)."""
    seen_on = seen_on or probe
    here = Point(made.lam.item(), made.gam.item(), T)
    step = 4e-3 * getattr(here, name)

    def central(h: float) -> list[Tensor]:
        values = []
        for sign in (1, -1):
            at = here._replace(**{name: getattr(here, name) + sign * h})
            theta = relaxed(made, probe, at, inverse)
            values.append((theta, means_of(made, seen_on, theta, at.t)))
        return [(up - down) / (2 * h) for up, down in zip(*values, strict=True)]

    return Change(*((4 * b - a) / 3 for a, b in zip(central(step), central(step / 2), strict=True)))


# -- the contract -------------------------------------------------------------------------------


def linear(k: int, marginal: Any, **decoder: Any) -> Networks:
    """Linear networks, lively enough to be away from every symmetric point."""
    parts = MLPEncoder(SHAPE, k, hidden=()), LinearClassifier(k, CLASSES)
    made = MLPDecoder(SHAPE, k, hidden=(), **decoder)
    return Networks(*parts, made, marginal, lam=1.5, gam=3.0)


CASES: dict[str, Callable[[], Networks]] = {
    "frozen classifier": lambda: linear(2, StandardNormal(2)),
    "Bernoulli": lambda: linear(2, StandardNormal(2)),
    "Gaussian": lambda: linear(2, StandardNormal(2), likelihood=Gaussian(0.05)),
    "learned marginal": lambda: linear(1, DiagonalGaussian(1), likelihood=Gaussian(0.05)),
    "mixture": lambda: linear(1, GaussianMixture(1, 2), likelihood=Gaussian(0.05)),
    "logistic regression": lambda: Networks(
        IdentityEncoder(SHAPE), LinearClassifier(3, CLASSES), lam=0.0, gam=2.0
    ),
}
NULL = {
    # a common shift of all class scores: one for each input of the classifier, one for its bias
    "frozen classifier": 0,
    "Bernoulli": 3,
    "Gaussian": 3,
    "logistic regression": 4,
    # and z may be shifted and stretched; of the mixture's weights, too, only differences count
    "learned marginal": 4,
    "mixture": 5,
}
"""Directions in which J does not change, of each case."""
FAST = ("frozen classifier", "logistic regression")


@pytest.mark.parametrize(
    "case", [c if c in FAST else pytest.param(c, marks=pytest.mark.slow) for c in CASES]
)
def test_the_response_is_that_of_relaxed_equilibria(case: str) -> None:
    made, probe = equilibrium(case)
    j = energy(made, probe, Point(made.lam.item(), made.gam.item(), T))
    matrix = dense_hessian(j)(flat(made))
    values, vectors = torch.linalg.eigh(matrix)
    assert values[0] > -1e-10
    null = vectors[:, values < 1e-10]  # the others are larger than 1e-5
    assert null.shape[1] == NULL[case]
    inverse = torch.linalg.pinv(matrix, rtol=1e-10, hermitian=True)

    response = linear_response(Objective(made, probe), T, EXACT)
    # J = γC has its minimum where C has: there ∇C is nothing but rounding
    names = ["t"] if case == "logistic regression" else Point._fields
    columns = [CONTROLS.index(name) for name in names]
    assert (response.solution.residual[columns] <= 1e-12).all()
    # so is the fourth right-hand side, the gradient
    assert abs(response.stationarity) < 1e-13
    if NULL[case] == 0:
        assert response.solution.status is Status.CONVERGED
    if case == "Gaussian":
        # of the gradient, which is rounding, much lies in the null directions: it ends nothing
        loose = linear_response(
            Objective(made, probe), T, ResponseSettings(0, "hessian", 1e-6, 5000)
        )
        assert loose.solution.status is Status.CONVERGED
        assert abs(loose.stationarity) < 1e-13
    for name in names:
        column = CONTROLS.index(name)
        found, expected = response.directions[column], differences(made, probe, name, inverse)
        slopes = response.slopes.tensor()[:, column]
        # from a zero start the response has no part in the null directions; nor has, at first
        # order, the relaxation
        scale = max(expected.theta.norm().item(), 1e-3)
        assert (found - expected.theta).norm() <= 1e-6 * scale, name
        assert (null.T @ found).norm() <= 1e-9 * max(found.norm().item(), 1)
        scale = max(expected.means.abs().max().item(), 1e-3)
        assert (slopes - expected.means).abs().max() <= 1e-6 * scale, name
    assert response.directions[CONTROLS.index("t")].norm() > 1e-2  # the data do move


def test_slopes_on_held_out_particles_are_those_of_relaxed_equilibria() -> None:
    made, probe = equilibrium("frozen classifier")
    j = energy(made, probe, Point(made.lam.item(), made.gam.item(), T))
    inverse = torch.linalg.pinv(dense_hessian(j)(flat(made)), rtol=1e-10, hermitian=True)
    response = linear_response(Objective(made, probe), T, EXACT)
    held_out = probe_of(made, 12, samples=3, seed=5)
    found = slopes_on(Objective(made, held_out), T, response.directions).tensor()
    for name in Point._fields:
        expected = differences(made, probe, name, inverse, held_out).means
        column = CONTROLS.index(name)
        assert (found[:, column] - expected).abs().max() <= 1e-6 * expected.abs().max(), name
        # other particles, other slopes
        assert (response.slopes.tensor()[:, column] - expected).abs().max() > 1e-2, name
    in_parts = slopes_on(Objective(made, held_out), T, response.directions, memory=1).tensor()
    torch.testing.assert_close(in_parts, found)
    # the data term is not small: without it the third column would be another
    assert abs(force_of(made, probe)) > 1e-2


# -- curvature against dense matrices -----------------------------------------------------------

CONV = (1, 4, 3)
MODELS: dict[str, Callable[[], Networks]] = {
    "all parts": small,
    "Gaussian pixels": lambda: small(
        decoder=MLPDecoder(SHAPE, 2, hidden=(3,), likelihood=Gaussian(0.2))
    ),
    "learned pixel variance": lambda: small(
        decoder=MLPDecoder(SHAPE, 2, hidden=(3,), likelihood=Gaussian(0.2, learned=True))
    ),
    "a learned variance of each pixel": lambda: small(
        decoder=MLPDecoder(SHAPE, 2, (), Gaussian(0.2, learned=True, per_feature=True))
    ),
    "codes": lambda: small(
        encoder=CategoricalEncoder(SHAPE, 3, hidden=(3,)),
        classifier=MLPClassifier(3, CLASSES, hidden=(3,)),
        decoder=MLPDecoder(SHAPE, 3, hidden=(3,), likelihood=Categorical()),
        marginal=CategoricalMarginal(3),
    ),
    "learned marginal": lambda: small(marginal=DiagonalGaussian(2)),
    "mixture": lambda: small(marginal=GaussianMixture(2, 3)),
    "no decoder": lambda: small(decoder=None, lam=0.0),
    "no classifier": lambda: small(classifier=None, gam=0.0, marginal=GaussianMixture(2, 2)),
    "neither": lambda: small(decoder=None, classifier=None, lam=0.0, gam=0.0),
    "no latent": lambda: small(
        encoder=IdentityEncoder(SHAPE),
        classifier=MLPClassifier(3, CLASSES, hidden=(3,)),
        decoder=None,
        marginal=None,
        lam=0.0,
    ),
    "one diagonal block": lambda: small(
        encoder=IdentityEncoder(SHAPE),
        classifier=GaussianClassifier(3, CLASSES, 0.3),
        decoder=None,
        marginal=None,
        lam=0.0,
    ),
    "conv": lambda: small(
        encoder=ConvEncoder(CONV, 2, channels=(2, 2)), decoder=ConvDecoder(CONV, 2, channels=(2, 2))
    ),
    "frozen parts": lambda: frozen(small(marginal=DiagonalGaussian(2))),
    "frozen encoder": lambda: frozen(small(marginal=GaussianMixture(2, 2)), "encoder"),
    "vector labels": lambda: small(
        encoder=LinearGaussianEncoder(SHAPE, 2), classifier=GaussianClassifier(2, CLASSES, 0.3)
    ),
    "linear heads": lambda: small(
        classifier=LinearClassifier(2, CLASSES), decoder=MLPDecoder(SHAPE, 2, (), Gaussian(0.2))
    ),
    "whitened and turning": lambda: shown(
        small(
            encoder=MLPEncoder(SHAPE, 2, hidden=(3,), whiten=True),
            classifier=LinearClassifier(2, CLASSES),
            turning=True,
        )
    ),
    "linear heads, turning": lambda: small(
        classifier=LinearClassifier(2, CLASSES),
        decoder=MLPDecoder(SHAPE, 2, (), Gaussian(0.2, learned=True)),
        turning=True,
    ),
}


class Unknown(MLPDecoder):
    """A decoder that nobody knows to be linear, so that D is a mean over draws."""

    def forward(self, z: Tensor) -> Tensor:
        """As it was."""
        return super().forward(z)


def with_moments_of_a_normal(probe: Probe) -> Probe:
    """The probe with noise ±√k e_i: means over it are exact for quadratics."""
    k = probe.noise.shape[-1]
    points = torch.cat([eye(k), -eye(k)]) * math.sqrt(k)
    return probe._replace(noise=points[:, None].repeat(1, len(probe.particles.weight), 1))


def at_draws(made: Networks, probe: Probe) -> tuple[Networks, Probe]:
    """The same model and probe with D at draws, where it has a closed form."""
    if made.decoder is None or made.decoder.layer is None:
        return made, probe
    other = deepcopy(made)
    other.decoder = Unknown(SHAPE, 2, (), other.decoder.likelihood).double()
    other.decoder.load_state_dict(made.decoder.state_dict())
    return other, with_moments_of_a_normal(probe)


def shown(made: Networks) -> Networks:
    """The model with an encoder that has seen the moments of some data."""
    covariance = randn(3, 3) @ randn(3, 3).T + eye(3)
    made.encoder.whitening.learn(randn(3), covariance)
    return made


def frozen(made: Networks, part: str = "") -> Networks:
    """The model with a part, or its classifier and the first layer of its encoder, fixed."""
    if part:
        getattr(made, part).requires_grad_(False)
        return made
    made.classifier.requires_grad_(False)
    made.encoder.net[0].requires_grad_(False)
    return made


def dense_gauss_newton(made: Networks, probe: Probe, t: float) -> Tensor:
    """UᵀHU, U and H by themselves and in full.

    With a learned Gaussian marginal N(a, b²) the encoder's output is ((m-a)/b, log s²/b²).
    """
    p = probe.particles
    x, y = (1 - t) * p.source + t * p.target, (1 - t) * p.source_label + t * p.target_label
    share = p.weight / p.weight.sum()
    theta = flat(made)
    shapes: list[torch.Size] = []
    learned = isinstance(made.marginal, DiagonalGaussian)

    def outputs(theta: Tensor) -> Tensor:
        out = forward(made, theta, x, probe.noise)
        parts = [*out.posterior, out.z, out.decoded, out.logits, *out.direct.values()]
        if learned:
            a, log_var = out.direct["marginal.mean"], out.direct["marginal.log_var"]
            parts[:2] = [(parts[0] - a) / torch.exp(log_var / 2), parts[1] - log_var]
        shapes[:] = [part.shape for part in parts]
        return torch.cat([part.flatten() for part in parts])

    def loss(joint: Tensor) -> Tensor:
        pieces = joint.split([shape.numel() for shape in shapes])
        parts = [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)]
        direct = dict(zip(names, parts[size + 3 :], strict=True))
        if learned:
            a, log_var = direct["marginal.mean"], direct["marginal.log_var"]
            parts[:2] = [a + parts[0] * torch.exp(log_var / 2), parts[1] + log_var]
        posterior = made.encoder.family(*parts[:size])
        joint = Outputs(posterior, *parts[size : size + 3], direct)
        rate, distortion, loss = made.terms(joint, x, y)
        return (rate + made.lam * distortion + made.gam * loss) @ share

    size = len(made.encoder.family._fields)
    names = list(made(x, probe.noise).direct)
    derivative = jacrev(outputs)(theta)
    return derivative.T @ dense_hessian(loss)(outputs(theta)) @ derivative


@pytest.mark.parametrize("name", MODELS)
def test_gauss_newton_products_equal_the_dense_matrix(name: str) -> None:
    made = MODELS[name]()
    drawn, probe = at_draws(made, probe_of(made, 4, samples=3))
    expected = dense_gauss_newton(drawn, probe, T)
    found = gauss_newton(Objective(made, probe), T)(eye(len(expected)))
    assert expected.abs().max() > 1e-2
    # float64 sums of a few hundred terms
    assert (found - expected).abs().max() <= 1e-12 * expected.abs().max()


@pytest.mark.parametrize("name", ["all parts", "frozen parts", "no latent", "codes"])
def test_pixels_that_are_empty_in_all_images_change_nothing(name: str) -> None:
    made = MODELS[name]()
    probe = probe_of(made, 6)
    for image in probe.particles[:2]:
        image[..., 0] = 0
    expected = dense_gauss_newton(made, probe, T)
    found = gauss_newton(Objective(made, probe), T)(eye(len(expected)))
    assert (found - expected).abs().max() <= 1e-12 * expected.abs().max()


@pytest.mark.parametrize("name", MODELS)
def test_hessian_products_equal_the_dense_matrix(name: str) -> None:
    made = MODELS[name]()
    drawn, probe = at_draws(made, probe_of(made, 4, samples=3))
    j = energy(drawn, probe, Point(made.lam.item(), made.gam.item(), T))
    expected = dense_hessian(j)(flat(made))
    found = hessian(Objective(made, probe), T)(eye(len(expected)))
    assert expected.abs().max() > 1e-2
    assert (found - expected).abs().max() <= 1e-12 * expected.abs().max()


@pytest.mark.parametrize("make", [gauss_newton, hessian])
@pytest.mark.parametrize("name", MODELS)
def test_parts_of_a_probe_add_up_to_the_whole(
    name: str, make: Callable[..., Matvec], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = MODELS[name]()
    objective = objective_of(made, n=11)
    rows = randn(2, len(objective.theta), seed=3)
    whole = make(objective, T)(rows)
    # four particles at once; the first part is kept, and the other two are built again
    monkeypatch.setattr("thermo_pl.response.curvature.part_size", lambda *_: 4)
    monkeypatch.setattr("thermo_pl.response.curvature._parts_kept", lambda _: 1)
    product = make(objective, T)
    # the whole at once, and again, and row by row
    for found in (product(rows), product(rows), torch.cat([product(row[None]) for row in rows])):
        assert (found - whole).abs().max() <= 1e-12 * whole.abs().max()


@pytest.mark.parametrize("make", [gauss_newton, hessian])
def test_products_shared_out_over_ranks_equal_the_dense_matrix(
    make: Callable[[Objective, float], Matvec],
) -> None:
    made = MODELS["all parts"]()
    probe = probe_of(made, 7, samples=3)  # three particles, two and two
    j = energy(made, probe, Point(made.lam.item(), made.gam.item(), T))
    expected = (
        dense_gauss_newton(made, probe, T) if make is gauss_newton else dense_hessian(j)(flat(made))
    )
    rows = eye(len(expected))

    def product(shared: Reduction) -> Tensor:
        return make(Objective(deepcopy(made), share_of(probe, shared)), T)(rows)

    found = on_ranks(3, product)
    assert all(torch.equal(one, found[0]) for one in found)
    assert (found[0] - expected).abs().max() <= 1e-12 * expected.abs().max()


@pytest.mark.parametrize("changes", [{}, {"curvature": "hessian", "damping": 100.0}, {"rank": 8}])
def test_ranks_that_share_a_probe_find_its_response_and_state(changes: dict[str, Any]) -> None:
    probe, other = probe_of(small(), 8), probe_of(small(), 7, seed=50)
    chosen = ResponseSettings(
        **{"damping": 0.3, "tolerance": 1e-12, "max_iterations": 900} | changes
    )

    def found(shared: Reduction) -> tuple[Tensor, ...]:
        made = small()  # a rank has networks of its own
        here, witness = (share_of(each, shared) for each in (probe, other))
        response = linear_response(Objective(made, here), T, chosen, Objective(made, witness))
        held = slopes_on(Objective(made, witness), T, response.directions)
        state, force = measure(made, here, T, decoded=2), data_force(made, here, T, decoded=2)
        terms = [state.rate, state.distortion, state.classification, state.free_energy, force]
        numbers = [part for term in terms for part in (term.value, term.error)]
        hits = accuracy(made, interpolate(here.particles, T), shared)
        numbers += [response.stationarity, hits, latents_in_use(made, here, T), here.draws]
        told = torch.tensor(numbers, dtype=torch.float64)
        return response.directions, response.slopes.tensor(), held.tensor(), told

    whole, shares = found(Reduction()), on_ranks(3, found)
    for share in shares:
        assert all(map(torch.equal, share, shares[0]))
        for here, there in zip(share, whole, strict=True):
            # residuals of 1e-12 over a damping of 0.3
            torch.testing.assert_close(here, there, rtol=1e-9, atol=1e-10)


def test_a_graph_that_was_measured_is_freed() -> None:
    objective = objective_of(small(), n=11)

    def tensors_alive() -> int:
        graph_bytes(objective, T)
        gc.collect()
        return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())

    before = tensors_alive()
    assert [tensors_alive() for _ in range(2)] == [before, before]


@pytest.mark.parametrize("damping", [0.3, 3.0])
def test_a_response_in_bounded_memory_is_the_response(
    damping: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, witness = small(), objective_of(small(), n=7, seed=1)
    objective, settings = objective_of(made, n=11), ResponseSettings(damping, tolerance=1e-11)
    settings.max_iterations = 1000
    whole = linear_response(objective, T, settings, witness)
    for where in ("curvature", "partials"):
        monkeypatch.setattr(f"thermo_pl.response.{where}.part_size", lambda *_: 4)
    found = linear_response(objective, T, settings, witness)
    torch.testing.assert_close(found.directions, whole.directions, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(found.slopes.tensor(), whole.slopes.tensor(), rtol=1e-8, atol=1e-9)
    assert found.stationarity == pytest.approx(whole.stationarity, rel=1e-8)


def test_more_memory_is_larger_parts() -> None:
    shape = (1, 16, 16)
    made = Networks(
        MLPEncoder(shape, 4, (300,)), LinearClassifier(4, CLASSES), MLPDecoder(shape, 4, (300,)),
        StandardNormal(4),
    ).double()  # fmt: skip
    objective = Objective(made, probe_of(made, 2000, samples=1))
    sizes = [part_size(objective, T, memory) for memory in (1, 8, 64, 16 * PART, 10_000)]
    assert sizes[:-1] == sorted(set(sizes))  # each larger than the one before
    assert sizes[-1] == sizes[-2]
    # what is saved for each particle at the least: the image and the activations before and
    # after each SiLU; and at the most a few dozen such vectors
    least, most = 8 * (256 + 4 * 300), 8 * 50 * (256 + 300)
    assert 2**20 / 16 / most <= sizes[0] <= 2**20 / 16 / least
    # parts of equal size
    assert {len(part) for part in objective.parts(sizes[1])[:-1]} == {sizes[1]}


def test_parts_and_subsets_of_an_objective() -> None:
    objective = objective_of(small(), n=11)
    theta, weight = objective.theta, objective.probe.particles.weight
    whole = objective.means(theta, T)
    parts = objective.parts(4)
    assert [len(part) for part in parts] == [4, 4, 3]
    torch.testing.assert_close(sum(part.means(theta, T) for part in parts), whole)
    assert objective.parts(11) == [objective]
    index = torch.tensor([7, 2, 9])
    terms = objective.terms_of(objective.outputs(theta, T), T)[:, index]
    expected = (terms * weight[index]).sum(1) / weight[index].sum()
    torch.testing.assert_close(objective.subset(index).means(theta, T), expected)


def test_the_precision_of_a_solve_is_not_that_of_the_model() -> None:
    exact = objective_of(frozen(small()))
    rows = randn(2, len(exact.theta), seed=3)
    made = frozen(small()).float()
    single = Objective(made, Probe(*exact.probe), torch.float32)
    double = Objective(made, single.probe, torch.float64)
    assert (single.theta.dtype, double.theta.dtype) == (torch.float32, torch.float64)
    expected = gauss_newton(exact, T)(rows)
    scale = expected.abs().max()
    found = gauss_newton(double, T)(rows)
    assert found.dtype == torch.float64
    # the parameters and the probe were rounded to single precision, the arithmetic was not
    assert (found - expected).abs().max() < 1e-5 * scale
    again = gauss_newton(single, T)(rows.float())
    assert again.dtype == torch.float32
    assert 1e-9 * scale < (again.double() - found).abs().max() < 1e-5 * scale
    assert made.dtype == torch.float32  # only read


@few
@given(
    seeds,
    st.sampled_from(["all parts", "Gaussian pixels", "no decoder", "no classifier"]),
    st.sampled_from([StandardNormal, DiagonalGaussian]),
)
def test_gauss_newton_is_positive_semi_definite(
    seed: int, name: str, marginal: type[Marginal]
) -> None:
    made = MODELS[name]()
    made.marginal = marginal(2)  # the rate is then convex in the encoder's output, seen from q(z)
    randomised(made, seed)
    objective = objective_of(made, seed=seed)
    matrix = gauss_newton(objective, T)(eye(len(objective.theta)))
    values = torch.linalg.eigvalsh(matrix)
    assert values[0] >= -1e-10 * max(values[-1].item(), 1)  # rounding, of the largest
    assert (matrix - matrix.T).abs().max() <= 1e-12 * values[-1]


@pytest.mark.parametrize("curvature", ["gauss_newton", "hessian"])
def test_the_response_equals_a_dense_solve(curvature: Curvature) -> None:
    made, witness = small(), probe_of(small(), 6, seed=50)
    probe = probe_of(made, 5)
    damping = 0.3 if curvature == "gauss_newton" else 100.0  # above the most negative eigenvalue
    theta = flat(made)
    here = Point(1.3, 4.0, T)
    matrix = {
        "gauss_newton": lambda: dense_gauss_newton(made, probe, T),
        "hessian": lambda: dense_hessian(energy(made, probe, here))(theta),
    }[curvature]()
    matrix = matrix + damping * eye(len(theta))
    assert torch.linalg.eigvalsh(matrix).min() > 0.1
    jacobian = jacrev(lambda v: means_of(made, probe, v, T))(theta)
    # ∂_t of the gradient by differences of second order, extrapolated: h⁴ = 1e-12

    def slope(t: float) -> Tensor:
        return grad(energy(made, probe, here._replace(t=t)))(theta)

    def central(h: float) -> Tensor:
        return (slope(T + h) - slope(T - h)) / (2 * h)

    moved = (4 * central(5e-4) - central(1e-3)) / 3
    rhs = torch.stack([-jacobian[1], -jacobian[2], -moved])
    expected = torch.linalg.solve(matrix, rhs.T).T
    made_settings = ResponseSettings(damping, curvature, 1e-12, 1000)
    response = linear_response(Objective(made, probe), T, made_settings)
    assert response.solution.status is Status.CONVERGED
    # rounding of the differences, 1e-16 / h, is 1e-12 of a number of order one
    torch.testing.assert_close(response.directions, expected, rtol=1e-7, atol=1e-9)
    system, motion = (
        ResponseSystem(Objective(made, probe), T, made_settings, None),
        (0.2, -0.3, 0.4),
    )
    drive, *_ = system.drive(motion, torch.zeros_like(theta))
    torch.testing.assert_close(drive, theta.new_tensor(motion) @ expected, rtol=1e-7, atol=1e-9)
    explicit = (
        means_of(made, probe, theta, T + 1e-5) - means_of(made, probe, theta, T - 1e-5)
    ) / 2e-5
    slopes = jacobian @ expected.T
    slopes[:, 2] += explicit
    torch.testing.assert_close(response.slopes.tensor(), slopes, rtol=1e-7, atol=1e-8)
    gradient = slope(T)
    newton = torch.linalg.solve(matrix, gradient)
    torch.testing.assert_close(response.newton, newton, rtol=1e-7, atol=1e-9)
    decrement = 0.5 * gradient @ newton
    assert max(response.residuals) <= 1e-12
    assert response.stationarity == pytest.approx(decrement.item(), rel=1e-9)
    other = grad(energy(made, witness, here))(theta)
    response = linear_response(Objective(made, probe), T, made_settings, Objective(made, witness))
    decrement = 0.5 * other @ torch.linalg.solve(matrix, gradient)
    assert response.stationarity == pytest.approx(decrement.item(), rel=1e-9)


@pytest.mark.parametrize(
    "changes", [{"solver": "minres"}, {"solver": "dense"}, {"rank": 8}, {"rank": 200}]
)
def test_every_solver_gives_the_same_response(changes: dict[str, Any]) -> None:
    objective, witness = objective_of(small(), n=9), objective_of(small(), seed=1)
    common = {"damping": 0.1, "tolerance": 1e-10, "max_iterations": 2000}
    plain = linear_response(objective, T, ResponseSettings(**common), witness)
    found = linear_response(objective, T, ResponseSettings(**common, **changes), witness)
    assert found.solution.status is plain.solution.status is Status.CONVERGED
    # a residual of 1e-10 over a damping of 0.1
    scale = plain.directions.abs().max().item()
    assert (found.directions - plain.directions).abs().max() < 1e-8 * scale
    torch.testing.assert_close(found.slopes.tensor(), plain.slopes.tensor(), rtol=1e-7, atol=1e-7)
    assert found.stationarity == pytest.approx(plain.stationarity, rel=1e-7)


def test_preconditioned_responses_need_fewer_products() -> None:
    objective = objective_of(small(), n=40)
    common = {"damping": 1e-3, "tolerance": 1e-3, "max_iterations": 2000}
    plain, found = (
        linear_response(objective, T, ResponseSettings(**common, rank=rank)) for rank in (0, 30)
    )
    assert found.solution.iterations < plain.solution.iterations / 2
    # the sketch is on all forty: a linearisation and thirty products more
    expected = 6 + 1 + found.solution.products + 1 + 30
    assert found.gradients == expected


def test_a_response_starts_from_the_last_one() -> None:
    made = small()
    objective, settings = objective_of(made, n=9), ResponseSettings(0.1, max_iterations=500)
    last = linear_response(objective, T, settings)
    moved = linear_response(objective, T + 1e-4, settings, start=last.solution.x)
    cold = linear_response(objective, T + 1e-4, settings)
    assert moved.solution.iterations < cold.solution.iterations
    assert moved.solution.status is Status.CONVERGED


def test_negative_curvature_is_told() -> None:
    objective = objective_of(small())
    matrix = hessian(objective, T)(eye(len(objective.theta)))
    assert torch.linalg.eigvalsh(matrix).min() < -1e-2
    response = linear_response(objective, T, EXACT)
    assert response.solution.status is Status.NEGATIVE_CURVATURE
    assert response.directions.isfinite().all()
    assert response.slopes.tensor().isfinite().all()


# -- exact surfaces -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "covariances", "labels", "noise", "lam"),
    [
        # fewer latents than pixels, so that D and C feel the data
        (carnot_system.LEGS[0], carnot_system.COVARIANCES[:2], carnot_system.LABELS,
         carnot_system.NOISE, 1.2),
        # one of three latents switched off, and nothing moves
        (make_system(STILL), STILL, LABELS, NOISE, 0.5),
    ],
    ids=["moving", "a latent switched off"],
)  # fmt: skip
def test_response_of_the_exact_surface(
    system: LinearGaussian, covariances: Any, labels: Any, noise: Any, lam: float
) -> None:
    at = Point(lam, 2.0, T)
    assert system.active_latents(*at) == 2
    made = make_linear_model(system, at.lam, at.gam).double()
    ends = GaussianDomains(covariances, labels, noise).coupling("train").all()
    probe = Probe(ends, made.noise(1, len(ends.weight)))
    shift_parameters(made, newton(energy(made, probe, at), flat(made)) - flat(made))
    measured = measure(made, probe, T, decoded=len(probe.noise))
    values = [measured.rate, measured.distortion, measured.classification, measured.free_energy]
    assert [part.value for part in values] == pytest.approx([*system.state(*at)], abs=1e-12)
    assert force_of(made, probe) == pytest.approx(system.forces(*at)[2].item(), abs=1e-12)
    found = linear_response(Objective(made, probe), T, EXACT).slopes.tensor()
    torch.testing.assert_close(found, system.derivatives(*at), rtol=0, atol=1e-9)


# -- damping ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [{}, {"rank": 10}, {"solver": "dense"}, {"solver": "minres", "curvature": "hessian"}],
    ids=str,
)
def test_a_damping_for_each_parameter(changes: dict[str, Any]) -> None:
    objective = objective_of(small())
    damping = 10 * randn(len(objective.theta), seed=2).exp()
    settings = ResponseSettings("auto", tolerance=1e-10, max_iterations=1000, **changes)
    found = linear_response(objective, T, settings, damping=damping)
    assert found.solution.status is Status.CONVERGED
    operator = hessian if changes.get("curvature") else gauss_newton
    matrix = operator(objective, T)(eye(len(damping))) + damping.diag()
    slopes = jacrev(lambda v: means_of(objective.model, objective.probe, v, T))(objective.theta)
    expected = torch.linalg.solve(matrix, -slopes[1:].T).T
    torch.testing.assert_close(found.directions[:2], expected, rtol=1e-6, atol=1e-8)
    # the same start is taken in the same units
    again = linear_response(objective, T, settings, start=found.solution.x, damping=damping)
    if "solver" not in changes:
        assert again.solution.iterations == 1
    # one number for all is one number
    number = ResponseSettings(7.0, tolerance=1e-10, max_iterations=1000, **changes)
    same = linear_response(objective, T, settings, damping=torch.full_like(damping, 7.0))
    torch.testing.assert_close(
        same.directions, linear_response(objective, T, number).directions, rtol=1e-6, atol=1e-8
    )


def test_a_damping_for_each_parameter_is_given_where_it_is_asked_for() -> None:
    objective = objective_of(small())
    damping = torch.ones_like(objective.theta)
    for chosen, damped, message in (
        (ResponseSettings("auto"), None, "damping: got None; allowed: one for each parameter"),
        (ResponseSettings(1.0), damping, "allowed: none, as response.damping is a number"),
        (ResponseSettings("auto"), damping[1:], "allowed: one for each parameter"),
        (ResponseSettings("auto"), 0 * damping, "damping: got 0.0; allowed: finite numbers > 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            linear_response(objective, T, chosen, damping=damped)


# -- measurement --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_measurement_is_the_direct_computation_and_its_t_derivative(name: str) -> None:
    made = MODELS[name]()
    probe = probe_of(made, 7)
    found = measure(made, probe, T, decoded=len(probe.noise))
    theta = flat(made)
    means = means_of(made, probe, theta, T)
    terms = [found.rate, found.distortion, found.classification]
    assert [term.value for term in terms] == pytest.approx(means.tolist(), rel=1e-13, abs=1e-13)
    rate, distortion, loss = means.tolist()
    value = rate + made.lam.item() * distortion + made.gam.item() * loss
    assert found.free_energy.value == pytest.approx(value, rel=1e-13)

    def central(h: float) -> Tensor:
        up, down = (means_of(made, probe, theta, T + s * h) for s in (1, -1))
        return (up - down) / (2 * h)

    # fourth order in h after extrapolation: 1e-12 times a fifth derivative of order 100
    slopes = (4 * central(5e-4) - central(1e-3)) / 3
    weights = torch.tensor([1, made.lam.item(), made.gam.item()], dtype=torch.float64)
    expected = (weights @ slopes).item()
    assert force_of(made, probe) == pytest.approx(expected, rel=1e-8, abs=1e-9)


# -- stationarity -------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_independent_witness_takes_the_noise_floor_away() -> None:
    # at the optimum of the population the gradient on a probe is noise, and nothing else
    covariance = torch.tensor([[2.0, 0.4], [0.4, 1.2]], dtype=torch.float64)
    nothing = torch.zeros(2, 2), torch.zeros(2, 2)
    system = LinearGaussian(covariance, None, *nothing, 0.5, 0.3, latent_dim=2)
    made = make_linear_model(system, 1.0, 0.0).double()
    root = torch.linalg.cholesky(covariance)
    count, n = 80, 40

    def draw(seed: int) -> Objective:
        x = (randn(n, 2, seed=seed) @ root.T).reshape(n, 1, 1, 2)
        nothing = x.new_zeros(n, 2)
        probe = Probe(
            Particles(x, x, nothing, nothing, x.new_ones(n)), randn(1, n, 2, seed=seed + 1)
        )
        return Objective(made, probe)

    settings = ResponseSettings(damping=0.1, tolerance=1e-2)
    alone, witnessed = [], []
    for i in range(count):
        solving, other = draw(10_000 + 4 * i), draw(10_002 + 4 * i)
        alone.append(linear_response(solving, T, settings).stationarity)
        witnessed.append(linear_response(solving, T, settings, other).stationarity)
    for values, floor in ((torch.tensor(alone), True), (torch.tensor(witnessed), False)):
        error = values.std() / math.sqrt(count)
        # a mean of zero is four standard errors away for one seed in 16,000
        assert (values.mean() > 10 * error) if floor else (values.mean().abs() < 4 * error)
    assert min(alone) > 0
    assert abs(torch.tensor(witnessed).mean()) < 0.1 * torch.tensor(alone).mean()


# -- what is left alone -------------------------------------------------------------------------


def test_measuring_and_solving_leave_everything_else_as_it_was() -> None:
    made = small()
    made.classifier.net[0].weight.grad = torch.ones_like(made.classifier.net[0].weight)
    probe, witness = probe_of(made, 5), objective_of(made, seed=1)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    inputs = [part.clone() for part in (*probe.particles, probe.noise)]
    objective, state = Objective(made, probe), torch.get_rng_state()
    theta = objective.theta.clone()
    measure(made, probe, T, decoded=1)
    data_force(made, probe, T, decoded=1)
    for curvature in ("gauss_newton", "hessian"):
        settings = ResponseSettings(damping=50.0, curvature=curvature)  # type: ignore[arg-type]
        response = linear_response(objective, T, settings, witness)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(made.state_dict()[name], value) for name, value in before.items())
    assert all(map(torch.equal, inputs, (*probe.particles, probe.noise)))
    assert torch.equal(objective.theta, theta)
    assert not objective.theta.requires_grad
    assert not response.directions.requires_grad
    for name, p in made.named_parameters():
        assert p.requires_grad
        if name == "classifier.net.0.weight":
            assert torch.equal(p.grad, torch.ones_like(p))
        else:
            assert p.grad is None


@pytest.mark.parametrize("name", ["all parts", "frozen parts", "mixture"])
def test_the_flat_vector_is_that_of_the_trainable_parameters(name: str) -> None:
    made = MODELS[name]()
    objective = objective_of(made)
    assert torch.equal(objective.theta, flat(made))
    kept = objective.theta.clone()
    shift_parameters(made, torch.ones_like(kept))
    assert torch.equal(objective.theta, kept)  # a copy
    assert torch.equal(Objective(made, objective.probe).theta, kept + 1)


def test_shifting_keeps_the_parameters_that_the_optimiser_holds() -> None:
    made = frozen(small())
    optimizer = torch.optim.SGD([p for p in made.parameters() if p.requires_grad], lr=1.0)
    held = dict(made.named_parameters())
    before = {name: p.detach().clone() for name, p in held.items()}
    shift = randn(len(flat(made)), seed=5)
    expected = flat(made) + shift
    shift_parameters(made, shift)
    torch.testing.assert_close(flat(made), expected, rtol=0, atol=0)
    for name, p in made.named_parameters():
        assert p is held[name]
        assert p.requires_grad or torch.equal(p, before[name])
        p.grad = torch.full_like(p, 0.5)
    optimizer.step()
    torch.testing.assert_close(flat(made), expected - 0.5, rtol=0, atol=0)


@given(st.lists(st.lists(st.integers(1, 4), max_size=3), min_size=1, max_size=5))
def test_unflatten_undoes_flattening(shapes: list[list[int]]) -> None:
    parts = [randn(*shape, seed=i) for i, shape in enumerate(shapes)]
    vector = parameters_to_vector(parts)
    back = unflatten(vector, parts)
    assert all(map(torch.equal, parts, back))
    back[-1].add_(1)  # views
    assert vector[-1] == parts[-1].flatten()[-1] + 1


def test_gradients_are_counted() -> None:
    objective, counts = objective_of(small()), []
    for witness in (None, objective_of(objective.model, seed=1)):
        response: Response = linear_response(
            objective, T, ResponseSettings(tolerance=1e-3, max_iterations=7), witness
        )
        # ∇R, ∇D, ∇C and their derivatives in t, the linearisation, and one for each product
        assert response.solution.products > response.solution.iterations > 0
        expected = 7 + response.solution.products + (witness is not None)
        assert response.gradients == expected
        counts.append(response.gradients)
    assert counts[1] == counts[0] + 1


def test_gradients_of_parts_that_are_built_again_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    objective, built = objective_of(small(), n=10), []
    monkeypatch.setattr("thermo_pl.response.curvature.part_size", lambda *_: 4)
    monkeypatch.setattr("thermo_pl.response.curvature._parts_kept", lambda _: 1)
    outputs = Objective.outputs

    def counted(self: Objective, *args: Any) -> Outputs:
        built.append(len(self))
        return outputs(self, *args)

    settings = ResponseSettings(tolerance=1e-3, max_iterations=7)
    system = ResponseSystem(objective, T, settings, None)
    monkeypatch.setattr(Objective, "outputs", counted)
    for first in (6 + 4 / 10, 0):
        response = system.response()
        # four particles are kept, six are run again for each product, and for nothing else
        assert sum(built) == 6 * response.solution.iterations
        built.clear()
        spent = first + (4 + 6 / 10) * response.solution.iterations
        assert response.gradients == math.ceil(spent)


def test_gradients_of_a_dense_solve_are_its_products() -> None:
    objective = objective_of(small())
    response = linear_response(objective, T, ResponseSettings(solver="dense"))
    assert response.gradients == 6 + 1 + len(objective.theta)


def test_single_precision_gives_the_same_response() -> None:
    made = randomised(small(), scale=0.5)
    probe = probe_of(made, 5)
    settings = ResponseSettings(tolerance=1e-5, max_iterations=200)
    expected = linear_response(Objective(made, probe), T, settings)
    measured = measure(made, probe, T, decoded=2)
    made.float()
    single = Probe(Particles(*(part.float() for part in probe.particles)), probe.noise.float())
    found = linear_response(Objective(made, single), T, settings)
    assert found.directions.dtype == torch.float32
    # seven digits, a condition number of about a hundred
    scale = expected.directions.abs().max().item()
    difference = (found.directions.double() - expected.directions).abs().max()
    assert difference < 1e-3 * scale
    again = measure(made, single, T, decoded=2)
    assert again.rate.draws.few.dtype == torch.float64
    assert again.free_energy.value == pytest.approx(measured.free_energy.value, rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"damping": -0.1}, "response.damping: got -0.1; allowed: a finite number ≥ 0, or auto"),
        ({"damping": "any"}, "response.damping: got 'any'; allowed: a finite number ≥ 0, or auto"),
        ({"damping": math.nan}, "response.damping: got nan; allowed: a finite number ≥ 0, or auto"),
        ({"tolerance": 0.0}, "response.tolerance: got 0.0; allowed: a number between 0 and 1"),
        ({"tolerance": 1.0}, "response.tolerance: got 1.0; allowed: a number between 0 and 1"),
        ({"max_iterations": 0}, "response.max_iterations: got 0; allowed: a whole number > 0"),
        ({"rank": -1}, "response.rank: got -1; allowed: a whole number ≥ 0"),
        ({"memory": 0}, "response.memory: got 0; allowed: a whole number > 0 (MiB)"),
        (
            {"rank": 5, "solver": "minres"},
            "response.rank: got 5; allowed: 0, unless the solver is conjugate_gradient and the "
            "curvature gauss_newton",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ResponseSettings(**changes)
    assert str(caught.value) == message


# -- Newton steps -------------------------------------------------------------------------------


def descent_of(objective: Objective, damping: float) -> Tensor:
    settings = ResponseSettings(damping, "hessian", 1e-12, 1000)
    return newton_step(objective, objective, T, settings).change


def test_a_descent_is_newtons_step_with_a_softer_damping() -> None:
    objective = objective_of(small(), n=11)
    matrix = hessian(objective, T)(eye(len(objective.theta)))
    damped = matrix + SOFTER * 1e3 * eye(len(matrix))
    assert float(torch.linalg.eigvalsh(damped)[0]) > 0
    expected = -torch.linalg.solve(damped, gradient_of(objective, T))
    torch.testing.assert_close(descent_of(objective, 1e3), expected, rtol=1e-5, atol=1e-10)


@pytest.mark.parametrize("seed", range(4))
def test_a_descent_leads_down_wherever_it_starts(seed: int) -> None:
    # with so little damping the Hessian is indefinite here, and a whole step may lead up
    objective = objective_of(small(seed), n=11)
    step = descent_of(objective, 1e-2)
    assert float(gradient_of(objective, T) @ step) < 0
    after, before = (
        float(objective.value(objective.means(theta, T)))
        for theta in (objective.theta + step, objective.theta)
    )
    assert after < before
