"""Streams of unlabelled images and the labels they get, against independent constructions."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import ot
import pytest
import torch
from scipy.ndimage import shift as shifted
from torch import Tensor

from thermo_pl.datamodules import (
    ColourShiftMNIST,
    GradualDataModule,
    GradualImages,
    GradualSource,
    RotatedMNIST,
    Split,
)
from thermo_pl.errors import ConfigError, DataError
from thermo_pl.module import FreeEnergyModel
from thermo_pl.networks import LinearClassifier, MLPEncoder, StandardNormal

SHAPE = (1, 4, 4)
CLASSES, WINDOWS, EACH = 3, 2, 12


def images(n: int, seed: int) -> Tensor:
    """Random images, n of them."""
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(seed))


def split(n: int, seed: int) -> Split:
    """Random images with classes in turn."""
    return Split(images(n, seed), torch.arange(n) % CLASSES)


class Stream(GradualSource):
    """Random images: what is tested is who gets which label."""

    def load(self) -> GradualImages:
        return GradualImages(split(10, 0), split(6, 1), images(WINDOWS * EACH, 2), split(9, 3))


def module(cache: Path, **arguments: Any) -> GradualDataModule:
    """Two windows of twelve images; a model hangs at its trainer."""
    data = GradualDataModule(Stream(), windows=WINDOWS, cache_dir=cache, **arguments)
    torch.manual_seed(0)
    model = FreeEnergyModel(
        MLPEncoder(list(SHAPE), 2, []), LinearClassifier(2, CLASSES), None, StandardNormal(2), lam=0
    )
    data.trainer = SimpleNamespace(lightning_module=model, progress_bar_callback=None)  # type: ignore[assignment]
    data.prepare_data()
    data.setup("fit")
    return data


def window(k: int) -> Tensor:
    """The images of a window, counted from 1."""
    return images(WINDOWS * EACH, 2)[(k - 1) * EACH : k * EACH]


def ends(data: GradualDataModule, leg: int) -> Any:
    """All particles of a leg."""
    return data.coupling("train", leg).all()


def arrive(data: GradualDataModule, leg: int, t: float) -> None:
    """Move the data, and have the model label what has no labels there."""
    model: Any = data.trainer.lightning_module  # type: ignore[union-attr]
    data.move_to(leg, t)
    data.label_with(lambda x: model.predict(x).probabilities)


def test_a_window_gets_the_models_labels_but_for_the_least_sure(tmp_path: Path) -> None:
    data = module(tmp_path, labels="predicted", drop=0.25)
    arrive(data, 1, 0.0)
    model: Any = data.trainer.lightning_module  # type: ignore[union-attr]
    with torch.no_grad():
        scores = model.classifier(model.encoder(window(1)).mean[None])[0].softmax(-1)
    sure = scores.max(-1).values.argsort()[EACH // 4 :]  # 3 of 12 are left out
    expected = {
        tuple(x.flatten().tolist()): int(scores[i].argmax()) for i in sure for x in window(1)[i]
    }
    found = ends(data, 1)
    seen = {
        tuple(x.flatten().tolist()): int(y.argmax())
        for x, y in zip(found.target, found.target_label, strict=True)
    }
    assert seen == expected
    torch.testing.assert_close(found.target_label.sum(-1), torch.ones(len(found.weight)))
    assert float(data.coupling("train", 1).mass.sum()) == pytest.approx(1)


def test_labels_are_given_once_and_in_order(tmp_path: Path) -> None:
    data = module(tmp_path, labels="predicted", drop=0.0)
    with pytest.raises(DataError, match=r"leg: got 2, where windows have labels up to leg 0"):
        arrive(data, 2, 0.0)
    arrive(data, 1, 0.0)
    before = ends(data, 1)
    with torch.no_grad():
        data.trainer.lightning_module.classifier.layer.weight.neg_()  # type: ignore[union-attr]
    arrive(data, 1, 1.0)
    assert torch.equal(ends(data, 1).target_label, before.target_label)
    arrive(data, 2, 0.0)  # and it begins where the last leg ended
    label = {
        tuple(x.flatten().tolist()): y.tolist()
        for x, y in zip(before.target, before.target_label, strict=True)
    }
    after = ends(data, 2)
    for x, y in zip(after.source, after.source_label, strict=True):
        assert label[tuple(x.flatten().tolist())] == y.tolist()


def test_a_resumed_path_keeps_the_labels_that_were_carried(tmp_path: Path) -> None:
    first = module(tmp_path, labels="predicted", drop=0.25)
    arrive(first, 1, 1.0)
    again = module(tmp_path, labels="predicted", drop=0.25)
    with torch.no_grad():
        again.trainer.lightning_module.classifier.layer.weight.neg_()  # type: ignore[union-attr]
    again.load_state_dict(first.state_dict())
    assert (again.leg, again.t) == (1, 1.0)
    for a, b in zip(ends(first, 1), ends(again, 1), strict=True):
        torch.testing.assert_close(a, b)


def test_transported_labels_are_those_of_exact_plans(tmp_path: Path) -> None:
    data = module(tmp_path, labels="transported")
    labels = torch.eye(CLASSES)[split(10, 0).labels].double().numpy()
    before = images(10, 0)
    for leg in (1, 2):
        after = window(leg)
        flat = [x.flatten(1).double().numpy() for x in (before, after)]
        plan = ot.emd(ot.unif(len(before)), ot.unif(len(after)), ot.dist(*flat))
        labels = plan.T @ labels * len(after)
        known = {tuple(x.flatten().tolist()): y for x, y in zip(after, labels, strict=True)}
        found = ends(data, leg)
        for x, y in zip(found.target, found.target_label, strict=True):
            np.testing.assert_allclose(y, known[tuple(x.flatten().tolist())], atol=1e-6)
        before = after


def test_translations_of_a_pair_are_particles_of_their_own(tmp_path: Path) -> None:
    plain, moved = (ends(module(tmp_path, labels="transported", shift=s), 1) for s in (0, 1))
    assert len(moved.weight) == 9 * len(plain.weight)
    steps = [(down, right) for down in (1, 0, -1) for right in (1, 0, -1)]
    for part in ("source", "target"):
        expected = [
            shifted(x.numpy(), (0, *step), order=0, mode="constant")
            for step in steps
            for x in getattr(plain, part)
        ]
        np.testing.assert_array_equal(getattr(moved, part).numpy(), np.stack(expected))


def test_a_window_without_labels_has_images_and_no_particles(tmp_path: Path) -> None:
    data = module(tmp_path, labels="predicted")
    data.trainer = None
    data.move_to(1, 0.0)  # a move changes the place, and nothing else
    with pytest.raises(DataError, match="whose window has no labels yet"):
        ends(data, 1)
    with pytest.raises(DataError, match="whose window has no labels yet"):
        next(iter(data.train_dataloader()))


def test_validation_is_of_the_source_and_tests_of_both_ends(tmp_path: Path) -> None:
    data = module(tmp_path, labels="transported")
    for leg in range(1 + WINDOWS):
        assert torch.equal(data.coupling("val", leg).all().source, images(6, 1))
        held_out = images(6, 1) if leg == 0 else images(9, 3)
        assert torch.equal(data.coupling("test", leg).all().source, held_out)


def test_classes_of_a_stream_may_be_any_whole_numbers(tmp_path: Path) -> None:
    class Gaps(Stream):
        def load(self) -> GradualImages:
            source, val, stream, test = super().load()
            parts = (split._replace(labels=7 * split.labels - 3) for split in (source, val, test))
            source, val, test = parts
            return GradualImages(source, val, stream, test)

    class Other(Gaps):
        def load(self) -> GradualImages:
            loaded = super().load()
            return loaded._replace(test=loaded.test._replace(labels=loaded.test.labels + 1))

    plain = module(tmp_path, labels="transported")
    data = GradualDataModule(Gaps(), windows=WINDOWS, labels="transported", cache_dir=tmp_path)
    assert data.class_names == ["-3", "4", "11"]
    assert data.n_classes == 3
    for leg in range(data.n_legs):
        for ours, theirs in zip(ends(data, leg), ends(plain, leg), strict=True):
            assert torch.equal(ours, theirs)
    with pytest.raises(
        DataError, match=r"Other, test: got the class -2; allowed: .* \[-3, 4, 11\]"
    ):
        _ = GradualDataModule(Other(), windows=WINDOWS, cache_dir=tmp_path).n_classes


def test_colours_shift_domain_by_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    flat = torch.arange(60.0)[:, None, None, None].expand(60, 1, 2, 2) / 100  # the image's number
    labels = torch.arange(60) % 3
    parts = {"train": Split(flat[:50], labels[:50]), "val": Split(flat[50:], labels[50:])}
    source = ColourShiftMNIST(sizes=(10, 5, 21, 9), domains=4, shift=2.0)
    monkeypatch.setattr(source, "_mnist", SimpleNamespace(load=lambda: parts))
    found = source.load()
    seen = torch.cat([found.source.images, found.val.images])[:, 0, 0, 0]
    assert seen.max() < 0.6  # as they are
    order = np.random.default_rng(0).permutation(60)[15:36]
    added = found.stream[:, 0, 0, 0] - torch.from_numpy(order) / 100
    expected = torch.tensor(6 * [0.5] + 5 * [1.0] + 5 * [1.5] + 5 * [2.0])
    torch.testing.assert_close(added.float(), expected)
    number = ((found.test.images[:, 0, 0, 0] - 2.0) * 100).round().long()
    assert torch.equal(found.test.labels, number % 3)
    with pytest.raises(ConfigError, match="domains: got 0; allowed: a whole number > 0"):
        ColourShiftMNIST(domains=0)


def test_the_published_test_images_are_mnists_own(monkeypatch: pytest.MonkeyPatch) -> None:
    flat = torch.arange(60.0)[:, None, None, None].expand(60, 1, 3, 3) / 100
    parts = {"train": Split(flat[:30], torch.zeros(30)), "val": Split(flat[30:40], torch.zeros(10))}
    parts["test"] = Split(flat[40:], torch.ones(20))
    for others, low in ((True, 0.4), (False, 0.0)):
        source = RotatedMNIST(sizes=(10, 5, 15, 10), others=others, spline=True)
        monkeypatch.setattr(source, "_mnist", SimpleNamespace(load=lambda: parts))
        found = source.load()
        assert found.test.labels.tolist() == 10 * [float(others)]
        centres = [part[:, 0, 1, 1] for part in (found.test.images, found.stream)]
        assert centres[0].min() > low - 1e-3
        assert len({round(float(c), 3) for c in torch.cat(centres)}) == 25  # none twice
        assert centres[1].max() < 0.4
    with pytest.raises(ConfigError, match=r"sizes: got .*10001.* 10,000 test images"):
        RotatedMNIST(sizes=(10, 5, 15, 10_001), others=True)
