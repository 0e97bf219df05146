"""Probes that take the points of a cubature in place of independent draws."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from support.process_runs import SHAPE, fit, make_model, make_process
from thermo_pl.callbacks import Probes
from thermo_pl.errors import ConfigError
from thermo_pl.networks import CategoricalEncoder, CategoricalMarginal
from thermo_pl.process.probing import ProbeSource
from thermo_pl.response.measurement import classification_draws

Data = Callable[..., Any]
POINTS = 12
"""4 latent_dim."""


def prepared(data: Data) -> Any:
    """A DataModule whose coupling is there."""
    made = data()
    made.prepare_data()
    made.setup("fit")
    return made


def settings(samples: int, cubature: bool) -> Probes:
    """All particles, so that nothing but the noise is drawn."""
    return Probes(10**6, 1, True, 10**6, samples, 10**6, samples, cubature)


def values(data: Any, samples: int, cubature: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """C on 60 probes with seeds of their own, and the standard errors that they state."""
    torch.manual_seed(0)
    model = make_model()
    with torch.no_grad():
        model.classifier.layer.weight.mul_(8)  # steep: C has a heavy tail
    found, errors = [], []
    for seed in range(60):
        probe = ProbeSource(settings(samples, cubature)).kept("measuring", model, data, seed)
        draws = classification_draws(model, probe, 0.0)
        found.append(draws.mean())
        errors.append(draws.std() / len(draws) ** 0.5)
    return torch.stack(found), torch.stack(errors)


def test_they_steer_and_measure_and_do_not_solve(data: Data) -> None:
    source, model, made = ProbeSource(settings(3, True)), make_model(), prepared(data)
    control, measuring = (source.kept(kind, model, made, 0) for kind in ("control", "measuring"))
    for probe in (control, measuring):
        assert probe.points == POINTS
        assert len(probe.noise) == 3 * POINTS
        # ±r e_i: their mean is zero on each rotation, which that of draws is not
        turns = probe.noise.reshape(3, POINTS, -1, 3).mean(1)
        torch.testing.assert_close(turns, torch.zeros_like(turns), atol=1e-6, rtol=0)
    assert not torch.equal(control.noise, measuring.noise)
    solving = source.drawn("solving", 0, model, made, 0)
    assert (solving.points, len(solving.noise)) == (1, 1)
    plain = ProbeSource(settings(3, False)).kept("control", model, made, 0)
    assert (plain.points, len(plain.noise)) == (1, 3)


def test_a_map_is_measured_on_the_points_that_are_trained_on(data: Data) -> None:
    made = prepared(data)
    source = ProbeSource(Probes(10**6, measuring_points="training"))
    model = make_model(cubature_seed=3, samples=2)
    measuring, control = (source.kept(kind, model, made, 0) for kind in ("measuring", "control"))
    assert torch.equal(measuring.noise, model.training_noise(len(measuring.particles.weight)))
    assert measuring.points == POINTS
    assert not torch.equal(control.noise[:POINTS], measuring.noise[:POINTS])  # steers by others
    allowed = "got 'training'; allowed: fresh, or training with model.cubature_seed"
    with pytest.raises(ConfigError, match="probes.measuring_points: " + allowed):
        source.drawn("measuring", 0, make_model(), made, 0)


def test_they_give_the_same_expectation_with_less_than_half_the_variance(data: Data) -> None:
    made = prepared(data)
    turned, stated = values(made, 4, cubature=True)
    drawn, _ = values(made, 4 * POINTS, cubature=False)
    error = (turned.var() / 60 + drawn.var() / 60).sqrt()
    assert abs(turned.mean() - drawn.mean()) < 4 * error
    assert turned.var() < drawn.var() / 2
    # the stated error is that of the spread over probes: 0.68 to 1.32 is 4 standard errors of 60
    assert 0.68 < turned.std() / (stated**2).mean().sqrt() < 1.32


def test_an_encoder_without_gaussian_draws_is_refused(tmp_path: Path, data: Data) -> None:
    model = make_model(encoder=CategoricalEncoder(SHAPE, 3), marginal=CategoricalMarginal(3))
    process = make_process(probes=settings(2, True))
    run = fit(tmp_path, data(), model=model, process=process, fails=True)
    assert isinstance(run.error, ConfigError)
    assert "probes.cubature: got True; allowed: false: this encoder" in str(run.error)


@pytest.mark.parametrize(
    ("particles", "points", "draws"),
    [
        *[(200, 1, 2048), (1045, 1, 2006), (54_000, 1, 38), (500_000, 1, 16)],
        *[(200, 32, 64), (1045, 32, 62), (54_000, 64, 4), (500_000, 32, 2)],
    ],
)
def test_draws_follow_the_number_of_particles(particles: int, points: int, draws: int) -> None:
    # 2^21 = 2,097,152 encodings in all; 4 rotations of the cubature where they are at most 2^24
    for kind in ("control", "measuring"):
        assert Probes().samples(kind, particles, points) == draws
        assert Probes(control_samples=7, measuring_samples=7).samples(kind, particles, points) == 7
        sharper = Probes().samples(kind, particles, points, more=3)
        assert sharper == max(min(3 * draws, 2**23 // (particles * points)), draws)
    assert Probes().samples("solving", particles, points) == {200: 10}.get(particles, 1)
    assert Probes().turns("control", particles, points) == (4 * particles * points <= 2**24)
    assert not Probes(control_samples=7).turns("control", 1, points)  # draws are what is counted
    assert Probes(control_samples=7, cubature=True).turns("control", particles, points)
    with pytest.raises(ConfigError, match=r"probes.solving_samples: got 'all'; allowed: a whole"):
        Probes(solving_samples="all")  # type: ignore[arg-type]
