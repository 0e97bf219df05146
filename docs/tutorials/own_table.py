# %% [markdown]
# # Your own table
#
# After this tutorial a model of your table has been carried to another table, from two CSV files
# and a config of 25 lines.
#
# The files have the same columns. One of them names the class. Here we make two: measurements of
# two kinds of plants, and the same by an instrument that shows everything a little larger.

# %%
import json
from pathlib import Path

import numpy as np

from thermo_pl.cli import main

rng = np.random.default_rng(0)


def write(file, gain):
    kinds = np.repeat(["iris", "rose"], 100)
    shift = np.where(kinds == "rose", 1.0, -1.0)[:, None]
    x = gain * (rng.normal(size=(200, 3)) + 0.8 * shift)
    lines = [f"{a:.4f},{b:.4f},{c:.4f},{kind}" for (a, b, c), kind in zip(x, kinds, strict=True)]
    Path(file).write_text("\n".join(["length,width,weight,kind", *lines]) + "\n")


write("first.csv", 1.0)
write("second.csv", 1.2)

# %% [markdown]
# The config. `Standardise` brings all columns to one scale, that of the first file. `labels:
# ordered` says that an iris stays an iris. What is not said is [chosen](../auto.md).

# %%
config = """
seed_everything: 0
model:
  class_path: FreeEnergyModel
  init_args:
    lam: 1.0
    gam: 4.0
    encoder: {class_path: MLPEncoder, init_args: {image_shape: [3], latent_dim: 2, hidden: []}}
    decoder:
      class_path: MLPDecoder
      init_args: {hidden: [], likelihood: {class_path: Gaussian, init_args: {variance: 1.0}}}
    classifier: {class_path: LinearClassifier, init_args: {classes: 2}}
    marginal: {class_path: StandardNormal}
data:
  class_path: InterpolatedDataModule
  init_args:
    transform: {class_path: Standardise}
    labels: ordered
    waypoints:
      - source: {class_path: ArraySource, init_args: {path: first.csv, labels: kind}}
      - source: {class_path: ArraySource, init_args: {path: second.csv, labels: kind}}
trainer:
  default_root_dir: runs/plants
  callbacks:
    - class_path: ProcessProgress
    - class_path: RunReport
    - {class_path: IsoClassification, init_args: {k: 0.1, steps: 4}}
"""
Path("plants.yaml").write_text(config)

# %% [markdown]
# Run it. From a shell this is `python -m thermo_pl fit --config plants.yaml`. Here each step
# trains on 20 batches only, which is enough for so small a table; leave the flag out for your own.

# %%
code = main(["fit", "--config", "plants.yaml", "--data.train_batches", "20"])

# %% [markdown]
# Exit code 0: done, and what was promised was held. The run directory has everything that was
# measured.

# %%
run = Path("runs/plants/version_0")
summary = json.loads((run / "summary.json").read_text())
print(code, summary["promise"]["verdict"])
print(*summary["classes"])
print((run / "report.html").exists())

# %% [markdown]
# ```text
# 0 held
# iris→iris rose→rose
# True
# ```
#
# Open `report.html` first: [read a report](../read_a_report.md). More kinds of files: [your own
# data](../data.md).
