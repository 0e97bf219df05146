"""Few labels of 5-9 and all of their images: the path beside what a user would do instead.

    THERMO_PL_DATA=... python benchmarks/few_labels.py --methods path replay --budgets 5 --seeds 0

Methods without a model of A are by scikit-learn, on 50 principal components of pixels. The others
are lightning_configs/transfer_mnist/few_labels.yaml with another process, all on the same spread
labels and networks. Runs lie under --root; one that is there is read, not run again. The strengths
of L2-SP and EWC are those of --strengths with the best mean of the validation accuracies on A and B
with 20 labels at seed 0: that looks at validation labels of B, which no other method does.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import warnings
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from kept_runs import summary_of, tested
from shipped_configs import shipped
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.semi_supervised import LabelSpreading

from thermo_pl.datamodules import MNIST, Waypoint
from thermo_pl.datamodules.domains import Domain, load_domains
from thermo_pl.files import read_csv

NAN = float("nan")
EPOCHS = 8
"""Of training on B where nothing moves: as many as the path has steps."""


class Result(NamedTuple):
    """A line of the table; nan where a method has no such number.

    Attributes:
        accuracy: on the test images of 5-9.
        kept: on those of 0-4.
        drift: largest |C/C* - 1| on the measuring probe.
        calibration: expected calibration error on the test images of 5-9.
        gradients: of J, each at one image and one draw of z.
        seconds: wall time.
    """

    accuracy: float
    kept: float = NAN
    drift: float = NAN
    calibration: float = NAN
    gradients: float = NAN
    seconds: float = NAN


HEAD = (
    f"{'method':<24}{'labels':>7}{'seed':>6}{'acc B':>8}{'acc A':>8}{'mean':>8}{'C drift':>9}"
    f"{'ECE':>8}{'gradients':>12}{'seconds':>9}"
)
BUDGETS = (5, 20, 100)
STRENGTHS = {"l2_sp": 1.0, "ewc": 1.0}
TRIED = (0.01, 0.1, 1.0, 10.0)
WITHOUT_A = ("class_means", "nearest_neighbours", "linear_probe", "label_spreading", "poisson")
TRAINED = ("from_scratch", "fine_tuning", "l2_sp", "ewc", "replay", "constant_gamma", "path")
METHODS = (*WITHOUT_A, *TRAINED)


@cache
def target(labels: int, seed: int, spread: bool) -> Domain:
    """The images of 5-9: those with labels alone, or all with spread labels."""
    mode = "spread" if spread else "given"
    waypoint = Waypoint([5, 6, 7, 8, 9], MNIST(), per_class=labels, choice=seed, labels=mode)
    return load_domains([waypoint])[0]


@cache
def components() -> tuple[PCA, Any, Any, Any, Any]:
    """Principal components of all images of 5-9, the images in them, and test images and labels."""
    everything = load_domains([Waypoint([5, 6, 7, 8, 9], MNIST())])[0].splits
    images, test = (everything[split].images.numpy() for split in ("train", "test"))
    pixels, others = (part.reshape(len(part), -1).astype(np.float64) for part in (images, test))
    pca = PCA(50, svd_solver="randomized", random_state=0).fit(pixels)
    truth = everything["test"].labels.numpy()
    return pca, images, pca.transform(pixels), pca.transform(others), truth


def without_a(method: str, labels: int, seed: int) -> Result:
    """A method of scikit-learn on principal components, or nearest neighbours by spread labels."""
    pca, images, everything, test, truth = components()
    few = target(labels, seed, False).splits["train"]
    since = time.perf_counter()
    x, y = pca.transform(few.images.flatten(1).double().numpy()), few.labels.numpy()
    if method == "poisson":
        x, y = everything, target(labels, seed, True).splits["train"].labels
    if method == "label_spreading":
        given = {image.tobytes(): label for image, label in zip(few.images.numpy(), y, strict=True)}
        known = np.array([given.get(image.tobytes(), -1) for image in images])
        x = everything
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says that it has not converged after 100 rounds
            graph = LabelSpreading(kernel="knn", n_neighbors=10, alpha=0.99, max_iter=100)
            y = graph.fit(x, known).transduction_
    models = {
        "class_means": NearestCentroid(),
        "nearest_neighbours": KNeighborsClassifier(1),
        "linear_probe": LogisticRegression(max_iter=2000),
    }
    model = models.get(method, KNeighborsClassifier(10)).fit(x, np.asarray(y))
    accuracy = float((model.predict(test) == truth).mean())
    return Result(accuracy, seconds=time.perf_counter() - since)


def config_of(method: str, labels: int, seed: int, strength: float | None = None) -> dict[str, Any]:
    """The config of a run."""
    config = shipped("transfer_mnist/few_labels")
    config["seed_everything"] = seed
    data, callbacks = config["data"]["init_args"], config["trainer"]["callbacks"]
    data["waypoints"][1] |= {"per_class": labels, "choice": seed}
    if method == "path":
        return config
    probes = callbacks[-1]["init_args"]["probes"]
    measuring = {key: probes[key] for key in ("measuring_particles", "measuring_samples")}
    moves = method == "constant_gamma"
    steps = callbacks[-1]["init_args"]["steps"] if moves else 1
    process = {
        "steps": steps,
        "source_epochs": EPOCHS,
        "epochs": 1 if moves else EPOCHS,
        "probes": measuring,
    }
    callbacks[-1] = {"class_path": "DomainSteps", "init_args": process}
    if method in STRENGTHS:
        pull = {"strength": STRENGTHS[method] if strength is None else strength}
        pull |= {"fisher": method == "ewc"}
        callbacks.insert(0, {"class_path": "anchored.Anchored", "init_args": pull})
    if method not in {"replay", "constant_gamma"}:
        data["replay"] = 0.0
    if method == "from_scratch":
        del data["waypoints"][0]
    return config


def trained(folder: Path, config: dict[str, Any]) -> Result | None:
    """Run a config if need be, test it on 5-9, and read what came of it."""
    summary = summary_of(folder, config)
    if summary is None:
        return None
    metrics = tested(folder)
    alone = len(config["data"]["init_args"]["waypoints"]) == 1
    return Result(
        metrics["test/accuracy"],
        NAN if alone else summary["accuracy"]["A"][1],
        NAN if alone else summary["drift_max"],
        metrics["test/calibration"],
        summary["gradients"],
        summary["seconds"],
    )


def line(method: str, labels: str, seed: str, found: Result) -> str:
    """A line of the table."""
    mean = (found.accuracy + found.kept) / 2
    cells = (
        f"{found.accuracy:>8.4f}{found.kept:>8.4f}{mean:>8.4f}{found.drift:>9.1%}"
        f"{found.calibration:>8.4f}{found.gradients:>12,.0f}{found.seconds:>9.0f}"
    )
    return f"{method:<24}{labels:>7}{seed:>6}" + cells.replace("nan%", "   -").replace("nan", "  -")


def strengths(root: Path, method: str) -> None:
    """Print what each strength comes to on validation examples."""
    for strength in TRIED:
        config = config_of(method, 20, 0, strength)
        if summary_of(root / f"{method}_{strength}", config) is not None:
            last = read_csv(root / f"{method}_{strength}" / "version_0" / "path.csv")[-1]
            both = last["val_accuracy"], last["kept_accuracy"]
            print(f"{method} {strength:>7}  B {both[0]:.4f}  A {both[1]:.4f}  {sum(both) / 2:.4f}")


def main() -> None:
    """Run what is asked for and print the table, line by line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path("runs/benchmark_few_labels"))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--budgets", type=int, nargs="+", choices=BUDGETS, default=BUDGETS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--strengths", choices=STRENGTHS, help="try those of L2-SP or EWC instead")
    arguments = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")])
    )
    if arguments.strengths:
        strengths(arguments.root, arguments.strengths)
        return
    print(HEAD, flush=True)
    for labels, method in product(arguments.budgets, arguments.methods):
        of_seeds = []
        for seed in arguments.seeds:
            folder = arguments.root / f"{method}_{labels}_{seed}"
            found = (
                without_a(method, labels, seed)
                if method in WITHOUT_A
                else trained(folder, config_of(method, labels, seed))
            )
            if found is None:
                print(f"{method:<24}{labels:>7}{seed:>6}  failed", flush=True)
                continue
            of_seeds.append(found)
            print(line(method, str(labels), str(seed), found), flush=True)
        if len(of_seeds) > 1:
            means = Result(*map(statistics.fmean, zip(*of_seeds, strict=True)))
            print(line(method, str(labels), "mean", means), flush=True)


if __name__ == "__main__":
    main()
