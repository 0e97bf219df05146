"""Throughput of relaxation: training steps through Lightning against a loop in plain PyTorch.

    THERMO_PL_DATA=... python benchmarks/relaxation.py

The networks, the optimiser and the batches of transfer_mnist.yaml on images of MNIST. Both take
turns, epoch by epoch in one process, so that what else the machine does falls on both alike; the
ratio is the median over the epochs. Lightning's part is a whole training epoch with the model's
metrics, the loader and a callback for each batch, as a process has them, without validation; the
plain loop draws particles alike and does nothing but J, its gradient and the optimiser's step.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

from thermo_pl.datamodules import MNIST, InterpolatedDataModule, Waypoint
from thermo_pl.functionals import free_energy
from thermo_pl.module import FreeEnergyModel
from thermo_pl.networks import LinearClassifier, MLPDecoder, MLPEncoder, StandardNormal
from thermo_pl.particles import Batch, interpolate, weighted_mean

SHAPE, K = [1, 28, 28], 16


def built(batches: int) -> FreeEnergyModel:
    """The model of the config."""
    torch.manual_seed(0)
    return FreeEnergyModel(
        MLPEncoder(SHAPE, K, [256]),
        LinearClassifier(K, 5),
        MLPDecoder(SHAPE, K, []),
        StandardNormal(K),
        lam=0.1,
        gam=20.0,
        optimizer=partial(torch.optim.Adam, lr=0.004, fused=True),
        scheduler=partial(CosineAnnealingWarmRestarts, T_0=batches),
        scheduler_interval="step",
    )


class Plain:
    """The same training without Lightning."""

    def __init__(self, data: InterpolatedDataModule, batches: int, size: int) -> None:
        """Build a model and an optimiser of its own."""
        self.model, self.batches, self.size = built(batches), batches, size
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.004, fused=True)
        self.scheduler = CosineAnnealingWarmRestarts(self.optimizer, T_0=batches)
        self.pairs = data.coupling("train")

    def drawn(self) -> Iterator[Batch]:
        """The batches of an epoch at t = ½."""
        total = self.batches * self.size
        index = torch.multinomial(self.pairs.mass, total, replacement=True)
        for chosen in index.split(self.size):
            yield interpolate(self.pairs.__getitems__(chosen), 0.5)

    def epoch(self) -> None:
        """Train for an epoch."""
        for batch in self.drawn():
            loss = self.objective(batch)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            self.scheduler.step()

    def objective(self, batch: Batch) -> Tensor:
        """J of a batch."""
        model = self.model
        outputs = model(batch.x, torch.randn(1, len(batch.x), K))
        terms = model.terms(outputs, batch.x, batch.y)
        return weighted_mean(free_energy(*terms, model.lam, model.gam), torch.ones(len(batch.x)))


class TakeTurns(pl.Callback):
    """Times Lightning's epochs, and the plain loop's between them."""

    def __init__(self, plain: Plain) -> None:
        """Start with no times."""
        self.plain, self.seconds = plain, {"Lightning": list[float](), "plain": list[float]()}
        self._began = 0.0
        self._images = 0

    def on_train_epoch_start(self, *_: Any) -> None:
        """Time the plain loop first."""
        began = time.perf_counter()
        self.plain.epoch()
        self._began = time.perf_counter()
        self.seconds["plain"].append(self._began - began)

    def on_train_batch_start(self, trainer: Any, model: Any, batch: Batch, index: int) -> None:
        """Count, as a process does."""
        self._images += len(batch.weight)

    def on_train_epoch_end(self, *_: Any) -> None:
        """Note the time of Lightning's epoch."""
        self.seconds["Lightning"].append(time.perf_counter() - self._began)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--batches", type=int, default=300)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(arguments.threads)
    waypoints = [
        Waypoint(group, MNIST(), per_class=1000) for group in ([*range(5)], [*range(5, 10)])
    ]
    batches, size = arguments.batches, arguments.size
    data = InterpolatedDataModule(waypoints, batch_size=size, train_batches=batches)
    data.prepare_data()
    data.move_to(0, 0.5)
    turns = TakeTurns(Plain(data, batches, size))
    trainer = pl.Trainer(
        max_epochs=arguments.epochs,
        accelerator="cpu",
        callbacks=[turns],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    trainer.fit(built(batches), datamodule=data)
    images = batches * size
    median = {name: statistics.median(times) for name, times in turns.seconds.items()}
    for name, seconds in median.items():
        times = turns.seconds[name]
        spread = f"{min(times):.2f} to {max(times):.2f}"
        print(
            f"{name:<10}{images / seconds:>10,.0f} images/s   {seconds:.2f} s an epoch ({spread})"
        )
    ratios = [
        p / t for p, t in zip(turns.seconds["plain"], turns.seconds["Lightning"], strict=True)
    ]
    print(f"Lightning / plain: {statistics.median(ratios):.3f} (bar: 0.8)")


if __name__ == "__main__":
    main()
