"""What the table of the transfer study says, by the test of docs/transfer_study.md."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import rankdata, spearmanr
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from thermo_pl.reports.figures import BLUE, DPI, ORANGE

Array = NDArray[np.float64]
RESPONSE = ("|C_t|", "|γ̇|/γ", "length at 0", "force", "sudden J", "sudden C")
PATH = ("length", "dissipation", "∫|C_t|", "ln γ", "ΔF")
FIELD = (
    *("W2", "OTDD", "LEEP", "LogME", "H-score", "CDNV", "k-NN", "linear probe"),
    *("k-NN on inputs", "linear probe on inputs"),
)
SUMS = {"sum of one response": RESPONSE, "sum of the field's": FIELD}
STATIC, BEATEN = "static ranking", "k-NN"
DRAWS, UNSIGNED = 2000, 0.005
ENOUGH = 60
"""Pairs that a report asks for."""


class Line(NamedTuple):
    """A pair at one budget, means over seeds.

    Attributes:
        source: data set of A.
        target: data set of B.
        kind: of shift.
        gain: of transfer.
        values: of the candidates.
    """

    source: str
    target: str
    kind: str
    gain: float
    values: dict[str, float]


class Found(NamedTuple):
    """How a candidate did.

    Attributes:
        rho: mean of the data sets' ρ.
        low: 2.5 % of the bootstrap.
        high: 97.5 %.
        ahead: of nearest neighbours, with its interval.
        auc: for the sign of the gain.
    """

    rho: float
    low: float
    high: float
    ahead: tuple[float, float, float]
    auc: float


def lines(table: Path, budget: str, first_seed: bool) -> list[Line]:
    """Read the table.

    Args:
        table: the CSV.
        budget: few or many.
        first_seed: seed 0 alone, where paths were run.

    Returns:
        A line for each pair.
    """
    groups = defaultdict(list)
    with table.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["budget"] == budget and (not first_seed or row["seed"] == "0"):
                groups[row["source"], row["target"], row["kind"]].append(row)
    names = RESPONSE + FIELD + (PATH if first_seed else ())
    return [
        Line(*key, mean(rows, "gain"), {name: mean(rows, name) for name in names})
        for key, rows in groups.items()
    ]


def mean(rows: list[dict[str, str]], name: str) -> float:
    """Mean of a column over rows."""
    return float(np.mean([float(row[name]) for row in rows]))


def predicted(name: str, train: list[Line], test: list[Line]) -> Array:
    """What a candidate says of pairs of a data set that it has not seen; more is better.

    Args:
        name: of the candidate.
        train: pairs with neither end in that set.
        test: pairs whose target is in it.

    Returns:
        A number for each of these.
    """
    gains = np.array([line.gain for line in train])
    if name == STATIC:
        kinds = defaultdict(list)
        for line in train:
            kinds[line.kind].append(line.gain)
        return np.array([np.mean(kinds.get(line.kind, gains)) for line in test])
    columns = SUMS.get(name, (name,))
    ranked = [
        np.stack([rankdata([line.values[c] for line in part]) / len(part) for c in columns], 1)
        for part in (train, test)
    ]
    if name in SUMS:
        return np.asarray(Ridge(alpha=1.0).fit(ranked[0], gains).predict(ranked[1]))
    return np.sign(correlation(ranked[0][:, 0], gains)) * ranked[1][:, 0]


def correlation(x: Array, y: Array) -> float:
    """Spearman's ρ; 0 where one of both is constant."""
    return 0.0 if np.ptp(x) == 0 or np.ptp(y) == 0 else float(spearmanr(x, y).statistic)


def left_out(table: list[Line]) -> Iterator[tuple[list[Line], list[Line]]]:
    """Training and test pairs, one data set after the other left out."""
    for name in sorted({line.target for line in table}):
        train = [line for line in table if name not in {line.source, line.target}]
        yield train, [line for line in table if line.target == name]


def evaluate(table: list[Line], names: list[str]) -> dict[str, Found]:
    """The test of the protocol.

    Args:
        table: a line for each pair.
        names: of the candidates.

    Returns:
        By name.
    """
    rng, folds = np.random.default_rng(0), list(left_out(table))
    gains = [np.array([line.gain for line in test]) for _, test in folds]
    draws = [rng.integers(len(gain), size=(DRAWS, len(gain))) for gain in gains]
    rhos, boots, aucs = {}, {}, {}
    for name in names:
        said = [predicted(name, train, test) for train, test in folds]
        pairs = list(zip(said, gains, strict=True))
        rhos[name] = float(np.mean([correlation(p, gain) for p, gain in pairs]))
        drawn = [bootstrap(p, gain, d) for (p, gain), d in zip(pairs, draws, strict=True)]
        boots[name] = np.mean(drawn, axis=0)
        ranks = np.concatenate([rankdata(p) / len(p) for p in said])
        signed = np.abs(np.concatenate(gains)) > UNSIGNED
        aucs[name] = float(roc_auc_score(np.concatenate(gains)[signed] > 0, ranks[signed]))
    return {
        name: Found(
            rhos[name],
            *np.quantile(boots[name], (0.025, 0.975)),
            (
                rhos[name] - rhos[BEATEN],
                *np.quantile(boots[name] - boots[BEATEN], (0.025, 0.975)),
            ),
            aucs[name],
        )
        for name in names
    }


def bootstrap(said: Array, gain: Array, draws: NDArray[np.int64]) -> Array:
    """ρ of each draw of pairs; 0 where a draw has no spread."""
    x, y = (rankdata(v[draws], axis=1) for v in (said, gain))
    x, y = (v - v.mean(1, keepdims=True) for v in (x, y))
    norm = np.sqrt((x**2).sum(1) * (y**2).sum(1))
    return np.divide((x * y).sum(1), norm, out=np.zeros(len(norm)), where=norm > 0)


def report(table: Path, figure: Path | None) -> None:
    """Print the results, and draw them.

    Args:
        table: the CSV.
        figure: file of the picture, or None.
    """
    picture = Figure(figsize=(9.0, 5.2), layout="constrained")
    panels = picture.subplots(1, 2)
    for panel, budget in zip(panels, ("few", "many"), strict=True):
        everything = lines(table, budget, False)
        if len(everything) < ENOUGH:
            print(f"\n{budget} labels: {len(everything)} pairs, too few")
            continue
        gains = np.array([line.gain for line in everything])
        pays, loses = (gains > UNSIGNED).sum(), (gains < -UNSIGNED).sum()
        print(f"\n{budget} labels: {len(gains)} pairs; transfer pays in {pays}, loses in {loses}")
        found = evaluate(everything, [STATIC, *FIELD, *RESPONSE, *SUMS])
        shown(found)
        print("seed 0 alone, where paths were run:")
        whole = [
            line
            for line in lines(table, budget, True)
            if np.isfinite([line.values[name] for name in PATH]).all()
        ]
        shown(evaluate(whole, [STATIC, BEATEN, "linear probe", *RESPONSE, *PATH]))
        order = sorted(found, key=lambda name: found[name].rho)
        for place, name in enumerate(order):
            one, thermal = found[name], name in RESPONSE or name == "sum of one response"
            colour = ORANGE if thermal else BLUE
            panel.plot([one.low, one.high], [place, place], color=colour, lw=1.5)
            panel.plot(one.rho, place, "s" if thermal else "o", color=colour, ms=5)
        panel.set_title(f"{budget} labels", fontsize="medium")
        panel.set_xlim(-1, 1)
        panel.set_yticks(range(len(order)), order, fontsize="x-small")
        panel.axvline(0, color="0.7", lw=0.8)
        panel.set_xlabel("Spearman's ρ, data set left out")
        panel.grid(axis="x", alpha=0.3)
    for label, colour, marker in (("thermodynamic", ORANGE, "s"), ("of the field", BLUE, "o")):
        panels[0].plot([], [], marker, color=colour, ms=5, label=label)
    panels[0].legend(loc="lower left", fontsize="x-small")
    if figure is not None:
        picture.savefig(figure, dpi=DPI)


def shown(found: dict[str, Found]) -> None:
    """Print a table, the best first."""
    head = f"{'ahead of k-NN':>16}{'95 %':>18}{'AUC':>7}"
    print(f"{'candidate':<26}{'ρ':>7}{'95 %':>18}{head}")
    for name in sorted(found, key=lambda name: -found[name].rho):
        one = found[name]
        interval, apart = (f"{a:+.2f} to {b:+.2f}" for a, b in (one[1:3], one.ahead[1:]))
        print(
            f"{name:<26}{one.rho:>+7.2f}{interval:>18}{one.ahead[0]:>+16.2f}{apart:>18}{one.auc:>7.2f}"
        )
