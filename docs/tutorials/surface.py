# %% [markdown]
# # The surface and a query
#
# After this tutorial you have mapped the free energy F(λ, γ) of a small model, and asked the map
# for what was not measured.
#
# The data are measurements of two kinds of plants, in one CSV file. They do not move: λ and γ do.

# %%
from pathlib import Path

import numpy as np

import thermo_pl as tp
from thermo_pl.cli import main

rng = np.random.default_rng(0)
kinds = np.repeat(["iris", "rose"], 100)
x = rng.normal(size=(200, 3)) + 0.8 * np.where(kinds == "rose", 1.0, -1.0)[:, None]
lines = [f"{a:.4f},{b:.4f},{c:.4f},{kind}" for (a, b, c), kind in zip(x, kinds, strict=True)]
Path("plants.csv").write_text("\n".join(["length,width,weight,kind", *lines]) + "\n")

# %% [markdown]
# A map asks for equilibria that are known to many digits. So training goes by L-BFGS, in float64,
# on all examples at once, and z is taken at the points of a cubature in place of random draws.

# %%
Path("map.yaml").write_text("""
model:
  class_path: FreeEnergyModel
  init_args:
    lam: 1.0
    gam: 3.0
    cubature_seed: 0
    samples: 2
    encoder: {class_path: MLPEncoder, init_args: {image_shape: [3], latent_dim: 2, hidden: []}}
    decoder:
      class_path: MLPDecoder
      init_args: {hidden: [], likelihood: {class_path: Gaussian, init_args: {variance: 0.3}}}
    classifier: {class_path: LinearClassifier, init_args: {classes: 2}}
    marginal: {class_path: StandardNormal}
    optimizer: {class_path: QuasiStaticLBFGS, init_args: {gain: 1.0e-6}}
data:
  class_path: InterpolatedDataModule
  init_args:
    batch_size: null
    train_batches: 1
    transform: {class_path: Standardise}
    waypoints:
      - source: {class_path: ArraySource, init_args: {path: plants.csv, labels: kind}}
trainer:
  accelerator: cpu
  precision: 64-true
  default_root_dir: runs/map
  callbacks:
    - class_path: FreeEnergySurface
      init_args:
        lam: [1.0, 1.2, 1.44]
        gam: [3.0, 4.0, 5.3]
        passes: 1
        revisits: 0
        equilibration: {stationarity: 1.0e-4, max_epochs: 60, check_every: 3}
        response: {curvature: hessian, damping: 0.001, tolerance: 0.01, max_iterations: 200}
""")
code = main(["fit", "--config", "map.yaml"])
print("exit code", code)

# %% [markdown]
# ```text
# exit code 0
# ```
#
# Nine nodes. The run directory has a line for each in surface.csv, and the model at each. Now ask
# between them, at λ = 1.1 and γ = 3.5:

# %%
surface = tp.Surface.load("runs/map/version_0")
point = surface(1.1, 3.5)
print(f"{len(surface.nodes)} nodes")
print(f"R = {point.R:.2f}, D = {point.D:.2f}, C = {point.C:.3f} nats")

# %% [markdown]
# ```text
# 9 nodes
# R = 1.68, D = 2.54, C = 0.242 nats
# ```
#
# The other way round: which γ gives a loss of 0.235 nats at λ = 1.2?

# %%
wanted = surface.at(C=0.235, lam=1.2)
print(f"gamma = {wanted.gam:.2f}")

# %% [markdown]
# ```text
# gamma = 4.02
# ```
#
# And a trained model there, which starts from the nearest node and follows the response:

# %%
model, gradients = surface.model_at(wanted.lam, wanted.gam)
print(f"lambda = {float(model.lam):.2f}, gamma = {float(model.gam):.2f}")

# %% [markdown]
# ```text
# lambda = 1.20, gamma = 4.02
# ```
#
# Contours, the cheapest way from one point to another, and maps of digits: [the
# surface](../surface.md).
