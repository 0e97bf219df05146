"""Few labels and all examples: labels spread over a graph of near neighbours.

Poisson learning: the few labels are sources and sinks on the graph, and the class of a node is that
whose potential is highest there. Where labels are very few, it stays informative between them, and
label propagation goes flat. Source: Calder, Cook, Thorpe & Slepčev, "Poisson Learning: Graph Based
Semi-Supervised Learning At Very Low Label Rates", ICML 2020. Their own package has no wheels and
asks for a compiler at each installation; scikit-learn's LabelSpreading is less accurate where
labels are few (docs/few_labels.md).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.linalg import cg
from sklearn.decomposition import PCA
from sklearn.neighbors import kneighbors_graph

from thermo_pl.errors import DataError
from thermo_pl.transport.couplings import FloatArray, IntArray

NEIGHBOURS = 10
COMPONENTS = 50
"""Principal components that neighbours are found in, where examples have more numbers."""
UNSURE = 0.1
"""Share of each class whose labels are less than sure. Of MNIST's 5-9 with 5 to 20 labels a class a
fifth of them is wrong, and one in 150 of all others; to weigh these down, too, costs accuracy, as
what is hard to label is what a model has to see."""
LEAK = 1e-6
"""Share of the degree that leaks at each node. Without it a part of the graph that is not connected
to both a source and a sink has no solution; there the labels within it decide."""


def spread_labels(
    examples: FloatArray, given: IntArray, labels: IntArray
) -> tuple[IntArray, FloatArray]:
    """Labels of all examples from those of a few, and how sure they are.

    Args:
        examples: shape ``(n, d)``.
        given: which of them have labels, shape ``(k,)``.
        labels: the classes of these, shape ``(k,)``.

    Returns:
        The class of each example, and its confidence, both of shape ``(n,)``. The margin is what
        the highest potential is above the second. Without any, one of two classes is right by
        chance: the confidence is a half. In each class it grows with the rank of the margin, to 1
        for all but the least sure tenth. Given labels stay; what no label reaches has 0.

    Raises:
        DataError: if there are too few examples, or a single class.
    """
    if len(examples) <= NEIGHBOURS:
        raise DataError(
            f"labels: got spread, and {len(examples)} examples; allowed: more than {NEIGHBOURS}, "
            "which is how many neighbours each one has"
        )
    classes, numbers = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise DataError(
            f"labels: got spread, and labels of the class {classes.tolist()} alone; allowed: "
            "two classes or more; leave labels out, as all examples are of one"
        )
    source = np.zeros((len(examples), len(classes)))
    source[given, numbers] = 1
    source[given] -= source[given].mean(0)
    found = potentials(neighbour_weights(examples), source)
    order = np.sort(found, axis=1)
    spread, margin = found.argmax(1), order[:, -1] - order[:, -2]
    spread[given] = numbers
    confidence = _confidence(spread, margin)
    confidence[given] = 1.0
    return classes[spread].astype(np.int64), confidence


def neighbour_weights(examples: FloatArray) -> sparse.csr_array:
    """A graph of near neighbours, between the leading principal components.

    Args:
        examples: shape ``(n, d)``.

    Returns:
        exp(-4 d²/s²) for a neighbour at distance d, s being the distance of the last neighbour;
        the sum of both directions, so that the matrix of shape ``(n, n)`` is symmetric.
    """
    if examples.shape[1] > COMPONENTS and len(examples) > COMPONENTS:
        examples = PCA(COMPONENTS, svd_solver="randomized", random_state=0).fit_transform(examples)
    graph = sparse.csr_array(kneighbors_graph(examples, NEIGHBOURS, mode="distance"))
    distance = graph.data.reshape(-1, NEIGHBOURS)
    scale = np.maximum(distance.max(1, keepdims=True), np.finfo(np.float64).tiny)  # copies: d = 0
    graph.data = np.exp(-4 * (distance / scale) ** 2).ravel()
    return sparse.csr_array(graph + graph.T)


def potentials(weights: sparse.csr_array, source: FloatArray) -> FloatArray:
    """Solve ((1 + leak) D - W) u = b on a graph, D being the diagonal matrix of degrees.

    Args:
        weights: W, symmetric, shape ``(n, n)``.
        source: b, shape ``(n, classes)``.

    Returns:
        u, of the shape of the source.

    Raises:
        DataError: if the iteration does not converge.
    """
    root = 1 / np.sqrt(weights.sum(1))
    scaled = sparse.diags_array(root) @ weights @ sparse.diags_array(root)
    matrix = (1 + LEAK) * sparse.eye_array(len(root)) - scaled
    columns = []
    for column in source.T:
        solution, left = cg(matrix, root * column, rtol=1e-8, maxiter=10_000)
        if left:
            raise DataError(
                f"labels: got spread, and no solution on the graph after {left} iterations; "
                "allowed: examples without gaps between them that few edges bridge; scale them, or "
                "give labels of more"
            )
        columns.append(root * solution)
    return np.stack(columns, axis=1)


def _confidence(spread: IntArray, margin: npt.NDArray[np.float64]) -> FloatArray:
    confidence = np.zeros(len(margin))
    for label in np.unique(spread):
        of_class = np.flatnonzero((spread == label) & (margin > 0))
        place = np.searchsorted(np.sort(margin[of_class]), margin[of_class], side="right")
        confidence[of_class] = (1 + np.minimum(place / (UNSURE * len(of_class)), 1)) / 2
    return confidence
