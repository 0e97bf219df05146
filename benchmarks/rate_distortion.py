"""The rate-distortion curve of statically binarised MNIST, on test images, beside published ones.

    THERMO_PL_DATA=... python benchmarks/rate_distortion.py
    python benchmarks/rate_distortion.py --root runs/rate_distortion --config rd_mnist

Runs rd_mnist.yaml, or reads the run if it is there; one that was cut goes on. For each β = 1/λ it
prints R and D of the node's model on training and on test images, D + βR in nats, bits per pixel
of R + D, and the latents in use. Then how many intervals pass the two-point test on the training
objective, and the seconds of the whole run.

The references are Bae et al., "Multi-rate VAE: train once, get the full rate-distortion curve",
ICLR 2023: one network for all β, and separately trained β-VAEs. Their binarisation is another draw.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from kept_runs import gone_on
from pytorch_lightning import LightningDataModule
from shipped_configs import shipped

import thermo_pl as tp
from thermo_pl.files import read_csv
from thermo_pl.particles import interpolate
from thermo_pl.runs.trained import built
from thermo_pl.surface.checks import check_surface, table

REFERENCES = {
    0.01: ((112.2, 47.5), (129.1, 42.2)),
    0.1: ((76.1, 48.9), (81.7, 45.2)),
    1.0: ((30.2, 65.3), (25.6, 68.7)),
    10.0: ((4.7, 141.6), (3.5, 148.4)),
}
"""R and D by β: of the multi-rate VAE, and of separately trained ones."""
DRAWS = 4


@torch.no_grad()
def on_images(model: tp.FreeEnergyModel, particles: object) -> tuple[float, float]:
    """R and D on images, the same noise for all models."""
    batch = interpolate(particles, 0.0)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    rate = distortion = 0.0
    for x, y in zip(batch.x.split(500), batch.y.split(500), strict=True):
        noise = model.noise(DRAWS, len(x), generator)
        terms = model.terms(model(x, noise), x, y)
        rate += float(terms.rate.sum())
        distortion += float(terms.distortion.sum())
    return rate / len(batch.x), distortion / len(batch.x)


def main() -> None:
    """Run, and print the curve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path("runs/rate_distortion"))
    parser.add_argument("--config", default="rd_mnist")
    arguments = parser.parse_args()
    run = gone_on(arguments.root, shipped(arguments.config))
    surface = tp.Surface.load(run)
    data = built(run, "data", LightningDataModule)
    data.prepare_data()
    data.setup("test")
    test = data.coupling("test").all()  # type: ignore[attr-defined]
    pixels = test.source[0].numel()
    header = (
        "β",
        "R train",
        "D train",
        "R test",
        "D test",
        "D + βR",
        "reference",
        "bits/pixel",
        "on",
    )
    print(("{:>8}" * 4 + "{:>8}{:>9}{:>10}{:>11}{:>5}").format(*header))
    for index, node in enumerate(surface.nodes):
        beta = 1 / node["lambda"]
        rate, distortion = on_images(surface.node(index), test)
        known = REFERENCES.get(round(beta, 4))
        best = "" if known is None else f"{min(d + beta * r for r, d in known):.1f}"
        bits = (rate + distortion) / pixels / math.log(2)
        print(
            f"{beta:8.4g}{node['R']:8.1f}{node['D']:8.1f}{rate:8.1f}{distortion:8.1f}"
            f"{distortion + beta * rate:9.2f}{best:>10}{bits:11.4f}{node['latents_in_use']:5.0f}"
        )
    print(table(check_surface(surface.nodes)))
    print(f"{sum(float(row['seconds'] or 0) for row in read_csv(run / 'path.csv')):.0f} s")


if __name__ == "__main__":
    main()
