"""A table that comes with scikit-learn."""

from __future__ import annotations

import torch
from sklearn.datasets import load_breast_cancer

from thermo_pl.datamodules.sources import SPLITS, ImageSource, Split, check_shares, divide


class BreastCancer(ImageSource):
    """569 tumours by 30 measurements of their cell nuclei, embedded in scikit-learn.

    Classes are "malignant" and "benign"; the measurements are in their own units. Source: Street,
    Wolberg & Mangasarian, "Nuclear feature extraction for breast tumor diagnosis", 1993.
    """

    def __init__(self, val: float = 0.15, test: float = 0.3, split_seed: int = 0) -> None:
        """Choose the split; the table is read by :meth:`load`.

        Args:
            val: share of all tumours in the val split.
            test: share of all tumours in the test split.
            split_seed: which split.

        Raises:
            ConfigError: if a share is not allowed.
        """
        check_shares(val, test, split_seed)
        self.val, self.test, self.split_seed = val, test, split_seed

    def load(self) -> dict[str, Split]:
        """Read the table.

        Returns:
            Splits "train", "val" and "test" with examples of shape ``(n, 30)``.
        """
        table = load_breast_cancer()
        self.names = tuple(map(str, table.target_names))
        shares = {"val": self.val, "test": self.test}
        parts = divide("BreastCancer", table.target, shares, self.split_seed)
        x = torch.from_numpy(table.data).float()
        y = torch.from_numpy(table.target).to(torch.int64)
        return {name: Split(x[parts[name]], y[parts[name]]) for name in SPLITS}
