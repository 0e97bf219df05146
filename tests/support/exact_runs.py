"""Real runs of a process on a linear-Gaussian system, whose equilibrium is known in closed form."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from support.process_runs import Run, fit
from thermo_pl.callbacks import Equilibration, IsoClassification
from thermo_pl.datamodules import GaussianDomains
from thermo_pl.exact.gaussian import LinearGaussian
from thermo_pl.module import FreeEnergyModel
from thermo_pl.networks import (
    Gaussian,
    GaussianClassifier,
    LinearGaussianEncoder,
    MLPDecoder,
    StandardNormal,
)
from thermo_pl.response.linear import ResponseSettings

LABELS = [[1.0, 0.3, 0.0], [0.2, -0.8, 0.0]]
NOISE = [[0.125, 0.0], [0.0, 0.125]]
STILL = [[[4.0, 0.6, 0.0], [0.6, 2.5, 0.0], [0.0, 0.0, 0.8]]]
"""The third axis carries no label: its latent is on where λ > σ²/0.8 = 0.625, whatever γ is."""
MOVING = [
    [[4.0, 0.6, 0.0], [0.6, 2.5, 0.0], [0.0, 0.0, 1.2]],
    [[5.0, 0.4, 0.2], [0.4, 2.8, 0.0], [0.2, 0.0, 1.0]],
]
"""No latent switches between λ = 3 and 0.7, and no two change places, where they may rotate."""


def tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def make_system(covariances: Any = MOVING) -> LinearGaussian:
    """The closed form; three latents."""
    start, end = tensor(covariances[0]), tensor(covariances[-1]) if len(covariances) > 1 else None
    return LinearGaussian(start, end, tensor(LABELS), tensor(NOISE), 0.5, 0.3, 3)


def make_linear_model(system: LinearGaussian, lam: float, gam: float) -> FreeEnergyModel:
    """Linear networks at the equilibrium of (λ, γ, t = 0), but for a little noise."""
    latents = system.latent_dim
    shape = [1, 1, len(system.start)]
    optimizer = partial(
        torch.optim.LBFGS,
        max_iter=300,
        history_size=60,
        # a line search fails where a flat direction leaves nothing to gain
        line_search_fn="strong_wolfe" if system.end is not None else None,
        tolerance_grad=1e-9,
        tolerance_change=0.0,
    )
    encoder = LinearGaussianEncoder(shape, latents)
    decoder = MLPDecoder(shape, latents, [], Gaussian(system.pixel_variance))
    noise = system.label_noise.trace().item()
    classifier = GaussianClassifier(
        latents, len(system.label_map), system.label_variance, label_noise=noise
    )
    made = FreeEnergyModel(
        encoder,
        classifier,
        decoder,
        StandardNormal(latents),
        lam=lam,
        gam=gam,
        optimizer=optimizer,
    )
    with torch.no_grad():
        decoder.net[0].weight.zero_()  # latents take the signs of the closed form
        system.optimum(lam, gam).put(made)
        for part in (encoder, decoder, classifier):
            for name, parameter in part.named_parameters():
                if name.endswith("weight"):
                    parameter.add_(1e-6 * torch.randn_like(parameter))
    return made


def fit_exact(
    directory: Path, covariances: Any, lam: float = 1.0, gam: float = 2.0, **arguments: Any
) -> Run:
    """Run an iso-classification in float64, each step relaxed to the last digits."""
    settings: dict[str, Any] = {
        "k": 0.5,
        "equilibration": Equilibration(1e-10, max_epochs=20, check_every=1),
        "response": ResponseSettings(1e-8, "hessian", 1e-8, 300),
    }
    trainer = {key: arguments.pop(key) for key in ("fails", "ckpt_path") if key in arguments}
    callbacks = arguments.pop("callbacks", ())
    torch.manual_seed(0)
    return fit(
        directory,
        GaussianDomains(covariances, LABELS, NOISE, train_batches=1),  # type: ignore[arg-type]
        *callbacks,
        model=make_linear_model(make_system(covariances), lam, gam),
        process=IsoClassification(**(settings | arguments)),
        precision="64-true",
        **trainer,
    )
