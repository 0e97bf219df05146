"""Pieces that several networks share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from thermo_pl.errors import require

RIDGE = 0.1
"""What is added to each variance before whitening, in units of their mean."""


class Whitening(nn.Module):
    """A fixed affine map to inputs of zero mean and about unit covariance.

    An equivalent parametrisation of the layer that follows: the same functions, the same
    equilibria. But pixels differ in variance by orders of magnitude and are strongly correlated,
    so that J is nearly flat along some weights of that layer and steep along others; after
    whitening it is neither, and optimisers and solvers need fewer iterations.

    W = (Σ + ρI)^-½ with ρ = 0.1 tr Σ/d (ZCA whitening: Kessy, Lewin & Strimmer, "Optimal
    whitening and decorrelation", The American Statistician 72 (2018)). Until :meth:`learn` is
    called it does nothing.

    Attributes:
        mean: shape ``(d,)``.
        matrix: W, symmetric, shape ``(d, d)``.
        learned: whether the two are those of data; saved with the weights that rely on them.
    """

    mean: Tensor
    matrix: Tensor
    learned: Tensor

    def __init__(self, size: int) -> None:
        """Start as the identity.

        Args:
            size: number of inputs d.
        """
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("matrix", torch.eye(size))
        self.register_buffer("learned", torch.tensor(False))

    def learn(self, mean: Tensor, covariance: Tensor) -> None:
        """Take over the moments of data, before anything is trained.

        Args:
            mean: shape ``(d,)``.
            covariance: Σ, shape ``(d, d)``, not all zero.
        """
        variances, axes = torch.linalg.eigh(covariance.double())
        scale = (variances.clamp(min=0) + RIDGE * variances.mean()).rsqrt()
        self.mean.copy_(mean)
        self.matrix.copy_(axes * scale @ axes.T)
        self.learned.fill_(True)

    def forward(self, x: Tensor) -> Tensor:
        """Whiten.

        Args:
            x: shape ``(n, d)``.

        Returns:
            Shape ``(n, d)``.
        """
        return (x - self.mean) @ self.matrix


class Axes(NamedTuple):
    """How the axes of z are turned against those that the networks see.

    Attributes:
        rotation: U, shape ``(k, k)``; None where they are not turned.
    """

    rotation: Tensor | None

    def turned(self, rows: Tensor) -> Tensor:
        """Rows in the axes of the networks, such as means or the rows of a weight, in those of z.

        Args:
            rows: shape ``(..., k)``.

        Returns:
            The rows times U.
        """
        return rows if self.rotation is None else rows @ self.rotation

    def seen(self, z: Tensor) -> Tensor:
        """Z as the networks see it, the inverse of :meth:`turned`.

        Args:
            z: shape ``(..., k)``.

        Returns:
            z times Uᵀ.
        """
        return z if self.rotation is None else z @ self.rotation.T


class Frame(nn.Module):
    """A rotation of the axes of z against those that the networks see, U = exp(A) with A skew.

    An equivalent parametrisation: the last layer of the encoder and the first ones of decoder and
    classifier could absorb U. But e(z|x) has a diagonal covariance, so that two latents of nearly
    the same use turn into each other along a valley of J that is shallow, and curved in the weights
    of all three networks; in A it is straight.

    Attributes:
        angles: the entries of A below its diagonal, shape ``(k (k - 1) / 2,)``.
    """

    below: Tensor

    def __init__(self, size: int) -> None:
        """Start with the axes as they are.

        Args:
            size: size k of the representation.
        """
        super().__init__()
        self.size = size
        self.register_buffer("below", torch.tril_indices(size, size, -1), persistent=False)
        self.angles = nn.Parameter(torch.zeros(self.below.shape[1]))

    def forward(self) -> Tensor:
        """The rotation.

        Returns:
            U, shape ``(k, k)``; z is Uᵀ times the representation in the axes of the networks.
        """
        rows, columns = self.below
        lower = self.angles.new_zeros(self.size, self.size).index_put((rows, columns), self.angles)
        turned: Tensor = torch.linalg.matrix_exp(lower - lower.T)
        return turned


def checked_shape(shape: Sequence[int], images: bool = False) -> tuple[int, ...]:
    """Refuse what is no shape of an example.

    Args:
        shape: as it was given.
        images: whether only images will do.

    Returns:
        The shape.

    Raises:
        ConfigError: if a size is not positive, or there are not as many as there must be.
    """
    allowed = "one or more positive sizes, such as [13] for a row of a table"
    if images:
        allowed = "three positive sizes [channels, h, w]; an MLP takes any shape"
    ok = len(shape) == 3 if images else len(shape) > 0
    require(ok and min(shape) > 0, "image_shape", list(shape), allowed)
    return tuple(shape)


def only_linear(network: nn.Module) -> nn.Linear | None:
    """The linear layer that a network is, if it is no more than one.

    A subclass of ``nn.Linear`` with a forward of its own may do anything, and so may hooks.

    Args:
        network: a layer, or a sequence of layers.

    Returns:
        The layer; None if the network may be something else.
    """
    chain = [network]
    while isinstance(chain[-1], nn.Sequential) and len(chain[-1]) == 1:
        chain.append(chain[-1][0])
    last = chain[-1]
    if not isinstance(last, nn.Linear) or type(last).forward is not nn.Linear.forward:
        return None
    return None if any(map(hooked, chain)) else last


def hooked(module: nn.Module) -> bool:
    """Whether calling a module does more than its forward.

    Args:
        module: the module.

    Returns:
        Whether it has hooks.
    """
    return bool(module._forward_hooks or module._forward_pre_hooks)


def mlp(size_in: int, hidden: Sequence[int], size_out: int) -> nn.Sequential:
    """Linear layers with SiLU between them.

    SiLU because the linear response needs a second derivative, which ReLU hides in its kinks.

    Args:
        size_in: size of the input.
        hidden: widths of the hidden layers; may be empty.
        size_out: size of the output.

    Returns:
        The layers.
    """
    require(all(width > 0 for width in hidden), "hidden", list(hidden), "whole numbers > 0")
    sizes = [size_in, *hidden]
    layers: list[nn.Module] = []
    for before, after in zip(sizes, hidden, strict=False):
        layers += [nn.Linear(before, after), nn.SiLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], size_out))


def conv_sizes(image: Sequence[int], halvings: int) -> list[tuple[int, int]]:
    """Height and width after each strided 3x3 convolution, the image itself first.

    Args:
        image: height and width of the image.
        halvings: number of convolutions.

    Returns:
        ``halvings + 1`` pairs.
    """
    sizes = [(image[0], image[1])]
    for _ in range(halvings):
        height, width = sizes[-1]
        sizes.append(((height + 1) // 2, (width + 1) // 2))
    return sizes
