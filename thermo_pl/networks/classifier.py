"""Classifiers c(y|z): a representation in, class scores (or a predicted vector) out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from thermo_pl.errors import require
from thermo_pl.functionals import categorical_log_partition, cross_entropy
from thermo_pl.networks.layers import Axes, hooked, mlp, only_linear
from thermo_pl.networks.posterior import GaussianPosterior, Posterior


class Classifier(nn.Module, ABC):
    """Base of the classifiers.

    Attributes:
        latent_dim: size k of the representation.
        classes: number of classes.
        categorical: whether the labels are classes; otherwise they are vectors.
    """

    categorical = True

    def __init__(self, latent_dim: int, classes: int) -> None:
        """Check and keep the sizes.

        Args:
            latent_dim: size of the representation.
            classes: number of classes.
        """
        super().__init__()
        require(latent_dim > 0, "latent_dim", latent_dim, "a whole number > 0")
        require(classes > 1, "classes", classes, "a whole number > 1")
        self.latent_dim = latent_dim
        self.classes = classes

    @property
    def layer(self) -> nn.Linear | None:
        """The linear layer that the classifier is, if it is no more than one."""
        return None

    @property
    def affine(self) -> bool:
        """Whether the scores are affine in z."""
        return self.layer is not None and not hooked(self)

    @abstractmethod
    def forward(self, z: Tensor) -> Tensor:
        """Score the classes.

        Args:
            z: shape ``(samples, n, latent_dim)``.

        Returns:
            Logits, shape ``(samples, n, classes)``.
        """

    def of_posterior(self, posterior: Posterior, noise: Tensor, axes: Axes) -> Tensor:
        """Score the classes at draws from e(z|x): a linear layer does not need z itself.

        Args:
            posterior: e(z|x).
            noise: what it is drawn with, shape ``(samples, n, latent_dim)``.
            axes: how the axes of z are turned.

        Returns:
            Logits, shape ``(samples, n, classes)``.
        """
        layer = self.layer if self.affine else None
        if layer is not None and isinstance(posterior, GaussianPosterior):
            return posterior.draw_affine(axes.turned(layer.weight), layer.bias, noise)
        logits: Tensor = self(axes.seen(posterior.draw(noise)))
        return logits

    def expected(self, logits: Tensor) -> Tensor:
        """The label that is expected.

        Args:
            logits: what :meth:`forward` gave, shape ``(..., classes)``.

        Returns:
            Class probabilities; a label vector where labels are vectors.
        """
        return logits.softmax(-1) if self.categorical else logits

    def nll(self, logits: Tensor, y: Tensor) -> Tensor:
        """Classification loss, see :func:`thermo_pl.functionals.cross_entropy`.

        Args:
            logits: what :meth:`forward` gave, shape ``(samples, n, classes)``.
            y: class probabilities p(y|x), shape ``(n, classes)``.

        Returns:
            Nats, shape ``(samples, n)``.
        """
        return cross_entropy(logits, y)

    def log_partition(self, logits: Tensor, gam: Tensor) -> Tensor:
        """Log of Σ_y c(y|z)^γ, which the second law needs.

        Args:
            logits: what :meth:`forward` gave, shape ``(m, classes)``.
            gam: γ, 0-dimensional.

        Returns:
            Nats, shape ``(m,)``.
        """
        return categorical_log_partition(logits, gam)


class MLPClassifier(Classifier):
    """A multilayer perceptron."""

    def __init__(self, latent_dim: int, classes: int, hidden: Sequence[int] = (64,)) -> None:
        """Build the layers.

        Args:
            latent_dim: size of the representation.
            classes: number of classes.
            hidden: widths of the hidden layers.
        """
        super().__init__(latent_dim, classes)
        self.net = mlp(latent_dim, hidden, classes)

    @property
    def layer(self) -> nn.Linear | None:
        """The linear layer that the classifier is, if it is no more than one."""
        # a subclass with a forward of its own may do anything
        return only_linear(self.net) if type(self).forward is MLPClassifier.forward else None

    def forward(self, z: Tensor) -> Tensor:
        """Score the classes.

        Args:
            z: shape ``(samples, n, latent_dim)``.

        Returns:
            Logits, shape ``(samples, n, classes)``.
        """
        logits: Tensor = self.net(z)
        return logits


class LinearClassifier(MLPClassifier):
    """A single linear layer.

    Example:
        >>> import torch
        >>> import thermo_pl as tp
        >>> logits = tp.LinearClassifier(latent_dim=3, classes=10)(torch.randn(1, 2, 3))
        >>> logits.shape  # of one draw of z for each of two images
        torch.Size([1, 2, 10])
    """

    def __init__(self, latent_dim: int, classes: int) -> None:
        """Build the layer.

        Args:
            latent_dim: size of the representation.
            classes: number of classes.
        """
        super().__init__(latent_dim, classes, hidden=())
