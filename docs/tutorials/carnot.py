# %% [markdown]
# # A Carnot cycle and its ledger
#
# After this tutorial you have gone around a Carnot cycle by hand, added up its heat and its work,
# and found Carnot's efficiency. It takes seconds, since nothing is trained: the model is linear
# and the data are Gaussian, and then R, D and C at equilibrium have a closed form.
#
# Four distributions of x, given by their covariances. A and B are hot: they are wide, and the
# label y = Lx + noise is hard to tell from z. C and D are cold.

# %%
from itertools import pairwise

import numpy as np
import torch

from thermo_pl.exact.gaussian import LinearGaussian

A = [[1.683, -0.16, 1.125], [-0.16, 5.461, 0.191], [1.125, 0.191, 5.408]]
B = [[2.114, -0.759, 1.507], [-0.759, 4.757, 0.067], [1.507, 0.067, 5.444]]
C = [[1.19, 0.298, 0.268], [0.298, 2.907, -0.156], [0.268, -0.156, 2.218]]
D = [[1.633, 0.328, 0.636], [0.328, 2.504, -0.275], [0.636, -0.275, 1.795]]


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


labels, noise = tensor([[1.0, 0.3, -0.2], [0.1, -0.8, 0.4]]), tensor([[0.02, 0.0], [0.0, 0.02]])
legs = [
    LinearGaussian(  # with the variances of decoder and classifier, and two latents
        tensor(start), tensor(end), labels, noise, 0.5, 0.2, 2
    )
    for start, end in pairwise([A, B, C, D, A])
]

# %% [markdown]
# Now four strokes, in 200 steps each. On an *iso-classification* λ changes as we say, and γ is
# what holds C. On an *adiabat* γ stays, and λ is what keeps λD + γC. The two numbers 0.961… and
# -1.123… are those with which the cycle closes.

# %%
t = np.linspace(0, 1, 201)
lam, gam = 1.0, 1.5
strokes = {}
for name, leg, k in (
    ("hot", legs[0], 0.9611640675),
    ("cooling", legs[1], None),
    ("cold", legs[2], -1.1225721025),
    ("heating", legs[3], None),
):
    if k is None:
        lams, gams = np.array(leg.adiabat(lam, gam, t.tolist())), np.full(t.size, gam)
    else:
        held = leg.state(lam, gam).C
        gams = np.array(leg.iso_classification(held, lam, k, t.tolist(), (0.1, 20.0)))
        lams = lam + k * t
    losses = np.array([leg.state(*point).C for point in zip(lams, gams, t, strict=True)])
    strokes[name] = gams, losses
    lam, gam = lams[-1], gams[-1]

print(f"back at the start: {abs(lam - 1.0) < 1e-6 and abs(gam - 1.5) < 1e-6}")

# %% [markdown]
# ```text
# back at the start: True
# ```
#
# The ledger. Heat is Q = ∫ C dγ, as it is ∫ T dS for a gas.

# %%
heat = {name: np.trapezoid(losses, gams) for name, (gams, losses) in strokes.items()}
for name, (_, losses) in strokes.items():
    print(f"{name:8} C {losses[0]:.4f} to {losses[-1]:.4f}   Q = {heat[name]:7.4f} nats")
work = sum(heat.values())
print(f"work {work:.4f} nats")
print(f"efficiency {work / heat['hot']:.6f}")
print(f"Carnot's   {1 - strokes['cold'][1][0] / strokes['hot'][1][0]:.6f}")

# %% [markdown]
# ```text
# hot      C 1.4482 to 1.4482   Q =  1.2451 nats
# cooling  C 1.4482 to 0.8676   Q =  0.0000 nats
# cold     C 0.8676 to 0.8676   Q = -0.7459 nats
# heating  C 0.8676 to 1.4482   Q =  0.0000 nats
# work 0.4992 nats
# efficiency 0.400897
# Carnot's   0.400897
# ```
#
# The same cycle with networks that are trained, and a ledger with error bars: `python -m thermo_pl
# fit --config lightning_configs/carnot_exact.yaml`. On real digits: `carnot_digits.yaml`. Both are
# on the page of the [configs](../configs.md); what else the ledger has is on that of [strokes and
# cycles](../carnot.md#the-ledger).
