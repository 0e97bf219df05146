"""The datamodule: labels, position, loaders under a real Trainer, resuming, configs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from support.trainers import trainer
from thermo_pl import transport
from thermo_pl.datamodules import (
    Digits,
    GaussianNoise,
    ImageSource,
    InterpolatedDataModule,
    Split,
    Waypoint,
)
from thermo_pl.errors import ConfigError, DataError
from thermo_pl.particles import Batch, Particles, interpolate

Maker = Callable[..., InterpolatedDataModule]
ToyMaker = Callable[..., ImageSource]


def flat(images: Tensor) -> np.ndarray:
    """Images as points."""
    return images.reshape(len(images), -1).numpy().astype(np.float64)


def test_matched_particles_keep_one_label(datamodule: Maker) -> None:
    data = datamodule()
    digits = Digits().load()
    matching = [int(name[-1]) for name in data.class_names]
    assert data.class_names == [f"{k}→{matching[k]}" for k in range(5)]
    assert (data.n_classes, data.image_shape, data.n_legs) == (5, (1, 8, 8), 1)
    for split in ("train", "val", "test"):
        everything = data.coupling(split).all()
        assert torch.equal(everything.source_label, everything.target_label)
        label = everything.source_label.argmax(1)
        for images, classes in ((everything.source, range(5)), (everything.target, matching)):
            truth = {
                image.numpy().tobytes(): int(k) for image, k in zip(*digits[split], strict=True)
            }
            found = [truth[image.numpy().tobytes()] for image in images]
            assert found == [classes[k] for k in label.tolist()]
        mass = data.coupling(split).mass
        balance = torch.zeros(5, dtype=mass.dtype).index_add(0, label, mass)
        torch.testing.assert_close(balance, torch.full((5,), 0.2, dtype=torch.float64))


def test_held_out_plans_are_exact_and_their_own(datamodule: Maker) -> None:
    data = datamodule(Waypoint([0, 1]), Waypoint([5, 6]), labels="soft")
    digits = Digits().load()
    for split in ("val", "test"):
        images, labels = digits[split]
        a, b = (flat(images[torch.isin(labels, torch.tensor(k))]) for k in ([0, 1], [5, 6]))
        expected = transport.wasserstein2(a, [1] * len(a), b, [1] * len(b))
        assert data.coupling(split).cost == pytest.approx(expected, rel=1e-12)
        assert data.coupling(split).all().source.shape[1:] == (1, 8, 8)


def test_held_out_labels_come_from_the_matching_of_train(datamodule: Maker, toys: ToyMaker) -> None:
    a = toys({0: [0.1, 0.12], 1: [0.9, 0.92]})
    swapped = {5: [0.85], 6: [0.15]}
    b = toys({5: [0.15], 6: [0.85]}, val=swapped, test=swapped)
    data = datamodule(Waypoint(source=a), Waypoint(source=b))
    assert data.class_names == ["0→5", "1→6"]
    # Learned on val alone the matching would be the other one.
    (x_a, y_a), (x_b, y_b) = a.load()["val"], b.load()["val"]
    of_val = transport.match_classes(flat(x_a), y_a, flat(x_b), y_b, [0, 1], [5, 6])
    assert of_val == {0: 6, 1: 5}
    for split, targets in (("train", (0.15, 0.85)), ("val", (0.85, 0.15)), ("test", (0.85, 0.15))):
        everything = data.coupling(split).all()
        expected = torch.tensor(targets)[everything.source_label.argmax(1)]
        torch.testing.assert_close(everything.target.flatten(), expected)


def test_labels_are_carried_through_all_legs(datamodule: Maker, toys: ToyMaker) -> None:
    sources = [
        toys({3: [0.1], 7: [0.9]}),
        toys({0: [0.8], 1: [0.2]}),
        toys({4: [0.3], 6: [0.7]}),
    ]
    data = datamodule(*(Waypoint(source=source) for source in sources))
    assert data.class_names == ["3→1→4", "7→0→6"]
    assert data.n_legs == 2
    for leg, values in enumerate([((0.1, 0.2), (0.9, 0.8)), ((0.2, 0.3), (0.8, 0.7))]):
        data.move_to(leg, 0.5)
        everything = data.coupling("val").all()
        for k in range(2):
            chosen = everything.source_label[:, k] == 1
            torch.testing.assert_close(everything.source[chosen].item(), values[k][0])
            torch.testing.assert_close(everything.target[chosen].item(), values[k][1])
            assert (everything.target_label[chosen, k] == 1).all()


def ordered_pair(toys: ToyMaker) -> tuple[ImageSource, ImageSource]:
    """Classes 0 and 5 are near each other, and 1 and 6."""
    a = toys({0: [0.1, 0.2], 1: [0.8, 0.9]})
    b = toys({5: [0.25, 0.15], 6: [0.95, 0.85]})
    return a, b


@pytest.mark.parametrize(
    ("orders", "names", "pairs"),
    [
        # by the order of the classes, against what is near
        (([0, 1], [6, 5]), ["0→6", "1→5"], [(0.1, 0.85), (0.2, 0.95), (0.8, 0.15), (0.9, 0.25)]),
        (([1, 0], [5, 6]), ["0→6", "1→5"], [(0.1, 0.85), (0.2, 0.95), (0.8, 0.15), (0.9, 0.25)]),
        (([1, 0], [6, 5]), ["0→5", "1→6"], [(0.1, 0.15), (0.2, 0.25), (0.8, 0.85), (0.9, 0.95)]),
        # sorted where nothing is said
        ((None, None), ["0→5", "1→6"], [(0.1, 0.15), (0.2, 0.25), (0.8, 0.85), (0.9, 0.95)]),
        ((None, [6, 5]), ["0→6", "1→5"], [(0.1, 0.85), (0.2, 0.95), (0.8, 0.15), (0.9, 0.25)]),
    ],
    ids=str,
)
def test_ordered_labels_go_by_the_order_of_the_classes(
    datamodule: Maker,
    toys: ToyMaker,
    orders: tuple[list[int] | None, list[int] | None],
    names: list[str],
    pairs: list[tuple[float, float]],
) -> None:
    sources = ordered_pair(toys)
    waypoints = [
        Waypoint(order, source=source) for order, source in zip(orders, sources, strict=True)
    ]
    data = datamodule(*waypoints, labels="ordered")
    assert data.class_names == names
    assert data.n_classes == 2
    for split in ("train", "val", "test"):
        everything = data.coupling(split).all()
        found = sorted(zip(everything.source.flatten(), everything.target.flatten(), strict=True))
        # the plan is exact inside each pair of classes: in one dimension it keeps the order
        torch.testing.assert_close(torch.tensor(found), torch.tensor(pairs))
        assert torch.equal(everything.source_label, everything.target_label)
        # labels are the sorted classes of the first waypoint, whatever their order
        assert torch.equal(everything.source_label[:, 1] == 1, everything.source.flatten() > 0.5)


def test_ordered_labels_are_carried_through_all_legs(datamodule: Maker) -> None:
    orders = [0, 1, 2], [5, 7, 8], [9, 3, 4], [0, 1, 2]
    data = datamodule(*(Waypoint(order) for order in orders), labels="ordered")
    assert data.class_names == ["0→5→9→0", "1→7→3→1", "2→8→4→2"]
    assert data.closed


def test_waypoints_of_other_numbers_of_classes_cannot_be_ordered(datamodule: Maker) -> None:
    with pytest.raises(DataError, match=r"got ordered, and waypoints of \[2, 3\] classes; allowed"):
        datamodule(Waypoint([0, 1]), Waypoint([5, 6, 7]), labels="ordered")


def test_an_order_that_does_not_lead_back_is_refused(datamodule: Maker) -> None:
    there = Waypoint([0, 1]), Waypoint([6, 5])
    assert datamodule(*there, Waypoint([0, 1]), labels="ordered").closed
    with pytest.raises(DataError, match=r"class 0 comes back with the label of class 1"):
        datamodule(*there, Waypoint([1, 0]), labels="ordered")


def test_a_checkpoint_of_another_order_is_refused(datamodule: Maker) -> None:
    near = datamodule(Waypoint([0, 1]), Waypoint([5, 6]), labels="ordered")
    far = datamodule(Waypoint([0, 1]), Waypoint([6, 5]), labels="ordered")
    near.load_state_dict(near.state_dict())
    with pytest.raises(DataError, match="was saved on another path of domains"):
        far.load_state_dict(near.state_dict())


def test_a_path_is_closed_if_it_ends_where_it_began(datamodule: Maker) -> None:
    low, high = Waypoint([0, 1]), Waypoint([5, 6])
    assert datamodule(low).closed
    assert datamodule(low, high, low).closed
    assert datamodule(low, high, low, labels="soft").closed
    assert not datamodule(low, high).closed
    # the same classes, but not the same images
    assert not datamodule(low, high, Waypoint([0, 1], transform=GaussianNoise(0.1))).closed


def test_a_cycle_that_swaps_classes_is_refused(datamodule: Maker, toys: ToyMaker) -> None:
    # Three sets of two points on a triangle: each leg takes the nearest class, and going round
    # once leads from one class to the other, as on a Möbius strip.
    def points(number: int, ends: tuple[list[float], list[float]]) -> ImageSource:
        source = toys({0: [0.0], 1: [0.0]})
        images = torch.tensor(ends).reshape(2, 1, 1, 2)
        split = Split(images, torch.arange(2) + 2 * number)
        source.splits = dict.fromkeys(("train", "val", "test"), split)
        return source

    angles = torch.pi * torch.tensor([0, 1 / 3, 2 / 3])
    ends = [(0.5 + 0.4 * torch.tensor([a.cos(), a.sin()])).tolist() for a in angles]
    opposite = [[1 - value for value in end] for end in ends]
    pairs = enumerate(zip(ends, opposite, strict=True))
    waypoints = [Waypoint(source=points(*pair)) for pair in pairs]
    with pytest.raises(DataError, match=r"waypoints\[3\] is the same domain as waypoints\[0\]"):
        datamodule(*waypoints, waypoints[0])
    assert datamodule(*waypoints, waypoints[0], labels="soft").n_legs == 3
    assert datamodule(*waypoints, waypoints[1], waypoints[0]).n_legs == 4
    # declared, the classes return
    declared = datamodule(*waypoints, waypoints[0], labels="ordered")
    assert declared.class_names == ["0→2→4→0", "1→3→5→1"]
    assert declared.closed


def test_a_matching_that_renames_the_same_classes_is_refused(
    datamodule: Maker, toys: ToyMaker
) -> None:
    # the two classes change their places
    here, there = toys({0: [0.1], 1: [0.9]}), toys({0: [0.9], 1: [0.1]})
    waypoints = [Waypoint(source=source) for source in (here, there)]
    message = (
        r"labels: got matched on leg 0, .* 2 of them another name \(0→1, 1→0\); allowed: ordered"
    )
    with pytest.raises(DataError, match=message):
        datamodule(*waypoints)
    assert datamodule(*waypoints, labels="ordered").class_names == ["0→0", "1→1"]
    crossed = [waypoints[0], Waypoint([1, 0], source=there)]
    assert datamodule(*crossed, labels="ordered").class_names == ["0→1", "1→0"]


def test_labels_may_be_any_whole_numbers(datamodule: Maker, toys: ToyMaker) -> None:
    signs, gaps = toys({-1: [0.1, 0.2], 1: [0.8, 0.9]}), toys({7: [0.7, 0.8], -300: [0.0, 0.1]})
    waypoints = [Waypoint([1, -1], signs, per_class=1), Waypoint(source=gaps, per_class=1)]
    for labels, names in (
        ("matched", ["-1→-300", "1→7"]),
        ("ordered", ["-1→7", "1→-300"]),
        ("soft", ["-300", "-1", "1", "7"]),
    ):
        data = datamodule(*waypoints, labels=labels)
        assert data.class_names == names
        assert data.n_classes == len(names)
        assert data.coupling("train").all().source_label.shape == (2, len(names))


def named(source: ImageSource, *names: str) -> ImageSource:
    """The source with names for the classes 0, 1 and so on."""
    source.names = names
    return source


def test_classes_with_names_are_told_by_them(datamodule: Maker, toys: ToyMaker) -> None:
    cats = named(toys({0: [0.1], 1: [0.5], 2: [0.9]}), "cat", "dog", "eel")
    dogs = named(toys({0: [0.5], 1: [0.1], 2: [0.8]}), "dog", "cow", "fox")
    # the same number is another class here, and the same name has another number
    soft = datamodule(Waypoint(source=cats), Waypoint(source=dogs), labels="soft")
    assert soft.class_names == ["cat", "cow", "dog", "eel", "fox"]
    pairs = soft.coupling("train").all()
    found = {
        float(x): soft.class_names[int(y.argmax())]
        for x, y in zip(pairs.target.flatten(), pairs.target_label, strict=True)
    }
    assert {round(x, 1): name for x, name in found.items()} == {0.5: "dog", 0.1: "cow", 0.8: "fox"}
    chosen = datamodule(
        Waypoint(["eel", "cat"], cats), Waypoint(["fox", "cow"], dogs), labels="ordered"
    )
    assert chosen.class_names == ["cat→cow", "eel→fox"]
    with pytest.raises(
        DataError, match=r"got the classes \['bee'\]; allowed: \['cat', 'dog', 'eel'\]"
    ):
        datamodule(Waypoint(["bee", "cat"], cats))
    with pytest.raises(DataError, match="got 2 names for labels from 0 to 2; allowed: a name for"):
        datamodule(Waypoint(source=named(toys({0: [0.1], 2: [0.9]}), "ant", "bee")))
    # one label, one name: two sources with the same numbers are not the same domain
    renamed = named(toys({0: [0.1], 1: [0.5], 2: [0.9]}), "ape", "bat", "cow")
    assert datamodule(Waypoint(source=cats), Waypoint(source=renamed)).closed is False


def test_soft_labels_are_mixtures(datamodule: Maker) -> None:
    data = datamodule(Waypoint([0, 2]), Waypoint([2, 5]), labels="soft")
    assert data.class_names == ["0", "2", "5"]
    assert data.n_classes == 3
    everything = data.coupling("train").all()
    digits = Digits().load()["train"]
    for images, labels in (
        (everything.source, everything.source_label),
        (everything.target, everything.target_label),
    ):
        truth = {image.numpy().tobytes(): int(k) for image, k in zip(*digits, strict=True)}
        found = [truth[image.numpy().tobytes()] for image in images]
        assert found == [[0, 2, 5][k] for k in labels.argmax(1).tolist()]
    y = interpolate(everything, 0.25).y
    torch.testing.assert_close(y, 0.75 * everything.source_label + 0.25 * everything.target_label)
    torch.testing.assert_close(y.sum(1), torch.ones(len(y)))
    assert (y.max(1).values < 1).any()  # some particles go from 0 to 2, or to 5
    balance = torch.zeros(3, dtype=torch.float64)
    balance.index_add_(0, everything.source_label.argmax(1), data.coupling("train").mass)
    counts = torch.bincount(digits.labels, minlength=3)[[0, 2]].double()
    torch.testing.assert_close(balance[:2], counts / counts.sum())


@pytest.mark.parametrize("labels", ["matched", "soft"])
def test_one_waypoint_is_static(
    datamodule: Maker, labels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ot.emd", None)  # no transport at all
    data = datamodule(Waypoint(), labels=labels)
    images, truth = Digits().load()["train"]
    everything = data.coupling("train").all()
    assert data.static
    assert data.n_legs == 1
    assert data.class_names == [str(k) for k in range(10)]
    for t in (0.0, 0.7, 1.0):
        x, y, weight = interpolate(everything, t)
        assert torch.equal(x, images)
        assert torch.equal(y.argmax(1), truth)
        torch.testing.assert_close(weight, torch.ones(len(images)))


def test_x_is_formed_at_the_t_of_the_moment(datamodule: Maker) -> None:
    data = datamodule()
    particles = next(iter(data.train_dataloader()))
    assert isinstance(particles, Particles)
    for t in (0.0, 0.3, 1.0):
        data.move_to(0, t)
        batch = data.on_after_batch_transfer(particles, 0)
        assert isinstance(batch, Batch)
        torch.testing.assert_close(batch.x, (1 - t) * particles.source + t * particles.target)
        assert batch.x.dtype == torch.float32
        assert (batch.weight == 1).all()
    assert data.on_after_batch_transfer(batch, 0) is batch
    with pytest.raises(DataError, match="got a batch of list"):
        data.on_after_batch_transfer([particles], 0)


def test_setup_happens_once(datamodule: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    data = datamodule()
    before = data.coupling("train")
    monkeypatch.setattr(Digits, "load", None)
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    assert data.coupling("train") is before


def test_classes_and_shape_need_no_transport(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ot.emd", None)
    waypoints = [Waypoint([0, 1]), Waypoint([5, 6])]
    for labels, n_classes in (("matched", 2), ("soft", 4)):
        data = InterpolatedDataModule(waypoints, labels=labels, cache_dir=tmp_path)
        assert (data.n_classes, data.image_shape) == (n_classes, (1, 8, 8))


def test_a_second_run_solves_nothing(datamodule: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    first = datamodule()
    monkeypatch.setattr("ot.emd", None)
    second = datamodule()
    for split in ("train", "val", "test"):
        for one, two in zip(first.coupling(split).all(), second.coupling(split).all(), strict=True):
            assert torch.equal(one, two)


def test_state_round_trip(two_legs: Maker) -> None:
    data = two_legs(seed=None)
    data.move_to(1, 0.375)
    torch.manual_seed(17)
    data.train_dataloader()
    state = data.state_dict()
    assert {key: type(value) for key, value in state.items()} == {
        "leg": int,
        "t": float,
        "seed": int,
        "path": str,
    }
    assert state["seed"] == 17
    torch.manual_seed(18)
    other = two_legs(seed=None)
    other.load_state_dict(state)
    assert (other.leg, other.t) == (1, 0.375)
    assert list(other.train_dataloader().sampler) == list(data.train_dataloader().sampler)
    assert other.state_dict() == state
    configured = two_legs(seed=5)
    configured.load_state_dict(state)
    assert configured.state_dict() == state | {"seed": 5}


def test_state_of_another_path_is_refused(
    two_legs: Maker, datamodule: Maker, tmp_path: Path
) -> None:
    state = two_legs().state_dict()
    with pytest.raises(DataError, match="saved on another path"):
        two_legs(labels="soft").load_state_dict(state)
    with pytest.raises(DataError, match="saved on another path"):
        two_legs(mixture=True).load_state_dict(state)
    with pytest.raises(DataError, match="saved on another path"):
        datamodule().load_state_dict(state)
    late = InterpolatedDataModule([Waypoint(), Waypoint()], cache_dir=tmp_path)
    late.load_state_dict(state)  # nothing is loaded yet
    assert late.state_dict()["path"] == state["path"]
    with pytest.raises(DataError, match="saved on another path"):
        late.setup("fit")
    with pytest.raises(DataError, match="saved on another path"):
        late.setup("fit")


class Recorder(pl.LightningModule):
    """Writes down the batches it is given."""

    def __init__(self) -> None:
        """Start with nothing."""
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.train_batches: dict[int, list[Tensor]] = {}
        self.val_batches: dict[int, list[Batch]] = {}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.train_batches.setdefault(self.current_epoch, []).append(batch.x.flatten())
        return (self.scale * batch.x).mean()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.val_batches.setdefault(self.current_epoch, []).append(batch)

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return batch.x

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


class Mover(pl.Callback):
    """Goes to a given (leg, t) at the start of each epoch, as a process does."""

    def __init__(self, plan: list[tuple[int, float]]) -> None:
        """Keep the plan."""
        self.plan = plan

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        trainer.datamodule.move_to(*self.plan[trainer.current_epoch])


# Warnings of Lightning about few workers and missing loggers are no concern of this module.
lightning_chatter = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


@lightning_chatter
@pytest.mark.parametrize("num_workers", [0, 1])
def test_loaders_follow_the_leg(two_legs: Maker, tmp_path: Path, num_workers: int) -> None:
    data = two_legs(
        batch_size=8, train_batches=3, eval_batch_size=4, seed=0, num_workers=num_workers
    )
    model = Recorder()
    # Epoch 0 already moves away from where the loaders were made.
    plan = [(1, 0.0), (0, 0.0), (1, 1.0)]
    trainer(tmp_path, Mover(plan), max_epochs=3, num_sanity_val_steps=0).fit(model, datamodule=data)
    ranges = [(0.5, 0.7), (0.0, 0.45), (0.75, 1.0)]
    for epoch, (low, high) in enumerate(ranges):
        drawn = torch.cat(model.train_batches[epoch])
        assert len(drawn) == 24
        assert low <= drawn.min()
        assert drawn.max() <= high
        data.move_to(*plan[epoch])
        expected = interpolate(data.coupling("val").all(), plan[epoch][1])
        shown = model.val_batches[epoch]
        for field, whole in zip(zip(*shown, strict=True), expected, strict=True):
            torch.testing.assert_close(torch.cat(field), whole)
        torch.testing.assert_close(torch.cat([batch.weight for batch in shown]).mean().item(), 1.0)


@lightning_chatter
def test_predict_gives_all_of_test_in_order(two_legs: Maker, tmp_path: Path) -> None:
    data = two_legs(eval_batch_size=5)
    data.move_to(1, 0.5)
    shown = trainer(tmp_path).predict(Recorder(), datamodule=data)
    assert torch.equal(torch.cat(shown), interpolate(data.coupling("test").all(), 0.5).x)
    assert len(data.test_dataloader()) == len(data.val_dataloader()) == 3


def test_draw_is_of_the_current_leg(two_legs: Maker) -> None:
    data = two_legs()
    for leg, (low, high) in enumerate([(0.0, 0.45), (0.5, 0.7)]):
        data.move_to(leg, 0.0)
        particles = data.draw("val", 100, torch.Generator().manual_seed(0))
        assert low <= particles.source.min()
        assert particles.source.max() <= high
        assert particles.weight.tolist() == [1.0] * 100


@pytest.mark.parametrize(
    "arguments",
    [
        {"waypoints": []},
        {"waypoints": [Waypoint([])]},
        {"waypoints": [Waypoint([0, 1, 0])]},
        {"labels": "sorted"},
        {"batch_size": 0},
        {"train_batches": 0},
        {"eval_batch_size": 0},
        {"num_workers": -1},
        {"seed": -1},
    ],
)
def test_argument_errors(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"got .*; allowed: .*") as caught:
        InterpolatedDataModule(**{"waypoints": [Waypoint()]} | arguments)
    assert "\n" not in str(caught.value)
    assert next(iter(arguments)) in str(caught.value)


@pytest.mark.parametrize(
    ("leg", "t"), [(0, -0.1), (0, 1.1), (0, float("nan")), (2, 0.0), (-1, 0.0)]
)
def test_position_errors(two_legs: Maker, leg: int, t: float) -> None:
    data = two_legs()
    data.move_to(1, 1.0)
    with pytest.raises(ConfigError, match=r"^(leg|t): got .*; allowed: "):
        data.move_to(leg, t)
    assert (data.leg, data.t) == (1, 1.0)
    with pytest.raises(ConfigError, match="split: got 'all'; allowed: train, val, test"):
        data.coupling("all")


def test_domains_that_cannot_be_matched(datamodule: Maker) -> None:
    with pytest.raises(DataError, match=r"2 classes .* cannot be matched with 3 classes"):
        datamodule(Waypoint([0, 1]), Waypoint([5, 6, 7]))
    assert datamodule(Waypoint([0, 1]), Waypoint([5, 6, 7]), labels="soft").n_classes == 5


def test_replay_keeps_a_share_of_the_first_domain_at_rest(
    datamodule: Maker, toys: ToyMaker
) -> None:
    ends = [toys({0: [0.1, 0.2, 0.25], 1: [0.4, 0.5]}), toys({0: [0.63, 0.77], 1: [0.91]})]
    waypoints = [Waypoint(source=source) for source in ends]
    plain, data = datamodule(*waypoints), datamodule(*waypoints, replay=0.25)
    at = {}
    for t in (0.0, 0.5, 1.0):
        data.move_to(0, t)
        at[t] = data.formed(data.coupling("train").all())
        weights = {round(float(x), 4): 0.0 for x in at[t].x.flatten()}
        for x, weight in zip(at[t].x.flatten(), at[t].weight, strict=True):
            weights[round(float(x), 4)] += float(weight) / len(at[t].weight)
        # each class of three or two images has a half
        first = {0.1: 1 / 6, 0.2: 1 / 6, 0.25: 1 / 6, 0.4: 0.25, 0.5: 0.25}
        last = {0.63: 0.25, 0.77: 0.25, 0.91: 0.5}
        share = 1.0 if t == 0 else 0.25
        for x, mass in first.items():
            assert weights[x] == pytest.approx(share * mass)
        if t == 1:
            for x, mass in last.items():
                assert weights[x] == pytest.approx(0.75 * mass)
    assert torch.equal(at[0.0].y, at[1.0].y)
    assert len(data.coupling("test")) == len(plain.coupling("test"))
    with pytest.raises(DataError, match="saved on another path"):
        data.load_state_dict(plain.state_dict())
    for refused, arguments in ((waypoints[:1], {}), (waypoints, {"mixture": True})):
        with pytest.raises(ConfigError, match=r"replay: got 0.5; allowed: 0, or a share below 1"):
            datamodule(*refused, replay=0.5, **arguments)
