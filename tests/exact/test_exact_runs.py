"""Systems with a known equilibrium, run by the ordinary fit, against their closed forms."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from scipy.optimize import brentq
from torch import Tensor

from support.exact_runs import make_linear_model, tensor
from support.process_runs import fit
from thermo_pl.callbacks import Equilibration, IsoClassification
from thermo_pl.cli import main
from thermo_pl.configs.layers import load
from thermo_pl.datamodules import GaussianDomains
from thermo_pl.exact.alphabet import Alphabet
from thermo_pl.exact.gaussian import LinearGaussian
from thermo_pl.exact.linear_vae import learned_pixel_variance, vae_state
from thermo_pl.files import read_csv
from thermo_pl.module import FreeEnergyModel
from thermo_pl.networks import (
    Gaussian,
    LinearGaussianEncoder,
    MLPDecoder,
    StandardNormal,
)
from thermo_pl.particles import interpolate
from thermo_pl.path.segments import first_law_residual
from thermo_pl.response.linear import ResponseSettings
from thermo_pl.response.objective import Objective, Probe

Rows = list[dict[str, Any]]
CONFIGS = Path(__file__).parents[2] / "lightning_configs"
CLOSE = 1e-6
"""What the runs promise of R, D, C, J in nats and of their slopes."""


def place(row: dict[str, Any]) -> tuple[float, float, float]:
    return row["lambda"], row["gamma"], row["t"]


def fit_config(config: dict[str, Any], folder: Path) -> Rows:
    """Run a config on the command line and read its path."""
    config["trainer"]["default_root_dir"] = str(folder / "runs")
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", str(path)]) == 0
    return read_csv(folder / "runs" / "version_0" / "path.csv")


# --- Gaussians that move ---


def system_of(config: dict[str, Any]) -> LinearGaussian:
    """The closed form of a config with Gaussian data."""
    data, model = config["data"]["init_args"], config["model"]["init_args"]
    start, end = map(tensor, data["covariances"])
    return LinearGaussian(
        start,
        end,
        tensor(data["label_map"]),
        tensor(data["label_noise"]),
        model["decoder"]["init_args"]["likelihood"]["init_args"]["variance"],
        model["classifier"]["init_args"]["variance"],
        model["encoder"]["init_args"]["latent_dim"],
    )


def check_states(rows: Rows, system: LinearGaussian) -> None:
    """R, D, C, J and ∂_tJ of every row are those of the closed form at the row's place."""
    for row in rows:
        found = [row[name] for name in ("R", "D", "C", "J", "J_t")]
        expected = [*system.state(*place(row)), system.forces(*place(row))[2].item()]
        assert found == pytest.approx(expected, rel=0, abs=CLOSE), row["step"]


def check_slopes(rows: Rows, system: LinearGaussian) -> None:
    """The total derivatives of D and C in every row are those of the closed form."""
    for row in rows:
        exact = system.derivatives(*place(row))[1:]
        found = [[row[f"{x}_{a}"] for a in ("lambda", "gamma", "t")] for x in "DC"]
        assert (tensor(found) - exact).abs().max() <= CLOSE, row["step"]


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Rows, LinearGaussian]:
    config = load(CONFIGS / "exact_gaussian.yaml")
    return fit_config(config, tmp_path_factory.mktemp("gaussian")), system_of(config)


@pytest.mark.slow
def test_the_gaussian_config_runs_along_the_exact_surface(
    shipped: tuple[Rows, LinearGaussian],
) -> None:
    rows, system = shipped
    assert len(rows) == 51
    check_states(rows, system)
    check_slopes(rows, system)
    # the data term is there to be got wrong
    assert max(abs(row["C_t"]) for row in rows) > 0.01
    assert max(abs(row["D_t"]) for row in rows) > 0.1


@pytest.mark.slow
def test_the_gaussian_config_holds_c_by_the_exact_gamma(
    shipped: tuple[Rows, LinearGaussian],
) -> None:
    rows, system = shipped
    start = place(rows[0])
    target, rate = system.state(*start).C, rows[-1]["lambda"] - start[0]
    times = [row["t"] for row in rows]
    exact = system.iso_classification(target, start[0], rate, times).tolist()
    assert [row["gamma"] for row in rows] == pytest.approx(exact, rel=1e-3)
    assert max(exact) / min(exact) > 1.05  # a constant γ would not do


@pytest.mark.slow
def test_the_gaussian_config_obeys_the_first_law(shipped: tuple[Rows, LinearGaussian]) -> None:
    rows, system = shipped
    for before, after in pairwise(rows):
        assert abs(after["first_law_residual"]) <= CLOSE
        # and what is left is the error of the trapezoidal rule between two exact equilibria
        ends = []
        for row in (before, after):
            forces = system.forces(*place(row))
            exact = system.state(*place(row))._asdict() | {"J_t": forces[2].item()}
            ends.append(exact | dict(zip(("lambda", "gamma", "t"), place(row), strict=True)))
        expected = first_law_residual(*ends)
        assert after["first_law_residual"] == pytest.approx(expected, rel=0, abs=1e-7)


SMALL = LinearGaussian(
    start=tensor([[4.0, 0.6], [0.6, 1.5]]),
    end=tensor([[2.5, -0.4], [-0.4, 1.2]]),
    label_map=tensor([[1.0, 0.3], [0.2, -0.8]]),
    label_noise=tensor([[0.125, 0.0], [0.0, 0.125]]),
    pixel_variance=0.5,
    label_variance=0.3,
    latent_dim=1,
)
"""One latent for two pixels: C_t changes its sign on the way, and is larger than C_λ."""


def small_run(folder: Path, steps: int, restoring: bool) -> Rows:
    """Iso-classification on the small system."""
    torch.manual_seed(0)
    assert SMALL.end is not None
    ends = [SMALL.start.tolist(), SMALL.end.tolist()]
    labels = SMALL.label_map.tolist(), SMALL.label_noise.tolist()
    process = IsoClassification(
        k=0.5,
        steps=steps,
        restoring=restoring,
        equilibration=Equilibration(stationarity=1e-13, max_epochs=20, check_every=1),
        response=ResponseSettings(1e-8, "hessian", 1e-8, 500),
    )
    run = fit(
        folder,
        GaussianDomains(ends, *labels, train_batches=1),  # type: ignore[arg-type]
        model=make_linear_model(SMALL, 1.0, 2.0),
        process=process,
        precision="64-true",
    )
    return run.rows


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """Ten steps without restoring term or corrector."""
    return small_run(tmp_path_factory.mktemp("short") / "10", 10, restoring=False)


@pytest.fixture(scope="module")
def euler(tmp_path_factory: pytest.TempPathFactory, short: Rows) -> list[Rows]:
    """The same in 10, 20 and 40 steps."""
    folder = tmp_path_factory.mktemp("euler")
    return [short, *(small_run(folder / str(n), n, restoring=False) for n in (20, 40))]


@pytest.fixture(scope="module")
def restored(tmp_path_factory: pytest.TempPathFactory) -> list[Rows]:
    """Runs of 20 and 40 steps as they are meant."""
    folder = tmp_path_factory.mktemp("restored")
    return [small_run(folder / str(steps), steps, restoring=True) for steps in (20, 40)]


def final_errors(runs: list[Rows]) -> list[float]:
    target = SMALL.state(1.0, 2.0).C
    return [rows[-1]["gamma"] - SMALL.gamma_at(target, 1.5, 1.0) for rows in runs]


def test_a_run_of_few_steps_is_on_the_exact_surface(short: Rows) -> None:
    assert len(short) == 11
    check_states(short, SMALL)
    check_slopes(short, SMALL)
    slopes = [row["C_t"] for row in short]
    assert min(slopes) < -0.1
    assert max(slopes) > 0.01


def test_without_restoring_term_gamma_takes_eulers_steps_on_the_exact_slopes(short: Rows) -> None:
    for before, after in pairwise(short):
        by_lam, by_gam, by_t = SMALL.derivatives(*place(before))[2].tolist()
        step = -(0.5 * by_lam + by_t) / by_gam * (after["t"] - before["t"])
        assert after["gamma"] - before["gamma"] == pytest.approx(step, rel=0, abs=CLOSE)
        assert after["corrections"] == 0


@pytest.mark.slow
def test_without_restoring_term_gamma_converges_at_first_order(euler: list[Rows]) -> None:
    errors = final_errors(euler)
    assert all(abs(a / b - 2) <= 0.2 for a, b in pairwise(errors)), errors
    assert abs(errors[-1]) > 1e-3  # so that the order can be seen


@pytest.mark.slow
def test_the_restoring_term_gains_an_order(euler: list[Rows], restored: list[Rows]) -> None:
    # each step makes good what the one before missed, so that local errors do not add up
    errors = final_errors(restored)
    assert all(row["corrections"] == 0 for rows in restored for row in rows)
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.2), errors
    assert abs(errors[1]) < abs(final_errors(euler)[2]) / 4
    check_states(restored[1], SMALL)


@pytest.mark.parametrize("lam", [0.6, 1.0, 2.0])
def test_a_learned_pixel_variance_relaxes_to_the_exact_one(lam: float) -> None:
    torch.manual_seed(0)
    covariance = [[4.0, 0.6, 0.2], [0.6, 2.5, -0.3], [0.2, -0.3, 1.6]]
    data = GaussianDomains([covariance], [[1.0, 0, 0], [0, 1.0, 0]], [[1.0, 0], [0, 1.0]])
    model = FreeEnergyModel(
        LinearGaussianEncoder((1, 1, 3), 2),
        decoder=MLPDecoder((1, 1, 3), 2, hidden=(), likelihood=Gaussian(0.3, learned=True)),
        marginal=StandardNormal(2),
        lam=lam,
        gam=0.0,
    ).double()
    particles = data.coupling("train").all()
    probe = Probe(particles, model.noise(1, len(particles.weight)))
    optimizer = torch.optim.LBFGS(
        model.parameters(),
        max_iter=2000,
        tolerance_grad=1e-10,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )
    x, y, weight = interpolate(particles, 0.0)

    def closure() -> Tensor:
        optimizer.zero_grad()
        rate, distortion, _ = model.terms(model(x, probe.noise), x, y)
        loss = (rate + lam * distortion) @ weight / weight.sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    variances = torch.linalg.eigvalsh(tensor(covariance))
    exact = learned_pixel_variance(variances, lam, 2)
    assert abs(exact / 0.3 - 1) > 0.1  # it had to move
    found = model.decoder.likelihood.log_variance.exp().item()
    assert found == pytest.approx(exact, rel=CLOSE)
    rate, distortion, _ = Objective(model, probe).means(Objective(model, probe).theta, 0.0)
    expected = vae_state(variances, lam, exact, 2)
    assert (rate.item(), distortion.item()) == pytest.approx(expected[:2], rel=0, abs=CLOSE)


# --- a finite alphabet ---


def alphabet_of(config: dict[str, Any]) -> Alphabet:
    """The closed form of a config with a finite alphabet, its marginal free."""
    data, model = config["data"]["init_args"], config["model"]["init_args"]
    codes = model["encoder"]["init_args"]["latent_dim"]
    return Alphabet(
        tensor(data["p_x"]),
        tensor(data["p_y_given_x"]),
        tensor(model["decoder"]["init_args"]["table"]),
        tensor(model["classifier"]["init_args"]["table"]),
        torch.full((codes,), 1 / codes, dtype=torch.float64),
        frozenset({"marginal"}),
    )


def categorical_run(folder: Path, steps: int | None = None) -> tuple[Rows, Alphabet]:
    config = load(CONFIGS / "exact_categorical.yaml")
    process = config["trainer"]["callbacks"][-1]["init_args"]
    process["steps"] = steps or process["steps"]
    rows = fit_config(config, folder)
    assert len(rows) == 1 + process["steps"]
    return rows, alphabet_of(config)


@pytest.fixture(scope="module")
def categorical(tmp_path_factory: pytest.TempPathFactory) -> tuple[Rows, Alphabet]:
    return categorical_run(tmp_path_factory.mktemp("categorical"))


def check_alphabet(rows: Rows, system: Alphabet) -> None:
    """R, D, C, J and the slopes of D and C in every row are those of the closed form."""
    for row in rows:
        lam, gam, _ = place(row)
        state, exact = system.equilibrium(lam, gam), system.derivatives(lam, gam)[1:]
        found = [row[name] for name in "RDCJ"]
        expected = [value.item() for value in (state.R, state.D, state.C, state.F)]
        assert found == pytest.approx(expected, rel=0, abs=CLOSE), row["step"]
        slopes = tensor([[row[f"{x}_{a}"] for a in ("lambda", "gamma")] for x in "DC"])
        assert (slopes - exact).abs().max() <= CLOSE, row["step"]
        assert row["D_t"] == row["C_t"] == row["J_t"] == 0  # nothing moves
        # a marginal that did not follow would be seen
        assert (system.fluctuation_response(lam, gam)[1:] - exact).abs().max() > 100 * CLOSE


def test_the_categorical_config_in_few_steps_is_on_the_exact_surface(tmp_path: Path) -> None:
    check_alphabet(*categorical_run(tmp_path, 4))


@pytest.mark.slow
def test_the_categorical_config_runs_along_the_exact_surface(
    categorical: tuple[Rows, Alphabet],
) -> None:
    check_alphabet(*categorical)


@pytest.mark.slow
def test_the_categorical_config_holds_c_by_the_exact_gamma(
    categorical: tuple[Rows, Alphabet],
) -> None:
    rows, system = categorical
    target = system.equilibrium(rows[0]["lambda"], rows[0]["gamma"]).C.item()
    for row in rows[::5]:

        def excess(gam: float, lam: float = row["lambda"]) -> float:
            return system.equilibrium(lam, gam).C.item() - target

        assert row["gamma"] == pytest.approx(brentq(excess, 0.01, 10, xtol=1e-10), rel=1e-3)
    assert rows[-1]["gamma"] < rows[0]["gamma"] / 2
