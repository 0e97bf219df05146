"""Pictures in files and of PIL as tensors; nothing is cut off on the way."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional

from thermo_pl.errors import DataError

DEEPEST = 65535
"""The greatest grey level of 16 bits; PIL gives such pictures in several modes."""


def pixels(image: Any, channels: int | None = None) -> Tensor:
    """A picture of PIL as a tensor.

    Args:
        image: the picture.
        channels: 1 for grey levels, 3 for colours; as they are if not given.

    Returns:
        Shape ``(channels, height, width)``: bytes as they are, 16-bit grey levels as float32 in
        [0, 1], and floating-point ones as they are.

    Raises:
        DataError: if grey levels are whole numbers outside 16 bits, whose range is not known.
    """
    if not (image.mode.startswith("I") or image.mode == "F"):
        if channels is not None:  # by PIL, which knows palettes and transparency
            image = image.convert("L" if channels == 1 else "RGB")
        return torch.as_tensor(functional.pil_to_tensor(image))
    # PIL would cut these off at 255
    grey = np.array(image, dtype=np.float32)
    if image.mode != "F":
        if grey.min() < 0 or grey.max() > DEEPEST:
            raise DataError(
                f"image: got grey levels from {grey.min():g} to {grey.max():g} (mode "
                f"{image.mode}); allowed: 0 to {DEEPEST}, or floating-point ones (mode F)"
            )
        grey /= DEEPEST
    return torch.from_numpy(grey)[None].expand(channels or 1, -1, -1)


def read(path: str) -> Any:
    """Open a picture of an image folder.

    Args:
        path: the file.

    Returns:
        In colours: a picture of PIL, or a tensor of deep grey levels.

    Raises:
        DataError: if it is no whole picture.
    """
    if not os.path.isfile(path):  # a pipe would be waited for
        raise DataError(f"{path}: got no file; allowed: images alone in an image folder")
    try:
        with Image.open(path) as image:
            deep = image.mode.startswith("I") or image.mode == "F"
            return pixels(image, 3) if deep else image.convert("RGB")
    except DataError:
        raise
    except Exception as error:  # of files that are torn or foreign anything may come
        raise DataError(
            f"{path}: got a file that is no whole image ({' '.join(str(error).split())}); allowed: "
            "images alone in an image folder; repair the file or take it out"
        ) from error
