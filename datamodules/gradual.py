"""A labelled domain and an unlabelled stream that leads away from it; labels are carried along.

Gradual self-training as a path of couplings: a model trained on labelled images labels the first
window of the stream. It is then trained on that window, labels the next one, and so on. Source:
Kumar, Ma & Liang, "Understanding self-training for gradual domain adaptation", ICML 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import one_hot, pad
from typing_extensions import override

from thermo_pl.datamodules.base import PathDataModule
from thermo_pl.datamodules.coupled import CoupledImages, at_rest
from thermo_pl.datamodules.domains import check_split
from thermo_pl.datamodules.legs import DataPath
from thermo_pl.datamodules.sources import GradualImages, GradualSource, Split
from thermo_pl.errors import DataError, require
from thermo_pl.particles import Particles
from thermo_pl.process.data import Predictor
from thermo_pl.progress import stage
from thermo_pl.transport.cache import ArrayCache, content_hash
from thermo_pl.transport.couplings import Coupling, Transport, exact_couplings, identity_coupling

Carrier = Literal["predicted", "transported"]
CARRIERS: tuple[Carrier, ...] = ("predicted", "transported")
AT_ONCE = 1024
"""Images that are labelled at a time."""


class GradualDataModule(PathDataModule):
    """Images of p(x(t)) from window to window of an unlabelled stream.

    Leg 0 is the labelled domain at rest. Leg 1 goes from there to the first window, leg k from
    window k-1 to window k. An exact plan, blind to labels, couples the two ends of a leg, and
    images move along its displacement interpolation. **No labels but those of the first domain are
    used.** The images of a window get theirs in one of two ways:

    - ``predicted``: the model in training tells the most probable class. It is asked once, when
      the data move onto the leg that leads to the window (self-training). Images whose class is
      the least probable are left out.
    - ``transported``: the plans carry labels. An image has the mean label of those coupled with it.

    The val split is of the first domain, on all legs. The test split is the same on leg 0, and of
    the end of the stream on all others; its labels serve reports only.
    """

    def __init__(
        self,
        images: GradualSource,
        windows: int = 21,
        labels: Carrier = "predicted",
        drop: float = 0.1,
        shift: int = 0,
        batch_size: int | None = 64,
        train_batches: int = 100,
        eval_batch_size: int = 512,
        cache_dir: str | Path | None = None,
        num_workers: int = 0,
        seed: int | None = None,
        transport: Transport | None = None,
    ) -> None:
        """Keep the settings; images are read and coupled when they are first needed.

        Args:
            images: the labelled images and the stream.
            windows: into how many windows the stream is cut.
            labels: "predicted" or "transported".
            drop: share of the images of a window that is left out, those whose predicted class is
                the least probable; not used where labels are transported.
            shift: by how many pixels at most training images are moved, up or down and left or
                right; every such translation of a pair is a particle of its own.
            batch_size: particles in a training batch, drawn with replacement, with probability
                equal to their mass; None for all particles with their masses in every batch.
            train_batches: training batches in an epoch.
            eval_batch_size: the largest batch of the val, test and predict loaders.
            cache_dir: where couplings are kept; None for ``thermo_pl/couplings`` in
                ``$XDG_CACHE_HOME`` or ``~/.cache``.
            num_workers: worker processes of each loader.
            seed: seed of the training draws; None takes torch's initial seed, or that of the
                checkpoint a run is resumed from.
            transport: what the computation of plans may take.

        Raises:
            ConfigError: if an argument is not allowed.
        """
        require(windows >= 1, "windows", windows, "an integer from 1")
        require(labels in CARRIERS, "labels", labels, ", ".join(CARRIERS))
        require(0 <= drop < 1, "drop", drop, "a share from 0 to below 1")
        require(shift >= 0, "shift", shift, "an integer from 0 (pixels)")
        super().__init__(1 + windows, batch_size, train_batches, eval_batch_size, num_workers, seed)
        self.images, self.windows, self.labels = images, windows, labels
        self.drop, self.shift = drop, shift
        self.transport = transport or Transport()
        self._cache = ArrayCache(cache_dir)
        self._loaded: GradualImages | None = None
        self._classes = torch.empty(0, dtype=torch.int64)
        self._plans: list[Coupling] = []
        self._train: list[CoupledImages] = []
        self._carried: list[Tensor] = []  # labels of the windows so far, zero where left out

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of one image: channels, height, width. Loads the images if need be."""
        return tuple(self._all().stream.shape[1:])

    @property
    def n_classes(self) -> int:
        """Number of classes. Loads the images if need be."""
        self._all()
        return len(self._classes)

    def label_with(self, predict: Predictor) -> None:
        """Label the window that the current leg leads to, if it is new.

        Args:
            predict: class probabilities by the model at this moment.

        Raises:
            DataError: if a leg before has not been visited.
        """
        if self.leg <= len(self._carried):
            return
        if self.leg > len(self._carried) + 1:
            raise DataError(
                f"leg: got {self.leg}, where windows have labels up to leg {len(self._carried)}; "
                "allowed: one leg after the other, as each window is labelled by a model that was "
                "trained on the one before"
            )
        self._built()
        self._carried.append(self._predicted(predict, self._windows()[self.leg]))
        self._train[self.leg] = self._train_leg(self.leg)

    def build(self) -> DataPath:
        """Load the images and couple the windows.

        Returns:
            The path.
        """
        images, windows = self._all(), self._windows()
        pairs = [(leg, leg) for leg in range(self.windows)]
        with self.bars(), stage("couplings of windows", len(pairs)):
            arrays = [window.numpy() for window in windows]
            self._plans = exact_couplings(
                arrays[:-1], arrays[1:], pairs, self._cache, self.transport
            )
        if self.labels == "transported":
            self._carried = self._transported()
        self._train = [self._train_leg(leg) for leg in range(self.n_legs)]
        val, end = (
            at_rest(split.images, self._one_hot(split.labels))
            for split in (images.val, images.test)
        )
        legs = {
            "train": self._train,
            "val": self.n_legs * [val],
            "test": [val] + self.windows * [end],
        }
        names = [str(label) for label in self._classes.tolist()]
        arrays = [images.source.images.numpy(), images.source.labels.numpy(), images.stream.numpy()]
        fingerprint = content_hash(
            f"gradual {self.windows} {self.labels} {self.drop} {self.shift}", arrays
        )
        return DataPath(legs, names, fingerprint, closed=False)

    @override
    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"carried": list(self._carried)}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._carried = list(state_dict["carried"])
        if self._train:
            self._train[:] = [self._train_leg(leg) for leg in range(self.n_legs)]
        super().load_state_dict(state_dict)

    def _all(self) -> GradualImages:
        if self._loaded is None:
            loaded, name = self.images.load(), type(self.images).__name__
            nothing = torch.zeros(len(loaded.stream), dtype=torch.int64)
            parts = {**loaded._asdict(), "stream": Split(loaded.stream, nothing)}
            for part, split in parts.items():
                check_split(split, f"{name}, {part}")
            pictures = loaded.stream.ndim == 4
            allowed = "0: only images (channels, height, width) can be moved by pixels"
            require(pictures or not self.shift, "shift", self.shift, allowed)
            if len(loaded.stream) < self.windows:
                raise DataError(
                    f"windows: got {self.windows} for a stream of {len(loaded.stream)} examples; "
                    "allowed: one in each, or more"
                )
            self._classes = torch.unique(loaded.source.labels)
            source, val, test = (
                self._numbered(parts[key], f"{name}, {key}") for key in ("source", "val", "test")
            )
            self._loaded = GradualImages(source, val, loaded.stream, test)
        return self._loaded

    def _numbered(self, split: Split, name: str) -> Split:
        # by the place among the classes of the labelled images
        known = torch.isin(split.labels, self._classes)
        if not known.all():
            raise DataError(
                f"{name}: got the class {int(split.labels[~known][0])}; allowed: those of the "
                f"labelled examples, {self._classes.tolist()}"
            )
        return split._replace(labels=torch.searchsorted(self._classes, split.labels))

    def _windows(self) -> list[Tensor]:
        # the labelled images first
        images, count = self._all(), self.windows
        edges = [len(images.stream) * k // count for k in range(count + 1)]
        parts = [images.stream[a:b] for a, b in pairwise(edges)]
        return [images.source.images, *parts]

    def _one_hot(self, labels: Tensor) -> Tensor:
        return one_hot(labels, self.n_classes).to(torch.float32)

    def _source_labels(self) -> Tensor:
        return self._one_hot(self._all().source.labels)

    def _transported(self) -> list[Tensor]:
        # the mean label of the images that an image is coupled with, window by window
        labels, carried = self._source_labels(), []
        for plan, window in zip(self._plans, self._windows()[1:], strict=True):
            mass = torch.from_numpy(plan.mass)[:, None]
            moved = mass * labels.double()[torch.from_numpy(plan.rows)]
            total = torch.zeros(len(window), self.n_classes, dtype=torch.float64)
            total.index_add_(0, torch.from_numpy(plan.cols), moved)
            labels = (total / total.sum(-1, keepdim=True)).float()
            carried.append(labels)
        return carried

    def _predicted(self, predict: Predictor, images: Tensor) -> Tensor:
        with torch.no_grad():
            parts = [predict(x).cpu() for x in torch.split(images, AT_ONCE)]
        probability, label = torch.cat(parts).max(-1)
        sure = probability >= probability.quantile(self.drop)
        return self._one_hot(label) * sure[:, None]

    def _train_leg(self, leg: int) -> CoupledImages:
        first = max(leg - 1, 0)
        windows = self._windows()[first : leg + 1]
        labels = [self._source_labels(), *self._carried][first : leg + 1]
        # a window that is still ahead has no labels
        labels += [torch.zeros(len(x), self.n_classes) for x in windows[len(labels) :]]
        plan = self._plans[first] if leg else identity_coupling(len(windows[0]))
        if leg <= len(self._carried):
            kept = (labels[0].any(-1)[plan.rows] & labels[-1].any(-1)[plan.cols]).numpy()
            mass = plan.mass[kept] / plan.mass[kept].sum()
            plan = Coupling(plan.rows[kept], plan.cols[kept], mass, plan.cost)
        kind = ShiftedPairs if leg <= len(self._carried) else UnlabelledPairs
        return kind(windows[0], windows[-1], labels[0], labels[-1], plan, self.shift)


class ShiftedPairs(CoupledImages):
    """The pairs of one coupling and their translations: both images of a pair move together."""

    def __init__(
        self,
        source: Tensor,
        target: Tensor,
        source_label: Tensor,
        target_label: Tensor,
        coupling: Coupling,
        reach: int,
    ) -> None:
        """Repeat every pair once for each translation, with its share of the mass.

        Args:
            source: images x_a, shape ``(n, channels, height, width)``.
            target: images x_b, shape ``(m, channels, height, width)``.
            source_label: class probabilities of each x_a, shape ``(n, classes)``.
            target_label: class probabilities of each x_b, shape ``(m, classes)``.
            coupling: the pairs.
            reach: pixels up, down, left and right, at most; what comes in is black.
        """
        super().__init__(source, target, source_label, target_label, coupling)
        self._reach, self._pairs = reach, len(coupling)
        count = (2 * reach + 1) ** 2
        self._rows, self._cols = self._rows.repeat(count), self._cols.repeat(count)
        self.mass, self.weight = self.mass.repeat(count) / count, self.weight.repeat(count)

    def __getitems__(self, indices: Sequence[int] | Tensor) -> Particles:
        particles = super().__getitems__(indices)
        if not self._reach:
            return particles
        move = torch.as_tensor(indices, dtype=torch.int64) // self._pairs
        down, right = move // (2 * self._reach + 1), move % (2 * self._reach + 1)
        ends = (_cut(x, self._reach, down, right) for x in (particles.source, particles.target))
        source, target = ends
        return particles._replace(source=source, target=target)


class UnlabelledPairs(ShiftedPairs):
    """The pairs of a leg whose window has no labels yet: there are images, and no particles."""

    def __getitems__(self, indices: Sequence[int] | Tensor) -> Particles:
        """Refuse.

        Args:
            indices: which ones.

        Raises:
            DataError: always.
        """
        raise DataError(
            "leg: got one whose window has no labels yet; allowed: a leg that the model has "
            "labelled on its way, by GradualDataModule.label_with"
        )


def _cut(images: Tensor, reach: int, top: Tensor, left: Tensor) -> Tensor:
    # a piece of the size of the image out of each padded image
    height, width = images.shape[-2:]
    pieces = pad(images, [reach] * 4).unfold(2, height, 1).unfold(3, width, 1)
    return pieces[torch.arange(len(images)), :, top, left]
