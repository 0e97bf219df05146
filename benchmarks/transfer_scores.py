"""What is known before a transfer: candidates of docs/transfer_study.md for whether it pays.

They see the features that the model of A makes of the labelled examples of B, its class
probabilities there, and the examples themselves.
"""

from __future__ import annotations

import numpy as np
import ot
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
POINTS = 250
"""Examples of each side in a plan: the first ones of a random order."""


def w2(x: Array, y: Array) -> float:
    """W2² of two sets of examples.

    Args:
        x: shape ``(n, d)``.
        y: shape ``(m, d)``.

    Returns:
        The mean squared distance moved.
    """
    return float(ot.emd2([], [], cdist(x, y, "sqeuclidean")))


def otdd(x_a: Array, y_a: Labels, x_b: Array, y_b: Labels) -> float:
    """Optimal transport between labelled sets: classes lie as far apart as their examples do.

    Source: Alvarez-Melis & Fusi, "Geometric Dataset Distances via Optimal Transport", NeurIPS 2020.

    Args:
        x_a: examples of A.
        y_a: their classes.
        x_b: examples of B.
        y_b: their classes.

    Returns:
        The cost of the plan, squared distances of examples and W2² of classes together.
    """
    between = np.array([
        [w2(x_a[y_a == i], x_b[y_b == j]) for j in np.unique(y_b)] for i in np.unique(y_a)
    ])
    cost = cdist(x_a, x_b, "sqeuclidean") + between[y_a[:, None], y_b[None]]
    return float(ot.emd2([], [], cost))


def leep(probabilities: Array, y: Labels) -> float:
    """Log expected empirical prediction. Source: Nguyen et al., ICML 2020.

    Args:
        probabilities: of the classes of A, shape ``(n, classes)``.
        y: classes of B.

    Returns:
        Nats; more is better.
    """
    joint = np.stack([probabilities[y == j].sum(0) for j in np.unique(y)]) / len(y)
    given = joint / joint.sum(0, keepdims=True)
    return float(np.log((probabilities @ given.T)[np.arange(len(y)), y]).mean())


def h_score(features: Array, y: Labels) -> float:
    """tr(cov(f)⁻¹ cov(E[f|y])). Source: Bao et al., ICIP 2019.

    Args:
        features: shape ``(n, k)``.
        y: classes.

    Returns:
        More is better.
    """
    centred = features - features.mean(0)
    means = np.stack([centred[y == j].mean(0) for j in np.unique(y)])[y]
    return float(np.trace(np.linalg.pinv(centred.T @ centred, rcond=1e-6) @ (means.T @ means)))


def variance_ratio(features: Array, y: Labels) -> float:
    """Class-distance-normalised variance, the mean over pairs of classes; less is better.

    Args:
        features: shape ``(n, k)``.
        y: classes.

    Returns:
        (v_i + v_j) / 2|m_i - m_j|² in the mean.
    """
    groups = [features[y == j] for j in np.unique(y)]
    means, variances = zip(*((g.mean(0), g.var(0).sum()) for g in groups), strict=True)
    pairs = [(i, j) for i in range(len(groups)) for j in range(i)]
    apart = [((means[i] - means[j]) ** 2).sum() for i, j in pairs]
    ratios = [
        (variances[i] + variances[j]) / (2 * d) for (i, j), d in zip(pairs, apart, strict=True)
    ]
    return float(np.mean(ratios))


def log_me(features: Array, y: Labels) -> float:
    """Evidence of a Bayesian linear model of the labels, for each example.

    Source: You et al., "LogME", ICML 2021.

    Args:
        features: shape ``(n, k)``.
        y: classes.

    Returns:
        The mean over classes; more is better.
    """
    n, k = features.shape
    u, s, _ = np.linalg.svd(features, full_matrices=False)
    s2, found = s**2, []
    for label in np.unique(y):
        target = (y == label).astype(np.float64)
        inner, rest = (u.T @ target) ** 2, float(target @ target - ((u.T @ target) ** 2).sum())
        alpha, beta = 1.0, 1.0
        for _ in range(50):  # the fixed point of MacKay
            gamma = float((beta * s2 / (alpha + beta * s2)).sum())
            norm = float((s2 * inner * (beta / (alpha + beta * s2)) ** 2).sum())
            error = float((inner * (alpha / (alpha + beta * s2)) ** 2).sum()) + rest
            alpha, beta = gamma / max(norm, 1e-12), (n - gamma) / max(error, 1e-12)
        evidence = k * np.log(alpha) + n * np.log(beta) - np.log(alpha + beta * s2).sum()
        evidence -= (
            (k - len(s2)) * np.log(alpha) + beta * error + alpha * norm + n * np.log(2 * np.pi)
        )
        found.append(evidence / (2 * n))
    return float(np.mean(found))


def neighbours(features: Array, y: Labels) -> float:
    """Accuracy of the five nearest neighbours, each example left out in its turn.

    Args:
        features: shape ``(n, k)``.
        y: classes.

    Returns:
        The accuracy.
    """
    near = KNeighborsClassifier(6).fit(features, y).kneighbors(features)[1][:, 1:]
    votes = np.stack([(y[near] == label).sum(1) for label in np.unique(y)])
    return float((votes.argmax(0) == y).mean())


def probe(features: Array, y: Labels) -> float:
    """Accuracy of a logistic regression, in five folds.

    Args:
        features: shape ``(n, k)``.
        y: classes.

    Returns:
        The accuracy.
    """
    scaled = (features - features.mean(0)) / np.maximum(features.std(0), 1e-6)
    return float(cross_val_score(LogisticRegression(max_iter=300), scaled, y, cv=5).mean())


def field(
    x_a: Array, y_a: Labels, x_b: Array, y_b: Labels, seen: Array, probabilities: Array
) -> dict[str, float]:
    """All candidates of the field.

    Args:
        x_a: examples of A.
        y_a: their classes.
        x_b: labelled examples of B.
        y_b: their classes.
        seen: features that the model of A makes of these.
        probabilities: class probabilities likewise.

    Returns:
        By name.
    """
    rng = np.random.default_rng(0)
    i, j = (rng.permutation(len(x))[:POINTS] for x in (x_a, x_b))
    return {
        "W2": w2(x_a[i], x_b[j]),
        "OTDD": otdd(x_a[i], y_a[i], x_b[j], y_b[j]),
        "LEEP": leep(probabilities, y_b),
        "LogME": log_me(seen, y_b),
        "H-score": h_score(seen, y_b),
        "CDNV": variance_ratio(seen, y_b),
        "k-NN": neighbours(seen, y_b),
        "linear probe": probe(seen, y_b),
        "k-NN on inputs": neighbours(x_b, y_b),
        "linear probe on inputs": probe(x_b, y_b),
    }
