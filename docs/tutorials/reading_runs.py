# %% [markdown]
# # Read runs in Python
#
# After this tutorial you can work with the numbers of a run: in plain Python, in numpy, or in
# pandas.
#
# The run is that of [your own table](own_table.md), which this script goes on from. Any other will
# do: `runs/iso_digits/version_0`.

# %%
from pathlib import Path

import numpy as np

import thermo_pl as tp

directory = Path("runs/plants/version_0")
run = tp.read_run(directory)
print(run.status)
print(run.results["steps"], "steps, C in", run.path[0]["stroke"], "row:", run.path[0]["C"] > 0)

# %% [markdown]
# ```text
# done
# 4 steps, C in equilibration row: True
# ```
#
# `run.path` is path.csv as a list of rows, with numbers where there are numbers. `run.config` is
# the config as one level of dotted keys, and `run.results` has what [`compare`](../compare.md)
# shows.
#
# In numpy, the distance of C from its target along the path:

# %%
t, c, target = (np.array([row[name] for row in run.path]) for name in ("t", "C", "C_target"))
drift = c / target - 1
print(t, np.abs(drift).max() < 0.01)

# %% [markdown]
# ```text
# [0.   0.25 0.5  0.75 1.  ] True
# ```
#
# pandas is not among our dependencies. Where you have it, the files are plain CSV:
#
# ```python
# import pandas as pd
#
# path = pd.read_csv("runs/plants/version_0/path.csv", index_col="step")
# path[["t", "lambda", "gamma", "C"]].plot(subplots=True)
# ```
#
# Several runs side by side:

# %%
table = tp.compare([run])
print([name for name in table.columns if name in {"C", "gamma", "drift_max", "promise"}])

# %% [markdown]
# ```text
# ['gamma', 'C', 'drift_max', 'promise']
# ```
#
# The trained model, with θ, λ and γ as they were at the end. It wants examples as it saw them: here
# rows that are standardised as those of the first file were. Zeros are the mean plant.

# %%
import torch

model = tp.load(directory)
prediction = model.predict(torch.zeros(2, 3))
print(tuple(prediction.z.shape), tuple(prediction.probabilities.shape))

# %% [markdown]
# ```text
# (2, 2) (2, 2)
# ```
#
# All columns and files: [runs](../runs.md).
