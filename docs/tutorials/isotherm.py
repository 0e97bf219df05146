# %% [markdown]
# # The isotherm by hand
#
# After this tutorial you have held the classification loss of a small model while its data moved,
# in a loop of your own, without a trainer and without a config. It takes a few seconds.
#
# The data are two clouds of points with two classes. We turn the first cloud into the second.

# %%
import torch

import thermo_pl as tp

torch.manual_seed(0)
y = torch.eye(2).repeat(150, 1)  # labels as probabilities, (n, classes)
x_a = 1.5 * y[:, :1] + torch.randn(300, 3)  # where the points are at t = 0
x_b = x_a + torch.tensor([0.5, 0.0, -0.5])  # and where each of them is at t = 1
data = tp.TensorPath(tp.TensorPairs(x_a, x_b, y))

# %% [markdown]
# In data of your own you do not know which point belongs to which. `tp.optimal_plan` finds the
# cheapest pairs: see its entry in the [reference](../reference/thermo_pl.md).
#
# Four networks make a model. λ and γ are the prices of distortion and of classification loss.

# %%
from thermo_pl.networks import Gaussian

networks = tp.Networks(
    tp.MLPEncoder([3], latent_dim=2, hidden=[]),
    tp.LinearClassifier(2, classes=2),
    tp.MLPDecoder([3], 2, hidden=[], likelihood=Gaussian(1.0)),
    tp.StandardNormal(2),
    lam=1.0,
    gam=4.0,
)
system = tp.System(networks, data, torch.optim.Adam(networks.parameters(), lr=0.01))

# %% [markdown]
# The rule says what is held: C, while λ rises by `k` on the way. The continuation drives the
# system by the rule. It first trains to equilibrium, then takes five steps. In each it *predicts*
# how the parameters and γ must follow, relaxes, corrects and measures.

# %%
rule = tp.IsoClassificationRule(k=0.2, steps=tp.ConstantSteps(5))
process = tp.Continuation(system, rule, tp.Settings(), seed=0)

for result in process.run(process.start(), tp.Relaxation(system)):
    row = result.row
    off = abs(row["C"] / row["C_target"] - 1)
    print(f"t = {row['t']:.1f}  lambda = {row['lambda']:.2f}  C held to 2%: {off < 0.02}")

# %% [markdown]
# ```text
# t = 0.0  lambda = 1.00  C held to 2%: True
# t = 0.2  lambda = 1.04  C held to 2%: True
# t = 0.4  lambda = 1.08  C held to 2%: True
# t = 0.6  lambda = 1.12  C held to 2%: True
# t = 0.8  lambda = 1.16  C held to 2%: True
# t = 1.0  lambda = 1.20  C held to 2%: True
# ```
#
# What you can look at now: `row` has each [column of path.csv](../runs.md#the-columns-of-pathcsv),
# such as γ (`gamma`), the total derivatives (`C_gamma`) and the dissipation (`relaxation`).
# `result.solved` is the linear response.
#
# `process` keeps no state. `result.state` has all of it, and a run can go on from any: [the
# engine](../engine.md#state-in-and-out).
