"""Metrics that torchmetrics does not have: calibration under sample weights."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class Calibration(Metric):
    """Expected calibration error of weighted samples.

    ECE = Σ_b w_b |accuracy_b - confidence_b| over equal bins of the confidence, w_b the mass in
    bin b, bins (a, b] as in Guo et al. 2017. With equal weights and no confidence on the edge of
    a bin it is torchmetrics' ``MulticlassCalibrationError(norm="l1")``, which takes no weights;
    couplings have them.
    """

    higher_is_better = False
    full_state_update = False
    confidence: Tensor
    accuracy: Tensor
    mass: Tensor

    def __init__(self, bins: int = 15) -> None:
        """Start empty.

        Args:
            bins: number of bins.
        """
        super().__init__()
        self.bins = bins
        for name in ("confidence", "accuracy", "mass"):
            self.add_state(name, torch.zeros(bins, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, probabilities: Tensor, y: Tensor, weight: Tensor) -> None:
        """Add samples.

        Args:
            probabilities: predicted class probabilities, shape ``(n, classes)``.
            y: true class probabilities, shape ``(n, classes)``; the likeliest class counts.
            weight: shape ``(n,)``.
        """
        confidence, predicted = probabilities.max(-1)
        weight = weight.to(self.mass)
        correct = (predicted == y.argmax(-1)).to(weight)
        index = (confidence * self.bins).ceil().long().sub(1).clamp(0, self.bins - 1)
        self.mass.index_add_(0, index, weight)
        self.confidence.index_add_(0, index, weight * confidence.to(weight))
        self.accuracy.index_add_(0, index, weight * correct)

    def compute(self) -> Tensor:
        """The expected calibration error.

        Returns:
            A number in [0, 1].
        """
        return (self.accuracy - self.confidence).abs().sum() / self.mass.sum()
