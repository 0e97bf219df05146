"""Data that move along optimal-transport geodesics between domains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import nn

from thermo_pl.datamodules.base import PathDataModule
from thermo_pl.datamodules.domains import Domain, Waypoint, check_waypoints, load_domains
from thermo_pl.datamodules.legs import LABEL_MODES, DataPath, LabelMode, build_path
from thermo_pl.errors import require
from thermo_pl.transport.cache import ArrayCache, content_hash
from thermo_pl.transport.couplings import Transport


class InterpolatedDataModule(PathDataModule):
    """Examples of p(x(t)), the displacement interpolation between the domains of a path.

    A path through n waypoints has n-1 legs. On each leg an exact optimal plan couples the two
    domains, and a particle (x_a, x_b) of the plan is the image x(t) = (1-t) x_a + t x_b. One
    waypoint is a static domain: its only leg couples every image with itself, with equal mass, and
    t changes nothing. Held-out splits are coupled by plans of their own.

    All label modes use the labels of the *target* domains as well as those of the source: this is
    not unsupervised domain adaptation.

    - ``matched``: on each leg the classes of the two domains are matched one to one, so that the
      sum of W2² between classes of the train split is least. The plan is exact inside each pair
      of classes. A particle keeps one label all the way, the index of its class among the sorted
      classes of the first waypoint. Every class carries the same mass at both ends.
    - ``ordered``: the same, but you declare the matching: the first class of a waypoint goes with
      the first of the next, in the order of its ``classes``, and so on. A closed path may need it,
      as the best matchings of its legs need not lead back.
    - ``soft``: one exact plan for all images, blind to labels. The classes are those of all
      waypoints together, and the label of a particle is the mixture (1-t) y_a + t y_b. In the
      middle of a leg C then has the floor H(y|x(t)) > 0.

    The position (leg, t) is state, moved by :meth:`move_to` and saved in checkpoints. Move to
    another leg between epochs: workers of a running epoch keep the leg they began with.

    Example:
        >>> import thermo_pl as tp
        >>> data = tp.InterpolatedDataModule([tp.Waypoint([0, 1]), tp.Waypoint([5, 6])])
        >>> data.setup()
        >>> data.class_names
        ['0→6', '1→5']
        >>> data.move_to(leg=0, t=0.5)
        >>> data.formed(data.draw("train", 4)).x.shape
        torch.Size([4, 1, 8, 8])
    """

    def __init__(
        self,
        waypoints: list[Waypoint],
        labels: LabelMode = "matched",
        batch_size: int | None = 64,
        train_batches: int = 100,
        eval_batch_size: int = 512,
        cache_dir: str | Path | None = None,
        num_workers: int = 0,
        seed: int | None = None,
        transport: Transport | None = None,
        mixture: bool = False,
        transform: nn.Module | list[nn.Module] | None = None,
        replay: float = 0.0,
    ) -> None:
        """Check the waypoints; they are loaded and coupled when they are first needed.

        Args:
            waypoints: the domains, in the order of the path.
            labels: "matched", "ordered" or "soft".
            batch_size: particles in a training batch, drawn with replacement, with probability
                equal to their mass; None for all particles with their masses in every batch.
            train_batches: training batches in an epoch.
            eval_batch_size: the largest batch of the val, test and predict loaders, which give all
                particles in order, with their masses as weights.
            cache_dir: where couplings are kept; None for ``thermo_pl/couplings`` in
                ``$XDG_CACHE_HOME`` or ``~/.cache``.
            num_workers: worker processes of each loader.
            seed: seed of the training draws; None takes torch's initial seed, which
                ``seed_everything`` sets, or that of the checkpoint a run is resumed from.
            transport: what the computation of plans may take.
            mixture: show the mixture (1-t) p_A + t p_B of the domains at the ends of a leg, each
                pair as two examples, in place of the displacement interpolation: for comparison.
            transform: applied to all domains after their own transforms, or several. One that
                learns, as :class:`~thermo_pl.datamodules.Standardise`, learns from the train split
                of the first domain.
            replay: share of training images of the first domain at rest, with their labels, beside
                those that move, on the whole path: the domain at t is the mixture of both, and so
                is J. It keeps the first domain in mind. Held-out splits have none.

        Raises:
            ConfigError: if an argument is not allowed.
        """
        check_waypoints(waypoints)
        moves = len(waypoints) > 1 and not mixture
        allowed = "0, or a share below 1 with two waypoints or more and without mixture"
        require(replay == 0 or (moves and 0 < replay < 1), "replay", replay, allowed)
        require(labels in LABEL_MODES, "labels", labels, ", ".join(LABEL_MODES))
        n_legs = max(1, len(waypoints) - 1)
        super().__init__(n_legs, batch_size, train_batches, eval_batch_size, num_workers, seed)
        self.waypoints, self.labels, self.mixture = waypoints, labels, mixture
        self.transform, self.replay = transform, replay
        self.transport = transport or Transport()
        self._cache = ArrayCache(cache_dir)
        self._domains: list[Domain] | None = None

    @property
    def static(self) -> bool:
        """Whether there is a single waypoint, so that nothing moves with t."""
        return len(self.waypoints) == 1

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of one example, such as (channels, height, width). Loads the sources if need be."""
        return self._loaded()[0].image_shape

    @property
    def n_classes(self) -> int:
        """Number of classes. Loads the sources if need be."""
        domains = self._loaded()
        if self.labels != "soft":
            return len(domains[0].classes)
        return len({domain.name(label) for domain in domains for label in domain.classes})

    def build(self) -> DataPath:
        """Load the images and couple the domains.

        Returns:
            The path.
        """
        domains = self._loaded()
        pairs = zip(self.waypoints, domains, strict=True)
        orders = [domain.numbered(waypoint.classes) for waypoint, domain in pairs]
        with self.bars():
            path = build_path(domains, self.labels, self._cache, orders, self.transport)
        if self.mixture:  # the same pairs make other domains
            path = replace(path, fingerprint=content_hash(f"mixture {path.fingerprint}", []))
        if self.replay:
            legs = path.legs["train"]
            first = legs[0].start()
            train = [leg.beside(first, self.replay) for leg in legs]
            mark = content_hash(f"replay {self.replay} {path.fingerprint}", [])
            path = replace(path, legs=path.legs | {"train": train}, fingerprint=mark)
        return path

    def _loaded(self) -> list[Domain]:
        if self._domains is None:
            self._domains = load_domains(self.waypoints, self.transform)
        return self._domains
