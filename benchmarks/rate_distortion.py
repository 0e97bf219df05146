"""The rate-distortion curve of statically binarised MNIST, on test images, beside published ones.

    THERMO_PL_DATA=... python benchmarks/rate_distortion.py
    python benchmarks/rate_distortion.py --root runs/rd_fashion --config rd_fashion

Runs rd_mnist.yaml, or reads the run if it is there; one that was cut goes on. For each β = 1/λ it
prints R and D of the node's model on training and on test images, D + βR in nats, R and R + D in
bits per pixel, and the latents in use. Then how many intervals pass the two-point test on the
training objective, and the seconds of the whole run. ``--config rd_fashion``: of grey pictures.

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
from thermo_pl.networks import Gaussian
from thermo_pl.particles import interpolate
from thermo_pl.runs.trained import built
from thermo_pl.surface.checks import check_surface, table
from thermo_pl.surface.table import read_table

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


def curve(run: Path) -> tuple[list[dict[str, float]], int]:
    """The curve on test images.

    Returns:
        Of each node β, R and D on training and on test images, R and both of them in bits per
        pixel, and the latents in use; and the pixels. A density says what a grey level costs but
        for its width, 1/255.
    """
    surface, data = tp.Surface.load(run), built(run, "data", LightningDataModule)
    data.prepare_data()
    data.setup("test")
    test = data.coupling("test").all()  # type: ignore[attr-defined]
    pixels, found = test.source[0].numel(), []
    for index, node in enumerate(surface.nodes):
        model, beta = surface.node(index), 1 / node["lambda"]
        dense = model.decoder is not None and isinstance(model.decoder.likelihood, Gaussian)
        levels = math.log2(255) if dense else 0.0
        rate, distortion = on_images(model, test)
        scale = pixels * math.log(2)
        found.append({
            "beta": beta,
            "R": node["R"],
            "D": node["D"],
            "rate": rate,
            "distortion": distortion,
            "bits of R": rate / scale,
            "bits": (rate + distortion) / scale + levels,
            "on": node["latents_in_use"],
        })
    return found, pixels


def main() -> None:
    """Run, and print the curve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path("runs/rate_distortion"))
    parser.add_argument("--config", default="rd_mnist")
    arguments = parser.parse_args()
    run = gone_on(arguments.root, shipped(arguments.config))
    header = (
        "R train",
        "D train",
        "R test",
        "D test",
        "D + βR",
        "published",
        "b/px R",
        "b/px",
        "on",
    )
    print(f"{'β':>8}" + "".join(f"{name:>10}" for name in header))
    for point in curve(run)[0]:
        beta, rate, distortion = (point[name] for name in ("beta", "rate", "distortion"))
        known = REFERENCES.get(round(beta, 4)) if arguments.config == "rd_mnist" else None
        best = "" if known is None else f"{min(d + beta * r for r, d in known):.1f}"
        values = (point["R"], point["D"], rate, distortion)
        print(
            f"{beta:8.4g}"
            + "".join(f"{value:10.1f}" for value in values)
            + f"{distortion + beta * rate:10.2f}{best:>10}{point['bits of R']:10.4f}"
            f"{point['bits']:10.4f}{point['on']:10.0f}"
        )
    print(table(check_surface(read_table(run))))
    print(f"{sum(float(row['seconds'] or 0) for row in read_csv(run / 'path.csv')):.0f} s")


if __name__ == "__main__":
    main()
