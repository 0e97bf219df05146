"""The linear response, measured: products, curvlinops, preconditioner, damping, memory.

    OMP_NUM_THREADS=1 python benchmarks/response.py

On the MNIST multilayer perceptron of 648,000 parameters, trained for a moment: each number is a
ratio of things timed in turns in the same run (medians). A gradient is one forward and backward
pass of J on the same probe. MNIST is read from the folder THERMO_PL_DATA (as torchvision lays it
out); without it random images of its shape take its place, and the output says so. Needs
curvlinops-for-pytorch for the comparison with it.
"""

from __future__ import annotations

import argparse
import gzip
import operator
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from process_memory import with_memory
from torch import Tensor, nn
from turns import in_turns

from thermo_pl.networks import (
    GaussianPosterior,
    LinearClassifier,
    MLPDecoder,
    MLPEncoder,
    Networks,
    Outputs,
    StandardNormal,
)
from thermo_pl.particles import Particles, weighted_mean
from thermo_pl.response.curvature import gauss_newton
from thermo_pl.response.damping import damping_effect
from thermo_pl.response.linear import SKETCHED, ResponseSettings, linear_response
from thermo_pl.response.objective import Objective, Probe
from thermo_pl.response.solvers import Matvec, Solution, conjugate_gradient, nystrom

SHAPE, LATENT, CLASSES, T = (1, 28, 28), 16, 10, 0.0
DAMPING, TOLERANCE, RANK, LIMIT = 1.0, 1e-2, 100, 300
BATCHES = 1024, 2048
"""Images that curvlinops takes at once (fewer are slower): the faster of the two counts."""


def images() -> tuple[Tensor, Tensor]:
    """MNIST's training images and one-hot labels, or random ones."""
    folder = Path(os.environ.get("THERMO_PL_DATA", "")) / "MNIST" / "raw"
    try:
        files = [next(folder.glob(f"train-{kind}*")) for kind in ("images", "labels")]
        raw = [
            np.frombuffer((gzip.open if f.suffix == ".gz" else open)(f, "rb").read(), np.uint8)
            for f in files
        ]
        x, label = raw[0][16:].reshape(-1, *SHAPE), raw[1][8:]
        print("images: MNIST")
    except StopIteration:
        generator = np.random.default_rng(0)
        x, label = generator.integers(0, 256, (60_000, *SHAPE)), generator.integers(0, 10, 60_000)
        print("images: random, of MNIST's shape (set THERMO_PL_DATA for MNIST)")
    y = nn.functional.one_hot(torch.as_tensor(label.copy()).long(), CLASSES)
    return torch.as_tensor(x / np.float32(255)).float(), y.float()


def trained(x: Tensor, y: Tensor, steps: int) -> Networks:
    """784-400-(2x16), 16-400-784 and 16-10, after a few steps of Adam."""
    torch.manual_seed(0)
    model = Networks(
        MLPEncoder(SHAPE, LATENT, hidden=(400,)),
        LinearClassifier(LATENT, CLASSES),
        MLPDecoder(SHAPE, LATENT, hidden=(400,)),
        StandardNormal(LATENT),
        lam=1.0,
        gam=4.0,
    )
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(steps):
        some = torch.randint(len(x), (256,))
        optimizer.zero_grad()
        value_of(model, x[some], y[some], torch.randn(1, 256, LATENT)).backward()
        optimizer.step()
    return model


def value_of(model: Networks, x: Tensor, y: Tensor, noise: Tensor) -> Tensor:
    """J, as a training step takes it."""
    rate, distortion, loss = model.terms(model(x, noise), x, y)
    return weighted_mean(rate + model.lam * distortion + model.gam * loss, x.new_ones(len(x)))


def probe_of(x: Tensor, y: Tensor, n: int) -> Probe:
    """Pairs of random images, and noise."""
    generator = torch.Generator().manual_seed(1)
    a, b = (torch.randperm(len(x), generator=generator)[:n] for _ in range(2))
    noise = torch.randn(1, n, LATENT, generator=generator)
    return Probe(Particles(x[a], x[b], y[a], y[b], torch.ones(n)), noise)


class Joint(nn.Module):
    """The model as curvlinops wants it: parameters to joint output, in one row for each image."""

    def __init__(self, model: Networks) -> None:
        """Keep the model."""
        super().__init__()
        self.model = model

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """The joint output, shape ``(n, 2k + pixels + classes)``."""
        outputs = self.model(inputs["x"], inputs["noise"])
        return torch.cat([*outputs.posterior, outputs.decoded[0].flatten(1), outputs.logits[0]], 1)


class JointLoss(nn.Module):
    """J as a function of the joint output, a mean over the images."""

    reduction = "mean"

    def __init__(self, model: Networks) -> None:
        """Keep the likelihoods, λ and γ."""
        super().__init__()
        self.terms = model.terms
        self.weights = float(model.lam), float(model.gam)

    def forward(self, joint: Tensor, target: Tensor) -> Tensor:
        """J of images and labels side by side in one row."""
        mean, log_var, decoded, logits = joint.split([LATENT, LATENT, 784, CLASSES], 1)
        x, y = target.split([784, CLASSES], 1)
        posterior, decoded = GaussianPosterior(mean, log_var), decoded.reshape(1, -1, *SHAPE)
        outputs = Outputs(posterior, mean[None], decoded, logits[None], {})
        rate, distortion, loss = self.terms(outputs, x.reshape(-1, *SHAPE), y)
        lam, gam = self.weights
        return (rate + lam * distortion + gam * loss).mean()


def curvlinops_matrix(model: Networks, probe: Probe, batch: int) -> Any:
    """Their Gauss-Newton operator, on batches of so many images."""
    from curvlinops import GGNLinearOperator

    p = probe.particles
    target = torch.cat([p.source.flatten(1), p.source_label], 1)
    parts = [slice(i, i + batch) for i in range(0, len(target), batch)]
    data = [({"x": p.source[i], "noise": probe.noise[:, i]}, target[i]) for i in parts]
    parameters = list(model.parameters())
    joint, loss = Joint(model), JointLoss(model)
    return GGNLinearOperator(
        joint, loss, parameters, data, check_deterministic=False,
        batch_size_fn=lambda inputs: len(inputs["x"]),
    )  # fmt: skip


def line(what: str, value: float, bar: str) -> None:
    """One result."""
    print(f"{what:<66}{value:>9.3g}   {bar}", flush=True)


def products(model: Networks, probe: Probe, repeats: int) -> int:
    """Products in gradients, and against curvlinops; gives the batch it is fastest with."""
    objective, p = Objective(model, probe), probe.particles
    matrix = gauss_newton(objective, T)
    theirs = {batch: curvlinops_matrix(model, probe, batch) for batch in BATCHES}
    rows = torch.randn(3, len(objective.theta))
    columns = rows.T.contiguous()
    found = matrix(rows)
    gap = max(float(((m @ columns).T - found).norm() / found.norm()) for m in theirs.values())
    line("product, ours and curvlinops', relative difference", gap, "<= 1e-5")

    def gradient() -> None:
        model.zero_grad()
        value_of(model, p.source, p.source_label, probe.noise).backward()

    jobs = {
        "gradient": gradient,
        "set-up": lambda: gauss_newton(objective, T),
        "ours, 1": lambda: matrix(rows[:1]),
        "ours, 3": lambda: matrix(rows),
    }
    for batch, other in theirs.items():
        jobs[f"theirs, 1, {batch}"] = partial(operator.matmul, other, columns[:, 0])
        jobs[f"theirs, 3, {batch}"] = partial(operator.matmul, other, columns)
    seconds = in_turns(jobs, repeats)
    for count in (1, 3):
        best = min(BATCHES, key=lambda batch: seconds[f"theirs, {count}, {batch}"])
        seconds[f"theirs, {count}"] = seconds[f"theirs, {count}, {best}"]
    model.zero_grad()
    unit = seconds["gradient"]
    print(f"one gradient takes {unit * 1e3:.0f} ms")
    line("set-up of the linearisation, in gradients", seconds["set-up"] / unit, "")
    line("one product, in gradients", seconds["ours, 1"] / unit, "<= 1.2")
    line("three products, each, in gradients", seconds["ours, 3"] / 3 / unit, "<= 1.2")
    line("curvlinops: one product, in gradients", seconds["theirs, 1"] / unit, "")
    line("curvlinops: three products, each", seconds["theirs, 3"] / 3 / unit, "")
    for count, bar in ((1, ">= 2.5"), (3, ">= 1.4")):
        ratio = seconds[f"theirs, {count}"] / seconds[f"ours, {count}"]
        line(f"faster than curvlinops, right-hand sides: {count}", ratio, bar)
    return best


def right_hand_sides(model: Networks, probe: Probe) -> Tensor:
    """∇D, ∇C and ∂_t∇J, the three of the response, shape ``(3, p)``."""
    objective = Objective(model, probe)
    theta = objective.theta.clone().requires_grad_()
    means = objective.means(theta, T)
    rows = [torch.autograd.grad(mean, theta, retain_graph=True)[0] for mean in means[1:]]

    def slope(t: float) -> Tensor:
        value = objective.value(objective.means(theta, t))
        return torch.autograd.grad(value, theta)[0]

    return torch.stack([*rows, 10 * (slope(T + 0.05) - slope(T - 0.05))])


def solves(model: Networks, probe: Probe, batch: int) -> None:
    """Iterations with and without the preconditioner, and a whole solve against curvlinops."""
    from curvlinops import CGInverseLinearOperator

    objective, rhs = Objective(model, probe), right_hand_sides(model, probe)

    def damped(matrix: Matvec) -> Matvec:
        return lambda rows: matrix(rows) + DAMPING * rows

    def preconditioned(tolerance: float) -> tuple[Solution, float]:
        start = time.perf_counter()
        generator = torch.Generator().manual_seed(0)
        some = torch.randperm(len(objective), generator=generator)[:SKETCHED]
        sketched = gauss_newton(objective.subset(some), T)
        inverse = nystrom(sketched, rhs, RANK, DAMPING)
        setup = time.perf_counter() - start
        matrix = damped(gauss_newton(objective, T))
        return conjugate_gradient(matrix, rhs, tolerance, LIMIT, None, inverse), setup

    start = time.perf_counter()
    plain = conjugate_gradient(damped(gauss_newton(objective, T)), rhs, TOLERANCE, LIMIT)
    ours_plain = time.perf_counter() - start

    start = time.perf_counter()
    ggn = curvlinops_matrix(model, probe, batch)

    class Damped(type(ggn)):  # type: ignore[misc]
        def _matmat(self, columns: list[Tensor]) -> list[Tensor]:
            results = super()._matmat(columns)
            return [a + DAMPING * b for a, b in zip(results, columns, strict=True)]

    ggn.__class__ = Damped
    inverse = CGInverseLinearOperator(ggn, tolerance=TOLERANCE, max_iter=LIMIT, eps=1e-12)
    found = (inverse @ rhs.T.contiguous()).T
    theirs = time.perf_counter() - start
    matrix = damped(gauss_newton(objective, T))
    reached = ((rhs - matrix(found)).norm(dim=1) / rhs.norm(dim=1)).max().item()

    start = time.perf_counter()
    solution, setup = preconditioned(min(TOLERANCE, reached))
    ours = time.perf_counter() - start
    gap = ((rhs - matrix(solution.x)).norm(dim=1) / rhs.norm(dim=1)).max().item()
    if reached < TOLERANCE:  # iterations are compared at the same residual
        solution, setup = preconditioned(TOLERANCE)
    print(f"plain: {plain.message}; {ours_plain:.1f} s")
    print(f"preconditioned: {solution.message}")
    line(f"preconditioner of rank {RANK}: set-up, share of the plain solve", setup / ours_plain, "")
    line("iterations, plain / preconditioned", plain.iterations / solution.iterations, ">= 3")
    print(
        f"curvlinops: {theirs:.1f} s to a residual of {reached:.2e}; ours {ours:.1f} s, {gap:.2e}"
    )
    line("whole solve for three, curvlinops / ours (set-up included)", theirs / ours, ">= 3")
    line("the same without the preconditioner", theirs / ours_plain, "")


def damping(model: Networks, probe: Probe) -> None:
    """What the damping does to the derivatives of C."""
    settings = ResponseSettings(DAMPING, "gauss_newton", TOLERANCE, LIMIT, rank=RANK)
    effect = damping_effect(Objective(model, probe), T, settings)
    print(f"{'':<20}" + "".join(f"{name:>12}" for name in ("C_lambda", "C_gamma", "C_t")))
    for name, values in (
        (f"damping {2 * DAMPING:g}", effect.double.slopes),
        (f"damping {DAMPING:g}", effect.single.slopes),
        ("extrapolated", effect.extrapolated),
    ):
        print(f"{name:<20}" + "".join(f"{value:>12.4g}" for value in values.C))
    ratio = effect.double.solution.iterations / effect.single.solution.iterations
    line("iterations at twice the damping / those from there", ratio, "")


def memory(n: int) -> None:
    """Peak resident memory of a whole response on a large probe, above what was there before."""
    x, y = images()
    model = trained(x, y, 1)
    objective = Objective(model, probe_of(x, y, n))
    del x, y
    settings = ResponseSettings(damping=DAMPING, max_iterations=3, rank=RANK)
    _, seconds, peak = with_memory(partial(linear_response, objective, T, settings))
    print(f"three iterations on {n} images: {seconds:.0f} s")
    line("peak resident memory above that before it, GiB", peak, "<= 2")


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--steps", type=int, default=500, help="training steps before")
    parser.add_argument("--memory", type=int, default=0, metavar="N", help="only that, on N images")
    arguments = parser.parse_args()
    if arguments.memory:
        memory(arguments.memory)
        return
    threads = torch.get_num_threads()
    x, y = images()
    model = trained(x, y, arguments.steps)
    probe = probe_of(x, y, 2048)
    count = sum(p.numel() for p in model.parameters())
    print(f"{count} parameters, probe of 2,048, threads: {threads}, damping {DAMPING}")
    batch = products(model, probe, arguments.repeats)
    solves(model, probe, batch)
    damping(model, probe)
    subprocess.run([sys.executable, __file__, "--memory", "16384"], check=True)


if __name__ == "__main__":
    main()
