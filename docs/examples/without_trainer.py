"""Hold the classification loss while your own tensors move: no trainer, no config."""

import torch

import thermo_pl as tp

torch.manual_seed(0)
y = torch.eye(2).repeat(500, 1)
x_a = (0.3 + 0.1 * y[:, :1, None, None] + 0.2 * torch.randn(1000, 1, 4, 4)).clamp(0, 1)
x_b = 0.3 + 0.5 * x_a  # the partner of each; tp.optimal_plan finds partners in data of your own
data = tp.TensorPath(tp.TensorPairs(x_a, x_b, y))

parts = tp.MLPEncoder([1, 4, 4], 2), tp.LinearClassifier(2, 2), tp.MLPDecoder([1, 4, 4], 2)
networks = tp.Networks(*parts, tp.StandardNormal(2), lam=1.0, gam=5.0)
system = tp.System(networks, data, torch.optim.Adam(networks.parameters(), lr=2e-3))
rule = tp.IsoClassificationRule(k=0.5, steps=tp.ConstantSteps(10))
settings = tp.Settings(
    tp.Equilibration(stationarity=0.05, max_epochs=100),
    tp.Probes(1000, 2, control_particles=1000, control_samples=32, measuring_samples=32),
    tp.ResponseSettings(damping="auto"),
)
process = tp.Continuation(system, rule, settings, seed=0)
for result in process.run(process.start(), tp.Relaxation(system)):
    t, gam, C = (result.row[name] for name in ("t", "gamma", "C"))
    print(f"t = {t:.2f}, gamma = {gam:.3g}, C = {C:.4f}")
