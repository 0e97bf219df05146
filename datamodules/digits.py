"""The digits that come with scikit-learn."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits

from thermo_pl.datamodules.sources import ImageSource, Split, hold_out
from thermo_pl.errors import require


class Digits(ImageSource):
    """1,797 handwritten digits of 8×8 pixels, real and embedded in scikit-learn.

    Every class is split in the same proportions. The split depends on ``split_seed`` alone.
    """

    def __init__(self, val: float = 0.15, test: float = 0.2, split_seed: int = 0) -> None:
        """Choose the split; the images are read by :meth:`load`.

        Args:
            val: fraction of all images in the val split.
            test: fraction of all images in the test split.
            split_seed: which split.

        Raises:
            ConfigError: if the fractions leave a split without images of some class.
        """
        # The rarest class has 174 images: 1% of it is at least one image.
        require(0.01 <= val < 1, "val", val, "a fraction from 0.01 to below 1")
        require(0.01 <= test < 1, "test", test, "a fraction from 0.01 to below 1")
        require(val + test <= 0.99, "val + test", val + test, "at most 0.99, train needs the rest")
        require(split_seed >= 0, "split_seed", split_seed, "an integer from 0")
        self.val, self.test, self.split_seed = val, test, split_seed

    def load(self) -> dict[str, Split]:
        """Load the digits, scaled from 0..16 to [0, 1].

        Returns:
            Splits "train", "val" and "test" with images of shape ``(n, 1, 8, 8)``.
        """
        images, labels = load_digits(return_X_y=True)
        everything, seed = np.arange(len(labels)), self.split_seed
        rest, test = hold_out("Digits", everything, labels, self.test, seed)
        train, val = hold_out("Digits", rest, labels, self.val / (1 - self.test), seed)
        x = torch.from_numpy(images / 16).to(torch.float32).reshape(-1, 1, 8, 8)
        y = torch.from_numpy(labels).to(torch.int64)
        parts = {"train": train, "val": val, "test": test}
        return {name: Split(x[np.sort(part)], y[np.sort(part)]) for name, part in parts.items()}
